"""Sound to the audio tokens that steer the UNet.

Source: the reference's ``audio2feature.py`` (1.0) and ``audio_processor.py`` (1.5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import InputError
from .networks.whisper import hidden_states
from .progress import Progress, silent
from .releases import Release
from .timeline import frame_count

if TYPE_CHECKING:
    from whisper.model import AudioEncoder

SAMPLE_RATE = 16000  # Hz
ROWS_PER_SECOND = 50  # encoder steps
ROWS_PER_FRAME = 10  # rows the UNet sees for one frame: 4 before it, 6 from it on
_ROWS_BEFORE = 4
_WINDOW_SECONDS = 30
_WINDOW_SAMPLES = _WINDOW_SECONDS * SAMPLE_RATE
_WINDOW_MEL = 3000  # log-mel frames in a window, two for each encoder row
_SHORTEST = SAMPLE_RATE // ROWS_PER_SECOND  # samples: one row of features
_FULL_SCALES = (1, 2**15, 2**23, 2**31)  # of floats, and of 16, 24 and 32 bit integers that came as floats
_TOO_LOUD = 16  # times full scale; a peak beyond this is of the next larger scale


@dataclass(frozen=True)
class AudioFeatures:
    """Whisper's states for a whole sound, from which each frame takes its ten rows.

    Attributes:
        rows: float32 (rows, 5, 384) on the CPU, 50 rows a second.
        frames: Output frames the sound lasts: floor(duration * fps).
        fps: Frames a second.
        repeat_edges: Outside the sound, repeat the edge row (1.0) instead of zeros (1.5).
        release: Name of the release these features are for.
    """

    rows: Tensor
    frames: int
    fps: Fraction
    repeat_edges: bool
    release: str

    def tokens(self, frames: Sequence[int]) -> Tensor:
        """Audio tokens (len(frames), 50, 384) of the output frames with these indices."""
        first = [int(i * ROWS_PER_SECOND / self.fps) - _ROWS_BEFORE for i in frames]
        index = torch.tensor(first)[:, None] + torch.arange(ROWS_PER_FRAME)
        inside = index.clamp(0, len(self.rows) - 1)
        tokens = self.rows[inside]  # (B, 10, 5, 384)
        if not self.repeat_edges:
            tokens = tokens * (index == inside)[..., None, None]
        return tokens.flatten(1, 2)


def to_mono_16k(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """What Whisper hears: channels averaged, 16 kHz, not louder than full scale.

    Args:
        waveform: float (channels, samples), -1..1 or the range of 16, 24 or 32 bit integers.
        sample_rate: Hz.

    Returns:
        float32 (samples,) in -1..1 at 16 kHz.

    Raises:
        InputError: the sound is empty or holds samples that are not finite numbers.
    """
    from scipy.signal import resample_poly

    if waveform.shape[-1] == 0 or waveform.shape[0] == 0:
        raise InputError("The sound is empty.", "Give one that lasts at least one frame.")
    broken = int((~np.isfinite(waveform)).sum())
    if broken:
        raise InputError(
            f"{broken} samples of the sound are not finite numbers (NaN or infinity).",
            "Export the sound again; a division by its zero peak upstream is the usual cause.",
        )
    peak = np.abs(waveform).max()
    full_scale = next((scale for scale in _FULL_SCALES if peak <= _TOO_LOUD * scale), _FULL_SCALES[-1])
    mono = waveform.mean(axis=0, dtype=np.float64) / full_scale
    if sample_rate != SAMPLE_RATE:
        ratio = Fraction(SAMPLE_RATE, sample_rate)
        mono = resample_poly(mono, ratio.numerator, ratio.denominator)
    return (mono / max(1.0, np.abs(mono).max())).astype(np.float32)


def encode(
    encoder: AudioEncoder,
    waveform: np.ndarray,
    sample_rate: int,
    fps: Fraction,
    release: Release,
    progress: Progress = silent,
) -> AudioFeatures:
    """Whisper features of a whole sound.

    Args:
        encoder: Whisper tiny's encoder, on the device to compute on.
        waveform: float (channels, samples), any rate, channel count and range.
        sample_rate: Hz.
        fps: Frames a second of the video to be made.
        release: Which release's features.
        progress: Called once for each 30 s window.

    Raises:
        InputError: the sound is empty, shorter than one frame or not made of finite numbers.
    """
    frames = frame_count(waveform.shape[-1], sample_rate, fps)
    mono = to_mono_16k(waveform, sample_rate)
    if frames == 0 or len(mono) < _SHORTEST:
        shortest = max(1 / fps, Fraction(_SHORTEST, SAMPLE_RATE))
        raise InputError(
            f"The sound lasts {len(mono) / SAMPLE_RATE:.3f} s, too short for one frame at {float(fps):g} fps.",
            f"Give one of at least {math.ceil(1000 * shortest)} ms.",
        )
    if release.sixteen_bit:
        mono = np.round(mono * 32768) / np.float32(32768)
    device = encoder.positional_embedding.device
    windows, row_counts = _mel_windows(mono, release)
    rows = []
    for i, (mel, count) in enumerate(zip(windows, row_counts, strict=True)):
        states = hidden_states(encoder, mel[None].to(device), release.norm_last)
        rows.append(states[0, :count].float().cpu())
        progress(i + 1, len(windows), None)
    return AudioFeatures(torch.cat(rows), frames, fps, release.edges == "repeat", release.name)


def _mel_windows(mono: np.ndarray, release: Release) -> tuple[list[Tensor], list[int]]:
    """Log-mel windows (80, 3000), and how many encoder rows of each are real sound."""
    from whisper.audio import log_mel_spectrogram

    sound = torch.from_numpy(mono)
    if release.windows == "mel":
        cut = log_mel_spectrogram(sound).split(_WINDOW_MEL, dim=1)
        counts = [mel.shape[1] // 2 for mel in cut]
        return [F.pad(mel, (0, _WINDOW_MEL - mel.shape[1])) for mel in cut], counts
    cut = sound.split(_WINDOW_SAMPLES)
    windows = [log_mel_spectrogram(F.pad(piece, (0, _WINDOW_SAMPLES - len(piece)))) for piece in cut]
    return windows, [len(piece) * ROWS_PER_SECOND // SAMPLE_RATE for piece in cut]
