"""Small things that stand in for networks, faces and files where the real ones are beside the point."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musetalk_core.audio import AudioFeatures
from musetalk_core.cache import ByteBudget
from musetalk_core.faces import FaceTrack, Observations
from musetalk_core.masks import SKIN
from musetalk_core.networks.vae import SCALING_FACTOR
from musetalk_core.releases import RELEASES, Release
from musetalk_core.timeline import on_screen

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "assets" / "sample"

# Faces


def landmarks(left: int, right: int, nose: int, chin: int, steps: tuple[int, int] = (5, 7)) -> np.ndarray:
    """(68, 2): from ``left`` to ``right``, nose point 29 at row ``nose``, the lowest point at ``chin``.

    Args:
        steps: Rows from nose point 28 to 29, and from 29 to 30.
    """
    points = np.zeros((68, 2), np.int64)
    points[:, 0] = np.linspace(left, right, 68).round()
    points[:, 1] = nose
    points[28, 1], points[30, 1] = nose - steps[0], nose + steps[1]
    points[8, 1] = chin
    return points


def observed(
    size: tuple[int, int], points: Sequence[np.ndarray], detections: Sequence[Sequence[int]]
) -> Observations:
    """Observations in frames of ``size`` (height, width)."""
    scores = np.ones((len(points), 68), np.float32)
    boxes = np.array(detections, np.int64).reshape(-1, 4)
    return Observations(*size, np.stack(points), scores, boxes, np.zeros(len(points), bool))


def fixed_track(size: tuple[int, int], box: tuple[int, int, int, int], present: Sequence[bool]) -> FaceTrack:
    """The same box in every frame that has a face."""
    left, top, right, bottom = box
    points = landmarks(left, right, (top + bottom) // 2, bottom)
    seen = observed(size, [points] * len(present), [box if there else (-1,) * 4 for there in present])
    boxes = np.array([box if there else (0,) * 4 for there in present], np.int64)
    return FaceTrack(seen, 0, 0, boxes, np.zeros(len(boxes)), (7, 5))


class Unreachable(Sequence):
    """Frames of which only the first few may be touched."""

    def __init__(self, frames: Sequence[np.ndarray], total: int) -> None:
        self._frames = frames
        self._total = total

    def __len__(self) -> int:
        return self._total

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Unreachable(self._frames, len(range(self._total)[index]))
        if not 0 <= index < len(self._frames):
            raise AssertionError(f"frame {index} was touched")
        return self._frames[index]


# Networks


class BrightestPoint(nn.Module):
    """A pose network that puts all 133 points on the brightest column and row of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()), requires_grad=False)
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append(len(x) // 2)  # pictures and their mirror images
        grey = x.mean(1)
        column, row = grey.mean(1), grey.mean(2)
        # Two bins a pixel, the later of each pair lower, so that there is one highest.
        bins = [
            torch.stack((axis, axis - 0.01), 2).flatten(1) - axis.amin(1, keepdim=True) + 1 for axis in (column, row)
        ]
        return tuple(axis[:, None].expand(-1, 133, -1) for axis in bins)


class PlainVae:
    """A `VaeCodec` whose latent is the picture's mean colour, and back."""

    def __init__(self) -> None:
        self.encoded: list[int] = []
        self.decoded: list[int] = []

    def encode(self, pixels: Tensor, noise: list[torch.Generator] | None = None) -> Tensor:
        self.encoded.append(len(pixels))
        small = F.avg_pool2d(pixels, 8)
        return torch.cat((small, small[:, :1]), 1)

    def decode(self, latents: Tensor) -> Tensor:
        self.decoded.append(len(latents))
        return F.interpolate(latents[:, :3], scale_factor=8)


class TellingUnet(nn.Module):
    """Paints what it was given: red 10 x the frame its audio is of, green the reference's red.

    The audio features must be those of `counted_rows`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()), requires_grad=False)
        self.batches: list[int] = []

    def forward(self, latents: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> SimpleNamespace:
        from musetalk_core.latents import positional_encoding

        self.batches.append(len(latents))
        tokens = (encoder_hidden_states - positional_encoding()).unflatten(1, (10, 5))
        frame = tokens[:, 4].mean((1, 2)) / 2  # row 4 of 10 is the frame's own moment; 2 rows a frame at 25 fps
        red = (10 * frame / 127.5 - 1) * SCALING_FACTOR
        out = latents[:, 4:].clone()
        out[:, 1] = latents[:, 4]
        out[:, 0] = red[:, None, None]
        return SimpleNamespace(sample=out)


class OneClass(nn.Module):
    """A face parser that takes everything for skin, or for another class."""

    def __init__(self, label: int = SKIN) -> None:
        super().__init__()
        self.label = label
        self.weight = nn.Parameter(torch.ones(()), requires_grad=False)
        self.batches: list[int] = []

    def scores(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        scores = torch.zeros(len(x), 19, 64, 64)
        scores[:, self.label] = 1
        return scores


class StandIns:
    """`Models` made of stand-ins."""

    def __init__(self, release: str = "1.5", synthetic: bool = False) -> None:
        self.release: Release = RELEASES[release]
        self.synthetic = synthetic
        self.cache = SimpleNamespace(residency=ByteBudget(torch.device("cpu")))
        self.networks = SimpleNamespace(
            unet=TellingUnet(), vae=PlainVae(), dwpose=BrightestPoint(), face_parse=OneClass()
        )

    def __getattr__(self, kind: str):
        network = getattr(self.networks, "vae" if kind in ("vae_encoder", "vae_decoder") else kind)
        return lambda *batch: network


def counted_rows(frames: int, release: str = "1.5") -> AudioFeatures:
    """Features at 25 fps whose row r is filled with r."""
    rows = torch.arange(2 * frames + 10, dtype=torch.float32)[:, None, None].expand(-1, 5, 384)
    return AudioFeatures(rows, frames, Fraction(25), RELEASES[release].edges == "repeat", release, np.ones(frames))


def conform(length: int, source_fps: Fraction, fps: Fraction) -> list[int]:
    """Which frames of a clip of one rate are on screen at another."""
    return on_screen([i / source_fps for i in range(length)], length / source_fps, fps)


def threads_of_ours() -> list[threading.Thread]:
    """Those in which work goes on beside the caller's."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("musetalk")]


# Files


def tone(seconds: float, rate: int, amplitude: float = 0.5, pitch: float = 200) -> np.ndarray:
    """(samples,) of a sine, Hz."""
    return amplitude * np.sin(2 * np.pi * pitch * np.arange(math.floor(seconds * rate)) / rate)


def write_wav(path: Path, channels: np.ndarray, rate: int, layout: str) -> Path:
    """16-bit wav of float (channels, samples)."""
    pcm = np.round(channels.T.reshape(1, -1) * 32767).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm), "s16", layout)
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_clip(path: Path, frames: Sequence[np.ndarray], fps: Fraction) -> Path:
    """H.264 that keeps odd sizes and colours, unlike our own writer."""
    height, width, _ = frames[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "1"})
        stream.pix_fmt, stream.width, stream.height = "yuv444p", width, height
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = i, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def pictures(count: int, height: int = 64, width: int = 48) -> list[np.ndarray]:
    """Frames of one grey each, of which every one is brighter than the one before: 40, 50, 60, ..."""
    return [np.full((height, width, 3), 40 + 10 * i, np.uint8) for i in range(count)]
