"""Networks are loaded once and kept where they are needed; what a tensor gave is known while it lives."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from musetalk_core import memo, models, opening
from musetalk_core.cache import ByteBudget, ModelCache, Source, size_in_bytes
from musetalk_core.errors import WeightsInvalidError
from musetalk_core.memo import TensorMemo

META = torch.device("meta")
CPU = torch.device("cpu")


class Recorder:
    """A `Residency` that remembers what it was told."""

    device = CPU

    def __init__(self) -> None:
        self.brought: list[nn.Module] = []
        self.forgotten: list[nn.Module] = []

    def bring(self, network: nn.Module, working_bytes: int) -> None:
        self.brought.append(network)

    def forget(self, network: nn.Module) -> None:
        self.forgotten.append(network)

    def free(self) -> None:
        raise AssertionError("nothing runs out here")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The networks that were loaded; every source gives a small one after a while."""
    networks: list[nn.Module] = []

    def load(source: Source) -> nn.Module:
        time.sleep(0.02)  # long enough for other threads to come in between
        networks.append(nn.Linear(2, 2))
        return networks[-1]

    monkeypatch.setattr(Source, "load", load)
    return networks


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "unet.pth"
    path.write_bytes(b"weights")
    os.utime(path, ns=(10**18, 10**18))
    return path


# ModelCache


def test_a_source_is_loaded_once_and_brought_on_every_use(made: list, file: Path) -> None:
    cache = ModelCache(Recorder())
    networks = [cache.network(Source("unet", file), torch.float32) for _ in range(3)]
    assert networks == made * 3 and cache.loads == {"unet": 1}
    assert cache.residency.brought == made * 3
    assert cache.residency.forgotten == []


def test_other_kinds_files_and_sizes_are_other_networks(made: list, file: Path) -> None:
    cache = ModelCache(Recorder())
    other = file.with_name("other.pth")
    other.write_bytes(b"weights")
    sources = [Source("unet", file), Source("unet", other), Source("vae", file)]
    sources += [Source("unet", synthetic="small"), Source("unet", synthetic="full")]
    for source in sources * 2:
        cache.network(source, torch.float32)
    assert cache.loads == {"unet": 4, "vae": 1}


def test_another_dtype_is_another_network(made: list, file: Path) -> None:
    cache = ModelCache(Recorder())
    dtypes = (torch.float32, torch.float16, torch.float32, torch.float16)
    networks = [cache.network(Source("unet", file), dtype) for dtype in dtypes]
    assert [network.weight.dtype for network in networks] == list(dtypes)
    assert networks[:2] == networks[2:]
    assert cache.loads == {"unet": 2}


@pytest.mark.parametrize(
    ("content", "mtime"), [(b"WEIGHTS", 10**18 + 1), (b"other weights", 10**18), (b"weights", 10**18 - 1)]
)
def test_a_replaced_file_is_loaded_anew(content: bytes, mtime: int, made: list, file: Path) -> None:
    cache = ModelCache(Recorder())
    old = cache.network(Source("unet", file), torch.float32)
    file.with_name("new").write_bytes(content)
    os.utime(file.with_name("new"), ns=(mtime, mtime))
    file.with_name("new").replace(file)
    new = cache.network(Source("unet", file), torch.float32)
    assert new is not old and cache.loads == {"unet": 2}
    assert cache.residency.forgotten == [old] and cache.residency.brought == [old, new]
    assert cache.network(Source("unet", file), torch.float32) is new


def test_a_replaced_network_is_freed(made: list, file: Path) -> None:
    cache = ModelCache(ByteBudget(CPU))
    old = weakref.ref(cache.network(Source("unet", file), torch.float32))
    made.clear()
    file.write_bytes(b"other weights")
    cache.network(Source("unet", file), torch.float32)
    gc.collect()
    assert old() is None


