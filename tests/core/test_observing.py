"""The face detector runs where its answer matters, and no face is lost by its running less."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from musetalk_core import observing
from musetalk_core.errors import InputError
from musetalk_core.face_options import FaceChoice, FaceOptions
from musetalk_core.faces import Observations
from musetalk_core.keypoints import warp_to_input
from musetalk_core.networks import s3fd
from tests.core.cascade import HEAD, HEIGHT, LARGE, SMALL, WIDTH, CascadeDetector, face_in, overlap, picture
from tests.core.stand_ins import StandIns

FULL, REDUCED = (640, 360), (320, 180)
SAME = 0.3  # overlap: the cascade's boxes are coarse
EXACT, AUTO = FaceOptions(detection="exact"), FaceOptions(detection="auto")


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> CascadeDetector:
    stand_in = CascadeDetector()
    monkeypatch.setattr(s3fd, "detect", stand_in)
    monkeypatch.setattr(observing, "_REDUCED_SIDE", REDUCED[0])  # the cascade is slow
    return stand_in


def models() -> StandIns:
    made = StandIns()
    made.networks.s3fd = None
    return made


class Marks:
    """A keypoint estimator that knows where the faces are, and how clearly each is seen."""

    def __init__(self, heads: Sequence[tuple[int, int, int] | None], scores: Sequence[float]) -> None:
        self._known = zip(heads, scores, strict=True)

    def __call__(self, frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        points, scores = np.zeros((len(frames), 133, 2), np.float32), np.zeros((len(frames), 133), np.float32)
        for i in range(len(frames)):
            head, score = next(self._known)
            x1, y1, x2, y2 = face_in(head) if head else (0, 0, WIDTH - 1, HEIGHT - 1)  # a guess is anywhere
            points[i, :, 0] = np.linspace(x1, x2, 133)
            points[i, 23:91, 0] = np.linspace(x1, x2, 68)
            points[i, :, 1] = (y1 + y2) / 2
            points[i, 23 + 8, 1], points[i, 23 + 19, 1] = y2, y1
            scores[i] = score
        return points, scores


# A clip in which the face is clear, turned away, small, hidden, and not there
HEADS = [
    (LARGE, 200, 150),
    (LARGE, 220, 150),
    (LARGE, 240, 150),
    None,
    (SMALL, 300, 200),
    (SMALL, 310, 200),
    (LARGE, 400, 100),
    None,
]
SCORES = [0.9, 0.8, 0.2, 0.1, 0.8, 0.1, 0.3, 0.2]


def look(options: FaceOptions) -> Observations:
    frames = [picture(head) if head else picture() for head in HEADS]
    return observing.observe_faces(models(), frames, 3, Marks(HEADS, SCORES), options=options)


def test_looking_only_where_there_is_doubt_finds_the_same(detector: CascadeDetector) -> None:
    exact = look(EXACT)
    assert detector.sizes == [FULL] * len(HEADS)
    detector.sizes.clear()
    auto = look(AUTO)
    # Clear landmarks need no detector; doubt is settled reduced; absence only in full.
    assert sorted(detector.sizes) == sorted([REDUCED] * 5 + [FULL] * 3)
    assert exact.present.tolist() == auto.present.tolist() == [head is not None for head in HEADS]
    np.testing.assert_array_equal(exact.landmarks, auto.landmarks)
    for i, head in enumerate(HEADS):
        if head:
            assert overlap(exact.detections[i], auto.detections[i]) > SAME
            assert overlap(auto.detections[i], face_in(head)) > SAME


def test_landmarks_without_a_usable_box_are_in_doubt_however_clear(detector: CascadeDetector) -> None:
    class Flat(Marks):
        def __call__(self, frames):
            points, scores = super().__call__(frames)
            points[..., 1] = 200
            return points, scores

    head = (LARGE, 200, 150)
    seen = observing.observe_faces(models(), [picture(head)], keypoints=Flat([head], [1.0]))
    assert detector.sizes == [REDUCED]
    assert overlap(seen.detections[0], face_in(head)) > SAME


def test_small_frames_are_looked_at_once(detector: CascadeDetector) -> None:
    frames = [picture()[:200, :300]] * 2
    assert not observing.observe_faces(models(), frames, keypoints=Marks([None] * 2, [0.1] * 2)).present.any()
    assert detector.sizes == [(300, 200)] * 2


class AskedOnce(Sequence):
    """Frames made when they are asked for."""

    def __init__(self, heads: list[tuple[int, int, int]]) -> None:
        self._heads = heads
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self._heads)

    def __getitem__(self, index: int) -> np.ndarray:
        self.asked.append(index)
        return picture(self._heads[index])


def test_frames_are_asked_for_once_in_order_and_only_a_batch_ahead(detector: CascadeDetector) -> None:
    heads = [(LARGE, 200 + 4 * i, 150) for i in range(7)]
    frames = AskedOnce(heads)
    ahead = []
    observing.observe_faces(
        models(), frames, 2, Marks(heads, [0.9] * 7), lambda done, *_: ahead.append(max(frames.asked[1:]) + 1 - done)
    )
    assert frames.asked == [0, *range(7)]  # the first is also asked for its size
    assert max(ahead) <= 2 + 2  # where a cut is looked for, and the next batch


@pytest.mark.parametrize("options", [AUTO, EXACT], ids=["auto", "exact"])
def test_parts_are_seen_as_in_the_whole_with_the_cuts_between_them(
    options: FaceOptions, detector: CascadeDetector
) -> None:
    tints = [(0, 0, 0)] * 4 + [(10, 30, 50)] * 4
    frames = [picture(*[head] * bool(head), tint=tint) for head, tint in zip(HEADS, tints, strict=True)]
    whole = observing.observe_faces(models(), frames, 2, Marks(HEADS, SCORES), options=options)
    assert np.flatnonzero(whole.cuts).tolist() == [4]
    for part in (range(0, 4), range(4, 8), range(2, 6), range(4, 5)):
        marks = Marks(HEADS[part.start :], SCORES[part.start :])
        seen = observing.observe_faces(models(), frames, 2, marks, options=options, part=part)
        assert len(seen.cuts) == len(part)
        for name in ("landmarks", "scores", "detections", "cuts"):
            np.testing.assert_array_equal(getattr(seen, name), getattr(whole, name)[part.start : part.stop])


# One of several


PAIR = [((LARGE, 40 + 8 * i, 100), (LARGE, 440 - 6 * i, 140)) for i in range(5)]


class CentredFace(nn.Module):
    """A pose network that sees a face in the middle of whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        turn = torch.linspace(0, 2 * torch.pi, 133)
        places = 144 + 35 * torch.cos(turn), 192 + 40 * torch.sin(turn)  # px of 288 x 384
        bins = [torch.arange(2 * size) / 2 - place[:, None] for size, place in zip((288, 384), places, strict=True)]
        return tuple(torch.exp(-(axis**2) / 50).expand(len(x), -1, -1) for axis in bins)


