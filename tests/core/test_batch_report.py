"""What a batch tells of itself: how far it is, and what became of each clip."""

from __future__ import annotations

import json
import socket
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from musetalk_core import batch, batch_local
from musetalk_core.batch_progress import BatchProgress
from musetalk_core.batch_report import BatchReport
from musetalk_core.batch_steps import Begun, Made, Step
from musetalk_core.errors import MediaError
from musetalk_core.media_input import open_clip
from musetalk_core.tasks import table
from tests.core.avatars import Looked
from tests.core.batches import batch_of, break_off, clip, make, painters, stages_of
from tests.core.jobs import bursts, film, voice_file
from tests.core.media_samples import NTSC

pytestmark = pytest.mark.usefixtures("all_skin")


@pytest.fixture
def voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """17 frames at 25 a second."""
    Looked(monkeypatch)
    return voice_file(tmp_path / "voice.wav", bursts(0.7, (0.1,)))


# The report


def test_the_report_says_what_became_of_each_clip_and_where_its_time_went(tmp_path: Path, voice: Path) -> None:
    source, no_film = film(tmp_path, 20), tmp_path / "no film.mp4"
    no_film.write_bytes(b"not a film")
    there, long, short, bad = [
        clip(face, voice, tmp_path / f"{name}.mp4", shard_seconds=seconds, fps=fps)
        for name, face, seconds, fps in (
            ("there", source, 5, None),
            ("long", source, 0.24, NTSC),
            ("short", source, 5, None),
            ("bad", no_film, 5, None),
        )
    ]
    make(painters(), there)
    done = batch_of(there, long, short, bad)
    batch_local.run(done, painters())
    done.report.write(tmp_path / "sub" / "report.json")
    told = json.loads((tmp_path / "sub" / "report.json").read_text(encoding="utf-8"))
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["report.json"]

    assert (told["engine"], told["workers"], told["retries"], told["frames"]) == ("local", 1, 0, 20 + 17)
    clips = {Path(record["output"]).stem: record for record in told["clips"]}
    assert [*clips] == ["there", "long", "short", "bad"]
    assert {name: record["state"] for name, record in clips.items()} == {
        "there": "there",
        "long": "done",
        "short": "done",
        "bad": "failed",
    }
    assert {name: record["frames"] for name, record in clips.items()} == {
        "there": None,
        "long": 20,
        "short": 17,
        "bad": None,
    }
    assert (clips["long"]["fps"], clips["short"]["fps"]) == (float(NTSC), 25)
    assert (clips["long"]["frames_without_face"], clips["long"]["frames_on_last_box"]) == (2, 0)
    assert "no film.mp4 cannot be read" in clips["bad"]["error"] and clips["short"]["error"] is None
    assert stages_of(clips["short"]) == ["begin"]
    assert stages_of(clips["long"]) == ["begin", *["look"] * 3, "track", *["speak"] * 4, "join"]
    assert [step["part"] for step in clips["long"]["steps"] if step["stage"] == "speak"] == [0, 1, 2, 3]
    for name in ("long", "short"):
        record = clips[name]
        assert record["where"] == [socket.gethostname()] and record["retries"] == 0
        assert record["worker_seconds"] == pytest.approx(sum(step["seconds"] for step in record["steps"]), abs=1e-3)
        assert 0 < record["worker_seconds"] <= record["seconds"] + 0.01 <= told["seconds"] + 0.02
        assert record["frames_per_second"] == pytest.approx(record["frames"] / record["seconds"], rel=0.01)
    assert clips["bad"]["where"] == clips["bad"]["steps"] == [] and clips["bad"]["seconds"] is None


def test_a_clip_that_is_interrupted_is_not_done(tmp_path: Path, voice: Path) -> None:
    source = film(tmp_path, 20)
    stopped = batch_of(*(clip(source, voice, tmp_path / name) for name in ("a.mp4", "b.mp4")))
    break_off(stopped, "speak", 1)
    with pytest.raises(KeyboardInterrupt):
        batch_local.run(stopped, painters())
    first, second = stopped.report.record()["clips"]
    assert (first["state"], second["state"], second["steps"]) == ("not done", "not done", [])
    assert stages_of(first) == ["begin", "look", "look", "look", "track", "speak"]


