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
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from .avatar import Preparation
from .errors import PREPARE_AGAIN, InputError, MediaError
from .face_options import ChoiceBy, Detection, FaceChoice, FaceOptions, NoFace
from .models import PRECISIONS
from .releases import CHEEK_WIDTHS, RELEASES, MaskMode
from .timeline import FASTEST, LENGTHS
from .video_look import VideoLook

Value = TypeVar("Value")

FORMAT = "musetalk-avatar"
VERSION = 1
FILE = "avatar.json"
KINDS = {"frames": "mkv", "seen": "json", "latents": "safetensors", "masks": "safetensors"}
"""The files of an avatar, and how their names end."""

_MOST = 2**31  # of any number
_LAST_CODE = 511  # of colours: FFmpeg numbers its own from 256


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

    @property
    def encoded_by(self) -> str:
        """`fingerprints.of_encoder` of what made the latents."""
        return str(self.parts["latents"].origin.get("vae"))


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
        raise InputError(f"{path} is no avatar of version {VERSION} ({str(error)[:200]}).", PREPARE_AGAIN) from error


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
    frames = _integer("frames", data["frames"], 1)
    shown = data["shown"]
    if not isinstance(shown, list) or not shown:
        raise ValueError("it shows nothing")
    minus, plus = data["shift_range"]
    return Record(
        release=_one_of(RELEASES, data["release"]),
        precision=_one_of(PRECISIONS, data["precision"]),
        synthetic=_truth("synthetic", data["synthetic"]),
        fps=_rate("fps", data["fps"]),
        looked_at=_rate("looked_at", data["looked_at"]),
        width=_integer("width", data["width"], 1),
        height=_integer("height", data["height"], 1),
        frames=frames,
        faceless=_integer("faceless", data["faceless"], 0, frames),
        shift_range=(_integer("shift_range", minus), _integer("shift_range", plus)),
        shown=[_integer("shown", i, 0, frames - 1) for i in shown],
        look=_optional(_look, data["look"]),
        settings=_settings(data["settings"]),
        parts={kind: _part(kind, data["parts"][kind]) for kind in KINDS},
    )


def _look(data: dict[str, Any]) -> VideoLook:
    return VideoLook(
        matrix=_integer("matrix", data["matrix"], 0, _LAST_CODE),
        range=_integer("range", data["range"], 0, 2),
        primaries=_integer("primaries", data["primaries"], 0, _LAST_CODE),
        transfer=_integer("transfer", data["transfer"], 0, _LAST_CODE),
        full_chroma=_truth("full_chroma", data["full_chroma"]),
        pixel_aspect=_fraction("pixel_aspect", data["pixel_aspect"]),
    )


def _settings(data: dict[str, Any]) -> Preparation:
    faces, choice = data["faces"], data["faces"]["choice"]
    x, y = choice["point"]
    smoothing = data["smoothing"]
    if type(smoothing) not in (int, float) or not 0 <= smoothing <= 1:
        raise ValueError("smoothing is not a number from 0 to 1")
    return Preparation(
        bbox_shift=_integer("bbox_shift", data["bbox_shift"]),
        extra_margin=_optional(partial(_integer, "extra_margin"), data["extra_margin"]),
        fps=_optional(partial(_rate, "fps"), data["fps"]),
        length=_one_of(LENGTHS, data["length"]),
        faces=FaceOptions(
            choice=FaceChoice(
                by=_one_of(get_args(ChoiceBy), choice["by"]),
                position=_integer("position", choice["position"]),
                point=(_integer("point", x), _integer("point", y)),
            ),
            detection=_one_of(get_args(Detection), faces["detection"]),
            no_face=_one_of(get_args(NoFace), faces["no_face"]),
            hold_frames=_integer("hold_frames", faces["hold_frames"], 0),
            upright=_truth("upright", faces["upright"]),
        ),
        smoothing=smoothing,
        mask_mode=_optional(partial(_one_of, get_args(MaskMode)), data["mask_mode"]),
        cheek_width=_optional(
            partial(_integer, "cheek_width", least=CHEEK_WIDTHS[0], most=CHEEK_WIDTHS[-1]), data["cheek_width"]
        ),
        seed=_optional(partial(_integer, "seed", least=-(2**63), most=2**64), data["seed"]),
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


def _integer(name: str, value: Any, least: int = -_MOST, most: int = _MOST) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} is not a whole number from {least} to {most}")
    return value


def _truth(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{name} is neither true nor false")
    return value


def _one_of(names: Any, value: Any) -> str:
    if value not in names:
        raise ValueError(f"{value!r} is none of {', '.join(names)}")
    return value


def _fraction(name: str, value: Any) -> Fraction:
    # Fraction would also take "1e999999999", and work on it for years.
    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]{0,9}(/[1-9][0-9]{0,9})?", value):
        raise ValueError(f"{name} is no fraction above 0")
    return Fraction(value)


def _rate(name: str, value: Any) -> Fraction:
    rate = _fraction(name, value)
    if rate > FASTEST:
        raise ValueError(f"{name} is more than {FASTEST} frames a second")
    return rate


def _optional(read: Callable[[Any], Value], value: Any) -> Value | None:
    return None if value is None else read(value)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")
