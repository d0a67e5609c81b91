"""The command ``batch`` as a user runs it, on a cluster or not, and what can be seen of it from outside."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.core.stand_ins import ROOT

CUT = ("--batch-size", "4", "--shard-seconds", "0.32")  # pieces of two batches of 4 frames, at 25 fps
PATIENCE = 240  # seconds until something that should happen is said not to


class Two:
    """Two Ray nodes with a core each.

    Attributes:
        address: For ``--address``.
    """

    def __init__(self) -> None:
        with socket.socket() as unused:  # so that it does not mind another Ray on this machine
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        head = {"num_cpus": 1, "include_dashboard": True, "dashboard_port": port}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._cluster.add_node(num_cpus=1)
        self.address = self._cluster.address

    def shutdown(self) -> None:
        self._cluster.shutdown()

    def tasks(self) -> list[dict[str, object]]:
        """What the dashboard lists of everything that was done."""
        return json.loads(self._ray("list", "tasks", "--limit", "1000", "--format", "json"))

    def held(self) -> tuple[float, int]:
        """Megabytes, and how many objects, that lie in the object stores now."""
        words = self._ray("memory", "--stats-only").partition("Plasma memory usage ")[2].split()
        return float(words[0]), int(words[2])

    def _ray(self, *words: str) -> str:
        command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", *words]
        return subprocess.run(
            [*command, "--address", self.address], capture_output=True, text=True, check=True
        ).stdout


def start(folder: Path, manifest: str, *options: str) -> subprocess.Popen:
    """Start ``batch`` in a folder, with small synthetic networks on one thread."""
    return subprocess.Popen(
        [sys.executable, "-m", "musetalk_core", "batch", manifest, "--weights", "synthetic", *CUT, *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def batch(folder: Path, manifest: str, *options: str) -> tuple[int, str]:
    """Run it to the end; gives its exit status and what it said."""
    process = start(folder, manifest, *options)
    said, _ = process.communicate(timeout=600)
    return process.returncode, said


def report(folder: Path, manifest: str) -> dict[str, dict]:
    """What the report says of each clip, by the name of its output."""
    record = json.loads((folder / manifest).with_suffix(".report.json").read_text())
    return {Path(clip["output"]).name: clip for clip in record["clips"]}


def write_manifest(path: Path, lines: Sequence[dict[str, object]]) -> None:
    path.write_text("\n".join(json.dumps(line) for line in lines))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hidden(folder: Path) -> list[str]:
    """What stands in a folder unseen."""
    return sorted(path.name for path in folder.rglob(".*"))


def work_on(output: Path, pattern: str) -> list[Path]:
    """Files in the folder in which a clip is made."""
    return sorted(output.parent.glob(f".{output.name}.*.pieces/{pattern}"))


def wait_for(what: Callable[[], object], process: subprocess.Popen) -> None:
    """Wait until something is true, while a command runs."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert process.poll() is None, f"it ended before: {process.stdout.read()}"
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def workers(name: str) -> Iterator[int]:
    """The processes that do a step of this name now."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it has ended
            continue
        if title.startswith("ray::") and name in title:
            yield int(folder.name)


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], object]]:
    """A file system of its own that is soon full; yields how to make it larger. Mounting takes a privileged user."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False).returncode:
        pytest.skip("NOT TESTED: a full disk on a cluster, because this user may not mount one")
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
