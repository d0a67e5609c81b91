"""The published files are found where users keep them, and what is missing is told with its address."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from musetalk_core import manifest, weights
from musetalk_core.cache import KINDS, ByteBudget, ModelCache, Source
from musetalk_core.errors import InputError, WeightsMissingError
from musetalk_core.models import choose_dtype
from musetalk_core.networks.vae import DiffusersCodec
from musetalk_core.releases import RELEASES, get_release
from tests.core.stand_ins import PlainVae

NEW, OLD = RELEASES["1.5"], RELEASES["1.0"]


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    """The published layout, and the folder where the older pack kept it."""
    return [tmp_path / "models" / "musetalk", tmp_path / "models" / "diffusers" / "TMElyralab" / "MuseTalk"]


@pytest.fixture
def cache() -> ModelCache:
    return ModelCache(ByteBudget(torch.device("cpu")))


def put(root: Path, *relative: str) -> None:
    for name in relative:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def put_release(root: Path, release: str, without: Sequence[str] = ()) -> None:
    put(root, *(file.path for file in manifest.needed(release) if file.kind not in without))


def every_way(release: str, kind: str) -> tuple[str, ...]:
    return manifest.ALTERNATIVES[f"unet-{release}" if kind == "unet" else kind]


# Finding


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_preferred_file_is_found_in_the_first_folder_that_has_it(
    kind: str, release: str, roots: list[Path]
) -> None:
    expected = [root / relative for relative in every_way(release, kind) for root in roots]
    for root in roots:
        put(root, *every_way(release, kind))
    for path in expected:
        assert weights.find(kind, RELEASES[release], roots) == path
        path.unlink()
    assert weights.find(kind, RELEASES[release], roots) is None


def test_the_order_of_preference() -> None:
    assert every_way("1.5", "vae") == (
        "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
        "sd-vae/diffusion_pytorch_model.safetensors",
        "sd-vae-ft-mse/diffusion_pytorch_model.bin",
        "sd-vae/diffusion_pytorch_model.bin",
        "vae-ft-mse-840000-ema-pruned.safetensors",
    )
    assert every_way("1.5", "whisper") == (
        "whisper/tiny.pt",
        "whisper/model.safetensors",
        "whisper/pytorch_model.bin",
    )


def test_each_release_has_its_own_unet(roots: list[Path]) -> None:
    put(roots[0], "musetalk/pytorch_model.bin")
    assert weights.find("unet", OLD, roots) == roots[0] / "musetalk" / "pytorch_model.bin"
    assert weights.find("unet", NEW, roots) is None


def test_a_folder_of_that_name_is_not_a_file(roots: list[Path]) -> None:
    (roots[0] / "whisper" / "tiny.pt").mkdir(parents=True)
    put(roots[1], "whisper/tiny.pt")
    assert weights.find("whisper", NEW, roots) == roots[1] / "whisper" / "tiny.pt"


def test_a_pack_in_a_host_looks_in_the_hosts_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = tmp_path / "custom_nodes" / "musetalk"
    monkeypatch.setattr(weights, "__file__", str(pack / "musetalk_core" / "weights.py"))
    models = tmp_path / "models"
    assert weights.default_roots() == [
        models / "musetalk",
        models / "diffusers" / "TMElyralab" / "MuseTalk",
        models / "vae_approx",  # ComfyUI's own folder for TAESD
    ]


def test_a_pack_on_its_own_looks_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "pack" / "musetalk_core" / "weights.py"))
    assert weights.default_roots() == [tmp_path / "pack" / "models" / "musetalk"]


# What is missing


@pytest.mark.parametrize("release", RELEASES)
def test_without_any_file_all_of_the_release_is_missing(release: str, roots: list[Path]) -> None:
    assert tuple(weights.missing(RELEASES[release], roots)) == manifest.needed(release)


def test_nothing_is_missing_when_any_alternative_is_there(roots: list[Path]) -> None:
    put(roots[0], "musetalkV15/unet.pth", "vae-ft-mse-840000-ema-pruned.safetensors", "whisper/pytorch_model.bin")
    put(roots[1], *every_way("1.5", "dwpose"), *every_way("1.5", "face_parse"), *every_way("1.5", "s3fd"))
    assert weights.missing(NEW, roots) == []
    assert {file.kind for file in weights.missing(OLD, roots)} == {"unet"}


def test_only_what_will_be_used_is_missing(roots: list[Path]) -> None:
    assert {file.kind for file in weights.missing(NEW, roots, ("whisper", "s3fd"))} == {"whisper", "s3fd"}


@pytest.mark.parametrize("release", RELEASES)
def test_the_error_names_every_file_with_its_place_and_address(
    release: str, roots: list[Path], cache: ModelCache
) -> None:
    with pytest.raises(WeightsMissingError) as refused:
        weights.open_models(RELEASES[release], roots, cache)
    needed = manifest.needed(release)
    assert refused.value.cause == f"{len(needed)} weight files are missing."
    for file in needed:
        assert f"{roots[0] / file.path}\n    from {file.url}" in refused.value.remedy
    assert "fetch_missing" in refused.value.remedy and "python -m musetalk_core download" in refused.value.remedy
    assert str(roots[1]) not in str(refused.value)


def test_a_single_missing_file_is_told(roots: list[Path], cache: ModelCache) -> None:
    put_release(roots[0], "1.5", without=["s3fd"])
    with pytest.raises(WeightsMissingError, match="One weight file is missing") as refused:
        weights.open_models(NEW, roots, cache)
    assert str(refused.value).count("https://") == 1


# Opening


@pytest.mark.parametrize("release", RELEASES)
def test_the_older_packs_folder_will_do(release: str, roots: list[Path], cache: ModelCache) -> None:
    put_release(roots[1], release)
    models = weights.open_models(RELEASES[release], roots, cache)
    assert models.sources == {kind: Source(kind, roots[1] / every_way(release, kind)[0]) for kind in KINDS}
    assert not models.synthetic and not cache.loads


@pytest.mark.parametrize("synthetic", [None, "small"])
def test_with_a_vae_of_the_hosts_ours_is_not_needed(
    synthetic: str | None, roots: list[Path], cache: ModelCache
) -> None:
    put_release(roots[0], "1.5", without=["vae"])
    host_vae = PlainVae()
    models = weights.open_models(NEW, roots, cache, synthetic=synthetic, host_vae=host_vae)
    assert models.vae() is host_vae
    assert set(models.sources) == set(KINDS) - {"vae"}


def test_without_faces_to_find_their_networks_are_not_needed(roots: list[Path], cache: ModelCache) -> None:
    put_release(roots[0], "1.5", without=weights.FACE_KINDS)
    kinds = [kind for kind in KINDS if kind not in weights.FACE_KINDS]
    assert set(weights.open_models(NEW, roots, cache, kinds=kinds).sources) == {
        "unet",
        "vae",
        "whisper",
        "face_parse",
    }
    with pytest.raises(WeightsMissingError, match="2 weight files are missing"):
        weights.open_models(NEW, roots, cache)


@pytest.mark.parametrize("size", ["small", "full"])
def test_synthetic_weights_need_no_files(size: str, cache: ModelCache) -> None:
    models = weights.open_models(NEW, [Path("nowhere")], cache, synthetic=size)
    assert models.sources == {kind: Source(kind, synthetic=size) for kind in KINDS}
    assert models.synthetic and not cache.loads


def test_networks_are_loaded_on_first_use_in_their_precision(
    roots: list[Path], cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_release(roots[0], "1.5")
    monkeypatch.setattr(Source, "load", lambda _: nn.Linear(2, 2))
    models = weights.open_models(NEW, roots, cache, "bf16")
    assert not cache.loads
    small = (models.whisper, models.dwpose, models.face_parse, models.s3fd)
    assert [network().weight.dtype for network in small] == [torch.float32] * 4
    assert models.unet().weight.dtype == torch.bfloat16
    assert isinstance(models.vae(), DiffusersCodec)
    models.unet()
    assert cache.loads == dict.fromkeys(KINDS, 1)


def test_the_precision_suits_the_device() -> None:
    assert [choose_dtype("auto", torch.device(kind)) for kind in ("cuda", "mps", "cpu")] == [
        torch.float16,
        torch.float32,
        torch.float32,
    ]
    assert choose_dtype("bf16", torch.device("cpu")) == torch.bfloat16
    assert choose_dtype("fp32", torch.device("cuda")) == torch.float32


def test_what_does_not_exist_is_told_with_what_does(cache: ModelCache) -> None:
    with pytest.raises(InputError, match=r"no MuseTalk release '2\.0'.* 1\.5, 1\.0"):
        get_release("2.0")
    with pytest.raises(InputError, match=r"precision 'fp8'.*fp32, fp16, bf16"):
        weights.open_models(NEW, [Path("nowhere")], cache, "fp8", synthetic="small")
