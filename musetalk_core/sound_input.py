"""Reading sound from files, with PyAV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import MediaError
from .media_file import CUT_SHORT, Source, name_of, open_media

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    import av


@dataclass(frozen=True)
class Sound:
    """A piece of sound.

    Attributes:
        waveform: float32 (channels, samples), full scale -1..1; channels in FFmpeg's order
            (5.1 is front left, front right, centre, low frequency, back left, back right). Lossy
            formats may decode to peaks slightly beyond full scale.
        rate: Samples a second, Hz.
    """

    waveform: np.ndarray
    rate: int

    @property
    def duration(self) -> Fraction:
        """Length in seconds, exact."""
        return Fraction(self.waveform.shape[1], self.rate)


def read_sound(path: str | Path | Source) -> Sound:
    """Reads the sound of any file PyAV opens: wav, mp3, m4a, flac, ogg, the sound track of a video.

    Args:
        path: The file. Of several sound tracks the one FFmpeg would play is taken.

    Returns:
        The whole sound at its own rate and with its own channels.

    Raises:
        MediaError: There is no such file, it holds no sound, or it is damaged.
    """
    return _read(path, lambda samples: samples)


def read_voice(path: str | Path | Source) -> Sound:
    """Reads the same as `read_sound`, its channels averaged to one while it is read: long sound stays small."""
    return _read(path, lambda samples: samples.mean(axis=1, keepdims=True))


def _read(path: str | Path | Source, keep: Callable[[np.ndarray], np.ndarray]) -> Sound:
    source = Path(path) if isinstance(path, str) else path
    collected = bytearray()  # grows in place, where a list of pieces would be held twice in the end
    with open_media(source) as container:
        stream = sound_stream(source, container)
        for frame in sound_frames(source, container, stream):
            samples = keep(frame.to_ndarray().reshape(-1, frame.layout.nb_channels))
            collected += np.ascontiguousarray(samples).data.cast("B")
    if not collected:
        raise MediaError(f"{name_of(source)} holds no sound that can be read.", "Choose a file with sound in it.")
    return Sound(np.frombuffer(collected, np.float32).reshape(-1, samples.shape[1]).T, frame.sample_rate)


def sound_stream(source: Source, container: av.container.InputContainer) -> av.AudioStream:
    """The stream of sound, of several the one FFmpeg would play."""
    stream = container.streams.best("audio")
    if stream is None:
        raise MediaError(f"{name_of(source)} holds no sound.", "Choose a file that does.")
    return stream


def sound_frames(
    source: Source, container: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[av.AudioFrame]:
    """Yields the sound in interleaved float, and raises where it is damaged or cut off."""
    import av

    # Interleaved on purpose: PyAV crashes on the planes of sound with eight channels or more.
    interleave = av.AudioResampler(format="flt")
    seconds = 0.0
    try:
        for _, decoded in sound_packets(source, container, stream):
            for frame in decoded:
                yield from interleave.resample(frame)
                seconds += frame.samples / frame.sample_rate
    except (av.FFmpegError, ValueError) as error:  # ValueError: rate or channels change midway
        raise _damaged(source, seconds, error) from error


def sound_packets(
    source: Source, container: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[tuple[av.Packet, list[av.AudioFrame]]]:
    """Yields the sound as it lies in the file, each packet with what it decodes to.

    Packets that do not decode are left out; where more than the end of the file is lost, it raises.
    """
    import av

    seconds = 0.0
    damage: av.FFmpegError | None = None
    try:
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.error.InvalidDataError as error:
                damage = error  # no matter yet: many mp3s end in tags and padding
                continue
            if decoded and damage:
                raise damage
            yield packet, decoded
            seconds += sum(frame.samples / frame.sample_rate for frame in decoded)
        if damage and seconds < float((stream.duration or 0) * stream.time_base) - CUT_SHORT:
            raise damage
    except av.FFmpegError as error:
        raise _damaged(source, seconds, error) from error


def _damaged(source: Source, seconds: float, error: Exception) -> MediaError:
    return MediaError(
        f"The sound of {name_of(source)} cannot be read beyond {seconds:.2f} s: {error}.",
        "The file is damaged: export or download it again.",
    )
