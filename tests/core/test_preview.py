"""The picture of what the landmarks node found."""

from __future__ import annotations

import numpy as np
import pytest

from musetalk_core.preview import draw_mask, draw_track
from tests.core.stand_ins import fixed_track


@pytest.mark.parametrize(
    ("size", "shown"), [((300, 400), (300, 400)), ((2000, 1000), (768, 384)), ((33, 47), (33, 47)), ((1, 1), (1, 1))]
)
@pytest.mark.parametrize(("frames", "drawn"), [(1, 1), (5, 5), (100, 16)])
def test_it_is_of_a_few_frames_and_of_handy_size(size, shown, frames: int, drawn: int) -> None:
    track = fixed_track(size, (0, 0, size[1], size[0]), [i % 2 == 0 for i in range(frames)])
    pictures = draw_track([np.zeros((*size, 3), np.uint8)] * frames, track)
    assert [picture.shape for picture in pictures] == [(*shown, 3)] * drawn


def test_box_and_points_are_where_they_are_and_the_frames_stay() -> None:
    frames = [np.zeros((200, 300, 3), np.uint8) for _ in range(2)]
    seen, unseen = draw_track(frames, fixed_track((200, 300), (60, 80, 180, 160), [True, False]))
    assert not np.any(frames)
    rows, columns = np.nonzero(seen[60:].any(axis=2))  # the text is above
    edges = np.array((columns.min(), rows.min() + 60, columns.max(), rows.max() + 60))
    assert np.abs(edges - (60, 80, 180, 160)).max() <= 2
    assert not unseen[60:].any() and unseen[:60].any()


def test_mask_is_tinted_where_it_shows_and_nowhere_else() -> None:
    picture = np.full((80, 80, 3), 120, np.uint8)
    mask = np.zeros((160, 160), np.uint8)  # of a larger square than the picture shown
    mask[80:, 40:120] = 255
    shown = draw_mask(picture, mask)
    assert shown.shape == picture.shape and (picture == 120).all()
    np.testing.assert_array_equal(shown[:38], picture[:38])
    inside = shown[60, 40].astype(int)
    assert np.abs(inside - 120).max() > 30 and not np.array_equal(shown[60, 5], shown[60, 40])
