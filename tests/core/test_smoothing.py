"""Smoothing takes the jitter out of a box and leaves it where the face is."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.faces import Observations
from musetalk_core.smoothing import OneEuro, runs, smooth
from musetalk_core.tracking import track_faces
from tests.core.stand_ins import StandIns, landmarks

FPS = Fraction(25)
FRAMES = 100
FACE = landmarks(200, 360, nose=280, chin=380, steps=(20, 25))  # 160 px wide, as a track from 1080p


def clip(path: np.ndarray, jitter: float = 1.5, cuts: tuple[int, ...] = ()) -> Observations:
    """A face that is moved by ``path`` (frames, 2), px, as a network sees it."""
    rng = np.random.default_rng(0)
    points = FACE + path[:, None] + rng.normal(0, jitter, (len(path), 68, 2))
    shots = np.isin(np.arange(len(path)), cuts)
    detections = np.tile((100, 100, 400, 400), (len(path), 1))
    return Observations(
        2000, 2000, np.floor(points).astype(np.int64), np.ones((len(path), 68), np.float32), detections, shots
    )


def boxes(seen: Observations, strength: float) -> np.ndarray:
    track = track_faces(StandIns(), seen, 0, 0, smoothing=strength, fps=FPS)
    np.testing.assert_array_equal(track.seen.landmarks, seen.landmarks)  # what was seen stays raw
    return track.boxes.astype(float)


def still(frames: int = FRAMES) -> np.ndarray:
    return np.zeros((frames, 2))


def nodding(frames: int = FRAMES) -> np.ndarray:
    """Up and down by a fifth of the face, once a second."""
    return np.stack((np.zeros(frames), 32 * np.sin(2 * np.pi * np.arange(frames) / 25)), 1)


def crossing(frames: int = FRAMES) -> np.ndarray:
    """To the right, one face width a second, and to a stop."""
    return np.stack((np.clip(np.arange(frames) - 20, 0, 50) * 6.4, np.zeros(frames)), 1)


def jitter(boxes: np.ndarray) -> float:
    """Standard deviation of the change from frame to frame, px."""
    return float(np.diff(boxes, axis=0).std())


def lag(boxes: np.ndarray, path: np.ndarray) -> float:
    """By how many frames the boxes follow the face, from the best fit of their centres."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    axis = int(path.std(axis=0).argmax())
    at = np.arange(len(path))
    tries = np.arange(-4, 4.01, 0.1)
    moved = [np.interp(at - t, at, path[:, axis]) for t in tries]
    errors = [np.var((centres[:, axis] - one)[5:-5]) for one in moved]
    return float(tries[int(np.argmin(errors))])


def test_off_changes_nothing() -> None:
    seen = clip(nodding())
    assert smooth(seen.landmarks, seen.marked, seen.cuts, FPS, 0.0) is seen.landmarks
    np.testing.assert_array_equal(boxes(seen, 0.0), track_faces(StandIns(), seen, 0, 0).boxes)


def test_a_face_at_rest_stands_stiller_the_stronger_it_is() -> None:
    measured = [jitter(boxes(clip(still()), strength)) for strength in (0.0, 0.3, 0.6, 1.0)]
    assert measured == sorted(measured, reverse=True)
    assert measured[-1] < measured[0] / 3


@pytest.mark.parametrize("path", [nodding(), crossing()])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_a_moving_face_is_followed_without_lag(path: np.ndarray, strength: float) -> None:
    smoothed, raw = (boxes(clip(path), s) for s in (strength, 0.0))
    assert abs(lag(smoothed, path) - lag(raw, path)) <= 0.15
    assert np.abs(smoothed - raw).mean() < 0.04 * 160


def test_the_causal_filter_lags_where_the_offline_one_does_not() -> None:
    path = nodding()
    points = FACE + path[:, None]
    causal = OneEuro(float(FPS), 0.5, 8 / 160)
    followed = np.array([causal(frame.astype(float)) for frame in points])[:, :1]
    both = smooth(points, np.ones(len(points), bool), np.zeros(len(points), bool), FPS, 1.0)[:, :1]
    start = FACE[0]
    behind, level = (lag(np.concatenate((f - start, f - start), 2)[:, 0], path) for f in (followed, both))
    assert behind > 0.5 and abs(level) <= 0.1


def test_a_strength_does_the_same_to_large_and_small_faces() -> None:
    seen = clip(nodding())
    small, large = (smooth(k * seen.landmarks, seen.marked, seen.cuts, FPS, 0.7) for k in (1, 4))
    np.testing.assert_allclose(large, 4 * small)


def test_nothing_is_carried_across_a_cut_or_an_absence() -> None:
    seen = clip(np.concatenate((still(20), still(20) + 300)), jitter=0, cuts=(20,))
    marks = smooth(seen.landmarks, seen.marked, seen.cuts, FPS, 1.0)
    np.testing.assert_allclose(marks, seen.landmarks)
    here = np.arange(40) != 20
    marks = smooth(seen.landmarks[:, :1], here, np.zeros(40, bool), FPS, 1.0)
    np.testing.assert_allclose(marks, seen.landmarks[:, :1])


def test_runs_are_the_stretches_with_a_face() -> None:
    present = np.array([0, 1, 1, 0, 1, 1, 1, 1], bool)
    cuts = np.array([0, 0, 0, 0, 0, 0, 1, 0], bool)
    assert list(runs(present, cuts)) == [slice(1, 3), slice(4, 6), slice(6, 8)]
    assert list(runs(~present, cuts)) == [slice(0, 1), slice(3, 4)]
