"""A prepared avatar speaks exactly as the whole job does."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from musetalk_core.avatar import Preparation
from musetalk_core.avatar_store import avatar_info, open_avatar, prepare_avatar
from musetalk_core.face_options import FaceOptions
from musetalk_core.media_input import open_clip
from tests.core.avatars import (
    BATCH,
    FINISH,
    Looked,
    Painters,
    no_stages,
    spoken_by,
    steady,
    still,
    whole_job,
)
from tests.core.jobs import bursts, face_film, film


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch, all_skin: None) -> Looked:
    return Looked(monkeypatch)


SETTINGS = {
    "plain": Preparation(),
    "shifted": Preparation(bbox_shift=3, extra_margin=4, smoothing=0.8),
    "upright": Preparation(faces=FaceOptions(upright=True)),
    "held": Preparation(faces=FaceOptions(no_face="hold", hold_frames=1), length="hold"),
    "loop": Preparation(length="loop", smoothing=0.0),
    "trim": Preparation(length="trim"),
    "slower": Preparation(fps=Fraction(15)),
}


@pytest.mark.parametrize(("release", "choice"), [*(("1.5", choice) for choice in SETTINGS), ("1.0", "shifted")])
def test_speaks_exactly_as_the_whole_job(tmp_path: Path, monkeypatch, looked, choice: str, release: str) -> None:
    chosen = SETTINGS[choice]
    models, sound = Painters(release), bursts(1.6, (0.1, 0.5, 1.1))  # outlasts the clip
    source = film(tmp_path, 22)
    expected = whole_job(monkeypatch, models, open_clip(source), sound, chosen)
    prepare_avatar(models, open_clip(source), tmp_path / "Ann", chosen, no_stages, BATCH)
    avatar = open_avatar(tmp_path / "Ann", models)
    np.testing.assert_array_equal(spoken_by(avatar, models, sound), expected)
    np.testing.assert_array_equal(spoken_by(avatar, models, sound), expected)  # and again
    assert len({frame.tobytes() for frame in expected}) > 10
    info = avatar_info(tmp_path / "Ann")
    assert (info.name, info.release, info.fps, info.bbox_shift) == ("Ann", release, avatar.fps, chosen.bbox_shift)
    assert (info.frames, info.shown) == ((22, 22) if not chosen.fps else (13, 13))
    assert avatar.look == open_clip(source).look


@pytest.mark.parametrize("fps", [None, Fraction(25), Fraction(50)], ids=str)
def test_a_variable_rate_is_conformed(tmp_path: Path, monkeypatch, looked, fps: Fraction | None) -> None:
    models, sound, chosen = Painters(), bursts(2.0, (0.1, 0.9)), Preparation(fps=fps)
    milliseconds = np.cumsum([0, *random.Random(1).choices([17, 33, 50, 120], k=24)]).tolist()
    source = film(tmp_path, 25, Fraction(30), milliseconds=milliseconds)
    expected = whole_job(monkeypatch, models, open_clip(source), sound, chosen)
    avatar = prepare_avatar(models, open_clip(source), tmp_path / "Ann", chosen, no_stages, BATCH)
    assert avatar.fps == (fps or open_clip(source).fps)
    np.testing.assert_array_equal(spoken_by(avatar, models, sound), expected)


def test_a_still_speaks(tmp_path: Path, monkeypatch, looked) -> None:
    models, sound = Painters(), bursts(0.5, (0.1,))
    frame = face_film(1, 71, 93)[0]
    expected = whole_job(monkeypatch, models, still(frame), sound, Preparation())
    avatar = prepare_avatar(models, still(frame), tmp_path / "Ann", Preparation(), no_stages, BATCH)
    assert avatar.look is None and avatar.fps == 25
    np.testing.assert_array_equal(spoken_by(avatar, models, sound), expected)


def test_a_shorter_voice_shows_the_same_where_nothing_is_smoothed(tmp_path: Path, monkeypatch, looked) -> None:
    models, sound, chosen = Painters(), bursts(0.5, (0.1, 0.3)), Preparation(smoothing=0.0)
    clip = steady(face_film(20))
    avatar = prepare_avatar(models, clip, tmp_path / "Ann", chosen, no_stages, BATCH)
    np.testing.assert_array_equal(
        spoken_by(avatar, models, sound), whole_job(monkeypatch, models, clip, sound, chosen)
    )


@pytest.mark.parametrize(("release", "seed"), [("1.5", None), ("1.0", 2**64 - 2)])
def test_real_networks_give_exactly_the_same(
    tmp_path: Path, monkeypatch, looked, synthetic_models, release: str, seed: int | None
) -> None:
    """The small synthetic ones; the faces are found by stand-ins, so that some frames have none."""
    models, sound = synthetic_models(release), bursts(0.45, (0.1,))
    clip = steady(face_film(8))
    chosen = Preparation(seed=seed, faces=FaceOptions(upright=True))
    expected = whole_job(monkeypatch, models, clip, sound, chosen, finish=FINISH)
    avatar = prepare_avatar(models, clip, tmp_path / "Ann", chosen, no_stages, BATCH)
    np.testing.assert_array_equal(spoken_by(avatar, models, sound), expected)
    info = avatar_info(tmp_path / "Ann")
    assert info.synthetic and info.precision == "fp32" and info.faceless == 2
