"""What a piece of work does, counted as it is done: floating-point operations, and the memory it holds at most."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Counted:
    """What was counted.

    Attributes:
        gflop: 10^9 floating-point operations of matrix products and convolutions; a multiplication with its
            addition is two.
        peak_bytes: The most that tensors and NumPy arrays made by the work held at once: on CUDA what torch's
            allocator gave out, else both added up, without what a library takes within an operation.
    """

    gflop: float
    peak_bytes: int


def count(work: Callable[[], object], device: torch.device) -> Counted:
    """Do the work once and count; it takes longer than without.

    Args:
        work: What to do, all of it on this thread.
        device: Where its networks are.
    """
    with LiveBytes(), FlopCounterMode(display=False):
        F.linear(torch.ones(1, 1), torch.ones(1, 1))  # imports what counting needs: that is not the work's memory
    live, operations = LiveBytes(), FlopCounterMode(display=False)
    tracemalloc.start()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    with live, operations:  # the operations are counted first, which takes composite ones apart
        work()
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) - before
    else:
        peak = live.peak + tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Counted(operations.get_total_flops() / 1e9, peak)


class LiveBytes(TorchDispatchMode):
    """Adds up the storages that operations make, until each is gone; the work has to be done on this thread.

    In inference mode and alone, an operation counts as a whole, so that attention is as on a card: fused.

    Attributes:
        peak: The most bytes that were alive at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {_address(tensor) for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and _address(tensor) not in given | self._known:
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        self._known.add(storage._cdata)
        self._live += storage.nbytes()
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes()).atexit = False

    def _forget(self, address: int, size: int) -> None:
        self._known.discard(address)
        self._live -= size


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
