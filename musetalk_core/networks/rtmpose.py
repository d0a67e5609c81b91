"""RTMPose-l for DWPose in plain torch: 133 COCO-WholeBody keypoints without mmcv or mmpose.

The modules carry mmpose's names, so the published ``dw-ll_ucoco_384.pth`` loads as it is.

Sources: RTMPose (arXiv 2303.07399), its CSPNeXt backbone (RTMDet, arXiv 2212.07784), the gated
attention unit (arXiv 2202.10447), SimCC (arXiv 2107.03332), DWPose (arXiv 2307.15880).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints import load_network

INPUT_WIDTH = 288
INPUT_HEIGHT = 384
SIMCC_SPLIT_RATIO = 2.0  # SimCC bins per input pixel
KEYPOINTS = 133

# in channels, out channels, blocks, identity shortcut in the blocks, spatial pyramid pooling
_STAGES = (
    (64, 128, 3, True, False),
    (128, 256, 6, True, False),
    (256, 512, 6, True, False),
    (512, 1024, 3, False, True),
)
_HIDDEN = 256  # width of a keypoint token in the head
_ATTENTION = 128  # width of queries and keys in the gated attention unit


class ConvModule(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.bn(self.conv(x)), inplace=True)


class DepthwiseSeparableConv(nn.Module):
    def __init__(self, cin: int, cout: int, kernel: int) -> None:
        super().__init__()
        self.depthwise_conv = ConvModule(cin, cin, kernel, groups=cin)
        self.pointwise_conv = ConvModule(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


class CSPNeXtBlock(nn.Module):
    def __init__(self, channels: int, add_identity: bool) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels, 3)
        self.conv2 = DepthwiseSeparableConv(channels, channels, 5)
        self.add_identity = add_identity

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x))
        return out + x if self.add_identity else out


class ChannelAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class CSPLayer(nn.Module):
    """Cross-stage partial layer: half the channels go through the blocks, half go round them."""

    def __init__(self, channels: int, blocks: int, add_identity: bool) -> None:
        super().__init__()
        mid = channels // 2
        self.main_conv = ConvModule(channels, mid, 1)
        self.short_conv = ConvModule(channels, mid, 1)
        self.final_conv = ConvModule(2 * mid, channels, 1)
        self.blocks = nn.Sequential(*(CSPNeXtBlock(mid, add_identity) for _ in range(blocks)))
        self.attention = ChannelAttention(2 * mid)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), dim=1)
        return self.final_conv(self.attention(x))


class SPPBottleneck(nn.Module):
    """Spatial pyramid pooling over windows of 5, 9 and 13."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels // 2, 1)
        self.conv2 = ConvModule(channels * 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        pooled = [F.max_pool2d(x, size, stride=1, padding=size // 2) for size in (5, 9, 13)]
        return self.conv2(torch.cat([x, *pooled], dim=1))


class CSPNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvModule(3, 32, 3, stride=2), ConvModule(32, 32, 3), ConvModule(32, 64, 3))
        for i, (cin, cout, blocks, add_identity, spp) in enumerate(_STAGES, start=1):
            layers = [ConvModule(cin, cout, 3, stride=2)]
            layers += [SPPBottleneck(cout)] if spp else []
            layers += [CSPLayer(cout, blocks, add_identity)]
            self.add_module(f"stage{i}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.stage2(self.stage1(x))
        return self.stage4(self.stage3(x))


class ScaleNorm(nn.Module):
    """x divided by its root mean square, times one learnt number (arXiv 1910.05895)."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.scale = dim**-0.5
        self.eps = eps
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True) * self.scale
        return x / norm.clamp(min=self.eps) * self.g


class Scale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class GatedAttentionUnit(nn.Module):
    """Self-attention among the keypoint tokens, with squared-ReLU weights and a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.expanded = 2 * _HIDDEN
        self.ln = ScaleNorm(_HIDDEN)
        self.uv = nn.Linear(_HIDDEN, 2 * self.expanded + _ATTENTION, bias=False)
        self.gamma = nn.Parameter(torch.rand(2, _ATTENTION))
        self.beta = nn.Parameter(torch.rand(2, _ATTENTION))
        self.o = nn.Linear(self.expanded, _HIDDEN, bias=False)
        self.res_scale = Scale(_HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        uv = F.silu(self.uv(self.ln(x)))
        u, v, base = uv.split((self.expanded, self.expanded, _ATTENTION), dim=2)
        q, k = (base.unsqueeze(2) * self.gamma + self.beta).unbind(2)  # (B, K, 128) each
        kernel = F.relu(q @ k.transpose(1, 2) / _ATTENTION**0.5).square()  # (B, K, K)
        return self.res_scale(x) + self.o(u * (kernel @ v))


class RTMCCHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        cells = (INPUT_WIDTH // 32) * (INPUT_HEIGHT // 32)
        self.final_layer = nn.Conv2d(1024, KEYPOINTS, 7, padding=3)
        self.mlp = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, _HIDDEN, bias=False))
        self.gau = GatedAttentionUnit()
        self.cls_x = nn.Linear(_HIDDEN, int(INPUT_WIDTH * SIMCC_SPLIT_RATIO), bias=False)
        self.cls_y = nn.Linear(_HIDDEN, int(INPUT_HEIGHT * SIMCC_SPLIT_RATIO), bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.gau(self.mlp(self.final_layer(x).flatten(2)))  # (B, K, 256)
        return self.cls_x(tokens), self.cls_y(tokens)


class RTMPose(nn.Module):
    """Pictures (B, 3, 384, 288), normalised, to SimCC scores x (B, 133, 576) and y (B, 133, 768)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = CSPNeXt()
        self.head = RTMCCHead()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.backbone(x))


def create() -> RTMPose:
    """Build the network with untrained weights."""
    return RTMPose().eval()


def load(path: Path) -> RTMPose:
    """Read ``dw-ll_ucoco_384.pth``, or any checkpoint of RTMPose-l with mmpose's names.

    Raises:
        WeightsInvalidError: the file is damaged or of another network.
    """
    return load_network(create, path)
