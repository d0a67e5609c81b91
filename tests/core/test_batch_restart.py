"""A batch that was stopped goes on where it was; what fails leaves the rest alone, and nothing of use is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from musetalk_core import batch_local
from musetalk_core.batch_steps import Job, Step
from musetalk_core.face_options import FaceOptions
from musetalk_core.job import Stages
from tests.core.avatars import GONE, Looked
from tests.core.batches import (
    batch_of,
    break_off,
    clip,
    hidden,
    interrupt,
    make,
    painters,
)
from tests.core.jobs import bursts, face_film, film, track_file, voice_file
from tests.core.media_samples import plain_decode

FRAMES = 17  # of the voice; six in a piece
FACES = FRAMES - len(GONE)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch, all_skin: None) -> Looked:
    return Looked(monkeypatch)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return film(tmp_path, 20)


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return voice_file(tmp_path / "voice.wav", bursts(0.7, (0.1, 0.4), lasting=0.1))


@pytest.fixture
def of(tmp_path: Path, source: Path, voice: Path) -> Job:
    """A clip that is looked at in three steps and spoken in three."""
    return clip(source, voice, tmp_path / "out.mp4")


def finish(looked: Looked, of: Job) -> tuple[int, int]:
    """Make a clip to its end; how many frames were looked at and painted for that."""
    before, models = looked["dwpose"], painters()
    (result,) = make(models, of)
    assert result.state == "done", result.detail
    assert hidden(of.line.task.output.parent) == []
    return looked["dwpose"] - before, sum(models.networks.unet.batches)


# Going on


@pytest.mark.parametrize(
    ("stage", "part", "left"),
    [
        ("begin", 0, (FRAMES, FACES)),
        ("look", 1, (11, FACES)),
        ("track", 0, (0, FACES)),
        ("speak", 0, (0, FACES)),
        ("speak", 1, (0, FACES - 5)),  # without a face in the last frame of the first piece
        ("join", 0, (0, 0)),
    ],
)
def test_what_was_done_is_not_done_again(
    looked: Looked, of: Job, stage: str, part: int, left: tuple[int, int]
) -> None:
    interrupt(painters(), of, stage, part)
    assert finish(looked, of) == left


def test_a_video_that_was_interrupted_is_the_same_to_the_last_byte(looked: Looked, of: Job) -> None:
    interrupt(painters(), of, "speak", 1)
    finish(looked, of)
    interrupted = of.line.task.output.read_bytes()
    of.line.task.output.unlink()
    assert finish(looked, of) == (FRAMES, FACES)
    assert of.line.task.output.read_bytes() == interrupted


def test_what_is_missing_is_made_again_and_nothing_else(looked: Looked, of: Job) -> None:
    interrupt(painters(), of, "join")
    of.folder.piece(1).unlink()
    there = {path: path.stat().st_mtime_ns for path in of.folder.path.iterdir()}
    batch = batch_of(of)
    break_off(batch, "join")
    models = painters()
    with pytest.raises(KeyboardInterrupt):
        batch_local.run(batch, models)
    assert sum(models.networks.unet.batches) == 5  # and one frame without a face
    now = {path: path.stat().st_mtime_ns for path in of.folder.path.iterdir()}
    assert {path.name for path in now if now[path] != there.get(path)} == {of.folder.piece(1).name}


def test_pieces_stay_as_they_were_cut(looked: Looked, of: Job, source: Path, voice: Path) -> None:
    """Also where the next start would cut them otherwise, which makes no other video."""
    interrupt(painters(), of, "speak", 1)
    other = clip(source, voice, of.line.task.output, shard_seconds=0.5)
    assert finish(looked, other) == (0, FACES - 5)
    assert len(plain_decode(of.line.task.output)) == FRAMES


def test_a_finished_clip_is_there(looked: Looked, of: Job) -> None:
    finish(looked, of)
    before, models = of.line.task.output.stat(), painters()
    of.folder.make()  # as if the process had ended before it was removed
    (result,) = make(models, of)
    assert (result.state, result.detail) == ("there", "done before")
    assert of.line.task.output.stat() == before and not models.networks.unet.batches
    assert hidden(of.line.task.output.parent) == []


def test_what_a_killed_process_leaves_does_no_harm(looked: Looked, of: Job) -> None:
    interrupt(painters(), of, "speak", 1)
    half = of.folder.piece(0).read_bytes()[:100]
    (of.folder.path / "0123456789abcdef.part").write_bytes(half)
    of.folder.own_part().write_bytes(half)
    of.line.task.output.with_name(".out.mp4.part").write_bytes(half)
    assert finish(looked, of) == (0, FACES - 5)


def test_work_with_other_settings_begins_anew(looked: Looked, of: Job, source: Path, voice: Path) -> None:
    interrupt(painters(), of, "join")
    other = clip(source, voice, of.line.task.output, bbox_shift=2)
    assert finish(looked, other) == (FRAMES, FACES)
    finish(looked, of)
    (result,) = make(painters(), other)
    assert result.state == "done"  # not "there": the video was of the first settings again


def test_only_the_work_on_the_same_output_is_thrown_away(looked: Looked, tmp_path: Path, source, voice) -> None:
    kept = [clip(source, voice, tmp_path / name) for name in ("out.mp4", "[o]utXmp4", "x[o]ut.mp4", "[o]ut.mp4.mp4")]
    for job in kept:
        interrupt(painters(), job, "track")
    mine = tmp_path / ".[o]ut.mp4.notes.pieces"
    mine.mkdir()
    (result,) = make(painters(), clip(source, voice, tmp_path / "[o]ut.mp4"))
    assert result.state == "done"
    assert hidden(tmp_path) == sorted([mine.name, *(job.folder.path.name for job in kept)])


def test_work_that_cannot_be_read_any_more_says_what_to_delete(looked: Looked, of: Job) -> None:
    interrupt(painters(), of, "join")
    of.folder.piece(0).unlink()
    of.folder.track.write_bytes(of.folder.track.read_bytes()[:500])
    (result,) = make(painters(), of)
    assert result.state == "failed" and f"Delete {of.folder.path} and start again." in result.detail
    of.folder.remove()
    assert finish(looked, of) == (FRAMES, FACES)


@pytest.mark.parametrize("stage", ["look", "track", "speak", "join"])
def test_a_clip_that_another_start_makes_meanwhile_is_there(looked: Looked, of: Job, stage: str) -> None:
    batch, models = batch_of(of), painters()
    own = batch.progress.within

    def within(step: Step) -> Stages:
        if (step.stage, step.part) == (stage, 0):
            make(models, of)
        return own(step)

    batch.progress.within = within
    batch_local.run(batch, models)
    (result,) = batch.report.results()
    assert (result.state, result.detail) == ("there", "done before")
    assert len(plain_decode(of.line.task.output)) == FRAMES
    assert hidden(of.line.task.output.parent) == []


# Failing


def test_a_damaged_clip_does_not_stop_the_others(looked: Looked, tmp_path: Path, source: Path, voice: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    names = "one.mp4", "two.mp4", "three.mp4"
    jobs = [clip(face, voice, tmp_path / name) for face, name in zip((source, damaged, source), names, strict=True)]
    results = make(painters(), *jobs)
    assert [result.state for result in results] == ["done", "failed", "done"]
    assert "damaged.mp4" in results[1].detail
    assert [(tmp_path / name).exists() for name in names] == [True, False, True]
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("stage", ["look", "track", "speak", "join"])
def test_a_clip_that_fails_later_keeps_what_was_done(looked: Looked, of: Job, stage: str) -> None:
    batch = batch_of(of)
    break_off(batch, stage, error=RuntimeError("the card is gone"))
    batch_local.run(batch, painters())
    (result,) = batch.report.results()
    assert (result.state, result.detail) == ("failed", "RuntimeError: the card is gone")
    assert hidden(of.line.task.output.parent) == [of.folder.path.name]
    assert finish(looked, of) == (0 if stage != "look" else FRAMES, 0 if stage == "join" else FACES)


@pytest.mark.parametrize("stage", ["look", "speak", "join"])
@pytest.mark.parametrize("changed", ["voice.wav", "faces/3.png", "faces/8.png"])
def test_a_clip_whose_files_change_while_it_is_made_fails_and_is_made_of_the_new_ones(
    looked: Looked, tmp_path: Path, voice: Path, stage: str, changed: str
) -> None:
    """Else its end would be of other pictures than its beginning, or its sound not what the mouth says."""
    (tmp_path / "faces").mkdir()
    for i, frame in enumerate(face_film(8)):
        Image.fromarray(frame).save(tmp_path / "faces" / f"{i}.png")
    of = clip(tmp_path / "faces", voice, tmp_path / "out.mp4")
    batch = batch_of(of)
    own = batch.progress.within

    def within(step: Step) -> Stages:
        if (step.stage, step.part) == (stage, 0):
            if changed == "voice.wav":
                voice_file(voice, bursts(0.7, (0.5,)))
            else:
                Image.fromarray(face_film(9)[8]).save(tmp_path / changed)
        return own(step)

    batch.progress.within = within
    batch_local.run(batch, painters())
    (result,) = batch.report.results()
    assert result.state == "failed" and f"voice.wav changed while {tmp_path / 'out.mp4'} was made" in result.detail
    assert not (tmp_path / "out.mp4").exists()
    finish(looked, clip(tmp_path / "faces", voice, tmp_path / "out.mp4"))


def test_a_short_clip_that_fails_leaves_nothing(looked: Looked, tmp_path: Path, source: Path, voice: Path) -> None:
    of = clip(source, voice, tmp_path / "out.mp4", shard_seconds=5, faces=FaceOptions(no_face="stop"))
    (result,) = make(painters(), of)
    assert result.state == "failed" and "2 of 17 frames have no face: 5, 6." in result.detail
    assert not (tmp_path / "out.mp4").exists() and hidden(tmp_path) == []


def test_an_older_video_stays_until_the_new_one_is_complete(looked: Looked, of: Job) -> None:
    of.line.task.output.write_bytes(b"yesterday's")
    batch = batch_of(of)
    break_off(batch, "join")
    with pytest.raises(KeyboardInterrupt):
        batch_local.run(batch, painters())
    assert of.line.task.output.read_bytes() == b"yesterday's"
    finish(looked, of)
    assert len(plain_decode(of.line.task.output)) == FRAMES


def test_an_output_that_is_a_folder_is_told_before_any_work(looked: Looked, of: Job) -> None:
    of.line.task.output.mkdir()
    (result,) = make(painters(), of)
    assert result.state == "failed" and "out.mp4 is a folder" in result.detail
    assert not looked and hidden(of.line.task.output.parent) == []


def test_a_face_track_of_a_longer_clip_is_refused(looked: Looked, tmp_path: Path, voice: Path) -> None:
    track = track_file(tmp_path, 9)
    of = clip(film(tmp_path, 8), voice, tmp_path / "out.mp4", face_track=track)
    (result,) = make(painters(), of)
    assert result.state == "failed" and "9 frames but only 8" in result.detail
    assert hidden(tmp_path) == []


# A full disk


def disk_full_in(monkeypatch, batch, *full: Step) -> None:
    """Let no file become larger than a few bytes in some steps: the system says no, as a full disk does."""
    resource = pytest.importorskip("resource")
    own, limits = batch.progress.within, resource.getrlimit(resource.RLIMIT_FSIZE)

    def within(step: Step) -> Stages:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200 if step in full else limits[0], limits[1]))
        return own(step)

    monkeypatch.setattr(batch.progress, "within", within)


@pytest.mark.parametrize(
    ("stage", "part", "left"),
    [
        ("begin", 0, (FRAMES, FACES)),
        ("look", 1, (11, FACES)),
        ("speak", 1, (0, 10)),
        ("join", 0, (0, 0)),
    ],
)
def test_a_full_disk_fails_a_clip_and_with_room_again_it_goes_on(
    looked: Looked, tmp_path: Path, monkeypatch, of: Job, stage: str, part: int, left: tuple[int, int]
) -> None:
    after = clip(of.line.task.source, of.line.task.audio, tmp_path / "after.mp4")
    batch = batch_of(of, after)
    disk_full_in(monkeypatch, batch, Step(0, stage, part))
    batch_local.run(batch, painters())
    failed, done = batch.report.results()
    assert (failed.state, done.state) == ("failed", "done")
    assert failed.detail.endswith("See whether the disk is full.") and "None" not in failed.detail
    assert not of.line.task.output.exists() and not list(tmp_path.rglob("*.part"))
    assert finish(looked, of) == left
