"""What torch can do for a network that always gets batches of the same size, on a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

Acceleration = Literal["off", "cuda-graphs", "compile"]
"""cuda-graphs: the kernels of a pass are recorded once and then launched together; needs nothing but the card.
compile: `torch.compile`, which writes kernels of its own; needs Triton, and minutes for each batch size at first."""

ACCELERATIONS = get_args(Acceleration)

COMPILERS: Mapping[str, Mapping[str, Any]] = {
    "cuda-graphs": {"backend": "cudagraphs"},
    "compile": {"mode": "max-autotune-no-cudagraphs"},
}

# A network is shared by all that use it; each way to run it is made once.
_accelerated: WeakKeyDictionary[nn.Module, dict[str, nn.Module]] = WeakKeyDictionary()


def accelerated(network: nn.Module, acceleration: Acceleration) -> nn.Module:
    """The same network, run another way; itself on other devices than CUDA's (also ROCm's).

    Args:
        network: On the device to compute on, its weights frozen.
        acceleration: How it is run.
    """
    if acceleration == "off" or next(network.parameters()).device.type != "cuda":
        return network
    ways = _accelerated.setdefault(network, {})
    if acceleration not in ways:
        ways[acceleration] = torch.compile(network, dynamic=False, **COMPILERS[acceleration])
    return ways[acceleration]


def filled(batch: np.ndarray, batch_size: int, acceleration: Acceleration) -> np.ndarray:
    """A last batch, filled up with copies of its last item, so that few sizes ever come: each is recorded anew.

    Args:
        batch: (n,), at least one item and at most ``batch_size``.
        batch_size: Of the other batches.
        acceleration: Where it is off, nothing is filled.

    Returns:
        (m,), where m is the batch size or a lower power of two.
    """
    if acceleration == "off":
        return batch
    size = min(batch_size, 1 << (len(batch) - 1).bit_length())
    return np.pad(batch, (0, size - len(batch)), mode="edge")
