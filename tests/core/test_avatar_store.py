"""Avatars on disk: what is kept, what is refused, and that there is always a whole one or none."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from musetalk_core import avatar_making, avatar_parts, lossless_frames
from musetalk_core.avatar import Avatar, Preparation
from musetalk_core.avatar_store import avatar_folder, avatar_info, list_avatars, open_avatar, prepare_avatar
from musetalk_core.cache import Source
from musetalk_core.errors import InputError, MediaError, NoFaceError
from musetalk_core.face_options import FaceChoice, FaceOptions
from musetalk_core.progress import silent
from tests.core.avatars import BATCH, Looked, Painters, no_stages, spoken_by, steady
from tests.core.jobs import bursts, face_film

FILM = face_film(12)
PLAIN = Preparation()


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch, all_skin: None) -> Looked:
    return Looked(monkeypatch)


@pytest.fixture
def ann(tmp_path: Path, looked: Looked) -> Path:
    prepare(tmp_path / "Ann")
    looked.clear()
    return tmp_path / "Ann"


def prepare(folder: Path, chosen: Preparation = PLAIN, models=None, film=FILM, stages=no_stages, fps=25) -> Avatar:
    return prepare_avatar(models or Painters(), steady(film, Fraction(fps)), folder, chosen, stages, BATCH)


def files(folder: Path) -> dict[str, str]:
    """The file of each kind; there is nothing else in the folder."""
    parts = {kind: part["file"] for kind, part in json.loads((folder / "avatar.json").read_text())["parts"].items()}
    assert {path.name for path in folder.iterdir()} == {"avatar.json", *parts.values()}
    return parts


def kept(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {kind for kind in before if before[kind] == after[kind]}


def fresh(folder: Path, chosen: Preparation, models=None, film=FILM) -> list[np.ndarray]:
    """What is spoken by an avatar that was prepared from nothing."""
    models = models or Painters()
    return spoken_by(prepare(folder, chosen, models, film), models)


# Names

NOT_PLAIN = [
    *("", ".", "..", ".x", "x.", "x ", "a/b", "a\\b", "../x", "C:x", "a\0b", "a\nb", "/x", "~", "x" * 65),
    *("con", "NUL.txt", "Com1", "LPT9 .a", "a*b", "a?", "<a>", "a|b", 'a"b', "😀", "a\u202eb", "x\ud800"),
]


@pytest.mark.parametrize(
    "name", ["Ann", "a", "Zoë 2", "小明", "हिन्दी", "v1.5_final-2", "-x", "_", "CONrad", "x" * 64]
)
def test_plain_names_are_folders(tmp_path: Path, name: str) -> None:
    assert avatar_folder(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of an avatar"):
        avatar_folder(tmp_path, name)


def test_avatars_are_listed_by_name_and_nothing_else(tmp_path: Path, looked) -> None:
    assert list_avatars(tmp_path / "nowhere") == []
    for name in ("Zoe", "Ann"):
        prepare(tmp_path / name, replace(PLAIN, bbox_shift=2))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    shutil.copytree(tmp_path / "Ann", tmp_path / ".hidden")
    shutil.copytree(tmp_path / "Ann", tmp_path / "broken")
    (tmp_path / "broken" / "avatar.json").write_text("{}")
    found = list_avatars(tmp_path)
    assert [info.name for info in found] == ["Ann", "Zoe"]
    assert found[0] == avatar_info(tmp_path / "Ann")
    info = found[0]
    assert (info.width, info.height, info.frames, info.shown, info.faceless) == (64, 64, 12, 12, 2)
    assert (info.precision, info.synthetic, info.bbox_shift) == ("fp32", False, 2)
    assert info.shift_range == open_avatar(tmp_path / "Ann", Painters()).face.track.shift_range


def test_a_folder_can_be_copied_and_renamed(ann: Path, tmp_path: Path) -> None:
    shutil.copytree(ann, tmp_path / "Bob")
    assert avatar_info(tmp_path / "Bob").name == "Bob"
    expected = spoken_by(open_avatar(ann, Painters()), Painters())
    np.testing.assert_array_equal(spoken_by(open_avatar(tmp_path / "Bob", Painters()), Painters()), expected)


def test_nothing_in_it_is_a_pickle(ann: Path) -> None:
    assert {Path(name).suffix for name in files(ann).values()} == {".mkv", ".json", ".safetensors"}


# What is kept


def test_another_shift_runs_no_face_network_and_keeps_the_frames(ann: Path, tmp_path: Path, looked: Looked) -> None:
    before, stages = files(ann), []
    moved = replace(PLAIN, bbox_shift=4)
    avatar = prepare(ann, moved, stages=lambda stage: stages.append(stage) or silent)
    assert not looked and stages == ["compare", "encode", "parse"]
    assert kept(before, files(ann)) == {"frames"}
    np.testing.assert_array_equal(spoken_by(avatar, Painters()), fresh(tmp_path / "new", moved))


@pytest.mark.parametrize(
    ("chosen", "looks", "same"),
    [
        (PLAIN, False, {"frames", "seen", "latents", "masks"}),
        (replace(PLAIN, length="loop"), False, {"frames", "seen", "latents", "masks"}),
        (replace(PLAIN, mask_mode="jaw"), False, {"frames", "seen", "latents", "masks"}),  # as the release has it
        (replace(PLAIN, mask_mode="raw"), False, {"frames", "seen", "latents"}),
        (replace(PLAIN, cheek_width=20), False, {"frames", "seen", "latents"}),
        (replace(PLAIN, seed=1), False, {"frames", "seen", "masks"}),
        (replace(PLAIN, faces=FaceOptions(upright=True)), False, {"frames"}),
        (replace(PLAIN, faces=FaceOptions(no_face="hold")), False, {"frames"}),
        (replace(PLAIN, faces=FaceOptions(detection="exact")), True, {"frames", "latents", "masks"}),
        (replace(PLAIN, faces=FaceOptions(FaceChoice("largest"))), True, {"frames", "latents", "masks"}),
        (replace(PLAIN, fps=Fraction(50)), False, {"frames", "seen", "latents", "masks"}),
        (replace(PLAIN, fps=Fraction(10)), True, set()),
    ],
)
def test_only_what_changes_is_made_again(ann: Path, tmp_path: Path, looked: Looked, chosen, looks, same) -> None:
    before = files(ann)
    avatar = prepare(ann, chosen)
    after = files(ann)
    assert (bool(looked), kept(before, after)) == (looks, same)
    if "latents" not in same:
        np.testing.assert_array_equal(spoken_by(avatar, Painters()), fresh(tmp_path / "new", chosen))


def test_another_clip_is_another_avatar(ann: Path, tmp_path: Path, looked: Looked) -> None:
    before = files(ann)
    other = [frame.copy() for frame in FILM]
    other[7][-1, -1, 0] ^= 1  # one bit
    avatar = prepare(ann, film=other)
    assert looked["dwpose"] == 12 and not kept(before, files(ann))
    np.testing.assert_array_equal(avatar.face.frames[7], other[7])


def test_other_weights_make_anew_what_was_made_with_them(tmp_path: Path, looked: Looked) -> None:
    paths = {kind: tmp_path / f"{kind}.pth" for kind in ("vae", "face_parse", "dwpose", "s3fd", "unet")}
    for kind, path in paths.items():
        path.write_text(kind)
    models = Painters(**{kind: Source(kind, path) for kind, path in paths.items()})
    prepare(tmp_path / "Ann", models=models)
    for kind, same in (
        ("unet", {"frames", "seen", "latents", "masks"}),
        ("vae", {"frames", "seen", "masks"}),
        ("face_parse", {"frames", "seen", "latents"}),
        ("dwpose", {"frames", "latents", "masks"}),
        ("s3fd", {"frames", "latents", "masks"}),
    ):
        before = files(tmp_path / "Ann")
        paths[kind].write_text(f"another {kind}")
        looked.clear()
        prepare(tmp_path / "Ann", models=models)
        assert kept(before, files(tmp_path / "Ann")) == same
        assert bool(looked) == (kind in ("dwpose", "s3fd"))


def test_prepared_again_with_nothing_changed_nothing_changes(ann: Path, looked: Looked, monkeypatch) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in ann.iterdir()}

    before, written = state(), []
    monkeypatch.setattr(os, "fsync", written.append)
    prepare(ann)
    assert state() == before and not looked
    assert len(written) == 1  # the boxes, to be compared: what is kept is not even touched


@pytest.mark.parametrize("kind", ["frames", "seen", "latents", "masks", "avatar"])
@pytest.mark.parametrize("damage", ["gone", "short", "spoilt"])
def test_what_is_broken_is_made_anew(ann: Path, kind: str, damage: str) -> None:
    expected = spoken_by(open_avatar(ann, Painters()), Painters())
    path = ann / (files(ann) | {"avatar": "avatar.json"})[kind]
    raw = bytearray(path.read_bytes())
    raw[-200] ^= 255
    path.unlink() if damage == "gone" else path.write_bytes(raw[:-200] if damage == "short" else raw)
    np.testing.assert_array_equal(spoken_by(prepare(ann), Painters()), expected)
    files(ann)


# What is refused


def test_models_of_another_release_are_refused(ann: Path) -> None:
    with pytest.raises(InputError, match=r"prepared for MuseTalk 1\.5, not 1\.0.*Prepare it again"):
        open_avatar(ann, Painters("1.0"))


@pytest.mark.parametrize(("kind", "name"), [("vae", "VAE"), ("face_parse", "face parser")])
def test_other_weights_are_refused(ann: Path, tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "weights.pth").write_text("others")
    others = Painters(**{kind: Source(kind, tmp_path / "weights.pth")})
    with pytest.raises(
        InputError, match=rf"another {name} \(small synthetic weights, not weights .*Prepare it again"
    ):
        open_avatar(ann, others)
    with pytest.raises(InputError, match=f"another {name}"):
        open_avatar(ann, Painters(**{kind: Source(kind, synthetic="full")}))


def test_it_speaks_with_the_models_it_was_opened_with(ann: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("others")
    avatar, sound = open_avatar(ann, Painters()), bursts(0.2, ())
    for models, reason in (
        (Painters("1.0"), r"prepared for MuseTalk 1\.5, not 1\.0"),
        (Painters(vae=Source("vae", tmp_path / "weights.pth")), "another VAE"),
    ):
        with pytest.raises(InputError, match=reason):
            avatar.speak(models, sound, BATCH)


def test_synthetic_weights_of_two_sizes_are_told_apart(ann: Path) -> None:
    with pytest.raises(InputError, match="small synthetic weights, not full synthetic weights"):
        open_avatar(ann, Painters(vae=Source("vae", synthetic="full")))


def test_weights_that_will_not_be_used_do_not_matter(ann: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("others")
    others = {kind: Source(kind, tmp_path / "weights.pth") for kind in ("unet", "dwpose", "s3fd", "whisper")}
    models = Painters(**others)
    del models.sources["face_parse"]
    assert len(spoken_by(open_avatar(ann, models), models)) == 22


def test_a_vae_of_the_hosts_is_told_from_ours(tmp_path: Path, looked) -> None:
    def connected(name: str) -> Painters:
        models = Painters()
        models.host_vae = models.networks.vae
        models.host_vae.fingerprint = lambda: name
        return models

    prepare(tmp_path / "Ann", models=connected("a"))
    prepare(tmp_path / "Bob")
    assert len(spoken_by(open_avatar(tmp_path / "Ann", connected("a")), connected("a"))) == 22
    with pytest.raises(InputError, match=r"with a VAE connected to MuseTalk Load Models.*Connect it again"):
        open_avatar(tmp_path / "Ann", Painters())
    with pytest.raises(InputError, match=r"without the VAE that is connected to.*Disconnect it"):
        open_avatar(tmp_path / "Bob", connected("a"))
    with pytest.raises(InputError, match=r"another VAE \(weights a, not weights b\)"):
        open_avatar(tmp_path / "Ann", connected("b"))


def test_another_precision_is_mentioned(ann: Path, caplog: pytest.LogCaptureFixture) -> None:
    models = Painters()
    models.dtype = torch.bfloat16
    with caplog.at_level(logging.WARNING):
        open_avatar(ann, models)
    assert "prepared in fp32, it speaks in bf16" in caplog.text


def test_a_newer_format_is_refused_and_left_alone(ann: Path, looked: Looked) -> None:
    path = ann / "avatar.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    before = {path.name: path.read_bytes() for path in ann.iterdir()}
    with pytest.raises(InputError, match="version 2"):
        open_avatar(ann, Painters())
    with pytest.raises(NoFaceError):
        prepare(ann, replace(PLAIN, faces=FaceOptions(no_face="stop")))
    assert {path.name: path.read_bytes() for path in ann.iterdir()} == before


def test_face_errors_come_before_anything_is_changed(ann: Path, tmp_path: Path, looked: Looked) -> None:
    before = {path.name: path.read_bytes() for path in ann.iterdir()}
    for chosen, error in (
        (replace(PLAIN, faces=FaceOptions(no_face="stop")), NoFaceError),
        (replace(PLAIN, bbox_shift=1000), InputError),
        (replace(PLAIN, faces=FaceOptions(FaceChoice("picture"))), InputError),
    ):
        for folder in (ann, tmp_path / "new"):
            with pytest.raises(error):
                prepare(folder, chosen)
    assert {path.name: path.read_bytes() for path in ann.iterdir()} == before
    assert not (tmp_path / "new").exists()


# Always a whole one, or none


class Crash(Exception):
    pass


class Fuse:
    """Lets so many writes through, then breaks; before or after the write itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, writes: int, after: bool) -> None:
        self.left, self.after = writes, after
        self.wire(monkeypatch, os, "replace")
        self.wire(monkeypatch, os, "fsync")
        self.wire(monkeypatch, avatar_parts, "save_file")
        self.wire(monkeypatch, avatar_making, "write_frames")
        self.wire(monkeypatch, Path, "write_text")
        self.wire(monkeypatch, Path, "unlink")

    def wire(self, monkeypatch: pytest.MonkeyPatch, place, name: str) -> None:
        real = getattr(place, name)

        def guarded(*args, **kwargs):
            self.left -= 1
            if self.left == 0 and not self.after:
                raise Crash
            result = real(*args, **kwargs)
            if self.left == 0:
                raise Crash
            return result

        monkeypatch.setattr(place, name, guarded)


