"""Which source frame and which moment of the sound belong to which output frame.

All of it in exact fractions: at 29.97 frames a second a truncated rate drifts 1.9 s a minute.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, get_args

from .errors import InputError, pick

TRAINED_FPS = Fraction(25)  # the rate MuseTalk was trained at
FASTEST = 240  # frames a second

Length = Literal["pingpong", "loop", "hold", "trim"]
"""What happens when the sound outlasts the clip: it runs backwards and forwards, starts again, stays on
its last frame, or the output ends with it."""
LENGTHS: tuple[Length, ...] = get_args(Length)


def exact_rate(fps: float | Fraction) -> Fraction:
    """The frame rate that a number means: 29.97 is 2997/100, 30000/1001 as a float is itself again.

    Args:
        fps: Frames a second, above 0 and at most 240.

    Raises:
        InputError: the rate is not in that range.
    """
    exact = Fraction(fps).limit_denominator(100_000) if 0 < fps <= FASTEST else Fraction(0)
    if not exact:  # also where it is so small that it rounds to nothing
        raise InputError(f"{fps} is not a usable frame rate.", f"Give frames per second between 0 and {FASTEST}.")
    return exact


def frame_count(samples: int, sample_rate: int, fps: Fraction) -> int:
    """Whole frames that fit into a sound: floor(duration * fps)."""
    return int(Fraction(samples, sample_rate) * fps)


def known_length(name: str) -> Length:
    """The length policy of this name.

    Raises:
        InputError: there is none.
    """
    return pick({length: length for length in LENGTHS}, name, "length policy")


def source_frame(index: int, clip: int, length: Length) -> int:
    """Which frame of a clip output frame ``index`` shows.

    Args:
        index: Of the output frame; with "trim" below ``clip``.
        clip: Frames of the clip, at least 1.
        length: What happens after its last frame; "pingpong" is 0..n-1, n-1..0, repeating.
    """
    if length == "pingpong":
        position = index % (2 * clip)
        return min(position, 2 * clip - 1 - position)
    return index % clip if length == "loop" else min(index, clip - 1)


def output_frames(sound: int, clip: int, length: Length) -> int:
    """Frames to make of a clip of ``clip`` frames for a sound that lasts ``sound`` frames."""
    return min(sound, clip) if length == "trim" else sound


def play_order(sound: int, clip: int, length: Length) -> list[int]:
    """`source_frame` of each frame to be made, see `output_frames`."""
    return [source_frame(i, clip, length) for i in range(output_frames(sound, clip, length))]


def on_screen(times: Sequence[Fraction], end: Fraction, fps: Fraction) -> list[int]:
    """Which frame is on screen at the middle of each frame of a constant rate.

    Args:
        times: Seconds at which each source frame comes on screen, increasing from 0; at least one.
        end: Seconds at which the last one goes.
        fps: The rate wanted.

    Returns:
        One source index for each frame at ``fps``; at least one.
    """
    count = max(1, round(end * fps))
    return [max(0, bisect_right(times, (i + Fraction(1, 2)) / fps) - 1) for i in range(count)]
