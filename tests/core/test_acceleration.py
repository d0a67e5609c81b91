"""Ways to run a network on a card; there is none here, so: what is asked of torch, and that the networks allow it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from musetalk_core import acceleration
from musetalk_core.acceleration import ACCELERATIONS, COMPILERS, accelerated, filled
from musetalk_core.networks import lean, unet, vae

NARROW = {"block_out_channels": [8, 8, 16, 16], "layers_per_block": 1, "norm_num_groups": 8}


class OnACard(nn.Module):
    """Says that its weights are on a card."""

    def parameters(self, recurse: bool = True):
        yield SimpleNamespace(device=torch.device("cuda", 0))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    asked: list[dict] = []

    def compile(network: nn.Module, **options) -> nn.Module:
        asked.append(options)
        return nn.Sequential(network)

    monkeypatch.setattr(acceleration.torch, "compile", compile)
    return asked


@pytest.mark.parametrize("way", ACCELERATIONS)
def test_on_a_cpu_a_network_runs_as_it_is(way: str, compiled: list[dict]) -> None:
    network = nn.Linear(1, 1)
    assert accelerated(network, way) is network
    assert not compiled


def test_on_a_card_each_way_is_made_once(compiled: list[dict]) -> None:
    network = OnACard()
    assert accelerated(network, "off") is network
    first, second = (accelerated(network, way) for way in COMPILERS)
    assert first is not second
    assert accelerated(network, "cuda-graphs") is first and accelerated(network, "compile") is second
    assert compiled == [{"dynamic": False, **COMPILERS[way]} for way in ("cuda-graphs", "compile")]


@pytest.mark.parametrize(
    ("items", "batch_size", "size"), [(8, 8, 8), (5, 8, 8), (3, 8, 4), (1, 8, 1), (5, 6, 6), (6, 6, 6), (2, 3, 2)]
)
def test_a_last_batch_is_filled_up(items: int, batch_size: int, size: int) -> None:
    batch = np.arange(10, 10 + items)
    whole = filled(batch, batch_size, "cuda-graphs")
    assert len(whole) == size
    assert whole[:items].tolist() == batch.tolist() and set(whole[items:]) <= {batch[-1]}
    assert filled(batch, batch_size, "off") is batch


@pytest.mark.parametrize("backend", ["eager", "cudagraphs"])
def test_the_networks_are_one_graph_each(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is recorded must not be broken by Python in between; on a CPU, cudagraphs says so and does nothing."""
    torch.manual_seed(0)
    painter = lean.rewrite(unet.create(unet.PUBLISHED_CONFIG | NARROW).eval().requires_grad_(False))
    codec = lean.rewrite(vae.create(vae.PUBLISHED_CONFIG | NARROW).eval().requires_grad_(False))
    timestep, tokens = torch.zeros((), dtype=torch.long), torch.randn(2, 50, 384)
    with torch.inference_mode():
        for network, inputs in (
            (painter, (torch.randn(2, 8, 32, 32), timestep, tokens)),
            (codec.encoder, (torch.randn(2, 3, 32, 32),)),
            (codec.decoder, (torch.randn(2, 4, 4, 4),)),
        ):
            one = torch.compile(network, backend=backend, fullgraph=True, dynamic=False)
            expected, got = (getattr(out, "sample", out) for out in (network(*inputs), one(*inputs)))
            torch.testing.assert_close(got, expected)
