"""Pieces of one video, each encoded by itself, put together without encoding anything anew."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import MediaError
from .media_file import open_media
from .media_output import FASTSTART, closing, complete_or_absent, errors_named, open_mp4
from .picture_track import Coding
from .sound_track import sound_track

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    import av

PIECE = Coding({"crf": "18", "threads": "4", "x264-params": "cpu-independent=1"})
"""For a piece, which is to be the same wherever it is made. By itself, x264 uses more threads on a larger machine and
other code on another processor: its result depends on both, and with AVX-512's code even on chance."""


def join_pieces(
    path: Path,
    part: Path,
    pieces: Sequence[Path],
    fps: Fraction,
    sound: Path,
    comment: str | None = None,
    seconds: Fraction | None = None,
) -> int:
    """Writes an mp4 of pieces of video one after the other, and a sound. The pictures are taken over as they are.

    Args:
        path: The file to write; it appears under its name only when it is complete.
        part: Its name until then, on the same file system, of which there is no other user.
        pieces: Files of `write_video` without sound, coded as `PIECE` alike, of frames of one size; at least one.
        fps: Frames a second of every piece.
        sound: A file with sound; it is taken over as it is where mp4 can hold it, else it becomes AAC.
        comment: Goes into the file's metadata as "comment".
        seconds: Ends the sound there; None writes all of it.

    Returns:
        The number of frames written.

    Raises:
        MediaError: A piece cannot be read, the sound is damaged, or the file cannot be written.
    """
    with complete_or_absent(path, part) as file, closing(path, open_mp4(path, file, FASTSTART)) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        with open_media(pieces[0]) as first, errors_named(path):
            like = first.streams.video[0]
            picture = container.add_stream_from_template(like)
        with sound_track(sound, seconds) as speech:
            speech.attach(container)
            count = 0
            for piece in pieces:
                begin = count
                for packet in _packets(piece, like.codec_context.extradata):
                    if not count:
                        delay = packet.dts  # how long before it is shown a frame is decoded, as a negative number
                    # A last piece of few frames has a shorter delay than those before it: keep theirs, for the rate.
                    packet.dts = delay + round(count / fps / packet.time_base)
                    packet.pts += round(begin / fps / packet.time_base)
                    packet.stream = picture
                    count += 1
                    with errors_named(path):
                        container.mux(packet)
                        speech.add_until(count / fps)
            with errors_named(path):
                speech.add_until(math.inf)
                speech.finish()
    return count


def _packets(piece: Path, header: bytes) -> Iterator[av.Packet]:
    """The pictures of a piece, of which all have the same header: the joined file has but one."""
    import av

    with open_media(piece) as container:
        stream = container.streams.video[0]
        if stream.codec_context.extradata != header:
            raise MediaError(
                f"The piece {piece} was encoded by another version of the encoder than those before it.",
                "Install the same version of PyAV on every machine, delete the piece's folder and start again.",
            )
        try:
            for packet in container.demux(stream):
                if packet.size:
                    yield packet
        except av.FFmpegError as error:
            raise MediaError(f"The piece {piece} cannot be read: {error}.", "Delete it and start again.") from error
