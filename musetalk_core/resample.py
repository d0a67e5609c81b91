"""A clip at another frame rate: MuseV gives 4 to 12 frames a second, MuseTalk was trained at 25.

A frame stands for the middle of the time it is on screen. Output frame j at ``fps`` therefore shows the
position (j + 1/2) * source_fps / fps - 1/2, counted in source frames: 2.25 is a quarter of the way from
frame 2 to frame 3. What lies before the first frame's middle, or after the last one's, shows that frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import cv2
import numpy as np

from .errors import pick
from .progress import Frames

Between = Callable[[float], np.ndarray]
"""The picture at a share, 0..1, of the way from one frame to the next."""

_STEPS = 3  # to find where a pixel came from; the motion of heads needs two
_FLOW_SIDE = 96  # px, at least: OpenCV's DIS crashes on pictures much smaller or thinner
_CUT_LEVELS = 10  # of 255: what a cut leaves of the difference when one picture is moved onto the other,
_CUT_SHARE = 0.6  # and as a share of the difference; motion that the flow can follow leaves less


def resample(
    frames: Frames, source_fps: Fraction, fps: Fraction, method: str = "motion", count: int | None = None
) -> Frames:
    """Show a clip at another rate, for the same time.

    Args:
        frames: At least one.
        source_fps: Their rate.
        fps: The rate wanted.
        method: A key of `METHODS`.
        count: Frames to give, if not as many as last equally long; beyond them the last one stays.

    Returns:
        max(1, round(n * fps / source_fps)) frames, each made when it is asked for; one where ``frames`` is
        a single picture. Asked for in order, the motion between two frames is found only once.

    Raises:
        InputError: there is no such method.
    """
    if count is None:
        count = 1 if len(frames) == 1 else max(1, round(len(frames) * fps / source_fps))
    return _Resampled(frames, source_fps / fps, pick(METHODS, method, "method"), count)


class _Resampled(Sequence):
    def __init__(
        self, frames: Frames, step: Fraction, method: Callable[[np.ndarray, np.ndarray], Between], count: int
    ) -> None:
        self._frames, self._step, self._method, self._count = frames, step, method, count
        self._pair: tuple[int, Between] | None = None  # the last one asked for

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> np.ndarray:
        index = range(self._count)[index]
        middle = (index + Fraction(1, 2)) * self._step - Fraction(1, 2)
        position = min(max(middle, Fraction(0)), Fraction(len(self._frames) - 1))
        first = int(position)
        if position == first:
            return self._frames[first]
        if self._pair is None or self._pair[0] != first:
            self._pair = first, self._method(self._frames[first], self._frames[first + 1])
        return self._pair[1](float(position - first))


def nearest(first: np.ndarray, second: np.ndarray) -> Between:
    """The frame on screen at the output frame's middle, as in `timeline.on_screen`."""
    return lambda share: first if share < 0.5 else second


def blend(first: np.ndarray, second: np.ndarray) -> Between:
    """A cross-fade of the two neighbours; `nearest` where the scene changes between them."""
    if is_cut(first, second):
        return nearest(first, second)
    return lambda share: cv2.addWeighted(first, 1 - share, second, share, 0)


def motion(first: np.ndarray, second: np.ndarray) -> Between:
    """Motion-compensated interpolation; `nearest` where the scene changes between the two.

    Optical flow is found both ways (DIS, Kroeger et al., ECCV 2016). The pixels of each frame are moved along
    their path to the moment wanted, and the two pictures are blended. A pixel counts for less where there
    and back do not meet: that is what the other frame hides.
    """
    if is_cut(first, second):
        return nearest(first, second)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    there, back = _flow(*grey), _flow(*reversed(grey))
    trust, trust_back = _trust(there, back), _trust(back, there)

    def between(share: float) -> np.ndarray:
        early, seen_early = _moved(first, there, trust, share)
        late, seen_late = _moved(second, back, trust_back, 1 - share)
        return cv2.blendLinear(early, late, (1 - share) * seen_early, share * seen_late)

    return between


METHODS = {"motion": motion, "blend": blend, "nearest": nearest}


def is_cut(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether another scene begins with ``second``: moving the pixels of ``first`` does not give it."""
    small = [_small(frame) for frame in (first, second)]
    moved = _sampled(small[0], _grid(small[1]) + _flow(*reversed(small)))
    left, difference = (float(cv2.absdiff(one, small[1]).mean()) for one in (moved, small[0]))
    return left > _CUT_LEVELS and left > _CUT_SHARE * difference


def _small(frame: np.ndarray) -> np.ndarray:
    """Grey, with a shorter side of at most `_FLOW_SIDE`."""
    scale = min(1, _FLOW_SIDE / min(frame.shape[:2]))
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(H, W, 2) px, x before y: where in ``second`` each pixel of ``first`` is, both grey uint8 (H, W)."""
    height, width = first.shape
    more = [max(0, _FLOW_SIDE - side) for side in (height, width)]
    first, second = (
        cv2.copyMakeBorder(grey, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE) for grey in (first, second)
    )
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, None)
    return flow[:height, :width]


def _grid(picture: np.ndarray) -> np.ndarray:
    """(H, W, 2): each pixel's own x and y."""
    rows, columns = np.indices(picture.shape[:2], np.float32)
    return np.stack((columns, rows), axis=-1)


def _sampled(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    return cv2.remap(values, places, None, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)


def _trust(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """(H, W) in 0..1: how nearly a pixel that goes there and back comes home, little beyond a pixel or two."""
    miss = there + _sampled(back, _grid(there) + there)
    return np.exp(-np.square(miss).sum(axis=-1)) + np.float32(1e-3)  # never nothing: one of the two must show


def _moved(picture: np.ndarray, flow: np.ndarray, trust: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """``picture`` and ``trust`` when each pixel has gone ``share`` of its way along ``flow``.

    Which pixel arrives at x? The one at y with y + share * flow(y) = x: a fixed point.
    """
    grid = places = _grid(picture)
    for _ in range(_STEPS):
        places = grid - share * _sampled(flow, places)
    return _sampled(picture, places), _sampled(trust, places)
