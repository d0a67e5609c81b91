"""BiSeNet for face parsing: 19 classes at 512 x 512, on a ResNet-18.

The modules carry the names of the published ``79999_iter.pth``. The two auxiliary heads that the
checkpoint also holds serve training only and are neither built nor read.

Source: BiSeNet (arXiv 1808.00897), zllrunning/face-parsing.PyTorch.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints import load_network

CLASSES = 19
SIZE = 512  # pixels: the network's input and output width and height


class ConvBNReLU(nn.Module):
    def __init__(self, cin: int, cout: int, kernel: int = 3, padding: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class BasicBlock(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.downsample = None
        if cin != cout or stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu((x if self.downsample is None else self.downsample(x)) + residual)


def _resnet_layer(cin: int, cout: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(cin, cout, stride), BasicBlock(cout, cout, 1))


class ResNet18(nn.Module):
    """Features at 1/8 (128 channels), 1/16 (256) and 1/32 (512) of the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _resnet_layer(64, 64, 1)
        self.layer2 = _resnet_layer(64, 128, 2)
        self.layer3 = _resnet_layer(128, 256, 2)
        self.layer4 = _resnet_layer(256, 512, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


class AttentionRefinement(nn.Module):
    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(cin, cout)
        self.conv_atten = nn.Conv2d(cout, cout, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(self.bn_atten(self.conv_atten(x.mean((2, 3), keepdim=True))))


class ContextPath(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet18()
        self.arm16 = AttentionRefinement(256, 128)
        self.arm32 = AttentionRefinement(512, 128)
        self.conv_head32 = ConvBNReLU(128, 128)
        self.conv_head16 = ConvBNReLU(128, 128)
        self.conv_avg = ConvBNReLU(512, 128, kernel=1, padding=0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        eighth, sixteenth, thirtysecond = self.resnet(x)
        context = self.conv_avg(thirtysecond.mean((2, 3), keepdim=True))
        x = F.interpolate(self.arm32(thirtysecond) + context, sixteenth.shape[2:])
        x = self.arm16(sixteenth) + self.conv_head32(x)
        return eighth, self.conv_head16(F.interpolate(x, eighth.shape[2:]))


class FeatureFusion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convblk = ConvBNReLU(256, 256, kernel=1, padding=0)
        self.conv1 = nn.Conv2d(256, 64, 1, bias=False)
        self.conv2 = nn.Conv2d(64, 256, 1, bias=False)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        x = self.convblk(torch.cat((spatial, context), dim=1))
        gate = torch.sigmoid(self.conv2(F.relu(self.conv1(x.mean((2, 3), keepdim=True)))))
        return x * gate + x


class OutputHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = ConvBNReLU(256, 256)
        self.conv_out = nn.Conv2d(256, CLASSES, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv(x))


class BiSeNet(nn.Module):
    """Pictures (B, 3, 512, 512), ImageNet-normalised, to class scores (B, 19, 512, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.cp = ContextPath()
        self.ffm = FeatureFusion()
        self.conv_out = OutputHead()

    def scores(self, x: Tensor) -> Tensor:
        """The class scores at 1/8 of the size, (B, 19, 64, 64), before they are enlarged."""
        return self.conv_out(self.ffm(*self.cp(x)))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.scores(x), x.shape[2:], mode="bilinear", align_corners=True)


def create() -> BiSeNet:
    """Build the network with untrained weights."""
    return BiSeNet().eval()


def load(path: Path) -> BiSeNet:
    """Read ``79999_iter.pth``.

    Raises:
        WeightsInvalidError: the file is damaged or of another network.
    """
    return load_network(create, path)
