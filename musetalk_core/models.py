"""The handle that all stages share: which release, which weights, and the cache they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from .cache import ModelCache, Source
from .errors import pick
from .latents import FACE_SIZE
from .networks import bisenet, rtmpose
from .networks.taesd import TaesdDecoder, TaesdEncoder
from .networks.vae import DiffusersCodec, HostCodec, VaeCodec, VaeDecoder, VaeEncoder
from .releases import Release

if TYPE_CHECKING:
    from whisper.model import AudioEncoder


_FACE = FACE_SIZE**2  # pixels of a face as UNet and VAE see it
# Numbers alive at once for each pixel of input: the host's own figure for the VAE, measured for S3FD,
# and a generous guess for the others, which are small.
_VALUES_PER_PIXEL = {
    "vae": 2200,
    "taesd_encoder": 320,
    "taesd_decoder": 320,
    "s3fd": 130,
    "unet": 300,
    "dwpose": 130,
    "face_parse": 130,
    "whisper": 0,
}


@dataclass(frozen=True)
class Models:
    """Networks by name, loaded on first use and made resident on every use.

    Each is asked for with the size of the batch it will be given, so that there is room for it.

    Attributes:
        release: The release the UNet's weights belong to.
        sources: Kind of network to where its weights come from. A half of TAESD among them replaces the VAE's.
        dtype: Of UNet and VAE; the small networks compute in float32.
        cache: Holds the networks.
        host_vae: A VAE of the host's to use instead of our own, but not of TAESD.
    """

    release: Release
    sources: Mapping[str, Source] = field(hash=False)
    dtype: torch.dtype
    cache: ModelCache = field(repr=False)
    host_vae: HostCodec | None = None

    @property
    def synthetic(self) -> bool:
        """Whether any of the weights is a stand-in."""
        return any(source.synthetic for source in self.sources.values())

    def unet(self, frames: int = 1) -> nn.Module:
        return self._network("unet", self.dtype, frames * _FACE)

    def vae_encoder(self, faces: int = 1) -> VaeEncoder:
        if "taesd_encoder" not in self.sources:
            return self.vae(faces)
        return TaesdEncoder(self._network("taesd_encoder", self.dtype, faces * _FACE))

    def vae_decoder(self, faces: int = 1) -> VaeDecoder:
        if "taesd_decoder" not in self.sources:
            return self.vae(faces)
        return TaesdDecoder(self._network("taesd_decoder", self.dtype, faces * _FACE))

    def vae(self, faces: int = 1) -> VaeCodec:
        """Both halves of the full VAE, where they are not TAESD's. Stages ask for the half they use."""
        return self.host_vae or DiffusersCodec(self._network("vae", self.dtype, faces * _FACE))

    def whisper(self) -> AudioEncoder:
        return self._network("whisper", torch.float32, 0)

    def dwpose(self, frames: int = 1) -> nn.Module:
        return self._network("dwpose", torch.float32, 2 * frames * rtmpose.INPUT_WIDTH * rtmpose.INPUT_HEIGHT)

    def face_parse(self, pictures: int = 1) -> nn.Module:
        return self._network("face_parse", torch.float32, pictures * bisenet.SIZE**2)

    def s3fd(self, pixels: int = 0) -> nn.Module:
        return self._network("s3fd", torch.float32, pixels)

    def _network(self, kind: str, dtype: torch.dtype, pixels: int) -> nn.Module:
        """The network, with room for the activations of this many pixels of input."""
        working_bytes = pixels * _VALUES_PER_PIXEL[kind] * dtype.itemsize
        return self.cache.network(self.sources[kind], dtype, working_bytes)


def choose_device() -> torch.device:
    """CUDA (also ROCm) if there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype for UNet and VAE.

    Args:
        precision: "auto" (half on CUDA, float32 elsewhere) or a key of `PRECISIONS`.
        device: Where they compute.

    Raises:
        InputError: there is no such precision.
    """
    if precision == "auto":
        precision = "fp16" if device.type == "cuda" else "fp32"
    return pick(PRECISIONS, precision, "precision")
