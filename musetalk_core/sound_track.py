"""The sound track of an mp4: encoded, or taken over from a file as it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from .errors import MediaError
from .media_file import Source, open_media
from .sound_input import Sound, sound_frames, sound_packets, sound_stream

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    import av

LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
"""Which speakers 1, 2, ... 8 channels are for."""

COPIED = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "mp3float", "opus"})
"""What mp4 holds and players play, by FFmpeg's names for the decoders."""

MP4_MP3_RATE = 16000
"""The lowest rate in Hz that mp3 may have in an mp4."""

BLOCK = 1024  # samples given to the encoder at a time


@contextmanager
def sound_track(sound: Sound | Source, seconds: Fraction | None) -> Iterator[CopiedSound | EncodedSound]:
    """Opens the sound for a track, which is then attached to an mp4.

    Args:
        sound: What to write, at most 8 channels.
        seconds: Ends it there; None writes all of it.

    Raises:
        MediaError: The file cannot be opened, holds no sound, or has too many channels.
    """
    if isinstance(sound, Sound):
        blocks = (sound.waveform[:, i : i + BLOCK].T for i in range(0, sound.waveform.shape[1], BLOCK))
        yield EncodedSound(blocks, sound.rate, len(sound.waveform), seconds)
        return
    with open_media(sound) as container:
        stream = sound_stream(sound, container)
        codec = stream.codec_context
        if codec.name in COPIED and not (codec.name.startswith("mp3") and codec.sample_rate < MP4_MP3_RATE):
            yield CopiedSound(stream, sound_packets(sound, container, stream), seconds)
        else:
            frames = sound_frames(sound, container, stream)
            channels = codec.layout.nb_channels
            yield EncodedSound(
                (f.to_ndarray().reshape(-1, channels) for f in frames), codec.sample_rate, channels, seconds
            )


class AacTrack:
    """An AAC track of an mp4 being written.

    Args:
        container: The mp4.
        rate: Samples a second of what is written; one AAC does not know is resampled to the next higher one it does.
        channels: At most 8.
        least: The lowest rate to write.
    """

    def __init__(self, container: av.container.OutputContainer, rate: int, channels: int, least: int = 0) -> None:
        import av

        self.container, self.rate, self.layout = container, rate, LAYOUTS[channels - 1]
        known = sorted(av.codec.Codec("aac", "w").audio_rates)
        written = next((each for each in known if each >= max(rate, least)), known[-1])
        self.stream = container.add_stream("aac", rate=written, layout=self.layout)
        self.count = 0  # samples so far

    def add(self, block: np.ndarray) -> None:
        """Writes what comes next, float32 (samples, channels)."""
        import av

        # Interleaved on purpose: PyAV crashes on the planes of sound with eight channels or more.
        interleaved = np.ascontiguousarray(block, dtype=np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, "flt", self.layout)
        frame.pts, frame.sample_rate = self.count, self.rate
        frame.time_base = Fraction(1, self.rate)
        # The encoder resamples to its own rate and cuts into its own blocks.
        self.container.mux(self.stream.encode(frame))
        self.count += len(block)

    def finish(self) -> None:
        """Writes what the encoder still holds."""
        self.container.mux(self.stream.encode(None))


class EncodedSound:
    """A sound track that is encoded to AAC.

    Args:
        blocks: The samples in order, float32 (samples, channels) each.
        rate: Samples a second.
        channels: At most 8.
        seconds: Where to end; None writes all blocks.
    """

    def __init__(self, blocks: Iterator[np.ndarray], rate: int, channels: int, seconds: Fraction | None) -> None:
        if channels > len(LAYOUTS):
            raise MediaError(
                f"The sound has {channels} channels and mp4 holds {len(LAYOUTS)}.", "Mix it down to stereo first."
            )
        self.blocks, self.rate, self.channels = blocks, rate, channels
        self.end = math.inf if seconds is None else math.ceil(seconds * rate)  # samples

    def attach(self, container: av.container.OutputContainer) -> None:
        """Adds the track to an mp4."""
        self.track = AacTrack(container, self.rate, self.channels)

    def add_until(self, seconds: Fraction | float) -> None:
        """Writes what lies before `seconds` and is not yet written."""
        while self.track.count < min(seconds * self.rate, self.end):
            block = next(self.blocks, None)
            if block is None:
                return
            self.track.add(block[: min(len(block), self.end - self.track.count)])

    def finish(self) -> None:
        """Writes what the encoder still holds."""
        self.track.finish()


class CopiedSound:
    """A sound track that is taken over from a file, packet for packet.

    The packets are placed by the samples they decode to, counted from the first one that a reader hears: where
    timestamps are coarse, begin late or have gaps, the track is still in step with what `read_sound` reads.

    Args:
        source: The stream to copy.
        packets: Its packets, each with what it decodes to.
        seconds: Where to end; None copies all packets.
    """

    def __init__(
        self,
        source: av.AudioStream,
        packets: Iterator[tuple[av.Packet, list[av.AudioFrame]]],
        seconds: Fraction | None,
    ) -> None:
        self.source = source
        self.packets = self._placed(packets)
        self.end = math.inf if seconds is None else seconds
        self.reached = Fraction(0)  # seconds so far

    def attach(self, container: av.container.OutputContainer) -> None:
        """Adds the track to an mp4."""
        self.container = container
        self.stream = container.add_stream_from_template(self.source)

    def add_until(self, seconds: Fraction | float) -> None:
        """Writes what lies before `seconds` and is not yet written."""
        while self.reached < min(seconds, self.end):
            packet = next(self.packets, None)
            if packet is None:
                return
            self.reached = (packet.pts + packet.duration) * packet.time_base
            packet.stream = self.stream
            self.container.mux(packet)

    def finish(self) -> None:
        """Nothing is held back."""

    @staticmethod
    def _placed(packets: Iterator[tuple[av.Packet, list[av.AudioFrame]]]) -> Iterator[av.Packet]:
        """Yields the packets with their places in samples; what the decoder swallows at first lies before 0."""
        unheard: list[av.Packet] = []
        position = 0
        for packet, decoded in packets:
            if not packet.size:
                continue  # the end
            if not decoded:
                if not position:
                    unheard.append(packet)
                continue
            samples = sum(frame.samples for frame in decoded)
            tick = Fraction(1, decoded[0].sample_rate)
            if position:
                placed = [(packet, position, samples)]
            else:
                early, heard = [*unheard, packet], decoded[0].pts * decoded[0].time_base
                begins = [min(0, round((each.pts * each.time_base - heard) / tick)) for each in early]
                lengths = np.diff([*begins, samples]).tolist()
                placed = list(zip(early, begins, lengths, strict=True))
            for each, begin, length in placed:
                each.pts = each.dts = begin
                each.duration, each.time_base = length, tick
                yield each
            position += samples
