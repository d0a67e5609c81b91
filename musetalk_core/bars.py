"""Progress on a terminal."""

from __future__ import annotations

import sys
import time

from .progress import Progress

_WIDTH = 30  # characters


def bar(stage: str) -> Progress:
    """One line that fills up, with the time that is left; nothing where the output is a file."""
    if not sys.stderr.isatty():
        return lambda done, total, preview: None
    print(file=sys.stderr)
    started = time.monotonic()

    def report(done: int, total: int, preview=None) -> None:
        share = min(1.0, done / total) if total else 0  # some totals are estimates
        filled = "#" * int(_WIDTH * share)
        left = clock((time.monotonic() - started) * (1 - share) / share) + " left" if share else ""
        print(f"\r{stage:>9} [{filled:<{_WIDTH}}] {share:4.0%} {left:14}", end="", file=sys.stderr, flush=True)

    return report


def clock(seconds: float) -> str:
    """Seconds as 1:02:03, or as 2:03 below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
