"""The attention blocks of Stable Diffusion's UNet and VAE, over maps that already lie as tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Norm

if TYPE_CHECKING:
    from diffusers.models.attention import BasicTransformerBlock
    from diffusers.models.attention_processor import Attention
    from diffusers.models.transformers.transformer_2d import Transformer2DModel


class SelfAttention(nn.Module):
    """Queries, keys and values from one product.

    Args:
        attention: The layer to stand for.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.to_qkv = _joined(attention.to_q, attention.to_k, attention.to_v)
        self.to_out = attention.to_out[0]

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, C) to (B, L, C)."""
        q, k, v = self.to_qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, L, C / heads)
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Keys and values from one product.

    Args:
        attention: The layer to stand for.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.to_q, self.to_kv = attention.to_q, _joined(attention.to_k, attention.to_v)
        self.to_out = attention.to_out[0]

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, L, C), looking at (B, T, D), to (B, L, C)."""
        q = self.to_q(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.to_kv(context).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention and a gated feed-forward layer, each after a norm and added to its input.

    Args:
        block: The block to stand for.
    """

    def __init__(self, block: BasicTransformerBlock) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = block.norm1, block.norm2, block.norm3
        self.attn1, self.attn2 = SelfAttention(block.attn1), CrossAttention(block.attn2)
        self.proj_in, self.proj_out = block.ff.net[0].proj, block.ff.net[2]

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, L, C), looking at (B, T, D), to (B, L, C)."""
        x = x + self.attn1(self.norm1(x))
        x += self.attn2(self.norm2(x), context)
        value, gate = self.proj_in(self.norm3(x)).chunk(2, dim=2)
        x += self.proj_out(F.gelu(gate).mul_(value))
        return x


class Transformer(nn.Module):
    """Transformer blocks over the cells of a map.

    Args:
        transformer: The module to stand for.
    """

    def __init__(self, transformer: Transformer2DModel) -> None:
        super().__init__()
        self.norm = Norm(transformer.norm, silu=False)
        self.proj_in, self.proj_out = _as_linear(transformer.proj_in), _as_linear(transformer.proj_out)
        self.transformer_blocks = nn.ModuleList(map(TransformerBlock, transformer.transformer_blocks))

    def forward(self, x: Tensor, encoder_hidden_states: Tensor, **_: object) -> tuple[Tensor]:
        """(B, C, H, W), looking at (B, T, D), to (B, C, H, W)."""
        tokens = self.proj_in(_tokens(self.norm(x)))
        for block in self.transformer_blocks:
            tokens = block(tokens, encoder_hidden_states)
        return (x + _as_map(self.proj_out(tokens), x),)


class MapAttention(nn.Module):
    """The VAE's self-attention over the cells of a map, added to its input.

    Args:
        attention: The layer to stand for.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.norm = Norm(attention.group_norm, silu=False)
        self.attention = SelfAttention(attention)

    def forward(self, x: Tensor, **_: object) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        return x + _as_map(self.attention(_tokens(self.norm(x))), x)


def _joined(*layers: nn.Linear) -> nn.Linear:
    """One layer whose output is that of the layers side by side."""
    bias = layers[0].bias is not None
    joined = nn.Linear(layers[0].in_features, sum(layer.out_features for layer in layers), bias, device="meta")
    joined.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]), False)
    if bias:
        joined.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]), False)
    return joined


def _as_linear(conv: nn.Conv2d) -> nn.Linear:
    """A 1 x 1 convolution over a map as a layer over its tokens."""
    linear = nn.Linear(conv.in_channels, conv.out_channels, device="meta")
    linear.weight, linear.bias = nn.Parameter(conv.weight[:, :, 0, 0], False), conv.bias
    return linear


def _tokens(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, C, H, W) -> (B, H W, C)


def _as_map(tokens: Tensor, like: Tensor) -> Tensor:
    return tokens.unflatten(1, like.shape[2:]).permute(0, 3, 1, 2)  # (B, H W, C) -> (B, C, H, W)
