"""Whole jobs on small films of a real face whose frames are numbered, and what stands in the file they write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from torch import Tensor, nn

from musetalk_core import face_track_file, job
from musetalk_core.job import Outcome, Settings
from musetalk_core.media_input import open_clip, read_clip, read_sound
from musetalk_core.progress import silent
from musetalk_core.sound_input import Sound
from tests.core.media_samples import encode_film, encode_sound
from tests.core.stand_ins import SAMPLE, StandIns, fixed_track

SIZE = (64, 64)  # height, width
BOX = (16, 24, 48, 56)
MOUTH = (slice(46, 54), slice(26, 38))  # rows and columns that are repainted in full
BLOCK = 8  # px: side of a digit of a frame's number
BITS = 16
LOUD = 0.6  # of Whisper's log-mel spectrogram; silence is below 0

# Pictures


def face_film(count: int, height: int = SIZE[0], width: int = SIZE[1]) -> list[np.ndarray]:
    """The sample's face, moving and turning; at the top every frame has its number."""
    face = read_clip(SAMPLE / "face.jpg").frames[0][5:205, 125:325]
    face = cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA)
    out = []
    for i in range(count):
        swing = np.sin(i / 9)
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 6 * swing, 1)
        turn[:, 2] += 3 * swing, 2 * np.cos(i / 7)
        out.append(numbered(cv2.warpAffine(face, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), i))
    return out


def film(folder: Path, count: int, rate: Fraction = Fraction(25), name: str = "film.mp4", **more) -> Path:
    """A file of `face_film`; what else there is to set goes to `encode_film`."""
    encode_film(folder / name, face_film(count), rate, **more)
    return folder / name


def numbered(frame: np.ndarray, number: int) -> np.ndarray:
    """The frame with a number on it, in black and white blocks."""
    frame = frame.copy()
    for digit, (rows, columns) in enumerate(_digits(frame.shape[1])):
        frame[rows, columns] = 235 if number >> digit & 1 else 20
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number on a frame."""
    return sum(int(frame[place].mean() > 128) << digit for digit, place in enumerate(_digits(frame.shape[1])))


def _digits(width: int) -> list[tuple[slice, slice]]:
    across = width // BLOCK
    places = [((i // across) * BLOCK, (i % across) * BLOCK) for i in range(BITS)]
    return [(slice(y, y + BLOCK), slice(x, x + BLOCK)) for y, x in places]


# Sound


def spoken(seconds: float) -> Sound:
    """The sample's voice, again and again."""
    voice = read_sound(SAMPLE / "voice.wav")
    wave = np.tile(voice.waveform, -(-int(seconds * voice.rate) // voice.waveform.shape[1]))
    return Sound(wave[:, : int(seconds * voice.rate)], voice.rate)


def bursts(seconds: float, starts: Sequence[float], rate: int = 16000, lasting: float = 0.2) -> Sound:
    """Silence with loud noise at these moments."""
    wave = np.zeros((1, int(seconds * rate)), np.float32)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, int(lasting * rate))
    for start in starts:
        wave[0, int(start * rate) :][: len(noise)] = noise
    return Sound(wave, rate)


def voice_file(path: Path, sound: Sound, codec: str = "pcm_s16le") -> Path:
    encode_sound(path, codec, sound, "mono")
    return path


# Networks


class LoudnessEncoder(nn.Module):
    """A Whisper encoder whose rows are 40 where the sound is loud and 0 where it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.positional_embedding = torch.zeros(1)
        self.blocks = [nn.Identity()] * 4
        self.conv1 = self.ln_post = nn.Identity()
        self.windows = 0

    def conv2(self, mel: Tensor) -> Tensor:
        self.windows += 1
        loud = mel.amax(1).unflatten(1, (-1, 2)).amax(2) > LOUD
        return 40.0 * loud[:, None].expand(-1, 384, -1)


class Listeners(StandIns):
    """`Models` of stand-ins that paint a red mouth where the voice is loud, a black one where it is not."""

    def __init__(self, release: str = "1.5", synthetic: bool = False) -> None:
        super().__init__(release, synthetic)
        self.networks.whisper = LoudnessEncoder()


def open_mouth(frame: np.ndarray) -> bool:
    return frame[MOUTH][..., 0].mean() > 100


# Jobs


def track_file(
    folder: Path, frames: int, size: tuple[int, int] = SIZE, present: Sequence[bool] | None = None
) -> Path:
    """A saved face track of a clip."""
    face_track_file.save(fixed_track(size, BOX, present or [True] * frames), folder / "track.json")
    return folder / "track.json"


@dataclass(frozen=True)
class Written:
    """What stands in the file a job wrote.

    Attributes:
        path: The file.
        outcome: What the job said about it.
        frames: uint8 RGB (H, W, 3) each.
        times: Seconds at which each is shown.
        rate: Of the pictures, as the file says.
    """

    path: Path
    outcome: Outcome
    frames: list[np.ndarray]
    times: list[Fraction]
    rate: Fraction

    @property
    def numbers(self) -> list[int]:
        """Which frame of the source each frame shows."""
        return [number_of(frame) for frame in self.frames]

    @property
    def end(self) -> Fraction:
        """Seconds at which the picture ends."""
        return self.times[-1] + 1 / self.rate


def speak(folder: Path, source: Path, voice: Path, frames: int, size: tuple[int, int] = SIZE, **settings) -> Written:
    """Do a job.

    Args:
        folder: Where the output goes.
        source, voice: The files.
        frames: Of the saved face track.
        size: Height and width of the frames.
        settings: Of the job.
    """
    track = track_file(folder, frames, size)
    chosen = Settings(face_track=track, **settings)
    outcome = job.run(Listeners(), source, voice, folder / "out.mp4", chosen, lambda stage: silent)
    return written(folder / "out.mp4", outcome)


def written(path: Path, outcome: Outcome) -> Written:
    clip = open_clip(path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stamps = sorted(packet.pts * stream.time_base for packet in container.demux(stream) if packet.size)
        return Written(path, outcome, list(clip.frames), stamps, stream.average_rate)


def ends_of(path: Path) -> tuple[Fraction, Fraction]:
    """Seconds at which the picture and the sound of a file end, as its tracks say."""
    with av.open(str(path)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        return picture.duration * picture.time_base, sound.duration * sound.time_base


def loud_at(path: Path) -> list[float]:
    """Seconds at which the sound of a file becomes loud after at least 0.1 s of silence."""
    sound = read_sound(path)
    loud = np.flatnonzero(np.abs(sound.waveform[0]) > 0.1)
    first = np.append(True, np.diff(loud) > sound.rate / 10)
    return (loud[first] / sound.rate).tolist()


def opened_at(video: Written) -> list[float]:
    """Seconds at which the mouth opens."""
    mouths = [open_mouth(frame) for frame in video.frames]
    return [float(t) for t, now, before in zip(video.times, mouths, [False, *mouths], strict=False) if now > before]