@pytest.fixture
def posing() -> StandIns:
    made = models()
    made.networks.dwpose = CentredFace()
    return made


@pytest.mark.parametrize("position", [0, 1])
def test_the_chosen_face_is_followed_and_has_its_own_landmarks(
    position: int, posing: StandIns, detector: CascadeDetector
) -> None:
    options = FaceOptions(FaceChoice("position", position))
    frames = [picture(*heads) for heads in PAIR]
    seen = observing.observe_faces(posing, frames, 4, options=options)
    for i, heads in enumerate(PAIR):
        truth = face_in(heads[position])
        assert overlap(seen.detections[i], truth) > SAME
        x, y = seen.landmarks[i].mean(axis=0)
        assert truth[0] < x < truth[2] and truth[1] < y < truth[3]
    assert seen.marked.all() and (seen.scores > 0).all()
    # In full to choose, reduced to follow.
    assert detector.sizes.count(FULL) == 1 and detector.sizes.count(REDUCED) == len(PAIR)


def test_in_full_on_every_frame_where_that_is_asked_for(posing: StandIns, detector: CascadeDetector) -> None:
    options = FaceOptions(FaceChoice("largest"), "exact")
    observing.observe_faces(posing, [picture(*heads) for heads in PAIR[:2]], options=options)
    assert detector.sizes == [FULL] * 2


