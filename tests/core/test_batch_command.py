"""``batch`` from the command line: a manifest is made, once, and what is wrong with it is told before any work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from musetalk_core import cli, observing
from musetalk_core.cache import Source
from tests.core.avatars import Looked, Painters
from tests.core.batches import hidden, painters
from tests.core.jobs import bursts, face_film, film, number_of, track_file, voice_file
from tests.core.media_samples import plain_decode


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch, all_skin: None) -> Looked:
    return Looked(monkeypatch)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, looked: Looked) -> Painters:
    """What the command works with instead of networks."""
    models = painters()
    models.everything = models.sources

    def open_models(args, kinds) -> Painters:
        models.sources = {kind: source for kind, source in models.everything.items() if kind in kinds}
        return models

    monkeypatch.setattr(cli, "_open", open_models)
    return models


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a film, a picture, and a voice of 17 frames."""
    monkeypatch.chdir(tmp_path)
    film(tmp_path, 20)
    Image.fromarray(face_film(4)[3]).save(tmp_path / "face.png")
    voice_file(tmp_path / "voice.wav", bursts(0.7, (0.1,)))
    return tmp_path


def manifest(*lines: dict[str, object], name: str = "clips.jsonl") -> str:
    Path(name).write_text("\n".join(json.dumps({"voice": "voice.wav"} | line) for line in lines), encoding="utf-8")
    return name


def run(*words: str) -> int:
    return cli.main(["batch", *words, "--batch-size", "3"])


def report(path: str = "clips.report.json") -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def states(path: str = "clips.report.json") -> list[str]:
    return [record["state"] for record in report(path)["clips"]]


FILM = {"source": "film.mp4", "output": "film_says"}
FACE = {"source": "face.png", "output": "face_says"}


def test_every_clip_of_a_manifest_is_made(folder: Path, models: Painters, capsys) -> None:
    assert run(manifest(FILM, FACE), "--shard-seconds", "0.24") == 0
    made = [plain_decode(folder / "output" / name) for name in ("film_says.mp4", "face_says.mp4")]
    assert [[number_of(frame) for frame in frames] for frames in made] == [[*range(17)], [3] * 17]
    said = capsys.readouterr().out
    assert said.count("  done  ") == 2 and "17 frames in 0:0" in said
    assert states() == ["done", "done"]
    assert [step["stage"] for step in report()["clips"][0]["steps"]].count("speak") == 3
    assert hidden(folder) == hidden(folder / "output") == []


def test_by_default_a_short_clip_is_made_at_once(folder: Path, models: Painters) -> None:
    assert run(manifest(FILM), "--report", "made/report.json") == 0
    (record,) = report("made/report.json")["clips"]
    assert [step["stage"] for step in record["steps"]] == ["begin"]
    assert not Path("clips.report.json").exists()


def test_what_is_done_is_not_done_again_and_only_what_changed_is(folder: Path, models: Painters, capsys) -> None:
    assert run(manifest(FILM, FACE)) == 0
    painted = len(models.networks.unet.batches)
    assert run(manifest(FILM, FACE), "--shard-seconds", "0.24") == 0
    assert states() == ["there", "there"] and len(models.networks.unet.batches) == painted
    assert "there" in capsys.readouterr().out
    assert cli.main(["batch", "clips.jsonl", "--batch-size", "2"]) == 0
    assert states() == ["there", "there"]  # how many frames a pass makes no other video
    assert run(manifest(FILM, FACE | {"bbox_shift": 2})) == 0
    assert states() == ["there", "done"]
    os.utime("film.mp4", (1, 1))
    assert run(manifest(FILM, FACE | {"bbox_shift": 2})) == 0
    assert states() == ["done", "there"]


def test_a_face_track_that_changed_makes_its_clip_anew(folder: Path, models: Painters, looked: Looked) -> None:
    track_file(folder, 20)
    line = FILM | {"face_track": "track.json"}
    assert run(manifest(line)) == 0 and not looked
    assert run(manifest(line)) == 0 and states() == ["there"]
    os.utime("track.json", (1, 1))
    assert run(manifest(line)) == 0 and states() == ["done"]


