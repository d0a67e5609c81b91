"""Frames to keypoints: DWPose, which is RTMPose on the whole frame or a region of it.

Source: RTMPose's pre- and postprocessing (arXiv 2303.07399), as the reference uses it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from .networks import rtmpose

FACE = slice(23, 91)  # the 68 face points (iBUG order) among COCO-WholeBody's 133
_PADDING = 1.25  # of the person box
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)

Region = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of a frame."""


def _mirrored_keypoints() -> list[int]:
    """Index of each COCO-WholeBody keypoint's left-right counterpart."""
    body = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    feet = [20, 21, 22, 17, 18, 19]
    face = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    face += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    face += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    hands = [*range(112, 133), *range(91, 112)]
    return body + feet + [23 + i for i in face] + hands


_MIRRORED = _mirrored_keypoints()


def estimate_keypoints(
    network: nn.Module, frames: Sequence[np.ndarray], regions: Sequence[Region] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the 133 whole-body keypoints of the one person in each frame.

    The whole frame is the person box, or a region of it; a mirrored copy is averaged in (flip test);
    frames and copies go through the network as one batch.

    Args:
        network: RTMPose-l, on the device to compute on.
        frames: uint8 RGB (H, W, 3) each.
        regions: Where in each frame the person is; the whole frames when None.

    Returns:
        Keypoints float32 (B, 133, 2) in pixels, and scores float32 (B, 133).
    """
    warped = [warp_to_input(*pair) for pair in zip(frames, regions or [None] * len(frames), strict=True)]
    simcc_x, simcc_y = flip_tested_simcc(network, np.stack([picture for picture, _, _ in warped]))
    points, scores = _decode_simcc(simcc_x, simcc_y)
    size = np.array((rtmpose.INPUT_WIDTH, rtmpose.INPUT_HEIGHT), np.float32)
    for i, (_, centre, scale) in enumerate(warped):
        points[i] = points[i] / size * scale + centre - 0.5 * scale
    return points, scores


def flip_tested_simcc(network: nn.Module, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
    """SimCC scores of the pictures averaged with those of their mirror images.

    Args:
        network: RTMPose-l, on the device to compute on.
        pictures: uint8 RGB (B, 384, 288, 3).

    Returns:
        Scores along x (B, 133, 576) and along y (B, 133, 768), two bins a pixel.
    """
    weight = next(network.parameters())
    x = torch.from_numpy(pictures).to(weight.device, weight.dtype)
    x = (x - x.new_tensor(_MEAN)) / x.new_tensor(_STD)
    x = x.permute(0, 3, 1, 2)  # BHWC -> BCHW
    simcc_x, simcc_y = network(torch.cat((x, x.flip(3))))
    (x, x_mirrored), (y, y_mirrored) = simcc_x.chunk(2), simcc_y.chunk(2)
    return (x + x_mirrored[:, _MIRRORED].flip(2)) / 2, (y + y_mirrored[:, _MIRRORED]) / 2


def warp_to_input(frame: np.ndarray, region: Region | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bring the whole frame, or a region of it, to the network's input size.

    Args:
        frame: uint8 RGB (H, W, 3).
        region: Of the person in the frame; all of it when None.

    Returns:
        The input picture, uint8 RGB (384, 288, 3), and the centre (x, y) and size (w, h) in pixels of
        what it shows of the frame, a quarter more than the region.
    """
    x1, y1, x2, y2 = region or (0, 0, frame.shape[1], frame.shape[0])
    aspect = rtmpose.INPUT_WIDTH / rtmpose.INPUT_HEIGHT
    w, h = (x2 - x1) * _PADDING, (y2 - y1) * _PADDING
    scale = np.array((w, w / aspect) if w > h * aspect else (h * aspect, h), np.float32)
    centre = np.array(((x1 + x2) / 2, (y1 + y2) / 2), np.float32)
    zoom = rtmpose.INPUT_WIDTH / float(scale[0])
    shift = np.array((rtmpose.INPUT_WIDTH, rtmpose.INPUT_HEIGHT)) / 2 - zoom * centre
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    size = (rtmpose.INPUT_WIDTH, rtmpose.INPUT_HEIGHT)
    return cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR), centre, scale


def _decode_simcc(simcc_x: Tensor, simcc_y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Each axis' argmax in input pixels (B, K, 2), and the smaller of the two maxima (B, K)."""
    value_x, x = simcc_x.max(dim=2)
    value_y, y = simcc_y.max(dim=2)
    scores = torch.minimum(value_x, value_y).float()
    points = torch.stack((x, y), dim=2).float()
    points[scores <= 0] = -1
    return (points / rtmpose.SIMCC_SPLIT_RATIO).cpu().numpy(), scores.cpu().numpy()
