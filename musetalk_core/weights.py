"""Where the weights are: finding the published files in the folders where users keep them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from . import manifest
from .cache import KINDS, ModelCache, Source
from .errors import WeightsMissingError
from .models import Models, choose_dtype
from .networks.vae import HostCodec
from .releases import Release
from .synthetic import Size

FACE_KINDS = ("dwpose", "s3fd")  # not needed where a face track is at hand

VaeChoice = Literal["full", "taesd"]
"""What encodes or decodes: the full VAE, or TAESD, which is faster and coarser."""


def default_roots() -> list[Path]:
    """Folders to look in outside ComfyUI: the host's, if this pack lies in its ``custom_nodes``,
    else ``models/musetalk`` beside the package. The first is where downloads go."""
    pack = Path(__file__).resolve().parent.parent
    if pack.parent.name == "custom_nodes":
        models = pack.parent.parent / "models"
        return [models / "musetalk", models / "diffusers" / "TMElyralab" / "MuseTalk", models / "vae_approx"]
    return [pack / "models" / "musetalk"]


def find(kind: str, release: Release, roots: Sequence[Path]) -> Path | None:
    """The file to load a network from, or None where there is none.

    Args:
        kind: One of `cache.KINDS` or `cache.TAESD_KINDS`.
        release: Decides which UNet.
        roots: Folders laid out as published, first match wins.
    """
    for relative in manifest.ALTERNATIVES[f"unet-{release.name}" if kind == "unet" else kind]:
        for root in roots:
            if (root / relative).is_file():
                return root / relative
    return None


def missing(release: Release, roots: Sequence[Path], kinds: Collection[str] = KINDS) -> list[manifest.WeightFile]:
    """The files to fetch so that every network of ``kinds`` can be loaded."""
    absent = [kind for kind in kinds if find(kind, release, roots) is None]
    return list(manifest.needed(release.name, absent))


def chosen_kinds(kinds: Collection[str], encode: VaeChoice = "full", decode: VaeChoice = "full") -> list[str]:
    """The networks that will be used, after the choice of what encodes and what decodes.

    Args:
        kinds: Those that may be used: of `cache.KINDS`, where "vae" is both halves of it, and "vae_encoder" and
            "vae_decoder" for one half alone.
        encode: What encodes.
        decode: What decodes.

    Returns:
        Of `cache.KINDS` and `cache.TAESD_KINDS`, each once.
    """
    encoder = "taesd_encoder" if encode == "taesd" else "vae"
    decoder = "taesd_decoder" if decode == "taesd" else "vae"
    halves = {"vae": (encoder, decoder), "vae_encoder": (encoder,), "vae_decoder": (decoder,)}
    return list(dict.fromkeys(chosen for kind in kinds for chosen in halves.get(kind, (kind,))))


def open_models(
    release: Release,
    roots: Sequence[Path],
    cache: ModelCache,
    precision: str = "auto",
    synthetic: Size | None = None,
    host_vae: HostCodec | None = None,
    kinds: Collection[str] = KINDS,
) -> Models:
    """Find all weights and make the handle for them; nothing is loaded yet.

    Args:
        release: Which MuseTalk.
        roots: Folders laid out as published; missing files belong into the first.
        cache: Where networks are loaded to.
        precision: "auto", "fp32", "fp16" or "bf16", of UNet and VAE.
        synthetic: Use stand-in weights of this size instead of files.
        host_vae: Use this VAE instead of our own.
        kinds: The networks that will be used, see `chosen_kinds`.

    Raises:
        WeightsMissingError: naming every missing file, where it comes from and where it belongs.
        InputError: there is no such precision.
    """
    kinds = [kind for kind in kinds if not (kind == "vae" and host_vae)]
    dtype = choose_dtype(precision, cache.residency.device)
    if synthetic:
        sources = {kind: Source(kind, synthetic=synthetic) for kind in kinds}
    else:
        absent = missing(release, roots, kinds)
        if absent:
            raise missing_error(absent, roots[0])
        sources = {kind: Source(kind, path=find(kind, release, roots)) for kind in kinds}
    return Models(release, sources, dtype, cache, host_vae)


def missing_error(files: Sequence[manifest.WeightFile], root: Path) -> WeightsMissingError:
    """The error that tells a user how to get the files by hand."""
    listed = "".join(f"\n  {root / file.path}\n    from {file.url}" for file in files)
    count = "One weight file is" if len(files) == 1 else f"{len(files)} weight files are"
    chosen = {"taesd_encoder": " --vae-encode taesd", "taesd_decoder": " --vae-decode taesd"}
    options = "".join(chosen.get(file.kind, "") for file in files)
    return WeightsMissingError(
        f"{count} missing.",
        f"Let MuseTalk fetch what is missing (the loader node's fetch_missing, or "
        f"python -m musetalk_core download{options}), or put each file into exactly this place:{listed}",
    )
