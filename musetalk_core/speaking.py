"""The whole job on frames, in bounded memory: each batch is encoded, painted and blended before the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import faces, pipeline
from .audio import AudioFeatures
from .blender import Blender, Masks, parse_masks
from .faces import FaceTrack
from .finishing import NO_FINISH, Finish
from .models import Models
from .overlap import ahead, beside
from .pipeline import FaceLatents
from .progress import Frames, Progress, silent
from .recent import Recent
from .timeline import play_order

_LATENT_BYTES = 64 << 20  # 2048 source frames: a clip of up to 80 s is encoded once however often it is shown


@dataclass(frozen=True)
class Face:
    """Everything about a face that does not depend on the voice; its parts may be made when they are asked for.

    Attributes:
        frames: Source frames.
        track: Where the face is in them, and what happens when the sound outlasts them.
        latents: Of the face in each.
        masks: Along which it is blended back.
    """

    frames: Frames
    track: FaceTrack
    latents: FaceLatents
    masks: Masks


def encoded_on_demand(
    models: Models,
    frames: Frames,
    track: FaceTrack,
    seed: int | None = None,
    encoded: Callable[[], None] = lambda: None,
) -> Face:
    """A face whose latents and masks are computed when they are first asked for.

    Args:
        models: The networks.
        frames: Source frames.
        track: Where the face is in them.
        seed: Sample the VAE's posterior, as the reference does; its mode when None.
        encoded: Called after each batch of latents.

    Raises:
        InputError: frames and track do not belong together.
    """
    faces.require_fit(frames, track)
    values = _EncodedOnDemand(models, frames, track, seed, encoded)
    latents = FaceLatents(values, track.present, track.length)
    return Face(frames, track, latents, lambda sources: parse_masks(models, frames, track, sources))


def lip_sync(
    models: Models,
    frames: Frames,
    track: FaceTrack,
    features: AudioFeatures,
    batch_size: int = 8,
    seed: int | None = None,
    progress: Progress = silent,
    order: Sequence[int] | None = None,
    finish: Finish = NO_FINISH,
    fade_in_silence: bool = False,
) -> Iterator[np.ndarray]:
    """`speak` with a face that is encoded as it is shown.

    Source frames are asked for in the order in which they are shown, at most two batches before they are.

    Args:
        models: The networks.
        frames: Source frames.
        track: Where the face is in them, and what happens when the sound outlasts them.
        seed: Sample the VAE's posterior, as the reference does; its mode when None.
        features, batch_size, progress, order, finish, fade_in_silence: As for `speak`.

    Raises:
        InputError: frames, track, features and models do not belong together.
    """
    done, total = 0, features.frames

    def report(now: int, of: int, picture: np.ndarray | None) -> None:
        nonlocal done, total
        done, total = now, of
        progress(now, of, picture)

    def face_of(seen: Frames) -> Face:
        return encoded_on_demand(models, seen, track, seed, lambda: progress(done, total, None))

    yield from _speak(models, frames, face_of, features, batch_size, report, order, finish, fade_in_silence)


def speak(
    models: Models,
    face: Face,
    features: AudioFeatures,
    batch_size: int = 8,
    progress: Progress = silent,
    order: Sequence[int] | None = None,
    finish: Finish = NO_FINISH,
    fade_in_silence: bool = False,
) -> Iterator[np.ndarray]:
    """The source face speaking the sound, frame by frame as they are ready.

    Args:
        models: The networks.
        face: The face.
        features: What is to be said; one output frame each, but no more than the clip has where the
            output ends with it.
        batch_size: Frames a pass.
        progress: Called after each network of a batch, and once a batch with its last finished frame.
        order: Which source frame each output frame shows; as the track's length policy says when None.
        finish: What is done to the painted face before it is blended.
        fade_in_silence: Show the original mouth where the voice is silent; nothing is painted there.

    Yields:
        uint8 RGB (H, W, 3).

    Raises:
        InputError: face, features and models do not belong together.
    """
    yield from _speak(
        models, face.frames, lambda _: face, features, batch_size, progress, order, finish, fade_in_silence
    )


def _speak(
    models: Models,
    frames: Frames,
    face_of: Callable[[Frames], Face],
    features: AudioFeatures,
    batch_size: int,
    progress: Progress,
    order: Sequence[int] | None,
    finish: Finish,
    fade_in_silence: bool,
) -> Iterator[np.ndarray]:
    """`speak` with a face that is made over the frames as far as they are read.

    The networks paint a batch on the caller's thread. Meanwhile the one before is composed in another thread, and
    the frames of the one after are read in a third, which alone asks for them. So at most three batches of source
    frames are held, and two of finished ones.
    """
    done = 0

    def between(*_) -> None:  # a batch takes long on a slow machine: let it be stopped in the middle
        progress(done, len(order), None)

    def finished(batch: Future[list[np.ndarray]]) -> Iterator[np.ndarray]:
        nonlocal done
        for frame in batch.result():
            yield frame
            done += 1
        progress(done, len(order), frame)

    seen = _Seen(len(frames), {0: frames[0]})
    face = face_of(seen)
    blender = Blender(models, seen, face.track, finish=finish, masks=face.masks)
    if order is None:
        order = play_order(features.frames, len(face.track), face.track.length)
    weights = features.speech if fade_in_silence else np.ones(len(order), np.float32)
    batches = [range(start, min(start + batch_size, len(order))) for start in range(0, len(order), batch_size)]
    composing: deque[Future[list[np.ndarray]]] = deque()
    shown = ([order[i] for i in batch] for batch in batches)
    with ahead(_read(frames, shown, seen.now)) as read, beside() as call:
        for batch, pictures in zip(batches, read, strict=True):
            seen.now = pictures
            sources, weight = order[batch.start : batch.stop], weights[batch.start : batch.stop]
            heard = np.where(weight > 0, sources, -1)
            predicted = pipeline.predict(models, face.latents, features, batch_size, batch, between, heard)
            painted = pipeline.decode(models, predicted, batch_size, between)
            masks = blender.masks(sources, weight)
            composing.append(call(list, blender.composite(pictures, sources, painted, masks, weight)))
            if len(composing) > 1:
                yield from finished(composing.popleft())
        while composing:
            yield from finished(composing.popleft())


class _Seen(Sequence):
    """The frames of a clip, of which only those of one batch may be asked for.

    Args:
        count: Frames of the clip.
        now: Those that may be asked for, by index.
    """

    def __init__(self, count: int, now: dict[int, np.ndarray]) -> None:
        self._count, self.now = count, now

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> np.ndarray:
        return self.now[index]


def _read(
    frames: Frames, batches: Iterable[Sequence[int]], known: dict[int, np.ndarray]
) -> Iterator[dict[int, np.ndarray]]:
    """The frames of each batch by index; those of the batch before are not asked for again."""
    for batch in batches:
        now: dict[int, np.ndarray] = {}
        for i in batch:
            if i not in now:
                now[i] = known[i] if i in known else frames[i]
        known = now
        yield now


class _EncodedOnDemand:
    """`FaceLatents.values` of which each frame's are computed when they are asked for."""

    def __init__(
        self, models: Models, frames: Frames, track: FaceTrack, seed: int | None, encoded: Callable[[], None]
    ) -> None:
        self._source = models, frames, track
        self._seed = seed
        self._encoded = encoded
        self._recent: Recent[int, Tensor] = Recent(_LATENT_BYTES, lambda value: value.nbytes)

    def __getitem__(self, indices: np.ndarray) -> Tensor:
        """Float32 (B, 8, 32, 32) of a batch of source frames."""
        values = self._recent.all(indices.tolist(), self._compute)
        return torch.stack([values[i] for i in indices.tolist()])

    def _compute(self, indices: list[int]) -> list[Tensor]:
        _, values = pipeline.encode_batch(*self._source, indices, self._seed)
        self._encoded()
        return [value.clone() for value in values]
