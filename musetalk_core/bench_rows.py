"""One thing done two ways, and how the two are timed against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from .bench_timing import seconds


@dataclass(frozen=True)
class Row:
    """One thing done two ways.

    Attributes:
        name: What it is called.
        plain: The plain way, over ``plain_frames`` frames.
        ours: Our way, over ``ours_frames`` frames.
        plain_frames, ours_frames: How many frames each does.
        difference: Does both once and gives the largest difference of the results. None where they are not meant to
            be the same.
        unit: What the difference is counted in.
        note: What a reader has to know about it.
    """

    name: str
    plain: Callable[[], object]
    ours: Callable[[], object]
    plain_frames: int
    ours_frames: int
    difference: Callable[[], float] | None
    unit: str
    note: str = ""


def timed(row: Row, device: torch.device, pairs: int) -> dict[str, Any]:
    """Time plain, ours, plain, ours, ...: a machine that is busy for a while favours neither.

    Args:
        row: What to time.
        device: Where its networks are.
        pairs: How often.

    Returns:
        JSON-ready: median seconds per frame of both, the median of the pairs' ratios, ours over plain, the largest
        difference of the results (None where they are not meant to be the same) and its unit, how many frames were
        timed at a time, and the row's note.
    """
    if row.difference:
        difference = row.difference()
    else:
        difference = None
        row.plain(), row.ours()  # warm, as the others are by now
    times = [
        (seconds(row.plain, device) / row.plain_frames, seconds(row.ours, device) / row.ours_frames)
        for _ in range(pairs)
    ]
    return {
        "plain_seconds_per_frame": median(plain for plain, _ in times),
        "ours_seconds_per_frame": median(ours for _, ours in times),
        "ratio": median(ours / plain for plain, ours in times),
        "difference": difference,
        "difference_unit": row.unit,
        "plain_frames": row.plain_frames,
        "ours_frames": row.ours_frames,
        "note": row.note,
    }


def largest(a: Iterable[np.ndarray], b: Iterable[np.ndarray]) -> float:
    """The largest difference between two rows of arrays, of equal shapes and as many."""
    return float(max(np.abs(np.asarray(x, float) - np.asarray(y, float)).max() for x, y in zip(a, b, strict=True)))
