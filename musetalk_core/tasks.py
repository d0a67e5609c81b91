"""Several jobs in a row: read from a list, one failing does not stop the others, done ones are not done again."""

from __future__ import annotations

import csv
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .bars import clock
from .errors import InputError, MuseTalkError

log = logging.getLogger(__name__)

_NAMES = {  # of a task's fields: ours, and those of the reference's configuration files
    "source": ("source", "video_path"),
    "audio": ("audio", "audio_path"),
    "output": ("output", "result_name"),
    "bbox_shift": ("bbox_shift",),
}
_YAML_REMEDY = "Write each task as a name, and below it video_path and audio_path."


@dataclass(frozen=True)
class Task:
    """One job of a list.

    Attributes:
        source: A video, an image, or a folder of images.
        audio: Any file with sound.
        output: The mp4 to write.
        bbox_shift: Pixels; the command's when None.
    """

    source: Path
    audio: Path
    output: Path
    bbox_shift: int | None = None


@dataclass(frozen=True)
class Result:
    """What became of a task.

    Attributes:
        task: The task.
        state: "done"; "there": it was done before; "failed".
        detail: For people: how many frames in what time, or the error.
    """

    task: Task
    state: Literal["done", "there", "failed"]
    detail: str


def read_tasks(path: Path, folder: Path) -> list[Task]:
    """Read a list of tasks.

    Args:
        path: A ``.csv`` with a header of ``source,audio`` and, where wanted, ``output`` and
            ``bbox_shift``; or the reference's ``.yaml``: task names over ``video_path``,
            ``audio_path``, ``bbox_shift`` and ``result_name``. Relative paths are looked for in the
            current folder, then beside the list.
        folder: Where outputs go that are not given as absolute paths.

    Raises:
        InputError: there is no such file, or it is no such list; the row or task is named.
    """
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            rows = yaml_rows(path, "task", _YAML_REMEDY)
        else:
            rows = {f"row {number}": row for number, row in csv_rows(path).items()}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The list {path} cannot be read ({error}).", "Give a .csv or .yaml file.") from error
    tasks = [_task(name, row, path, folder) for name, row in rows.items()]
    if not tasks:
        raise InputError(f"There are no tasks in {path}.", "Write at least one: a source and an audio.")
    return require_own_outputs(tasks)


