"""A face box is inside the frame, wherever the face is, or there is none and the user is told why."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from musetalk_core import keypoints, observing, tracking
from musetalk_core.errors import InputError, NoFaceError
from musetalk_core.faces import Observations, make_track, shift_range
from tests.core.stand_ins import BrightestPoint, StandIns, landmarks, observed

HEIGHT, WIDTH = 100, 80
DETECTED = (12, 22, 42, 62)
NO_FACE = (-1, -1, -1, -1)


def box_of(points: np.ndarray, shift: int = 0, margin: int = 0, detected=DETECTED) -> tuple[int, ...]:
    track = make_track(observed((HEIGHT, WIDTH), [points], [detected]), shift, margin)
    return tuple(track.boxes[0].tolist())


# Where the box is


def test_the_box_mirrors_the_chin_about_the_nose() -> None:
    assert box_of(landmarks(20, 60, nose=50, chin=70)) == (20, 30, 60, 70)


def test_a_shift_moves_the_upper_edge_twice_as_far() -> None:
    points = landmarks(20, 60, nose=50, chin=70)
    assert box_of(points, shift=4) == (20, 38, 60, 70)
    assert box_of(points, shift=-4) == (20, 22, 60, 70)


def test_the_margin_grows_the_chin() -> None:
    assert box_of(landmarks(20, 60, nose=50, chin=70), margin=10) == (20, 30, 60, 80)


def test_a_face_that_leaves_the_frame_on_the_left_has_the_detectors_box() -> None:
    assert box_of(landmarks(-1, 60, nose=50, chin=70)) == DETECTED
    assert box_of(landmarks(0, 60, nose=50, chin=70)) == (0, 30, 60, 70)


def test_a_face_that_leaves_the_frame_on_the_right_is_cut_there() -> None:
    assert box_of(landmarks(40, WIDTH + 30, nose=50, chin=70)) == (40, 30, WIDTH, 70)


def test_a_face_that_leaves_the_frame_below_is_cut_there() -> None:
    assert box_of(landmarks(20, 60, nose=80, chin=HEIGHT + 5)) == (20, 55, 60, HEIGHT)
    assert box_of(landmarks(20, 60, nose=80, chin=HEIGHT - 3), margin=10) == (20, 63, 60, HEIGHT)


def test_a_face_that_leaves_the_frame_above_is_cut_there() -> None:
    assert box_of(landmarks(20, 60, nose=10, chin=40)) == (20, 0, 60, 40)


def test_a_detected_face_is_cut_at_the_frame_as_well() -> None:
    outside = landmarks(-9, 60, nose=50, chin=70)
    assert box_of(outside, detected=(30, 40, WIDTH + 9, HEIGHT + 9)) == (30, 40, WIDTH, HEIGHT)


@st.composite
def observations(draw) -> Observations:
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    count = draw(st.integers(1, 4))
    points = draw(arrays.arrays(np.int64, (count, 68, 2), elements=st.integers(-40, 100)))
    there = st.tuples(*[st.integers(0, 100)] * 4)
    detections = draw(st.lists(st.one_of(st.just(NO_FACE), there), min_size=count, max_size=count))
    return observed((height, width), list(points), detections)


@given(observations(), st.integers(-200, 200), st.integers(0, 100))
@settings(max_examples=200, deadline=None)
def test_a_box_never_leaves_the_frame_and_is_never_empty(seen: Observations, shift: int, margin: int) -> None:
    try:
        track = make_track(seen, shift, margin)
    except InputError as error:
        assert f"bbox_shift {shift}" in error.cause
        return
    assert len(track) == len(seen.landmarks)
    for (x1, y1, x2, y2), present, detection in zip(track.boxes, track.present, seen.detections, strict=True):
        if present:
            assert 0 <= x1 < x2 <= seen.width
            assert 0 <= y1 < y2 <= seen.height
            assert tuple(detection) != NO_FACE
        else:
            assert (x1, y1, x2, y2) == (0, 0, 0, 0)


def test_a_shift_too_large_is_told_with_the_usable_range() -> None:
    face = landmarks(20, 60, nose=50, chin=70, steps=(5, 7))
    seen = observed((HEIGHT, WIDTH), [face, face, face], [DETECTED, NO_FACE, DETECTED])
    assert make_track(seen, 19, 0).present.tolist() == [True, False, True]
    for shift in (20, 500):
        with pytest.raises(InputError, match=f"bbox_shift {shift} ") as failure:
            make_track(seen, shift, 10)
        assert "[-7 ~ 5]" in failure.value.remedy


def test_a_shift_that_suits_one_frame_is_no_error() -> None:
    near, far = landmarks(20, 60, nose=50, chin=90), landmarks(20, 60, nose=50, chin=60)
    track = make_track(observed((HEIGHT, WIDTH), [near, far], [DETECTED, DETECTED]), 20, 0)
    assert track.boxes.tolist() == [[20, 50, 60, 90], [20, 58, 60, 60]]


def test_the_usable_range_is_the_mean_over_the_frames_with_a_face() -> None:
    frames = [
        landmarks(0, 9, nose=50, chin=90, steps=(10, 20)),
        landmarks(0, 9, nose=50, chin=90, steps=(-900, 900)),
        landmarks(0, 9, nose=50, chin=90, steps=(13, 25)),
    ]
    seen = observed((HEIGHT, WIDTH), frames, [DETECTED, NO_FACE, DETECTED])
    assert shift_range(seen.landmarks, seen.detections) == (22, 11)  # 22.5 and 11.5, truncated
    assert make_track(seen, 0, 0).shift_range == (22, 11)


def test_without_any_face_there_is_no_range() -> None:
    face = landmarks(0, 9, nose=50, chin=90)[None]
    assert shift_range(face, np.array([NO_FACE])) == (0, 0)


def test_no_face_in_any_frame_is_told_with_what_to_do() -> None:
    seen = observed((HEIGHT, WIDTH), [landmarks(20, 60, 50, 70)] * 3, [NO_FACE] * 3)
    with pytest.raises(NoFaceError, match="any of the 3 frames") as failure:
        tracking.track_faces(StandIns(), seen, 0)
    assert "visible" in failure.value.remedy


def test_the_margin_is_the_releases_unless_chosen_and_1_0_has_none() -> None:
    seen = observed((HEIGHT, WIDTH), [landmarks(20, 60, 50, 70)], [DETECTED])

    def chin(release: str, margin: int | None = None) -> int:
        return int(tracking.track_faces(StandIns(release), seen, 0, margin).boxes[0, 3])

    assert (chin("1.5"), chin("1.5", 3), chin("1.5", 0)) == (80, 73, 70)
    assert (chin("1.0"), chin("1.0", 30)) == (70, 70)


# From pictures to points


def dots(places: list[tuple[int, int]], height: int, width: int) -> list[np.ndarray]:
    """Black frames, each with a white dot of 5 x 5 round a place (x, y)."""
    frames = []
    for x, y in places:
        frame = np.zeros((height, width, 3), np.uint8)
        frame[y - 2 : y + 3, x - 2 : x + 3] = 255
        frames.append(frame)
    return frames


@pytest.mark.parametrize(("height", "width"), [(384, 288), (240, 427), (333, 97), (700, 700)])
def test_points_come_back_in_the_frames_own_pixels(height: int, width: int) -> None:
    places = [(10, 20), (width // 2, height // 2), (width - 9, height - 30)]
    points, scores = keypoints.estimate_keypoints(BrightestPoint(), dots(places, height, width))
    assert points.shape == (3, 133, 2) and scores.shape == (3, 133)
    pixel = max(width / 288, height / 384) * 1.25  # of the network's input, in the frame
    for i, place in enumerate(places):
        assert np.abs(points[i] - place).max() <= 3 + pixel


@torch.inference_mode()
def test_a_batch_gives_what_single_frames_give() -> None:
    places = [(10, 20), (50, 60), (90, 30), (33, 77), (70, 11)]
    frames = dots(places, 120, 100)
    together = keypoints.estimate_keypoints(BrightestPoint(), frames)
    for i, frame in enumerate(frames):
        points, scores = keypoints.estimate_keypoints(BrightestPoint(), [frame])
        np.testing.assert_array_equal(points[0], together[0][i])
        np.testing.assert_allclose(scores[0], together[1][i], atol=1e-4)
    assert len(np.unique(together[0][:, 0], axis=0)) == len(frames)


def test_any_batch_size_observes_the_same(synthetic_models) -> None:
    models = synthetic_models()
    places = [(10, 20), (50, 60), (90, 30)]
    frames = dots(places, 120, 100)
    network = BrightestPoint()

    def estimate(batch):
        return keypoints.estimate_keypoints(network, batch)

    one, two = (observing.observe_faces(models, frames, size, estimate) for size in (1, 2))
    assert network.batches == [1, 1, 1, 2, 1]
    np.testing.assert_array_equal(one.landmarks, two.landmarks)
    np.testing.assert_array_equal(one.detections, two.detections)
    assert one.landmarks.shape == (3, 68, 2) and one.landmarks.dtype == np.int64


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1), (33, 47)])
def test_frames_of_any_size_are_looked_at(synthetic_models, height: int, width: int) -> None:
    frames = [np.full((height, width, 3), 128, np.uint8)]
    seen = observing.observe_faces(synthetic_models(), frames)
    assert (seen.height, seen.width) == (height, width)
    assert len(seen.landmarks) == len(seen.scores) == len(seen.detections) == 1
    track = tracking.track_faces(synthetic_models(), seen, 0)
    x1, y1, x2, y2 = track.boxes[0]
    assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
