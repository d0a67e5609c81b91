"""Writing on pictures."""

from __future__ import annotations

import cv2
import numpy as np


def write(picture: np.ndarray, text: str, height: float, colour: tuple[int, int, int]) -> None:
    """Write a line of text across the top of a uint8 RGB (H, W, 3) picture, in place, outlined in black.

    Args:
        height: Of the letters, in pixels.
    """
    scale = height / 22  # OpenCV's letters are 22 pixels high
    thickness = max(1, round(scale * 1.5))
    x, y = round(height / 2), round(height * 1.5)
    # Copies beside each other, since a thicker stroke is also a wider font in OpenCV 5.
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        place = (x + dx * thickness, y + dy * thickness)
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), thickness, cv2.LINE_AA)
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
