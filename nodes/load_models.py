from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core import weights
from ..musetalk_core.cache import KINDS, TAESD_KINDS
from ..musetalk_core.errors import pick
from ..musetalk_core.models import PRECISIONS
from ..musetalk_core.releases import RELEASES, get_release
from . import host
from .sockets import CATEGORY, Models

_VAES = {"full": "full", "TAESD (faster, coarser)": "taesd"}
_SIZES = {"models folder": None, "synthetic (installation check)": "small"}


class LoadModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkLoadModels",
            display_name="MuseTalk Load Models",
            category=CATEGORY,
            description="Finds the weights of one MuseTalk release. Each network is loaded when it is first "
            "used, once for all nodes and graphs.",
            inputs=[
                io.Combo.Input(
                    "release",
                    options=list(RELEASES),
                    default="1.5",
                    tooltip="1.5 gives clearer teeth and a steadier picture. In 1.0 bbox_shift has more effect.",
                ),
                io.Combo.Input(
                    "precision",
                    options=["auto", *PRECISIONS],
                    default="auto",
                    tooltip="Of UNet and VAE. auto: fp16 where ComfyUI finds the card good at it, fp32 elsewhere.",
                ),
                io.Boolean.Input(
                    "fetch_missing",
                    default=False,
                    tooltip="Download weight files that are not there yet (about 4.4 GB for one release) into "
                    "models/musetalk and check them.",
                ),
                io.Combo.Input(
                    "weights",
                    options=list(_SIZES),
                    default="models folder",
                    tooltip="Synthetic weights only check that everything runs: the mouth will be noise, "
                    "and every frame says so.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Use this VAE (sd-vae-ft-mse, or another of Stable Diffusion 1.x) instead of "
                    "MuseTalk's own copy.",
                ),
                io.Combo.Input(
                    "vae_encode",
                    options=list(_VAES),
                    default="full",
                    optional=True,
                    tooltip="What encodes the faces. TAESD takes a fraction of the time and memory, but MuseTalk was "
                    "trained on the full VAE's latents, to which TAESD's are only close.",
                ),
                io.Combo.Input(
                    "vae_decode",
                    options=list(_VAES),
                    default="full",
                    optional=True,
                    tooltip="What decodes the painted faces. TAESD takes a fraction of the time and memory, and is "
                    "coarser in fine detail, such as teeth and skin.",
                ),
            ],
            outputs=[
                Models.Output(display_name="models", tooltip="Goes to the models input of every MuseTalk node.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> list[tuple]:
        # A replaced weight file must make the graph run again.
        return [stamp for release in RELEASES for stamp in _stamps(release)]

    @classmethod
    def execute(
        cls,
        release: str,
        precision: str,
        fetch_missing: bool,
        weights: str,
        vae=None,
        vae_encode: str = "full",
        vae_decode: str = "full",
    ) -> io.NodeOutput:
        synthetic = pick(_SIZES, weights, "choice of weights")
        halves = [pick(_VAES, choice, "choice of VAE") for choice in (vae_encode, vae_decode)]
        return io.NodeOutput(_open(release, precision, fetch_missing, synthetic, vae, halves))


def _open(release: str, precision: str, fetch_missing: bool, synthetic: str | None, vae, halves: list[str]):
    chosen, roots = get_release(release), host.weight_roots()
    kinds = [kind for kind in weights.chosen_kinds(KINDS, *halves) if kind != "vae" or vae is None]
    if fetch_missing and not synthetic:
        from ..musetalk_core import download

        download.fetch_all(weights.missing(chosen, roots, kinds), roots[0], host.progress())
    host_vae = host.HostVae(vae) if vae is not None else None
    dtype = host.precision(precision)
    return weights.open_models(chosen, roots, host.model_cache(), dtype, synthetic, host_vae, kinds)


def _stamps(release: str) -> list[tuple]:
    found = [weights.find(kind, get_release(release), host.weight_roots()) for kind in (*KINDS, *TAESD_KINDS)]
    return [(str(path), path.stat().st_mtime_ns) for path in found if path]
