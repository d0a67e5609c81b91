"""The manifest of ``batch``: many clips, a line each, with what may be chosen for it."""

from __future__ import annotations

import argparse
import csv
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import run_command
from .arguments import add_avatars, add_output_folder
from .avatar_commands import default_name, named, record_of
from .errors import InputError, MuseTalkError, pick
from .tasks import Task, csv_rows, default_output, existing, output_file, require_own_outputs

if TYPE_CHECKING:
    from .job import Settings

Pairs = Iterable[tuple[str, object]]
"""What is written in a line: names and values as they stand there, a name perhaps twice."""

AVATAR_SETTINGS = ("detail", "colour_match", "fade_in_silence", "first_frames", "batch_size")
"""What may be chosen for an avatar; the rest was when it was prepared."""

_FIELDS = ("source", "avatar", "voice", "output")
_ALIASES = {"video_path": "source", "audio": "voice", "audio_path": "voice", "result_name": "output"}
_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_LONGEST = 300  # letters of an error that quotes what was written
_OBJECT = 'Write it as in {"source": "face.mp4", "voice": "voice.wav", "bbox_shift": 3}.'


@dataclass(frozen=True)
class Line:
    """One clip of a manifest.

    Attributes:
        name: "line 3", by its number in the file; for messages.
        task: What is made of what; an avatar's source is its `avatar.json`. ``bbox_shift`` is None: it is in the
            settings.
        avatar: The avatar's folder; None where a source is given.
        settings: What was chosen in the line, and in the command for what the line leaves out.
    """

    name: str
    task: Task
    avatar: Path | None
    settings: Settings


