"""Frames without a face, boxes of shifts too large, and faces that are turned upright."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from musetalk_core import face_track_file
from musetalk_core.errors import NoFaceError
from musetalk_core.face_options import FaceOptions
from musetalk_core.faces import FaceTrack, Observations
from musetalk_core.preview import draw_track
from musetalk_core.tracking import track_faces
from tests.core.stand_ins import StandIns, landmarks, observed

SIZE = HEIGHT, WIDTH = 200, 160
NO_FACE = (-1, -1, -1, -1)
DETECTED = (30, 40, 90, 120)


def seen(present: str, cuts: tuple[int, ...] = ()) -> Observations:
    """A frame for each letter, with a face where it is an x; the face moves right by a pixel a frame."""
    points = [landmarks(20 + i, 60 + i, nose=80, chin=110) for i in range(len(present))]
    observations = observed(SIZE, points, [DETECTED if there == "x" else NO_FACE for there in present])
    observations.cuts[list(cuts)] = True
    return observations


def tracked(observations: Observations, shift: int = 0, **options) -> FaceTrack:
    return track_faces(StandIns(), observations, shift, 0, FaceOptions(**options))


def shown(track: FaceTrack) -> str:
    return "".join("h" if held else ".x"[int(there)] for there, held in zip(track.present, track.held, strict=True))


# Without a face


def test_they_pass_through_unless_asked_otherwise() -> None:
    assert shown(tracked(seen("x..x"))) == "x..x"


@pytest.mark.parametrize(
    ("present", "cuts", "frames", "result"),
    [
        ("xx..x", (), 12, "xxhhx"),
        ("xx.....x.", (), 3, "xxhhh..xh"),
        ("..x..", (), 12, "..xhh"),
        ("xx...x", (3,), 12, "xxh..x"),
        ("xx..x", (2,), 12, "xx..x"),
        ("xx..x", (1,), 0, "xx..x"),
    ],
)
def test_the_last_box_is_held_within_the_shot(present: str, cuts: tuple, frames: int, result: str) -> None:
    track = tracked(seen(present, cuts), no_face="hold", hold_frames=frames)
    assert shown(track) == result
    for i in np.flatnonzero(track.held):
        assert (track.boxes[i] == track.boxes[i - 1]).all()


def test_a_held_box_has_the_mouth_where_it_was() -> None:
    track = tracked(seen("xx..x"), no_face="hold")
    for i in (2, 3):
        np.testing.assert_array_equal(track.landmarks[i], track.landmarks[1])
    assert (track.landmarks[4] != track.landmarks[1]).any()


def test_stopping_names_the_frames() -> None:
    with pytest.raises(NoFaceError, match=r"2 of 5 frames have no face: 1, 3\.") as failure:
        tracked(seen("x.x.x"), no_face="stop")
    assert failure.value.remedy
    assert shown(tracked(seen("xxx"), no_face="stop")) == "xxx"


@pytest.mark.parametrize("policy", ["pass", "hold", "stop"])
def test_no_face_at_all_is_always_an_error(policy: str) -> None:
    with pytest.raises(NoFaceError, match="any of the 3 frames"):
        tracked(seen("..."), no_face=policy)


def test_a_held_box_is_drawn_without_points() -> None:
    frames = [np.zeros((*SIZE, 3), np.uint8)] * 2
    own, held = draw_track(frames, tracked(seen("x."), no_face="hold"))
    assert held[30:].any() and (held[30:] != own[30:]).any()
    assert own[30:].any(axis=2).sum() > held[30:].any(axis=2).sum()


def test_a_saved_track_keeps_its_cuts_and_an_older_one_has_none(tmp_path: Path) -> None:
    track = tracked(seen("xx.xx", cuts=(1, 3)))
    face_track_file.save(track, tmp_path / "a.json")
    assert face_track_file.load(tmp_path / "a.json").cuts.tolist() == [False, True, False, True, False]
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace(',"cut":true', ""))
    assert not face_track_file.load(tmp_path / "a.json").cuts.any()


# Landmarks and shifts


def test_a_shift_too_large_for_one_frame_leaves_its_box_round_the_face() -> None:
    observations = observed(SIZE, [landmarks(20, 60, 60, 120), landmarks(20, 60, 60, 70)], [DETECTED] * 2)
    sides = [tracked(observations, shift).boxes[1].tolist() for shift in (8, 9, 10, 30)]
    assert sides == [[20, 66, 60, 70]] + [[20, 68, 60, 70]] * 3


def test_landmarks_set_aside_leave_the_detected_box_and_the_range_alone() -> None:
    whole, part = seen("xxx"), seen("xxx")
    part.landmarks[1] = -1
    track = track_faces(StandIns(), part, 0, 0, smoothing=1.0)
    assert tuple(track.boxes[1]) == DETECTED
    assert track.shift_range == tracked(whole).shift_range
    assert track.boxes[0, 0] < track.boxes[2, 0] < 30


# Upright


@pytest.fixture
def quarter_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minimal version of turning, in which every face lies on its side."""
    upright = ModuleType("musetalk_core.upright")

    def turn_points(points: np.ndarray, angles: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        centre = (np.array(size[::-1]) - 1) / 2
        cos, sin = np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))
        turn = np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1)
        return (points - centre) @ turn.transpose(0, 2, 1) + centre

    upright.turn_points = turn_points
    upright.roll = lambda points: np.full(len(points), 90.0)
    monkeypatch.setitem(sys.modules, "musetalk_core.upright", upright)


