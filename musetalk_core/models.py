"""The handle that all stages share: which release, which weights, and the cache they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from .acceleration import Acceleration, accelerated
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
        acceleration: How UNet and VAE, but not the host's, are run on a card.
    """

    release: Release
    sources: Mapping[str, Source] = field(hash=False)
    dtype: torch.dtype
    cache: ModelCache = field(repr=False)
    host_vae: HostCodec | None = None
    acceleration: Acceleration = "off"

    @property
    def synthetic(self) -> bool:
        """Whether any of the weights is a stand-in."""
        return any(source.synthetic for source in self.sources.values())

    def unet(self, frames: int = 1) -> nn.Module:
        return self._accelerated("unet", frames)

    def vae_encoder(self, faces: int = 1) -> VaeEncoder:
        if "taesd_encoder" not in self.sources:
            return self.vae(faces)
        return TaesdEncoder(self._accelerated("taesd_encoder", faces))

    def vae_decoder(self, faces: int = 1) -> VaeDecoder:
        if "taesd_decoder" not in self.sources:
            return self.vae(faces)
        return TaesdDecoder(self._accelerated("taesd_decoder", faces))

    def vae(self, faces: int = 1) -> VaeCodec:
        """Both halves of the full VAE, where they are not TAESD's. Stages ask for the half they use."""
        return self.host_vae or DiffusersCodec(self._network("vae", self.dtype, faces * _FACE), self.acceleration)

    def whisper(self) -> AudioEncoder:
        return self._network("whisper", torch.float32, 0)

    def dwpose(self, frames: int = 1) -> nn.Module:
        return self._network("dwpose", torch.float32, 2 * frames * rtmpose.INPUT_WIDTH * rtmpose.INPUT_HEIGHT)

    def face_parse(self, pictures: int = 1) -> nn.Module:
        return self._network("face_parse", torch.float32, pictures * bisenet.SIZE**2)

    def s3fd(self, pixels: int = 0) -> nn.Module:
        return self._network("s3fd", torch.float32, pixels)

    def _accelerated(self, kind: str, faces: int) -> nn.Module:
        return accelerated(self._network(kind, self.dtype, faces * _FACE), self.acceleration)

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
        precision: "auto" (float16 on cards that are good at it, float32 elsewhere) or a key of `PRECISIONS`.
        device: Where they compute.

    Raises:
        InputError: there is no such precision.
    """
    if precision == "auto":
        precision = "fp16" if device.type == "cuda" and _good_at_half(device) else "fp32"
    return pick(PRECISIONS, precision, "precision")


def _good_at_half(device: torch.device) -> bool:
    """Whether a card is faster in float16: NVIDIA's before Volta are not, the GTX 16 make NaN of it."""
    if torch.version.hip:
        return True
    return torch.cuda.get_device_capability(device) >= (7, 0) and "GTX 16" not in torch.cuda.get_device_name(device)
