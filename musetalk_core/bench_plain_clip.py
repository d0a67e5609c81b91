"""The plain way to do the same: networks as they are loaded, a frame at a time where the reference takes a frame.

This is what `bench_compare` measures ours against.

Source: the reference's ``inference.py``, ``realtime_inference.py`` and ``preprocessing.py``, with the VAE's mode
instead of a sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from . import blending, keypoints, latents, pipeline
from .audio import AudioFeatures
from .avatar import Avatar
from .bench_clip import FPS
from .bench_plain import plain_blend, plain_parse
from .faces import Observations
from .latents import FACE_SIZE, positional_encoding
from .models import Models
from .networks import s3fd
from .networks.vae import SCALING_FACTOR
from .sound_input import Sound
from .synthetic import stamp
from .tracking import track_faces


class PlainNetworks:
    """The published networks as they are loaded, each when it is first asked for.

    Args:
        models: Say where the weights come from, the dtype of UNet and VAE, and the device.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self._loaded: dict[str, nn.Module] = {}

    def __getitem__(self, kind: str) -> nn.Module:
        if kind not in self._loaded:
            dtype = self.models.dtype if kind in ("unet", "vae") else torch.float32
            device = self.models.cache.residency.device
            with torch.inference_mode(False):
                self._loaded[kind] = self.models.sources[kind].load().to(device, dtype)
        return self._loaded[kind]


def plain_encode(vae: nn.Module, crops: np.ndarray) -> Tensor:
    """Float32 (B, 8, 32, 32) of uint8 RGB (B, 256, 256, 3), masked and whole in one batch; see `encode_crops`."""
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1  # BHWC -> BCHW
    masked = pixels.clone()
    masked[:, :, FACE_SIZE // 2 :] = -1
    both = torch.cat((masked, pixels)).to(vae.device, vae.dtype)
    encoded = vae.encode(both).latent_dist.mode().float().cpu() * SCALING_FACTOR
    return torch.cat(encoded.chunk(2), dim=1)


def plain_inpaint(unet: nn.Module, encoded: Tensor, tokens: Tensor) -> Tensor:
    """Float32 (B, 4, 32, 32) of latents (B, 8, 32, 32) and audio tokens (B, 50, 384), see `latents.inpaint`."""
    audio = (tokens + positional_encoding()).to(unet.device, unet.dtype)
    timestep = torch.zeros((), dtype=torch.long, device=unet.device)
    return unet(encoded.to(unet.device, unet.dtype), timestep, encoder_hidden_states=audio).sample.float().cpu()


def plain_decode(vae: nn.Module, predicted: Tensor) -> np.ndarray:
    """Uint8 RGB (B, 256, 256, 3) of scaled latents (B, 4, 32, 32), see `latents.decode_faces`."""
    pixels = vae.decode((predicted / SCALING_FACTOR).to(vae.device, vae.dtype)).sample
    faces = (pixels.float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return faces.permute(0, 2, 3, 1).cpu().numpy()  # BCHW -> BHWC


class TwoPasses(nn.Module):
    """A pose network that takes a picture at a time: the mirrored copy of the flip test is a second pass."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        passes = [self.network(picture) for picture in x.split(1)]
        return tuple(torch.cat(axis) for axis in zip(*passes, strict=True))


def plain_observe(networks: PlainNetworks, frames: Sequence[np.ndarray]) -> Observations:
    """Pose and S3FD at full resolution, frame by frame; see `observing.observe_faces`."""
    pose = TwoPasses(networks["dwpose"])
    landmarks, scores, detections = [], [], []
    for frame in frames:
        points, marks = keypoints.estimate_keypoints(pose, [frame])
        boxes = s3fd.detect(networks["s3fd"], frame[None])[0]
        landmarks.append(points[0, keypoints.FACE].astype(np.int64))
        scores.append(marks[0, keypoints.FACE])
        detections.append(s3fd.whole_pixels(boxes[0]) if len(boxes) else np.full(4, -1))
    parts = np.stack(landmarks), np.stack(scores), np.stack(detections), np.zeros(len(frames), bool)
    return Observations(*frames[0].shape[:2], *parts)


@torch.inference_mode()
def plain_clip(
    networks: PlainNetworks, frames: Sequence[np.ndarray], sound: Sound, batch_size: int
) -> Iterator[np.ndarray]:
    """The frames of the whole job, one stage after the other; only UNet and decoder take more than one at a time.

    Args:
        networks: The networks.
        frames: uint8 RGB (H, W, 3) each, each with a face.
        sound: What is to be said, as long as they are shown.
        batch_size: Frames a pass of UNet and decoder.

    Yields:
        uint8 RGB (H, W, 3).
    """
    models = networks.models
    track = track_faces(models, plain_observe(networks, frames), 0)
    features = pipeline.listen(models, sound.waveform, sound.rate, FPS)
    crops = [latents.crop_face(*pair) for pair in zip(frames, track.boxes, strict=True)]
    encoded = torch.cat([plain_encode(networks["vae"], crop[None]) for crop in crops])
    painted = _painted(networks, encoded, features, batch_size)
    for frame, face, box in zip(frames, painted, track.boxes, strict=True):
        square = blending.blending_square(box, models.release.crop_expand)
        labels = plain_parse(networks["face_parse"], [blending.cut_square(frame, square)])[0]
        yield _marked(models, plain_blend(frame, face, box, labels, models.release))


@torch.inference_mode()
def plain_speech(
    networks: PlainNetworks, avatar: Avatar, frames: Sequence[np.ndarray], sound: Sound, batch_size: int
) -> Iterator[np.ndarray]:
    """The frames of a prepared avatar that speaks; its frames, latents and masks are in memory.

    Args:
        networks: The networks.
        avatar: The avatar, each frame of which has a face.
        frames: Its frames, uint8 RGB (H, W, 3) each.
        sound: What is to be said, as long as they are shown.
        batch_size: Frames a pass.

    Yields:
        uint8 RGB (H, W, 3).
    """
    models, face = networks.models, avatar.face
    everything = list(range(len(frames)))
    features = pipeline.listen(models, sound.waveform, sound.rate, FPS)
    painted = _painted(networks, face.latents.values[np.array(everything)], features, batch_size)
    for frame, picture, box, (square, mask) in zip(
        frames, painted, face.track.boxes, face.masks(everything), strict=True
    ):
        yield _marked(models, _pasted(frame, picture, box, square, mask))


def _painted(
    networks: PlainNetworks, encoded: Tensor, features: AudioFeatures, batch_size: int
) -> Iterator[np.ndarray]:
    for start in range(0, len(encoded), batch_size):
        batch = range(start, min(start + batch_size, len(encoded)))
        predicted = plain_inpaint(networks["unet"], encoded[start : batch.stop], features.tokens(batch))
        yield from plain_decode(networks["vae"], predicted)


def _pasted(
    frame: np.ndarray, face: np.ndarray, box: np.ndarray, square: blending.Square, mask: np.ndarray
) -> np.ndarray:
    x1, y1, x2, y2 = (int(v) for v in box)
    whole = Image.fromarray(frame)
    region = whole.crop(square)
    resized = cv2.resize(face, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
    region.paste(Image.fromarray(resized), (x1 - square[0], y1 - square[1]))
    whole.paste(region, square[:2], Image.fromarray(mask))
    return np.array(whole)


def _marked(models: Models, frame: np.ndarray) -> np.ndarray:
    """What is made with synthetic weights says so here as there."""
    return stamp(frame) if models.synthetic else frame
