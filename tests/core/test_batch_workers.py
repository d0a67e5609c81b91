"""Workers on a cluster: how many it holds, and which are of no use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from musetalk_core.batch_ray import Cluster, MuseTalkWorker, _sized
from musetalk_core.bench_scaling import Waiting
from musetalk_core.errors import WorkerError


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    """A machine as Ray lists it."""
    return {"Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("gpus", "workers", "cores"),
    [
        (None, 8, 12),
        (1.0, 8, 12),
        (0.5, 16, 6),
        (0.4, 16, 6),
        (0.3333, 24, 4),
        (0.3, 24, 4),
        (0.2, 40, 2),
        (0.1, 80, 1),
    ],
)
def test_every_card_is_shared_by_as_many_workers_as_fit_on_it(gpus: float | None, workers: int, cores: int) -> None:
    count, each = _sized(Cluster(gpus=gpus), [node(CPU=96.0, GPU=8.0)])
    assert (count, each["num_cpus"]) == (workers, cores)


def test_without_cards_each_machine_has_workers_of_as_many_cores_as_the_smallest() -> None:
    nodes = [node(CPU=64.0), node(CPU=4.0), node(), node(alive=False, CPU=2.0)]
    assert _sized(Cluster(), nodes) == (17, {"num_cpus": 4, "num_gpus": 0.0})
    assert _sized(Cluster(cpus=8, most=3), nodes) == (3, {"num_cpus": 8, "num_gpus": 0.0})


def test_machines_without_cards_have_no_workers_where_others_have_some() -> None:
    assert _sized(Cluster(), [node(CPU=8.0, GPU=2.0), node(CPU=64.0)]) == (2, {"num_cpus": 4, "num_gpus": 1.0})


def test_a_worker_that_does_not_see_the_files_says_so_before_it_fails_clips(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"does not see .*voice\.wav"):
        MuseTalkWorker().open(Waiting.small(0), ["unet"], 1.0, tmp_path / "voice.wav")
