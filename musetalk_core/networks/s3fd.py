"""S3FD, the face detector: the network and its box arithmetic come from the face-alignment package.

The package's own detector would fetch its weights by itself; here they are read from a local file.

Source: S3FD (arXiv 1708.05237), as the reference uses it: best of the boxes scoring above 0.5.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints import load_network

_CHANNEL_MEANS = (104.0, 117.0, 123.0)
_CANDIDATE_SCORE = 0.05
_FACE_SCORE = 0.5
_NMS_OVERLAP = 0.3
_SMALLEST_SIDE = 32  # px: the network halves its input five times


def create() -> nn.Module:
    """Build the network with untrained weights."""
    from face_alignment.detection.sfd.net_s3fd import s3fd

    return s3fd().eval()


def load(path: Path) -> nn.Module:
    """Read ``s3fd-619a316812.pth``.

    Raises:
        WeightsInvalidError: the file is damaged or of another network.
    """
    return load_network(create, path)


def detect(network: nn.Module, frames: np.ndarray) -> list[np.ndarray]:
    """Find the faces in each frame.

    The reference hands the network RGB pictures less the channel means of BGR ones; so does this.

    Args:
        network: S3FD, on the device to compute on.
        frames: uint8 RGB (B, H, W, 3).

    Returns:
        For each frame float64 (faces, 5), clearest first: x1, y1, x2, y2 in pixels, which may lie a
        little outside the frame, and the score, above 0.5.
    """
    weight = next(network.parameters())
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).to(weight.device, weight.dtype)
    x = x - x.new_tensor(_CHANNEL_MEANS).view(1, 3, 1, 1)
    height, width = x.shape[2:]
    x = F.pad(x, (0, max(0, _SMALLEST_SIDE - width), 0, max(0, _SMALLEST_SIDE - height)))
    outputs = network(x)
    return [_faces([output[i] for output in outputs]) for i in range(len(frames))]


def whole_pixels(box: np.ndarray) -> np.ndarray:
    """A face of `detect`'s as the reference has it: int64 (4,), truncated, not below 0."""
    return np.clip(box[:4], 0, None).astype(np.int64)


def _faces(outputs: list[Tensor]) -> np.ndarray:
    """Boxes and scores (N, 5) of one frame, best first, from the six pairs of output maps."""
    from face_alignment.detection.sfd.bbox import decode, nms

    candidates = []
    for level in range(len(outputs) // 2):
        stride = 4 * 2**level
        score = F.softmax(outputs[2 * level], dim=0)[1]
        y, x = torch.nonzero(score > _CANDIDATE_SCORE, as_tuple=True)
        centre = torch.stack((x, y), dim=1) * stride + stride / 2
        prior = torch.cat((centre, torch.full_like(centre, 4.0 * stride)), dim=1)
        offsets = outputs[2 * level + 1][:, y, x].T
        box = decode(offsets.float().cpu().numpy(), prior.float().cpu().numpy(), (0.1, 0.2))
        candidates.append(np.concatenate((box, score[y, x].float().cpu().numpy()[:, None]), axis=1))
    boxes = np.concatenate(candidates)
    boxes = boxes[nms(boxes, _NMS_OVERLAP)].reshape(-1, 5).astype(np.float64)
    return boxes[boxes[:, 4] > _FACE_SCORE]
