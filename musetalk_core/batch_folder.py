"""The hidden folder beside an output in which a clip of a batch is made: every part of the work is a file of its own.

A file appears under its name only when it is complete, so what is there is done: a step that is tried again, by the
same process or another, on this machine or another that sees the same folder, begins where the last one ended.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from uuid import uuid4

import numpy as np

from .errors import MediaError
from .media_output import errors_named

_MARK = "?" * 16  # what a mark looks like


@dataclass(frozen=True)
class WorkFolder:
    """Where one clip is made.

    Attributes:
        output: The video to be.
        mark: Tells the work from that on other files or with other settings, see `tasks.fingerprint`.
    """

    output: Path
    mark: str

    @property
    def path(self) -> Path:
        return self.output.with_name(f".{self.output.name}.{self.mark}.pieces")

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def sound(self) -> Path:
        return self.path / "sound.npy"

    @property
    def speech(self) -> Path:
        return self.path / "speech.npy"

    @property
    def track(self) -> Path:
        return self.path / "track.npy"

    @property
    def track_settings(self) -> Path:
        return self.path / "track.json"

    def faces(self, part: int) -> Path:
        return self.path / f"faces-{part:05}.npy"

    def piece(self, part: int) -> Path:
        return self.path / f"piece-{part:05}.mp4"

    def make(self) -> None:
        """Make the folder where it is not there; those of other work on the same output go.

        Raises:
            MediaError: it cannot be made.
        """
        with errors_named(self.output):
            self.output.parent.mkdir(parents=True, exist_ok=True)
            for old in self.output.parent.glob(f".{escape(self.output.name)}.{_MARK}.pieces"):
                if old != self.path:
                    shutil.rmtree(old)
            self.path.mkdir(exist_ok=True)

    def own_part(self) -> Path:
        """A name in the folder that nobody else uses: a worker that was given up may still be writing."""
        return self.path / f"{uuid4().hex}.part"

    @contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """Yields a name to write to, which becomes ``path``, a file of the folder, on success."""
        part = self.own_part()
        try:
            yield part
            with errors_named(self.output):
                os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def save_rows(self, path: Path, rows: np.ndarray) -> None:
        """Write an array as a file of the folder.

        Raises:
            MediaError: it cannot be written.
        """
        with errors_named(self.output), self.writing(path) as part, part.open("wb") as file:
            np.save(file, rows, allow_pickle=False)

    def rows(self, path: Path) -> np.ndarray:
        """An array of the folder, of which only what is used is read.

        Raises:
            MediaError: it is not there any more.
        """
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise lost(self, error) from error

    def remove(self) -> None:
        """The work is done, or not worth keeping."""
        shutil.rmtree(self.path, ignore_errors=True)  # what another machine still holds open may stay behind


def lost(folder: WorkFolder, error: Exception) -> MediaError:
    """What is told where a file of a folder cannot be read."""
    return MediaError(
        f"The work on {folder.output} so far cannot be read ({error}).", f"Delete {folder.path} and start again."
    )
