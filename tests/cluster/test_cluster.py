"""A batch on a real Ray cluster of two nodes: the same files as without it, whatever ends in the middle."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from pathlib import Path

import cv2
import pytest
from PIL import Image

from musetalk_core import bench_scaling
from musetalk_core.progress import silent
from tests.cluster.command import (
    batch,
    digest,
    hidden,
    kill,
    report,
    small_disk,
    start,
    wait_for,
    work_on,
    workers,
    write_manifest,
)
from tests.core.jobs import face_film, film, spoken, track_file, voice_file
from tests.core.media_samples import encode_film


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A film of 40 frames and its face track, a folder of pictures, one picture, and voices."""
    film(tmp_path, 40)
    track_file(tmp_path, 40)
    voice_file(tmp_path / "long.wav", spoken(1.8))  # 45 frames: beyond the end of the film
    voice_file(tmp_path / "short.wav", spoken(0.24))  # 6 frames: less than a piece
    for i, frame in enumerate(face_film(3)):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(frame).save(tmp_path / "pictures" / f"{i}.png")
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "film.mp4").read_bytes()[:2000])
    return tmp_path


LONG = {"source": "film.mp4", "voice": "long.wav", "face_track": "track.json"}
MIXED = [
    LONG | {"output": "long.mp4"},
    {"source": "film.mp4", "voice": "short.wav", "output": "short.mp4", "face_track": "track.json"},
    {"source": "broken.mp4", "voice": "long.wav", "output": "broken.mp4", "face_track": "track.json"},
    {"source": "pictures", "voice": "short.wav", "output": "pictures.mp4"},
    {"source": "film.mp4", "voice": "long.wav", "output": "looked at.mp4", "first_frames": 20, "smoothing": 0.5},
    {"avatar": "ada", "voice": "long.wav", "output": "ada.mp4", "first_frames": 18},
]
MADE = ["ada.mp4", "long.mp4", "looked at.mp4", "pictures.mp4", "short.mp4"]
"""Those of them that can be made."""


def alone(folder: Path, lines: list[dict]) -> dict[str, str]:
    """The digests of what the engine without a cluster makes of the lines, by output."""
    write_manifest(folder / "alone.jsonl", lines)
    batch(folder, "alone.jsonl", "--output-folder", "alone")
    return {path.name: digest(path) for path in (folder / "alone").glob("*.mp4")}


def prepare_avatar(folder: Path) -> None:
    import musetalk_core.cli as cli

    words = ["--source", folder / "pictures" / "0.png", "--name", "ada", "--avatars", folder / "output" / "avatars"]
    assert cli.main(["prepare", *map(str, words), "--weights", "synthetic"]) == 0


def test_mixed_clips_come_out_as_without_a_cluster_and_a_corrupt_one_stops_none(two, folder: Path) -> None:
    prepare_avatar(folder)
    write_manifest(folder / "clips.jsonl", MIXED)
    held, over = [], threading.Event()

    def watch() -> None:
        while not over.wait(1):
            held.append(two.held())

    watcher = threading.Thread(target=watch)
    watcher.start()
    status, said = batch(folder, "clips.jsonl", "--engine", "ray", "--address", two.address)
    over.set()
    watcher.join()
    assert status == 1, said
    clips = report(folder, "clips.jsonl")
    assert {name for name, clip in clips.items() if clip["state"] == "done"} == set(MADE), said
    assert clips["broken.mp4"]["state"] == "failed"
    assert "broken.mp4" in clips["broken.mp4"]["error"]
    made = {path.name: digest(path) for path in (folder / "output").glob("*.mp4")}
    assert made == alone(folder, MIXED)
    assert sorted(made) == MADE
    assert (clips["long.mp4"]["frames"], clips["short.mp4"]["frames"]) == (45, 6)
    assert len(clips["long.mp4"]["where"]) == 2, "one of the machines did nothing of the long clip"
    assert [len(clips[name]["steps"]) for name in ("short.mp4", "pictures.mp4")] == [1, 1]
    assert hidden(folder) == []
    megabytes, objects = max(held)
    print(f"\nin Ray's object stores at most: {megabytes} MB, {objects} objects")
    assert megabytes < 1  # a single one of the frames is small, but the pieces and frames together are not
    names = {task["name"] for task in two.tasks()}
    assert {"begin 1/1 long.mp4", "speak 1/6 long.mp4", "join 1/1 long.mp4", "look 2/3 looked at.mp4"} <= names


def test_a_worker_killed_in_the_middle_of_a_piece_costs_only_that_piece(two, folder: Path) -> None:
    write_manifest(folder / "clips.jsonl", [LONG | {"output": "long.mp4"}])
    process = start(folder, "clips.jsonl", "--engine", "ray", "--address", two.address)
    output = folder / "output" / "long.mp4"
    victims = []
    wait_for(lambda: victims.extend(workers("speak 3/6")) or victims, process)
    time.sleep(0.3)  # it takes longer
    kill(victims[0])
    assert process.wait(600) == 0, process.stdout.read()
    clip = report(folder, "clips.jsonl")["long.mp4"]
    assert clip["retries"] == 1
    assert len([step for step in clip["steps"] if step["stage"] == "speak"]) == 6  # none of them twice
    assert {"long.mp4": digest(output)} == alone(folder, [LONG | {"output": "long.mp4"}])
    assert hidden(folder) == []


