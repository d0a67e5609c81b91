"""What a client of a live session may say, and how its messages are read.

The client's first message is ``{"type": "open", "avatar": NAME, "sample_rate": HZ}`` (one of `SOUND_RATES`). The
answer is ``{"type": "opened", "width", "height", "fps", "mime"}``: size in pixels, the rate as "25" or "30000/1001",
and what a browser's MediaSource needs to be told. From then on

- the client sends sound in binary messages (16-bit little-endian PCM, mono; an empty one keeps the session open), and
  ``{"type": "flush"}`` (the utterance ends here), ``{"type": "interrupt"}`` (say nothing of what I sent) or
  ``{"type": "close"}``. It may be ahead of what is spoken, up to a limit; reading never stops, so that an
  interruption need not wait behind the sound it is to cut.
- the server sends a fragmented mp4 in binary messages, in order, and ``{"type": "state", "speaking": true or false}``
  whenever that changes. A client that reads slowly makes its session wait: what it is shown comes later, nothing
  piles up.

A client that sends nothing for a minute in which there is nothing to speak is taken to have gone. Whatever goes wrong
ends the session, with ``{"type": "error", "message", "cause", "remedy"}`` and a close code: 1008
the client's mistake, or it was silent for too long; 1009 a message too big (without the text); 1013 too many
sessions; 1011 the server's fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from .errors import InputError
from .video_look import VideoLook

SOUND_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
COMMANDS = ("flush", "interrupt", "close")


@dataclass(frozen=True)
class OpenRequest:
    """The first message of a client.

    Attributes:
        avatar: Name of the prepared avatar.
        sample_rate: Of the sound that will come, Hz.
    """

    avatar: str
    sample_rate: int


class Moment(Protocol):
    """One output frame and what belongs to it."""

    picture: np.ndarray  # uint8 RGB (H, W, 3)
    sound: np.ndarray  # float32 (n,) at the session's rate
    speaking: bool


class Session(Protocol):
    """What a session has to offer; `live.LiveSession` does."""

    def push(self, samples: np.ndarray) -> int: ...
    def flush(self) -> None: ...
    def interrupt(self) -> None: ...
    def close(self) -> None: ...
    def __iter__(self) -> Iterator[Moment]: ...

    @property
    def waiting(self) -> bool: ...  # whether it has something to speak


@dataclass(frozen=True)
class Opened:
    """A session and what its pictures are like.

    Attributes:
        session: Its iteration gives the pictures, in real time.
        shape: (H, W, 3) of each.
        fps: Their rate.
        look: Of the avatar's source; None for stills.
        comment: For the video's metadata.
        leave: Called before the session is closed.
    """

    session: Session
    shape: tuple[int, ...]
    fps: Fraction
    look: VideoLook | None = None
    comment: str | None = None
    leave: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Ends the session; may wait for what is being computed."""
        self.leave()
        self.session.close()


OpenSession = Callable[[OpenRequest], Opened]


def read_open(text: str) -> OpenRequest:
    """The first message.

    Raises:
        InputError: it is not what a session begins with.
    """
    message = _read(text)
    if message["type"] != "open":
        raise InputError(f"The first message is of type {message['type']!r}.", "Send an open message first.")
    avatar, rate = message.get("avatar"), message.get("sample_rate")
    if not isinstance(avatar, str):
        raise InputError("The open message names no avatar.", "Give the name of one that /musetalk/avatars lists.")
    if type(rate) is not int or rate not in SOUND_RATES:
        raise InputError(
            f"The sample_rate {rate!r} is not taken.",
            f"Send the sound at one of these, in Hz: {', '.join(map(str, SOUND_RATES))}.",
        )
    return OpenRequest(avatar, rate)


def read_command(text: str) -> str:
    """What a later message asks for: one of `COMMANDS`.

    Raises:
        InputError: it is none of them.
    """
    kind = _read(text)["type"]
    if kind == "open":
        raise InputError("The session is open already.", "Connect once more for another session.")
    if kind not in COMMANDS:
        raise InputError(f"There is no message of type {kind!r}.", f"Send one of: {', '.join(COMMANDS)}.")
    return kind


def read_sound(data: bytes) -> np.ndarray:
    """Samples as they come, int16 (n,).

    Raises:
        InputError: half a sample is missing.
    """
    if len(data) % 2:
        raise InputError(f"A message of {len(data)} bytes is no sound.", "Send 16-bit samples, two bytes each.")
    return np.frombuffer(data, "<i2")


def _read(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise InputError("A text message is no JSON object with a type.", 'Send such as {"type": "flush"}.')
    return message
