"""Values of the command line's options, each refused with a reason where it makes no sense."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from .errors import MuseTalkError
from .timeline import exact_rate


def rate(text: str) -> Fraction | None:
    """Frames a second; None for "keep"."""
    if text == "keep":
        return None
    try:
        return exact_rate(Fraction(text))
    except (ValueError, ZeroDivisionError, MuseTalkError) as error:
        raise argparse.ArgumentTypeError(
            f"{text} is neither 'keep' nor a frame rate such as 25, 29.97 or 30000/1001"
        ) from error


def whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    """Reads whole numbers of a range."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least {least}")
        return int(text)

    return read


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")
    return value


def mp4(text: str) -> Path:
    """A video to write."""
    if not text.lower().endswith(".mp4"):
        raise argparse.ArgumentTypeError(f"{text} does not end in .mp4, the only kind of video that is written")
    return Path(text)
