"""TAESD, a tiny autoencoder for Stable Diffusion 1.x's latents: diffusers' ``AutoencoderTiny``, half by half.

Source: madebyollin/taesd. It works on latents as the UNet does, scaled by 0.18215, and knows no posterior.
Two namings of the same weights are in circulation: the original's, a file for each half, and diffusers', one
file for both.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ..checkpoints import fill_network, read_state_dict
from ..errors import InputError
from .vae import SCALING_FACTOR

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vae import DecoderTiny, EncoderTiny

Half = Literal["encoder", "decoder"]

_LAYERS_BEFORE = {"encoder": 0, "decoder": 1}
"""In the original's decoder the first layer is a clamp without weights, which diffusers has outside its layers."""


class TaesdEncoder:
    """`VaeEncoder` over TAESD's encoder."""

    def __init__(self, network: EncoderTiny) -> None:
        self._network = network

    def encode(self, pixels: Tensor, noise: list[torch.Generator] | None = None) -> Tensor:
        """As `VaeEncoder.encode`.

        Raises:
            InputError: there is noise, and nothing to sample with it.
        """
        if noise is not None:
            raise InputError(
                "TAESD gives one latent, not a posterior to sample.",
                "Set posterior to 'mode' (on the command line, leave out --seed), or vae_encode to 'full'.",
            )
        weight = next(self._network.parameters())
        return self._network(pixels.to(weight.device, weight.dtype)) / SCALING_FACTOR


class TaesdDecoder:
    """`VaeDecoder` over TAESD's decoder."""

    def __init__(self, network: DecoderTiny) -> None:
        self._network = network

    def decode(self, latents: Tensor) -> Tensor:
        weight = next(self._network.parameters())
        return self._network((latents * SCALING_FACTOR).to(weight.device, weight.dtype))


def create(half: Half) -> EncoderTiny | DecoderTiny:
    """Build a half with untrained weights.

    Returns:
        "encoder": a network from pixels (B, 3, H, W) in -1..1 to scaled latents (B, 4, H/8, W/8); "decoder": one from
        those to pixels, about -1..1.
    """
    from diffusers import AutoencoderTiny

    return getattr(AutoencoderTiny(), half)  # the published configuration is its default


def load_encoder(path: Path) -> EncoderTiny:
    """Read ``taesd_encoder.safetensors`` or ``.pth``, or the encoder of diffusers' file.

    Raises:
        WeightsInvalidError: the file is damaged or of another network.
    """
    return _load(path, "encoder")


def load_decoder(path: Path) -> DecoderTiny:
    """Read ``taesd_decoder.safetensors`` or ``.pth``, or the decoder of diffusers' file.

    Raises:
        WeightsInvalidError: the file is damaged or of another network.
    """
    return _load(path, "decoder")


def _load(path: Path, half: Half) -> EncoderTiny | DecoderTiny:
    state = read_state_dict(path)
    with torch.device("meta"):
        network = create(half)
    renamed = {
        name: state[there]
        for name in network.state_dict()
        for there in (f"{half}.{name}", _original_name(name, half))
        if there in state
    }
    return fill_network(network, renamed, path)


def _original_name(name: str, half: Half) -> str:
    """``layers.2.conv.0.weight`` of diffusers' decoder is ``3.conv.0.weight`` of the original's."""
    _, layer, rest = name.split(".", 2)
    return f"{int(layer) + _LAYERS_BEFORE[half]}.{rest}"
