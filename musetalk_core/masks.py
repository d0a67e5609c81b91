"""Face parsing, and which of its classes the repainted region is made of.

Source: the reference's ``face_parsing/__init__.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .networks.bisenet import SIZE, BiSeNet
from .releases import MaskMode

SKIN, NOSE, MOUTH, UPPER_LIP, LOWER_LIP, NECK = 1, 10, 11, 12, 13, 14
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
Window = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of a parsed picture, inside it."""
WHOLE: Window = (0, 0, SIZE, SIZE)
_CLASSES = {
    "raw": (SKIN, MOUTH, UPPER_LIP, LOWER_LIP),
    "neck": (SKIN, MOUTH, UPPER_LIP, LOWER_LIP, NECK),
    "face": tuple(range(SKIN, LOWER_LIP + 1)),
}


def parse_faces(
    network: BiSeNet, squares: Sequence[np.ndarray], windows: Sequence[Window] | None = None
) -> np.ndarray:
    """Label every pixel of the pictures with one of 19 classes.

    Args:
        network: On the device to compute on.
        squares: uint8 RGB (s, s, 3) each, any sizes.
        windows: What is wanted of each; everything when None.

    Returns:
        uint8 (B, 512, 512), labels 0..18; 0 outside the windows.
    """
    weight = next(network.parameters())
    resized = [Image.fromarray(square).resize((SIZE, SIZE), Image.Resampling.BILINEAR) for square in squares]
    x = torch.from_numpy(np.stack([np.asarray(picture) for picture in resized]))
    x = x.to(weight.device).to(weight.dtype).div_(255)  # a quarter of the bytes goes over
    x = x.sub_(x.new_tensor(_MEAN)).div_(x.new_tensor(_STD))
    labels = np.zeros((len(squares), SIZE, SIZE), np.uint8)
    for out, scores, window in zip(
        labels, network.scores(x.permute(0, 3, 1, 2)), windows or [WHOLE] * len(squares), strict=True
    ):
        left, top, right, bottom = window
        out[top:bottom, left:right] = _best_classes(scores, window).cpu().numpy()
    return labels


def _best_classes(scores: Tensor, window: Window) -> Tensor:
    """The best class of each pixel: uint8 (h, w).

    The scores are enlarged as `BiSeNet.forward` enlarges them, but only where they are asked for, by
    two products: one along each axis.

    Args:
        scores: float (19, n, n), coarse.
        window: Of the 512 x 512 picture.
    """
    left, top, right, bottom = window
    enlarging = _enlarging(scores.shape[-1]).to(scores)
    enlarged = enlarging[top:bottom] @ (scores @ enlarging[left:right].T)
    if enlarged.is_cuda:
        return enlarged.argmax(0).to(torch.uint8)
    # Class by class: torch's own argmax across planes takes ten times as long on a CPU.
    best, labels = enlarged[0], torch.zeros(enlarged.shape[1:], dtype=torch.uint8)
    for label, plane in enumerate(enlarged[1:], 1):
        labels = torch.maximum(labels, (plane > best).to(torch.uint8) * label)  # later ones are the larger numbers
        best = torch.maximum(best, plane)
    return labels


@functools.cache
def _enlarging(size: int) -> Tensor:
    """float32 (512, size): what each of 512 pixels takes from ``size`` of them, bilinearly, corners aligned."""
    eye = torch.eye(size)[None, None]
    return F.interpolate(eye, (SIZE, size), mode="bilinear", align_corners=True)[0, 0]


def select_region(labels: np.ndarray, mode: MaskMode, cheek_width: int, window: Window = WHOLE) -> np.ndarray:
    """The region to repaint in a parsed picture.

    Args:
        labels: uint8 (512, 512), labels 0..18; only those in `surroundings` of the window matter.
        mode: "raw": skin and mouth; "neck": these and the neck; "face": everything of the face;
            "jaw": the mouth, and the skin grown a little but narrowed at the cheeks.
        cheek_width: "jaw" only: half width in pixels of the middle band that is not narrowed.
        window: What of it is wanted.

    Returns:
        uint8 (512, 512), 0 or 255; 0 outside the window.
    """
    left, top, right, bottom = window
    region = np.zeros((SIZE, SIZE), np.uint8)
    seen = labels[top:bottom, left:right]
    if mode != "jaw":
        region[top:bottom, left:right] = cv2.LUT(seen, _table(_CLASSES[mode]))
        return region
    x, y, x_end, y_end = surroundings(window)
    widened = _widened(cv2.LUT(labels[y:y_end, x:x_end], _table((SKIN,))))
    narrowed = cv2.erode(widened, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (35, 3)), iterations=2)
    middle = slice(max(0, SIZE // 2 - cheek_width + 1 - x), max(0, SIZE // 2 + cheek_width - x))
    narrowed[:, middle] = widened[:, middle]
    skin = narrowed[top - y : bottom - y, left - x : right - x]
    mouth = cv2.LUT(seen, _table((MOUTH, UPPER_LIP, LOWER_LIP)))
    region[top:bottom, left:right] = skin & ~cv2.LUT(seen, _table((NOSE,))) | mouth
    return region


def surroundings(window: Window) -> Window:
    """Whose labels the region in a window follows from, as far as the kernels of "jaw" reach."""
    left, top, right, bottom = window
    return max(0, left - 44), max(0, top - 8), min(SIZE, right + 44), min(SIZE, bottom + 18)


@functools.cache
def _table(classes: tuple[int, ...]) -> np.ndarray:
    """uint8 (256,): label to 255 for these classes, to 0 for others."""
    return np.isin(np.arange(256), classes).astype(np.uint8) * 255


def _widened(skin: np.ndarray) -> np.ndarray:
    """Dilated by the reference's kernel of 33 x 33: a cone opening over rows 10..20, its full width on to row 32.

    That is ten small steps, each a row lower and a column wider on either side, and then a column of 13.

    Args:
        skin: uint8 (h, w), 0 or 255.
    """
    step = np.array(((0, 1, 0), (1, 1, 1)), np.uint8)
    padded = cv2.copyMakeBorder(skin, 6, 0, 0, 0, cv2.BORDER_CONSTANT)  # the steps may begin above the picture
    cone = cv2.dilate(padded, step, anchor=(1, 0), iterations=10)
    return cv2.dilate(cone, np.ones((13, 1), np.uint8))[6:]