def csv_rows(path: Path) -> dict[int, Mapping[str | None, object]]:
    """The rows of a table that are not blank, each by the number of its line.

    Args:
        path: The file: a header, commas or semicolons.

    Returns:
        Columns to cells; None for a cell that is missing, and the cells beyond the header in a list under None.

    Raises:
        InputError: two columns have the same name.
        OSError, UnicodeDecodeError, csv.Error: it cannot be read.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin it with a mark
        header = file.readline()
        file.seek(0)
        comma = ";" if ";" in header and "," not in header else ","  # as spreadsheets write it in half of Europe
        rows = csv.DictReader(file, delimiter=comma, skipinitialspace=True)
        named = [name for name in rows.fieldnames or () if name]
        if twice := next((name for name in named if named.count(name) > 1), None):
            raise InputError(f"Two columns of {path} are called {twice}.", "Keep one of them.")
        return dict((rows.line_num, row) for row in rows if any(row.values()))  # spreadsheets end in empty ones


def yaml_rows(path: Path, what: str, remedy: str) -> dict[str, Mapping[str, object]]:
    """What one of the reference's configuration files holds: names over their settings.

    Args:
        path: The file.
        what: What is named in it, for errors.
        remedy: What to do about a file of another shape, for errors.

    Raises:
        InputError: it is of another shape.
        OSError, UnicodeDecodeError: it cannot be read.
    """
    import yaml

    text = path.read_text(encoding="utf-8")
    try:
        rows = yaml.safe_load(text)
    except Exception as error:  # also what int and datetime have against a value, and endless depth
        raise InputError(f"{path} is not YAML ({error}).", f"Write {what} names over their settings.") from error
    if not isinstance(rows, dict):
        raise InputError(f"{path} does not hold {what} names over their settings.", remedy)
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise InputError(f"{name} of {path} has no settings below it.", remedy)
    return {str(name): row for name, row in rows.items()}


def _task(name: str, row: Mapping[str, object], path: Path, folder: Path) -> Task:
    written = {name: str(value).strip() for name, value in row.items() if value is not None}
    given = {field: written[known] for field, names in _NAMES.items() for known in names if written.get(known)}
    if not {"source", "audio"} <= given.keys():
        raise InputError(
            f"{name} of {path} names no source or no audio.",
            "Give both, as source and audio or as video_path and audio_path.",
        )
    try:
        shift = int(given["bbox_shift"]) if "bbox_shift" in given else None
    except ValueError as error:
        raise InputError(f"{name} of {path}: {error}.", "bbox_shift is a whole number of pixels.") from error
    source, audio = (existing(given[field], path.parent) for field in ("source", "audio"))
    name = given["output"] if "output" in given else default_output(source, audio, folder).name
    return Task(source, audio, output_file(name, folder), shift)


def output_file(name: str, folder: Path) -> Path:
    """The mp4 to write under a name that may lack its ending: absolute, or in ``folder``.

    Raises:
        InputError: no file can have this name.
    """
    output = folder / name
    _is_there(output)  # it need not be, but might be no name for a file
    return output if output.suffix.lower() == ".mp4" else Path(f"{output}.mp4")  # the only kind that is written


def existing(name: str, beside: Path) -> Path:
    """The file of this name in the current folder, or else in the folder ``beside``; as named if in neither.

    Raises:
        InputError: no file can have this name, or the folder it is in cannot be looked into.
    """
    return next((path for path in (Path(name), beside / name) if _is_there(path)), Path(name))


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # such as endless names, and some with strange characters
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"There can be no file {str(path)[:200]!r} ({reason}).", "Give another name.") from error
    return True


def default_output(source: Path, audio: Path, folder: Path) -> Path:
    """The name the reference gives: that of the source and that of the voice."""
    return folder / f"{source.stem}_{audio.stem}.mp4"


def require_own_outputs(tasks: Sequence[Task]) -> list[Task]:
    """The tasks, if no two of them write the same file, and none what another is made of.

    Raises:
        InputError: they do.
    """
    read = {path.resolve() for task in tasks for path in (task.source, task.audio)}
    overwriting = next((task for task in tasks if task.output.resolve() in read), None)
    if overwriting:
        raise InputError(f"{overwriting.output} is also a source or a voice.", "Name the output otherwise.")
    taken: dict[Path, Task] = {}
    for task in tasks:
        other = taken.setdefault(task.output.resolve(), task)
        if other is not task:
            raise InputError(
                f"Both {other.source} with {other.audio} and {task.source} with {task.audio} would become "
                f"{task.output}.",
                "Name their outputs.",
            )
    return list(tasks)


def fingerprint(task: Task, settings: object) -> str:
    """What tells a finished output from one of other files or settings; goes into its metadata."""
    inputs = [stamps(path) for path in (task.source, task.audio)]
    return hashlib.sha256(repr((inputs, task.bbox_shift, settings)).encode()).hexdigest()[:16]


def stamps(path: Path) -> list[tuple[str, int]]:
    """What tells a file, or the images of a folder, from others and from what they were before.

    Raises:
        InputError: the folder cannot be looked into.
    """
    from .stills import IMAGE_SUFFIXES

    try:
        images = path.is_dir() and sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        files = images or [path]
        return [(str(file.resolve()), file.stat().st_mtime_ns) for file in files if file.exists()]
    except OSError as error:
        raise InputError(
            f"{path} cannot be looked into ({error.strerror}).", "Give a file or a folder that can be read."
        ) from error


def is_done(task: Task, mark: str) -> bool:
    """Whether the task's output is there and carries this mark (outputs appear only when complete)."""
    import av

    try:
        with av.open(str(task.output.absolute()), metadata_errors="replace") as container:
            return mark in container.metadata.get("comment", "")
    except (OSError, av.FFmpegError):
        return False


def run_all(
    tasks: Iterable[Task], run: Callable[[Task, str], int], settings: object, saved: bool = True
) -> list[Result]:
    """Do every task that is not done yet.

    Args:
        tasks: What to do.
        run: Does one, and puts the mark it is given into the output's metadata; gives frames written.
        settings: Everything else that the outputs depend on.
        saved: Whether it writes the outputs; where it does not, every task is done.
    """
    return [_run_one(task, run, settings, saved) for task in tasks]


def _run_one(task: Task, run: Callable[[Task, str], int], settings: object, saved: bool) -> Result:
    started = time.monotonic()
    try:
        mark = fingerprint(task, settings)
        if saved and is_done(task, mark):
            return Result(task, "there", "done before")
        log.info("%s + %s%s", task.source, task.audio, f" -> {task.output}" if saved else "")
        frames = run(task, mark)
    except Exception as error:
        return Result(task, "failed", told(error))
    return Result(task, "done", f"{frames} frames in {clock(time.monotonic() - started)}")


def told(error: Exception) -> str:
    """Log what ended a task; gives the words for its result."""
    if isinstance(error, MuseTalkError):
        log.error("error: %s", error)
        return str(error)
    log.error("error", exc_info=error)  # such as out of memory: the next may be smaller
    return f"{type(error).__name__}: {error}"


def about_faces(faceless: int, held: int) -> str:
    """What is told of source frames without a face, of which some got the last box; nothing where there are none."""
    return (f", source frames without a face, passed through: {faceless}" if faceless else "") + (
        f", source frames on the last box: {held}" if held else ""
    )


def table(results: Sequence[Result], by: Literal["output", "audio"] = "output") -> str:
    """What became of the tasks, a line each."""
    names = [str(getattr(result.task, by)) for result in results]
    width = max(map(len, names))
    return "\n".join(
        f"{result.state:>6}  {name:<{width}}  {result.detail}" for name, result in zip(names, results, strict=True)
    )