def test_a_broken_file_is_tried_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ModelCache(Recorder())
    for _ in range(2):
        with pytest.raises(WeightsInvalidError, match=r"unet\.pth"):
            cache.network(Source("unet", file), torch.float32)
    assert not cache.loads and cache.residency.brought == []
    monkeypatch.setattr(Source, "load", lambda _: nn.Linear(2, 2))
    cache.network(Source("unet", file), torch.float32)
    assert cache.loads == {"unet": 1}


def test_eight_threads_at_once_load_once(made: list, file: Path) -> None:
    cache = ModelCache(Recorder())
    together = threading.Barrier(8)

    def ask(source: Source) -> nn.Module:
        together.wait()
        return cache.network(source, torch.float32)

    sources = [Source("unet", file), Source("vae", file)] * 4
    with ThreadPoolExecutor(8) as threads:
        networks = list(threads.map(ask, sources))
    assert cache.loads == {"unet": 1, "vae": 1}
    assert networks == networks[:2] * 4
    assert len(cache.residency.brought) == 8


def test_a_network_loaded_in_inference_mode_works_outside_it() -> None:
    cache = ModelCache(ByteBudget(CPU))
    with torch.inference_mode():
        network = cache.network(Source("face_parse", synthetic="small"), torch.float32)
    assert not any(tensor.is_inference() for tensor in network.state_dict().values())
    network.to(torch.float64)


# ByteBudget


