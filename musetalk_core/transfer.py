"""Tensors to the device and back: by way of memory that a card reads and writes by itself."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor on the device and in the dtype of another, without waiting for it to arrive."""
    if like.device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(like.device, like.dtype, non_blocking=True)


def to_host(tensor: Tensor) -> Tensor:
    """A tensor on the CPU, arrived."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    out = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    out.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return out
