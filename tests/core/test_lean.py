"""A network that was rewritten gives the numbers of the one that was loaded, layer by layer and as a whole."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from musetalk_core.networks import bisenet, layers, lean, rtmpose, unet, vae, winograd
from musetalk_core.networks.layers import Conv3x3, Norm, SubpixelUpsample

LAST = torch.channels_last
NARROW = {"block_out_channels": [8, 8, 16, 16], "layers_per_block": 1, "norm_num_groups": 8}


@pytest.fixture(autouse=True)
def _deterministic():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def small_unet() -> nn.Module:
    return shaken(unet.create(unet.PUBLISHED_CONFIG | NARROW))


def small_vae() -> nn.Module:
    return shaken(vae.create(vae.PUBLISHED_CONFIG | NARROW))


def shaken(network: nn.Module) -> nn.Module:
    """With weights, biases and statistics none of which is a neutral 0 or 1."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn_like(tensor)
            tensor += noise.abs() if name.endswith("running_var") else 0.1 * noise
    return network.eval().requires_grad_(False)


def close(ours: Tensor, plain: Tensor, tolerance: float = 1e-5) -> bool:
    return ours.shape == plain.shape and bool((ours - plain).abs().max() <= tolerance * plain.abs().max())


def operations(work) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
def test_upsampling_is_enlarging_and_convolving(
    bias: bool, size: tuple[int, int], layout: torch.memory_format
) -> None:
    conv = nn.Conv2d(6, 10, 3, padding=1, bias=bias)
    x = torch.randn(2, 6, *size).to(memory_format=layout)
    enlarged = F.interpolate(x, scale_factor=2, mode="nearest")
    assert close(SubpixelUpsample(conv)(x), conv(enlarged))


def test_upsampling_takes_four_ninths_of_the_operations() -> None:
    conv, x = nn.Conv2d(16, 16, 3, padding=1), torch.randn(1, 16, 32, 32)
    plain = operations(lambda: conv(F.interpolate(x, scale_factor=2, mode="nearest")))
    assert operations(lambda: SubpixelUpsample(conv)(x)) / plain == pytest.approx(4 / 9, rel=0.01)


@pytest.mark.parametrize("shape", [(1, 6, 4, 4), (3, 6, 2, 5), (2, 6, 20, 20)])
def test_a_convolution_of_a_map_of_any_size(shape: tuple[int, ...]) -> None:
    conv = nn.Conv2d(6, 10, 3, padding=1)
    x = torch.randn(*shape)
    plain = conv(x)
    assert close(Conv3x3(conv.to(memory_format=LAST))(x.to(memory_format=LAST)), plain)


@pytest.mark.parametrize(("wide", "out", "shape"), [(256, 256, (1, 32, 32)), (320, 256, (2, 16, 36))])
def test_winograd_is_the_convolution(wide: int, out: int, shape: tuple[int, int, int]) -> None:
    conv = nn.Conv2d(wide, out, 3, padding=1).to(memory_format=LAST)
    batch, height, width = shape
    x = torch.randn(batch, wide, height, width).to(memory_format=LAST)
    assert winograd.pays(x, conv.weight)
    assert close(winograd.convolve(x, conv.weight, conv.bias), conv(x), 5e-5)
    assert operations(lambda: Conv3x3(conv)(x)) < 0.5 * operations(lambda: conv(x))


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (torch.zeros(1, 256, 30, 32), torch.zeros(256, 256, 3, 3)),  # no whole tiles
        (torch.zeros(1, 256, 16, 16), torch.zeros(256, 256, 3, 3)),  # few cells
        (torch.zeros(1, 64, 64, 64), torch.zeros(512, 64, 3, 3)),  # few channels
        (torch.zeros(1, 256, 32, 32, dtype=torch.bfloat16), torch.zeros(256, 256, 3, 3, dtype=torch.bfloat16)),
        (torch.zeros(1, 256, 32, 32, device="meta"), torch.zeros(256, 256, 3, 3, device="meta")),  # another device
    ],
)
def test_winograd_is_left_where_it_does_not_pay(x: Tensor, weight: Tensor) -> None:
    assert not winograd.pays(x, weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("silu", [True, False])
def test_statistics_of_a_norm_do_not_overflow_in_half_precision(dtype: torch.dtype, silu: bool) -> None:
    plain = nn.GroupNorm(4, 8)
    x = 300 * torch.randn(1, 8, 16, 16) + 500  # squared and summed, beyond what half precision holds
    expected = F.silu(plain(x.to(dtype).float())) if silu else plain(x.to(dtype).float())
    out = Norm(plain, silu).to(dtype)(x.to(dtype).to(memory_format=LAST))
    assert out.dtype == dtype and out.is_contiguous(memory_format=LAST)
    assert close(out.float(), expected, 0.01)


def test_the_unet_as_a_whole() -> None:
    plain = small_unet()
    ours = lean.rewrite(copy.deepcopy(plain))
    inputs = torch.randn(3, 8, 32, 32), torch.zeros((), dtype=torch.long)
    tokens = torch.randn(3, 50, 384)
    assert close(ours(*inputs, tokens).sample, plain(*inputs, tokens).sample, 1e-4)


def test_the_timestep_is_in_the_biases() -> None:
    plain = small_unet()
    names = lean.rewrite(copy.deepcopy(plain)).state_dict()
    assert any("time_emb_proj" in name for name in plain.state_dict())
    assert not any("time_emb" in name for name in names)


def test_the_vae_as_a_whole() -> None:
    plain = small_vae()
    ours = lean.rewrite(copy.deepcopy(plain))
    picture, latents = torch.randn(2, 3, 64, 64), torch.randn(2, 4, 8, 8)
    assert close(ours.encode(picture).latent_dist.mode(), plain.encode(picture).latent_dist.mode(), 1e-4)
    assert close(ours.decode(latents).sample, plain.decode(latents).sample, 1e-4)


@pytest.mark.parametrize("kind", ["unet", "vae"])
def test_nothing_of_the_old_modules_is_left(kind: str) -> None:
    network = lean.rewrite({"unet": small_unet, "vae": small_vae}[kind]())
    left = {type(module).__name__ for module in network.modules()}
    assert not left & {"ResnetBlock2D", "Upsample2D", "Attention", "Transformer2DModel", "GroupNorm"}
    assert not any(parameter.is_meta or parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("kind", "create", "size"), [("dwpose", rtmpose.create, (384, 288)), ("face_parse", bisenet.create, (128, 128))]
)
def test_batch_norms_are_folded(kind: str, create, size: tuple[int, int]) -> None:
    plain = shaken(create())
    ours = lean.rewrite(copy.deepcopy(plain))
    x = torch.randn(1, 3, *size)
    for got, expected in zip(outputs(ours(x)), outputs(plain(x)), strict=True):
        assert close(got, expected, 1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ours.modules())


def outputs(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def test_layouts_are_told_apart() -> None:
    x = torch.zeros(2, 3, 4, 5)
    assert layers.memory_format(x) == torch.contiguous_format
    assert layers.memory_format(x.to(memory_format=LAST)) == LAST
