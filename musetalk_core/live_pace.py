"""How many frames to paint at once, so that the picture is on time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

LARGEST = 8  # frames a batch
_LONGEST = 2.0  # s a batch may take where the picture is late: whatever is said after an interruption waits for it
_BUSY = 0.9  # share of the time that painting may take to keep up
_NEWEST = 0.3  # share of the latest measurement in an estimate
_FACTOR = 4  # by which an estimate and a measurement may differ; the rest of an outlier does not count
_FADING = 0.1  # share by which what smaller batches were measured to take corrects an estimate


@dataclass(frozen=True)
class Outlook:
    """What there is to decide on.

    Attributes:
        frames: Whose sound was heard, at least 1.
        space: For so many more painted frames, at least 1.
        more: Whether there will be more frames than ``frames``.
        spare: Seconds until the first of them is due; negative where it is late already.
        first: Whether it is the first frame of an utterance.
    """

    frames: int
    space: int
    more: bool
    spare: float
    first: bool


class Pace:
    """Chooses batch sizes by what batches were measured to take.

    Args:
        fps: Frames a second to be shown.
    """

    def __init__(self, fps: Fraction) -> None:
        self._frame = float(1 / fps)  # s
        self._seconds: dict[int, float] = {}  # of batches, by size

    def measured(self, size: int, seconds: float) -> None:
        """A batch of ``size`` frames took so many seconds.

        A larger one that is thought to be slower for each frame is thought so ever less, until it is tried again.
        """
        expected = self.seconds(size) or seconds
        old = min(self._seconds.get(size, seconds), _FACTOR * seconds)
        seconds = min(seconds, _FACTOR * expected)
        self._seconds[size] = now = seconds + (1 - _NEWEST) * (old - seconds)
        for larger, value in self._seconds.items():
            if larger > size:
                self._seconds[larger] = value - _FADING * max(0.0, value - now * larger / size)

    def seconds(self, size: int) -> float:
        """What a batch of ``size`` is expected to take; nothing while none was measured.

        A size that was never tried takes as long for each frame as the nearest that was; and none takes longer than
        a larger one.
        """
        if not self._seconds:
            return 0.0
        nearest = min(self._seconds, key=lambda tried: abs(tried - size))
        larger = [value for tried, value in self._seconds.items() if tried > size]
        return min([self._seconds[nearest] * max(1.0, size / nearest), *larger])

    def choose(self, outlook: Outlook) -> int:
        """Frames to paint now; 0 to wait, where a larger batch will be possible and on time as well.

        The largest batch that is on time, if it is large enough to keep up with the pictures. Else the smallest
        that keeps up: a smaller first one would be on the screen before the next is painted. Where none keeps up,
        one frame at the beginning of an utterance, then what is fastest for each frame.
        """
        sizes = range(1, min(LARGEST, outlook.frames, outlook.space) + 1)
        if not self._seconds:
            return 1
        on_time = [size for size in sizes if self.seconds(size) <= outlook.spare]
        tried = 2 * max(self._seconds)  # beyond, an estimate says little
        short = [size for size in sizes if size <= tried and (size == 1 or self.seconds(size) <= _LONGEST)]
        enough = [size for size in short if self.seconds(size) <= _BUSY * size * self._frame]
        if on_time and (not enough or enough[0] <= on_time[-1]):
            grows = on_time[-1] < LARGEST and (outlook.more or outlook.space < outlook.frames)
            return 0 if grows and self.seconds(LARGEST) < outlook.spare - self._frame else on_time[-1]
        if enough or outlook.first:
            return enough[0] if enough else 1
        # Of equally fast ones the larger: nothing is known yet of what a batch saves.
        return min(short, key=lambda size: (self.seconds(size) / size, -size))
