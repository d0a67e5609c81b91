"""The MuseTalk UNet: diffusers' ``UNet2DConditionModel``, run once per frame at timestep 0.

Source: TMElyralab/MuseTalk, ``musetalk.json`` (the same in releases 1.0 and 1.5).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from ..checkpoints import fill_network, read_state_dict
from ..errors import WeightsInvalidError

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

Network = TypeVar("Network", bound=nn.Module)

PUBLISHED_CONFIG = {
    "in_channels": 8,
    "out_channels": 4,
    "cross_attention_dim": 384,
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "sample_size": 64,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}


def create(config: dict | None = None) -> UNet2DConditionModel:
    """Build the network with untrained weights.

    Args:
        config: ``UNet2DConditionModel`` arguments; the published ones when None.

    Returns:
        A network from latents (B, 8, 32, 32), timestep 0 and audio tokens (B, 50, 384) to
        predicted latents (B, 4, 32, 32).
    """
    from diffusers import UNet2DConditionModel

    known = {k: v for k, v in (config or PUBLISHED_CONFIG).items() if not k.startswith("_")}
    return UNet2DConditionModel(**known)


def load(path: Path) -> UNet2DConditionModel:
    """Read ``pytorch_model.bin`` (1.0) or ``unet.pth`` (1.5); ``musetalk.json`` beside it if present.

    Raises:
        WeightsInvalidError: the file is damaged or of another network.
    """
    state = read_state_dict(path)
    return fill_network(create_configured(create, path.with_name("musetalk.json")), state, path)


def create_configured(create: Callable[[dict | None], Network], path: Path) -> Network:
    """Build a network on the meta device by its JSON configuration, or as published without one.

    Args:
        create: Builds the network from the configuration, or from None.
        path: The configuration, which need not be there.

    Raises:
        WeightsInvalidError: the file is no such configuration.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        with torch.device("meta"):
            return create(config)
    except (ValueError, TypeError, AttributeError) as error:
        raise WeightsInvalidError(
            f"{path} is not the JSON configuration of this network ({error}).",
            "Delete it: the published configuration is built in.",
        ) from error