class Weight(nn.Module):
    """So many bytes, and where they were sent."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("bytes", torch.zeros(size, dtype=torch.uint8))
        self.sent: list[str] = []

    def to(self, device: torch.device | str) -> Weight:
        self.sent.append(str(device))
        return self


def weights(*sizes: int) -> list[Weight]:
    return [Weight(size) for size in sizes]


def places(*networks: Weight) -> list[str]:
    return [network.sent[-1] for network in networks]


def test_the_size_counts_parameters_and_buffers() -> None:
    assert size_in_bytes(nn.BatchNorm2d(3)) == 4 * 3 * 4 + 8
    assert size_in_bytes(nn.Linear(2, 2).half()) == 6 * 2


def test_without_a_budget_everything_stays() -> None:
    residency = ByteBudget(META)
    networks = weights(10**6, 10**6, 10**6)
    for network in networks:
        residency.bring(network, 0)
    assert places(*networks) == ["meta"] * 3


def test_the_least_recently_used_leaves_first() -> None:
    residency = ByteBudget(META, 100)
    a, b, c, d = weights(40, 40, 40, 90)
    for network in (a, b, a, c):
        residency.bring(network, 0)
    assert places(a, b, c) == ["meta", "cpu", "meta"]
    residency.bring(d, 0)
    assert places(a, b, c, d) == ["cpu", "cpu", "cpu", "meta"]
    assert b.sent == ["meta", "cpu"], "what has left is not sent again"


def test_networks_that_fill_the_budget_exactly_stay() -> None:
    residency = ByteBudget(META, 100)
    a, b, c = weights(60, 40, 1)
    residency.bring(a, 0)
    residency.bring(b, 0)
    assert places(a, b) == ["meta", "meta"]
    residency.bring(c, 0)
    assert places(a, b, c) == ["cpu", "meta", "meta"]


def test_a_network_larger_than_the_budget_stays_while_it_is_in_use() -> None:
    residency = ByteBudget(META, 100)
    small, large = weights(10, 1000)
    residency.bring(small, 0)
    residency.bring(large, 0)
    assert places(small, large) == ["cpu", "meta"]
    residency.bring(large, 0)
    assert "cpu" not in large.sent
    residency.bring(small, 0)
    assert places(small, large) == ["meta", "cpu"]


def test_a_forgotten_network_does_not_count() -> None:
    residency = ByteBudget(META, 100)
    a, b = weights(80, 80)
    residency.bring(a, 0)
    residency.forget(a)
    residency.bring(b, 0)
    assert a.sent == ["meta"]
    residency.forget(a)


def test_where_memory_runs_out_all_leave_and_come_back_when_they_are_used() -> None:
    residency = ByteBudget(META, 100)
    a, b = weights(40, 40)
    residency.bring(a, 0)
    residency.bring(b, 0)
    residency.free()
    assert places(a, b) == ["cpu", "cpu"]
    residency.bring(b, 0)
    assert places(a, b) == ["cpu", "meta"]


@pytest.mark.parametrize(("free", "unet", "vae"), [(2700, 1700, 168), (5300, 3400, 335)])  # 3 GB fp16, 6 GB fp32
def test_on_a_small_card_the_face_networks_leave_and_unet_and_vae_stay(
    free: int, unet: int, vae: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes in MB, as they are; bytes here. The first three are RTMPose, S3FD and BiSeNet."""
    monkeypatch.setattr(models, "choose_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10**6))
    residency = opening.new_cache().residency
    *others, vae, unet = weights(138, 90, 53, vae, unet)
    for network in (*others, vae, unet, vae, unet):
        residency.bring(network, 0)
    assert "cpu" not in unet.sent + vae.sent
    assert places(others[0]) == ["cpu"]


def test_the_whole_network_is_on_the_device() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ByteBudget(META, 1).bring(network, 0)
    assert {tensor.device for tensor in network.state_dict().values()} == {META}


# TensorMemo


class Result:
    """Something that a weak reference can point to."""


def never() -> Result:
    raise AssertionError("computed again")


def test_a_tensor_is_computed_once_for_each_key() -> None:
    known, tensor = TensorMemo(), torch.zeros(3)
    first = known.get(tensor, "a", Result)
    assert known.get(tensor, "a", never) is first
    second = known.get(tensor, ("b", 1), Result)
    assert second is not first
    assert known.get(tensor, ("b", 1), never) is second and known.get(tensor, "a", never) is first


@pytest.mark.parametrize("other", [torch.Tensor.clone, torch.Tensor.detach, lambda tensor: tensor[:]])
def test_another_tensor_is_computed_again(other) -> None:
    known, tensor = TensorMemo(), torch.zeros(3)
    twin = other(tensor)
    assert known.get(tensor, "a", Result) is not known.get(twin, "a", Result)


def test_nothing_is_kept_of_a_tensor_that_is_gone() -> None:
    known, tensor, other = TensorMemo(), torch.zeros(3), torch.zeros(3)
    there, result = weakref.ref(tensor), weakref.ref(known.get(tensor, "a", Result))
    kept = known.get(other, "a", Result)
    assert result() is not None
    del tensor
    gc.collect()
    assert there() is None and result() is None
    assert known.get(other, "a", never) is kept


def test_a_tensor_that_only_torch_holds_is_still_known() -> None:
    known, module = TensorMemo(), nn.Linear(1, 1)
    module.weight.grad = torch.zeros(1, 1)
    first = known.get(module.weight.grad, "a", Result)
    gc.collect()
    assert known.get(module.weight.grad, "a", never) is first


@pytest.mark.parametrize("told", [True, False])
def test_a_tensor_in_the_place_of_a_dead_one_gets_its_own_result(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not told:  # that the first one died
        monkeypatch.setattr(memo.weakref, "ref", lambda tensor, _, ref=weakref.ref: ref(tensor))
    known, tensor = TensorMemo(), torch.zeros(3)
    place = id(tensor)
    old = known.get(tensor, "a", Result)
    del tensor
    others = []
    while not others or id(others[-1]) != place:
        assert len(others) < 1000, "no tensor came to lie in the same place"
        others.append(torch.zeros(3))
    new = known.get(others[-1], "a", Result)
    assert new is not old
    assert known.get(others[-1], "a", never) is new


def test_a_result_of_none_is_a_result() -> None:
    known, tensor = TensorMemo(), torch.zeros(3)
    assert known.get(tensor, "a", lambda: None) is None
    assert known.get(tensor, "a", never) is None


def test_a_failure_is_not_remembered() -> None:
    known, tensor = TensorMemo(), torch.zeros(3)
    with pytest.raises(AssertionError):
        known.get(tensor, "a", never)
    assert isinstance(known.get(tensor, "a", Result), Result)
