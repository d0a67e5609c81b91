"""Draws docs/finishing.jpg from the bundled sample: what the two finishing options give back.

There are no trained weights here, so the painted face is a stand-in: the original crop brought to the
model's size and back, its colours shifted. The sample's face is 93 x 128 pixels, which the model's 256
would hold; it is painted at 64 x 64 instead, as a face four times its size would be at 256 x 256.

python tools/make_finish_picture.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from musetalk_core import blending, face_track_file, faces, finishing, latents, masks
from musetalk_core.drawing import write
from musetalk_core.finishing import Finish
from musetalk_core.networks.bisenet import SIZE
from musetalk_core.releases import RELEASES

ROOT = Path(__file__).parent.parent
PAINTED = 64  # px: stands for 256
SCALE = latents.FACE_SIZE // PAINTED
SHIFT = (12, -3, -10)  # levels of red, green, blue
ZOOM = 3
CAPTION, GAP = 34, 6  # px of the picture
RELEASE = RELEASES["1.5"]


def main() -> None:
    frame = np.asarray(Image.open(ROOT / "assets" / "sample" / "face.jpg"))
    track = faces.make_track(face_track_file.load(ROOT / "assets" / "sample" / "face.json"), 0, RELEASE.extra_margin)
    width, height = track.boxes[0, 2:] - track.boxes[0, :2]
    panels = [_panel("original", frame, track)]
    for title, finish in (
        ("painted (stand-in)", Finish()),
        ("detail 1", Finish(detail=1)),
        ("colour 1", Finish(colour=1)),
        ("detail 1, colour 1", Finish(detail=1, colour=1)),
    ):
        panels.append(_panel(title, _blended(frame, track, finish), track))
    gap = np.full_like(panels[0][:, :GAP], 255)
    row = np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)
    lines = (
        "No trained weights here: the painted face is the original crop brought to "
        f"{PAINTED} x {PAINTED} and back, its colours shifted by {SHIFT}.",
        f"The face is {width} x {height} pixels, so {PAINTED} stands for the model's 256 on a face of "
        f"{SCALE * width} x {SCALE * height}. Shown x {ZOOM}.",
    )
    Image.fromarray(np.concatenate([row, *(_caption(line, row.shape[1]) for line in lines)])).save(
        ROOT / "docs" / "finishing.jpg", quality=90
    )


def _blended(frame: np.ndarray, track: faces.FaceTrack, finish: Finish) -> np.ndarray:
    box, landmarks = track.boxes[0], track.seen.landmarks[0]
    x1, y1, x2, y2 = box
    small = cv2.resize(frame[y1:y2, x1:x2], (PAINTED, PAINTED), interpolation=cv2.INTER_AREA)
    painted = np.clip(small + np.array(SHIFT), 0, 255).astype(np.uint8)
    square = blending.blending_square(box, RELEASE.crop_expand)
    mask = blending.soften(_region(landmarks, square), box, square, RELEASE.blur_ratio)
    out = frame.copy()
    blending.composite(out, painted, box, mask, square, finish=finish, mouth=landmarks[finishing.OUTER_LIP])
    return out


def _region(landmarks: np.ndarray, square: blending.Square) -> np.ndarray:
    """What is repainted; the parsed skin is stood in for by the outline of the landmarks."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    outline = (landmarks[:27] - square[:2]) * (SIZE / (square[2] - square[0]))
    cv2.fillPoly(labels, [cv2.convexHull(outline.astype(np.int32))], masks.SKIN)
    return masks.select_region(labels, RELEASE.mask_mode, RELEASE.cheek_width)


def _panel(title: str, frame: np.ndarray, track: faces.FaceTrack) -> np.ndarray:
    x1, y1, x2, y2 = track.boxes[0]
    shown = frame[y1 + 20 : y2 + 10, x1 - 3 : x2 + 3]
    zoomed = cv2.resize(shown, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    return np.concatenate((_caption(title, zoomed.shape[1]), zoomed))


def _caption(text: str, width: int) -> np.ndarray:
    line = np.zeros((CAPTION, width, 3), np.uint8)
    write(line, text, height=14, colour=(255, 255, 255))
    return line


if __name__ == "__main__":
    main()
