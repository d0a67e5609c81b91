"""Face crops to the UNet's input and its output back to faces.

Source: the reference's ``vae.py`` and ``unet.py``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from . import upright
from .networks.vae import DOWNSCALE, SCALING_FACTOR, VaeDecoder, VaeEncoder

FACE_SIZE = 256  # px: width and height of the face the model repaints
LATENT_SIZE = FACE_SIZE // DOWNSCALE


def crop_face(frame: np.ndarray, box: np.ndarray, angle: float = 0.0) -> np.ndarray:
    """Cut the box out and bring it to the model's size (Lanczos).

    Args:
        frame: uint8 RGB (H, W, 3).
        box: x1, y1, x2, y2 in pixels of the upright frame, not empty; inside the frame where ``angle`` is 0.
        angle: Degrees clockwise that turn the frame upright, see `upright`; what the box shows beyond the
            frame repeats its edge.

    Returns:
        uint8 RGB (256, 256, 3).
    """
    size = FACE_SIZE, FACE_SIZE
    if angle:
        return upright.cut(frame, box, angle, size, cv2.INTER_LANCZOS4, cv2.BORDER_REPLICATE)
    x1, y1, x2, y2 = box
    return cv2.resize(frame[y1:y2, x1:x2], size, interpolation=cv2.INTER_LANCZOS4)


def encode_crops(codec: VaeEncoder, crops: np.ndarray, seeds: Sequence[int] | None = None) -> Tensor:
    """Latents of the crops with the mouth masked out and of the crops as they are, in one VAE call.

    Args:
        codec: The VAE, or its encoder alone.
        crops: uint8 RGB (B, 256, 256, 3).
        seeds: Sample the posterior, as the reference does, with one seed for each crop, so that a crop
            gets the same noise in whichever batch it comes; its mode when None.

    Returns:
        float32 (B, 8, 32, 32) on the CPU, scaled: 4 masked channels, then 4 reference channels.
    """
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1  # BHWC -> BCHW
    masked = pixels.clone()
    masked[:, :, FACE_SIZE // 2 :] = -1
    noise = None if seeds is None else [torch.Generator("cpu").manual_seed(seed) for seed in seeds] * 2
    latents = codec.encode(torch.cat((masked, pixels)), noise).float().cpu() * SCALING_FACTOR
    return torch.cat(latents.chunk(2), dim=1)


@functools.cache
def positional_encoding(tokens: int = 50, width: int = 384) -> Tensor:
    """Sinusoidal encoding (tokens, width): sine in even, cosine in odd channels, base 10000."""
    position = torch.arange(tokens, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))
    encoding = torch.empty(tokens, width)
    encoding[:, 0::2] = torch.sin(position * rate)
    encoding[:, 1::2] = torch.cos(position * rate)
    return encoding


def inpaint(unet: nn.Module, latents: Tensor, tokens: Tensor) -> Tensor:
    """One pass of the UNet: no scheduler, no noise, timestep 0.

    Args:
        unet: The network, on the device to compute on.
        latents: (B, 8, 32, 32) from `encode_crops`.
        tokens: (B, 50, 384) audio tokens without positional encoding.

    Returns:
        (B, 4, 32, 32) predicted latents, scaled, in the network's dtype and on its device.
    """
    weight = next(unet.parameters())
    audio = (tokens + positional_encoding()).to(weight.device, weight.dtype)
    timestep = torch.zeros((), dtype=torch.long, device=weight.device)
    return unet(latents.to(weight.device, weight.dtype), timestep, encoder_hidden_states=audio).sample


def decode_faces(codec: VaeDecoder, latents: Tensor) -> np.ndarray:
    """Predicted latents to faces.

    Args:
        codec: The VAE, or its decoder alone.
        latents: (B, 4, 32, 32), scaled.

    Returns:
        uint8 RGB (B, 256, 256, 3).
    """
    pixels = codec.decode(latents / SCALING_FACTOR)
    faces = (pixels.float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return faces.permute(0, 2, 3, 1).cpu().numpy()  # BCHW -> BHWC
