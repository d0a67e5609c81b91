"""The reference's own formulations of parsing and blending, for the benchmark to compare with.

They give the same results as `masks` and `blending`, in the plainest way and with the most work.

Source: the reference's ``blending.py`` and ``face_parsing/__init__.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from .releases import MaskMode, Release

_SIZE = 512  # of a parse map


def plain_parse(network: nn.Module, squares: Sequence[np.ndarray]) -> np.ndarray:
    """`masks.parse_faces`, one picture at a time, all 19 classes enlarged to 512 x 512.

    Args:
        network: BiSeNet as it was published, on the device to compute on.
        squares: uint8 RGB (s, s, 3) each, any sizes.

    Returns:
        uint8 (B, 512, 512), labels 0..18.
    """
    return np.stack([_plain_parse(network, square) for square in squares])


def _plain_parse(network: nn.Module, square: np.ndarray) -> np.ndarray:
    resized = Image.fromarray(square).resize((_SIZE, _SIZE), Image.Resampling.BILINEAR)
    x = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255
    mean, std = (Tensor(value)[:, None, None] for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = ((x - mean) / std)[None].to(next(network.parameters()).device)
    return network(x)[0].cpu().numpy().argmax(0).astype(np.uint8)


def plain_blend(
    frame: np.ndarray,
    face: np.ndarray,
    box: np.ndarray,
    labels: np.ndarray,
    release: Release,
    mode: MaskMode | None = None,
) -> np.ndarray:
    """Blend a face into its frame over the whole blending square, picture by picture.

    Args:
        frame: uint8 RGB (H, W, 3).
        face: uint8 RGB (256, 256, 3).
        box: The face box, x1, y1, x2, y2 in pixels, inside the frame.
        labels: uint8 (512, 512), the parse map of the blending square.
        release: Gives the mask's settings.
        mode: Instead of the release's.

    Returns:
        uint8 RGB (H, W, 3), a new frame.
    """
    x1, y1, x2, y2 = (int(v) for v in box)
    half = int(max(x2 - x1, y2 - y1) // 2 * release.crop_expand)
    left, top, side = (x1 + x2) // 2 - half, (y1 + y2) // 2 - half, 2 * half
    inside = (x1 - left, y1 - top, x2 - left, y2 - top)  # the box in the square

    resized_face = cv2.resize(face, (x2 - x1, y2 - y1))
    body = Image.fromarray(frame)
    square = body.crop((left, top, left + side, top + side))
    region = Image.fromarray(_plain_region(labels, mode or release.mask_mode, release.cheek_width))
    region = region.resize((side, side))
    boxed = Image.new("L", (side, side), 0)
    boxed.paste(region.crop(inside), inside)
    lower = Image.new("L", (side, side), 0)
    lower.paste(boxed.crop((0, half, side, side)), (0, half))
    kernel = int(release.blur_ratio * side // 2 * 2) + 1
    mask = Image.fromarray(cv2.GaussianBlur(np.array(lower), (kernel, kernel), 0))
    square.paste(Image.fromarray(resized_face), inside)
    body.paste(square, (left, top), mask)
    return np.array(body)


def _plain_region(labels: np.ndarray, mode: MaskMode, cheek_width: int) -> np.ndarray:
    if mode != "jaw":
        classes = {"raw": (1, 11, 12, 13), "neck": (1, 11, 12, 13, 14), "face": tuple(range(1, 14))}[mode]
        return np.isin(labels, classes).astype(np.uint8) * 255
    cone = np.zeros((33, 33), np.uint8)
    for row in range(10, 33):
        half = min(row, 20) - 10
        cone[row, 16 - half : 16 + half + 1] = 1
    middle = np.zeros((_SIZE, _SIZE), bool)
    middle[:, max(0, _SIZE // 2 - cheek_width + 1) : _SIZE // 2 + cheek_width] = True
    skin = (labels == 1).astype(np.uint8) * 255
    widened = cv2.dilate(skin, cone)
    narrowed = cv2.erode(widened, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (35, 3)), iterations=2)
    region = np.where(middle, widened, narrowed)
    region[labels == 10] = 0
    region[np.isin(labels, (11, 12, 13))] = 255
    return region
