"""A machine of a cluster that does not see the files of the others: it makes nothing, and harms nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.command import Two, batch, report, write_manifest
from tests.core.jobs import film, spoken, track_file, voice_file

NODE = "from ray.scripts.scripts import main; main()"


@contextmanager
def machine_without(folder: Path, two: Two) -> Iterator[None]:
    """A third node, for which a folder is empty. Hiding it takes a privileged user."""
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs "$0" && cd / && exec "$@"', folder]
    if subprocess.run([*hidden, "true"], check=False).returncode:
        pytest.skip("NOT TESTED: a machine without the storage, because this user may not mount anything")
    words = [sys.executable, "-c", NODE, "start", "--address", two.address, "--num-cpus", "1", "--block"]
    node = subprocess.Popen([*hidden, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert any("Ray runtime started" in line for line in node.stdout)
        yield
    finally:
        node.terminate()
        node.wait()


@pytest.fixture
def own():
    """A cluster that another machine may join and leave without a trace."""
    cluster = Two()
    yield cluster
    cluster.shutdown()


def test_a_machine_that_does_not_see_the_files_is_left_out(own: Two, tmp_path: Path) -> None:
    film(tmp_path, 8), track_file(tmp_path, 8)
    voice_file(tmp_path / "voice.wav", spoken(2.0))  # long enough for its worker to start
    line = {"source": "film.mp4", "voice": "voice.wav", "face_track": "track.json"}
    write_manifest(tmp_path / "clips.jsonl", [line | {"output": f"{i}.mp4"} for i in range(3)])
    with machine_without(tmp_path, own):
        status, said = batch(tmp_path, "clips.jsonl", "--engine", "ray", "--address", own.address)
    assert status == 0, said
    assert "does not see" in said
    assert {clip["state"] for clip in report(tmp_path, "clips.jsonl").values()} == {"done"}
