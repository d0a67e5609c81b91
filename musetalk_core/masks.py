"""Face parsing, and which of its classes the repainted region is made of.

Source: the reference's ``face_parsing/__init__.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

from .networks.bisenet import SIZE
from .releases import MaskMode

SKIN, NOSE, MOUTH, UPPER_LIP, LOWER_LIP, NECK = 1, 10, 11, 12, 13, 14
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_CLASSES = {
    "raw": (SKIN, MOUTH, UPPER_LIP, LOWER_LIP),
    "neck": (SKIN, MOUTH, UPPER_LIP, LOWER_LIP, NECK),
    "face": tuple(range(SKIN, LOWER_LIP + 1)),
}


def parse_faces(network: nn.Module, squares: Sequence[np.ndarray]) -> np.ndarray:
    """Label every pixel of the pictures with one of 19 classes.

    Args:
        network: BiSeNet, on the device to compute on.
        squares: uint8 RGB (s, s, 3) each, any sizes.

    Returns:
        uint8 (B, 512, 512), labels 0..18.
    """
    weight = next(network.parameters())
    resized = [Image.fromarray(square).resize((SIZE, SIZE), Image.Resampling.BILINEAR) for square in squares]
    x = torch.from_numpy(np.stack([np.asarray(picture) for picture in resized]))
    x = x.to(weight.device, weight.dtype) / 255
    x = (x - x.new_tensor(_MEAN)) / x.new_tensor(_STD)
    return network(x.permute(0, 3, 1, 2)).argmax(dim=1).to(torch.uint8).cpu().numpy()


def select_region(labels: np.ndarray, mode: MaskMode, cheek_width: int) -> np.ndarray:
    """The region to repaint in a parsed picture.

    Args:
        labels: uint8 (512, 512), labels 0..18.
        mode: "raw": skin and mouth; "neck": these and the neck; "face": everything of the face;
            "jaw": the mouth, and the skin grown a little but narrowed at the cheeks.
        cheek_width: "jaw" only: half width in pixels of the middle band that is not narrowed.

    Returns:
        uint8 (512, 512), 0 or 255.
    """
    if mode != "jaw":
        return np.isin(labels, _CLASSES[mode]).astype(np.uint8) * 255
    skin = (labels == SKIN).astype(np.uint8) * 255
    widened = cv2.dilate(skin, _downward_kernel())
    region = cv2.erode(widened, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (35, 3)), iterations=2)
    centre = SIZE // 2
    middle = slice(max(0, centre - cheek_width + 1), centre + cheek_width)
    region[:, middle] = widened[:, middle]
    region[labels == NOSE] = 0
    region[np.isin(labels, (MOUTH, UPPER_LIP, LOWER_LIP))] = 255
    return region


@functools.cache
def _downward_kernel() -> np.ndarray:
    """33 x 33 dilation kernel: a cone opening over rows 10..20, its full width on to row 32."""
    kernel = np.zeros((33, 33), np.uint8)
    for row in range(10, 33):
        half = min(row, 20) - 10
        kernel[row, 16 - half : 16 + half + 1] = 1
    return kernel
