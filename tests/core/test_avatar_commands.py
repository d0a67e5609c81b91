"""Prepared faces from the command line: prepared once, speaking many times, listed, and the reference's own file."""

from __future__ import annotations

import json
import logging
import sys
import textwrap
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

import musetalk_core
from musetalk_core import avatar_making, cli
from musetalk_core.avatar_commands import PREPARING, SPEAKING
from musetalk_core.avatar_record import load
from musetalk_core.cache import KINDS, Source
from musetalk_core.media_input import read_clip, read_sound
from musetalk_core.weights import chosen_kinds
from tests.core.jobs import BOX, Listeners, bursts, ends_of, film, number_of, open_mouth, track_file, voice_file
from tests.core.stand_ins import fixed_track

pytestmark = pytest.mark.usefixtures("all_skin", "models", "faces")


class Opened(Listeners):
    """Stand-ins for the networks that a command opened, and for no others."""

    dtype, host_vae = torch.float32, None

    def __init__(self, release: str, kinds: tuple[str, ...], synthetic: bool) -> None:
        super().__init__(release, synthetic)
        self.kinds = {*kinds, *(("vae_encoder", "vae_decoder") if "vae" in kinds else ())}
        self.sources = {kind: Source(kind, synthetic="small") for kind in chosen_kinds(kinds)}

    def __getattr__(self, kind: str):
        assert kind in self.kinds, f"{kind} was not opened"
        return super().__getattr__(kind)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[Opened]:
    """What the commands open instead of networks, in order."""
    opened = []

    def open_models(args, kinds):
        opened.append(Opened(args.release, kinds, synthetic=args.weights == "synthetic"))
        return opened[-1]

    monkeypatch.setattr(cli, "_open", open_models)
    return opened


@pytest.fixture
def faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame has a face, and it is always in the same place."""

    def observe(models, frames, *_, **__):
        return fixed_track(frames[0].shape[:2], BOX, [True] * len(frames)).seen

    monkeypatch.setattr(avatar_making, "observe_faces", observe)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a film of 6 frames, and voices of 2, 3 and 10 frames."""
    monkeypatch.chdir(tmp_path)
    film(tmp_path, 6)
    for frames in (2, 3, 10):
        voice_file(tmp_path / f"voice{frames}.wav", bursts(frames / 25, (0.02,), lasting=0.05))
    return tmp_path


def command(*options: str | Path) -> int:
    return cli.main([str(option) for option in options])


def prepare(*options: str, name: str = "anna") -> int:
    return command("prepare", "--source", "film.mp4", "--name", name, *options)


def shown(path: Path) -> list[int]:
    return [number_of(frame) for frame in read_clip(path).frames]


def states(said: str) -> dict[str, str]:
    """From the table at the end: the state of each output, by its path."""
    rows = [line.split(maxsplit=2) for line in said.splitlines()]
    return {Path(row[1]).as_posix(): row[0] for row in rows if row and row[0] in ("done", "there", "failed")}


