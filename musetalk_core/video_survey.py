"""One pass over a video that decodes everything and converts nothing: what is in it, and is it whole."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from .errors import MediaError
from .media_file import CUT_SHORT, Source, name_of, open_media
from .progress import Progress, silent
from .timeline import FASTEST, TRAINED_FPS
from .video_look import VideoLook, look_of

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    import av

BUFFER_BYTES = 128 * 2**20
BUFFER_FRAMES = 16
"""Decoded frames of a video are held up to so many bytes, but so many frames at least."""

_REPORTED = 100  # frames between two reports of progress

MILLISECOND = Fraction(1, 1000)


@dataclass(frozen=True)
class Survey:
    """What a pass over a video found. Frames are numbered from the first one that the decoder gives.

    Attributes:
        source: The video.
        window: The numbers of the frames asked for.
        stamps: The timestamp of each frame up to the window's end, in the stream's ticks; None where it has none.
        prints: A checksum of the brightness of each.
        keys: Frames that decoding can start at: their number, and their timestamp in decoding order.
        times: Seconds from the first frame of the window to each.
        end: Seconds from there to when the last goes.
        fps, variable, look: As in `Clip`.
        capacity: How many decoded frames to hold.
        head: The first frames of the window, decoded, at most `capacity`.
    """

    source: Source
    window: range
    stamps: list[int | None]
    prints: list[int]
    keys: dict[int, int]
    times: tuple[Fraction, ...]
    end: Fraction
    fps: Fraction | None
    variable: bool
    look: VideoLook
    capacity: int
    head: list[av.VideoFrame]


def survey_video(source: Source, seconds: Fraction | None, start: Fraction, progress: Progress = silent) -> Survey:
    """Decodes a video from its beginning to the end of what is wanted.

    Args:
        source: The video.
        seconds: How long a piece is wanted: the frames that start before that; None is all.
        start: Seconds from the video's first frame to where the piece begins.
        progress: Called every hundred frames.

    Raises:
        MediaError: The file holds no picture, ends before `start`, changes its size midway, or is damaged:
            also where it breaks off before the length it promises. Damage after the piece is no matter.
    """
    name = name_of(source)
    with open_media(source) as container:
        stream = picture_stream(source, container)
        rate = stream.average_rate or stream.guessed_rate
        key_stamps: dict[int, int] = {}
        timing = _Timing(stream.time_base, 1 / (rate or TRAINED_FPS))
        stamps, prints, head = [], [], []
        first = None  # number of the window's first frame
        for number, frame in enumerate(_whole_frames(name, container, stream, key_stamps)):
            moment = timing.next(frame.pts)
            if number % _REPORTED == _REPORTED - 1:
                progress(number + 1, _expected(container, stream, seconds, start), None)
            if first is None and moment - timing.moments[0] >= start:
                first = number
                capacity = max(BUFFER_FRAMES, BUFFER_BYTES // sum(plane.buffer_size for plane in frame.planes))
                size, look = upright_size(frame), look_of(stream, frame)
            if first is not None:
                if seconds is not None and number > first and moment - timing.moments[first] >= seconds:
                    break
                if upright_size(frame) != size:
                    width, height = upright_size(frame)
                    raise MediaError(
                        f"Frame {number} of {name} is {width} x {height}, those before it {size[0]} x {size[1]}.",
                        "Bring all pictures to one size.",
                    )
                if len(head) < capacity:
                    head.append(frame)
            stamps.append(frame.pts)
            prints.append(fingerprint(frame))
        if not stamps:
            raise MediaError(f"{name} holds no frame that can be read.", "Export or download it again.")
        if first is None:
            raise MediaError(f"{name} ends before {float(start):g} s.", "Start earlier.")
        window = range(first, len(stamps))
        # Where the window ends before the video, one more than frames: the last may stay on screen for long.
        moments = tuple(moment - timing.moments[first] for moment in timing.moments[first:])
        times = moments[: len(window)]
        end = moments[-1] if len(moments) > len(window) else times[-1] + timing.step
        measured = Fraction(len(moments) - 1) / moments[-1] if moments[-1] else rate or TRAINED_FPS
        if rate is None or rate > FASTEST:  # recorded by a browser: there is no rate in the file
            rate = measured.limit_denominator(1000)
        # flv and the like cannot say 30000/1001
        nominal = Fraction(round(rate)), Fraction(round(rate) * 1000, 1001)
        rates = [r for r in (stream.average_rate, stream.guessed_rate, *nominal) if r]
        jitter = max(stream.time_base, MILLISECOND)  # as far as rounding moves a timestamp
        steady = next((r for r in rates if _is_steady(moments, r, jitter)), None)
        keys = {i: key_stamps[stamp] for i, stamp in enumerate(stamps) if stamp in key_stamps}
        fps = steady or rate
        return Survey(source, window, stamps, prints, keys, times, end, fps, steady is None, look, capacity, head)


def _expected(
    container: av.container.InputContainer, stream: av.VideoStream, seconds: Fraction | None, start: Fraction
) -> int:
    """About how many frames a survey decodes, by what the file says of itself."""
    import av

    whole = Fraction(container.duration or 0, av.time_base)
    wanted = whole if seconds is None else start + seconds
    return int(min(wanted, whole or wanted) * (stream.average_rate or stream.guessed_rate or TRAINED_FPS))


def picture_stream(source: Source, container: av.container.InputContainer) -> av.VideoStream:
    """The stream of pictures, of several the one FFmpeg would show, set to decode on all cores."""
    stream = container.streams.best("video")
    if stream is None:
        raise MediaError(f"{name_of(source)} holds no picture.", "Choose a video or an image.")
    stream.thread_type = "AUTO"
    return stream


def fingerprint(frame: av.VideoFrame) -> int:
    """A checksum over every eighth row of a frame's brightness, by which to know it again."""
    plane = frame.planes[0]
    rows, pitch = memoryview(plane), plane.buffer_size // plane.height
    width = frame.width * -(-frame.format.components[0].bits // 8)  # what follows in a row is padding
    checksum = 0
    for y in range(0, plane.height, 8):
        checksum = zlib.crc32(rows[y * pitch : y * pitch + width], checksum)
    return checksum


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Width and height as shown."""
    sideways = round(frame.rotation / 90) % 2
    return (frame.height, frame.width) if sideways else (frame.width, frame.height)


class _Timing:
    """When each frame is shown, in seconds: by its timestamp, and where that will not do by the frame rate.

    Args:
        tick: What timestamps count, seconds.
        step: From one frame to the next, seconds.
    """

    def __init__(self, tick: Fraction, step: Fraction) -> None:
        self.tick, self.step = tick, step
        self.moments: list[Fraction] = []
        self.latest: int | None = None
        self.ordered = True

    def next(self, stamp: int | None) -> Fraction:
        """The moment of the next frame, which has this timestamp, if any."""
        if None not in (stamp, self.latest) and stamp < self.latest:
            # Timestamps that run backwards, as they may in avi, belong to other frames.
            self.ordered = False
            self.moments = [i * self.step for i in range(len(self.moments))]
        self.latest = stamp
        moment = stamp * self.tick if stamp is not None and self.ordered else None
        if not self.moments:
            moment = moment or Fraction(0)
        elif moment is None or moment <= self.moments[-1]:
            moment = self.moments[-1] + self.step
        self.moments.append(moment)
        return moment


def _whole_frames(
    name: str, container: av.container.InputContainer, stream: av.VideoStream, key_stamps: dict[int, int]
) -> Iterator[av.VideoFrame]:
    """Yields the frames, and raises at the first one that is damaged or missing.

    Args:
        key_stamps: Gets the timestamps of packets that decoding can start at: in showing order, in decoding order.
    """
    import av

    count = 0
    end = 0.0  # of the longest stream, seconds
    damage = None
    cause = None
    try:
        for packet in container.demux():
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index != stream.index:
                continue
            if packet.is_corrupt:
                damage = "the data is cut off"
                break
            if packet.is_keyframe and None not in (packet.pts, packet.dts):
                key_stamps[packet.pts] = packet.dts
            for frame in packet.decode():
                yield frame
                count += 1
    except av.FFmpegError as error:
        damage, cause = error.strerror, error
    if damage:
        # What lies before the damage is whole, and may be all that is wanted.
        with suppress(av.FFmpegError, EOFError):
            for frame in stream.decode(None):
                yield frame
                count += 1
        raise _broken(name, count, damage) from cause
    # A file cut between two packets reads without any error: only its header knows of the rest.
    promised = (container.duration or 0) / av.time_base
    if end < promised - CUT_SHORT:
        raise _broken(name, count, f"{end:.2f} s of {promised:.2f} s are there")


def _broken(name: str, frame: int, reason: str) -> MediaError:
    return MediaError(
        f"{name} breaks off at frame {frame}: {reason}.",
        "The file is damaged: export or download it again.",
    )


def _is_steady(times: tuple[Fraction, ...], rate: Fraction, jitter: Fraction) -> bool:
    return all(abs(time - i / rate) <= jitter for i, time in enumerate(times))
