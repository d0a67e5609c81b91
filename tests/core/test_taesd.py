"""TAESD: the same numbers as its authors' network, from every naming, between the UNet's latents and our pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from musetalk_core.errors import InputError, WeightsInvalidError
from musetalk_core.latents import decode_faces, encode_crops
from musetalk_core.networks import taesd
from musetalk_core.networks.taesd import TaesdDecoder, TaesdEncoder
from musetalk_core.networks.vae import SCALING_FACTOR

HALVES = ("encoder", "decoder")
LOAD = {"encoder": taesd.load_encoder, "decoder": taesd.load_decoder}
FORMS = ("pair.safetensors", "pair.pth", "both.safetensors", "both.bin")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(64, 64, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) + x)


class SoftClamp(nn.Module):
    """To -3..3; without weights, yet it counts in the numbering of the original's layers."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


def narrower() -> nn.Module:
    return nn.Conv2d(64, 64, 3, padding=1, stride=2, bias=False)


def wider() -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), nn.Conv2d(64, 64, 3, padding=1, bias=False)]


def original(half: str, channels: int = 4) -> nn.Sequential:
    """The network of madebyollin/taesd, from 0..1 pixels to scaled latents or back, with weights drawn by lot."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(half) + channels)
        blocks = [[Block() for _ in range(3)] for _ in range(3)]
        if half == "encoder":
            layers = [nn.Conv2d(3, 64, 3, padding=1), Block()]
            layers += [layer for three in blocks for layer in (narrower(), *three)]
            layers += [nn.Conv2d(64, channels, 3, padding=1)]
        else:
            layers = [SoftClamp(), nn.Conv2d(channels, 64, 3, padding=1), nn.ReLU()]
            layers += [layer for three in blocks for layer in (*three, *wider())]
            layers += [Block(), nn.Conv2d(64, 3, 3, padding=1)]
        return nn.Sequential(*layers).eval()


def as_diffusers_names(state: dict[str, Tensor], half: str) -> dict[str, Tensor]:
    before = {"encoder": 0, "decoder": 1}[half]
    split = {name: name.split(".", 1) for name in state}
    return {f"{half}.layers.{int(at) - before}.{rest}": state[name] for name, (at, rest) in split.items()}


def write(folder: Path, form: str, channels: int = 4) -> dict[str, Path]:
    """The file of each half, which for diffusers is the same."""
    states = {half: original(half, channels).state_dict() for half in HALVES}
    kind, suffix = form.split(".")
    if kind == "pair":
        paths = {half: folder / f"taesd_{half}.{suffix}" for half in HALVES}
        contents = {paths[half]: states[half] for half in HALVES}
    else:
        both = folder / f"diffusion_pytorch_model.{suffix}"
        paths = dict.fromkeys(HALVES, both)
        contents = {both: {k: v for half in HALVES for k, v in as_diffusers_names(states[half], half).items()}}
    for path, content in contents.items():
        save_file(content, path) if suffix == "safetensors" else torch.save(content, path)
    return paths


@pytest.mark.parametrize("form", FORMS)
@torch.inference_mode()
def test_every_naming_gives_the_numbers_of_the_original(form: str, tmp_path: Path) -> None:
    paths = write(tmp_path, form)
    pixels, latents = torch.rand(2, 3, 64, 48) * 2 - 1, torch.randn(2, 4, 6, 8) * 2 / SCALING_FACTOR
    expected = original("encoder")(pixels / 2 + 0.5) / SCALING_FACTOR
    torch.testing.assert_close(TaesdEncoder(taesd.load_encoder(paths["encoder"])).encode(pixels), expected)
    expected = original("decoder")(latents * SCALING_FACTOR) * 2 - 1
    torch.testing.assert_close(TaesdDecoder(taesd.load_decoder(paths["decoder"])).decode(latents), expected)


@pytest.mark.parametrize("half", HALVES)
def test_a_half_needs_no_file_of_the_other(half: str, tmp_path: Path) -> None:
    paths = write(tmp_path, "pair.safetensors")
    for other in set(HALVES) - {half}:
        paths[other].unlink()
    network = LOAD[half](paths[half])
    assert not network.training and not any(p.requires_grad for p in network.parameters())


@torch.inference_mode()
def test_the_unet_works_on_its_latents_as_they_are_and_gives_them_back_as_such() -> None:
    """With all other weights at zero, a half says what its last bias is."""
    told, shade = torch.tensor([1.0, -2.0, 3.0, 0.5]), 0.25
    encoder, decoder = (taesd.create(half) for half in HALVES)
    for network, bias in ((encoder, told), (decoder, torch.full((3,), shade))):
        for weight in network.parameters():
            weight.zero_()
        network.layers[-1].bias.copy_(bias)
    latents = encode_crops(TaesdEncoder(encoder), np.zeros((1, 256, 256, 3), np.uint8))
    assert latents.shape == (1, 8, 32, 32)
    torch.testing.assert_close(latents, torch.cat((told, told))[None, :, None, None].expand_as(latents))
    faces = decode_faces(TaesdDecoder(decoder), latents[:, :4])
    assert faces.shape == (1, 256, 256, 3) and (faces == round(shade * 255)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.inference_mode()
def test_it_computes_in_the_precision_it_is_given(dtype: torch.dtype) -> None:
    encoder, decoder = (taesd.create(half).to(dtype) for half in HALVES)
    latents = TaesdEncoder(encoder).encode(torch.zeros(1, 3, 16, 16))
    assert latents.dtype == dtype and TaesdDecoder(decoder).decode(latents.float()).dtype == dtype


def test_it_has_no_posterior_to_sample() -> None:
    codec = TaesdEncoder(taesd.create("encoder"))
    with pytest.raises(InputError, match=r"not a posterior.*'mode'.*--seed"):
        encode_crops(codec, np.zeros((1, 256, 256, 3), np.uint8), seeds=[0])


def test_files_of_other_networks_are_told(tmp_path: Path) -> None:
    paths = write(tmp_path, "pair.pth")
    (tmp_path / "sixteen").mkdir()
    more = write(tmp_path / "sixteen", "pair.safetensors", channels=16)
    for half, path in (
        ("encoder", paths["decoder"]),
        ("decoder", paths["encoder"]),
        ("encoder", more["encoder"]),  # TAESD of Stable Diffusion 3
        ("decoder", more["decoder"]),
    ):
        with pytest.raises(WeightsInvalidError, match="does not fit") as refused:
            LOAD[half](path)
        assert str(path) in refused.value.cause


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_short_is_told(form: str, tmp_path: Path) -> None:
    path = write(tmp_path, form)["decoder"]
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsInvalidError, match="damaged or cut short"):
        taesd.load_decoder(path)
