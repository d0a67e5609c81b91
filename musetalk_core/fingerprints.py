"""What tells weights from others: kept with what was computed with them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .cache import Source
from .models import Models

CONNECTED = "connected-"
"""How the fingerprint of a VAE of the host's begins: of its tensors, never that of a file of ours."""
TAESD = "taesd-"
"""How the fingerprint of TAESD as that which makes latents begins: never that of a VAE."""
_BLOCK = 1 << 20  # bytes


def fingerprint(models: Models, kind: str) -> str:
    """The SHA-256 of a network's weights, or what synthetic ones are called.

    A file is read once in a process, and again when it is replaced.

    Args:
        models: The networks; a VAE of the host's tells its own.
        kind: A network that the models were opened with.
    """
    if kind == "vae" and models.host_vae is not None:
        return CONNECTED + models.host_vae.fingerprint()
    source = models.sources[kind]
    return f"synthetic-{source.synthetic}" if source.path is None else _of_source(source.state())


def of_encoder(models: Models) -> str:
    """The `fingerprint` of what makes latents: the VAE, or TAESD's encoder where that is chosen."""
    if "taesd_encoder" in models.sources:
        return TAESD + fingerprint(models, "taesd_encoder")
    return fingerprint(models, "vae")


@functools.lru_cache(maxsize=64)
def _of_source(state: tuple[Source, tuple[int, int]]) -> str:
    return of_file(state[0].path)


def of_file(path: Path) -> str:
    """The SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of a network's tensors, by name, shape, dtype and content."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
