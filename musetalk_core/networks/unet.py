"""The MuseTalk UNet: diffusers' ``UNet2DConditionModel``, run once per frame at timestep 0.

Source: TMElyralab/MuseTalk, ``musetalk.json`` (the same in releases 1.0 and 1.5).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..checkpoints import fill_network, read_state_dict
from ..errors import WeightsInvalidError

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

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
    with torch.device("meta"):
        network = create(read_config(path.with_name("musetalk.json")))
    return fill_network(network, state, path)


def read_config(path: Path) -> dict | None:
    """Read a network's JSON configuration, or None where there is no such file."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsInvalidError(
            f"{path} is not valid JSON ({error}).", "Delete it: the published configuration is built in."
        ) from error
