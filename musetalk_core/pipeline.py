"""The stages on whole clips: each batched, reporting progress, skipping what nobody will see.

Frames come as any sequence of uint8 RGB (H, W, 3) arrays, so that a host can convert lazily.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from . import audio, faces, latents
from .audio import AudioFeatures
from .errors import InputError
from .faces import FaceTrack
from .models import Models
from .networks.vae import DOWNSCALE
from .passes import in_passes
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
    return audio.encode(models.whisper, waveform, sample_rate, fps, models.release, progress)


def listen(models: Models, waveform: np.ndarray, sample_rate: int, fps: Fraction) -> AudioFeatures:
    """`audio.listen` with the models' Whisper and release."""
    return audio.listen(models.whisper, waveform, sample_rate, fps, models.release)


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
    values = torch.zeros(len(track), 8, latents.LATENT_SIZE, latents.LATENT_SIZE)
    present = np.flatnonzero(track.present)
    for chunk in _chunks(present, batch_size):
        crops, values[chunk] = encode_batch(models, frames, track, chunk, seed)
        progress(int(np.searchsorted(present, chunk[-1])) + 1, len(present), crops[0])
    return FaceLatents(values, track.present, track.length)


@torch.inference_mode()
def encode_batch(
    models: Models, frames: Frames, track: FaceTrack, indices: Sequence[int], seed: int | None
) -> tuple[np.ndarray, Tensor]:
    """One pass of `encode_faces`.

    Args:
        models: The networks.
        frames: The frames the track was made from.
        track: Where the faces are.
        indices: Which frames; each has a face.
        seed: As in `encode_faces`. Each frame has noise of its own, the same whenever it is encoded.

    Returns:
        The faces uint8 RGB (B, 256, 256, 3), and their latents float32 (B, 8, 32, 32).
    """
    crops = np.stack([latents.crop_face(frames[i], track.boxes[i], track.angles[i]) for i in indices])
    seeds = None if seed is None else [(seed + int(i)) % 2**64 for i in indices]

    def encode(part: np.ndarray) -> Tensor:
        chosen = None if seeds is None else [seeds[i] for i in part]
        return latents.encode_crops(models.vae_encoder(2 * len(part)), crops[part], chosen)

    passes = in_passes(models, "encoding faces", np.arange(len(crops)), len(crops), encode)
    return crops, torch.cat([values for _, values in passes])


@torch.inference_mode()
def predict(
    models: Models,
    encoded: FaceLatents,
    features: AudioFeatures,
    batch_size: int = 8,
    frames: range | None = None,
    progress: Progress = silent,
    sources: Sequence[int] | None = None,
) -> Tensor:
    """The UNet over output frames.

    Args:
        models: The networks.
        encoded: Latents of the source frames; there may be more than the sound needs.
        features: Audio features; they say how many frames to make.
        batch_size: Frames a pass.
        frames: Which output frames; all that the clip's length policy makes when None.
        progress: Called once a batch.
        sources: Which source frame each of them shows, -1 for none; as the length policy says when None.

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
    if sources is None:
        sources = [source_frame(i, clip, encoded.length) for i in frames]
    source = np.array(sources)
    out = torch.zeros(len(frames), 4, latents.LATENT_SIZE, latents.LATENT_SIZE)
    wanted = np.flatnonzero(encoded.present[source] & (source >= 0))
    done = 0

    def paint(chunk: np.ndarray) -> Tensor:
        values = encoded.values[source[chunk]]  # before the UNet is asked for: they may be encoded only now
        tokens = features.tokens([frames[i] for i in chunk])
        return latents.inpaint(models.unet(len(chunk)), values, tokens).float().cpu()

    for chunk, values in in_passes(models, "painting mouths", wanted, batch_size, paint):
        out[chunk] = values
        done += len(chunk)
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
    done = 0

    def decoded(chunk: np.ndarray) -> np.ndarray:
        return latents.decode_faces(models.vae_decoder(len(chunk)), predicted[chunk])

    for chunk, pictures in in_passes(models, "decoding faces", wanted, batch_size, decoded):
        out[chunk] = pictures
        done += len(chunk)
        progress(done, len(wanted), out[chunk[-1]])
    return out


def _chunks(indices: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
