"""Putting a repainted face back into its frame without a seam.

Source: the reference's ``blending.py``.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from . import finishing, upright
from .finishing import NO_FINISH, Finish

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
    return np.asarray(Image.fromarray(frame).crop(square))


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
    resized = np.asarray(Image.fromarray(region).resize((side, side), Image.Resampling.BICUBIC))
    x1, x2 = np.clip((box[0] - square[0], box[2] - square[0]), 0, side)
    y1, y2 = np.clip((box[1] - square[1], box[3] - square[1]), side // 2, side)
    mask = np.zeros((side, side), np.uint8)
    mask[y1:y2, x1:x2] = resized[y1:y2, x1:x2]
    kernel = int(blur_ratio * side // 2 * 2) + 1
    return cv2.GaussianBlur(mask, (kernel, kernel), 0)


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
    """Blend a face into its box, in place.

    Outside the face box the blending square shows the frame itself, so only the box changes.

    Args:
        frame: uint8 RGB (H, W, 3), changed in place.
        face: uint8 RGB (256, 256, 3), or any size.
        box: x1, y1, x2, y2 in pixels of the upright frame; inside the frame where ``angle`` is 0.
        mask: uint8 (side, side) from `soften`.
        square: The blending square the mask belongs to.
        angle: Degrees clockwise that turn the frame upright, see `upright`; the face is turned back by it.
        weight: 0..1, how much of the face shows; at 0 the frame stays as it is.
        finish: What is done to the face first.
        mouth: float (12, 2), landmarks 48..59 in pixels of the upright frame; only a finish needs them.
    """
    x1, y1, x2, y2 = (int(v) for v in box)
    size = x2 - x1, y2 - y1
    alpha = _window(mask, (x1 - square[0], y1 - square[1], x2 - square[0], y2 - square[1]))
    visible = alpha if weight == 1 else cv2.convertScaleAbs(alpha, alpha=weight)
    left, top, width, height = cv2.boundingRect(visible)  # the upper half of the box is never shown
    if not width:
        return
    resized = cv2.resize(face, size, interpolation=cv2.INTER_LINEAR)
    if finish:
        if angle:
            original = upright.cut(frame, box, angle, size, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        else:
            original = frame[y1:y2, x1:x2]
        resized = finishing.apply(finish, resized, original, mouth - (x1, y1), alpha, face.shape[:2])
    shown = slice(top, top + height), slice(left, left + width)
    resized, visible, corner = resized[shown], visible[shown], (x1 + left, y1 + top)
    if angle:
        resized, visible, corner = upright.turn_back(resized, visible, corner, angle, frame.shape[:2])
    _mix(frame, resized, visible, corner)


def _mix(frame: np.ndarray, picture: np.ndarray, alpha: np.ndarray, corner: tuple[int, int]) -> None:
    """Blend a picture into the frame at x and y of its upper left pixel, in place."""
    left, top = corner
    under = frame[top : top + len(alpha), left : left + alpha.shape[1]]
    share = alpha[..., None]
    mixed = picture * share.astype(np.uint16) + under * (255 - share).astype(np.uint16) + 128
    under[:] = (mixed + (mixed >> 8)) >> 8  # divided by 255 with rounding, in integers


def _window(mask: np.ndarray, window: Square) -> np.ndarray:
    """A window of the mask, zero where it leaves it (the square of a tiny box may be the smaller)."""
    x1, y1, x2, y2 = window
    side = len(mask)
    out = np.zeros((y2 - y1, x2 - x1), np.uint8)
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, side), min(y2, side)
    out[top - y1 : bottom - y1, left - x1 : right - x1] = mask[top:bottom, left:right]
    return out