def test_a_clip_is_made_anew_only_where_its_own_networks_changed(folder: Path, models: Painters) -> None:
    """Where the faces are known, those that find them are not its own, whatever other clips need."""
    known = FILM | {"face_track": str(track_file(folder, 20))}
    assert run(manifest(known)) == 0
    assert run(manifest(known, FACE)) == 0
    assert states() == ["there", "done"]
    models.everything["dwpose"] = Source("dwpose", synthetic="full")
    assert run(manifest(known, FACE)) == 0
    assert states() == ["there", "done"]
    models.everything["unet"] = Source("unet", synthetic="full")
    assert run(manifest(known, FACE)) == 0
    assert states() == ["done", "done"]


def test_a_clip_that_fails_does_not_stop_the_others(folder: Path, models: Painters, capsys) -> None:
    (folder / "bad.mp4").write_bytes(b"no film")
    bad, missing = {"source": "bad.mp4", "output": "bad"}, {"source": "missing.mp4", "output": "missing"}
    assert run(manifest(FILM, bad, missing, FACE)) == 1
    assert states() == ["done", "failed", "failed", "done"]
    said = capsys.readouterr().out
    assert "bad.mp4 cannot be read as video" in said and "There is no file" in said
    assert sorted(path.name for path in Path("output").iterdir()) == ["face_says.mp4", "film_says.mp4"]


def test_an_interrupted_batch_is_reported_and_goes_on_from_another_folder(
    folder: Path, models: Painters, looked: Looked, monkeypatch
) -> None:
    manifest(FACE | {"output": str(folder / "face.mp4")}, FILM | {"output": str(folder / "film_says.mp4")})
    own = observing.estimate_keypoints

    def estimate(network, batch, regions=None):
        if looked["dwpose"] >= 1 + 9:  # the picture, and half of the film
            raise KeyboardInterrupt
        return own(network, batch, regions)

    monkeypatch.setattr(observing, "estimate_keypoints", estimate)
    assert run("clips.jsonl", "--shard-seconds", "0.24") == 130
    assert states() == ["done", "not done"]
    assert [step["stage"] for step in report()["clips"][1]["steps"]] == ["begin", "look"]
    monkeypatch.setattr(observing, "estimate_keypoints", own)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    before = looked["dwpose"]
    assert run("../clips.jsonl", "--shard-seconds", "0.24") == 0
    assert states("../clips.report.json") == ["there", "done"]
    assert looked["dwpose"] - before == 17 - 6
    assert hidden(folder) == []


@pytest.mark.usefixtures("no_work")
def test_two_clips_of_one_output_are_refused_before_any_work(folder: Path, capsys) -> None:
    assert run(manifest(FILM, FACE | {"output": "../output/film_says.mp4"})) == 1
    assert "would become" in capsys.readouterr().err
    assert not Path("output").exists() and not Path("clips.report.json").exists()


@pytest.mark.usefixtures("no_work")
def test_a_manifest_that_is_not_there_is_told(folder: Path, capsys) -> None:
    assert run("nowhere.csv") == 1
    assert "nowhere.csv cannot be read" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_told_before_any_work(
    folder: Path, models: Painters, looked: Looked, capsys
) -> None:
    assert run(manifest(FILM), "--report", str(folder)) == 1
    assert "--report" in capsys.readouterr().err
    assert not looked and not Path("output").exists()


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "x"])
def test_a_shard_lasts_some_time(folder: Path, seconds: str, capsys) -> None:
    with pytest.raises(SystemExit):
        run(manifest(FILM), f"--shard-seconds={seconds}")
    assert "is not a number above 0" in capsys.readouterr().err


def test_a_folder_that_cannot_be_looked_into_is_told(folder: Path, models: Painters, capsys, monkeypatch) -> None:
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    (folder / "pictures").mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert run(manifest({"source": "pictures"})) == 1
    assert "pictures cannot be looked into (Permission denied)" in capsys.readouterr().err


@pytest.mark.parametrize("cards", ["1.5", "2"])
def test_a_worker_is_given_no_more_than_a_card(folder: Path, cards: str, capsys) -> None:
    with pytest.raises(SystemExit):
        run(manifest(FILM), "--engine", "ray", "--gpus-per-worker", cards)
    assert f"{cards} is more than one card" in capsys.readouterr().err


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("words", [("--address", "auto"), ("--gpus-per-worker", "0.5"), ("--cpus-per-worker", "2")])
def test_who_names_a_cluster_and_forgets_the_engine_is_told(folder: Path, words: tuple[str, str], capsys) -> None:
    assert run(manifest(FILM), *words) == 1
    assert "Add --engine ray" in capsys.readouterr().err
