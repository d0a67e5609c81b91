"""How alike two faces look, without any network: enough to choose among a few people in a shot."""

from __future__ import annotations

import cv2
import numpy as np

_SIDE = 32  # px of the thumbnails compared
_SLACK = 1.25  # by how much the face is searched further than its box


class Portrait:
    """A face to compare others with.

    Both are brought to 32 x 32 by their boxes and correlated in colour (zero mean, unit norm), at the
    best of a few offsets. That tells people apart by hair, beard, glasses, headwear and the contrast
    of skin to hair, under similar light and from a similar side. It is not face recognition: it
    confuses people who look alike at that size, and a profile may look less like its own frontal
    picture than another's face does.
    """

    def __init__(self, picture: np.ndarray, box: np.ndarray) -> None:
        """
        Args:
            picture: uint8 RGB (H, W, 3).
            box: x1, y1, x2, y2 of the face in it, px.
        """
        self._template = _thumbnail(picture, box, 1.0)

    def likeness(self, frame: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Correlation in -1..1 of each face with the portrait, (k,).

        Args:
            frame: uint8 RGB (H, W, 3).
            faces: (k, 4 or more): x1, y1, x2, y2 in pixels.
        """
        searched = [_thumbnail(frame, face, _SLACK) for face in faces]
        return np.array([cv2.matchTemplate(s, self._template, cv2.TM_CCOEFF_NORMED).max() for s in searched])


def _thumbnail(picture: np.ndarray, box: np.ndarray, grow: float) -> np.ndarray:
    """The box, grown about its centre and cut at the picture's edges, at ``grow`` times 32 pixels."""
    height, width = picture.shape[:2]
    centre, half = (box[:2] + box[2:4]) / 2, (box[2:4] - box[:2]) / 2 * grow
    x1, y1 = np.clip(np.floor(centre - half), 0, (width - 1, height - 1)).astype(int)
    x2, y2 = np.clip(np.ceil(centre + half), 1, (width, height)).astype(int)
    side = round(_SIDE * grow)
    return cv2.resize(picture[y1:y2, x1:x2], (side, side), interpolation=cv2.INTER_AREA)
