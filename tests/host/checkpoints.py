"""Weight files with synthetic content, in the formats and places of the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from musetalk_core import synthetic
from musetalk_core.networks import vae

PLACES = {
    "unet": "musetalkV15/unet.pth",
    "vae": "sd-vae-ft-mse/diffusion_pytorch_model.bin",
    "whisper": "whisper/tiny.pt",
    "dwpose": "dwpose/dw-ll_ucoco_384.pth",
    "face_parse": "face-parse-bisent/79999_iter.pth",
    "s3fd": "s3fd/s3fd-619a316812.pth",
}


def published_folder(root: Path) -> None:
    """Release 1.5 complete under ``root``; UNet and VAE of the small size, with their configurations."""
    for kind, relative in PLACES.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        network = synthetic.build(kind, "small")
        state = network.state_dict()
        if kind == "whisper":
            state = {"dims": {}, "model_state_dict": {f"encoder.{name}": value for name, value in state.items()}}
        torch.save(state, path, _use_new_zipfile_serialization=kind not in ("face_parse", "s3fd"))
        if kind in ("unet", "vae"):
            config = path.with_name("musetalk.json" if kind == "unet" else "config.json")
            config.write_text(json.dumps(dict(network.config)))


def taesd(folder: Path) -> None:
    """The pair of files that ComfyUI's own loader takes for TAESD."""
    for half, before in (("encoder", 0), ("decoder", 1)):
        state = {}
        for name, value in synthetic.build(f"taesd_{half}", "full").state_dict().items():
            _, layer, rest = name.split(".", 2)
            state[f"{int(layer) + before}.{rest}"] = value
        torch.save(state, folder / f"taesd_{half}.pth")


def stock_vae(path: Path) -> None:
    """A VAE of the published size, which ComfyUI's own loader can read too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = vae.create()
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
