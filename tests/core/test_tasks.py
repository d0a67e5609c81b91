"""Lists of jobs: read, checked before any work, done one after the other, and not done twice."""

from __future__ import annotations

import io
import os
import sys
import textwrap
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from musetalk_core import bars, cli, run_command
from musetalk_core.bars import bar, clock
from musetalk_core.errors import InputError
from musetalk_core.media_input import read_clip
from musetalk_core.tasks import Task, read_tasks
from tests.core.jobs import Listeners, bursts, face_film, number_of, track_file, voice_file

pytestmark = pytest.mark.usefixtures("all_skin")


class CommandModels(Listeners):
    dtype, sources = torch.float32, {}


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> CommandModels:
    """What the command works with instead of networks."""
    models = CommandModels()
    monkeypatch.setattr(cli, "_open", lambda args, kinds: models)
    return models


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: faces of the numbers 1, 2 and 3, voices of 2 and 3 frames, and a face track."""
    monkeypatch.chdir(tmp_path)
    for number, frame in enumerate(face_film(4)):
        if number:
            Image.fromarray(frame).save(tmp_path / f"face{number}.png")
    for frames in (2, 3):
        voice_file(tmp_path / f"voice{frames}.wav", bursts(frames / 25, ()))
    track_file(tmp_path, 1)
    return tmp_path


def run(*options: str | Path) -> int:
    return cli.main(["run", "--face-track", "track.json", *map(str, options)])


def shown(path: Path) -> tuple[int, int]:
    """The number of the face in a video, and how many frames it has."""
    frames = read_clip(path).frames
    return number_of(frames[0]), len(frames)


def states(said: str) -> dict[str, str]:
    """From the table at the end: the state of each output, by its name."""
    rows = [line.split(maxsplit=2) for line in said.splitlines()]
    return {Path(row[1]).name: row[0] for row in rows if len(row) == 3 and row[0] in ("done", "there", "failed")}


def videos(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.mp4"))


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(textwrap.dedent(text), encoding=encoding)
    return path


# Options that are given several times


def test_sources_voices_and_outputs_belong_together_in_order(folder: Path, models, capsys) -> None:
    sources = ["--source", "face1.png", "--source", "face2.png"]
    voices = ["--audio", "voice3.wav", "--audio", "voice2.wav"]
    assert run(*sources, *voices, "--output", "b.mp4", "--output", "a.mp4") == 0
    assert (shown(folder / "b.mp4"), shown(folder / "a.mp4")) == ((1, 3), (2, 2))
    said = capsys.readouterr().out
    assert states(said) == {"b.mp4": "done", "a.mp4": "done"}
    assert "3 frames in 0:0" in said


def test_one_voice_for_many_faces_and_names_of_their_own(folder: Path, models) -> None:
    faces = [f"--source=face{number}.png" for number in (1, 2, 3)]
    assert run(*faces, "--audio", "voice2.wav") == 0
    assert videos(folder) == [f"output/face{number}_voice2.mp4" for number in (1, 2, 3)]
    assert [shown(folder / name) for name in videos(folder)] == [(1, 2), (2, 2), (3, 2)]


def test_one_face_for_many_voices_in_a_folder_of_choice(folder: Path, models) -> None:
    voices = ["--audio", "voice2.wav", "--audio", "voice3.wav"]
    assert run("--source", "face3.png", *voices, "--output-folder", "made/here") == 0
    assert videos(folder) == ["made/here/face3_voice2.mp4", "made/here/face3_voice3.mp4"]
    assert [shown(folder / name) for name in videos(folder)] == [(3, 2), (3, 3)]


def test_a_single_job_needs_no_name_either(folder: Path, models, capsys) -> None:
    assert run("--source", "face1.png", "--audio", "voice2.wav") == 0
    assert videos(folder) == ["output/face1_voice2.mp4"]
    # A single job is done whenever it is asked for.
    before = (folder / "output/face1_voice2.mp4").stat().st_ino
    assert run("--source", "face1.png", "--audio", "voice2.wav") == 0
    assert (folder / "output/face1_voice2.mp4").stat().st_ino != before
    assert "2 frames at 25 fps" in capsys.readouterr().out


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    "given",
    [
        ["--source=a", "--source=b", "--source=c", "--audio=a", "--audio=b"],
        ["--source=a"],
        ["--audio=a"],
        [],
        ["--source=a", "--source=b", "--audio=a", "--output=a.mp4"],
        ["--source=a", "--audio=a", "--output=a.mp4", "--output=b.mp4"],
        ["--source=a", "--audio=a", "--tasks=list.csv"],
        ["--output=a.mp4", "--tasks=list.csv"],
    ],
)
def test_what_does_not_belong_together_is_refused(folder: Path, given: list[str], capsys) -> None:
    write(folder / "list.csv", "source,audio\nface1.png,voice2.wav\n")
    assert run(*given) == 1
    assert "error: There are" in capsys.readouterr().err
    assert videos(folder) == []


@pytest.mark.usefixtures("no_work")
def test_two_jobs_of_one_output_are_refused_before_any_work(folder: Path, capsys) -> None:
    (folder / "sub").mkdir()
    write(
        folder / "list.csv", "source,audio\nface1.png,voice2.wav\nface2.png,voice2.wav\nsub/../face1.png,voice2.wav\n"
    )
    for given in (
        ["--source=face1.png", "--source=face2.png", "--audio=voice2.wav", "--output=a.mp4", "--output=sub/../a.mp4"],
        ["--source=face1.png", "--source=sub/face1.jpg", "--audio=voice2.wav"],  # both would be face1_voice2.mp4
        ["--tasks=list.csv"],
    ):
        assert run(*given) == 1
        said = capsys.readouterr().err
        assert "error: Both face1.png with voice2.wav and sub" in said or "and face2.png with voice2.wav" in said
        assert "would become" in said
    assert videos(folder) == []


# Lists


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_with_names(folder: Path, models, encoding: str, end: str) -> None:
    rows = [
        "source, audio,output,bbox_shift,notes",
        "face1.png,voice2.wav,eins.mp4,2,x",
        "face2.png, voice3.wav,zwei,,",
    ]
    (folder / "list.csv").write_bytes(end.join([*rows, "", ",,,,", ""]).encode(encoding))
    assert run("--tasks", "list.csv", "--output-folder", "made") == 0
    assert videos(folder) == ["made/eins.mp4", "made/zwei.mp4"]
    assert [shown(folder / name) for name in videos(folder)] == [(1, 2), (2, 3)]


def test_a_table_without_names(folder: Path, models) -> None:
    write(folder / "list.csv", 'audio,source\nvoice2.wav,"face1.png"\nvoice3.wav,face1.png\n')
    assert run("--tasks", "list.csv") == 0
    assert videos(folder) == ["output/face1_voice2.mp4", "output/face1_voice3.mp4"]


def test_files_are_looked_for_here_then_beside_the_list(folder: Path, models) -> None:
    beside = folder / "lists"
    beside.mkdir()
    (folder / "face3.png").rename(beside / "face3.png")
    Image.fromarray(face_film(9)[8]).save(beside / "face1.png")  # the one here comes first
    write(
        beside / "list.csv",
        f"source,audio,output\nface3.png,voice2.wav,{folder / 'far' / 'x.mp4'}\nface1.png,voice2.wav,\n",
    )
    assert run("--tasks", "lists/list.csv") == 0
    assert shown(folder / "far/x.mp4") == (3, 2)
    assert shown(folder / "output/face1_voice2.mp4") == (1, 2)


def test_the_references_own_list(folder: Path, models) -> None:
    write(
        folder / "list.yaml",
        """\
        task_0:
          video_path: "face1.png"
          audio_path: "voice2.wav"
          bbox_shift: -3
        task_1:
          video_path: "face2.png"
          audio_path: "voice3.wav"
          result_name: "second.mp4"
        """,
    )
    tasks = read_tasks(folder / "list.yaml", Path("out"))
    assert tasks == [
        Task(Path("face1.png"), Path("voice2.wav"), Path("out/face1_voice2.mp4"), -3),
        Task(Path("face2.png"), Path("voice3.wav"), Path("out/second.mp4"), None),
    ]
    assert run("--tasks", "list.yaml") == 0
    assert videos(folder) == ["output/face1_voice2.mp4", "output/second.mp4"]
    assert [shown(folder / name) for name in videos(folder)] == [(1, 2), (2, 3)]


def test_each_task_has_its_own_shift(folder: Path, models) -> None:
    write(
        folder / "list.csv",
        "source,audio,output,bbox_shift\n"
        + "".join(f"face1.png,voice2.wav,{name},{shift}\n" for name, shift in (("a", ""), ("b", 0), ("c", 3))),
    )
    assert run("--tasks", "list.csv", "--bbox-shift", "3") == 0
    a, b, c = (read_clip(folder / name).frames[0] for name in videos(folder))
    np.testing.assert_array_equal(a, c)
    assert (a != b).any()


BAD_TABLES = [
    ("", "no tasks"),
    ("source,audio\n", "no tasks"),
    ("source,audio\nface1.png,voice2.wav\nface2.png,\n", "row 3 of .* names no source or no audio"),
    ("source,audio\nface1.png,voice2.wav\n\n\n,voice2.wav\n", "row 5 of .* names no source or no audio"),
    ("source;audio\nface1.png;\n", "row 2 of .* names no source or no audio"),
    ("source,audio,bbox_shift\nface1.png,voice2.wav,much\n", "row 2 of .*much"),
    ("source,audio,bbox_shift\nface1.png,voice2.wav,1.5\n", r"row 2 of .*1\.5"),
]
BAD_YAML = [
    ("", "task names over their settings"),
    ("- video_path: a\n", "task names over their settings"),
    ("a: {video_path: face1.png, audio_path: voice2.wav}\nb:\n", "b of .* has no settings"),
    ("a: {video_path: face1.png, audio_path: voice2.wav}\nb: {video_path: face1.png}\n", "b of .* names no source"),
    ("a: {video_path: face1.png, audio_path: voice2.wav, bbox_shift: up}\n", "a of .*up"),
    ("a: [\n", "is not YAML"),
]


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [*(("list.csv", *row) for row in BAD_TABLES), *(("list.yaml", *row) for row in BAD_YAML)],
)
def test_a_bad_list_is_named_with_its_row(folder: Path, name: str, text: str, message: str, capsys) -> None:
    write(folder / name, text)
    with pytest.raises(InputError, match=message) as failure:
        read_tasks(Path(name), folder)
    assert name in str(failure.value)
    assert run("--tasks", name) == 1
    said = capsys.readouterr().err
    assert "error:" in said and name in said and "Traceback" not in said
    assert videos(folder) == []


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("field", ["video_path", "audio_path", "result_name"])
@pytest.mark.parametrize("name", ["x" * 300, r"a\0b"], ids=["long", "nul"])
def test_a_name_that_no_file_can_have_is_told(folder: Path, field: str, name: str) -> None:
    (folder / "output").mkdir()
    given = {"video_path": "face1.png", "audio_path": "voice2.wav"} | {field: name}
    rows = "".join(f'  {key}: "{value}"\n' for key, value in given.items())
    write(folder / "list.yaml", f"task_0:\n{rows}")
    with pytest.raises(InputError, match="There can be no file"):
        read_tasks(Path("list.yaml"), Path("output"))


def test_a_list_that_cannot_be_read_is_named(folder: Path, capsys) -> None:
    (folder / "folder.csv").mkdir()
    (folder / "excel.csv").write_bytes("source,audio\nGesicht für alle.png,voice2.wav\n".encode("cp1252"))
    (folder / "book.yaml").write_bytes(bytes(range(256)))
    for name in ("none.csv", "none.yaml", "folder.csv", "excel.csv", "book.yaml"):
        assert run("--tasks", name) == 1
        said = capsys.readouterr().err
        assert f"error: The list {name} cannot be read" in said or (name == "book.yaml" and name in said)


# What goes wrong


def test_a_failing_task_does_not_stop_the_others(folder: Path, models, capsys) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    write(
        folder / "list.csv",
        """\
        source,audio,output
        face1.png,voice2.wav,1.mp4
        broken.png,voice2.wav,2.mp4
        missing.png,voice2.wav,3.mp4
        face2.png,missing.wav,4.mp4
        face2.png,voice2.wav,5.mp4
        """,
    )
    assert run("--tasks", "list.csv") == 1
    said = capsys.readouterr().out
    expected = {"1.mp4": "done", "2.mp4": "failed", "3.mp4": "failed", "4.mp4": "failed", "5.mp4": "done"}
    assert states(said) == expected
    for reason in ("broken.png cannot be read", "no file missing.png", "no file missing.wav"):
        assert reason in said
    assert videos(folder) == ["output/1.mp4", "output/5.mp4"]
    assert not list(folder.rglob("*.part"))
    # What was missing comes, and only that is made up for.
    (folder / "face3.png").rename(folder / "missing.png")
    assert run("--tasks", "list.csv") == 1
    again = states(capsys.readouterr().out)
    assert again == expected | {"1.mp4": "there", "3.mp4": "done", "5.mp4": "there"}


def test_what_nobody_foresaw_does_not_stop_the_others(folder: Path, models, capsys) -> None:
    unet = models.networks.unet

    class Small:
        weight = unet.weight

        def parameters(self):
            return unet.parameters()

        def __call__(self, latents, *args, **kwargs):
            if len(latents) > 2:
                raise MemoryError("too large")
            return unet(latents, *args, **kwargs)

    models.networks.unet = Small()
    assert run("--source=face1.png", "--audio=voice3.wav", "--audio=voice2.wav") == 1
    said = capsys.readouterr().out
    assert states(said) == {"face1_voice3.mp4": "failed", "face1_voice2.mp4": "done"}
    assert "MemoryError: too large" in said
    assert videos(folder) == ["output/face1_voice2.mp4"]


def test_an_interrupt_stops_the_list_and_what_was_done_stays_done(
    folder: Path, models, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def stop_at_the_second(stage: str):
        begun.append(stage)

        def report(*_) -> None:
            if begun.count("speak") == 2:
                raise KeyboardInterrupt

        return report

    monkeypatch.setattr(run_command, "bar", stop_at_the_second)
    faces = [f"--source=face{number}.png" for number in (1, 2, 3)]
    assert run(*faces, "--audio", "voice2.wav") == 130
    assert "interrupted" in capsys.readouterr().err
    assert videos(folder) == ["output/face1_voice2.mp4"]
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(cli, "_open", lambda args, kinds: models)
    assert run(*faces, "--audio", "voice2.wav") == 0
    assert states(capsys.readouterr().out) == {
        "face1_voice2.mp4": "there",
        "face2_voice2.mp4": "done",
        "face3_voice2.mp4": "done",
    }


# Again


LIST = "source,audio,output,bbox_shift\nface1.png,voice2.wav,a.mp4,{shift}\nfaces,voice3.wav,b.mp4,\n"


@pytest.fixture
def done(folder: Path, models, capsys) -> Path:
    """A list that was done; its second source is a folder."""
    (folder / "faces").mkdir()
    (folder / "face2.png").rename(folder / "faces" / "1.png")
    write(folder / "list.csv", LIST.format(shift=1))
    assert run("--tasks", "list.csv") == 0
    assert states(capsys.readouterr().out) == {"a.mp4": "done", "b.mp4": "done"}
    return folder


def later(path: Path) -> None:
    """The file was written again."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 2_000_000_000))


