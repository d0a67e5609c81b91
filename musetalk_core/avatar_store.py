"""Avatars on disk: their names and what is known of them; `prepare_avatar` makes one, `open_avatar` lets it speak.

An avatar is a folder: `avatar.json` and the files it names, see `avatar_record`. Nothing in it is a pickle or is
ever executed.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from . import avatar_record
from .avatar_making import prepare_avatar
from .avatar_opening import open_avatar
from .errors import InputError, MuseTalkError
from .fingerprints import TAESD
from .plain_names import REMEDY, is_plain, shown

__all__ = ["AvatarInfo", "avatar_folder", "avatar_info", "list_avatars", "open_avatar", "prepare_avatar"]


@dataclass(frozen=True)
class AvatarInfo:
    """What is known of an avatar without opening it.

    Attributes:
        name: Its name.
        release: Name of the release it was prepared for.
        precision: Of the VAE, a key of `models.PRECISIONS`.
        synthetic: Whether it was made with synthetic weights.
        fps: Frames a second at which it speaks.
        width, height: Of its frames, in pixels.
        frames: How many pictures it has.
        shown: How many frames it lasts at ``fps`` before it starts over.
        faceless: How many of its pictures have no face and pass through untouched.
        taesd: Whether TAESD encoded its faces, which is coarser.
        bbox_shift: With which it was prepared.
        shift_range: (minus, plus): ``bbox_shift`` is usable in -minus..plus.
    """

    name: str
    release: str
    precision: str
    synthetic: bool
    fps: Fraction
    width: int
    height: int
    frames: int
    shown: int
    faceless: int
    taesd: bool
    bbox_shift: int
    shift_range: tuple[int, int]


def avatar_folder(root: Path, name: str) -> Path:
    """The folder of an avatar; it need not be there.

    Args:
        root: Where the avatars are.
        name: A plain one, see `plain_names`.

    Raises:
        InputError: it is not a name that can be given to a folder on every system.
    """
    if not is_plain(name):
        raise InputError(f"{shown(name)} cannot be the name of an avatar.", REMEDY)
    return root / name


def avatar_info(folder: Path) -> AvatarInfo:
    """What is known of an avatar, from its `avatar.json` alone.

    Raises:
        InputError: there is none, or none this version can read.
    """
    record = avatar_record.load(folder)
    return AvatarInfo(
        folder.name,
        record.release,
        record.precision,
        record.synthetic,
        record.fps,
        record.width,
        record.height,
        record.frames,
        len(record.shown),
        record.faceless,
        record.encoded_by.startswith(TAESD),
        record.settings.bbox_shift,
        record.shift_range,
    )


def list_avatars(root: Path) -> list[AvatarInfo]:
    """All avatars in a folder by name; what is none is passed over."""
    found = []
    for path in sorted(root.iterdir() if root.is_dir() else ()):
        with contextlib.suppress(MuseTalkError):
            found.append(avatar_info(avatar_folder(root, path.name)))
    return found
