"""Tilted heads turned upright before they are painted, and back.

Every angle here is `FaceTrack.angles`: degrees by which the frame is turned clockwise, as one sees it,
about its centre ((W-1)/2, (H-1)/2), so that the face stands upright. The upright frame has the frame's
own size and pixel grid; boxes in it may leave it, because a corner of the frame may.
"""

from __future__ import annotations

import cv2
import numpy as np

_RIGHT_EYE, _LEFT_EYE = slice(36, 42), slice(42, 48)  # of the person: the right one is on the picture's left


def roll(landmarks: np.ndarray) -> np.ndarray:
    """The angles that bring the line through the eyes level.

    Args:
        landmarks: (N, 68, 2), x and y in pixels, iBUG order.

    Returns:
        float64 (N,): degrees in -180..180; negative where the head leans clockwise.
    """
    across = landmarks[:, _LEFT_EYE].mean(axis=1) - landmarks[:, _RIGHT_EYE].mean(axis=1)
    return -np.degrees(np.arctan2(across[:, 1], across[:, 0]))


def matrix(angle: float, size: tuple[int, int]) -> np.ndarray:
    """The affine map, float64 (2, 3), from a point of the frame to the same point of the upright frame.

    Args:
        angle: Degrees clockwise.
        size: (height, width) of the frame.
    """
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array(((cos, -sin), (sin, cos)))  # clockwise, because y points down
    centre = (np.array(size[::-1]) - 1) / 2
    return np.column_stack((turn, centre - turn @ centre))


def turn_points(points: np.ndarray, angles: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Points of frames to where they are in the upright frames.

    Args:
        points: (N, P, 2), x and y in pixels.
        angles: (N,), degrees clockwise; negated, they turn points of upright frames back.
        size: (height, width) of the frames.

    Returns:
        float64 (N, P, 2).
    """
    maps = np.stack([matrix(angle, size) for angle in angles])
    return points @ maps[:, :, :2].transpose(0, 2, 1) + maps[:, None, :, 2]


def cut(
    frame: np.ndarray, box: tuple[int, ...], angle: float, size: tuple[int, int], interpolation: int, border: int
) -> np.ndarray:
    """A box of the upright frame at any size, straight from the frame by one warp.

    Args:
        frame: uint8 RGB (H, W, 3).
        box: x1, y1, x2, y2 in pixels of the upright frame; may leave it.
        angle: Degrees clockwise.
        size: (width, height) of the result. Like `cv2.resize`, making it smaller does not blur first.
        interpolation: OpenCV's INTER_...
        border: OpenCV's BORDER_..., for what lies outside the frame.

    Returns:
        uint8 RGB (height, width, 3).
    """
    x1, y1, x2, y2 = (int(v) for v in box)
    scale = np.array((x2 - x1, y2 - y1)) / size
    back = cv2.invertAffineTransform(matrix(angle, frame.shape[:2]))
    corner = (x1, y1) + (scale - 1) / 2  # where the centre of the result's first pixel lies
    whole = np.column_stack((back[:, :2] * scale, back[:, :2] @ corner + back[:, 2]))
    return cv2.warpAffine(frame, whole, size, flags=interpolation | cv2.WARP_INVERSE_MAP, borderMode=border)


def turn_back(
    picture: np.ndarray, mask: np.ndarray, corner: tuple[int, int], angle: float, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """A picture that lies in the upright frame, and its mask, to where they lie in the frame.

    Args:
        picture: uint8 RGB (h, w, 3).
        mask: uint8 (h, w).
        corner: x and y of their upper left pixel in the upright frame.
        angle: Degrees clockwise by which the frame was turned.
        size: (height, width) of the frame.

    Returns:
        The smallest window of the frame that holds the picture: what it shows, uint8 RGB (h', w', 3);
        its mask, uint8 (h', w'), 0 outside the picture; and x and y of its upper left pixel. The window
        is of no size where the picture lies outside the frame.
    """
    height, width = mask.shape
    forth = matrix(angle, size)
    forth[:, 2] -= corner  # now from the frame to the picture
    back = cv2.invertAffineTransform(forth)
    outline = np.array(((-1, -1), (width, -1), (-1, height), (width, height)))  # where the mask has faded to 0
    points = outline @ back[:, :2].T + back[:, 2]
    limit = np.array(size[::-1])
    first = np.clip(np.ceil(points.min(axis=0)), 0, limit).astype(int)
    window = np.clip(np.floor(points.max(axis=0)) + 1, first, limit).astype(int) - first
    left, top = (int(v) for v in first)
    if not window.all():
        return np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.uint8), (left, top)
    forth[:, 2] += forth[:, :2] @ first
    turned = cv2.warpAffine(
        picture,
        forth,
        window.tolist(),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    alpha = cv2.warpAffine(mask, forth, window.tolist(), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return turned, alpha, (left, top)
