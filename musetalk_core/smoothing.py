"""Landmarks without jitter: the One-Euro filter (Casiez, Roussel, Vogel, CHI 2012).

A low-pass whose cut-off rises with speed: a face at rest stands still, a moving one is followed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

_CUTOFF = 0.5  # Hz for a face at rest, at strength 1
_CUTOFF_RISE = 8.0  # Hz for a face that moves by its own size in a second
_LEAST = 1e-300  # of what is divided by: the square of a tiny strength is 0
_SPEED_CUTOFF = 1.0  # Hz, of the low-pass on the speed; the paper's


class OneEuro:
    """The causal filter; give it one value after another.

    Each number is filtered by its own speed.
    """

    def __init__(self, fps: float, cutoff: float, rise: float) -> None:
        """
        Args:
            fps: Values a second.
            cutoff: Hz at rest.
            rise: Hz for each unit a second of speed.
        """
        self._fps, self._cutoff, self._rise = fps, cutoff, rise
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | float = 0.0

    def __call__(self, value: np.ndarray) -> np.ndarray:
        """The smoothed value, of the same shape."""
        if self._value is None:
            self._value = value
            return value
        speed = (value - self._value) * self._fps
        self._speed = self._speed + self._share(_SPEED_CUTOFF) * (speed - self._speed)
        share = self._share(self._cutoff + self._rise * np.abs(self._speed))
        self._value = self._value + share * (value - self._value)
        return self._value

    def _share(self, cutoff: np.ndarray | float) -> np.ndarray | float:
        """Of the new value in the smoothed one."""
        return 1 / (1 + self._fps / (2 * math.pi * cutoff))


def smooth(
    landmarks: np.ndarray, present: np.ndarray, cuts: np.ndarray, fps: Fraction, strength: float
) -> np.ndarray:
    """Smooth landmarks over time, without lag: the filter run forwards and backwards, averaged.

    Each run of frames with a face is smoothed by itself, and no run reaches across a cut. Speeds are
    in face sizes, so that a strength does the same to large and small faces. The cut-off of a face at
    rest is ``0.5 / strength**2`` Hz: 0.5 Hz at 1, 2 Hz at 0.5, 50 Hz, which does next to nothing, at 0.1.

    Args:
        landmarks: (frames, points, 2) in pixels.
        present: bool (frames,): where they are to be used.
        cuts: bool (frames,): where a shot begins.
        fps: Frames a second.
        strength: 0, which gives the landmarks as they are, to 1.

    Returns:
        float64 (frames, points, 2); the landmarks themselves at strength 0.
    """
    if not strength:
        return landmarks
    out = landmarks.astype(np.float64)
    for run in runs(present, cuts):
        points = out[run]
        size = max(1.0, float(np.median(np.sqrt(np.prod(np.ptp(points, axis=1), axis=1)))))
        passes = []
        for order in (slice(None), slice(None, None, -1)):
            one = OneEuro(float(fps), _CUTOFF / max(strength**2, _LEAST), _CUTOFF_RISE / size)
            passes.append(np.array([one(value) for value in points[order]])[order])
        out[run] = (passes[0] + passes[1]) / 2
    return out


def runs(present: np.ndarray, cuts: np.ndarray) -> Iterator[slice]:
    """The longest stretches of frames that are all present and have no cut within."""
    start = None
    for i, there in enumerate(present):
        if start is not None and (cuts[i] or not there):
            yield slice(start, i)
            start = None
        if there and start is None:
            start = i
    if start is not None:
        yield slice(start, len(present))
