"""The stages on whole clips: each batched, reporting progress, skipping what nobody will see.

Frames come as any sequence of uint8 RGB (H, W, 3) arrays, so that a host can convert lazily.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from . import audio, faces, latents
from .audio import AudioFeatures
from .blender import Blender
from .errors import InputError
from .faces import FaceTrack
from .models import Models
from .networks.vae import DOWNSCALE
from .progress import Frames, Progress, silent
from .timeline import Length, output_frames, source_frame


@dataclass(frozen=True)
class FaceLatents:
    """UNet inputs for each source frame.

    Attributes:
        values: float32 (frames, 8, 32, 32); zeros where the frame has no face.
        present: bool (frames,).
        length: What happens when the sound outlasts them.
    """

    values: Tensor
    present: np.ndarray
    length: Length = "pingpong"


@torch.inference_mode()
def encode_audio(
    models: Models, waveform: np.ndarray, sample_rate: int, fps: Fraction, progress: Progress = silent
) -> AudioFeatures:
    """`audio.encode` with the models' Whisper and release."""
    return audio.encode(models.whisper(), waveform, sample_rate, fps, models.release, progress)


@torch.inference_mode()
def encode_faces(
    models: Models,
    frames: Frames,
    track: FaceTrack,
    batch_size: int = 8,
    seed: int | None = None,
    progress: Progress = silent,
) -> FaceLatents:
    """VAE latents of the face in each frame, mouth masked and as it is.

    Args:
        models: The networks.
        frames: The frames the track was made from.
        track: Where the faces are.
        batch_size: Faces a pass (each is encoded twice).
        seed: Sample the VAE's posterior, as the reference does; its mode when None.
        progress: Called once a batch.

    Raises:
        InputError: frames and track do not belong together.
    """
    faces.require_fit(frames, track)
    generator = None if seed is None else torch.Generator("cpu").manual_seed(seed)
    values = torch.zeros(len(track), 8, latents.LATENT_SIZE, latents.LATENT_SIZE)
    present = np.flatnonzero(track.present)
    for chunk in _chunks(present, batch_size):
        crops = np.stack([latents.crop_face(frames[i], track.boxes[i]) for i in chunk])
        values[chunk] = latents.encode_crops(models.vae(2 * len(chunk)), crops, generator)
        progress(int(np.searchsorted(present, chunk[-1])) + 1, len(present), crops[0])
    return FaceLatents(values, track.present, track.length)


@torch.inference_mode()
def predict(
    models: Models,
    encoded: FaceLatents,
    features: AudioFeatures,
    batch_size: int = 8,
    frames: range | None = None,
    progress: Progress = silent,
) -> Tensor:
    """The UNet over output frames.

    Args:
        models: The networks.
        encoded: Latents of the source frames; there may be more than the sound needs.
        features: Audio features; they say how many frames to make.
        batch_size: Frames a pass.
        frames: Which output frames; all when None.
        progress: Called once a batch.

    Returns:
        Predicted latents float32 (frames, 4, 32, 32) on the CPU, scaled; all zeros where the source
        frame has no face.

    Raises:
        InputError: the audio features are another release's.
    """
    if features.release != models.release.name:
        raise InputError(
            f"The audio features are of MuseTalk {features.release}, the UNet of {models.release.name}.",
            "Connect the same models to Whisper Encode and Inpaint.",
        )
    clip = len(encoded.present)
    if frames is None:
        frames = range(output_frames(features.frames, clip, encoded.length))
    source = np.array([source_frame(i, clip, encoded.length) for i in frames])
    out = torch.zeros(len(frames), 4, latents.LATENT_SIZE, latents.LATENT_SIZE)
    wanted = np.flatnonzero(encoded.present[source])
    for done, chunk in _counted(_chunks(wanted, batch_size)):
        tokens = features.tokens([frames[i] for i in chunk])
        out[chunk] = latents.inpaint(models.unet(len(chunk)), encoded.values[source[chunk]], tokens).float().cpu()
        progress(done, len(wanted), None)
    return out


@torch.inference_mode()
def decode(models: Models, predicted: Tensor, batch_size: int = 8, progress: Progress = silent) -> np.ndarray:
    """Predicted latents to faces.

    Args:
        models: The networks.
        predicted: (frames, 4, h, w), scaled; frames of zeros have no face and are not decoded.
        batch_size: Faces a pass.
        progress: Called once a batch, with a face.

    Returns:
        uint8 RGB (frames, 8 h, 8 w, 3), black where there is no face.
    """
    out = np.zeros((len(predicted), *(DOWNSCALE * side for side in predicted.shape[2:]), 3), np.uint8)
    wanted = predicted.flatten(1).any(dim=1).nonzero()[:, 0].cpu().numpy()
    for done, chunk in _counted(_chunks(wanted, batch_size)):
        out[chunk] = latents.decode_faces(models.vae(len(chunk)), predicted[chunk])
        progress(done, len(wanted), out[chunk[-1]])
    return out


def lip_sync(
    models: Models,
    frames: Frames,
    track: FaceTrack,
    features: AudioFeatures,
    batch_size: int = 8,
    seed: int | None = None,
    progress: Progress = silent,
) -> Iterator[np.ndarray]:
    """The whole job: the source face speaking the sound, frame by frame as they are ready.

    Args:
        models: The networks.
        frames: Source frames.
        track: Where the face is in them.
        features: What is to be said; one output frame each.
        batch_size: Frames a pass.
        seed: Sample the VAE's posterior, as the reference does; its mode when None.
        progress: Called once a batch with the last finished frame.

    Yields:
        uint8 RGB (H, W, 3), as many as the features have frames.
    """
    encoded = encode_faces(
        models, frames, track, batch_size, seed, lambda _, __, crop: progress(0, features.frames, crop)
    )
    blender = Blender(models, frames, track)
    for start in range(0, features.frames, batch_size):
        batch = range(start, min(start + batch_size, features.frames))
        painted = decode(models, predict(models, encoded, features, batch_size, batch), batch_size)
        for frame in blender.blend(start, painted):
            yield frame
        progress(batch.stop, features.frames, frame)


def _chunks(indices: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def _counted(chunks: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        yield done, chunk
