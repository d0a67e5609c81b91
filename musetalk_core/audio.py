"""Sound to the audio tokens that steer the UNet.

Source: the reference's ``audio2feature.py`` (1.0) and ``audio_processor.py`` (1.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import InputError
from .networks.whisper import hidden_states
from .progress import Progress, silent
from .recent import Recent
from .releases import Release
from .speech import speech_weight
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
_ROW_BYTES = 48 << 20  # four windows
_SHORTEST = SAMPLE_RATE // ROWS_PER_SECOND  # samples: one row of features
_FULL_SCALES = (1, 2**15, 2**23, 2**31)  # of floats, and of 16, 24 and 32 bit integers that came as floats
_TOO_LOUD = 16  # times full scale; a peak beyond this is of the next larger scale


class WindowedRows:
    """The rows of a sound, a window of which is encoded when it is asked for; the latest are remembered.

    Args:
        encode: Gives all rows float32 (1500, 5, 384) of a log-mel window, see `encode_window`.
        mels: The windows, float32 (80, 3000) each.
        counts: How many rows of each are real sound.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], mels: Sequence[Tensor], counts: Sequence[int]) -> None:
        self.mels, self.counts = mels, counts
        self._encode = encode
        self._starts = torch.tensor([0, *counts]).cumsum(0)
        self._recent: Recent[int, Tensor] = Recent(_ROW_BYTES, lambda rows: rows.nbytes)

    @property
    def windows(self) -> int:
        return len(self._starts) - 1

    def __len__(self) -> int:
        return int(self._starts[-1])

    def encode(self, window: int) -> Tensor:
        """The rows of the window with this index, float32 (count, 5, 384)."""
        return self._encode(self.mels[window])[: self.counts[window]]

    def __getitem__(self, index: Tensor) -> Tensor:
        """Rows (*index.shape, 5, 384)."""
        window = torch.searchsorted(self._starts, index, right=True) - 1
        rows = self._recent.all(window.unique().tolist(), lambda new: [self.encode(i) for i in new])
        first = self._starts[window]
        out = torch.empty(*index.shape, *next(iter(rows.values())).shape[1:])
        for i, values in rows.items():
            here = window == i
            out[here] = values[(index - first)[here]]
        return out


@dataclass(frozen=True)
class AudioFeatures:
    """Whisper's states for a whole sound, from which each frame takes its ten rows.

    Attributes:
        rows: float32 (rows, 5, 384) on the CPU, 50 rows a second; those of a long sound may be encoded
            only when they are asked for.
        frames: Output frames the sound lasts: floor(duration * fps).
        fps: Frames a second.
        repeat_edges: Outside the sound, repeat the edge row (1.0) instead of zeros (1.5).
        release: Name of the release these features are for.
        speech: float32 (frames,), 1 where the voice speaks, 0 where it is silent.
        begin: Which frame of the whole sound is the first of these.
    """

    rows: Tensor | WindowedRows
    frames: int
    fps: Fraction
    repeat_edges: bool
    release: str
    speech: np.ndarray
    begin: int = 0

    def first(self, count: int) -> AudioFeatures:
        """Those of the first ``count`` frames, at least 1, or of all where there are fewer.

        What is heard after them still reaches the last of them, as in the whole sound.
        """
        return self.part(0, min(count, self.frames))

    def part(self, start: int, stop: int) -> AudioFeatures:
        """Those of some frames, which count from 0; what is heard before and after still reaches them."""
        return replace(self, frames=stop - start, speech=self.speech[start:stop], begin=self.begin + start)

    def tokens(self, frames: Sequence[int]) -> Tensor:
        """Audio tokens (len(frames), 50, 384) of the output frames with these indices."""
        first = [int((self.begin + i) * ROWS_PER_SECOND / self.fps) - _ROWS_BEFORE for i in frames]
        index = torch.tensor(first)[:, None] + torch.arange(ROWS_PER_FRAME)
        inside = index.clamp(0, len(self.rows) - 1)
        tokens = self.rows[inside]  # (B, 10, 5, 384)
        if not self.repeat_edges:
            tokens = tokens * (index == inside)[..., None, None]
        return tokens.flatten(1, 2)


