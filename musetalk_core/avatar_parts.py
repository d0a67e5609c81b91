"""What of an avatar the VAE and the face parser made: latents and masks, on disk and read from there piece by piece.

Both are safetensors, mapped into memory, with a row for each frame that has a face and nothing for the others.
"""

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from . import blending, pipeline
from .blender import Mask, parse_masks
from .errors import PREPARE_AGAIN, MediaError
from .faces import FaceTrack
from .latents import LATENT_SIZE
from .models import Models
from .progress import Frames, Progress
from .releases import MaskMode

_LATENT = (8, LATENT_SIZE, LATENT_SIZE)


def first_shown(shown: Sequence[int], present: np.ndarray, batch_size: int) -> Iterator[list[int]]:
    """The batches in which a face that is encoded as it is shown comes to the networks.

    What a network makes of a picture depends a little on the others of its batch; so the whole job and
    an avatar give the same.

    Args:
        shown: Which source frame each frame shows.
        present: bool (source frames,): which have a face.
        batch_size: Frames shown a pass.

    Yields:
        The source frames of a batch that have a face and did not come before; at least one.
    """
    known = set()
    for start in range(0, len(shown), batch_size):
        batch = dict.fromkeys(shown[start : start + batch_size])
        if new := [i for i in batch if present[i] and i not in known]:
            known.update(new)
            yield new


def encode(
    models: Models, frames: Frames, track: FaceTrack, batches: list[list[int]], seed: int | None, progress: Progress
) -> dict[str, Tensor]:
    """The latents of all frames with a face, as they are stored.

    Args:
        models: The networks.
        frames: Source frames, all of which the track covers.
        track: Where the face is in them.
        batches: From `first_shown`.
        seed: As for `pipeline.encode_batch`.
        progress: Called once a batch, with a face.
    """
    rows, total = _rows(track), int(track.present.sum())
    values, done = torch.zeros(total, *_LATENT), 0
    for batch in batches:
        crops, values[rows[batch]] = pipeline.encode_batch(models, frames, track, batch, seed)
        done += len(batch)
        progress(done, total, crops[0])
    return {"latents": values}


def parse(
    models: Models,
    frames: Frames,
    track: FaceTrack,
    batches: list[list[int]],
    mask_mode: MaskMode,
    cheek_width: int,
    progress: Progress,
) -> dict[str, Tensor]:
    """The masks of all frames with a face, as they are stored: each compressed by zlib.

    Args:
        models, frames, track, batches, progress: As for `encode`.
        mask_mode, cheek_width: As for `parse_masks`.
    """
    rows, total = _rows(track), int(track.present.sum())
    packed, done = [b""] * total, 0
    for batch in batches:
        masks = parse_masks(models, frames, track, batch, mask_mode, cheek_width)
        for i, (_, mask) in zip(batch, masks, strict=True):
            packed[rows[i]] = zlib.compress(np.ascontiguousarray(mask), 1)
        done += len(batch)
        progress(done, total, frames[batch[-1]])
    offsets = np.cumsum([0, *map(len, packed)], dtype=np.int64)
    data = np.frombuffer(b"".join(packed), np.uint8).copy()
    return {"data": torch.from_numpy(data), "offsets": torch.from_numpy(offsets)}


def save(tensors: dict[str, Tensor], path: Path) -> None:
    """Write what `encode` or `parse` made.

    Raises:
        MediaError: the file cannot be written.
    """
    try:
        path.touch()
        mode = path.stat().st_mode  # as of other files: safetensors' own are the owner's alone
        save_file(tensors, path)
        path.chmod(stat.S_IMODE(mode))
    except (OSError, SafetensorError) as error:
        raise MediaError(
            f"{path} cannot be written ({error}).", "Choose a folder that can be written to and has room."
        ) from error


class StoredLatents:
    """`FaceLatents.values` in a file.

    Args:
        path: The file.
        track: The track they belong to.

    Raises:
        MediaError: the file is damaged or another's.
    """

    def __init__(self, path: Path, track: FaceTrack) -> None:
        self._rows = _rows(track)
        self._values = _Tensors(path).get("latents", "F32", [int(track.present.sum()), *_LATENT])

    def __getitem__(self, indices: np.ndarray) -> Tensor:
        """float32 (B, 8, 32, 32) of source frames that have a face."""
        return torch.stack([self._values[int(row)] for row in self._rows[indices]])


class StoredMasks:
    """`blender.Masks` in a file.

    Args:
        path: The file.
        track: The track they belong to.
        expand: Of the release, see `blending.blending_square`.

    Raises:
        MediaError: the file is damaged or another's; so is a mask when it is asked for.
    """

    def __init__(self, path: Path, track: FaceTrack, expand: float) -> None:
        self._path, self._track, self._expand, self._rows = path, track, expand, _rows(track)
        file = _Tensors(path)
        self._offsets = file.get("offsets", "I64", [int(track.present.sum()) + 1])[:].numpy()
        self._data = file.get("data", "U8", [int(self._offsets[-1])])
        if self._offsets[0] != 0 or (np.diff(self._offsets) < 0).any():
            raise _damaged(path)

    def __call__(self, sources: list[int]) -> list[Mask]:
        return [self._mask(i) for i in sources]

    def _mask(self, source: int) -> Mask:
        square = blending.blending_square(self._track.boxes[source], self._expand)
        side = square[2] - square[0]
        start, stop = self._offsets[self._rows[source] :][:2].tolist()
        unpack = zlib.decompressobj()
        try:
            raw = unpack.decompress(self._data[start:stop].numpy(), side * side + 1)  # never more than fit
        except zlib.error as error:
            raise _damaged(self._path) from error
        if len(raw) != side * side or not unpack.eof:
            raise _damaged(self._path)
        return square, np.frombuffer(raw, np.uint8).reshape(side, side)


class _Tensors:
    """A file of tensors, of which each is read piece by piece."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = safe_open(path, framework="pt")
        except (OSError, SafetensorError) as error:
            raise _damaged(path) from error

    def get(self, name: str, dtype: str, shape: list[int]):
        try:
            part = self._file.get_slice(name)
        except SafetensorError as error:
            raise _damaged(self._path) from error
        if (part.get_dtype(), part.get_shape()) != (dtype, shape):
            raise _damaged(self._path)
        return part


def _rows(track: FaceTrack) -> np.ndarray:
    """int64 (frames,): in which row of a file a frame is that has a face."""
    return np.cumsum(track.present) - 1


def _damaged(path: Path) -> MediaError:
    return MediaError(f"{path} is damaged, cut short, or another avatar's.", PREPARE_AGAIN)
