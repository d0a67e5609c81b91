"""A repainted face goes into its box and nowhere else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from musetalk_core import blending
from musetalk_core.blender import Blender, parse_masks
from musetalk_core.blending import cut_square
from musetalk_core.masks import NECK, SKIN, select_region
from musetalk_core.releases import RELEASES
from tests.core.stand_ins import StandIns, fixed_track

SIZE = 512  # of a parse map
EVERYTHING = np.full((SIZE, SIZE), 255, np.uint8)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@st.composite
def boxes(draw) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """A frame's (height, width) and a box inside it, often of 1 to 3 pixels or at the border."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))

    def span(limit: int) -> tuple[int, int]:
        length = min(limit, draw(st.one_of(st.integers(1, 3), st.integers(1, 70))))
        start = draw(st.one_of(st.just(0), st.just(limit - length), st.integers(0, limit - length)))
        return start, start + length

    (x1, x2), (y1, y2) = span(width), span(height)
    return (height, width), (x1, y1, x2, y2)


def blend(frame: np.ndarray, face: np.ndarray, box, region: np.ndarray, release: str = "1.5") -> np.ndarray:
    settings_ = RELEASES[release]
    square = blending.blending_square(np.array(box), settings_.crop_expand)
    mask = blending.soften(region, np.array(box), square, settings_.blur_ratio)
    out = frame.copy()
    blending.composite(out, face, np.array(box), mask, square)
    return out


@given(boxes(), st.sampled_from(["1.0", "1.5"]))
@example(((9, 9), (4, 4, 5, 5)), "1.5")
@example(((1, 1), (0, 0, 1, 1)), "1.0")
@example(((50, 50), (0, 0, 50, 50)), "1.5")
@example(((60, 60), (57, 0, 60, 60)), "1.5")
@settings(max_examples=150, deadline=None)
def test_only_the_box_changes(place, release: str) -> None:
    (height, width), (x1, y1, x2, y2) = place
    frame = noise(height, width)
    out = blend(frame, noise(32, 32, 1), (x1, y1, x2, y2), EVERYTHING, release)
    assert out.shape == frame.shape and out.dtype == np.uint8
    changed = (out != frame).any(axis=2)
    changed[y1:y2, x1:x2] = False
    assert not changed.any()


@given(boxes())
@example(((1, 1), (0, 0, 1, 1)))
@settings(max_examples=100, deadline=None)
def test_any_box_has_a_square_that_can_be_parsed(place) -> None:
    (height, width), (x1, y1, x2, y2) = place
    left, top, right, bottom = square = blending.blending_square(np.array((x1, y1, x2, y2)), 1.5)
    assert right - left == bottom - top >= 1
    assert abs((left + right) - (x1 + x2)) <= 1 and abs((top + bottom) - (y1 + y2)) <= 1
    cut = blending.cut_square(noise(height, width), square)
    assert cut.shape == (right - left, right - left, 3)


def test_a_square_is_black_where_it_leaves_the_frame() -> None:
    frame = np.full((40, 40, 3), 200, np.uint8)
    square = blending.blending_square(np.array((0, 0, 40, 40)), 1.5)
    assert square == (-10, -10, 50, 50)
    cut = blending.cut_square(frame, square)
    assert (cut[10:50, 10:50] == 200).all()
    cut = cut.copy()
    cut[10:50, 10:50] = 0
    assert not cut.any()


def test_the_face_shows_in_the_lower_half_and_not_in_the_upper() -> None:
    frame, face = np.zeros((100, 100, 3), np.uint8), np.full((256, 256, 3), 250, np.uint8)
    out = blend(frame, face, (20, 20, 80, 80), EVERYTHING)
    assert not out[:48].any()
    assert (out[54:76, 24:76] == 250).all()