def test_the_table_names_frames_without_a_face(tmp_path: Path, voice: Path) -> None:
    (result,) = make(painters(), clip(film(tmp_path, 20), voice, tmp_path / "out.mp4"))
    said = table([result])
    assert "17 frames in 0:0" in said and "source frames without a face, passed through: 2" in said
    assert len(open_clip(tmp_path / "out.mp4").frames) == 17


def test_a_report_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(MediaError, match="--report"):
        BatchReport([], "local").write(tmp_path / "report.json")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


# The bar


class Shown(list):
    """What a bar was told: what is done, and what there is in all."""

    def __call__(self, done: int, total: int, preview=None) -> None:
        self.append((done, total))


def long(frames: int) -> Begun:
    return Begun([frames], [frames // 2, frames - frames // 2], Fraction(25), None)


def test_clips_that_are_not_begun_count_as_average_ones() -> None:
    shown = Shown()
    progress = BatchProgress(4, shown)
    progress.begun(0, long(100))
    assert shown[-1] == (0, 4 * 900)  # a frame is looked at, which counts 1, and spoken, which counts 8
    progress.begun(2, long(300))
    assert shown[-1] == (0, 900 + 2700 + 2 * 1800)
    progress.add(0, "look", 0, 100)
    progress.add(2, "speak", 1, 50)
    progress.add(2, "speak", 1, 60)  # of the same part: not besides
    assert shown[-1] == (100 + 60 * 8, 7200)


def test_a_clip_that_is_over_is_done_whether_it_is_made_or_failed() -> None:
    shown = Shown()
    progress = BatchProgress(3, shown)
    progress.begun(0, long(100))
    progress.add(0, "look", 0, 100)
    progress.over(0)
    assert shown[-1] == (900, 3 * 900)
    progress.over(1)  # before it was begun: it is as if it had not been there
    assert shown[-1] == (900, 2 * 900)
    progress.begun(2, long(10))
    progress.over(2)
    assert shown[-1] == (990, 990)


def test_a_short_clip_shows_how_far_it_is_before_it_is_begun() -> None:
    shown = Shown()
    progress = BatchProgress(1, shown)
    stages = progress.within(Step(0, "begin"))
    stages("begin")(100, 200, None)
    stages("look")(5, 10, None)
    stages("speak")(5, 10, None)
    assert shown == [(0, 0), (5, 90), (10 // 2 + 5 * 8, 90)]
    progress.begun(0, Begun([10], [10], Fraction(25), Made(10, 0, 0)))
    progress.over(0)
    assert shown[-1] == (90, 90)


def test_the_bar_of_a_whole_batch_never_says_too_much_and_is_full_at_the_end(
    tmp_path: Path, voice: Path, monkeypatch
) -> None:
    source, no_film = film(tmp_path, 20), tmp_path / "no film.mp4"
    no_film.write_bytes(b"not a film")
    jobs = [
        clip(face, voice, tmp_path / f"{i}.mp4", shard_seconds=seconds)
        for i, (face, seconds) in enumerate([(source, 5), (no_film, 5), (source, 0.24), (source, 5), (no_film, 5)])
    ]
    make(painters(), jobs[0])
    shown = Shown()
    monkeypatch.setattr(batch, "bar", lambda stage: shown)
    made = batch_of(*jobs)
    batch_local.run(made, painters())
    assert [result.state for result in made.report.results()] == ["there", "failed", "done", "done", "failed"]
    assert all(done <= total for done, total in shown)
    assert shown[-1] == (2 * 17 * 9, 2 * 17 * 9)
    shares = [done / total for done, total in shown if total]
    assert max(b - a for a, b in pairwise(shares)) < 0.5  # it moves in many steps
