"""Whisper's features of a sound that is still coming in.

The encoder sees a window of up to 30 s of what was heard so far. Output frame i takes ten rows, the last
of which is row floor(i * 50 / fps) + 5; the convolutions and the spectrogram's half window reach a little
past it. The frame is therefore known `LOOK_AHEAD` = 132.5 ms after the beginning of its first own row.

A row depends on the whole window, also on what comes after it (the encoder attends to all, and the
spectrogram is cut off 80 dB below its maximum), so rows of an unfinished sound differ from those of the whole.
An utterance of up to 30 s that was heard to its end before it is asked for has exactly the offline rows.

How far the ten rows of a frame are from those of the whole sample voice (relative L2, mean; the weights are not
trained, so it is the architecture that speaks here), by the sound heard past the frame's beginning:

    weights                            132.5 ms   240 ms   0.5 s    1 s    one row from the next
    1.5, torch's initial ones           0.021     0.020    0.016   0.014   0.23
    1.5, of the reference results       0.106     0.102    0.086   0.076   0.17
    1.0, of the reference results       0.037     0.036    0.033   0.029   0.16
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from .audio import ROWS_PER_SECOND, SAMPLE_RATE, AudioFeatures, as_stored, encode_window, mel_windows
from .releases import Release

if TYPE_CHECKING:
    from whisper.model import AudioEncoder

_ROW = SAMPLE_RATE // ROWS_PER_SECOND  # samples: two hops of the spectrogram
_LAST_ROW = 5  # of a frame's ten rows, counted from the frame's own
# The second convolution gives row r from the hops 2r - 2 to 2r + 2; a hop sees 200 samples on either side.
_REACH = 2 * (_ROW // 2) + 200  # samples after the beginning of a row on which it depends directly
LOOK_AHEAD = Fraction(_LAST_ROW * _ROW + _REACH, SAMPLE_RATE)
"""Seconds of sound after the beginning of a frame's own row that must be heard."""
_WINDOW = 30 * SAMPLE_RATE
_STEP = 10 * SAMPLE_RATE  # by which the window moves on; it holds at least as much of what is past


class Hearing:
    """What is heard of one utterance.

    Args:
        encoder: Gives Whisper tiny's encoder, on the device to compute on.
        sound_rate: Hz of what is pushed.
        fps: Output frames a second.
        release: Which release's features.

    Attributes:
        features: For `pipeline.predict`. The frames below `ready` may be asked for, in order; what was
            needed before them is forgotten, so memory does not grow. It runs the encoder, at most once
            a call and only for rows that no pass gave before.
    """

    def __init__(self, encoder: Callable[[], AudioEncoder], sound_rate: int, fps: Fraction, release: Release) -> None:
        self._fps = fps
        self._resampler = Resampler(sound_rate)
        self._sound_rate, self._pushed = sound_rate, 0  # Hz and samples
        self._rows = _SlidingRows(encoder, release)
        unknown = np.zeros(0, np.float32)  # how long it will be, and where the voice speaks
        self.features = AudioFeatures(self._rows, 0, fps, release.edges == "repeat", release.name, unknown)

    def push(self, samples: np.ndarray) -> None:
        """Hear more: float32 (n,), -1..1."""
        self._pushed += len(samples)
        self._rows.add(self._resampler.push(samples))

    def end(self) -> None:
        """The utterance is over."""
        self._rows.add(self._resampler.finish())
        self._rows.end()

    @property
    def ended(self) -> bool:
        return self._rows.ended

    @property
    def ready(self) -> int:
        """Frames of the utterance that may be asked for now; all it lasts, begun ones included, at its end."""
        if self.ended:
            return math.ceil(Fraction(self._pushed, self._sound_rate) * self._fps)
        begun = (self._rows.heard - _REACH) // _ROW - _LAST_ROW  # the last row that can be a frame's own
        return max(0, math.ceil((begun + 1) * self._fps / ROWS_PER_SECOND))


