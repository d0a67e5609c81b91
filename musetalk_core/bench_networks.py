"""The memory that each network takes on a card, by batch size and precision, and what a card of 6 GB holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from . import observing
from .bench_clip import FULL_HD, swaying
from .bench_counting import LiveBytes
from .cache import ByteBudget, ModelCache, size_in_bytes
from .latents import FACE_SIZE, LATENT_SIZE
from .models import Models
from .networks import bisenet, rtmpose, whisper
from .progress import Progress

BATCHES = (1, 2, 4, 8, 16)
CARD_BYTES = 6 << 30
TAKEN_BYTES = 600 << 20  # of a card by the driver, torch's own libraries and a desktop
_HALF = "fp16/bf16"
_PRECISIONS = {"fp32": torch.float32, _HALF: torch.float16}
_IN_PRECISION = ("unet", "vae", "taesd_encoder", "taesd_decoder")  # the others compute in float32 whatever is chosen
_SHAPES = torch.device("meta")  # tensors that have a shape and no content

Made = Callable[..., Tensor]
"""Makes an input of a shape."""
Pass = Callable[[nn.Module, Made, int], object]
"""Takes a network over a batch of made-up input."""


@torch.inference_mode()
def measure(models: Models, progress: Progress) -> dict[str, Any]:
    """Count weights and activations by running the networks on shapes alone, which takes the way of a card.

    Args:
        models: The networks.
        progress: Called once a stage.

    Returns:
        JSON-ready: for each stage its network, and by precision the bytes of its weights and, by batch size, of what
        it holds at most while it computes, without what libraries take within an operation. Whisper and S3FD take
        the same whatever the batch. For a card of 6 GB and each precision and batch size, the bytes of all weights
        and the largest activations, and of the stage that is the largest with its own weights alone, and the
        largest batch that fits either way (0 where none does).
    """
    models = replace(models, dtype=torch.float32, cache=ModelCache(ByteBudget(_SHAPES)))
    stages: dict[str, dict[str, Any]] = {}
    passes = _passes(models)
    for i, (name, (kind, work)) in enumerate(passes.items()):
        network = models.cache.network(models.sources[kind], torch.float32)
        weights, activations = {}, {}
        for precision, dtype in _PRECISIONS.items():
            if kind in _IN_PRECISION:
                network = network.to(dtype)
            weights[precision] = size_in_bytes(network)
            activations[precision] = {batch: _held(network, work, batch) for batch in BATCHES}
        stages[name] = {"network": kind, "weights_bytes": weights, "activations_bytes": activations}
        progress(i + 1, len(passes), None)
    return {"stages": stages, "card": {"bytes": CARD_BYTES, "taken_bytes": TAKEN_BYTES, **_card(stages)}}


def _held(network: nn.Module, work: Pass, batch: int) -> int:
    dtype = next(network.parameters()).dtype
    with LiveBytes() as live:
        work(network, lambda *shape: torch.zeros(shape, dtype=dtype, device=_SHAPES), batch)
    return live.peak


def _card(stages: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is needed of a card, by precision; see `measure`."""
    room = CARD_BYTES - TAKEN_BYTES
    out = {}
    for precision in ("fp32", _HALF):
        weights = {row["network"]: row["weights_bytes"][precision] for row in stages.values()}
        rows = [(weights[row["network"]], row["activations_bytes"][precision]) for row in stages.values()]
        together = {n: sum(weights.values()) + max(held[n] for _, held in rows) for n in BATCHES}
        alone = {n: max(own + held[n] for own, held in rows) for n in BATCHES}
        out[precision] = {
            "all_resident_bytes": together,
            "one_resident_bytes": alone,
            "largest_batch_all_resident": max((n for n in BATCHES if together[n] <= room), default=0),
            "largest_batch_one_resident": max((n for n in BATCHES if alone[n] <= room), default=0),
        }
    return out


def _passes(models: Models) -> dict[str, tuple[str, Pass]]:
    """Name of each stage to its network, and its pass."""
    width, height = FULL_HD
    reduced = observing.reduced_frame(next(swaying(FULL_HD, 1)))
    pose = (3, rtmpose.INPUT_HEIGHT, rtmpose.INPUT_WIDTH)
    latent, face = (LATENT_SIZE, LATENT_SIZE), (3, FACE_SIZE, FACE_SIZE)
    encode = ("vae", lambda net, made, n: net.encode(made(2 * n, *face)).latent_dist.mode())
    decode = ("vae", lambda net, made, n: net.decode(made(n, 4, *latent)).sample)
    if "taesd_encoder" in models.sources:
        encode = ("taesd_encoder", lambda net, made, n: net(made(2 * n, *face)))
    if "taesd_decoder" in models.sources:
        decode = ("taesd_decoder", lambda net, made, n: net(made(n, 4, *latent)))
    return {
        "whisper": ("whisper", lambda net, made, n: whisper.hidden_states(net, made(1, 80, 3000), True)),
        "dwpose": ("dwpose", lambda net, made, n: net(made(2 * n, *pose))),
        "s3fd reduced": ("s3fd", lambda net, made, n: net(made(1, 3, *reduced.shape[:2]))),
        "s3fd 1080p": ("s3fd", lambda net, made, n: net(made(1, 3, height, width))),
        "vae encode": encode,
        "unet": (
            "unet",
            lambda net, made, n: net(made(n, 8, *latent), made(1).long(), encoder_hidden_states=made(n, 50, 384)),
        ),
        "vae decode": decode,
        "face parse": ("face_parse", lambda net, made, n: net(made(n, 3, bisenet.SIZE, bisenet.SIZE)).argmax(1)),
    }


def table(report: dict[str, Any]) -> str:
    """The report of `measure` for people."""
    lines = [
        "megabytes of weights, and of what a stage holds at most while it computes a batch of",
        f"{'':15}{'':10}{'weights':>9}" + "".join(f"{batch:>8}" for batch in BATCHES),
    ]
    for name, row in report["stages"].items():
        for precision, weights in row["weights_bytes"].items():
            if precision == "fp32" or row["network"] in _IN_PRECISION:
                held = row["activations_bytes"][precision]
                lines.append(
                    f"{name:15}{precision:10}{weights / 1e6:9.0f}"
                    + "".join(f"{held[batch] / 1e6:8.0f}" for batch in BATCHES)
                )
    card = report["card"]
    lines += [
        "",
        f"a card of {card['bytes'] >> 30} GB, of which driver and desktop take {card['taken_bytes'] >> 20} MB: "
        "gigabytes needed by batch size, and the largest batch that fits",
        f"{'':15}{'':26}" + "".join(f"{batch:>8}" for batch in BATCHES) + f"{'fits':>8}",
    ]
    for precision in ("fp32", _HALF):
        for how, key in (("all networks resident", "all_resident"), ("one network at a time", "one_resident")):
            needed = card[precision][f"{key}_bytes"]
            lines.append(
                f"{precision:15}{how:26}"
                + "".join(f"{needed[batch] / 1e9:8.2f}" for batch in BATCHES)
                + f"{card[precision][f'largest_batch_{key}'] or 'none':>8}"
            )
    return "\n".join(lines)
