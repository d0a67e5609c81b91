"""Video that is watched while it is being made: mp4 in fragments, its index in front, each playable as it arrives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .media_file import open_media
from .media_output import FASTSTART, Sink, closing, complete_or_absent, errors_named, open_mp4, write_tracks
from .picture_track import Coding, PictureTrack
from .sound_input import Sound
from .sound_track import AacTrack
from .video_look import VideoLook

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    from av.container import OutputContainer

# Nothing is held back to look ahead, and no picture waits for a later one. B-frames would also move the sound.
_AT_ONCE = {"tune": "zerolatency", "bf": "0"}
LIVE = Coding({"crf": "20", "preset": "veryfast", **_AT_ONCE}, key_seconds=1, plain=True)
"""For a session: quickly made, and nothing in it that some browser does not play."""
GROWING = Coding({"crf": "18", **_AT_ONCE}, key_seconds=1)
"""For a video that is kept."""

_LIVE_NAME = Path("The live video")  # for messages
LIVE_FRAGMENT = Fraction(1, 10)  # seconds
GROWING_FRAGMENT = Fraction(1, 2)
LIVE_SOUND_RATE = 44100
"""Hz at least: AAC comes in blocks of 1024 samples, and a fragment waits for the block that begins in it."""

# The index is written with the first fragment, because it tells by how much the AAC encoder runs ahead: that is
# what keeps the sound in step with the picture.
_FRAGMENTS = "frag_keyframe+delay_moov+default_base_moof+skip_trailer"


@dataclass(frozen=True)
class _Onwards:
    """A sink seen as one that cannot go back, so that nothing already handed over is rewritten."""

    sink: Sink

    def write(self, data: bytes) -> int:
        self.sink.write(data)
        return len(data)


class FragmentedVideo:
    """A fragmented mp4 (H.264, AAC) made a frame at a time, for Media Source Extensions and players of files.

    Args:
        sink: Gets the bytes in order, the index first; it raises OSError where it cannot take them.
        shape: (H, W, 3) of every frame; odd sizes repeat the last row or column.
        fps: Frames a second, kept exactly.
        sound_rate: Samples a second of its sound, which is mono; None for a video without.
        look: Colours and pixel shape of the source; None for stills.
        comment: Goes into the metadata.

    Attributes:
        width, height: Of the coded picture, pixels.
        mime: What a browser needs to be told, derived from what the encoder writes.

    Raises:
        MediaError: the encoder refuses the size; a frame has another one; the sink takes nothing.
    """

    def __init__(
        self,
        sink: Sink,
        shape: tuple[int, ...],
        fps: Fraction,
        sound_rate: int | None,
        look: VideoLook | None = None,
        comment: str | None = None,
    ) -> None:
        self._container = open_mp4(_LIVE_NAME, _Onwards(sink), _options(LIVE_FRAGMENT))
        if comment is not None:
            self._container.metadata["comment"] = comment
        self._picture = PictureTrack(self._container, shape, fps, look, LIVE)
        self._sound = None if sound_rate is None else AacTrack(self._container, sound_rate, 1, LIVE_SOUND_RATE)
        stream = self._picture.stream
        with errors_named(_LIVE_NAME):
            stream.codec_context.open()
        self.width, self.height = stream.width, stream.height
        codecs = [_avc(stream.codec_context.extradata)] + ["mp4a.40.2"] * (sound_rate is not None)
        self.mime = f'video/mp4; codecs="{", ".join(codecs)}"'

    def add(self, picture: np.ndarray, sound: np.ndarray | None) -> None:
        """Writes one frame, uint8 RGB (H, W, 3), and the sound that belongs to it, float32 (n,)."""
        with errors_named(_LIVE_NAME):
            self._picture.add(picture)
            if self._sound is not None and sound is not None and len(sound):
                self._sound.add(sound)

    def finish(self) -> None:
        """Writes what is still held; to be called in any case, as it frees the encoders."""
        with closing(_LIVE_NAME, self._container), errors_named(_LIVE_NAME):
            self._picture.finish()
            if self._sound is not None:
                self._sound.finish()


def write_growing(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: Fraction,
    sound: Sound | None,
    growing: Path,
    comment: str | None = None,
    look: VideoLook | None = None,
    seconds: Fraction | None = None,
) -> int:
    """`write_video` that can be watched while it works.

    What is encoded goes into `growing` at most half a second later. At the end the same encoded picture and sound
    are put into `path`: the same frames and sound as `write_video` gives, coded otherwise, with a key frame each
    second and nothing held back to look ahead (no B-frames), which takes more bytes for the same quality.

    Args:
        path, frames, fps, sound, comment, look, seconds: As for `write_video`.
        growing: Where the fragments go; it stays there afterwards.

    Returns:
        The number of frames written.

    Raises:
        MediaError: As `write_video`. Then there is nothing new at `path`, and `growing` ends where it broke off.
    """
    with complete_or_absent(path) as part:
        with errors_named(growing):
            file = growing.open("wb", buffering=0)  # readers see it at once
        with file, closing(path, open_mp4(path, _Onwards(file), _options(GROWING_FRAGMENT))) as container:
            count = write_tracks(path, container, frames, fps, sound, comment, look, seconds, GROWING)
        with closing(path, open_mp4(path, part, FASTSTART)) as container, errors_named(path):
            rewrap(growing, container)
    return count


def _options(fragment: Fraction) -> dict[str, str]:
    """What to tell FFmpeg's mp4 writer for fragments of at most so many seconds."""
    return {"movflags": _FRAGMENTS, "frag_duration": str(int(fragment * 1_000_000))}


def rewrap(source: Path, container: OutputContainer) -> None:
    """Puts what a file holds into an mp4, in the order it was written, as it is."""
    with open_media(source) as fragments:
        container.metadata.update(fragments.metadata)
        tracks = [container.add_stream_from_template(stream) for stream in fragments.streams]
        for packet in fragments.demux():
            if packet.size:
                packet.stream = tracks[packet.stream.index]
                container.mux(packet)


def _avc(extradata: bytes) -> str:
    """The name of an H.264 stream in a list of codecs (RFC 6381): profile, constraints and level, from its head."""
    begin = extradata.index(b"\0\0\1\x67") + 4
    return f"avc1.{extradata[begin : begin + 3].hex()}"