def test_where_the_chosen_one_is_not_nobody_is(posing: StandIns, detector: CascadeDetector) -> None:
    frames = [picture(*heads) for heads in PAIR[:3]] + [picture(heads[1]) for heads in PAIR[3:]]
    seen = observing.observe_faces(posing, frames, options=FaceOptions(FaceChoice("position", 0)))
    assert seen.present.tolist() == [True] * 3 + [False] * 2
    assert not seen.marked[3:].any() and (seen.landmarks[3:] == -1).all()
    assert detector.sizes.count(FULL) == 1 + 2  # to choose, and before saying that there is no face


def test_landmarks_of_somebody_else_are_set_aside(
    posing: StandIns, detector: CascadeDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = observing._region
    monkeypatch.setattr(observing, "_region", lambda box, frame: own(box + np.array((200, 0, 200, 0, 0)), frame))
    seen = observing.observe_faces(posing, [picture(PAIR[0][0])], options=FaceOptions(FaceChoice("largest")))
    assert seen.present.all() and not seen.marked.any()
    assert overlap(seen.detections[0], face_in(PAIR[0][0])) > SAME


def test_a_cut_is_seen_and_the_choice_is_made_anew(posing: StandIns, detector: CascadeDetector) -> None:
    left, right = (LARGE, 40, 100), (LARGE, 440, 100)
    first = [picture(left, (LARGE - 30, 400, 100))] * 3
    second = [picture(right, tint=(10, 30, 50))] * 3
    seen = observing.observe_faces(posing, first + second, options=FaceOptions(FaceChoice("largest")))
    assert np.flatnonzero(seen.cuts).tolist() == [3]
    assert [overlap(box, face_in(left)) > SAME for box in seen.detections] == [True] * 3 + [False] * 3
    assert all(overlap(box, face_in(right)) > SAME for box in seen.detections[3:])


def test_the_face_of_a_picture_is_found_again(posing: StandIns, detector: CascadeDetector) -> None:
    here, there = (LARGE, 40, 100), (LARGE, 440, 100)
    stranger = HEAD.copy()  # the same face with a black beard and dark hair
    stranger[120:160, 80:140] = stranger[:50] = 20
    for own, other in ((here, there), (there, here)):
        frame = picture(own)
        frame[picture(other) != picture()] = picture(other, head=stranger)[picture(other) != picture()]
        options = FaceOptions(FaceChoice("picture", picture=picture((LARGE, 200, 50))))
        seen = observing.observe_faces(posing, [frame], options=options)
        assert overlap(seen.detections[0], face_in(own)) > SAME


@pytest.mark.parametrize("shown", [None, np.full((100, 100, 3), 128, np.uint8)])
def test_a_picture_without_a_face_is_refused(shown: np.ndarray | None, posing: StandIns, detector) -> None:
    with pytest.raises(InputError, match="picture to choose the face by") as failure:
        observing.observe_faces(posing, [picture()], options=FaceOptions(FaceChoice("picture", picture=shown)))
    assert failure.value.remedy


def test_another_estimator_cannot_choose(posing: StandIns, detector: CascadeDetector) -> None:
    with pytest.raises(InputError, match="mmpose"):
        observing.observe_faces(
            posing, [picture()], keypoints=Marks([None], [0]), options=FaceOptions(FaceChoice("largest"))
        )


def test_a_region_is_shown_to_the_network_like_a_frame_cut_to_it() -> None:
    frame = picture((LARGE, 200, 150))
    x1, y1, x2, y2 = region = (200, 30, 440, 350)  # of the network's own shape, so that nothing is added
    whole, _, size = warp_to_input(frame[y1:y2, x1:x2])
    part, centre, same = warp_to_input(frame, region)
    np.testing.assert_allclose(centre, ((x1 + x2) / 2, (y1 + y2) / 2))
    np.testing.assert_allclose(size, same)
    inside = slice(60, -60), slice(60, -60)
    assert np.abs(whole[inside].astype(int) - part[inside]).max() <= 2
