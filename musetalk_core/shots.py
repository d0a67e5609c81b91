"""Where one shot ends and the next begins.

A face is followed within a shot, never across a cut. Frames are compared as thumbnails: a cut is
where every picture just before differs from every picture just after, by more than their neighbours
differ among themselves. Fast motion differs as much from frame to frame as across, and after a flash
of one or two frames the picture is the one from before, so neither is a cut. (The idea of a content
difference weighed against its neighbourhood is PySceneDetect's.) A cross-fade is not seen as a cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

import cv2
import numpy as np

_THUMBNAIL = (64, 36)  # width and height in pixels
_SAMPLED = 180  # rows or columns of a frame that are looked at, at least
_REACH = 3  # frames on either side that are compared
_LEAST_DIFFERENCE = 15.0  # of 255, summed over lightness and both colours
_LEAST_RATIO = 3.0  # of the difference across a cut to that between neighbours


def with_cuts(frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
    """Each frame with whether it begins a new shot; the first does not count as one.

    It looks two frames ahead, so those are held in memory; each frame is asked for once.

    Args:
        frames: uint8 RGB (H, W, 3).
    """
    before: deque[np.ndarray] = deque(maxlen=_REACH)  # thumbnails
    waiting: deque[tuple[np.ndarray, np.ndarray]] = deque()  # frames and their thumbnails
    for frame in frames:
        waiting.append((frame, _thumbnail(frame)))
        if len(waiting) == _REACH:
            yield _next(before, waiting)
    while waiting:
        yield _next(before, waiting)


def part_with_cuts(frames: Sequence[np.ndarray], part: range) -> Iterator[tuple[np.ndarray, bool]]:
    """What `with_cuts` gives for some frames of a clip; of the others it asks for as many as reach them."""
    start = max(0, part.start - _REACH)
    around = (frames[i] for i in range(start, min(part.stop + _REACH - 1, len(frames))))
    return islice(with_cuts(around), part.start - start, part.stop - start)


def _next(before: deque[np.ndarray], waiting: deque[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, bool]:
    cut = bool(before) and _differ(before, [thumbnail for _, thumbnail in waiting])
    frame, thumbnail = waiting.popleft()
    before.append(thumbnail)
    return frame, cut


def _differ(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> bool:
    across = min(_difference(a, b) for a in before for b in after)
    beside = [_difference(a, b) for side in (before, after) for a, b in pairwise(side)]
    return across >= _LEAST_DIFFERENCE and across >= _LEAST_RATIO * np.mean(beside or 0.0)


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """int16 (36, 64, 3) in Lab, in which equal steps look about equally large."""
    step = max(1, min(frame.shape[:2]) // _SAMPLED)  # reading all of a large frame would take longest
    small = cv2.resize(frame[::step, ::step], _THUMBNAIL, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.int16)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).sum(axis=2).mean())