OLD, NEW = FILM[:3], [np.ascontiguousarray(frame[:, ::-1]) for frame in face_film(14)[11:]]
SAID = bursts(0.12, (0.0,), lasting=0.1)


def said(folder: Path) -> bytes | None:
    if not folder.exists() or not list_avatars(folder.parent):
        return None
    return np.array(spoken_by(open_avatar(folder, Painters()), Painters(), SAID)).tobytes()


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_write_leaves_the_old_avatar_or_the_new(
    tmp_path: Path, looked, after: bool, killed: bool
) -> None:
    prepare(tmp_path / "old" / "Ann", film=OLD)
    prepare(tmp_path / "new" / "Ann", film=NEW)
    before, afterwards = said(tmp_path / "old" / "Ann"), said(tmp_path / "new" / "Ann")
    assert before != afterwards
    seen, writes = [], 0
    while True:
        writes += 1
        folder = tmp_path / str(writes) / "Ann"
        if writes % 2:
            shutil.copytree(tmp_path / "old" / "Ann", folder)
        with pytest.MonkeyPatch.context() as patch:
            fuse = Fuse(patch, writes, after)
            if killed:
                patch.setattr(avatar_making._Work, "__exit__", lambda *_: None)
            with contextlib.suppress(Crash):
                prepare(folder, film=NEW)
        if fuse.left > 0:
            break
        result = said(folder)
        assert result in (before if writes % 2 else None, afterwards)
        seen.append(result == afterwards)
        if result is not None and not killed and not seen[-1]:
            files(folder)  # nothing is left lying about
        prepare(folder, film=NEW)
        files(folder)  # and if there was, it is gone the next time
    assert seen == sorted(seen)  # from some write on it is the new one
    assert len(seen) > 10 and not seen[8] and said(folder) == afterwards


