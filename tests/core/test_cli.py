"""The command line, from files to files."""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from musetalk_core import demo, doctor, download, face_track_file, manifest, observing, run_command
from musetalk_core.cli import main
from musetalk_core.errors import DownloadError
from musetalk_core.faces import FaceTrack
from musetalk_core.media_input import read_clip, read_sound
from musetalk_core.media_output import write_video
from musetalk_core.networks import s3fd
from tests.core.stand_ins import SAMPLE, fixed_track, pictures, tone, write_clip, write_wav

NTSC = Fraction(30000, 1001)
SIZE = (64, 48)  # height, width of `pictures`
BOX = (8, 16, 40, 48)
SHOULDER = (62, 4)  # row and column of a pixel that is never touched

pytestmark = pytest.mark.usefixtures("one_cache")


def run(tmp_path: Path, source: Path, voice: Path, *more: str, output: str = "out.mp4") -> int:
    paths = ["--source", str(source), "--audio", str(voice), "--output", str(tmp_path / output)]
    return main(["run", *paths, "--weights", "synthetic", *more])


def speech(tmp_path: Path, seconds: float) -> Path:
    return write_wav(tmp_path / "voice.wav", tone(seconds, 16000)[None], 16000, "mono")


def saved_track(tmp_path: Path, track: FaceTrack) -> tuple[str, str]:
    """Options that make the command use this track."""
    face_track_file.save(track, tmp_path / "track.json")
    return "--face-track", str(tmp_path / "track.json")


def track_for(tmp_path: Path, frames: int) -> tuple[str, str]:
    return saved_track(tmp_path, fixed_track(SIZE, BOX, [True] * frames))


