"""A real face, and a real face detector that needs no weights: scikit-image ships both."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import skimage.data
from skimage.feature import Cascade

HEIGHT, WIDTH = 360, 640
HEAD = skimage.data.astronaut()[20:240, 110:330]  # a head of 220 x 220, its face about 85
FACE = np.array((67, 52, 152, 137)) / 220  # of the head
LARGE, SMALL = 150, 62  # heads; the small one is found at full size only


class CascadeDetector:
    """In place of `s3fd.detect`; it keeps the sizes it was given."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []  # width and height of every frame it saw

    def __call__(self, network: object, frames: np.ndarray) -> list[np.ndarray]:
        self.sizes += [(frame.shape[1], frame.shape[0]) for frame in frames]
        return [_find(frame) for frame in frames]

    @property
    def pixels(self) -> int:
        return sum(width * height for width, height in self.sizes)


@functools.cache
def _cascade() -> Cascade:
    return Cascade(skimage.data.lbp_frontal_face_cascade_filename())


_known: dict[bytes, list] = {}  # it is slow, and tests look at the same pictures


def _find(frame: np.ndarray) -> np.ndarray:
    key = frame.tobytes()
    if key not in _known:
        _known[key] = _cascade().detect_multi_scale(frame, 1.15, 1, (24, 24), (100, 100))
    found = _known[key]
    boxes = [(f["c"], f["r"], f["c"] + f["width"], f["r"] + f["height"], 0.9) for f in found]
    boxes.sort(key=lambda box: box[0] - box[2])
    return np.array(boxes, np.float64).reshape(-1, 5)


def picture(
    *heads: tuple[int, int, int], head: np.ndarray = HEAD, tint: tuple[int, int, int] = (0, 0, 0)
) -> np.ndarray:
    """A frame of 640 x 360 with a head of each size at x, y (its upper left corner)."""
    frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    frame[:] = np.linspace(60, 120, WIDTH, dtype=np.uint8)[None, :, None] + np.array(tint, np.uint8)
    for size, x, y in heads:
        small = cv2.resize(head, (size, size), interpolation=cv2.INTER_AREA)
        place = frame[y : y + size, x : x + size]
        rows, columns = np.indices((size, size)) / (size - 1) * 2 - 1
        share = np.clip(4 * (1 - np.hypot(rows, columns)), 0, 1)[..., None]  # no edge that looks like one
        place[:] = share * small + (1 - share) * place
    return frame


def face_in(head: tuple[int, int, int]) -> np.ndarray:
    """x1, y1, x2, y2 of the face of a head of `picture`'s."""
    size, x, y = head
    return FACE * size + (x, y, x, y)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    sides = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])
    common = np.prod(np.maximum(sides, 0))
    return float(common / (np.prod(a[2:4] - a[:2]) + np.prod(b[2:4] - b[:2]) - common))