def add_line_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``batch`` that hold for every line that does not say otherwise."""
    run_command.add_settings(parser)
    where = parser.add_argument_group("where")
    add_output_folder(where)
    add_avatars(where)


def read_manifest(path: Path, args: argparse.Namespace) -> list[Line]:
    """Read a manifest; nothing is opened but the avatars and the pictures of faces that it names.

    Args:
        path: ``.csv`` with a header (commas or semicolons), or ``.jsonl`` or ``.ndjson`` with an object on each line.
            Columns or keys are ``source`` (or ``video_path``) or ``avatar``, ``voice`` (or ``audio``,
            ``audio_path``), ``output`` (or ``result_name``), and the options of ``run`` that are settings, with ``_``
            or ``-``; of these, an object may hold some in an object ``settings``. What is empty or left out is as
            in ``args``. Relative files are looked for in the current folder, then beside the manifest.
        args: The options of `add_line_arguments`, and ``weights``: an avatar is only of use with such as it was
            prepared with.

    Returns:
        At least one line. Lines with the same settings share them.

    Raises:
        InputError: there is no such file, or it is no such list, or two lines write one file, or one writes what
            another reads; the line is named.
    """
    readers = {".csv": _csv_lines, ".jsonl": _json_lines, ".ndjson": _json_lines}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} is no manifest.", "Give a .csv file, or JSON lines in a .jsonl or .ndjson file.")
    try:
        written = readers[path.suffix.lower()](path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The manifest {path} cannot be read ({error}).", "Give a file of text in UTF-8.") from error
    reader, lines = _Reader(path.parent, args), []
    for name, pairs in written.items():
        with _naming(name, path):
            lines.append(reader.line(name, pairs))
    if not lines:
        raise InputError(f"There are no clips in {path}.", "Write at least one: a source and a voice.")
    require_own_outputs([line.task for line in lines])
    return lines


def _csv_lines(path: Path) -> dict[str, Pairs]:
    lines = {}
    for number, row in csv_rows(path).items():
        with _naming(f"line {number}", path):
            if any(row.get(None, ())):
                raise InputError("There are more cells than columns.", "Put cells that hold a comma into quotes.")
        lines[f"line {number}"] = [(key, cell) for key, cell in row.items() if key is not None and cell]
    return lines


def _json_lines(path: Path) -> dict[str, Pairs]:
    lines = {}
    with path.open(encoding="utf-8-sig") as file:
        for number, text in enumerate(file, 1):
            if text.strip():
                with _naming(f"line {number}", path):
                    lines[f"line {number}"] = _pairs(text)
    return lines


def _pairs(text: str) -> Pairs:
    try:
        written = json.loads(text, object_pairs_hook=tuple)  # so that lists are arrays, and no name is lost
    except (ValueError, RecursionError) as error:
        raise InputError(f"It is not JSON ({error}).", _OBJECT) from error
    if not isinstance(written, tuple):
        raise InputError("It is no JSON object.", _OBJECT)
    pairs: list[tuple[str, object]] = []
    for key, value in written:
        pairs += value if key == "settings" and isinstance(value, tuple) else [(key, value)]
    return pairs


@contextmanager
def _naming(name: str, path: Path) -> Iterator[None]:
    """Errors in here say in which line of the manifest they are."""
    try:
        yield
    except MuseTalkError as error:
        raise InputError(f"{name} of {path}: {error.cause}", error.remedy) from error


class _Parser(argparse.ArgumentParser):
    """Reads the values of a line as the command reads its options."""

    def error(self, message: str) -> None:
        raise InputError(f"{message[:_LONGEST]}.", "See run --help for what it may be.")


class _Reader:
    """Makes lines of what is written in them."""

    def __init__(self, beside: Path, args: argparse.Namespace) -> None:
        self._beside = beside
        self._args = args
        self._parser = _Parser(add_help=False)
        run_command.add_settings(self._parser)
        self._defaults = vars(self._parser.parse_args([]))
        self._names = {name: name for name in (*_FIELDS, *self._defaults)} | _ALIASES
        # A thousand lines have few settings and avatars between them; a setting may be a picture.
        self._settings = functools.cache(self._parsed)
        self._avatar = functools.cache(lambda name: named(name, args))

    def line(self, name: str, pairs: Pairs) -> Line:
        given = self._texts(pairs)
        if ("source" in given) == ("avatar" in given):
            raise InputError(
                f"There is {'both a source and an avatar' if 'source' in given else 'no source and no avatar'}.",
                "Give one of the two.",
            )
        if "voice" not in given:
            raise InputError("There is no voice.", "Give a file with sound as voice.")
        chosen = {key: text for key, text in given.items() if key not in _FIELDS}
        voice = existing(given["voice"], self._beside)
        if "avatar" in given:
            if unfit := [key for key in chosen if key not in AVATAR_SETTINGS]:
                raise InputError(
                    f"{unfit[0]} is not for an avatar, which was prepared before.",
                    f"Leave it out: an avatar takes {', '.join(AVATAR_SETTINGS)}.",
                )
            avatar, _ = self._avatar(given["avatar"])
            source, default, options = record_of(avatar), default_name(given["avatar"], voice), AVATAR_SETTINGS
        else:
            avatar, source, options = None, existing(given["source"], self._beside), tuple(self._defaults)
            default = default_output(source, voice, Path()).name
        output = output_file(given.get("output", default), self._args.output_folder)
        settings = self._settings(tuple(sorted(chosen.items())), options)
        return Line(name, Task(source, voice, output), avatar, settings)

    def _texts(self, pairs: Pairs) -> Mapping[str, str]:
        """What is not empty, by our names."""
        given: dict[str, str] = {}
        for key, value in pairs:
            name = pick(self._names, key.strip().replace("-", "_"), "column")
            if not isinstance(value, str if name in (*_FIELDS, "face_track") else str | int | float):
                raise InputError(f"The value of {name} is of the wrong kind.", _OBJECT)
            text = str(value).strip()
            if text and name in given:
                raise InputError(f"{name} is there twice.", "Keep one of them.")
            if text:
                given[name] = text
        return given

    def _parsed(self, chosen: tuple[tuple[str, str], ...], options: tuple[str, ...]) -> Settings:
        """The settings of a line.

        Args:
            chosen: Names and values in it.
            options: Those of the command that hold where it says nothing.
        """
        values = argparse.Namespace(**{key: getattr(self._args, key) for key in options})
        words = []
        for name, text in chosen:
            if isinstance(self._defaults[name], bool):
                setattr(values, name, pick(_SWITCH, text.lower(), f"value of {name}"))
                continue
            if name == "face_track" or (name == "face" and Path(text).suffix):  # else it is a number, or a point
                text = str(existing(text, self._beside))
            words.append(f"--{name.replace('_', '-')}={text}")
        return run_command.settings_of(self._parser.parse_args(words, values))
