"""A picture of what the landmarks node found."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .drawing import write
from .faces import FaceTrack

_MOST_FRAMES = 16
_LONGEST_SIDE = 768  # px
_POINT, _BOX, _MIDDLE = (0, 255, 120), (255, 200, 0), (255, 60, 60)
_MASK = (40, 150, 255)  # unlike any skin
_MASK_SHARE = 0.55


def draw_track(frames: Sequence[np.ndarray], track: FaceTrack) -> list[np.ndarray]:
    """Frames with the 68 points, the face box, its middle, and the usable range written above.

    Args:
        frames: uint8 RGB (H, W, 3), those the track was made from.
        track: The track.

    Returns:
        uint8 RGB pictures of one size, longer side at most 768: up to 16 frames, evenly spaced.
    """
    count = min(_MOST_FRAMES, len(track))
    chosen = np.linspace(0, len(track) - 1, count).round().astype(int)
    return [_draw(frames[i], track, i) for i in chosen]


def reduced(frame: np.ndarray) -> np.ndarray:
    """A uint8 RGB (H, W, 3) frame with a longer side of at most 768 pixels."""
    zoom = min(1.0, _LONGEST_SIDE / max(frame.shape[:2]))
    return cv2.resize(frame, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA) if zoom < 1 else frame


def draw_mask(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A picture tinted where a mask shows, outlined where it is half.

    Args:
        picture: uint8 RGB (h, w, 3).
        mask: uint8 (s, s), over the whole picture, of any size.
    """
    height, width = picture.shape[:2]
    alpha = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    share = alpha * np.float32(_MASK_SHARE / 255)
    out = cv2.blendLinear(picture, np.full_like(picture, _MASK), 1 - share, share)
    lines, _ = cv2.findContours((alpha >= 128).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(out, lines, -1, _MASK, max(1, round(width / 256)), cv2.LINE_AA)
    return out


def draw_face(picture: np.ndarray, track: FaceTrack, index: int, zoom: float = 1.0) -> None:
    """Draw the points, box and middle of a frame's face, in place; of a held one only the box.

    Args:
        picture: uint8 RGB (H, W, 3): the frame, ``zoom`` times its size.
        track: The track.
        index: Which frame; it has a box.
        zoom: Pixels of the picture for one of the frame.
    """
    thickness = max(1, round(picture.shape[1] / 512))
    x1, y1, x2, y2 = track.boxes[index]
    angle = track.angles[index]
    box = _turn(track, [(x1, y1), (x2, y1), (x2, y2), (x1, y2)], -angle)
    cv2.polylines(picture, [(box * zoom).astype(np.int32)], True, _BOX, thickness)
    if not track.seen.marked[index]:
        return
    middle = min(y2, _turn(track, track.landmarks[index, 29:30], angle)[0, 1] + track.bbox_shift)
    line = _turn(track, [(x1, middle), (x2, middle)], -angle)
    cv2.polylines(picture, [(line * zoom).astype(np.int32)], False, _MIDDLE, thickness)
    for x, y in (track.landmarks[index] * zoom).astype(int):
        cv2.circle(picture, (int(x), int(y)), thickness, _POINT, -1)


def _turn(track: FaceTrack, points: Sequence[Sequence[float]], angle: float) -> np.ndarray:
    """Points of a frame where they are when it is turned clockwise, float (points, 2)."""
    there = np.array(points, np.float64)
    if not angle:
        return there
    from .upright import turn_points

    return turn_points(there[None], np.array([angle]), (track.seen.height, track.seen.width))[0]


def _draw(frame: np.ndarray, track: FaceTrack, index: int) -> np.ndarray:
    small = reduced(frame)
    out, zoom = (frame.copy(), 1.0) if small is frame else (small, len(small) / len(frame))
    minus, plus = track.shift_range
    text = f"frame {index}: no face, passes through untouched"
    if track.held[index]:
        text = f"frame {index}: no face, the last box is held"
    elif track.present[index]:
        text = f"frame {index}: bbox_shift {track.bbox_shift}, usable [-{minus} ~ {plus}]"
    if track.present[index]:
        draw_face(out, track, index, zoom)
    write(out, text, height=out.shape[1] / 40, colour=(255, 255, 255))
    return out