def test_what_is_done_is_not_done_again(done: Path, models, capsys) -> None:
    before = [(done / name).stat().st_ino for name in videos(done)]
    models.networks.unet = None
    assert run("--tasks", "list.csv") == 0
    assert states(capsys.readouterr().out) == {"a.mp4": "there", "b.mp4": "there"}
    assert [(done / name).stat().st_ino for name in videos(done)] == before


@pytest.mark.parametrize(
    ("changed", "redone"),
    [
        ("face1.png", ["a.mp4"]),
        ("voice2.wav", ["a.mp4"]),
        ("faces/1.png", ["b.mp4"]),
        ("voice3.wav", ["b.mp4"]),
        ("track.json", ["a.mp4", "b.mp4"]),
        ("face3.png", []),
    ],
)
def test_what_hangs_on_a_file_that_changed_is_done_again(done: Path, capsys, changed: str, redone: list[str]) -> None:
    later(done / changed)
    assert run("--tasks", "list.csv") == 0
    again = states(capsys.readouterr().out)
    assert again == {name: "done" if name in redone else "there" for name in ("a.mp4", "b.mp4")}


@pytest.mark.parametrize(
    "setting",
    [
        ["--bbox-shift=2"],
        ["--fps=30"],
        ["--length=hold"],
        ["--detail=0.5"],
        ["--fade-in-silence"],
        ["--no-face=hold"],
        ["--face=largest"],
        ["--seed=1"],
        ["--first-frames=1"],
    ],
)
def test_with_another_setting_all_is_done_again(done: Path, capsys, setting: list[str]) -> None:
    assert run("--tasks", "list.csv", *setting) == 0
    assert states(capsys.readouterr().out) == {"a.mp4": "done", "b.mp4": "done"}
    assert run("--tasks", "list.csv", *setting) == 0
    assert states(capsys.readouterr().out) == {"a.mp4": "there", "b.mp4": "there"}


