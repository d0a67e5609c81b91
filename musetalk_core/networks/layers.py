"""Layers that give the numbers of the published ones with less work; `lean` puts them in their place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import winograd

_FEW_ROWS = 192  # cells of a batch's map up to which reordering a convolution's weights costs more than its product


class SubpixelUpsample(nn.Module):
    """Nearest-neighbour x2 and a 3 x 3 convolution, as four 2 x 2 convolutions on the small map.

    Enlarged, neighbouring pixels are equal, so taps that fall on equal ones are added up beforehand: an
    output pixel with an even row sees source rows y-1 and y through taps 0 and 1 + 2, one with an odd row sees
    y and y+1 through taps 0 + 1 and 2; so too for columns. That is 16 products instead of 36 for 4 pixels.

    Source: the sub-pixel convolution of Shi et al. (arXiv 1609.05158), run backwards.

    Args:
        conv: 3 x 3, padding 1, which follows the enlargement.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        weight = conv.weight.detach()  # (O, I, 3, 3)
        rows = _merged(weight, 2)
        phases = [phase for row in rows for phase in _merged(row, 3)]
        self.weights = nn.ParameterList(nn.Parameter(phase.contiguous(), False) for phase in phases)
        self.bias = conv.bias

    def forward(self, x: Tensor, *_: object) -> Tensor:
        """(B, I, H, W) to (B, O, 2 H, 2 W)."""
        batch, _, height, width = x.shape
        size = batch, len(self.weights[0]), 2 * height, 2 * width
        out = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=memory_format(x))
        padded = F.pad(x, (1, 1, 1, 1))
        for i, weight in enumerate(self.weights):
            row, column = divmod(i, 2)
            seen = padded[:, :, row : row + height + 1, column : column + width + 1]
            out[:, :, row::2, column::2] = F.conv2d(seen, weight, self.bias)
        return out


def _merged(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The two taps of an even and of an odd output pixel, of three along an axis."""
    first, middle, last = weight.unbind(axis)
    return torch.stack((first, middle + last), axis), torch.stack((first + middle, last), axis)


class Norm(nn.GroupNorm):
    """Group norm, then SiLU where asked for; its statistics are in float32 whatever comes in.

    In half precision they overflow: the picture turns grey.

    Args:
        norm: The norm to stand for.
        silu: Whether SiLU follows.
    """

    def __init__(self, norm: nn.GroupNorm, silu: bool) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, device="meta")
        self.weight, self.bias, self.silu = norm.weight, norm.bias, silu

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape, dtype and memory format."""
        layout = memory_format(x)
        if x.dtype != torch.float32 and x.device.type != "cpu":
            # Group norm is written for this layout on accelerators; the cast is a copy anyway.
            layout = torch.contiguous_format
        out = F.group_norm(
            x.to(torch.float32, memory_format=layout),
            self.num_groups,
            self.weight.float(),
            self.bias.float(),
            self.eps,
        )
        if self.silu:
            F.silu(out, inplace=True)
        return out.to(x.dtype, memory_format=memory_format(x))


class Conv3x3(nn.Conv2d):
    """A 3 x 3 convolution of stride 1 and padding 1; on the CPU as matrix products where that is faster.

    Over small maps as one: there, most of the time of a convolution goes into bringing its weights into the
    order it wants them in. Over large ones with many channels by `winograd`.

    Args:
        conv: The convolution to stand for.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, 3, padding=1, device="meta")
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H, W)."""
        batch, _, height, width = x.shape
        if winograd.pays(x, self.weight):
            return winograd.convolve(x, self.weight, self.bias)
        if x.device.type != "cpu" or batch * height * width > _FEW_ROWS:
            return super().forward(x)
        weight = self.weight.permute(2, 3, 1, 0).reshape(-1, self.out_channels)  # (9 I, O), a view of channels-last
        cells = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # (B, H + 2, W + 2, I)
        seen = cells.unfold(1, 3, 1).unfold(2, 3, 1).permute(0, 1, 2, 4, 5, 3)  # (B, H, W, 3, 3, I)
        out = torch.addmm(self.bias, seen.reshape(batch * height * width, -1), weight)
        return out.view(batch, height, width, -1).permute(0, 3, 1, 2)


def memory_format(x: Tensor) -> torch.memory_format:
    """Channels-last where a map (B, C, H, W) lies so, else contiguous."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format
