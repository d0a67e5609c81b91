"""Draws docs/what-it-does.jpg from the bundled sample: every panel but the last is computed, not painted.

python tools/make_picture.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from musetalk_core import blending, face_track_file, faces, latents, masks
from musetalk_core.drawing import write
from musetalk_core.networks.bisenet import SIZE
from musetalk_core.preview import draw_face
from musetalk_core.releases import RELEASES

ROOT = Path(__file__).parent.parent
PANEL, CAPTION = 420, 44  # px
RELEASE = RELEASES["1.5"]


def main() -> None:
    frame = np.asarray(Image.open(ROOT / "assets" / "sample" / "face.jpg"))
    track = faces.make_track(face_track_file.load(ROOT / "assets" / "sample" / "face.json"), 0, RELEASE.extra_margin)
    box = track.boxes[0]
    crop = latents.crop_face(frame, box)
    masked = crop.copy()
    masked[latents.FACE_SIZE // 2 :] = 0
    marked = frame.copy()
    draw_face(marked, track, 0)
    panels = [
        ("1 the face", _around(frame, box)),
        ("2 points, box, shift range", _around(marked, box)),
        ("3 what the model is given", masked),
        ("4 what may change", _around(_tinted(frame, track, box), box)),
    ]
    out = np.concatenate([_panel(title, picture) for title, picture in panels], axis=1)
    Image.fromarray(out).save(ROOT / "docs" / "what-it-does.jpg", quality=88)


def _around(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = blending.blending_square(box, 2.0)
    return frame[max(0, y1) : y2, max(0, x1) : x2]


def _tinted(frame: np.ndarray, track: faces.FaceTrack, box: np.ndarray) -> np.ndarray:
    """The blend mask in orange. The parsed skin is stood in for by the outline of the landmarks."""
    square = blending.blending_square(box, RELEASE.crop_expand)
    labels = np.zeros((SIZE, SIZE), np.uint8)
    scale = SIZE / (square[2] - square[0])
    outline = (track.seen.landmarks[0, :27] - square[:2]) * scale
    cv2.fillPoly(labels, [cv2.convexHull(outline.astype(np.int32))], masks.SKIN)
    region = masks.select_region(labels, RELEASE.mask_mode, RELEASE.cheek_width)
    mask = blending.soften(region, box, square, RELEASE.blur_ratio)
    out = frame.copy()
    orange = np.full((latents.FACE_SIZE, latents.FACE_SIZE, 3), (255, 140, 0), np.uint8)
    blending.composite(out, orange, box, (mask * 0.6).astype(np.uint8), square)
    return out


def _panel(title: str, picture: np.ndarray) -> np.ndarray:
    caption = np.zeros((CAPTION, PANEL, 3), np.uint8)
    write(caption, title, height=18, colour=(255, 255, 255))
    return np.concatenate((caption, cv2.resize(picture, (PANEL, PANEL), interpolation=cv2.INTER_CUBIC)))


if __name__ == "__main__":
    main()