def test_a_shift_changed_in_the_list_is_heeded(done: Path, capsys) -> None:
    write(done / "list.csv", LIST.format(shift=4))
    assert run("--tasks", "list.csv") == 0
    assert states(capsys.readouterr().out) == {"a.mp4": "done", "b.mp4": "there"}


def test_with_other_models_all_is_done_again(done: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in (CommandModels("1.0"), CommandModels(synthetic=True)):
        monkeypatch.setattr(cli, "_open", lambda args, kinds, other=other: other)
        assert run("--tasks", "list.csv") == 0
        assert states(capsys.readouterr().out) == {"a.mp4": "done", "b.mp4": "done"}


@pytest.mark.parametrize("damage", ["gone", "cut", "text", "another video"])
def test_an_output_that_is_not_what_was_made_is_made_again(done: Path, capsys, damage: str) -> None:
    output = done / "output" / "a.mp4"
    content = output.read_bytes()
    if damage == "gone":
        output.unlink()
    elif damage == "another video":
        output.write_bytes((done / "output" / "b.mp4").read_bytes())
    else:
        output.write_bytes(content[:100] if damage == "cut" else b"no video")
    assert run("--tasks", "list.csv") == 0
    assert states(capsys.readouterr().out) == {"a.mp4": "done", "b.mp4": "there"}
    assert shown(output) == (1, 2)


def test_the_mark_of_a_task_stands_in_its_output(done: Path) -> None:
    said = []
    for name in videos(done):
        with av.open(str(done / name)) as container:
            said.append(container.metadata["comment"])
    assert all(comment.startswith("MuseTalk 1.5, ") for comment in said)
    assert said[0] != said[1]


# The bar


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0:00"), (0.4, "0:00"), (5, "0:05"), (59.6, "1:00"), (61, "1:01"), (3599.7, "1:00:00"), (36125, "10:02:05")],
)
def test_the_clock(seconds: float, told: str) -> None:
    assert clock(seconds) == told


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        """What the last line looks like: what comes later lies over what was there."""
        line = ""
        for text in self.getvalue().split("\n")[-1].split("\r"):
            line = text + line[len(text) :]
        return line.rstrip()