def lying(count: int = 1) -> Observations:
    """Faces whose chin points to the right, its nose in the middle of the frame."""
    upright = landmarks(60, 100, nose=95, chin=125)
    points = np.stack((upright[:, 1] - 15, 180 - upright[:, 0]), 1)
    return observed(SIZE, [points] * count, [DETECTED] * count)


def test_a_lying_face_has_an_upright_box_in_the_turned_frame(quarter_turn: None) -> None:
    track = tracked(lying(), upright=True)
    assert track.angles.tolist() == [90]
    x1, y1, x2, y2 = track.boxes[0]
    assert (x2 - x1, y2 - y1) == (40, 60)
    assert track.shift_range == (7, 5), "nose steps downwards in the turned frame"
    flat = tracked(lying())
    assert flat.angles.tolist() == [0] and (flat.boxes != track.boxes).any()


def test_a_turned_box_may_leave_the_frame_and_fits_the_preview(quarter_turn: None) -> None:
    observations = lying()
    observations.landmarks[0] += (0, 100)  # as far below as turns it out of the frame on the left
    track = tracked(observations, upright=True)
    x1, _, x2, _ = track.boxes[0]
    assert x1 < 0 and x2 - x1 == 40
    pictures = draw_track([np.zeros((*SIZE, 3), np.uint8)], tracked(lying(), upright=True))
    rows, columns = np.nonzero(pictures[0][30:].any(axis=2))
    assert np.ptp(columns) == pytest.approx(60, abs=3) and np.ptp(rows) == pytest.approx(40, abs=3), "it lies as well"


def test_a_face_without_landmarks_of_its_own_is_not_turned(quarter_turn: None) -> None:
    observations = lying(3)
    observations.landmarks[1] = -1
    observations.detections[2] = NO_FACE
    track = tracked(observations, upright=True, no_face="hold")
    assert track.angles.tolist() == [90, 0, 0]
    assert tuple(track.boxes[1]) == tuple(track.boxes[2]) == DETECTED


def test_a_held_box_keeps_its_angle(quarter_turn: None) -> None:
    observations = lying(2)
    observations.detections[1] = NO_FACE
    track = tracked(observations, upright=True, no_face="hold")
    assert track.angles.tolist() == [90, 90] and (track.boxes[0] == track.boxes[1]).all()
