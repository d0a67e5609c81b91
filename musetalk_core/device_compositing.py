"""Compositing on the networks' device: only what is seen of the frame goes there and back.

For cards that outrun their CPU; the CPU's own way is `blending.show`.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .blending import Visible


@torch.inference_mode()
def show(
    frame: np.ndarray,
    face: np.ndarray | Tensor,
    box: np.ndarray,
    visible: Visible,
    weight: float,
    device: torch.device,
) -> None:
    """Blend an upright face into its box, in place, within one level of what `blending.show` gives.

    Args:
        frame: uint8 RGB (H, W, 3), changed in place.
        face: uint8 RGB (256, 256, 3), or any size; a tensor that is on the device is finished there.
        box: x1, y1, x2, y2 in pixels, inside the frame.
        visible: How much of it is seen, and where.
        weight: 0..1, how much of the face shows.
        device: Where it is computed.
    """
    height, width = visible.alpha.shape
    x1, y1, x2, y2 = (int(v) for v in box)
    shown = slice(visible.top, visible.top + height), slice(visible.left, visible.left + width)
    under = frame[y1:y2, x1:x2][shown]
    with torch.cuda.stream(_stream(device)):
        planes = torch.as_tensor(face).to(device).permute(2, 0, 1)[None].float()
        resized = F.interpolate(planes, (y2 - y1, x2 - x1), mode="bilinear")[0].permute(1, 2, 0)[shown].round()
        share = (torch.from_numpy(visible.alpha).to(device) * weight).round_().div_(255)[..., None]
        below = torch.from_numpy(np.ascontiguousarray(under)).to(device).float()
        under[:] = below.lerp_(resized, share).round_().to(torch.uint8).cpu().numpy()


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream | None:
    """A card's stream of its own, so that a face does not wait until the networks have done the next batch."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None
