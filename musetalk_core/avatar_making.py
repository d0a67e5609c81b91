"""Preparing a face: all that does not depend on the voice is computed once and kept in a folder.

Every file is written under a name of its own, and `avatar.json` replaced last: whatever stops the work before
leaves the avatar as it was. What was made from the same before is not made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from . import avatar_parts, avatar_record, face_track_file
from .avatar import Avatar, Preparation
from .avatar_opening import boxes_key, open_avatar, precision_of, read_seen
from .avatar_parts import StoredLatents, StoredMasks
from .avatar_record import KINDS, Part, Record
from .errors import InputError, MediaError, MuseTalkError
from .faces import FaceTrack, Observations
from .fingerprints import fingerprint, of_encoder, of_file
from .job import Stages, conformed, track_chosen
from .lossless_frames import LosslessFrames, write_frames
from .media_input import Clip
from .models import Models
from .observing import observe_faces
from .progress import Frames, Progress
from .timeline import exact_rate

Held = TypeVar("Held")


def prepare_avatar(
    models: Models, clip: Clip, folder: Path, settings: Preparation, stages: Stages, batch_size: int = 8
) -> Avatar:
    """Prepare a face, or prepare it anew: what has not changed since is kept.

    Frames stream through; latents, 32 KB a frame, are held until they are written.

    Args:
        models: The networks.
        clip: The face; only those of its frames that it shows at the rate asked for are kept.
        folder: The avatar's, see `avatar_store.avatar_folder`; it and its parents are made.
        settings: What is chosen.
        stages: Where to report: "store" (or "compare" with those there are), "look", "encode" and "parse", each only
            where there is something to do.
        batch_size: Frames a pass; the avatar speaks exactly as a job of the same batch size, up to rounding as one of
            another.

    Raises:
        NoFaceError: there is no face in any frame; or in some, and the settings say to stop.
        MuseTalkError: whatever is wrong with the clip, the weights or the folder. The avatar is as it was.
    """
    avatar_record.require_storable(settings)
    frames, shown, fps = conformed(clip, settings.fps)
    exact_rate(fps)  # the same for the clip's own
    looked_at = min(fps, clip.fps or fps)
    with _Work(folder) as work:
        stored, content = _store(work, frames, stages)
        with contextlib.closing(stored):
            todo = _Preparing(work, models, stored, content, settings, looked_at, batch_size, stages)
            seen, seen_from = _observe(todo)
            track = track_chosen(models, seen, settings, looked_at)
            face_track_file.save(track, work.new("seen", seen_from))  # always: people read the boxes in it
            batches = list(avatar_parts.first_shown(shown, track.present, batch_size))
            _encode(todo, track, batches)
            _parse(todo, track, batches)
        record = Record(
            release=models.release.name,
            precision=precision_of(models),
            synthetic=models.synthetic,
            fps=fps,
            looked_at=looked_at,
            width=seen.width,
            height=seen.height,
            frames=len(frames),
            faceless=int((~track.present).sum()),
            shift_range=track.shift_range,
            shown=shown,
            look=clip.look,
            settings=settings,
            parts={},
        )
        work.commit(record)
    return open_avatar(folder, models)


class _Work:
    """On an avatar's files: which are kept, which are written, and which are removed in the end.

    Args:
        folder: The avatar's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: dict[str, Part] = {}
        self.old: Record | None = None
        with contextlib.suppress(InputError):  # a broken avatar is as good as none
            self.old = avatar_record.load(folder)

    def __enter__(self) -> _Work:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(
                f"The folder {self.folder} cannot be made ({error.strerror}).",
                "Choose a place that can be written to.",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was written in vain, that is what `avatar.json` does not name."""
        named = set()
        with contextlib.suppress(InputError):
            named = {part.file for part in avatar_record.load(self.folder).parts.values()}
        mine = {part.file for part in self.parts.values()} - named
        self._remove({*mine, *(f"{name}.part" for name in (*mine, avatar_record.FILE))})
        with contextlib.suppress(OSError):  # there is something in it
            self.folder.rmdir()

    def kept(self, kind: str, origin: Mapping[str, Any], read: Callable[[Path], Held]) -> Held | None:
        """What is read from the old file, if that is whole and was made from the same."""
        old = self.old and self.old.parts[kind]
        if old and old.origin == avatar_record.as_json(origin):
            with contextlib.suppress(MuseTalkError, OSError):
                if of_file(self.folder / old.file) == old.sha256:
                    held = read(self.folder / old.file)
                    self.parts[kind] = old
                    return held
        return None

    def new(self, kind: str, origin: Mapping[str, Any]) -> Path:
        """The path of a file to write, which the avatar will name."""
        self.parts[kind] = Part(f"{kind}-{secrets.token_hex(4)}.{KINDS[kind]}", "", origin)
        return self.folder / self.parts[kind].file

    def commit(self, record: Record) -> None:
        """Make the avatar what the record says, of the files kept and written, and remove all others.

        Where it is that already, nothing changes, not even the times of its files.
        """
        parts = {kind: self._as_before(kind, _sealed(self.folder, part)) for kind, part in self.parts.items()}
        record = replace(record, parts=parts)
        if record != self.old:
            avatar_record.save(record, self.folder)
        mine = {avatar_record.FILE, *(part.file for part in parts.values())}
        self._remove({path.name for path in self.folder.iterdir() if avatar_record.is_ours(path.name)} - mine)

    def _as_before(self, kind: str, part: Part) -> Part:
        """The old file where the new one is the same."""
        old = self.old and self.old.parts[kind]
        if old and (old.sha256, old.origin) == (part.sha256, avatar_record.as_json(part.origin)):
            with contextlib.suppress(OSError):
                if of_file(self.folder / old.file) == old.sha256:
                    return old
        return part

    def _remove(self, names: set[str]) -> None:
        for name in names:
            with contextlib.suppress(OSError):  # Windows keeps what somebody reads: it goes the next time
                (self.folder / name).unlink()


def _sealed(folder: Path, part: Part) -> Part:
    """A part whose file is on the disk, not only on the way there, before anything names it."""
    if part.sha256:  # it was there before
        return part
    path = folder / part.file
    try:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        return replace(part, sha256=of_file(path))
    except OSError as error:  # such as a file that another preparation took for a leftover
        raise MediaError(
            f"{path} cannot be kept ({error.strerror}).",
            "Prepare an avatar once at a time, in a folder that can be written to.",
        ) from error


def _store(work: _Work, frames: Frames, stages: Stages) -> tuple[LosslessFrames, str]:
    """The frames as they are kept, and what tells them from others."""
    count, size = len(frames), frames[0].shape[:2]

    def read(path: Path) -> LosslessFrames:
        return LosslessFrames(path, count, size)

    if work.old and (work.old.frames, work.old.height, work.old.width) == (count, *size):
        digest = hashlib.sha256(repr(size).encode())
        for _ in _digested(frames, digest, stages("compare")):
            pass
        if stored := work.kept("frames", {"content": digest.hexdigest()}, read):
            return stored, digest.hexdigest()
    digest, origin = hashlib.sha256(repr(size).encode()), {}
    path = work.new("frames", origin)
    write_frames(path, _digested(frames, digest, stages("store")))
    origin["content"] = digest.hexdigest()
    return read(path), digest.hexdigest()


def _digested(frames: Frames, digest, progress: Progress) -> Iterator[np.ndarray]:
    for i in range(len(frames)):
        frame = frames[i]
        digest.update(np.ascontiguousarray(frame))
        progress(i + 1, len(frames), frame)
        yield frame


@dataclass(frozen=True)
class _Preparing:
    """What the stages share.

    Attributes:
        work: On the avatar's files.
        models: The networks.
        frames: As they are kept.
        content: Tells them from others.
        settings: What is chosen.
        looked_at: Frames a second, as the smoothing counts them.
        batch_size: Frames a pass.
        stages: Where to report.
    """

    work: _Work
    models: Models
    frames: LosslessFrames
    content: str
    settings: Preparation
    looked_at: Fraction
    batch_size: int
    stages: Stages


def _observe(todo: _Preparing) -> tuple[Observations, dict[str, Any]]:
    """What the face networks see, and what that follows from."""
    options, frames = todo.settings.faces, todo.frames
    known = options.choice.by != "picture" or options.choice.picture is not None
    origin = {
        "content": todo.content,
        "choice": options.choice.key if known else None,  # without its picture there will be an error
        "detection": options.detection,
        "fps": str(todo.looked_at),
        **{kind: fingerprint(todo.models, kind) for kind in ("dwpose", "s3fd")},
    }
    size = frames[0].shape[:2]
    seen = todo.work.kept("seen", origin, lambda path: read_seen(path, len(frames), size))
    if seen is None:
        seen = observe_faces(
            todo.models,
            frames,
            todo.batch_size,
            progress=todo.stages("look"),
            options=options,
            fps=todo.looked_at,
        )
    return replace(seen, fps=todo.looked_at), origin


def _encode(todo: _Preparing, track: FaceTrack, batches: list[list[int]]) -> None:
    models, seed = todo.models, todo.settings.seed
    origin = {
        "content": todo.content,
        "boxes": boxes_key(track),
        "seed": seed,
        "precision": precision_of(models),
        "vae": of_encoder(models),
    }
    if todo.work.kept("latents", origin, lambda path: StoredLatents(path, track)) is None:
        latents = avatar_parts.encode(models, todo.frames, track, batches, seed, todo.stages("encode"))
        avatar_parts.save(latents, todo.work.new("latents", origin))


def _parse(todo: _Preparing, track: FaceTrack, batches: list[list[int]]) -> None:
    models, release, settings = todo.models, todo.models.release, todo.settings
    mode = settings.mask_mode or release.mask_mode
    width = release.cheek_width if settings.cheek_width is None else settings.cheek_width
    origin = {
        "content": todo.content,
        "boxes": boxes_key(track),
        "release": release.name,
        "mask_mode": mode,
        "cheek_width": width,
        "face_parse": fingerprint(models, "face_parse"),
    }
    if todo.work.kept("masks", origin, lambda path: StoredMasks(path, track, release.crop_expand)) is None:
        masks = avatar_parts.parse(models, todo.frames, track, batches, mode, width, todo.stages("parse"))
        avatar_parts.save(masks, todo.work.new("masks", origin))
