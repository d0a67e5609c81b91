"""A clip that is made in pieces shows exactly the frames that it shows when it is made in one go."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from musetalk_core.avatar import Preparation
from musetalk_core.avatar_store import open_avatar, prepare_avatar
from musetalk_core.face_options import FaceChoice, FaceOptions
from musetalk_core.finishing import Finish
from musetalk_core.media_input import open_clip, read_voice
from tests.core.avatars import GONE, Looked, no_stages
from tests.core.batches import BATCH, Painted, clip, make_whole, painters, records, stages_of
from tests.core.jobs import bursts, face_film, film, numbered, track_file, voice_file
from tests.core.media_samples import NTSC, encode_film


@pytest.fixture(autouse=True)
def looked(monkeypatch: pytest.MonkeyPatch, all_skin: None) -> Looked:
    return Looked(monkeypatch)


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> Painted:
    return Painted(monkeypatch)


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """17 frames at 25 a second."""
    return voice_file(tmp_path / "voice.wav", bursts(0.7, (0.1, 0.3, 0.5), lasting=0.06))


def same_in_pieces(
    painted: Painted, source: Path, voice: Path, pieces: int = 3, release: str = "1.5", **settings
) -> dict:
    """What the report says of a clip whose frames are the same in pieces as in one go.

    Exactly, because the stand-ins treat each face of a batch by itself. Real networks round otherwise in batches of
    other faces: a frame that is shown again in another piece is encoded again, with others beside it, and may come
    out different in the last place.
    """
    of = clip(source, voice, voice.with_name("pieces.mp4"), **settings)
    models = painters(release)
    make_whole(models, of, voice.with_name("whole.mp4"))
    expected = painted.taken()
    (record,) = records(models, of)
    assert record["state"] == "done", record["error"]
    assert stages_of(record).count("speak") == pieces
    np.testing.assert_array_equal(painted.taken(), expected)
    return record


SETTINGS = {
    "as it is": {},
    "loop, smooth, shifted": {"length": "loop", "smoothing": 1.0, "bbox_shift": 3, "extra_margin": 4},
    "hold, raw, upright": {"length": "hold", "smoothing": 0.0, "faces": FaceOptions(upright=True)},
    "noise": {"seed": 2**64 - 3},
    "fading, finished": {"fade_in_silence": True, "finish": Finish(0.5, 0.5)},
    "held across an edge": {"faces": FaceOptions(no_face="hold", hold_frames=2)},
    "chosen": {"faces": FaceOptions(FaceChoice("largest"))},
}


@pytest.mark.parametrize("choice", SETTINGS)
def test_a_clip_that_the_voice_outlasts(tmp_path: Path, painted: Painted, voice: Path, choice: str) -> None:
    assert GONE == (5, 6)  # on both sides of where the first piece ends
    record = same_in_pieces(painted, film(tmp_path, 11), voice, **SETTINGS[choice])
    assert record["frames"] == 17


@pytest.mark.parametrize(
    ("choice", "frames", "pieces"),
    [
        ({}, 17, 3),
        ({"length": "trim"}, 17, 3),
        ({"first_frames": 8}, 8, 2),
        ({"fps": NTSC}, 20, 4),
        ({"fps": Fraction(10)}, 7, 3),
        ({"fps": Fraction(50)}, 35, 3),
        ({"batch_size": 4, "shard_seconds": 0.01}, 17, 5),  # a batch at least
        ({"shard_seconds": 0.7}, 17, 0),  # a shard at most is finished at once
        ({"first_frames": 1}, 1, 0),
    ],
    ids=str,
)
def test_a_clip_longer_than_the_voice(
    tmp_path: Path, painted: Painted, voice: Path, choice: dict, frames: int, pieces: int
) -> None:
    assert same_in_pieces(painted, film(tmp_path, 30), voice, pieces, **choice)["frames"] == frames


def test_a_clip_that_ends_before_the_voice(tmp_path: Path, painted: Painted, voice: Path) -> None:
    assert same_in_pieces(painted, film(tmp_path, 9), voice, 2, length="trim")["frames"] == 9


def test_the_older_release(tmp_path: Path, painted: Painted, voice: Path) -> None:
    same_in_pieces(painted, film(tmp_path, 20), voice, release="1.0")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pieces_of_few_frames(tmp_path: Path, painted: Painted, size: int) -> None:
    sound = voice_file(tmp_path / "voice.wav", bursts(0.28, (0.1,), lasting=0.1))
    pieces = -(-7 // size)
    same_in_pieces(painted, film(tmp_path, 5), sound, pieces, batch_size=1, shard_seconds=size / 25)


@pytest.mark.parametrize(("fps", "pieces"), [(None, 4), (Fraction(25), 3)], ids=str)
def test_a_variable_rate(tmp_path: Path, painted: Painted, voice: Path, fps: Fraction | None, pieces: int) -> None:
    milliseconds = np.cumsum([0, *random.Random(1).choices([17, 33, 50, 120], k=24)]).tolist()
    source = film(tmp_path, 25, Fraction(30), milliseconds=milliseconds)
    same_in_pieces(painted, source, voice, pieces, fps=fps)


def test_a_folder_of_pictures(tmp_path: Path, painted: Painted, voice: Path) -> None:
    (tmp_path / "faces").mkdir()
    for i, frame in enumerate(face_film(8)):
        Image.fromarray(frame).save(tmp_path / "faces" / f"{i}.png")
    same_in_pieces(painted, tmp_path / "faces", voice)


def test_a_single_picture(tmp_path: Path, painted: Painted, voice: Path) -> None:
    Image.fromarray(face_film(1, 71, 93)[0]).save(tmp_path / "face.png")
    same_in_pieces(painted, tmp_path / "face.png", voice)


@pytest.mark.parametrize("fps", [None, Fraction(25)], ids=str)
def test_a_saved_face_track(tmp_path: Path, painted: Painted, voice: Path, fps: Fraction | None) -> None:
    """Of a clip of 50 frames a second, of which all are shown, or half."""
    track = track_file(tmp_path, 20, present=[i not in (5, 6, 12) for i in range(20)])
    same_in_pieces(painted, film(tmp_path, 20, Fraction(50)), voice, face_track=track, fps=fps)


def test_a_face_track_that_ends_before_the_clip(tmp_path: Path, painted: Painted, voice: Path) -> None:
    same_in_pieces(painted, film(tmp_path, 20), voice, face_track=track_file(tmp_path, 7))


@pytest.mark.parametrize(
    ("other", "held"),
    [(range(6, 20), 1), (range(5, 20), 0), (range(5, 6), 2)],
    ids=["cut at the edge", "cut before the edge", "flash before the edge"],
)
def test_another_shot_at_the_edge_of_a_piece(
    tmp_path: Path, painted: Painted, voice: Path, other: range, held: int
) -> None:
    """Across a cut no box is held: in the frames 5 and 6, on both sides of the edge, there is no face."""
    frames = [numbered(255 - frame, i) if i in other else frame for i, frame in enumerate(face_film(20))]
    encode_film(tmp_path / "film.mp4", frames)
    record = same_in_pieces(painted, tmp_path / "film.mp4", voice, faces=FaceOptions(no_face="hold"))
    assert (record["frames_on_last_box"], record["frames_without_face"]) == (held, 2 - held)


@pytest.mark.parametrize("settings", [{}, {"fade_in_silence": True, "first_frames": 14, "finish": Finish(0.5, 0.5)}])
def test_an_avatar(tmp_path: Path, painted: Painted, voice: Path, settings: dict) -> None:
    models = painters()
    prepare_avatar(models, open_clip(film(tmp_path, 8)), tmp_path / "Ann", Preparation(), no_stages, BATCH)
    avatar, sound = open_avatar(tmp_path / "Ann", models), read_voice(voice)
    expected = list(avatar.speak(models, sound, BATCH, **settings).frames)
    of = clip(tmp_path / "Ann" / "avatar.json", voice, tmp_path / "out.mp4", tmp_path / "Ann", **settings)
    (record,) = records(models, of)
    assert stages_of(record) == ["begin", "speak", "speak", "speak", "join"]
    assert record["frames_without_face"] == len(GONE)
    np.testing.assert_array_equal(painted.taken(), expected)


def test_real_networks(tmp_path: Path, painted: Painted, synthetic_models) -> None:
    """The small synthetic ones, where no frame is shown twice: the batches are those of the clip in one go."""
    sound = voice_file(tmp_path / "voice.wav", bursts(0.16, (0.02,), lasting=0.1))
    of = clip(film(tmp_path, 4), sound, tmp_path / "pieces.mp4", shard_seconds=0.08, batch_size=2)
    models = synthetic_models()
    make_whole(models, of, tmp_path / "whole.mp4")
    expected = painted.taken()
    (record,) = records(models, of)
    assert stages_of(record).count("speak") == 2
    np.testing.assert_array_equal(painted.taken(), expected)
