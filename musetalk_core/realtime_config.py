"""The reference's real-time configuration: avatars, and what each is to say.

Source: the reference's ``configs/inference/realtime.yaml`` and ``realtime_inference.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError
from .plain_names import REMEDY, is_plain, shown
from .tasks import existing, yaml_rows

_SHAPE = "Write each avatar as a name, and below it preparation, video_path and audio_clips."


@dataclass(frozen=True)
class Entry:
    """An avatar of the file.

    Attributes:
        name: Of the avatar.
        prepare: Whether it is to be prepared, also where it was prepared before.
        source: What it is prepared from: a video, an image, or a folder of images; None where it is not named.
        bbox_shift: Pixels to move the face box's middle down.
        voices: What it says: names of the outputs, without an ending, to files with sound.
    """

    name: str
    prepare: bool
    source: Path | None
    bbox_shift: int
    voices: dict[str, Path]


def read_config(path: Path) -> list[Entry]:
    """Read the reference's real-time YAML.

    Args:
        path: The file: avatar names over ``preparation``, ``video_path``, ``bbox_shift`` (0 where it is left
            out) and ``audio_clips``, which are names over files. Relative paths are looked for in the
            current folder, then beside the file.

    Returns:
        At least one avatar, each with at least one voice.

    Raises:
        InputError: there is no such file, or it is no such configuration; the avatar is named.
    """
    try:
        rows = yaml_rows(path, "avatar", _SHAPE)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The configuration {path} cannot be read ({error}).", "Give a .yaml file.") from error
    if not rows:
        raise InputError(f"There are no avatars in {path}.", _SHAPE)
    return [_entry(name, row, path) for name, row in rows.items()]


def _entry(name: str, row: Mapping[str, object], path: Path) -> Entry:
    where = f"Avatar {name} of {path}"
    prepare, shift = row.get("preparation"), row.get("bbox_shift", 0)
    if not isinstance(prepare, bool):
        raise InputError(
            f"{where} does not say whether it is to be prepared: preparation is {prepare}.",
            "Write preparation: True, or False where it was prepared before.",
        )
    if not isinstance(shift, int) or isinstance(shift, bool):
        raise InputError(f"{where} has the bbox_shift {shift}.", "Write a whole number of pixels, such as -7.")
    video = row.get("video_path")
    if not isinstance(video, str | None) or (prepare and not video):
        raise InputError(f"{where} names no video to prepare it from.", "Write video_path, and a file after it.")
    source = existing(video, path.parent) if video else None
    return Entry(name, prepare, source, shift, _voices(where, row.get("audio_clips"), path.parent))


def _voices(where: str, clips: object, beside: Path) -> dict[str, Path]:
    if not isinstance(clips, dict) or not clips:
        raise InputError(f"{where} has no audio_clips.", "Write audio_clips, and below it names over files.")
    for name, file in clips.items():
        if not isinstance(file, str):
            raise InputError(f"{where} names no file for {name}.", 'Write a file after it, such as "voice.wav".')
        if not is_plain(str(name)):
            raise InputError(
                f"{where} has audio clips of the name {shown(str(name))}, which cannot be the name of a file.", REMEDY
            )
    return {str(name): existing(file, beside) for name, file in clips.items()}