def test_the_bar_fills_up_and_tells_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, now = Terminal(), [100.0]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    report = bar("speak")
    report(0, 40000, None)
    assert terminal.shown() == f"    speak [{' ' * 30}]   0%"
    now[0] += 1000
    report(1000, 40000, None)
    assert terminal.shown() == f"    speak [{' ' * 30}]   2% 10:50:00 left"
    report(10000, 40000, None)
    assert terminal.shown() == f"    speak [{'#' * 7}{' ' * 23}]  25% 50:00 left"
    now[0] += 1000
    report(40000, 40000, None)
    assert terminal.shown() == f"    speak [{'#' * 30}] 100% 0:00 left"


def test_a_bar_of_nothing_to_do_stays_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar("look")(0, 0, None)
    assert terminal.shown() == f"     look [{' ' * 30}]   0%"


def test_no_bar_goes_into_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    report = bar("look")
    report(1, 2, None)
    assert file.getvalue() == ""


def test_a_list_that_would_overwrite_a_source_is_refused(folder: Path, no_work: None, capsys) -> None:
    film = folder / "film.mp4"
    film.write_bytes(b"precious")
    (folder / "list.csv").write_text("source,audio,output\nface1.png,voice2.wav,film.mp4\nfilm.mp4,voice2.wav,b\n")
    assert run("--tasks", "list.csv", "--output-folder", ".") == 1
    assert "film.mp4 is also a source" in capsys.readouterr().err
    assert film.read_bytes() == b"precious"


