"""Stand-in weights for checking an installation: deterministic, made on the spot, not trained.

They see a face in the middle of every picture, take all of it for skin, and paint noise where the
mouth should be. Nothing chooses them silently, and every frame made with them says so.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from .drawing import write
from .masks import SKIN
from .networks import bisenet, rtmpose, s3fd, taesd, unet, vae, whisper

Size = Literal["small", "full"]
"""Of the UNet and the VAE: "full" is the published architecture; "small" runs at once anywhere."""

NOTICE = "SYNTHETIC WEIGHTS"

_NARROW = {"block_out_channels": [8, 8, 16, 16], "layers_per_block": 1, "norm_num_groups": 8}
_SURE = 5  # makes the scores of its keypoints 0.8 and more
_SMALL_UNET = unet.PUBLISHED_CONFIG | _NARROW
_SMALL_VAE = vae.PUBLISHED_CONFIG | _NARROW


def build(kind: str, size: Size) -> nn.Module:
    """Make a network with synthetic weights.

    Args:
        kind: One of `cache.KINDS` or `cache.TAESD_KINDS`.
        size: Of the UNet and the VAE.
    """
    small = size == "small"
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        match kind:
            case "unet":
                network = unet.create(_SMALL_UNET if small else None)
            case "vae":
                network = vae.create(_SMALL_VAE if small else None)
            case "taesd_encoder":
                network = taesd.create("encoder")
            case "taesd_decoder":
                network = _coloured(taesd.create("decoder"))
            case "whisper":
                network = whisper.create()
            case "dwpose":
                network = _centred_face(rtmpose.create())
            case "face_parse":
                network = _all_skin(bisenet.create())
            case "s3fd":
                network = _always_a_face(s3fd.create())
    return network.eval().requires_grad_(False)


def stamp(frame: np.ndarray) -> np.ndarray:
    """Write `NOTICE` across the top of a uint8 RGB (H, W, 3) frame, in place; returns the frame."""
    write(frame, NOTICE, height=frame.shape[1] / 24, colour=(255, 220, 0))
    return frame


def _all_skin(network: bisenet.BiSeNet) -> nn.Module:
    # Features after a ReLU are never negative, so this class outscores the others everywhere.
    head = network.conv_out
    head.conv.bn.bias.fill_(1.0)
    head.conv_out.weight.zero_()
    head.conv_out.weight[SKIN] = 1.0
    return network


def _coloured(network: nn.Module) -> nn.Module:
    # As they come, its weights paint an even black.
    last = network.layers[-1]
    last.weight *= 30
    last.bias.fill_(0.5)
    return network


def _always_a_face(network: nn.Module) -> nn.Module:
    for name, head in network.named_children():
        if name.endswith("_mbox_conf"):
            head.weight.zero_()
            head.bias.zero_()
            # the last bias is the face class; only the coarsest level sees one
            head.bias[-1] = 10.0 if name == "conv7_2_mbox_conf" else -10.0
    return network


def _centred_face(network: rtmpose.RTMPose) -> nn.Module:
    """Make RTMPose answer with the same keypoints for every picture.

    The backbone is silenced to a constant c. A convolution over constants still tells the borders of
    the map, so three taps give three independent maps: A (0 in the left columns), B (0 in the top
    rows) and C (constant). Keypoint k's map is x A + y B + C; the head recovers (x, y, 1) from it up
    to a factor, and 2 bin x - bin^2 peaks at bin x.
    """
    points = _face_points()
    last = network.backbone.stage4[2].final_conv.bn
    last.weight.zero_()
    last.bias.fill_(1.0)
    constant = torch.nn.functional.silu(torch.tensor(1.0))
    head = network.head
    head.final_layer.weight.zero_()
    head.final_layer.bias.zero_()
    limit = torch.tensor([rtmpose.INPUT_WIDTH, rtmpose.INPUT_HEIGHT], dtype=torch.float32)
    share = points / limit
    head.final_layer.weight[:, 0, 3, 0] = share[:, 0]
    head.final_layer.weight[:, 0, 0, 3] = share[:, 1]
    head.final_layer.weight[:, 0, 3, 3] = 1.0
    maps = torch.full((3, rtmpose.INPUT_HEIGHT // 32, rtmpose.INPUT_WIDTH // 32), float(constant))
    maps[0, :, :3] = 0
    maps[1, :3] = 0
    to_token = head.mlp[1].weight
    to_token.zero_()
    to_token[:3] = torch.linalg.pinv(maps.flatten(1)).T
    head.gau.o.weight.zero_()
    for axis, (layer, size) in enumerate(zip((head.cls_x, head.cls_y), limit, strict=True)):
        bins = torch.arange(len(layer.weight), dtype=torch.float32) / len(layer.weight)
        layer.weight.zero_()
        layer.weight[:, axis] = 2 * bins * size * rtmpose.SIMCC_SPLIT_RATIO / len(layer.weight)
        layer.weight[:, 2] = -bins.square()
        layer.weight *= _SURE
    return network


def _face_points() -> Tensor:
    """(133, 2) pixels of RTMPose's input: a face, mirror-symmetric, in the middle of the picture."""
    points = np.zeros((rtmpose.KEYPOINTS, 2), np.float32)
    face = points[23:91]
    jaw = np.linspace(np.pi, 0, 17)
    face[:17] = np.stack((0.8 * np.cos(jaw), np.sin(jaw)), 1)
    face[17:22] = np.stack((np.linspace(-0.7, -0.2, 5), np.full(5, -0.45)), 1)
    face[22:27] = np.stack((np.linspace(0.2, 0.7, 5), np.full(5, -0.45)), 1)
    face[27:31] = np.stack((np.zeros(4), np.linspace(-0.3, 0.15, 4)), 1)
    face[31:36] = np.stack((np.linspace(-0.2, 0.2, 5), np.full(5, 0.25)), 1)
    for start, centre in ((36, -0.4), (42, 0.4)):
        turn = np.linspace(np.pi, -np.pi, 7)[:6]
        face[start : start + 6] = np.stack((centre + 0.13 * np.cos(turn), -0.28 - 0.06 * np.sin(turn)), 1)
    for start, count, width, height in ((48, 12, 0.3, 0.15), (60, 8, 0.2, 0.06)):
        turn = np.linspace(np.pi, -np.pi, count + 1)[:count]
        face[start : start + count] = np.stack((width * np.cos(turn), 0.55 - height * np.sin(turn)), 1)
    centre = np.array((rtmpose.INPUT_WIDTH / 2 - 0.25, rtmpose.INPUT_HEIGHT / 2), np.float32)
    return torch.from_numpy(points * 44 + centre)
