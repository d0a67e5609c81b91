"""Networks with synthetic weights, made once for all tests."""

from pathlib import Path

import numpy as np
import pytest
import torch

from musetalk_core import cache, cli, masks, weights
from musetalk_core.cache import ByteBudget, ModelCache
from musetalk_core.models import Models
from musetalk_core.releases import RELEASES


@pytest.fixture(scope="session")
def shared_cache() -> ModelCache:
    return ModelCache(ByteBudget(torch.device("cpu")))


@pytest.fixture(scope="session")
def synthetic_models(shared_cache: ModelCache):
    """Makes the small synthetic models of a release."""

    def make(release: str = "1.5") -> Models:
        return weights.open_models(RELEASES[release], [Path("nowhere")], shared_cache, "fp32", synthetic="small")

    return make


@pytest.fixture
def one_cache(shared_cache: ModelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command gets the same networks instead of making its own."""
    monkeypatch.setattr(cache, "ModelCache", lambda residency: shared_cache)


@pytest.fixture
def all_skin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces are not parsed: what the synthetic parser would answer is answered at once."""
    monkeypatch.setattr(
        masks, "parse_faces", lambda _, cuts, windows: np.full((len(cuts), 512, 512), masks.SKIN, np.uint8)
    )


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command must not get as far as the networks."""

    def refuse(args, kinds):
        raise AssertionError("work began")

    monkeypatch.setattr(cli, "_open", refuse)
