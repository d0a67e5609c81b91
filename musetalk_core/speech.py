"""Where the voice speaks and where it is silent."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

_BLOCKS_PER_SECOND = 50
_INAUDIBLE = -60.0  # dB of full scale: no speech where even the loud parts are below
_BELOW_LOUD = (-40.0, -25.0)  # dB: between these below the loud parts, speech ends
_ABOVE_NOISE = 10.0  # dB above the quietest parts, within these limits
_LEAD = 0.05  # s before the first sound by which the mouth is fully given to the model
_RAMP = 0.15  # s
_SHORTEST = _LEAD + 2 * _RAMP  # s of silence: in a shorter one there is no time to fade out and in


def speech_weight(mono: np.ndarray, rate: int, fps: Fraction, frames: int) -> np.ndarray:
    """How much each output frame belongs to speech, by the energy of the sound.

    The threshold lies a little above the quietest parts, but never so low that it takes in what is
    40 dB below the loud parts, nor so high that it cuts off what is 25 dB below them.

    Args:
        mono: float (samples,), at least 20 ms; full scale is -1..1.
        rate: Hz.
        fps: Frames a second.
        frames: How many output frames.

    Returns:
        float32 (frames,): 1 where there is speech and in pauses shorter than 0.35 s, 0 in silence, with
        smooth ramps of 0.15 s outside the speech; opening, the ramp ends 0.05 s before the first sound.
    """
    speaking = np.flatnonzero(_speaking(mono, rate)) * (rate // _BLOCKS_PER_SECOND) / rate  # s, blocks' starts
    starts = np.append(speaking, np.inf)
    ends = np.insert(speaking + 1 / _BLOCKS_PER_SECOND, 0, -np.inf)
    times = (np.arange(frames) + 0.5) / float(fps)
    following = np.searchsorted(starts, times)
    until, since = starts[following] - times, times - ends[following]
    nearest = np.minimum(np.maximum(until - _LEAD, 0), np.maximum(since, 0))
    ramp = np.clip(1 - nearest / _RAMP, 0, 1)
    weight = ramp * ramp * (3 - 2 * ramp)
    return np.where(until + since < _SHORTEST, 1, weight).astype(np.float32)


def _speaking(mono: np.ndarray, rate: int) -> np.ndarray:
    """bool (blocks,): which blocks of a 50th of a second are loud enough for speech."""
    block = rate // _BLOCKS_PER_SECOND
    blocks = mono[: len(mono) // block * block].astype(np.float64).reshape(-1, block)
    power = blocks.var(axis=1) + 1e-12  # -120 dB
    level = 10 * np.log10(power)
    loud = 10 * np.log10((power**2).sum() / power.sum())  # weighed by power: long silence does not lower it
    threshold = np.clip(np.percentile(level, 5) + _ABOVE_NOISE, loud + _BELOW_LOUD[0], loud + _BELOW_LOUD[1])
    return (level > threshold) & (loud > _INAUDIBLE)