def full_scale(waveform: np.ndarray) -> int:
    """What 1.0 is in a sound: 1, or more where integers came as floats.

    Args:
        waveform: float (channels, samples), -1..1 or the range of 16, 24 or 32 bit integers.
    """
    peak = np.abs(waveform).max(initial=0)
    return next((scale for scale in _FULL_SCALES if peak <= _TOO_LOUD * scale), _FULL_SCALES[-1])


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
    mono = waveform.mean(axis=0, dtype=np.float64) / full_scale(waveform)
    if sample_rate != SAMPLE_RATE:
        ratio = Fraction(SAMPLE_RATE, sample_rate)
        mono = resample_poly(mono, ratio.numerator, ratio.denominator)
    return (mono / max(1.0, np.abs(mono).max())).astype(np.float32)


def listen(
    encoder: Callable[[], AudioEncoder],
    waveform: np.ndarray,
    sample_rate: int,
    fps: Fraction,
    release: Release,
) -> AudioFeatures:
    """Whisper features of a whole sound, each 30 s encoded when a frame first asks for them.

    Args:
        encoder: Gives Whisper tiny's encoder, on the device to compute on.
        waveform: float (channels, samples), any rate, channel count and range.
        sample_rate: Hz.
        fps: Frames a second of the video to be made.
        release: Which release's features.

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
    mono = as_stored(mono, release)
    rows = WindowedRows(lambda mel: encode_window(encoder(), mel, release), *mel_windows(mono, release))
    speech = speech_weight(mono, SAMPLE_RATE, fps, frames)
    return AudioFeatures(rows, frames, fps, release.edges == "repeat", release.name, speech)


def encode(
    encoder: Callable[[], AudioEncoder],
    waveform: np.ndarray,
    sample_rate: int,
    fps: Fraction,
    release: Release,
    progress: Progress = silent,
) -> AudioFeatures:
    """`listen` to the whole sound now.

    Args:
        encoder, waveform, sample_rate, fps, release: As in `listen`.
        progress: Called once for each 30 s window.

    Raises:
        InputError: as in `listen`.
    """
    features = listen(encoder, waveform, sample_rate, fps, release)
    rows = []
    for i in range(features.rows.windows):
        rows.append(features.rows.encode(i))
        progress(i + 1, features.rows.windows, None)
    return replace(features, rows=torch.cat(rows))


def as_stored(mono: np.ndarray, release: Release) -> np.ndarray:
    """The sound (samples,) at 16 kHz as the release's features are made of it."""
    return np.round(mono * 32768) / np.float32(32768) if release.sixteen_bit else mono


def mel_windows(mono: np.ndarray, release: Release) -> tuple[list[Tensor], list[int]]:
    """What Whisper sees of a sound, 30 s at a time.

    Args:
        mono: float32 (samples,) at 16 kHz, at least 20 ms.
        release: Decides how it is cut and padded.

    Returns:
        Log-mel windows (80, 3000), and how many encoder rows of each are real sound.
    """
    from whisper.audio import log_mel_spectrogram

    sound = torch.from_numpy(mono)
    if release.windows == "mel":
        cut = log_mel_spectrogram(sound).split(_WINDOW_MEL, dim=1)
        counts = [mel.shape[1] // 2 for mel in cut]
        return [F.pad(mel, (0, _WINDOW_MEL - mel.shape[1])) for mel in cut], counts
    cut = sound.split(_WINDOW_SAMPLES)
    windows = [log_mel_spectrogram(F.pad(piece, (0, _WINDOW_SAMPLES - len(piece)))) for piece in cut]
    return windows, [len(piece) * ROWS_PER_SECOND // SAMPLE_RATE for piece in cut]


def encode_window(encoder: AudioEncoder, mel: Tensor, release: Release) -> Tensor:
    """All rows float32 (1500, 5, 384), on the CPU, of a log-mel window (80, 3000)."""
    mel = mel[None].to(encoder.positional_embedding.device)
    return hidden_states(encoder, mel, release.norm_last)[0].float().cpu()