def videos(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.mp4") if path.name != "film.mp4")


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


# prepare


def test_an_avatar_is_prepared_with_the_networks_that_takes(folder: Path, models: list[Opened], capsys) -> None:
    assert prepare("--bbox-shift", "3") == 0
    assert (folder / "output/avatars/anna/avatar.json").is_file()
    assert [opened.kinds for opened in models] == [set(PREPARING)]
    said = capsys.readouterr().out
    assert "anna: 6 frames at 25 fps, 64 x 64, bbox_shift 3, usable [-" in said
    assert "MB, in " in said


def test_what_is_chosen_is_what_is_prepared(folder: Path) -> None:
    options = "--extra-margin 4 --fps 12.5 --length loop --no-face hold --hold-frames 3 --upright --smoothing 0.5"
    more = "--mask-mode jaw --cheek-width 70 --seed 9 --release 1.0 --detection exact --face 32,32 --avatars made"
    assert prepare(*options.split(), *more.split()) == 0
    record = load(folder / "made" / "anna")
    chosen = record.settings
    assert (record.release, record.fps, len(record.shown)) == ("1.0", Fraction(25, 2), 3)
    assert (chosen.extra_margin, chosen.length, chosen.smoothing, chosen.seed) == (4, "loop", 0.5, 9)
    assert (chosen.mask_mode, chosen.cheek_width) == ("jaw", 70)
    faces = chosen.faces
    assert (faces.choice.point, faces.detection, faces.no_face) == ((32, 32), "exact", "hold")
    assert (faces.hold_frames, faces.upright) == (3, True)


@pytest.mark.parametrize("width", ["19", "161", "300"])
def test_a_cheek_width_out_of_range_is_refused(folder: Path, width: str, capsys) -> None:
    with pytest.raises(SystemExit):
        prepare("--cheek-width", width)
    assert "is not a whole number from 20 to 160" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../anna", "a/b", "", ".anna"])
def test_a_name_that_is_none_is_refused(folder: Path, name: str, models: list[Opened], capsys) -> None:
    assert prepare(name=name) == 1
    assert "cannot be the name of an avatar" in capsys.readouterr().err
    assert not models and not (folder / "output").exists()


# speak


@pytest.fixture
def anna(folder: Path, models: list[Opened], capsys) -> Path:
    """The current folder, with an avatar of the film."""
    assert prepare() == 0
    models.clear()
    capsys.readouterr()
    return folder


def speak(*options: str, name: str = "anna") -> int:
    return command("speak", "--name", name, *options)


def test_an_avatar_speaks_as_the_whole_job_would(anna: Path, models: list[Opened]) -> None:
    assert speak("--audio", "voice10.wav", "--output", "spoken.mp4", "--batch-size", "4") == 0
    (opened,) = models
    assert opened.kinds == set(SPEAKING) and opened.release.name == "1.5"
    track = ["--face-track", str(track_file(anna, 6)), "--batch-size", "4"]
    assert command("run", "--source", "film.mp4", "--audio", "voice10.wav", "--output", "run.mp4", *track) == 0
    spoken, expected = (np.stack(read_clip(anna / name).frames) for name in ("spoken.mp4", "run.mp4"))
    assert np.abs(spoken.astype(int) - expected).mean() < 1  # compressed twice
    assert shown(anna / "spoken.mp4") == [0, 1, 2, 3, 4, 5, 5, 4, 3, 2]
    assert any(map(open_mouth, read_clip(anna / "spoken.mp4").frames))
    assert ends_of(anna / "spoken.mp4") == ends_of(anna / "run.mp4")


def test_several_voices_with_everything_opened_once(anna: Path, models: list[Opened], capsys, monkeypatch) -> None:
    from musetalk_core import avatar_store

    open_avatar, opened = avatar_store.open_avatar, []
    monkeypatch.setattr(avatar_store, "open_avatar", lambda *given: opened.append(given) or open_avatar(*given))
    assert speak("--audio", "voice2.wav", "voice3.wav", "--audio", "voice10.wav") == 0
    names = [f"output/anna_voice{frames}.mp4" for frames in (2, 3, 10)]
    assert states(capsys.readouterr().out) == dict.fromkeys(names, "done")
    assert [len(shown(anna / name)) for name in names] == [2, 3, 10]
    assert len(models) == len(opened) == 1


def test_outputs_go_where_they_are_wanted(anna: Path) -> None:
    voices = ["--audio", "voice2.wav", "voice3.wav"]
    assert speak(*voices, "--output-folder", "made/here") == 0
    assert speak(*voices, "--output", "b.mp4", "a.mp4") == 0
    assert videos(anna) == ["a.mp4", "b.mp4", "made/here/anna_voice2.mp4", "made/here/anna_voice3.mp4"]
    assert (len(shown(anna / "b.mp4")), len(shown(anna / "a.mp4"))) == (2, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--name", "anna"], "0 voices"),
        (["--audio", "voice2.wav"], "for no avatar"),
        (["--name", "anna", "--audio", "voice2.wav", "voice3.wav", "--output", "a.mp4"], "2 voices and 1 outputs"),
        (["--name", "anna", "--audio", "voice2.wav", "--config", "a.yaml"], "both --config and --name"),
        (["--name", "anna", "--audio", "voice2.wav", "sub/voice2.wav"], "Both"),
        (["--name", "anna", "--audio", "voice2.wav", "voice3.wav", "--output", "a.mp4", "./a.mp4"], "Both"),
        (["--name", "berta", "--audio", "voice2.wav"], 'prepare --source FACE --name "berta"'),
        (["--name", "../anna", "--audio", "voice2.wav"], "cannot be the name of an avatar"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(
    anna: Path, models: list[Opened], options: list[str], said: str, capsys
) -> None:
    assert command("speak", *options) == 1
    assert said in capsys.readouterr().err
    assert not models and videos(anna) == []


def test_a_failing_voice_does_not_stop_the_others_and_what_is_done_is_not_done_again(anna: Path, capsys) -> None:
    (anna / "broken.wav").write_bytes(b"no sound")
    voices = ["--audio", "voice2.wav", "broken.wav", "missing.wav", "voice3.wav"]
    assert speak(*voices) == 1
    expected = {"voice2": "done", "broken": "failed", "missing": "failed", "voice3": "done"}
    assert states(capsys.readouterr().out) == {f"output/anna_{name}.mp4": state for name, state in expected.items()}
    voice_file(anna / "missing.wav", bursts(0.2, ()))
    assert speak(*voices) == 1
    again = expected | {"voice2": "there", "missing": "done", "voice3": "there"}
    assert states(capsys.readouterr().out) == {f"output/anna_{name}.mp4": state for name, state in again.items()}


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ([], "there"),
        (["--batch-size", "1"], "there"),
        (["--first-frames", "1"], "done"),
        (["--colour-match", "1"], "done"),
        (["--fade-in-silence"], "done"),
        (None, "done"),
    ],
)
def test_what_hangs_on_something_that_changed_is_done_again(anna: Path, capsys, change, state: str) -> None:
    assert speak("--audio", "voice2.wav") == 0
    if change is None:
        assert prepare("--bbox-shift", "2") == 0
    capsys.readouterr()
    assert speak("--audio", "voice2.wav", *(change or [])) == 0
    assert states(capsys.readouterr().out) == {"output/anna_voice2.mp4": state}


def test_the_release_is_the_avatars_and_another_is_refused(folder: Path, models: list[Opened], capsys) -> None:
    assert prepare("--release", "1.0") == 0
    assert speak("--audio", "voice2.wav") == 0
    assert models[-1].release.name == "1.0"
    with av.open("output/anna_voice2.mp4") as container:
        assert container.metadata["comment"].startswith("MuseTalk 1.0, ")
    capsys.readouterr()
    assert speak("--audio", "voice2.wav", "--release", "1.5") == 1
    said = capsys.readouterr()
    assert "prepared for MuseTalk 1.0" in said.out and states(said.out) == {"output/anna_voice2.mp4": "failed"}


def test_synthetic_weights_are_told_of(folder: Path, models: list[Opened], capsys) -> None:
    assert prepare("--weights", "synthetic") == 0
    assert "SYNTHETIC WEIGHTS" in capsys.readouterr().out
    models.clear()
    assert speak("--audio", "voice2.wav") == 1
    said = capsys.readouterr().err
    assert "prepared with synthetic weights" in said and "--weights synthetic" in said and not models
    assert speak("--audio", "voice2.wav", "--weights", "synthetic") == 0
    assert "SYNTHETIC WEIGHTS" in capsys.readouterr().out


def test_the_first_frames_and_the_sound_to_their_end(anna: Path, models: list[Opened]) -> None:
    assert speak("--audio", "voice10.wav", "--first-frames", "4", "--output", "four.mp4") == 0
    assert shown(anna / "four.mp4") == [0, 1, 2, 3]
    picture, sound = ends_of(anna / "four.mp4")
    assert picture == Fraction(4, 25) and 0 <= sound - picture <= Fraction(2048, 16000)
    assert sum(models[0].networks.unet.batches) == 4


def test_a_clip_that_ends_the_output_ends_the_sound(folder: Path) -> None:
    assert prepare("--length", "trim") == 0
    assert speak("--audio", "voice10.wav", "--output", "six.mp4") == 0
    assert shown(folder / "six.mp4") == [0, 1, 2, 3, 4, 5]
    assert read_sound("six.mp4").duration < Fraction(9, 25)


def test_timing_writes_nothing_and_does_all_the_rest(anna: Path, models: list[Opened], capsys) -> None:
    assert speak("--audio", "voice10.wav", "voice3.wav", "--no-save") == 0
    said = capsys.readouterr().out
    assert "voice10.wav: 10 frames in" in said and "voice3.wav: 3 frames in" in said and "frames a second" in said
    assert "Not done: encoding and writing" in said
    assert states(said) == {"voice10.wav": "done", "voice3.wav": "done"}
    assert sum(models[0].networks.vae.decoded) == 13
    assert videos(anna) == []


def test_timing_tells_what_failed_and_writes_nowhere(anna: Path, models: list[Opened], capsys, caplog) -> None:
    assert speak("--audio", "missing.wav", "--no-save") == 1
    said = capsys.readouterr().out
    assert states(said) == {"missing.wav": "failed"} and "Timed:" not in said
    assert speak("--audio", "voice2.wav") == 0
    with caplog.at_level(logging.INFO):
        caplog.clear()
        assert speak("--audio", "voice2.wav", "--no-save") == 0
    assert states(capsys.readouterr().out)["voice2.wav"] == "done"  # though it was before
    assert ".mp4" not in caplog.text.replace("film.mp4", "")
    models.clear()
    assert speak("--audio", "voice2.wav", "--output", "a.mp4", "--no-save") == 1
    assert "both --output and --no-save" in capsys.readouterr().err and not models


# avatars


def test_avatars_are_listed(folder: Path, capsys) -> None:
    assert command("avatars") == 0
    assert "There are no avatars in" in capsys.readouterr().out
    assert prepare("--fps", "29.97") == 0
    assert prepare("--release", "1.0", "--bbox-shift", "-2", "--weights", "synthetic", name="berta") == 0
    capsys.readouterr()
    assert command("avatars") == 0
    anna, berta = capsys.readouterr().out.splitlines()
    assert "anna: MuseTalk 1.5, 6 frames at 29.97 fps, 64 x 64, bbox_shift 0, usable [-" in anna
    assert "SYNTHETIC" not in anna
    assert "berta: MuseTalk 1.0, " in berta and "bbox_shift -2" in berta and "SYNTHETIC WEIGHTS" in berta
    assert command("avatars", "--json") == 0
    anna, berta = json.loads(capsys.readouterr().out)
    assert (anna["name"], anna["release"], anna["fps"], anna["frames"]) == ("anna", "1.5", "2997/100", 6)
    assert (berta["synthetic"], berta["bbox_shift"], len(berta["shift_range"])) == (True, -2, 2)


# The reference's configuration


CONFIG = """\
    avator_1:
      preparation: {preparation}
      bbox_shift: {shift}
      video_path: "film.mp4"
      audio_clips:
        audio_0: "voice2.wav"
        audio_1: "voice3.wav"
    """
MADE = ["output/avator_1/audio_0.mp4", "output/avator_1/audio_1.mp4"]


def configured(folder: Path, preparation: bool, shift: int = 5, more: str = "") -> int:
    write(folder / "realtime.yaml", textwrap.dedent(CONFIG).format(preparation=preparation, shift=shift) + more)
    return command("speak", "--config", "realtime.yaml")


def test_the_references_file_prepares_and_speaks(folder: Path, models: list[Opened], capsys, caplog) -> None:
    assert configured(folder, True) == 0
    said = capsys.readouterr().out
    assert "bbox_shift 5, usable" in said and states(said) == dict.fromkeys(MADE, "done")
    assert [len(shown(folder / name)) for name in MADE] == [2, 3]
    assert [set(opened.sources) for opened in models] == [set(KINDS)]
    # Prepared, it is only opened.
    models.clear()
    with caplog.at_level(logging.WARNING):
        assert configured(folder, False) == 0
    assert [opened.kinds for opened in models] == [set(SPEAKING)]
    assert states(capsys.readouterr().out) == dict.fromkeys(MADE, "there")
    assert "prepare it again" not in caplog.text


def test_a_file_that_prepares_run_twice_does_nothing_twice(folder: Path, capsys) -> None:
    assert configured(folder, True) == 0
    capsys.readouterr()
    assert configured(folder, True) == 0
    assert states(capsys.readouterr().out) == dict.fromkeys(MADE, "there")


def test_what_was_prepared_is_not_opened_again(folder: Path, monkeypatch) -> None:
    from musetalk_core import avatar_store

    monkeypatch.setattr(avatar_store, "open_avatar", lambda *_: pytest.fail("opened again"))
    assert configured(folder, True) == 0


def test_another_shift_in_the_file_is_warned_about_until_it_is_prepared_again(folder: Path, capsys, caplog) -> None:
    assert configured(folder, True) == 0
    with caplog.at_level(logging.WARNING):
        assert configured(folder, False, shift=2) == 0
    assert "with bbox_shift 5, realtime.yaml says 2" in caplog.text
    capsys.readouterr()
    assert configured(folder, True, shift=2) == 0
    said = capsys.readouterr().out
    assert "bbox_shift 2, usable" in said and states(said) == dict.fromkeys(MADE, "done")


def test_an_avatar_of_the_file_that_is_not_there_is_told_before_any_work(
    folder: Path, models: list[Opened], capsys
) -> None:
    second = "second: {preparation: False, audio_clips: {a: voice2.wav}}\n"
    assert configured(folder, True, more=second) == 1
    said = capsys.readouterr().err
    assert "no avatar second" in said and "preparation: True" in said and "realtime.yaml" in said
    assert not models


def test_an_avatar_that_cannot_be_prepared_does_not_stop_the_others(folder: Path, capsys) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    second = "second: {preparation: True, video_path: broken.png, audio_clips: {a: voice2.wav, b: voice3.wav}}\n"
    third = "third: {preparation: True, video_path: film.mp4, audio_clips: {a: voice2.wav}}\n"
    assert configured(folder, True, more=second + third) == 1
    expected = dict.fromkeys(MADE, "done") | dict.fromkeys(["output/second/a.mp4", "output/second/b.mp4"], "failed")
    assert states(capsys.readouterr().out) == expected | {"output/third/a.mp4": "done"}


def test_avatars_of_several_releases_each_get_their_own_models(folder: Path, models: list[Opened], capsys) -> None:
    assert prepare() == prepare("--release", "1.0", name="old") == 0
    models.clear()
    write(
        folder / "both.yaml",
        "".join(f"{name}: {{preparation: False, audio_clips: {{a: voice2.wav}}}}\n" for name in ("anna", "old")),
    )
    assert command("speak", "--config", "both.yaml") == 0
    assert sorted(opened.release.name for opened in models) == ["1.0", "1.5"]
    assert videos(folder) == ["output/anna/a.mp4", "output/old/a.mp4"]


def test_an_unsafe_name_in_the_file_is_refused(folder: Path, models: list[Opened], capsys) -> None:
    write(folder / "a.yaml", "../a: {preparation: True, video_path: film.mp4, audio_clips: {a: voice2.wav}}\n")
    assert command("speak", "--config", "a.yaml") == 1
    assert "cannot be the name of an avatar" in capsys.readouterr().err and not models


# bench --live


def test_the_live_bench_measures_the_prepared_sample(folder: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(models, avatar, seconds):
        measured.append((avatar.release, avatar.face.frames[0].shape, seconds))
        return {"late": 0}

    fake = SimpleNamespace(measure=measure, table=lambda report: f"late: {report['late']}")
    monkeypatch.setitem(sys.modules, "musetalk_core.bench_live", fake)
    monkeypatch.setattr(musetalk_core, "bench_live", fake, raising=False)
    assert command("bench", "--live", "--seconds", "3", "--release", "1.0") == 0
    assert capsys.readouterr().out.endswith("late: 0\n")
    assert command("bench", "--live", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"late": 0}
    assert [(release, seconds) for release, _, seconds in measured] == [("1.0", 3), ("1.5", 10)]