def test_a_piece_that_kills_its_workers_is_given_up_and_the_other_clips_are_made(two, folder: Path) -> None:
    lines = [LONG | {"output": "poison.mp4"}, LONG | {"output": "good.mp4", "first_frames": 12}]
    write_manifest(folder / "clips.jsonl", lines)
    process = start(folder, "clips.jsonl", "--engine", "ray", "--address", two.address)
    killed, over = set(), threading.Event()

    def poison() -> None:
        while not over.wait(0.01):
            for worker in workers("speak 2/6 poison"):
                if worker not in killed:
                    killed.add(worker)
                    kill(worker)

    poisoner = threading.Thread(target=poison)
    poisoner.start()
    said, _ = process.communicate(timeout=600)
    over.set()
    poisoner.join()
    assert process.returncode == 1
    clips = report(folder, "clips.jsonl")
    assert len(killed) == 3, said
    assert clips["poison.mp4"]["state"] == "failed"
    assert "ended its worker 3 times" in clips["poison.mp4"]["error"]
    assert not (folder / "output" / "poison.mp4").exists()
    assert clips["good.mp4"]["state"] == "done"
    kept = [path.name for path in work_on(folder / "output" / "poison.mp4", "piece-*.mp4")]
    assert "piece-00000.mp4" in kept  # what was done of it is there for the next start
    assert batch(folder, "clips.jsonl", "--engine", "ray", "--address", two.address)[0] == 0
    assert (digest(folder / "output" / "poison.mp4")) == alone(folder, [LONG | {"output": "x.mp4"}])["x.mp4"]


def test_a_killed_command_goes_on_where_it_was_when_started_again(two, folder: Path) -> None:
    lines = [LONG | {"output": "first.mp4", "first_frames": 6}, LONG | {"output": "second.mp4"}]
    write_manifest(folder / "clips.jsonl", lines)
    process = start(folder, "clips.jsonl", "--engine", "ray", "--address", two.address)
    first, second = folder / "output" / "first.mp4", folder / "output" / "second.mp4"
    wait_for(lambda: first.exists() and len(work_on(second, "piece-*.mp4")) >= 2, process)
    process.kill()
    process.wait()
    assert not second.exists()
    wait_for_end_of_work(second)
    before = {path: path.stat().st_mtime_ns for path in [first, *work_on(second, "piece-*.mp4")]}
    seen = {}
    process = start(folder, "clips.jsonl", "--engine", "ray", "--address", two.address)
    while process.poll() is None:
        seen |= {path: path.stat().st_mtime_ns for path in before if path.exists()}
        time.sleep(0.02)
    assert process.returncode == 0, process.stdout.read()
    assert seen == before  # nothing was made twice
    clips = report(folder, "clips.jsonl")
    assert (clips["first.mp4"]["state"], clips["second.mp4"]["state"]) == ("there", "done")
    expected = alone(folder, lines)
    assert {path.name: digest(path) for path in (first, second)} == expected
    assert hidden(folder) == []


def wait_for_end_of_work(output: Path) -> None:
    """Ray ends the workers of a dead command a little later."""
    while any(workers(output.name)):
        time.sleep(0.1)
    time.sleep(0.5)


def test_a_full_disk_ends_that_clip_alone_and_goes_on_when_there_is_room(two, folder: Path) -> None:
    large = [cv2.resize(frame, (640, 640)) for frame in face_film(4)]
    encode_film(folder / "large.mp4", large, Fraction(25))
    write_manifest(
        folder / "clips.jsonl",
        [
            {"source": "large.mp4", "voice": "long.wav", "output": "disk/large.mp4"},
            LONG | {"output": "small.mp4", "first_frames": 6},
        ],
    )
    words = "clips.jsonl", "--engine", "ray", "--address", two.address, "--output-folder", "."
    with small_disk(folder / "disk", "1200k") as grow:
        status, said = batch(folder, *words)
        clips = report(folder, "clips.jsonl")
        assert status == 1
        assert "See whether the disk is full" in (clips["large.mp4"]["error"] or ""), said
        assert not (folder / "disk" / "large.mp4").exists()
        assert clips["small.mp4"]["state"] == "done"
        kept = {path: path.stat().st_mtime_ns for path in work_on(folder / "disk" / "large.mp4", "piece-*.mp4")}
        grow("20m")
        assert batch(folder, *words)[0] == 0
        clips = report(folder, "clips.jsonl")
        assert (clips["large.mp4"]["frames"], clips["small.mp4"]["state"]) == (45, "there")
        assert hidden(folder / "disk") == []
    assert kept, "it was full before anything was made that could be kept"


def test_the_same_output_twice_is_refused_before_a_cluster_is_looked_for(folder: Path) -> None:
    write_manifest(folder / "clips.jsonl", [LONG | {"output": "a.mp4"}, LONG | {"output": "a.mp4", "bbox_shift": 2}])
    status, said = batch(folder, "clips.jsonl", "--engine", "ray", "--address", "192.0.2.1:1")
    assert status == 1
    assert "would become" in said
    assert not list(folder.rglob("a.mp4"))


def test_a_cluster_that_is_not_there_is_told_in_a_sentence(folder: Path) -> None:
    write_manifest(folder / "clips.jsonl", [LONG | {"output": "a.mp4"}])
    status, said = batch(folder, "clips.jsonl", "--engine", "ray", "--address", "127.0.0.1:1")
    assert status == 1
    assert "There is no Ray cluster at 127.0.0.1:1" in said


def test_more_than_a_machine_has_is_told_in_a_sentence(two, folder: Path) -> None:
    write_manifest(folder / "clips.jsonl", [LONG | {"output": "a.mp4"}])
    words = "--engine", "ray", "--address", two.address, "--cpus-per-worker", "64"
    status, said = batch(folder, "clips.jsonl", *words)
    assert status == 1
    assert "has no machine with 0 cards and 64 cores" in said


def test_a_second_worker_makes_the_same_file() -> None:
    report = bench_scaling.measure(8, silent, rounds=1)
    print("\n" + bench_scaling.table(report))
    assert [report[name]["same_file"] for name in ("waiting", "computing")] == [True, True]