def comment(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.metadata["comment"]


def shades(path: Path) -> list[int]:
    """Which frame of `pictures` each frame of the video shows."""
    return [round((int(frame[SHOULDER][1]) - 40) / 10) for frame in read_clip(path).frames]


# Every kind of source


def test_a_picture_with_transparency_speaks(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.new("RGBA", (60, 90), (120, 90, 60, 128)).save(tmp_path / "face.png")
    assert run(tmp_path, tmp_path / "face.png", speech(tmp_path, 0.12)) == 0
    clip = read_clip(tmp_path / "out.mp4")
    assert (len(clip.frames), clip.fps, clip.frames[0].shape) == (3, 25, (90, 60, 3))
    assert np.abs(clip.frames[1][-1, -1].astype(int) - (120, 90, 60)).max() <= 6
    heard = read_sound(tmp_path / "out.mp4")
    assert abs(float(heard.duration) - 0.12) < 0.1 and np.abs(heard.waveform).max() > 0.3
    assert comment(tmp_path / "out.mp4") == "MuseTalk 1.5, SYNTHETIC WEIGHTS"
    assert "3 frames at 25 fps" in (said := capsys.readouterr().out)
    assert "SYNTHETIC WEIGHTS" in said


@pytest.mark.usefixtures("all_skin")
def test_a_video_of_odd_size_and_broken_rate_speaks(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "film.mp4", pictures(3, 33, 47), NTSC)
    assert read_clip(source).frames[0].shape == (33, 47, 3)
    assert run(tmp_path, source, speech(tmp_path, 0.2)) == 0
    clip = read_clip(tmp_path / "out.mp4")
    assert (len(clip.frames), clip.fps) == (5, NTSC)  # 5.99 frames
    assert clip.frames[0].shape == (33, 47, 3)
    assert [round((int(frame[31, 2, 1]) - 40) / 10) for frame in clip.frames] == [0, 1, 2, 2, 1]
    assert read_sound(tmp_path / "out.mp4").duration > 0.15


@pytest.mark.usefixtures("all_skin")
def test_a_folder_of_pictures_speaks(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    for i, frame in zip((1, 2, 10), pictures(3), strict=True):
        Image.fromarray(frame).save(tmp_path / "faces" / f"{i}.png")
    voice = speech(tmp_path, 0.2)
    assert run(tmp_path, tmp_path / "faces", voice, *track_for(tmp_path, 3), "--release", "1.0") == 0
    assert read_clip(tmp_path / "out.mp4").fps == 25
    assert shades(tmp_path / "out.mp4") == [0, 1, 2, 2, 1]
    assert comment(tmp_path / "out.mp4") == "MuseTalk 1.0, SYNTHETIC WEIGHTS"


def test_the_sample_speaks_with_its_track_and_any_voice(tmp_path: Path) -> None:
    voice = write_wav(tmp_path / "voice.wav", np.tile(tone(0.2, 44100), (2, 1)), 44100, "stereo")
    assert run(tmp_path, SAMPLE / "face.jpg", voice, "--face-track", str(SAMPLE / "face.json"), "--fps", "12.5") == 0
    clip = read_clip(tmp_path / "out.mp4")
    assert (len(clip.frames), clip.fps) == (2, Fraction(25, 2))
    face = read_clip(SAMPLE / "face.jpg").frames[0].astype(int)
    changed = np.abs(clip.frames[0] - face).max(axis=2) > 60
    assert changed[120:188, 179:272].mean() > 0.2  # the mouth, repainted with noise
    assert changed[250:].mean() < 0.001  # compression moves single pixels at the edges of colours
    assert read_sound(tmp_path / "out.mp4").waveform.shape[0] == 2


@pytest.mark.usefixtures("all_skin")
def test_frames_are_conformed_to_another_rate(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "film.mp4", pictures(12), Fraction(12))
    assert run(tmp_path, source, speech(tmp_path, 0.2), "--fps", "25", *track_for(tmp_path, 5)) == 0
    assert read_clip(tmp_path / "out.mp4").fps == 25
    assert shades(tmp_path / "out.mp4") == [0, 0, 1, 1, 2]
    fast = write_clip(tmp_path / "film.mp4", pictures(12), Fraction(50))
    assert run(tmp_path, fast, speech(tmp_path, 0.2), "--fps", "25", *track_for(tmp_path, 12)) == 0
    assert shades(tmp_path / "out.mp4") == [1, 3, 5, 7, 9]


@pytest.mark.usefixtures("all_skin")
def test_frames_without_a_face_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = write_clip(tmp_path / "film.mp4", pictures(3), Fraction(25))
    track = fixed_track(SIZE, BOX, [True, False, True])
    assert run(tmp_path, source, speech(tmp_path, 0.12), *saved_track(tmp_path, track)) == 0
    assert shades(tmp_path / "out.mp4") == [0, 1, 2]
    assert "passed through: 1" in capsys.readouterr().out


@pytest.mark.usefixtures("all_skin")
def test_damage_beyond_the_voices_reach_does_no_harm(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = tmp_path / "film.mp4"
    write_video(source, rng.integers(0, 256, (100, *SIZE, 3), np.uint8), Fraction(25), None)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 8 // 10])
    assert run(tmp_path, source, speech(tmp_path, 0.2), *track_for(tmp_path, 5)) == 0
    assert len(read_clip(tmp_path / "out.mp4").frames) == 5


@pytest.mark.usefixtures("all_skin")
def test_the_first_frames_alone(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "film.mp4", pictures(8), Fraction(25))
    assert run(tmp_path, source, speech(tmp_path, 0.4), *track_for(tmp_path, 8), "--first-frames", "2") == 0
    assert shades(tmp_path / "out.mp4") == [0, 1]
    assert read_sound(tmp_path / "out.mp4").duration < 0.2


# Face tracks


@pytest.mark.usefixtures("all_skin")
def test_a_saved_track_gives_the_same_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    source = write_clip(tmp_path / "film.mp4", list(rng.integers(0, 256, (2, 96, 80, 3), np.uint8)), Fraction(25))
    voice = speech(tmp_path, 0.12)
    shift = ("--bbox-shift", "2", "--extra-margin", "4")
    assert run(tmp_path, source, voice, *shift, "--save-face-track", str(tmp_path / "t.json"), output="a.mp4") == 0
    monkeypatch.setattr(observing, "observe_faces", None)  # faces are not looked for again
    assert run(tmp_path, source, voice, *shift, "--face-track", str(tmp_path / "t.json"), output="b.mp4") == 0
    np.testing.assert_array_equal(read_clip(tmp_path / "a.mp4").frames, read_clip(tmp_path / "b.mp4").frames)
    assert run(tmp_path, source, voice, "--face-track", str(tmp_path / "t.json"), output="c.mp4") == 0
    assert (read_clip(tmp_path / "a.mp4").frames[0] != read_clip(tmp_path / "c.mp4").frames[0]).any()


@pytest.mark.usefixtures("all_skin")
def test_a_track_of_the_whole_clip_serves_a_shorter_voice(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "film.mp4", pictures(8), Fraction(25))
    assert run(tmp_path, source, speech(tmp_path, 0.12), *track_for(tmp_path, 8)) == 0
    assert shades(tmp_path / "out.mp4") == [0, 1, 2]


def test_a_track_of_more_frames_than_the_clip_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = write_clip(tmp_path / "film.mp4", pictures(3), Fraction(25))
    assert run(tmp_path, source, speech(tmp_path, 0.4), *track_for(tmp_path, 8)) == 1
    refused(tmp_path, capsys, "8 frames", "only 3 pictures")


def test_a_track_of_other_pictures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = write_clip(tmp_path / "film.mp4", pictures(3, 64, 64), Fraction(25))
    assert run(tmp_path, source, speech(tmp_path, 0.12), *track_for(tmp_path, 3)) == 1
    assert "48 x 64, but these are 64 x 64" in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()


# What goes wrong


def refused(tmp_path: Path, capsys: pytest.CaptureFixture, *words: str) -> None:
    """The error names these, and nothing of a video is left."""
    said = capsys.readouterr().err
    assert "error:" in said and "Traceback" not in said
    for word in words:
        assert word in said
    assert not [path for path in tmp_path.rglob("*") if "out" in path.name]


@pytest.mark.parametrize("release", ["1.0", "1.5"])
def test_missing_weights_are_listed_with_their_places(
    release: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source, voice = str(SAMPLE / "face.jpg"), str(SAMPLE / "voice.wav")
    arguments = ["run", "--source", source, "--audio", voice, "--output", str(tmp_path / "out.mp4")]
    arguments += ["--weights", str(tmp_path / "models"), "--release", release]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    for file in manifest.needed(release):
        assert f"{tmp_path / 'models' / file.path}\n" in said and file.url in said
    assert "download" in said
    assert main([*arguments, "--face-track", str(SAMPLE / "face.json")]) == 1
    said = capsys.readouterr().err
    assert "unet.pth" in said or "pytorch_model.bin" in said
    assert "s3fd" not in said and "dwpose" not in said  # faces need not be found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_broken_video_is_named(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = write_clip(tmp_path / "film.mp4", pictures(3), Fraction(25))
    content = source.read_bytes()
    source.write_bytes({"empty": b"", "text": b"no video " * 99, "cut": content[: len(content) // 2]}[damage])
    assert run(tmp_path, source, speech(tmp_path, 0.12)) == 1
    refused(tmp_path, capsys, str(source))


def test_a_broken_or_missing_voice_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "voice.mp3").write_bytes(b"no sound " * 99)
    for name in ("voice.mp3", "none.wav"):
        assert run(tmp_path, SAMPLE / "face.jpg", tmp_path / name) == 1
        refused(tmp_path, capsys, str(tmp_path / name))
    assert run(tmp_path, SAMPLE / "face.jpg", speech(tmp_path, 0.03)) == 1
    refused(tmp_path, capsys, "0.030 s", "25 fps")


def test_an_output_that_cannot_be_written_is_named_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").touch()
    voice, track = speech(tmp_path, 0.04), ("--face-track", str(SAMPLE / "face.json"))
    for output in ("missing/out.mp4", "file/out.mp4"):
        assert run(tmp_path, SAMPLE / "face.jpg", voice, *track, output=output) == 1
        refused(tmp_path, capsys, str(tmp_path / output))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "voice.wav"]


def test_a_face_track_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    track = str(tmp_path / "none.json")
    assert run(tmp_path, SAMPLE / "face.jpg", speech(tmp_path, 0.04), "--face-track", track) == 1
    refused(tmp_path, capsys, track)


def test_a_clip_without_a_face_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3fd, "detect", lambda network, frames: [np.zeros((0, 5))] * len(frames))
    Image.fromarray(pictures(1)[0]).save(tmp_path / "wall.png")
    assert run(tmp_path, tmp_path / "wall.png", speech(tmp_path, 0.04), "--detection", "exact") == 1
    refused(tmp_path, capsys, "No face was found")


@pytest.mark.usefixtures("all_skin")
def test_an_interrupt_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(done: int, total: int, preview: object) -> None:
        if done == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_command, "bar", lambda stage: report)
    voice = speech(tmp_path, 0.4)
    options = ("--face-track", str(SAMPLE / "face.json"), "--batch-size", "2")
    assert run(tmp_path, SAMPLE / "face.jpg", voice, *options) == 130
    assert "interrupted" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["voice.wav"]


@pytest.mark.parametrize(
    "option",
    [
        ("--fps", "0"),
        ("--fps", "-25"),
        ("--fps", "1/0"),
        ("--fps", "1000"),
        ("--fps", "nan"),
        ("--fps", "fast"),
        ("--batch-size", "0"),
        ("--batch-size", "-1"),
        ("--first-frames", "0"),
        ("--release", "2.0"),
        ("--precision", "int4"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    option: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as failure:
        run(tmp_path, SAMPLE / "face.jpg", SAMPLE / "voice.wav", *option)
    assert failure.value.code == 2
    said = capsys.readouterr().err
    assert option[0] in said and option[1] in said


# doctor


def examine(capsys: pytest.CaptureFixture, root: Path) -> tuple[int, dict]:
    code = main(["doctor", "--json", "--weights", str(root)])
    return code, json.loads(capsys.readouterr().out)


def place(root: Path, file: manifest.WeightFile, size: int | None = None) -> Path:
    """A file of the published size (without content, so that it takes no room) or of another."""
    path = root / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, file.size or 1 if size is None else size)
    return path


def test_the_doctor_says_what_is_missing_and_where_it_belongs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, report = examine(capsys, tmp_path)
    assert code == 1 and not report["sound"]
    for release in ("1.0", "1.5"):
        missing = {file["path"]: file["url"] for file in report["releases"][release]["missing"]}
        assert missing == {str(tmp_path / file.path): file.url for file in manifest.needed(release)}
    assert any("download" in problem for problem in report["problems"])
    assert report["precision"] and report["device"] and report["packages"]["torch"]
    assert main(["doctor", "--weights", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert str(tmp_path / "musetalkV15/unet.pth") in said and "Not ready" in said


def test_the_doctor_says_when_all_is_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for file in manifest.needed("1.5"):
        place(tmp_path, file)
    code, report = examine(capsys, tmp_path)
    assert code == 0 and report["sound"] and report["problems"] == []
    assert report["releases"]["1.5"]["missing"] == report["releases"]["1.5"]["suspect"] == []
    assert [Path(file["path"]).name for file in report["releases"]["1.0"]["missing"]] == [
        "pytorch_model.bin",
        "musetalk.json",
    ]
    assert main(["doctor", "--weights", str(tmp_path)]) == 0
    assert "MuseTalk 1.5: complete" in (said := capsys.readouterr().out) and "MuseTalk 1.0: incomplete" in said


def test_the_doctor_suspects_a_file_of_the_wrong_size(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for file in manifest.needed("1.5"):
        place(tmp_path, file, 135 if file.path.endswith("unet.pth") else None)
    _, report = examine(capsys, tmp_path)
    (suspect,) = report["releases"]["1.5"]["suspect"]
    assert str(tmp_path / "musetalkV15/unet.pth") in suspect and "135 bytes" in suspect and "3400074924" in suspect


def test_the_doctor_names_a_package_that_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(doctor._PACKAGES, "diffusers", "no_such_module")
    code, report = examine(capsys, tmp_path)
    assert code == 1 and "no_such_module" in report["packages"]["diffusers"]
    assert any("diffusers" in problem and "pip install" in problem for problem in report["problems"])


def test_the_doctor_accepts_another_build_of_a_package(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cv2 also comes from opencv-contrib-python and opencv-python-headless."""
    version = importlib.metadata.version

    def other_build(name: str) -> str:
        if name == "opencv-python":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", other_build)
    for file in manifest.needed("1.5"):
        place(tmp_path, file)
    code, report = examine(capsys, tmp_path)
    assert code == 0 and report["sound"], report["problems"]
    assert "cannot" not in report["packages"]["opencv-python"]


# bench and download


@pytest.mark.parametrize("size", ["64", "64x", "0x64", "64x64x64", "axb"])
def test_a_size_that_is_none_is_refused(size: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--size", size])
    assert "--size" in capsys.readouterr().err


def test_a_download_that_reaches_nobody_names_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    elsewhere = tuple(replace(f, url=f"http://127.0.0.1:{port}/{f.path}", size=1) for f in manifest.FILES)
    monkeypatch.setattr(manifest, "FILES", elsewhere)
    assert main(["download", "--weights", str(tmp_path / "models"), "--release", "1.0"]) == 1
    heard = capsys.readouterr()
    needed = manifest.needed("1.0")
    assert f"{len(needed)} of {len(needed)} files" in heard.err
    for file in needed:
        assert file.url in heard.err and str((tmp_path / "models" / file.path).parent) in heard.err
        assert f"{file.licence} -> {tmp_path / 'models' / file.path}" in heard.out
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_download_of_what_is_there_reaches_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musetalk_core.download.urlopen", None)
    for file in manifest.needed("1.5"):
        place(tmp_path, file)
    assert main(["download", "--weights", str(tmp_path)]) == 0
    assert str(tmp_path) in capsys.readouterr().out


def test_the_demo_says_when_it_runs_without_the_real_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(file, root, progress):
        raise DownloadError(f"{file.url} could not be downloaded.", "Try again.")

    monkeypatch.setattr(download, "fetch", unreachable)
    sample = tmp_path / "sample"
    sample.mkdir()
    for name in ("face.jpg", "face.json"):
        (sample / name).write_bytes((SAMPLE / name).read_bytes())
    speech(tmp_path, 0.12).rename(sample / "voice.wav")
    monkeypatch.setattr(demo, "SAMPLE", sample)
    out = tmp_path / "new folder" / "demo.mp4"
    assert main(["demo", "--output", str(out)]) == 0
    said = capsys.readouterr().out
    assert "SYNTHETIC WEIGHTS" in said and "could not be downloaded" in said
    assert len(read_clip(out).frames) == 3
