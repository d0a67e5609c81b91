"""The second instrument: every optimisation against the plain way, in one run, with the difference of the results."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import chain
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch

from . import bench_compare_clip, blending, keypoints, latents, masks
from .bench_clip import FULL_HD, swaying
from .bench_plain import plain_blend, plain_parse
from .bench_plain_clip import PlainNetworks, TwoPasses, plain_decode, plain_encode, plain_inpaint
from .bench_rows import Row, largest, timed
from .bench_timing import machine, machine_line
from .blender import Blender, ParsedFace
from .faces import FaceTrack, Observations
from .models import Models
from .progress import Progress

_PAIRS = 3
_BLENDED = 8  # frames
_FACE_BOX = (760, 300, 1160, 760)  # of a face in FULL_HD
_NETWORK_ROWS = 6  # of `_networks` and `_blend`


@torch.inference_mode()
def measure(
    models: Models, size: tuple[int, int], batch_size: int, frames: int, progress: Progress
) -> dict[str, Any]:
    """Time each stage and whole clips, plain and ours.

    Args:
        models: The networks, usually synthetic ones at full size.
        size: Width and height in pixels of the frames of whole clips.
        batch_size: Frames a pass.
        frames: How long the whole clips are.
        progress: Called once a row.

    Returns:
        JSON-ready: the machine, how many pairs were timed, and by its name what `bench_rows.timed` says of each row.
    """
    device = models.cache.residency.device
    plain = PlainNetworks(models)
    rows: dict[str, dict[str, Any]] = {}
    for row in chain(
        _networks(models, plain, batch_size),
        [_blend(models)],
        bench_compare_clip.rows(models, plain, size, batch_size, frames),
    ):
        rows[row.name] = timed(row, device, _PAIRS)
        progress(len(rows), _NETWORK_ROWS + bench_compare_clip.ROWS, None)
    return {
        **machine(models),
        "frame": f"{size[0]} x {size[1]}",
        "batch_size": batch_size,
        "clip_frames": frames,
        "pairs": _PAIRS,
        "rows": rows,
    }


def _networks(models: Models, plain: PlainNetworks, batch_size: int) -> Iterator[Row]:
    """A row for each network, on a batch of faces."""
    frames = list(swaying((latents.FACE_SIZE, latents.FACE_SIZE), batch_size))
    crops = np.stack(frames)
    encoded = latents.encode_crops(models.vae_encoder(2 * batch_size), crops)
    predicted = encoded[:, 4:]  # latents of faces, as the UNet's are
    tokens = torch.randn(batch_size, 50, 384, generator=torch.Generator().manual_seed(0))

    def row(name: str, unit: str, plain_way, ours) -> Row:
        return Row(name, plain_way, ours, batch_size, batch_size, lambda: largest([plain_way()], [ours()]), unit)

    yield row(
        "VAE decode",
        "levels",
        lambda: plain_decode(plain["vae"], predicted),
        lambda: latents.decode_faces(models.vae_decoder(batch_size), predicted),
    )
    yield row(
        "VAE encode",
        "of latents",
        lambda: plain_encode(plain["vae"], crops),
        lambda: latents.encode_crops(models.vae_encoder(2 * batch_size), crops),
    )
    yield row(
        "UNet",
        "of latents",
        lambda: plain_inpaint(plain["unet"], encoded, tokens),
        lambda: latents.inpaint(models.unet(batch_size), encoded, tokens).float().cpu(),
    )
    yield row(
        "face parse",
        "classes",
        lambda: plain_parse(plain["face_parse"], frames),
        lambda: masks.parse_faces(models.face_parse(batch_size), frames),
    )
    two_passes = TwoPasses(plain["dwpose"])
    yield row(
        "DWPose",
        "px",
        lambda: np.concatenate([keypoints.estimate_keypoints(two_passes, [frame])[0] for frame in frames]),
        lambda: keypoints.estimate_keypoints(models.dwpose(batch_size), frames)[0],
    )


def _blend(models: Models) -> Row:
    """Everything after parsing, for a face that moves."""
    release = models.release
    unmarked = SimpleNamespace(release=release, synthetic=False, cache=models.cache)
    frames = list(swaying(FULL_HD, _BLENDED))
    faces = list(
        np.random.default_rng(0).integers(0, 256, (_BLENDED, latents.FACE_SIZE, latents.FACE_SIZE, 3), np.uint8)
    )
    boxes = np.array([_FACE_BOX]) + np.arange(_BLENDED)[:, None]
    squares = [blending.blending_square(box, release.crop_expand) for box in boxes]
    labels = _face_labels()

    def plain() -> list[np.ndarray]:
        return [plain_blend(*each, labels, release) for each in zip(frames, faces, boxes, strict=True)]

    def found(sources: list[int]):
        return [(squares[i], ParsedFace(frames[i], labels, boxes[i], squares[i], release).mask()) for i in sources]

    def ours() -> list[np.ndarray]:
        # A new blender each time remembers no mask.
        blender = Blender(unmarked, frames, _track(boxes), masks=found)
        return list(blender.blend(range(_BLENDED), faces))

    return Row(
        "blend, 1080p",
        plain,
        ours,
        _BLENDED,
        _BLENDED,
        lambda: largest(plain(), ours()),
        "levels",
        f"{_BLENDED} frames in which the face moves, so that each has a mask of its own.",
    )


def _face_labels() -> np.ndarray:
    """uint8 (512, 512): skin with a mouth in it, as a parsed face is."""
    labels = np.zeros((masks.SIZE, masks.SIZE), np.uint8)
    cv2.ellipse(labels, (256, 250), (130, 180), 0, 0, 360, masks.SKIN, -1)
    cv2.ellipse(labels, (256, 340), (50, 20), 0, 0, 360, masks.MOUTH, -1)
    return labels


def _track(boxes: np.ndarray) -> FaceTrack:
    count = len(boxes)
    points, scores = np.zeros((count, 68, 2), np.int64), np.ones((count, 68), np.float32)
    seen = Observations(FULL_HD[1], FULL_HD[0], points, scores, boxes, np.zeros(count, bool))
    return FaceTrack(seen, 0, 0, boxes, np.zeros(count), (0, 0))


def table(report: dict[str, Any]) -> str:
    """The report of `measure` for people."""
    lines = [
        f"{machine_line(report)}; batch {report['batch_size']}, whole clips of {report['clip_frames']} frames of "
        f"{report['frame']}; medians of {report['pairs']} pairs timed in turn",
        f"{'':32}{'plain s/frame':>14}{'ours s/frame':>14}{'ratio':>8}  {'largest difference'}",
    ]
    notes: list[str] = []
    for name, row in report["rows"].items():
        if row["note"] and row["note"] not in notes:
            notes.append(row["note"])
        mark = f" [{notes.index(row['note']) + 1}]" if row["note"] else ""
        difference = row["difference"]
        told = "not the same" if difference is None else f"{difference:.2g} {row['difference_unit']}"
        lines.append(
            f"{name + mark:32}{row['plain_seconds_per_frame']:14.4f}{row['ours_seconds_per_frame']:14.4f}"
            f"{row['ratio']:8.3f}  {told}"
        )
    for number, note in enumerate(notes, 1):
        lines += textwrap.wrap(f"[{number}] {note}", 100, subsequent_indent="    ")
    return "\n".join(lines)
