"""``batch``: from a manifest and options to clips, made here or on a cluster."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import batch_manifest, run_command
from .arguments import positive, whole
from .errors import InputError
from .tasks import fingerprint, table

if TYPE_CHECKING:
    from .batch_manifest import Line
    from .cache import ModelCache
    from .models import Models

SHARD_SECONDS = 30.0  # what Whisper sees at once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``batch`` that are not about models."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help=".csv or .jsonl: source, voice, output, ...")
    where = parser.add_argument_group("who does it")
    where.add_argument(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="this process (default), or workers on all cards of a Ray cluster or of this machine",
    )
    where.add_argument("--address", metavar="ADDR", help="of a Ray cluster: auto, HOST:PORT; default this machine")
    where.add_argument(
        "--gpus-per-worker",
        type=part_of_a_card,
        metavar="F",
        help="of a card, such as 0.5; default 1 where there is one",
    )
    where.add_argument(
        "--cpus-per-worker", type=whole(1), metavar="N", help="cores; default a machine's, shared among its workers"
    )
    where.add_argument(
        "--shard-seconds",
        type=positive,
        default=SHARD_SECONDS,
        metavar="S",
        help=f"a longer clip is made in pieces of so many seconds; default {SHARD_SECONDS:g}",
    )
    where.add_argument(
        "--report", type=Path, metavar="FILE", help="times of every step, as JSON; default MANIFEST.report.json"
    )
    batch_manifest.add_line_arguments(parser)


def run(args: argparse.Namespace, open_models: Callable[[Sequence[str]], Models]) -> int:
    """Make the clips of a manifest; 0 when all are there."""
    from .batch import Batch
    from .batch_report import BatchReport
    from .batch_steps import Job
    from .opening import Opening
    from .weights import chosen_kinds

    if args.engine == "local" and (args.address or args.gpus_per_worker or args.cpus_per_worker):
        raise InputError(
            "--address, --gpus-per-worker and --cpus-per-worker are about workers, and --engine local has none.",
            "Add --engine ray, or leave them out.",
        )
    lines = [_absolute(line) for line in batch_manifest.read_manifest(args.manifest, args)]
    kinds = list(dict.fromkeys(kind for line in lines for kind in _kinds(line)))
    opening = Opening.of(args)
    models = open_models(kinds) if args.engine == "local" else opening.open(kinds, _nothing_loaded())
    weights = {kind: source.state() for kind, source in models.sources.items()}
    same = models.release.name, models.synthetic, args.precision
    jobs = []
    for line in lines:
        used = {kind: weights[kind] for kind in chosen_kinds(_kinds(line), args.vae_encode, args.vae_decode)}
        mark = fingerprint(line.task, (*run_command.outcome_of(line.settings), *same, used))
        jobs.append(Job(line, mark, args.shard_seconds))
    report, path = BatchReport(jobs, args.engine), args.report or args.manifest.with_suffix(".report.json")
    batch = Batch(jobs, report)
    report.write(path)  # where it cannot be, that is told now
    try:
        if args.engine == "local":
            from . import batch_local

            batch_local.run(batch, models)
        elif not batch.over:
            from . import batch_ray

            cluster = batch_ray.Cluster(args.gpus_per_worker, args.cpus_per_worker)
            with batch_ray.connected(args.address) as ray:
                batch_ray.run(ray, batch, cluster, opening, kinds)
    finally:  # also where it is interrupted
        report.write(path)
    print("\n" + table(report.results()))
    return 1 if any(result.state == "failed" for result in report.results()) else 0


def _absolute(line: Line) -> Line:
    """The line for processes whose current folder is another."""
    task, settings = line.task, line.settings
    files = {name: getattr(task, name).absolute() for name in ("source", "audio", "output")}
    track = settings.face_track and settings.face_track.absolute()
    avatar = line.avatar and line.avatar.absolute()
    return replace(line, task=replace(task, **files), avatar=avatar, settings=replace(settings, face_track=track))


def _nothing_loaded() -> ModelCache:
    """For a process that only asks whether the weights are there: it leaves the card to the workers."""
    import torch

    from .cache import ByteBudget, ModelCache

    return ModelCache(ByteBudget(torch.device("cpu")))


def _kinds(line: Line) -> Sequence[str]:
    """The networks that a clip needs."""
    from .avatar_commands import SPEAKING

    return SPEAKING if line.avatar else run_command.kinds_of(line.settings)


def part_of_a_card(text: str) -> float:
    """A number above 0 and at most 1."""
    value = positive(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text} is more than one card, and a worker computes on one")
    return value
