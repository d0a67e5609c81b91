"""Rewrites a loaded network into one that gives the same numbers, up to rounding, with less work.

What is done, once, to the modules as they were loaded:

- nearest-neighbour x2 and the convolution after it become four small convolutions (`SubpixelUpsample`);
- the UNet's timestep is always 0, so what it adds to each block goes into a convolution's bias;
- batch norms go into the convolutions before them;
- queries, keys and values come from one product, and maps lie channels-last, as tokens do;
- group norms take their statistics in float32 (`Norm`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .attention import MapAttention, Transformer
from .layers import Conv3x3, Norm, SubpixelUpsample

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.models.resnet import ResnetBlock2D

Replace = Callable[[nn.Module], "nn.Module | None"]


class ResidualBlock(nn.Module):
    """Two convolutions, each after a norm and SiLU, added to the input.

    Args:
        block: The block to stand for.
        time: (1, D), the embedded timestep before its activation; None where the block has none.
    """

    def __init__(self, block: ResnetBlock2D, time: Tensor | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(block.norm1, silu=True), Norm(block.norm2, silu=True)
        self.conv1, self.conv2 = Conv3x3(block.conv1), Conv3x3(block.conv2)
        if block.time_emb_proj is not None:
            self.conv1.bias = nn.Parameter(block.conv1.bias + block.time_emb_proj(F.silu(time))[0], False)
        self.conv_shortcut = block.conv_shortcut

    def forward(self, x: Tensor, temb: None = None) -> Tensor:
        """(B, I, H, W) to (B, O, H, W)."""
        out = self.conv2(self.norm2(self.conv1(self.norm1(x))))
        return out.add_(x if self.conv_shortcut is None else self.conv_shortcut(x))


class NoTimestep(nn.Module):
    """Stands where the timestep was embedded: the blocks have it in their biases."""

    def forward(self, *_: object) -> None:
        return None


@torch.no_grad()
def rewrite(network: nn.Module) -> nn.Module:
    """Rewrite any of the networks here, in place.

    Args:
        network: As it was loaded: float32, on the CPU.

    Returns:
        The same network; it is called as before, but has other parameters.
    """
    match type(network).__name__:
        case "UNet2DConditionModel":
            _rewrite_unet(network)
        case "AutoencoderKL":
            _rewrite_vae(network)
        case _:
            _fold_batch_norms(network)
    return network.to(memory_format=torch.channels_last)


def _rewrite_unet(unet: UNet2DConditionModel) -> None:
    time = unet.time_embedding(unet.get_time_embed(torch.zeros(1, unet.config.in_channels), 0))
    _replace_each(unet, lambda module: _replacement(module, time))
    unet.time_embedding = NoTimestep()
    _end_with_norm(unet)


def _rewrite_vae(vae: AutoencoderKL) -> None:
    _replace_each(vae, lambda module: _replacement(module, None))
    _end_with_norm(vae.encoder)
    _end_with_norm(vae.decoder)


def _replacement(module: nn.Module, time: Tensor | None) -> nn.Module | None:
    """What stands for a module of diffusers; None where it stays and its children are looked at."""
    match type(module).__name__:
        case "ResnetBlock2D":
            return ResidualBlock(module, time)
        case "Upsample2D":
            return SubpixelUpsample(module.conv)
        case "Transformer2DModel":
            return Transformer(module)
        case "Attention":
            return MapAttention(module)
    return None


def _replace_each(network: nn.Module, replacement: Replace) -> None:
    for name, child in network.named_children():
        new = replacement(child)
        if new is None:
            _replace_each(child, replacement)
        else:
            setattr(network, name, new)


def _end_with_norm(network: nn.Module) -> None:
    network.conv_norm_out, network.conv_act = Norm(network.conv_norm_out, silu=True), nn.Identity()


def _fold_batch_norms(network: nn.Module) -> None:
    """A batch norm comes right after the convolution whose output it takes, in all networks here."""
    before: tuple[str, nn.Module] | None = None
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(network, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(network, name, nn.Identity())
        else:
            _fold_batch_norms(child)
        before = name, child
