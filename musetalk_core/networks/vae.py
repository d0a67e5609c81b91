"""Stable Diffusion's VAE (sd-vae-ft-mse): diffusers' ``AutoencoderKL``.

Three namings of the same weights are in circulation: diffusers', diffusers' old attention names
(as published in sd-vae-ft-mse) and the original LDM names (``vae-ft-mse-840000-ema-pruned``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..checkpoints import StateDict, fill_network, read_state_dict
from .unet import create_configured

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

SCALING_FACTOR = 0.18215  # latents times this have unit variance; the UNet works on those
DOWNSCALE = 8  # pixels a latent cell is wide and high

PUBLISHED_CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 256,
    "scaling_factor": SCALING_FACTOR,
}

_OLD_ATTENTION_NAMES = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}


class VaeEncoder(Protocol):
    """What the stages ask of a VAE's encoder, so that the host's own or TAESD's can stand in for ours."""

    def encode(self, pixels: Tensor, noise: list[torch.Generator] | None = None) -> Tensor:
        """Pixels (B, 3, H, W) in -1..1 to unscaled latents (B, 4, H/8, W/8): the posterior's mode,
        or a sample of it when there is a generator for each picture."""


class VaeDecoder(Protocol):
    """What they ask of its decoder."""

    def decode(self, latents: Tensor) -> Tensor:
        """Unscaled latents (B, 4, h, w) to pixels (B, 3, 8h, 8w), about -1..1."""


class VaeCodec(VaeEncoder, VaeDecoder, Protocol):
    """Both halves of a VAE."""


class HostCodec(VaeCodec, Protocol):
    """A VAE of the host's."""

    def fingerprint(self) -> str:
        """What tells its weights from others'."""


class DiffusersCodec:
    """`VaeCodec` over an ``AutoencoderKL``."""

    def __init__(self, network: AutoencoderKL) -> None:
        self._network = network

    def encode(self, pixels: Tensor, noise: list[torch.Generator] | None = None) -> Tensor:
        posterior = self._network.encode(pixels.to(self._network.device, self._network.dtype)).latent_dist
        return posterior.mode() if noise is None else posterior.sample(noise)

    def decode(self, latents: Tensor) -> Tensor:
        return self._network.decode(latents.to(self._network.device, self._network.dtype)).sample


def create(config: dict | None = None) -> AutoencoderKL:
    """Build the network with untrained weights.

    Args:
        config: ``AutoencoderKL`` arguments; sd-vae-ft-mse's when None.
    """
    from diffusers import AutoencoderKL

    known = {k: v for k, v in (config or PUBLISHED_CONFIG).items() if not k.startswith("_")}
    return AutoencoderKL(**known)


def load(path: Path) -> AutoencoderKL:
    """Read the VAE in any of its three namings; ``config.json`` beside it if present.

    Raises:
        WeightsInvalidError: the file is damaged or of another network.
    """
    state = read_state_dict(path)
    network = create_configured(create, path.with_name("config.json"))
    return fill_network(network, to_diffusers_names(state, dict(network.config)), path)


def to_diffusers_names(state: StateDict, config: dict) -> StateDict:
    """Rename LDM or old diffusers tensors to today's diffusers names; others pass unchanged."""
    state = {name.removeprefix("first_stage_model."): tensor for name, tensor in state.items()}
    if "encoder.down.0.block.0.norm1.weight" in state:
        from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

        try:
            renamed = convert_ldm_vae_checkpoint(state, config)
        except KeyError:  # it takes some tensors for granted; without them the file fits no network
            return state
        return {name: tensor for name, tensor in renamed.items() if tensor is not None}
    renamed = {}
    for name, tensor in state.items():
        for old, new in _OLD_ATTENTION_NAMES.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    return renamed
