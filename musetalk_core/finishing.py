"""What the painted face lacks beside its original: fine detail, and the exact colour at the seam.

Both are computed in the face box, upright, on the face already resized to it, and taken only from where
the two show the same: not from the mouth, and not from a jaw that has moved. What is smooth is computed
on a coarse grid and enlarged.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

OUTER_LIP = slice(48, 60)  # of the 68 landmarks
_GROWN = 0.2  # of the mouth's width: how far round the lips the original's detail is kept out
_FEATHER = 0.1  # of the mouth's width: standard deviation of that region's soft edge
_COARSE = 64  # px: the coarse grid's longer side
_REACH = 8  # cells of the coarse grid: standard deviation of the colour difference's blur
_UNLIKE = 20  # levels off the common difference: the standard deviation of what still counts as the same
_FLOOR = 0.01  # weight of the mean difference, which takes over far from the seam


@dataclass(frozen=True)
class Finish:
    """What is done to a painted face before it is blended; nothing by default.

    Attributes:
        detail: 0..1, how much of the original's fine detail is given back outside the mouth; a face that the
            model can hold, of 256 px or less, has lost none.
        colour: 0..1, how far the face's colours are moved to the original's at the seam.
    """

    detail: float = 0.0
    colour: float = 0.0

    def __bool__(self) -> bool:
        return self.detail > 0 or self.colour > 0


NO_FINISH = Finish()


def apply(
    finish: Finish,
    face: np.ndarray,
    original: np.ndarray,
    mouth: np.ndarray,
    alpha: np.ndarray,
    painted: tuple[int, int],
) -> np.ndarray:
    """Finish a face; the very same array comes back where there is nothing to do.

    Args:
        finish: What to do.
        face: uint8 RGB (h, w, 3), the painted face, resized to its box.
        original: uint8 RGB (h, w, 3), what the box shows in the source frame.
        mouth: float (12, 2), the outer lips' landmarks in pixels of the box.
        alpha: uint8 (h, w), the mask of the blend.
        painted: (height, width) of the face before it was resized; (256, 256) from the model.

    Returns:
        uint8 RGB (h, w, 3).
    """
    if not finish:
        return face
    size = alpha.shape
    lips = mouth_region(mouth, size)
    off = difference(face, original, lips.shape)
    same = likeness(off) * (1 - lips)
    out = face
    if finish.colour > 0:
        out = cv2.add(out, _enlarge(finish.colour * seam_colour(off, same, alpha), size), dtype=cv2.CV_8U)
    if finish.detail > 0 and (size[0] > painted[0] or size[1] > painted[1]):
        strength = cv2.merge([_enlarge(finish.detail * same, size)] * 3)
        out = cv2.add(out, cv2.multiply(fine_detail(original, painted), strength), dtype=cv2.CV_8U)
    return out


def fine_detail(original: np.ndarray, painted: tuple[int, int]) -> np.ndarray:
    """What of a picture is lost when it is brought down to a size and up again.

    Args:
        original: uint8 RGB (h, w, 3).
        painted: (height, width) of that size; nothing is lost along a side that is not larger.

    Returns:
        float32 (h, w, 3), to be added to a face painted at that size.
    """
    height, width = original.shape[:2]
    small = cv2.resize(original, (min(width, painted[1]), min(height, painted[0])), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.subtract(original, coarse, dtype=cv2.CV_32F)


def difference(face: np.ndarray, original: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What is missing to the original, on the coarse grid: float32 (*size, 3), in levels.

    Args:
        face: uint8 RGB (h, w, 3).
        original: uint8 RGB (h, w, 3).
        size: (height, width) of the coarse grid.
    """
    small = (cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA) for picture in (original, face))
    return cv2.subtract(*small, dtype=cv2.CV_32F)


def likeness(off: np.ndarray) -> np.ndarray:
    """Where the face shows the same as the original but for a common change of colour.

    Where it does not, as round a jaw that has moved, the original has neither detail nor colour to give.

    Args:
        off: float32 (h', w', 3) from `difference`.

    Returns:
        float32 (h', w'), 0..1.
    """
    unlike = np.square(off - np.median(off, axis=(0, 1))).mean(axis=2)
    return np.exp(-unlike / (2 * _UNLIKE**2))


def seam_colour(off: np.ndarray, same: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The difference in colour at the seam, carried smoothly to everywhere else.

    It is weighed by how much of both pictures shows, so it is taken where the mask is neither empty
    nor full; its blur is normalised by the blurred weights; far from the seam it becomes the mean.

    Args:
        off: float32 (h', w', 3) from `difference`.
        same: float32 (h', w'), 0..1: where the two pictures can be compared.
        alpha: uint8 (h, w), the mask of the blend.

    Returns:
        float32 (h', w', 3), levels to be added to the face.
    """
    shown = cv2.resize(alpha, same.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    weight = (4 * shown * (1 - shown) * same)[..., None]
    mean = (off * weight).sum(axis=(0, 1)) / (weight.sum() + 1e-6)  # a mask without an edge has no seam
    blurred = cv2.GaussianBlur(np.concatenate((off * weight, weight), axis=2), (0, 0), _REACH)
    return (blurred[..., :3] + _FLOOR * mean) / (blurred[..., 3:] + _FLOOR)


def mouth_region(mouth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The lips, what is between them and some room round them to move in, with a soft edge.

    Args:
        mouth: float (12, 2), the outer lips' landmarks in pixels of the box.
        size: (height, width) of the box.

    Returns:
        float32 (h', w'), 0..1, on the coarse grid: the box at a longer side of at most 64.
    """
    scale = min(1.0, _COARSE / max(size))
    region = np.zeros([max(1, round(side * scale)) for side in size], np.float32)
    points = (mouth + 0.5) * scale - 0.5
    width = float(np.ptp(points[:, 0]))
    outline = [np.rint(points * 16).astype(np.int32)]  # 4 bits of fraction
    cv2.fillPoly(region, outline, 1.0, shift=4)
    cv2.polylines(region, outline, True, 1.0, max(1, round(2 * _GROWN * width)), shift=4)
    return cv2.GaussianBlur(region, (0, 0), max(0.5, _FEATHER * width))


def _enlarge(coarse: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR)
