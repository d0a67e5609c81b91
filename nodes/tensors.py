"""Between the host's IMAGE and AUDIO and the core's arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..musetalk_core.audio import full_scale
from ..musetalk_core.errors import InputError


class ImageFrames(Sequence):
    """An IMAGE, float (B, H, W, C) in 0..1, as uint8 RGB frames, each converted when it is asked for.

    Args:
        images: The host's IMAGE; C may be 1 (grey), 3 or 4 (alpha is dropped).
        limit: Show only this many frames.
    """

    def __init__(self, images: Tensor, limit: int | None = None) -> None:
        self._images = images[:limit]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ImageFrames(self._images[index])
        frame = self._images[index]
        frame = frame[..., :3] if frame.shape[-1] >= 3 else frame[..., :1].expand(-1, -1, 3)
        return np.ascontiguousarray(frame.clamp(0, 1).mul_(255).round_().to(torch.uint8).cpu().numpy())


def to_image(frames: Iterable[np.ndarray], count: int) -> Tensor:
    """``count`` uint8 RGB (H, W, 3) frames of one size as an IMAGE, float32 (count, H, W, 3)."""
    out = None
    for i, frame in enumerate(frames):
        if out is None:
            out = torch.empty(count, *frame.shape)
        out[i].copy_(torch.from_numpy(frame)).div_(255)  # nothing of its size in between
    return out


def sound_of(audio: Mapping | None) -> tuple[np.ndarray, int]:
    """The host's AUDIO as float32 (channels, samples), full scale -1..1, and its rate in Hz.

    Raises:
        InputError: there is none, or it is a batch of several.
    """
    if audio is None:
        raise InputError("There is no sound.", "Connect an AUDIO; the video you loaded may have no audio track.")
    waveform = audio["waveform"]
    if len(waveform) != 1:
        raise InputError(f"This AUDIO is a batch of {len(waveform)} sounds.", "Speak one sound at a time.")
    sound = waveform[0].float().cpu().numpy()
    return sound / np.float32(full_scale(sound)), int(audio["sample_rate"])
