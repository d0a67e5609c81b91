"""A saved face track stands in for finding the faces again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from musetalk_core import face_track_file
from musetalk_core.errors import InputError
from musetalk_core.faces import FaceTrack, make_track
from tests.core.stand_ins import SAMPLE, landmarks, observed

FACE = landmarks(20, 60, nose=50, chin=70)


@pytest.fixture
def track() -> FaceTrack:
    """Three frames; the second has no face, in the third its landmarks leave the frame."""
    detections = [(12, 22, 42, 62), (-1, -1, -1, -1), (0, 10, 30, 50)]
    seen = observed((100, 80), [FACE, FACE + 1, landmarks(-9, 40, 50, 70)], detections)
    seen.scores[1] = np.linspace(0, 1.2, 68)
    return make_track(seen, 3, 10)


def edit(path: Path, **changes: object) -> None:
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **changes}))


def test_what_was_saved_is_read_back(track: FaceTrack, tmp_path: Path) -> None:
    face_track_file.save(track, tmp_path / "a.json")
    seen = face_track_file.load(tmp_path / "a.json")
    assert (seen.height, seen.width) == (100, 80)
    np.testing.assert_array_equal(seen.landmarks, track.seen.landmarks)
    np.testing.assert_array_equal(seen.detections, track.seen.detections)
    np.testing.assert_allclose(seen.scores, track.seen.scores, atol=1e-4)
    again = make_track(seen, 3, 10)
    np.testing.assert_array_equal(again.boxes, track.boxes)
    assert again.present.tolist() == [True, False, True]
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_the_shift_stays_adjustable(track: FaceTrack, tmp_path: Path) -> None:
    face_track_file.save(track, tmp_path / "a.json")
    seen = face_track_file.load(tmp_path / "a.json")
    for shift in (-5, 0, 7):
        made = make_track(seen, shift, 0)
        assert made.boxes[0].tolist() == [20, 30 + 2 * shift, 60, 70]
        np.testing.assert_array_equal(made.boxes, make_track(track.seen, shift, 0).boxes)
        assert made.shift_range == track.shift_range


def test_people_can_read_it(track: FaceTrack, tmp_path: Path) -> None:
    face_track_file.save(track, tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text())
    assert (data["width"], data["height"], data["bbox_shift"], data["extra_margin"]) == (80, 100, 3, 10)
    assert data["shift_range"] == [7, 5]
    assert [frame["box"] for frame in data["frames"]] == [[20, 36, 60, 80], None, [0, 10, 30, 60]]
    assert [frame["detection"] for frame in data["frames"]] == [[12, 22, 42, 62], None, [0, 10, 30, 50]]
    assert data["frames"][0]["landmarks"] == FACE.tolist()
    lines = (tmp_path / "a.json").read_text().splitlines()
    assert sum('"landmarks"' in line for line in lines) == 3  # each frame on its own line
    assert lines == [line.rstrip() for line in lines]


def test_a_track_replaces_the_one_before(track: FaceTrack, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("something older and much longer" * 10000)
    face_track_file.save(track, tmp_path / "a.json")
    assert len(face_track_file.load(tmp_path / "a.json").landmarks) == 3


def test_the_samples_track_is_one() -> None:
    seen = face_track_file.load(SAMPLE / "face.json")
    assert (seen.height, seen.width, len(seen.landmarks)) == (512, 512, 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"musetalk-face-track"',
        b"{}",
        b"\xff\xfe\x00 no text",
        b"\x89PNG\r\n\x1a\n",
        b'{"format": "musetalk-face-track", "version": 1}',
    ],
)
def test_another_file_is_told_from_a_track(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match="not a face track of version 1") as failure:
        face_track_file.load(tmp_path / "a.json")
    assert str(tmp_path / "a.json") in failure.value.cause and failure.value.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "another"},
        {"version": 2},
        {"frames": []},
        {"frames": 5},
        {"frames": {"0": 1}},
        {"frames": [{"landmarks": [[1, 2]] * 67, "scores": [1] * 68, "detection": None}]},
        {"frames": [{"landmarks": [[1, 2]] * 68, "scores": [1] * 67, "detection": None}]},
        {"frames": [{"landmarks": [[1, 2]] * 68, "scores": [1] * 68, "detection": [1, 2, 3]}]},
        {"frames": [{"landmarks": [["a", 2]] * 68, "scores": [1] * 68, "detection": None}]},
        {"frames": [{"landmarks": [[10**30, 2]] * 68, "scores": [1] * 68, "detection": None}]},
        {"frames": [{"landmarks": [[1, 2]] * 68, "scores": [1] * 68}]},
        {"height": None},
        {"width": "wide"},
        {"width": float("inf")},
    ],
)
def test_a_damaged_track_is_refused(changes: dict, track: FaceTrack, tmp_path: Path) -> None:
    face_track_file.save(track, tmp_path / "a.json")
    edit(tmp_path / "a.json", **changes)
    with pytest.raises(InputError, match="not a face track of version 1"):
        face_track_file.load(tmp_path / "a.json")


def test_a_track_cut_short_is_refused(track: FaceTrack, tmp_path: Path) -> None:
    face_track_file.save(track, tmp_path / "a.json")
    whole = (tmp_path / "a.json").read_bytes()
    for kept in (0.1, 0.5, 0.99):
        (tmp_path / "a.json").write_bytes(whole[: int(len(whole) * kept)])
        with pytest.raises(InputError):
            face_track_file.load(tmp_path / "a.json")


def test_a_track_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as failure:
            face_track_file.load(path)
        assert str(path) in failure.value.cause


def test_a_place_that_cannot_be_written_is_named_and_left_clean(track: FaceTrack, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    for name in ("missing/a.json", "file/a.json", "folder.json"):
        with pytest.raises(InputError, match="could not be written") as failure:
            face_track_file.save(track, tmp_path / name)
        assert str(tmp_path / name) in failure.value.cause and failure.value.remedy
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder.json"]


def test_a_disk_that_fills_up_leaves_the_track_before(
    track: FaceTrack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: Path, text: str, **_: object) -> None:
        self.write_bytes(text.encode()[:100])
        raise OSError(28, "No space left on device")

    (tmp_path / "a.json").write_text("yesterday's")
    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(InputError, match="No space left"):
        face_track_file.save(track, tmp_path / "a.json")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.json", "yesterday's")]