@pytest.mark.parametrize("release", ["1.0", "1.5"])
@pytest.mark.parametrize("box", [(20, 20, 80, 80), (10, 30, 50, 90), (0, 0, 64, 30)])
def test_the_mask_is_empty_above_the_middle_of_the_square(release: str, box: tuple[int, int, int, int]) -> None:
    chosen = RELEASES[release]
    square = blending.blending_square(np.array(box), chosen.crop_expand)
    side = square[2] - square[0]
    hard = blending.soften(EVERYTHING, np.array(box), square, 0)
    assert hard.shape == (side, side)
    assert not hard[: side // 2].any()
    left, right, bottom = box[0] - square[0], box[2] - square[0], box[3] - square[1]
    assert (hard[side // 2 : bottom, left:right] == 255).all()
    assert not hard[:, :left].any() and not hard[:, right:].any() and not hard[bottom:].any()
    soft = blending.soften(EVERYTHING, np.array(box), square, chosen.blur_ratio)
    reach = int(chosen.blur_ratio * side // 2 * 2) // 2  # of the blur
    assert not soft[: side // 2 - reach].any()


def test_the_blur_leaves_no_hard_edge() -> None:
    box = np.array((100, 100, 400, 400))
    square = blending.blending_square(box, 1.5)
    column = blending.soften(EVERYTHING, box, square, 0.05)[:, 225].astype(int)
    assert column.max() == 255
    assert np.abs(np.diff(column)).max() < 40


def test_a_mask_of_nothing_leaves_the_frame_and_a_full_one_replaces_it() -> None:
    frame, face, box = noise(50, 60), noise(30, 20, 1), np.array((10, 5, 30, 35))
    square = blending.blending_square(box, 1.5)
    side = square[2] - square[0]
    for level in (0, 255):
        out = frame.copy()
        blending.composite(out, face, box, np.full((side, side), level, np.uint8), square)
        expected = frame.copy()
        if level:
            expected[5:35, 10:30] = face  # of the box's size: not resized
        np.testing.assert_array_equal(out, expected)


def test_the_weight_fades_the_face_out() -> None:
    frame, face, box = (
        np.zeros((50, 60, 3), np.uint8),
        np.full((256, 256, 3), 200, np.uint8),
        np.array((10, 5, 30, 35)),
    )
    square = blending.blending_square(box, 1.5)
    mask = np.full((square[2] - square[0],) * 2, 255, np.uint8)
    shown = []
    for weight in (0.0, 0.25, 0.5, 1.0):
        out = frame.copy()
        blending.composite(out, face, box, mask, square, weight=weight)
        assert (out[5:35, 10:30] == out[5, 10]).all()
        shown.append(int(out[5, 10, 0]))
    np.testing.assert_allclose(shown, [0, 50, 100, 200], atol=1)


@pytest.mark.parametrize("angle", [0.0, 20.0])
def test_without_weight_the_frame_stays_as_it_is(angle: float) -> None:
    frame, box = noise(50, 60), np.array((10, 5, 30, 35))
    before = frame.copy()
    square = blending.blending_square(box, 1.5)
    mask = np.full((square[2] - square[0],) * 2, 255, np.uint8)
    blending.composite(frame, noise(256, 256, 1), box, mask, square, angle, weight=0.0)
    np.testing.assert_array_equal(frame, before)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_it_blends_as_pillow_pastes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame, face = rng.integers(0, 256, (64, 64, 3), np.uint8), rng.integers(0, 256, (64, 64, 3), np.uint8)
    mask = rng.integers(0, 256, (64, 64), np.uint8)
    pasted = Image.fromarray(frame)
    pasted.paste(Image.fromarray(face), (0, 0), Image.fromarray(mask))
    blending.composite(frame, face, np.array((0, 0, 64, 64)), mask, (0, 0, 64, 64))
    np.testing.assert_array_equal(frame, np.asarray(pasted))


def test_every_pair_of_levels_blends_exactly() -> None:
    face = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 256, 1)
    for under in (0, 1, 127, 254, 255):
        frame = np.full((256, 256, 3), under, np.uint8)
        mask = np.repeat(np.arange(256, dtype=np.uint8)[None], 256, 0)
        blending.composite(frame, np.dstack([face] * 3), np.array((0, 0, 256, 256)), mask, (0, 0, 256, 256))
        exact = (face.astype(float) * mask + under * (255.0 - mask)) / 255
        assert np.abs(frame[..., 0] - exact).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("release", ["1.0", "1.5"])
@pytest.mark.parametrize("synthetic", [False, True])
def test_the_source_frames_stay_as_they_were(release: str, synthetic: bool) -> None:
    frames = [noise(60, 60, i) for i in range(3)]
    before = [frame.copy() for frame in frames]
    track = fixed_track((60, 60), (10, 10, 50, 50), [True, False, True])
    painted = [np.full((256, 256, 3), 250, np.uint8)] * 6
    out = list(Blender(StandIns(release, synthetic), frames, track).blend([0, 1, 2, 2, 1, 0], painted))
    np.testing.assert_array_equal(frames, before)
    assert not any(np.shares_memory(shown, frame) for shown in out for frame in frames)
    assert (out[0] != frames[0]).any()


def test_the_modes_repaint_what_they_say() -> None:
    labels = np.zeros((SIZE, SIZE), np.uint8)
    bands = {"skin": 1, "brow": 2, "eye": 4, "nose": 10, "mouth": 11, "lip": 12, "neck": 14, "hair": 17}
    for i, label in enumerate(bands.values()):
        labels[:, 64 * i : 64 * i + 64] = label

    def repainted(mode: str) -> set[str]:
        region = select_region(labels, mode, 90)
        assert set(np.unique(region)) <= {0, 255}
        return {name for i, name in enumerate(bands) if region[256, 64 * i + 32]}

    assert repainted("raw") == {"skin", "mouth", "lip"}
    assert repainted("neck") == {"skin", "mouth", "lip", "neck"}
    assert repainted("face") == {"skin", "brow", "eye", "nose", "mouth", "lip"}
    assert repainted("jaw") >= {"mouth", "lip"} and not repainted("jaw") & {"nose", "hair", "eye"}


def test_cheeks_as_wide_as_the_picture_are_not_narrowed() -> None:
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[100:400, 60:450] = SKIN
    widest = select_region(labels, "jaw", SIZE // 2)
    assert widest[250, 61] and not select_region(labels, "jaw", 20)[250, 61]
    for width in (SIZE // 2 + 1, SIZE, 10 * SIZE):
        np.testing.assert_array_equal(select_region(labels, "jaw", width), widest)


def test_the_first_parsed_face_gives_the_mask_of_any_setting_without_a_network() -> None:
    frames = [noise(60, 60, i) for i in range(3)]
    track = fixed_track((60, 60), (10, 10, 50, 50), [False, True, True])
    models = StandIns()
    blender = Blender(models, frames, track, "face", 90)
    painted = [np.full((256, 256, 3), 250, np.uint8)] * 3
    list(blender.blend([0], painted[:1]))
    assert blender.first is None
    list(blender.blend([0, 1, 2], painted))
    first = blender.first
    np.testing.assert_array_equal(first.box, track.boxes[1])
    np.testing.assert_array_equal(first.picture, cut_square(frames[1], first.square))
    ((square, mask),) = parse_masks(models, frames, track, [1])
    assert square == first.square
    np.testing.assert_array_equal(first.mask(), mask)
    everywhere = dataclasses.replace(first, labels=np.full((SIZE, SIZE), NECK, np.uint8))
    assert everywhere.mask("neck").any() and not everywhere.mask("raw").any()
