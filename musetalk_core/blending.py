"""Putting a repainted face back into its frame without a seam.

Source: the reference's ``blending.py``.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

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


def cut_square(frame: np.ndarray, square: Square) -> np.ndarray:
    """The square out of a uint8 RGB frame, black where it leaves the frame."""
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


def composite(frame: np.ndarray, face: np.ndarray, box: np.ndarray, mask: np.ndarray, square: Square) -> None:
    """Blend a face into its box, in place.

    Outside the face box the blending square shows the frame itself, so only the box changes.

    Args:
        frame: uint8 RGB (H, W, 3), changed in place.
        face: uint8 RGB (256, 256, 3), or any size.
        box: x1, y1, x2, y2 in pixels, inside the frame.
        mask: uint8 (side, side) from `soften`.
        square: The blending square the mask belongs to.
    """
    x1, y1, x2, y2 = (int(v) for v in box)
    resized = cv2.resize(face, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
    alpha = _window(mask, (x1 - square[0], y1 - square[1], x2 - square[0], y2 - square[1]))[..., None]
    under = frame[y1:y2, x1:x2]
    mixed = resized * alpha.astype(np.uint16) + under * (255 - alpha).astype(np.uint16) + 128
    frame[y1:y2, x1:x2] = (mixed + (mixed >> 8)) >> 8  # divided by 255 with rounding, in integers


def _window(mask: np.ndarray, window: Square) -> np.ndarray:
    """A window of the mask, zero where it leaves it (the square of a tiny box may be the smaller)."""
    x1, y1, x2, y2 = window
    side = len(mask)
    out = np.zeros((y2 - y1, x2 - x1), np.uint8)
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, side), min(y2, side)
    out[top - y1 : bottom - y1, left - x1 : right - x1] = mask[top:bottom, left:right]
    return out