def test_a_table_with_semicolons_is_read(folder: Path) -> None:
    (folder / "list.csv").write_text("source;audio;output\nface1.png;voice2.wav;\t\n")
    (task,) = read_tasks(folder / "list.csv", Path("made"))
    assert task == Task(Path("face1.png"), Path("voice2.wav"), Path("made/face1_voice2.mp4"))


def test_a_face_picture_that_cannot_be_read_is_refused(folder: Path, no_work: None, capsys) -> None:
    (folder / "notes.txt").write_text("not a picture")
    with pytest.raises(SystemExit):
        run("--source", "face1.png", "--audio", "voice2.wav", "--face", "notes.txt")
    assert "notes.txt" in capsys.readouterr().err


def test_fewer_frames_at_once_make_the_same_video(folder: Path, models: CommandModels, capsys) -> None:
    (folder / "list.csv").write_text("source,audio\nface1.png,voice2.wav\nface2.png,voice3.wav\n")
    assert run("--tasks", "list.csv") == 0
    capsys.readouterr()
    assert run("--tasks", "list.csv", "--batch-size", "1") == 0
    assert set(states(capsys.readouterr().out).values()) == {"there"}


def test_one_file_does_not_take_several_tracks(folder: Path, no_work: None, capsys) -> None:
    (folder / "list.csv").write_text("source,audio\nface1.png,voice2.wav\n")
    assert run("--tasks", "list.csv", "--save-face-track", "t.json") == 1
    assert "several jobs" in capsys.readouterr().err
