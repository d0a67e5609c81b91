"""Each network once per process, and who keeps it where it can compute."""

from __future__ import annotations

import importlib
import logging
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import nn

from .networks.lean import rewrite

log = logging.getLogger(__name__)

KINDS = ("unet", "vae", "whisper", "dwpose", "face_parse", "s3fd")
"""The networks of a MuseTalk."""
TAESD_KINDS = ("taesd_encoder", "taesd_decoder")
"""What may be chosen instead of the VAE, a half each."""

_LOADERS = {  # module and function
    "unet": ("unet", "load"),
    "vae": ("vae", "load"),
    "whisper": ("whisper", "load"),
    "dwpose": ("rtmpose", "load"),
    "face_parse": ("bisenet", "load"),
    "s3fd": ("s3fd", "load"),
    "taesd_encoder": ("taesd", "load_encoder"),
    "taesd_decoder": ("taesd", "load_decoder"),
}


@dataclass(frozen=True)
class Source:
    """Where a network's weights come from.

    Attributes:
        kind: One of `KINDS` or `TAESD_KINDS`.
        path: The checkpoint file; None for synthetic weights.
        synthetic: Size of the synthetic network; None for a checkpoint file.
    """

    kind: str
    path: Path | None = None
    synthetic: Literal["small", "full"] | None = None

    def stamp(self) -> tuple[int, int]:
        """Changes when the file is replaced: its modification time (ns) and size (bytes)."""
        if self.path is None:
            return 0, 0
        status = self.path.stat()
        return status.st_mtime_ns, status.st_size

    def state(self) -> tuple[Source, tuple[int, int]]:
        """This source with its stamp: what results made with it may be remembered under."""
        return self, self.stamp()

    def load(self) -> nn.Module:
        """Read or make the network as it was published: float32, on the CPU."""
        if self.path is None:
            from . import synthetic

            return synthetic.build(self.kind, self.synthetic)
        module, load = _LOADERS[self.kind]
        return getattr(importlib.import_module(f".networks.{module}", __package__), load)(self.path)


class Residency(Protocol):
    """Decides which networks are on the device; in ComfyUI the host's memory manager stands behind it."""

    device: torch.device

    def bring(self, network: nn.Module, working_bytes: int) -> None:
        """Put the network wholly on the device, with room for what it computes; called before each use."""

    def forget(self, network: nn.Module) -> None:
        """The network will not be used again."""

    def free(self) -> None:
        """Memory ran out: all networks leave the device, and what it keeps for reuse is given back."""


class ByteBudget:
    """Outside ComfyUI: keeps the most recently used networks on the device, up to a number of bytes.

    Args:
        device: Where to compute.
        budget: Bytes of weights to keep there; without limit when None. The network in use stays
            even if it alone is larger.
    """

    def __init__(self, device: torch.device, budget: int | None = None) -> None:
        self.device = device
        self._budget = budget
        self._resident: OrderedDict[int, nn.Module] = OrderedDict()

    def bring(self, network: nn.Module, working_bytes: int) -> None:
        self._resident[id(network)] = network
        self._resident.move_to_end(id(network))
        if self._budget is not None:
            while len(self._resident) > 1 and sum(map(size_in_bytes, self._resident.values())) > self._budget:
                _, oldest = self._resident.popitem(last=False)
                oldest.to("cpu")
        network.to(self.device)

    def forget(self, network: nn.Module) -> None:
        self._resident.pop(id(network), None)

    def free(self) -> None:
        while self._resident:
            self._resident.popitem()[1].to("cpu")
        if self.device.type in ("cuda", "mps"):
            getattr(torch, self.device.type).empty_cache()


def size_in_bytes(network: nn.Module) -> int:
    """Bytes of a network's parameters and buffers."""
    return sum(tensor.nbytes for tensor in network.state_dict().values())


class ModelCache:
    """Every network at most once per process for each (source, dtype), loaded on first use.

    Args:
        residency: Keeps the networks on the device.

    Attributes:
        loads: How often each kind of network was loaded.
    """

    def __init__(self, residency: Residency) -> None:
        self.residency = residency
        self.loads: Counter[str] = Counter()
        self._networks: dict[tuple[Source, torch.dtype], tuple[tuple[int, int], nn.Module]] = {}
        self._lock = threading.RLock()

    def network(self, source: Source, dtype: torch.dtype, working_bytes: int = 0) -> nn.Module:
        """The network, resident on the device and ready to use.

        A network whose file was replaced since is loaded anew.

        Args:
            source: Where its weights come from.
            dtype: What it computes in.
            working_bytes: Memory its activations will take.

        Raises:
            WeightsInvalidError: the file cannot be read as this network.
        """
        with self._lock:
            stamp = source.stamp()
            known, network = self._networks.get((source, dtype), (None, None))
            if network is None or known != stamp:
                if network is not None:
                    self.residency.forget(network)
                network = self._load(source, dtype)
                self._networks[source, dtype] = stamp, network
            self.residency.bring(network, working_bytes)
            return network

    def _load(self, source: Source, dtype: torch.dtype) -> nn.Module:
        # Host threads run in inference mode; tensors made there could not be moved or cast outside it.
        with torch.inference_mode(False):
            network = rewrite(source.load()).to(dtype)
        self.loads[source.kind] += 1
        log.info(
            "MuseTalk: loaded %s from %s (%.0f MB, %s)",
            source.kind,
            source.path or f"{source.synthetic} synthetic weights",
            size_in_bytes(network) / 1e6,
            str(dtype).removeprefix("torch."),
        )
        return network
