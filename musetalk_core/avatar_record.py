"""`avatar.json`: what an avatar is made of, and from what each of its files was made.

It is written last and replaced at once, so that an avatar is always whole. It names the other files, and nothing
but files beside it in the avatar's own folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, get_args

from .avatar import Preparation
from .errors import InputError, MediaError
from .face_options import ChoiceBy, Detection, FaceChoice, FaceOptions, NoFace
from .models import PRECISIONS
from .releases import RELEASES, MaskMode
from .timeline import FASTEST, LENGTHS
from .video_look import VideoLook

Value = TypeVar("Value")

FORMAT = "musetalk-avatar"
VERSION = 1
FILE = "avatar.json"
KINDS = {"frames": "mkv", "seen": "json", "latents": "safetensors", "masks": "safetensors"}
"""The files of an avatar, and how their names end."""

_REMEDY = "Prepare the avatar again."
_MOST = 2**31  # of any number
_LAST_CODE = 511  # of colours: FFmpeg numbers its own from 256
_GENTLEST = 1e-9  # smoothing that is not none


@dataclass(frozen=True)
class Part:
    """One of the files.

    Attributes:
        file: Its name.
        sha256: Of its content. It is compared where the file is to be kept, not each time the avatar is opened.
        origin: All that it was made from, as JSON has it; where that is the same it is not made again.
    """

    file: str
    sha256: str
    origin: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """What stands in `avatar.json`.

    Attributes:
        release: Name of the release.
        precision: Of the VAE, a key of `PRECISIONS`.
        synthetic: Whether any of the weights was a stand-in.
        fps: Frames a second at which it speaks.
        looked_at: Frames a second of the source frames, as the smoothing counts them.
        width, height: Of the frames, in pixels.
        frames: How many there are.
        faceless: How many of them have no box.
        shift_range: (minus, plus): ``bbox_shift`` is usable in -minus..plus.
        shown: Which frame is shown, for each at ``fps``.
        look: What a video of it is to look like; None for stills.
        settings: What was chosen; a picture to choose the face by is not kept.
        parts: Each of `KINDS`.
    """

    release: str
    precision: str
    synthetic: bool
    fps: Fraction
    looked_at: Fraction
    width: int
    height: int
    frames: int
    faceless: int
    shift_range: tuple[int, int]
    shown: list[int]
    look: VideoLook | None
    settings: Preparation
    parts: Mapping[str, Part]


def save(record: Record, folder: Path) -> None:
    """Make an avatar what the record says, at once.

    Raises:
        MediaError: it cannot be written.
    """
    path, fresh = folder / FILE, folder / f"{FILE}.part"
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(_text(record))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise MediaError(
            f"{path} cannot be written ({error.strerror}).", "Choose a folder that can be written to and has room."
        ) from error


def load(folder: Path) -> Record:
    """Read and check an avatar's record; none of the other files is looked at.

    Raises:
        InputError: there is no avatar, or none this version can read.
    """
    path = folder / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        if (data["format"], data["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {data['format']!r} version {data['version']!r}")
        return _record(data)
    except OSError as error:
        raise InputError(f"There is no avatar in {folder} ({error.strerror}).", "Prepare one.") from error
    # A RecursionError is of lists in lists in lists.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is no avatar of version {VERSION} ({str(error)[:200]}).", _REMEDY) from error


def require_storable(settings: Preparation) -> None:
    """Refuse settings out of range before any work: an avatar with them could not be opened.

    Raises:
        InputError: one of them is.
    """
    try:
        _settings(json.loads(json.dumps(asdict(_without_picture(settings)), default=str)))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"No avatar can be prepared like this: {error}.", "Keep settings in their ranges."
        ) from error


def as_json(value: Any) -> Any:
    """A value as it comes back from JSON."""
    return json.loads(json.dumps(value))


def _text(record: Record) -> str:
    head = {"format": FORMAT, "version": VERSION} | asdict(
        replace(record, settings=_without_picture(record.settings))
    )
    shown = head.pop("shown")
    text = json.dumps(head, indent=1, default=str)[:-2]  # exact fractions are text
    return f'{text},\n "shown": {json.dumps(shown)}\n}}\n'


def _without_picture(settings: Preparation) -> Preparation:
    return replace(settings, faces=replace(settings.faces, choice=replace(settings.faces.choice, picture=None)))


def _record(data: dict[str, Any]) -> Record:
    frames = _integer(data["frames"], 1)
    shown = data["shown"]
    if not isinstance(shown, list) or not shown:
        raise ValueError("it shows nothing")
    minus, plus = data["shift_range"]
    return Record(
        release=_one_of(RELEASES, data["release"]),
        precision=_one_of(PRECISIONS, data["precision"]),
        synthetic=_truth(data["synthetic"]),
        fps=_rate(data["fps"]),
        looked_at=_rate(data["looked_at"]),
        width=_integer(data["width"], 1),
        height=_integer(data["height"], 1),
        frames=frames,
        faceless=_integer(data["faceless"], 0, frames),
        shift_range=(_integer(minus), _integer(plus)),
        shown=[_integer(i, 0, frames - 1) for i in shown],
        look=_optional(_look, data["look"]),
        settings=_settings(data["settings"]),
        parts={kind: _part(kind, data["parts"][kind]) for kind in KINDS},
    )


def _look(data: dict[str, Any]) -> VideoLook:
    return VideoLook(
        matrix=_integer(data["matrix"], 0, _LAST_CODE),
        range=_integer(data["range"], 0, 2),
        primaries=_integer(data["primaries"], 0, _LAST_CODE),
        transfer=_integer(data["transfer"], 0, _LAST_CODE),
        full_chroma=_truth(data["full_chroma"]),
        pixel_aspect=_fraction(data["pixel_aspect"]),
    )


def _settings(data: dict[str, Any]) -> Preparation:
    faces, choice = data["faces"], data["faces"]["choice"]
    x, y = choice["point"]
    smoothing = data["smoothing"]
    if type(smoothing) not in (int, float) or (smoothing != 0 and not _GENTLEST <= smoothing <= 1):
        raise ValueError("smoothing is not within 0..1")
    return Preparation(
        bbox_shift=_integer(data["bbox_shift"]),
        extra_margin=_optional(_integer, data["extra_margin"]),
        fps=_optional(_rate, data["fps"]),
        length=_one_of(LENGTHS, data["length"]),
        faces=FaceOptions(
            choice=FaceChoice(
                by=_one_of(get_args(ChoiceBy), choice["by"]),
                position=_integer(choice["position"]),
                point=(_integer(x), _integer(y)),
            ),
            detection=_one_of(get_args(Detection), faces["detection"]),
            no_face=_one_of(get_args(NoFace), faces["no_face"]),
            hold_frames=_integer(faces["hold_frames"], 0),
            upright=_truth(faces["upright"]),
        ),
        smoothing=smoothing,
        mask_mode=_optional(lambda mode: _one_of(get_args(MaskMode), mode), data["mask_mode"]),
        cheek_width=_optional(_integer, data["cheek_width"]),
        seed=_optional(lambda seed: _integer(seed, -(2**63), 2**64), data["seed"]),
    )


def _part(kind: str, data: dict[str, Any]) -> Part:
    if not is_part(data["file"], kind):
        raise ValueError(f"{data['file']!r} is not the name of a file of {kind}")
    if not isinstance(data["origin"], dict):
        raise ValueError(f"nobody knows what its {kind} were made from")
    if not re.fullmatch("[0-9a-f]{64}", data["sha256"]):
        raise ValueError(f"the SHA-256 of its {kind} is none")
    return Part(data["file"], data["sha256"], data["origin"])


def is_part(name: str, kind: str) -> bool:
    """Whether a file's name is one that a file of this kind is given."""
    return re.fullmatch(rf"{kind}-[0-9a-f]{{8}}\.{KINDS[kind]}", name) is not None


def is_ours(name: str) -> bool:
    """Whether a file's name is one that this package gives to files of avatars, whole or not yet."""
    name = name.removesuffix(".part")
    return name == FILE or any(is_part(name, kind) for kind in KINDS)


def _integer(value: Any, least: int = -_MOST, most: int = _MOST) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError("a number is not a whole one, or too large or too small")
    return value


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("what can be true or false is neither")
    return value


def _one_of(names: Any, value: Any) -> str:
    if value not in names:
        raise ValueError(f"{value!r} is none of {', '.join(names)}")
    return value


def _fraction(value: Any) -> Fraction:
    # Fraction would also take "1e999999999", and work on it for years.
    if not re.fullmatch(r"[1-9][0-9]{0,9}(/[1-9][0-9]{0,9})?", value):
        raise ValueError("a fraction is none, or not above 0")
    return Fraction(value)


def _rate(value: Any) -> Fraction:
    rate = _fraction(value)
    if rate > FASTEST:
        raise ValueError(f"more than {FASTEST} frames a second")
    return rate


def _optional(read: Callable[[Any], Value], value: Any) -> Value | None:
    return None if value is None else read(value)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")
