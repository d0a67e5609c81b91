"""Opening an avatar: everything in its folder is checked, and read when it is shown."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np

from . import avatar_record, face_track_file
from .avatar import Avatar
from .avatar_models import require_release, require_vae, require_weights
from .avatar_parts import StoredLatents, StoredMasks
from .avatar_record import Record
from .errors import PREPARE_AGAIN, MediaError, MuseTalkError
from .faces import FaceTrack, Observations
from .job import track_chosen
from .lossless_frames import LosslessFrames
from .models import PRECISIONS, Models
from .pipeline import FaceLatents
from .speaking import Face

log = logging.getLogger(__name__)

_FAR = 8  # frames wide or high that a face may lie outside, and how large it may be
_FARTHER = 1024  # pixels more, for tiny frames


def open_avatar(folder: Path, models: Models) -> Avatar:
    """An avatar ready to speak: its frames, latents and masks are read as they are shown.

    It speaks exactly as the whole job on the same clip, settings, batch size and machine, up to rounding where the
    batch size is another, given a voice that outlasts the clip: a shorter voice lets the whole job see less of the
    clip, and smooth it by that alone. (What a clip of over 2048 frames shows again, the whole job computes anew in
    other batches.)

    What is open stays as it is when the avatar is prepared anew.

    Args:
        folder: The avatar's.
        models: The networks it will speak with.

    Raises:
        InputError: there is no avatar, or one of another version, release, VAE or face parser.
        MediaError: one of its files is missing or damaged.
    """
    record = avatar_record.load(folder)
    try:
        return _opened(folder, record, models)
    except MuseTalkError:
        latest = avatar_record.load(folder)
        if latest == record:
            raise
        return _opened(folder, latest, models)  # it was prepared anew in between


def _opened(folder: Path, record: Record, models: Models) -> Avatar:
    _require_own(folder, record, models)
    files = {kind: folder / part.file for kind, part in record.parts.items()}
    frames = LosslessFrames(files["frames"], record.frames, (record.height, record.width))
    seen = read_seen(files["seen"], record.frames, (record.height, record.width))
    chosen = record.settings
    track = track_chosen(models, seen, chosen, record.looked_at)
    boxes = boxes_key(track)
    _require_sane(track, files["seen"])
    if any(record.parts[kind].origin.get("boxes") != boxes for kind in ("latents", "masks")):
        raise MediaError(f"The face boxes of {folder} are not those it was prepared with.", PREPARE_AGAIN)
    latents = FaceLatents(StoredLatents(files["latents"], track), track.present, track.length)
    masks = StoredMasks(files["masks"], track, models.release.crop_expand)
    face = Face(frames, track, latents, masks)
    return Avatar(folder.name, record.release, record.fps, face, record.shown, record.look, record.encoded_by)


def read_seen(path: Path, count: int, size: tuple[int, int]) -> Observations:
    """What was seen in an avatar's frames.

    Raises:
        InputError: the file is damaged.
        MediaError: it is of other frames.
    """
    seen = face_track_file.load(path)
    if (len(seen.landmarks), seen.height, seen.width) != (count, *size):
        raise MediaError(f"{path} is not of the avatar's frames.", PREPARE_AGAIN)
    return seen


def boxes_key(track: FaceTrack) -> str:
    """Tells tracks apart by what latents and masks are cut out with."""
    angles = np.round(track.angles, 6) + 0.0  # no negative zeros
    return hashlib.sha256(track.boxes.tobytes() + angles.tobytes()).hexdigest()


def precision_of(models: Models) -> str:
    """What the precision of the models is called."""
    return next(name for name, dtype in PRECISIONS.items() if dtype == models.dtype)


def _require_own(folder: Path, record: Record, models: Models) -> None:
    """Refuse models that the avatar was not prepared with."""
    require_release(folder.name, record.release, models)
    if "vae" in models.sources or models.host_vae:  # else it will not be used
        require_vae(folder.name, record.encoded_by, models)
    if "face_parse" in models.sources:  # else it will not be used
        require_weights(folder.name, "face_parse", str(record.parts["masks"].origin.get("face_parse")), models)
    if record.precision != precision_of(models):
        log.warning(
            "MuseTalk: the avatar %s was prepared in %s, it speaks in %s",
            folder.name,
            record.precision,
            precision_of(models),
        )


def _require_sane(track: FaceTrack, path: Path) -> None:
    """Refuse faces far from the frame: a picture as large as such a box would fill the memory."""
    far = _FAR * max(track.seen.height, track.seen.width) + _FARTHER
    for points in (track.boxes, track.landmarks):
        if np.abs(points).max() > far:
            raise MediaError(f"{path} holds faces far outside the frames.", PREPARE_AGAIN)
