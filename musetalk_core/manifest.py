"""The weight files: what they are called, where they come from and how to know them.

Paths are relative to a models folder, in the layout in which MuseTalk was published. Sizes and
hashes are of the published files; None where they are not known for certain.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

_HUGGING_FACE = "https://huggingface.co"
_MUSETALK = f"{_HUGGING_FACE}/TMElyralab/MuseTalk/resolve/main"
_VAE = f"{_HUGGING_FACE}/stabilityai/sd-vae-ft-mse/resolve/main"
_TAESD = f"{_HUGGING_FACE}/madebyollin/taesd/resolve/main"
_OPENAI = "https://openaipublic.azureedge.net/main/whisper/models"

_MUSETALK_LICENCE = "any use, per its authors"


@dataclass(frozen=True)
class WeightFile:
    """One published file.

    Attributes:
        kind: Which network it belongs to: one of `REQUIRED`, taesd_encoder or taesd_decoder.
        path: Where it belongs under a models folder, with forward slashes.
        url: Where it is published.
        size: Bytes; None where not known.
        sha256: 64 hexadecimal digits; None where not known. A file has a size, a hash or both, but for
            safetensors, which tell their own length.
        licence: What its authors allow.
        release: The MuseTalk release it is for, "1.0" or "1.5"; None for both.
    """

    kind: str
    path: str
    url: str
    size: int | None
    sha256: str | None
    licence: str
    release: str | None


FILES = (
    WeightFile(
        kind="unet",
        path="musetalk/pytorch_model.bin",
        url=f"{_MUSETALK}/musetalk/pytorch_model.bin",
        size=3400076549,
        sha256=None,
        licence=_MUSETALK_LICENCE,
        release="1.0",
    ),
    WeightFile(
        kind="unet",
        path="musetalk/musetalk.json",
        url=f"{_MUSETALK}/musetalk/musetalk.json",
        size=748,
        sha256=None,
        licence=_MUSETALK_LICENCE,
        release="1.0",
    ),
    WeightFile(
        kind="unet",
        path="musetalkV15/unet.pth",
        url=f"{_MUSETALK}/musetalkV15/unet.pth",
        size=3400074924,
        sha256="7ebf6c98c181e20838e4c0054e96e944ac60d5d692cc01db42839fe11b787007",
        licence=_MUSETALK_LICENCE,
        release="1.5",
    ),
    WeightFile(
        kind="unet",
        path="musetalkV15/musetalk.json",
        url=f"{_MUSETALK}/musetalkV15/musetalk.json",
        size=748,
        sha256="5b6923aee04d71692e0e9846c471e0a4ea07a4f686d39545e472bd4ba17e1b47",
        licence=_MUSETALK_LICENCE,
        release="1.5",
    ),
    WeightFile(
        kind="vae",
        path="sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
        url=f"{_VAE}/diffusion_pytorch_model.safetensors",
        size=None,
        sha256="a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
        licence="MIT",
        release=None,
    ),
    WeightFile(
        kind="vae",
        path="sd-vae-ft-mse/diffusion_pytorch_model.bin",
        url=f"{_VAE}/diffusion_pytorch_model.bin",
        size=334707217,
        sha256="1b4889b6b1d4ce7ae320a02dedaeff1780ad77d415ea0d744b476155c6377ddc",
        licence="MIT",
        release=None,
    ),
    WeightFile(
        kind="vae",
        path="sd-vae-ft-mse/config.json",
        url=f"{_VAE}/config.json",
        size=547,
        sha256="92d3dfb746fca211a2c9e019e285f8597412211728dce3c5bcf4eda0f2d62e7e",
        licence="MIT",
        release=None,
    ),
    WeightFile(
        kind="whisper",
        path="whisper/tiny.pt",
        url=f"{_OPENAI}/65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9/tiny.pt",
        size=75572083,
        sha256="65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
        licence="MIT",
        release=None,
    ),
    WeightFile(
        kind="whisper",
        path="whisper/pytorch_model.bin",
        url=f"{_HUGGING_FACE}/openai/whisper-tiny/resolve/main/pytorch_model.bin",
        size=151095027,
        sha256="9607f98a2b22d9e229ae43c52ecea79dcede9e0c5cfae67e8da6eda86d8aac1d",
        licence="Apache-2.0",
        release=None,
    ),
    WeightFile(
        kind="dwpose",
        path="dwpose/dw-ll_ucoco_384.pth",
        url=f"{_HUGGING_FACE}/yzd-v/DWPose/resolve/main/dw-ll_ucoco_384.pth",
        size=406878486,
        sha256="0d9408b13cd863c4e95a149dd31232f88f2a12aa6cf8964ed74d7d97748c7a07",
        licence="Apache-2.0",
        release=None,
    ),
    WeightFile(
        kind="face_parse",
        path="face-parse-bisent/79999_iter.pth",
        url=f"{_HUGGING_FACE}/ManyOtherFunctions/face-parse-bisent/resolve/main/79999_iter.pth",
        size=53289463,
        sha256="468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
        licence="code MIT, data research-only",
        release=None,
    ),
    WeightFile(
        kind="s3fd",
        path="s3fd/s3fd-619a316812.pth",
        url="https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth",
        size=89843225,
        sha256="619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
        licence="BSD-3",
        release=None,
    ),
    WeightFile(
        kind="taesd_encoder",
        path="taesd/taesd_encoder.safetensors",
        url=f"{_TAESD}/taesd_encoder.safetensors",
        size=None,
        sha256=None,
        licence="MIT",
        release=None,
    ),
    WeightFile(
        kind="taesd_decoder",
        path="taesd/taesd_decoder.safetensors",
        url=f"{_TAESD}/taesd_decoder.safetensors",
        size=None,
        sha256=None,
        licence="MIT",
        release=None,
    ),
)
"""Every file whose source is known."""

ALTERNATIVES: dict[str, tuple[str, ...]] = {
    "unet-1.0": ("musetalk/pytorch_model.bin",),
    "unet-1.5": ("musetalkV15/unet.pth",),
    "vae": (
        "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
        "sd-vae/diffusion_pytorch_model.safetensors",
        "sd-vae-ft-mse/diffusion_pytorch_model.bin",
        "sd-vae/diffusion_pytorch_model.bin",
        "vae-ft-mse-840000-ema-pruned.safetensors",
    ),
    "whisper": ("whisper/tiny.pt", "whisper/model.safetensors", "whisper/pytorch_model.bin"),
    "dwpose": ("dwpose/dw-ll_ucoco_384.pth",),
    "face_parse": ("face-parse-bisent/79999_iter.pth",),
    "s3fd": ("s3fd/s3fd-619a316812.pth",),
    # Users of ComfyUI have the files of TAESD as they are in its folder vae_approx.
    **{
        f"taesd_{half}": (
            f"taesd/taesd_{half}.safetensors",
            f"taesd_{half}.safetensors",
            f"taesd/taesd_{half}.pth",
            f"taesd_{half}.pth",
            "taesd/diffusion_pytorch_model.safetensors",
            "taesd/diffusion_pytorch_model.bin",
        )
        for half in ("encoder", "decoder")
    },
}
"""The files that will do for each network, the preferred one first. The first is what is downloaded."""

CONFIGS: dict[str, str] = {
    "musetalk/pytorch_model.bin": "musetalk/musetalk.json",
    "musetalkV15/unet.pth": "musetalkV15/musetalk.json",
    "sd-vae-ft-mse/diffusion_pytorch_model.safetensors": "sd-vae-ft-mse/config.json",
}
"""The configuration file published beside a weight file."""


REQUIRED = ("unet", "vae", "whisper", "dwpose", "face_parse", "s3fd")
"""The networks of a release, as nothing else is chosen."""


def needed(release: str, kinds: Collection[str] = REQUIRED) -> tuple[WeightFile, ...]:
    """The files to download for one release: the preferred one for each network, with its config.

    Args:
        release: "1.0" or "1.5"; anything else is a KeyError.
        kinds: Which networks.
    """
    weights = {ALTERNATIVES[f"unet-{release}" if kind == "unet" else kind][0] for kind in kinds}
    wanted = weights | {config for weight, config in CONFIGS.items() if weight in weights}
    return tuple(file for file in FILES if file.path in wanted)


def describe(file: WeightFile) -> str:
    """One line for people: where the file comes from, its size where known, and its licence."""
    size = "" if file.size is None else f", {file.size / 1e6:,.1f} MB"
    return f"{file.url}{size}, licence: {file.licence}"