def test_it_can_be_interrupted_at_every_report(tmp_path: Path, looked) -> None:
    prepare(tmp_path / "Ann", film=OLD)
    before, reports = {path.name: path.read_bytes() for path in (tmp_path / "Ann").iterdir()}, 0

    def interrupting(after: int):
        left = after

        def report(*_) -> None:
            nonlocal left, reports
            left, reports = left - 1, reports + 1
            if left == 0:
                raise Crash

        return lambda stage: report

    for after in range(1, 20):
        reports = 0
        try:
            prepare(tmp_path / "Ann", film=NEW, stages=interrupting(after))
            break
        except Crash:
            assert {path.name: path.read_bytes() for path in (tmp_path / "Ann").iterdir()} == before
    assert reports >= 3 + 3 + 1 + 1 + 1  # compare, store: each frame; look, encode, parse: each batch


def test_a_failed_preparation_lets_go_of_its_files_before_it_removes_them(
    tmp_path: Path, looked, monkeypatch
) -> None:
    """Else they would stay, on Windows."""
    happened = []
    close, unlink = lossless_frames.LosslessFrames.close, Path.unlink
    monkeypatch.setattr(
        lossless_frames.LosslessFrames, "close", lambda self: happened.append("closed") or close(self)
    )
    monkeypatch.setattr(Path, "unlink", lambda self, *given: happened.append(self.suffix) or unlink(self, *given))
    monkeypatch.setattr(avatar_parts, "encode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(tmp_path / "Ann")
    assert happened.index("closed") < happened.index(".mkv")
    assert not (tmp_path / "Ann").exists()


@pytest.mark.skipif(os.name == "nt", reason="there are no such modes")
def test_who_may_read_one_of_its_files_may_read_all(ann: Path) -> None:
    (ann.parent / "any").touch()
    assert {path.stat().st_mode for path in ann.iterdir()} == {(ann.parent / "any").stat().st_mode}


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, looked) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(MediaError, match="file"):
        prepare(tmp_path / "file" / "Ann")


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ({"smoothing": 2.0}, "smoothing"),
        ({"bbox_shift": 10**12}, "bbox_shift"),
        ({"cheek_width": 300}, "cheek_width is not a whole number from 20 to 160"),
        ({"length": "x"}, "pingpong"),
        ({"mask_mode": "x"}, "jaw"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(ann: Path, looked: Looked, chosen: dict, named: str) -> None:
    before = files(ann)
    with pytest.raises(InputError, match=f"No avatar can be prepared like this: .*{named}"):
        prepare(ann, replace(PLAIN, **chosen))
    assert not looked and files(ann) == before


@pytest.mark.parametrize("strength", [1e-10, 1e-300])
def test_the_lightest_smoothing_changes_nothing(tmp_path: Path, looked, strength: float) -> None:
    expected = prepare(tmp_path / "Ann", replace(PLAIN, smoothing=0.0)).face.track.boxes
    lightly = prepare(tmp_path / "Bob", replace(PLAIN, smoothing=strength))
    np.testing.assert_array_equal(lightly.face.track.boxes, expected)


def test_a_rate_at_which_nobody_can_speak_is_refused_at_once(tmp_path: Path, looked: Looked) -> None:
    with pytest.raises(InputError, match="frame rate"):
        prepare(tmp_path / "Ann", fps=1000)
    assert not looked


def test_foreign_files_in_the_folder_are_left_alone(ann: Path) -> None:
    for name in ("frames-12345678.mkv", "seen-0a0a0a0a.json.part", "avatar.json.part", "notes.txt", "frames-1.mkv"):
        (ann / name).write_text("x")
    prepare(ann)
    (ann / "notes.txt").unlink(), (ann / "frames-1.mkv").unlink()
    files(ann)


# Many at once


def test_who_reads_it_is_not_disturbed_when_it_is_prepared_anew(ann: Path) -> None:
    expected = spoken_by(open_avatar(ann, Painters()), Painters())
    readers = [open_avatar(ann, Painters()) for _ in range(3)]
    prepare(ann, film=NEW)
    with ThreadPoolExecutor(3) as threads:
        for got in threads.map(lambda reader: spoken_by(reader, Painters()), readers):
            np.testing.assert_array_equal(got, expected)
    assert len(open_avatar(ann, Painters()).face.frames) == len(NEW)


def test_it_can_be_opened_while_it_is_prepared_anew(ann: Path, monkeypatch) -> None:
    """The files an opener was about to read are replaced under its hands."""
    real, times = lossless_frames.LosslessFrames.__init__, []

    def slow(self, path: Path, *more) -> None:
        times.append(path)
        if len(times) == 1:
            prepare(ann, film=NEW)
        real(self, path, *more)

    monkeypatch.setattr(lossless_frames.LosslessFrames, "__init__", slow)
    assert len(open_avatar(ann, Painters()).face.frames) == len(NEW)


def test_of_two_who_prepare_it_one_is_told(ann: Path, monkeypatch) -> None:
    real = avatar_parts.parse

    def other_first(*args):
        monkeypatch.setattr(avatar_parts, "parse", real)
        prepare(ann, film=OLD)
        return real(*args)

    monkeypatch.setattr(avatar_parts, "parse", other_first)
    with pytest.raises(MediaError, match="once at a time"):
        prepare(ann, film=NEW)
    assert len(open_avatar(ann, Painters()).face.frames) == len(OLD)
    files(ann)


# Size


def test_smaller_than_the_folders_of_pictures_that_others_store(tmp_path: Path, looked) -> None:
    """Others keep every frame and its mask as png, the latents and the boxes as pickles."""
    film = face_film(10, 240, 320)
    avatar = prepare(tmp_path / "Ann", film=film)
    masks = [mask for _, mask in avatar.face.masks(np.flatnonzero(avatar.face.track.present).tolist())]
    pictures = sum(len(cv2.imencode(".png", picture)[1]) for picture in [*film, *masks])
    latents = sum(8 * 32 * 32 * 4 for _ in masks)
    assert sum(path.stat().st_size for path in (tmp_path / "Ann").iterdir()) < pictures + latents
