"""Weights from files in ComfyUI's models folder, and from the host's own VAE loader."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.host import checkpoints
from tests.host.comfy_server import ComfyServer
from tests.host.conftest import StartComfy
from tests.host.graphs import node, speaking
from tests.host.test_running import loads, pictures

FOLDER = "models folder"


@pytest.fixture
def with_weights(fresh_comfy: StartComfy) -> ComfyServer:
    server = fresh_comfy()
    checkpoints.published_folder(server.models_dir / "musetalk")
    return server


def test_published_layout_loads_and_a_replaced_file_is_noticed(with_weights):
    graph = speaking(weights=FOLDER)
    result = with_weights.run(graph, timeout=120)
    assert result.status == "success", result.error
    assert loads(with_weights) == 5  # S3FD is not in doubt
    assert not with_weights.run(graph).executed, "nothing to do the second time"

    vae = with_weights.models_dir / "musetalk" / checkpoints.PLACES["vae"]
    shutil.copy(vae, vae.with_suffix(".new"))
    vae.with_suffix(".new").replace(vae)
    vae.touch()
    assert with_weights.run(graph).status == "success"
    assert loads(with_weights) == 6, "only the replaced network is loaded again"

    (with_weights.models_dir / "musetalk" / checkpoints.PLACES["dwpose"]).touch()
    assert with_weights.run(graph).status == "success"
    assert loads(with_weights) == 7, "faces are looked for again with the new weights"


def test_taesd_gives_the_same_faces_as_the_hosts_own(with_weights):
    """Its files are those in ComfyUI's own folder, and no full VAE is needed."""
    (with_weights.models_dir / "vae_approx").mkdir(exist_ok=True)
    checkpoints.taesd(with_weights.models_dir / "vae_approx")
    (with_weights.models_dir / "musetalk" / checkpoints.PLACES["vae"]).unlink()

    chosen = "TAESD (faster, coarser)"
    graph = speaking(seconds=0.08, weights=FOLDER, vae_encode=chosen, vae_decode=chosen)
    graph["save"]["inputs"]["images"] = ["decode", 0]
    result = with_weights.run(graph, timeout=200)
    assert result.status == "success", result.error
    faces = pictures(with_weights, result)
    assert faces[0].std() > 5

    graph["vae"] = node("VAELoader", vae_name="taesd")
    graph["models"]["inputs"] |= {"vae": ["vae", 0], "vae_encode": "full", "vae_decode": "full"}
    result = with_weights.run(graph, timeout=200)
    assert result.status == "success", result.error
    for stock, own in zip(pictures(with_weights, result), faces, strict=True):
        assert np.abs(stock.astype(int) - own).max() <= 2


def test_the_older_packs_folder_is_found(fresh_comfy):
    server = fresh_comfy()
    checkpoints.published_folder(server.models_dir / "diffusers" / "TMElyralab" / "MuseTalk")
    result = server.run(speaking(weights=FOLDER), timeout=120)
    assert result.status == "success", result.error


def test_a_truncated_file_is_named(with_weights):
    unet = with_weights.models_dir / "musetalk" / checkpoints.PLACES["unet"]
    unet.write_bytes(unet.read_bytes()[:-1000])
    error = with_weights.run(speaking(weights=FOLDER), timeout=120).error
    assert str(unet) in error and "damaged or cut short" in error and "fetch it again" in error


def test_stock_vae_gives_the_same_faces_as_our_own(with_weights):
    """LATENT is the host's own kind: the stock decoder reads it; and the stock VAE can do our encoding."""
    folder = with_weights.models_dir
    (folder / "vae").mkdir(exist_ok=True)
    checkpoints.stock_vae(folder / "vae" / "stock.safetensors")
    ours = folder / "musetalk" / "sd-vae-ft-mse"
    shutil.rmtree(ours)
    ours.mkdir()
    shutil.copy(folder / "vae" / "stock.safetensors", ours / "diffusion_pytorch_model.safetensors")

    graph = speaking(seconds=0.08, weights=FOLDER)
    graph["save"]["inputs"]["images"] = ["decode", 0]
    result = with_weights.run(graph, timeout=200)
    assert result.status == "success", result.error
    faces = pictures(with_weights, result)

    graph["vae"] = node("VAELoader", vae_name="stock.safetensors")
    graph["models"]["inputs"]["vae"] = ["vae", 0]
    graph["decode"] = node("VAEDecode", samples=["inpaint", 0], vae=["vae", 0])
    result = with_weights.run(graph, timeout=200)
    assert result.status == "success", result.error
    for stock, own in zip(pictures(with_weights, result), faces, strict=True):
        difference = np.abs(stock.astype(int) - own)
        assert (difference <= 1).mean() >= 0.999 and difference.max() <= 4
