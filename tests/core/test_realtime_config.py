"""The reference's real-time configuration is read as it is, and a wrong one is told what is wrong with it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from musetalk_core.errors import InputError
from musetalk_core.realtime_config import Entry, read_config

REFERENCE = """\
    avator_1:
      preparation: True            # your preparation is done -> False
      bbox_shift: 5
      video_path: "data/video/yongen.mp4"
      audio_clips:
        audio_0: "data/audio/yongen.wav"
        audio_1: "data/audio/eng.wav"
    """
WHOLE = "a: {preparation: True, video_path: face.mp4, audio_clips: {x: x.wav}}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def test_the_references_own_file(folder: Path) -> None:
    voices = {"audio_0": Path("data/audio/yongen.wav"), "audio_1": Path("data/audio/eng.wav")}
    entry = Entry("avator_1", True, Path("data/video/yongen.mp4"), 5, voices)
    assert read_config(write(folder / "realtime.yaml", REFERENCE)) == [entry]


def test_several_avatars_in_order(folder: Path) -> None:
    text = """\
        second:
          preparation: False
          audio_clips: {b: b.wav, a: a.wav}
        1:
          preparation: yes
          video_path: face.png
          bbox_shift: -7
          audio_clips:
            0: a.wav
        """
    assert read_config(write(folder / "realtime.yaml", text)) == [
        Entry("second", False, None, 0, {"b": Path("b.wav"), "a": Path("a.wav")}),
        Entry("1", True, Path("face.png"), -7, {"0": Path("a.wav")}),
    ]


def test_files_are_looked_for_here_then_beside_the_file(folder: Path) -> None:
    path = write(
        folder / "configs" / "realtime.yaml", REFERENCE.replace("data/video/", "").replace("data/audio/", "")
    )
    for name in ("yongen.mp4", "yongen.wav", "eng.wav"):
        (folder / "configs" / name).touch()
    (folder / "eng.wav").touch()
    (entry,) = read_config(path)
    assert entry.source == folder / "configs" / "yongen.mp4"
    assert entry.voices == {"audio_0": folder / "configs" / "yongen.wav", "audio_1": Path("eng.wav")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "avatar names over their settings"),
        ("{}", "no avatars in"),
        ("- preparation: True\n", "avatar names over their settings"),
        ("a: [\n", "is not YAML"),
        (f"{WHOLE}\nb:\n", "b of .* has no settings"),
        ("a: {video_path: face.mp4, audio_path: voice.wav}", "Avatar a of .* whether it is to be prepared"),
        (WHOLE.replace("True", "often"), "Avatar a of .*often"),
        (WHOLE.replace("video_path", "bbox_shift: up, video_path"), "Avatar a of .*up"),
        (WHOLE.replace("video_path", "bbox_shift: 1.5, video_path"), r"Avatar a of .*1\.5"),
        (WHOLE.replace("video_path", "bbox_shift: yes, video_path"), "Avatar a of .*True"),
        (WHOLE.replace("video_path: face.mp4, ", ""), "Avatar a of .* names no video"),
        (WHOLE.replace("face.mp4", "[face.mp4]"), "Avatar a of .* names no video"),
        (WHOLE.replace("{x: x.wav}", ""), "Avatar a of .* no audio_clips"),
        (WHOLE.replace("{x: x.wav}", "{}"), "Avatar a of .* no audio_clips"),
        (WHOLE.replace("{x: x.wav}", "[x.wav]"), "Avatar a of .* no audio_clips"),
        (WHOLE.replace("x.wav", ""), "Avatar a of .* no file for x"),
        (WHOLE.replace("{x:", "{../x:"), r"Avatar a of .*\.\./x"),
        (WHOLE.replace("{x:", "{c/x:"), "Avatar a of .*c/x"),
        (WHOLE.replace("{x:", r"{c\x:"), r"Avatar a of .*c\\+x"),
        (WHOLE.replace("{x:", '{"a\\0b":'), "Avatar a of .*cannot be the name"),
        (WHOLE.replace("{x:", f"{{{'x' * 300}:"), "Avatar a of .*'x{128}', .*Use up to 64"),
        (WHOLE.replace("{x:", "{con:"), "Avatar a of .*con.*Windows"),
        ("a: 2024-99-99", "is not YAML"),
        ("a: !!int ''", "is not YAML"),
        ("[" * 5000, "is not YAML"),
    ],
)
def test_a_file_of_another_shape_is_told_where_it_is_wrong(folder: Path, text: str, message: str) -> None:
    write(folder / "realtime.yaml", text)
    with pytest.raises(InputError, match=message) as failure:
        read_config(Path("realtime.yaml"))
    assert "realtime.yaml" in str(failure.value)


@pytest.mark.parametrize("name", ["x" * 300, r"a\0b", r"\ud800"], ids=["long", "nul", "half"])
def test_a_name_that_no_file_can_have_is_told(folder: Path, name: str) -> None:
    for place in ("face.mp4", "x.wav"):
        write(folder / "realtime.yaml", WHOLE.replace(place, f'"{name}"'))
        with pytest.raises(InputError, match=r"There can be no file .* Give another name\."):
            read_config(Path("realtime.yaml"))


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "folder.yaml").mkdir()
    (folder / "latin.yaml").write_bytes("Gesicht für alle: {}".encode("cp1252"))
    for name in ("none.yaml", "folder.yaml", "latin.yaml"):
        with pytest.raises(InputError, match=f"The configuration {name} cannot be read"):
            read_config(Path(name))