class _SlidingRows:
    """The rows of a sound that grows at its end and is forgotten at its beginning."""

    def __init__(self, encoder: Callable[[], AudioEncoder], release: Release) -> None:
        self._encoder, self._release = encoder, release
        self._parts: list[np.ndarray] = []  # of the sound, from sample `_start` on
        self._start = 0
        self.heard = 0  # samples at 16 kHz
        self.ended = False
        self._values: Tensor | None = None  # of the latest pass, the first being that of sample `_start`
        self._known = 0  # rows up to here are right in it

    def add(self, mono: np.ndarray) -> None:
        self._parts.append(as_stored(mono, self._release))
        self.heard += len(mono)

    def end(self) -> None:
        self.add(np.zeros(max(0, _ROW - self.heard), np.float32))  # the least a spectrogram can be made of
        self.ended = True

    def __len__(self) -> int:
        return self.heard // _ROW

    def __getitem__(self, index: Tensor) -> Tensor:
        """Rows (*index.shape, 5, 384)."""
        if int(index.max()) >= self._known:
            self._encode(int(index.min()) * _ROW)
        return self._values[index - self._start // _ROW]

    def _encode(self, first: int) -> None:
        """A pass over a window in which sample ``first`` has at least 10 s before it, if there are any."""
        late = -(-(self.heard - _WINDOW) // _STEP) * _STEP  # all that was heard fits in
        start = max(0, min(late, first // _STEP * _STEP - _STEP))
        sound = np.concatenate(self._parts)[start - self._start :]
        self._parts, self._start = [sound.copy()], start
        sound = sound[:_WINDOW]
        (mel,), (count,) = mel_windows(sound, self._release)
        self._values = encode_window(self._encoder(), mel, self._release)[:count]
        complete = self.ended and start + len(sound) == self.heard
        self._known = start // _ROW + (count if complete else (len(sound) - _REACH) // _ROW + 1)


_REACHED = 10  # samples of the slower rate on either side


@lru_cache
def _filter(slower: int) -> np.ndarray:
    """SciPy's own filter for `resample_poly`, at the common multiple of both rates: ``slower`` times the slower."""
    from scipy.signal import firwin

    return firwin(2 * _REACHED * slower + 1, 1 / slower, window=("kaiser", 5.0))


class Resampler:
    """A stream to 16 kHz: the same samples as `audio.to_mono_16k` gives for the whole, however it is cut.

    Args:
        rate: Hz of the stream.
    """

    def __init__(self, rate: int) -> None:
        ratio = Fraction(SAMPLE_RATE, rate)
        self._up, self._down = ratio.numerator, ratio.denominator
        slower = max(self._up, self._down)
        self._reach = _REACHED * slower if slower > 1 else 0
        self._filter = _filter(slower) if slower > 1 else None
        self._buffer = np.zeros(0)
        self._start = 0  # index of the buffer's first sample, a multiple of `_down`
        self._done = 0  # samples given

    def push(self, samples: np.ndarray) -> np.ndarray:
        """float32 (m,): what is known now."""
        self._buffer = np.concatenate((self._buffer, samples), dtype=np.float64)
        last = self._start + len(self._buffer) - 1
        return self._give((last * self._up - self._reach) // self._down + 1)

    def finish(self) -> np.ndarray:
        """float32 (m,): the rest."""
        return self._give(-(-(self._start + len(self._buffer)) * self._up // self._down))

    def _give(self, stop: int) -> np.ndarray:
        from scipy.signal import resample_poly

        if stop <= self._done:
            return np.zeros(0, np.float32)
        offset = self._start * self._up // self._down
        out = resample_poly(self._buffer, self._up, self._down, window=self._filter)
        out = out[self._done - offset : stop - offset]
        self._done = stop
        needed = (stop * self._down - self._reach) // self._up // self._down * self._down
        if needed > self._start:
            self._buffer, self._start = self._buffer[needed - self._start :], needed
        return out.astype(np.float32)
