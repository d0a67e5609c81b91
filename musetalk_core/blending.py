"""Putting a repainted face back into its frame without a seam.

Source: the reference's ``blending.py``.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from . import finishing, upright
from .finishing import NO_FINISH, Finish
from .masks import Window
from .networks.bisenet import SIZE

Square = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels; may leave the frame."""


def blending_square(box: np.ndarray, expand: float) -> Square:
    """The square round a face box that is parsed and blended.

    Args:
        box: x1, y1, x2, y2 in pixels.
        expand: Its side over the box's longer side.
    """
    x1, y1, x2, y2 = (int(v) for v in box)
    half = max(1, int(max(x2 - x1, y2 - y1) // 2 * expand))  # a box may be of one pixel
    cx, cy = (x1 + x2) // 2, (y1 + y2) // 2
    return cx - half, cy - half, cx + half, cy + half


def cut_square(frame: np.ndarray, square: Square, angle: float = 0.0) -> np.ndarray:
    """The square out of a uint8 RGB frame turned upright by the angle, black where it leaves the frame."""
    if angle:
        side = square[2] - square[0]
        return upright.cut(frame, square, angle, (side, side), cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    return _window(frame, square)


def region_window(box: np.ndarray, square: Square) -> Window:
    """Where the region to repaint decides the mask: what `soften` reads of it.

    Args:
        box: The face box, inside the square.
        square: The blending square.
    """
    side = square[2] - square[0]
    scale = SIZE / side
    reach = 2 * max(1.0, scale)  # of the bicubic kernel
    x1, y1, x2, y2 = _shown(box, square)
    first = [max(0, math.floor((v + 0.5) * scale - reach)) for v in (x1, y1)]
    last = [min(SIZE, math.ceil((v - 0.5) * scale + reach)) for v in (x2, y2)]
    return *first, *last


def soften(region: np.ndarray, box: np.ndarray, square: Square, blur_ratio: float) -> np.ndarray:
    """Turn the region to repaint into the mask of the blend.

    Args:
        region: uint8 (512, 512), 0 or 255, from `masks.select_region`.
        box: The face box, inside the square.
        square: The blending square.
        blur_ratio: Gaussian kernel over the square's side.

    Returns:
        uint8 (side, side): the region inside the face box in the lower half of the square, blurred.
    """
    side = square[2] - square[0]
    x1, y1, x2, y2 = shown = _shown(box, square)
    mask = np.zeros((side, side), np.uint8)
    mask[y1:y2, x1:x2] = Image.fromarray(region).resize(
        (x2 - x1, y2 - y1), Image.Resampling.BICUBIC, box=[v * SIZE / side for v in shown]
    )
    kernel = int(blur_ratio * side // 2 * 2) + 1
    far = 2 * (kernel // 2)  # so far off, nothing of the edge reaches what the blur makes
    window = slice(max(0, y1 - far), y2 + far), slice(max(0, x1 - far), x2 + far)
    gaussian = _gaussian(kernel)
    mask[window] = cv2.sepFilter2D(mask[window], cv2.CV_8U, gaussian, gaussian)
    return mask


@functools.cache
def _gaussian(size: int) -> np.ndarray:
    """float64 (size,): the Gaussian of `cv2.GaussianBlur` on 8 bits, which is several times as slow.

    Each value is rounded to 1/256, what that leaves is carried to the next, and the middle takes the rest.
    """
    exact = cv2.getGaussianKernel(size, 0)[:, 0] * 256
    upto = np.rint(np.cumsum(exact[: size // 2]))
    half = np.diff(upto, prepend=0)
    return np.array([*half, 256 - 2 * half.sum(), *half[::-1]]) / 256


def _shown(box: np.ndarray, square: Square) -> Square:
    """The part of the face box that is in the lower half of the square, in pixels of the square."""
    side = square[2] - square[0]
    x1, x2 = np.clip((box[0] - square[0], box[2] - square[0]), 0, side)
    y1, y2 = np.clip((box[1] - square[1], box[3] - square[1]), side // 2, side)
    return int(x1), int(y1), int(x2), int(y2)


@dataclass(frozen=True)
class Visible:
    """What of a painted face is seen.

    Attributes:
        alpha: uint8 (h, w), how much of it shows; of no size where nothing does.
        left, top: Where that lies in the face box, in pixels.
    """

    alpha: np.ndarray
    left: int
    top: int


def visible_part(mask: np.ndarray, box: np.ndarray, square: Square) -> Visible:
    """The part of a mask that is inside the face box and not empty.

    Args:
        mask: uint8 (side, side) from `soften`.
        box: x1, y1, x2, y2 in pixels.
        square: The blending square the mask belongs to.
    """
    x1, y1, x2, y2 = (int(v) for v in box)
    alpha = _window(mask, (x1 - square[0], y1 - square[1], x2 - square[0], y2 - square[1]))
    left, top, width, height = cv2.boundingRect(alpha)  # the upper half of the box is never shown
    return Visible(alpha[top : top + height, left : left + width].copy(), left, top)


def composite(
    frame: np.ndarray,
    face: np.ndarray,
    box: np.ndarray,
    mask: np.ndarray,
    square: Square,
    angle: float = 0.0,
    weight: float = 1.0,
    finish: Finish = NO_FINISH,
    mouth: np.ndarray | None = None,
) -> None:
    """`show` along a mask.

    Args:
        mask: uint8 (side, side) from `soften`.
        square: The blending square the mask belongs to.
        frame, face, box, angle, weight, finish, mouth: As for `show`.
    """
    show(frame, face, box, visible_part(mask, box, square), angle, weight, finish, mouth)


def show(
    frame: np.ndarray,
    face: np.ndarray,
    box: np.ndarray,
    visible: Visible,
    angle: float = 0.0,
    weight: float = 1.0,
    finish: Finish = NO_FINISH,
    mouth: np.ndarray | None = None,
) -> None:
    """Blend a face into its box, in place.

    Outside the face box the blending square shows the frame itself, so only the box changes.

    Args:
        frame: uint8 RGB (H, W, 3), changed in place.
        face: uint8 RGB (256, 256, 3), or any size.
        box: x1, y1, x2, y2 in pixels of the upright frame; inside the frame where ``angle`` is 0.
        visible: How much of it is seen, and where.
        angle: Degrees clockwise that turn the frame upright, see `upright`; the face is turned back by it.
        weight: 0..1, how much of the face shows; at 0 the frame stays as it is.
        finish: What is done to the face first.
        mouth: float (12, 2), landmarks 48..59 in pixels of the upright frame; only a finish needs them.
    """
    if not visible.alpha.size:
        return
    x1, y1, x2, y2 = (int(v) for v in box)
    size = x2 - x1, y2 - y1
    alpha = visible.alpha if weight == 1 else cv2.convertScaleAbs(visible.alpha, alpha=weight)
    shown = slice(visible.top, visible.top + len(alpha)), slice(visible.left, visible.left + alpha.shape[1])
    corner = x1 + visible.left, y1 + visible.top
    resized = cv2.resize(face, size, interpolation=cv2.INTER_LINEAR)
    if finish:
        if angle:
            original = upright.cut(frame, box, angle, size, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        else:
            original = frame[y1:y2, x1:x2]
        everywhere = np.zeros(original.shape[:2], np.uint8)
        everywhere[shown] = visible.alpha
        resized = finishing.apply(finish, resized, original, mouth - (x1, y1), everywhere, face.shape[:2])
    resized = resized[shown]
    if angle:
        resized, alpha, corner = upright.turn_back(resized, alpha, corner, angle, frame.shape[:2])
        if not alpha.size:
            return
    _mix(frame, resized, alpha, corner)


def _mix(frame: np.ndarray, picture: np.ndarray, alpha: np.ndarray, corner: tuple[int, int]) -> None:
    """Blend a picture into the frame at x and y of its upper left pixel, in place; rounded to the nearest level."""
    left, top = corner
    under = frame[top : top + len(alpha), left : left + alpha.shape[1]]
    share = alpha.astype(np.float32)  # in 0..255: blendLinear's own 1e-5 in the divisor is then far below a level
    cv2.blendLinear(picture, under, share, 255 - share, dst=under)


def _window(picture: np.ndarray, window: Square) -> np.ndarray:
    """A window of a picture or mask, zero where it leaves it (the square of a tiny box may be the smaller)."""
    x1, y1, x2, y2 = window
    height, width = picture.shape[:2]
    out = np.zeros((y2 - y1, x2 - x1, *picture.shape[2:]), np.uint8)
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    out[top - y1 : bottom - y1, left - x1 : right - x1] = picture[top:bottom, left:right]
    return out
