"""Small real media for the tests, made with PyAV, and how to compare what comes back."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from musetalk_core.sound_input import Sound
from musetalk_core.video_frames import to_rgb

NTSC = Fraction(30000, 1001)


def tones(channels: int, rate: int, seconds: float = 1.0) -> Sound:
    """A different tone in every channel: 200 Hz, 400 Hz, ..."""
    time = np.arange(int(rate * seconds)) / rate
    tone = [0.5 * np.sin(2 * np.pi * 200 * (i + 1) * time) for i in range(channels)]
    return Sound(np.array(tone, np.float32), rate)


def rustle(channels: int, rate: int, seconds: float = 1.0) -> Sound:
    """Dull noise that never repeats, so that a shift in time shows."""
    white = np.random.default_rng(0).normal(size=(channels, int(rate * seconds)))
    dull = np.cumsum(white, axis=1)
    dull[:, 20:] -= dull[:, :-20].copy()
    return Sound((dull / 40).astype(np.float32), rate)


def encode_sound(path: Path, codec: str, sound: Sound, layout: str, start: Fraction = Fraction(0)) -> None:
    """Writes a file of sound; with `start`, the sound track of an mp4 whose picture begins earlier."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=sound.rate, layout=layout)
        if start:
            picture = container.add_stream("libx264", rate=25)
            picture.width, picture.height, picture.pix_fmt = 16, 16, "yuv420p"
            for _ in range(25):
                container.mux(picture.encode(av.VideoFrame(16, 16, "yuv420p")))
            container.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(sound.waveform.T.reshape(1, -1).copy(), "flt", layout)
        frame.sample_rate, frame.pts, frame.time_base = sound.rate, int(start * sound.rate), Fraction(1, sound.rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def encode_film(
    path: Path,
    frames: Sequence[np.ndarray],
    rate: Fraction = Fraction(25),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    prepare: Callable[[av.VideoStream], None] = lambda stream: None,
    milliseconds: Sequence[int] | None = None,
    **convert,
) -> None:
    """Writes a film without sound.

    Args:
        prepare: Sets what else there is to set about the stream.
        milliseconds: When each frame is shown, instead of at the rate.
        convert: How to get from RGB to `pix_fmt`, for `VideoFrame.reformat`.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        prepare(stream)
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pix_fmt, **convert)
            frame.pts, frame.time_base = (milliseconds[i], Fraction(1, 1000)) if milliseconds else (i, 1 / rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def noise(n: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames that differ from each other and do not compress to nothing; coarse, so that they survive."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, -(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return list(coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width])


def walk(n: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames that move, so that an encoder predicts them from each other."""
    picture = np.concatenate([noise(1, height, 4 * width)[0]] * 2, axis=1)
    return [np.ascontiguousarray(picture[:, 3 * i % (4 * width) :][:, :width]) for i in range(n)]


def plain_decode(source: Path | io.BytesIO) -> list[np.ndarray]:
    """All frames of a file, one after the other."""
    with av.open(str(source) if isinstance(source, Path) else source) as container:
        return [to_rgb(frame, VideoReformatter()) for frame in container.decode(video=0)]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())
