"""Manifests of many clips: what a line says is heeded, the command fills in the rest, and what is wrong is named."""

from __future__ import annotations

import json
import re
import textwrap
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from musetalk_core import avatar_record
from musetalk_core.batch_manifest import Line, read_manifest
from musetalk_core.errors import InputError
from musetalk_core.face_options import FaceChoice, FaceOptions
from musetalk_core.finishing import Finish
from musetalk_core.job import Settings
from musetalk_core.tasks import Task
from tests.core.manifests import options, prepare


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def anna(folder: Path, all_skin: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prepared avatar in the usual place."""
    prepare(Path("output/avatars/anna"), monkeypatch)


def read(name: str, text: str, *words: str, encoding: str = "utf-8") -> list[Line]:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding=encoding)
    return read_manifest(path, options(*words))


def one(*words: str, **keys: object) -> Line:
    """The only line of a manifest that says this."""
    (line,) = read("clips.jsonl", json.dumps({"source": "face.mp4", "voice": "voice.wav"} | keys), *words)
    return line


def refused(text: str, name: str = "clips.jsonl") -> str:
    with pytest.raises(InputError) as failure:
        read(name, text)
    return str(failure.value)


# What a line says


def test_a_table_is_read(folder: Path) -> None:
    lines = read(
        "clips.csv",
        """\
        source;voice;output;bbox-shift;length

        face.mp4;a.wav;;;
        face.mp4;b.wav;other/b;-3;loop
        ;;;;
        """,
        encoding="utf-8-sig",
    )
    assert [line.name for line in lines] == ["line 3", "line 4"]
    assert [line.task for line in lines] == [
        Task(Path("face.mp4"), Path("a.wav"), Path("output/face_a.mp4")),
        Task(Path("face.mp4"), Path("b.wav"), Path("output/other/b.mp4")),
    ]
    assert [line.settings for line in lines] == [Settings(), Settings(bbox_shift=-3, length="loop")]


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "JSONL"])
def test_json_lines_are_read(folder: Path, ending: str) -> None:
    first = '{"source": "a.mp4", "voice": "v.wav"}'
    second = '{"video_path": "b.mp4", "audio_path": "v.wav", "result_name": "x"}'
    lines = read(f"clips.{ending}", f"\n{first}\n\n{second}\n")
    assert [(line.name, line.task.source.name, line.task.output) for line in lines] == [
        ("line 2", "a.mp4", Path("output/a_v.mp4")),
        ("line 4", "b.mp4", Path("output/x.mp4")),
    ]


def test_every_setting_of_run_may_stand_in_a_line(folder: Path) -> None:
    chosen = {
        "bbox_shift": -7,
        "extra-margin": 4,
        "fps": "30000/1001",
        "length": "hold",
        "face": "12,34",
        "detection": "exact",
        "no_face": "hold",
        "hold-frames": 5,
        "upright": True,
        "smoothing": 0.5,
        "fade_in_silence": "yes",
        "detail": 0.25,
        "colour_match": 1,
        "face_track": "track.json",
        "backend": "mmpose",
        "batch_size": 3,
        "seed": 2**64 - 1,
        "first_frames": 2,
    }
    expected = Settings(
        bbox_shift=-7,
        extra_margin=4,
        fps=Fraction(30000, 1001),
        length="hold",
        faces=FaceOptions(FaceChoice("point", point=(12, 34)), "exact", "hold", 5, True),
        smoothing=0.5,
        fade_in_silence=True,
        finish=Finish(0.25, 1.0),
        face_track=Path("track.json"),
        backend="mmpose",
        batch_size=3,
        seed=2**64 - 1,
        first_frames=2,
    )
    assert one(**chosen).settings == expected
    assert one(settings=chosen).settings == expected


def test_the_command_fills_in_what_a_line_leaves_out(folder: Path) -> None:
    words = ["--bbox-shift=3", "--upright", "--fade-in-silence", "--fps=25", "--face=largest", "--output-folder=made"]
    line = one(*words, bbox_shift=0, fade_in_silence=False, fps="keep", face="")
    assert (line.settings.bbox_shift, line.settings.fade_in_silence, line.settings.fps) == (0, False, None)
    assert line.settings.faces == FaceOptions(FaceChoice("largest"), upright=True)
    assert line.task.output == Path("made/face_voice.mp4")


@pytest.mark.parametrize(
    ("written", "meant"), [("no", False), ("0", False), (0, False), ("FALSE", False), ("1", True)]
)
def test_a_switch_is_set_either_way(folder: Path, written: object, meant: bool) -> None:
    assert one(*([] if meant else ["--upright"]), upright=written).settings.faces.upright is meant


def test_files_are_looked_for_here_and_then_beside_the_manifest(folder: Path) -> None:
    beside = folder / "lists"
    beside.mkdir()
    for name in ("face.mp4", "voice.wav", "track.json"):
        (beside / name).touch()
    (folder / "voice.wav").touch()
    Image.fromarray(np.full((4, 4, 3), 9, np.uint8)).save(beside / "anna.png")
    (line,) = read(
        "lists/clips.csv",
        "source,voice,face_track,face\nface.mp4,voice.wav,track.json,anna.png\n",
        "--output-folder",
        "o",
    )
    assert line.task == Task(Path("lists/face.mp4"), Path("voice.wav"), Path("o/face_voice.mp4"))
    assert line.settings.face_track == Path("lists/track.json")
    assert (line.settings.faces.choice.picture == 9).all()


def test_an_absolute_output_stays_where_it_is(folder: Path) -> None:
    assert one(output=str(folder / "far" / "x.MP4")).task.output == folder / "far" / "x.MP4"


def test_lines_with_the_same_picture_of_a_face_hold_it_once(folder: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save("anna.png")
    first, second = read("clips.csv", "source,voice,face\na.mp4,v.wav,anna.png\nb.mp4,v.wav,anna.png\n")
    assert first.settings.faces.choice.picture is second.settings.faces.choice.picture


# Avatars


def test_an_avatar_stands_for_a_source(anna: None) -> None:
    text = '{"avatar": "anna", "voice": "voice.wav", "detail": 0.5, "fade_in_silence": true, "first_frames": 3}'
    (line,) = read("clips.jsonl", text, "--bbox-shift", "3", "--colour-match", "0.25", "--face-track", "track.json")
    assert line.avatar == Path("output/avatars/anna")
    assert line.task == Task(line.avatar / avatar_record.FILE, Path("voice.wav"), Path("output/anna_voice.mp4"))
    # What the command says about faces is for the other lines.
    assert line.settings == Settings(finish=Finish(0.5, 0.25), fade_in_silence=True, first_frames=3)
    assert one().avatar is None


def test_an_avatar_takes_no_setting_of_a_face(anna: None) -> None:
    for setting in ('"bbox_shift": 3', '"face_track": "track.json"', '"seed": 1'):
        said = refused(f'{{"avatar": "anna", "voice": "voice.wav", {setting}}}')
        assert "line 1 of clips.jsonl" in said and "not for an avatar" in said


def test_an_avatar_must_be_there_and_fit_the_weights(anna: None) -> None:
    said = refused('{"avatar": "berta", "voice": "voice.wav"}')
    assert "line 1 of clips.jsonl" in said and "no avatar berta" in said and "prepare --source FACE" in said
    assert "cannot be the name" in refused('{"avatar": "../anna", "voice": "voice.wav"}')
    Path("clips.csv").write_text("avatar,voice\nanna,voice.wav\n")
    with pytest.raises(InputError, match=r"line 2 of clips\.csv: .* synthetic weights"):
        read_manifest(Path("clips.csv"), options(weights="somewhere"))


# What is wrong


PAIR = '"source": "face.mp4", "voice": "voice.wav"'


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "no source and no avatar"),
        ('{"voice": "voice.wav"}', "no source and no avatar"),
        (f'{{{PAIR}, "avatar": "anna"}}', "both a source and an avatar"),
        ('{"source": "face.mp4", "voice": " "}', "no voice"),
        (f'{{{PAIR}, "mouth": 3}}', "no column 'mouth'"),
        (f'{{{PAIR}, "save_face_track": "x.json"}}', "no column 'save_face_track'"),
        (f'{{{PAIR}, "settings": {{"mouth": 3}}}}', "no column 'mouth'"),
        (f'{{{PAIR}, "settings": [3]}}', "no column 'settings'"),
        (f'{{{PAIR}, "audio": "b.wav"}}', "voice is there twice"),
        (f'{{{PAIR}, "source": "b.mp4"}}', "source is there twice"),
        (f'{{{PAIR}, "fps": 25, "settings": {{"fps": 30}}}}', "fps is there twice"),
        (f'{{{PAIR}, "bbox_shift": 1, "bbox-shift": 2}}', "bbox_shift is there twice"),
        (f'{{{PAIR}, "bbox_shift": "much"}}', "bbox-shift.*much"),
        (f'{{{PAIR}, "bbox_shift": 1.5}}', r"bbox-shift.*1\.5"),
        (f'{{{PAIR}, "bbox_shift": null}}', "bbox_shift is of the wrong kind"),
        (f'{{{PAIR}, "bbox_shift": [1]}}', "bbox_shift is of the wrong kind"),
        (f'{{{PAIR}, "length": {{"a": 1}}}}', "length is of the wrong kind"),
        (f'{{{PAIR}, "length": "backwards"}}', "length.*backwards"),
        (f'{{{PAIR}, "detail": NaN}}', "nan is not a number from 0 to 1"),
        (f'{{{PAIR}, "fps": Infinity}}', "inf is neither"),
        (f'{{{PAIR}, "fps": 1e999}}', "inf is neither"),
        (f'{{{PAIR}, "hold_frames": "{"9" * 9999}"}}', "hold-frames"),
        (f'{{{PAIR}, "batch_size": {"9" * 9999}}}', "not JSON|batch-size"),
        (f'{{{PAIR}, "batch_size": true}}', "True is not a whole number"),
        (f'{{{PAIR}, "seed": -1}}', "-1 is not a whole number"),
        (f'{{{PAIR}, "upright": "maybe"}}', "no value of upright 'maybe'"),
        (f'{{{PAIR}, "upright": 2}}', "no value of upright '2'"),
        (f'{{{PAIR}, "face": "nobody.png"}}', "nobody.png is none of"),
        (f'{{{PAIR}, "output": 3}}', "output is of the wrong kind"),
        ('{"source": null, "voice": "voice.wav"}', "source is of the wrong kind"),
        ('{"source": ["face.mp4"], "voice": "voice.wav"}', "source is of the wrong kind"),
        ('{"source": 7, "voice": "voice.wav"}', "source is of the wrong kind"),
        (f'{{"source": "{"x" * 300}", "voice": "voice.wav"}}', "There can be no file"),
        ('{"source": "a\\u0000b", "voice": "voice.wav"}', "There can be no file"),
        ('{"source": "\\ud800", "voice": "voice.wav"}', "There can be no file"),
        (f'{{{PAIR}, "output": "{"x" * 300}"}}', "There can be no file"),
        ('["source", "voice"]', "no JSON object"),
        ('[["source", "face.mp4"], ["voice", "voice.wav"]]', "no JSON object"),
        ("3", "no JSON object"),
        ("source,voice", "not JSON"),
        (f"{{{PAIR}", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_is_named(line: str, message: str) -> None:
    Path("output").mkdir()
    # The line before it is fine, the empty one counts.
    said = refused(f'{{"source": "a.mp4", "voice": "b.wav"}}\n\n{line}\n')
    assert said.startswith("line 3 of clips.jsonl: ")
    assert re.search(message, said) and len(said) < 1000


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "no clips"),
        ("source,voice\n", "no clips"),
        ("source,voice\nface.mp4\n", "line 2 .*no voice"),
        ("source,voice\nface.mp4,voice.wav,more\n", "line 2 .*more cells than columns"),
        ("source,voice,mouth\nface.mp4,voice.wav,wide\n", "line 2 .*no column 'mouth'"),
        ("source,source,voice\na.mp4,b.mp4,voice.wav\n", "Two columns of clips.csv are called source"),
        ("source,video_path,voice\na.mp4,b.mp4,voice.wav\n", "line 2 .*source is there twice"),
        ("source,voice,detail\na.mp4,b.wav,2\n", "line 2 .*2 is not a number from 0 to 1"),
    ],
)
def test_a_bad_table_is_named(table: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read("clips.csv", table)


def test_empty_columns_do_no_harm(folder: Path) -> None:
    (line,) = read("clips.csv", "source,voice,,\nface.mp4,voice.wav,,,,\n")
    assert line.settings == Settings()


def test_what_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "folder.jsonl").mkdir()
    (folder / "latin.jsonl").write_bytes('{"source": "für.mp4", "voice": "v.wav"}'.encode("cp1252"))
    (folder / "latin.csv").write_bytes("source,voice\nfür.mp4,v.wav\n".encode("cp1252"))
    for name in ("none.csv", "none.jsonl", "folder.jsonl", "latin.jsonl", "latin.csv"):
        with pytest.raises(InputError, match=f"The manifest {name} cannot be read"):
            read_manifest(Path(name), options())
    with pytest.raises(InputError, match=r"\.csv file, or JSON lines in a \.jsonl"):
        read_manifest(Path("clips.yaml"), options())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("source,voice\na/face.mp4,v.wav\nb/face.mp4,v.wav\n", "Both .* would become"),
        ("source,voice,output\na.mp4,v.wav,x\nb.mp4,v.wav,x.mp4\n", "Both .* would become"),
        ("source,voice,output\na.mp4,v.wav,b\nb.mp4,v.wav,c\n", "b.mp4 is also a source"),
    ],
)
def test_an_output_is_nobody_elses(folder: Path, table: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read("clips.csv", table, "--output-folder", ".")
