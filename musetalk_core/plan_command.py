"""``plan``: what many cards would do, from a report of ``bench --json`` and from assumptions, as tables or JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from .arguments import positive, share, whole
from .errors import InputError
from .planning import Plan, filled_by, many_clips, one_film, steps_of
from .planning_inputs import AUTHORS_SPEED, Assumptions, Measured, measured_from
from .planning_simulation import simulate

_CARDS = (1, 8, 100, 1000)
_SEED = 0
_FILM_PLAYS = 50  # a single film may be lucky, many clips are not
_SHARED = {
    "cores": "the cores of one machine",
    "network": "the network of one machine",
    "storage": "the storage",
    "driver": "the driver",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``plan``: the report, the cards, and every field of `Assumptions`."""
    parser.add_argument(
        "--measured", type=Path, required=True, metavar="FILE", help="what 'bench --json' printed, of any machine"
    )
    parser.add_argument("--cards", type=whole(1), nargs="+", default=_CARDS, metavar="N", help="default 1 8 100 1000")
    parser.add_argument("--json", action="store_true", help="for machines")
    assumed = parser.add_argument_group("assumptions")
    for name, (kind, text) in _ASSUMED.items():
        default = getattr(Assumptions, name)
        if name == "frames_per_second_per_card":
            default, text = None, f"{text}; default as measured, or {AUTHORS_SPEED:g} where that was no card"
        else:
            text = f"{text}; default {default:g}"
        assumed.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, metavar="N", help=text)


def run(args: argparse.Namespace) -> int:
    """Print the plan; 0.

    Raises:
        InputError: The report cannot be read or is of another kind.
    """
    measured = measured_from(_report(args.measured))
    chosen = {name: getattr(args, name) for name in _ASSUMED}
    if chosen["frames_per_second_per_card"] is None:
        chosen["frames_per_second_per_card"] = measured.painted_per_second if measured.on_card else AUTHORS_SPEED
    assumed = Assumptions(**chosen)
    plans = {
        "many clips": [_played(measured, assumed, many_clips(measured, assumed, cards)) for cards in args.cards],
        "one film": [_played(measured, assumed, one_film(measured, assumed, cards), True) for cards in args.cards],
    }
    if args.json:
        print(json.dumps({"measured": asdict(measured), "assumed": asdict(assumed), "plans": plans}, indent=1))
    else:
        print("\n\n".join(["\n".join(part) for part in _tables(measured, assumed, plans)]))
    return 0


def _report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The report {path} cannot be read: {error}.", "Make one with 'bench --json', its output put into a file."
        ) from error
    return report


def _played(measured: Measured, assumed: Assumptions, plan: Plan, film: bool = False) -> dict[str, Any]:
    """JSON-ready: a plan, and how many frames a second the simulation gives for the same."""
    clips, seconds = (
        (1, assumed.film_seconds) if film else (assumed.clips_per_card * plan.cards, assumed.clip_seconds)
    )
    steps = steps_of(measured, assumed, seconds)
    rng = np.random.default_rng(_SEED)
    plays = [simulate(steps, clips, plan.cards, assumed, rng) for _ in range(_FILM_PLAYS if film else 1)]
    return {**asdict(plan), "simulated_frames_per_second": plan.frames_per_second * plan.seconds / fmean(plays)}


def _tables(measured: Measured, assumed: Assumptions, plans: dict[str, list[dict[str, Any]]]) -> Iterator[list[str]]:
    yield [
        f"MEASURED on {measured.machine}; frames of {measured.frame}",
        f"{'a frame takes':22}{'mean':>10}{'least':>10}{'most':>10}",
        *_timings(measured.seconds, "ms"),
        *_timings(measured.core_seconds, "core-ms"),
        f"{'a frame of a film':22}{measured.bytes_per_frame / 1e3:10.1f} kB",
    ]
    speed = assumed.frames_per_second_per_card
    origins = {measured.painted_per_second: "as measured", AUTHORS_SPEED: "claimed by MuseTalk's authors for a V100"}
    yield [
        f"ASSUMED; the speed of a card is {origins.get(speed, 'as given')}",
        *(f"{getattr(assumed, name):>12g}  {text}" for name, (_, text) in _ASSUMED.items()),
    ]
    film = steps_of(measured, assumed, assumed.film_seconds)
    yield [
        f"{'STEPS of the film':22}{'count':>10}{'s each':>10}{'core-s each':>14}{'MB each':>10}",
        *(
            f"{step.name:22}{step.count:10}{fmean(step.seconds):10.1f}{step.core_seconds:14.1f}"
            f"{step.traffic_bytes / 1e6:10.0f}"
            for step in film
        ),
    ]
    full = filled_by(measured, assumed)
    yield [
        "SHARED; so many cards, busy with many clips, fill",
        *(f"{full[name]:12.0f}  {text}" for name, text in _SHARED.items()),
    ]
    for what, rows in plans.items():
        yield [
            f"{what.upper():10}{'formula':>10}{'simulated':>11}{'apart':>7}{'of':>7}{'':19}{'price a':>10}"
            f"{'storage':>10}{'machine':>9}",
            f"{'cards':>10}{'frames/s':>10}{'frames/s':>11}{'':7}{'ideal':>7}  {'limit':17}{'minute':>10}"
            f"{'MB/s':>10}{'MB/s':>9}",
            *map(_row, rows),
        ]


def _timings(timings: Any, unit: str) -> Iterator[str]:
    for name, times in timings.items():
        mean, least, most = (f"{1e3 * each:10.2f}" for each in (fmean(times), min(times), max(times)))
        yield f"{name:22}{mean}{least}{most} {unit}"


def _row(row: dict[str, Any]) -> str:
    apart = row["simulated_frames_per_second"] / row["frames_per_second"] - 1
    return (
        f"{row['cards']:10}{row['frames_per_second']:10.1f}{row['simulated_frames_per_second']:11.1f}{apart:+7.1%}"
        f"{row['of_ideal']:7.0%}  {row['limit']:17}{row['price_per_minute']:10.3f}"
        f"{row['storage_bytes_per_second'] / 1e6:10.1f}{row['machine_bytes_per_second'] / 1e6:9.1f}"
    )


def _failures(text: str) -> float:
    value = share(text)
    if value == 1:
        raise argparse.ArgumentTypeError("where all steps fail, nothing is ever done")
    return value


_ASSUMED: dict[str, tuple[Callable[[str], float], str]] = {
    "frames_per_second_per_card": (positive, "frames a second that UNet and decoder paint on a card"),
    "cards_per_machine": (whole(1), "cards in a machine"),
    "cores_per_machine": (whole(1), "cores in a machine"),
    "codec_threads": (whole(1), "cores that the coding of one film keeps busy"),
    "network_bytes_per_second": (positive, "bytes a second through the network of a machine"),
    "storage_bytes_per_second": (positive, "bytes a second from and to the shared storage"),
    "dispatch_seconds": (positive, "seconds that the driver needs for a step"),
    "failure_share": (_failures, "share of the steps that fail and are done again"),
    "shard_seconds": (positive, "seconds of video in a piece, at most"),
    "key_seconds": (positive, "seconds from one key frame of a source to the next"),
    "clip_seconds": (positive, "seconds of each of many clips"),
    "clips_per_card": (whole(1), "clips for each card"),
    "film_seconds": (positive, "seconds of the one film"),
    "card_hour_price": (positive, "price of a card for an hour"),
    "core_hour_price": (positive, "price of a core for an hour"),
}
