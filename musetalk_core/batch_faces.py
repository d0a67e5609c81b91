"""What is known of the faces of a clip of a batch, as arrays with a row for each frame: steps read theirs alone."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np

from .batch_folder import WorkFolder, lost
from .faces import FaceTrack, Observations
from .media_output import errors_named

_SEEN = [
    ("landmarks", np.int64, (68, 2)),
    ("scores", np.float32, (68,)),
    ("detections", np.int64, (4,)),
    ("cuts", np.bool_),
]


def save_part(folder: WorkFolder, part: int, seen: Observations) -> None:
    """Write what was seen in a part of a clip.

    Raises:
        MediaError: it cannot be written.
    """
    rows = np.zeros(len(seen.landmarks), _SEEN)
    for name in rows.dtype.names:
        rows[name] = getattr(seen, name)
    folder.save_rows(folder.faces(part), rows)


def joined(folder: WorkFolder, parts: int, size: tuple[int, int], fps: Fraction) -> Observations:
    """What was seen in the whole clip.

    Args:
        folder: The clip's.
        parts: How many there are.
        size: Height and width of the frames in pixels.
        fps: Frames a second.

    Raises:
        MediaError: a part is not there any more.
    """
    rows = np.concatenate([folder.rows(folder.faces(part)) for part in range(parts)])
    return Observations(*size, *(rows[name] for name in rows.dtype.names), fps)


def save_track(folder: WorkFolder, track: FaceTrack) -> None:
    """Write the face track of a whole clip.

    Raises:
        MediaError: it cannot be written.
    """
    seen = track.seen
    made = [
        ("boxes", np.int64, (4,)),
        ("angles", np.float64),
        ("smoothed", track.landmarks.dtype, (68, 2)),
        ("held", np.bool_),
    ]
    rows = np.zeros(len(track), _SEEN + made)
    for name, *_ in _SEEN:
        rows[name] = getattr(seen, name)
    rows["boxes"], rows["angles"], rows["smoothed"], rows["held"] = (
        track.boxes,
        track.angles,
        track.landmarks,
        track.held,
    )
    settings = {
        "size": (seen.height, seen.width),
        "fps": seen.fps and str(seen.fps),
        "bbox_shift": track.bbox_shift,
        "extra_margin": track.extra_margin,
        "shift_range": track.shift_range,
        "length": track.length,
    }
    with errors_named(folder.output), folder.writing(folder.track_settings) as part:
        part.write_text(json.dumps(settings), encoding="utf-8")
    folder.save_rows(folder.track, rows)


def track_of(folder: WorkFolder, start: int, stop: int) -> FaceTrack:
    """The face track of some frames of a clip.

    Args:
        folder: The clip's.
        start, stop: Which frames.

    Raises:
        MediaError: the track is not there any more.
    """
    try:
        settings = json.loads(folder.track_settings.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise lost(folder, error) from error
    rows = folder.rows(folder.track)[start:stop]
    rows = {name: np.array(rows[name]) for name in rows.dtype.names}
    fps = settings["fps"] and Fraction(settings["fps"])
    seen = Observations(*settings["size"], *(rows[name] for name, *_ in _SEEN), fps)
    return FaceTrack(
        seen,
        settings["bbox_shift"],
        settings["extra_margin"],
        rows["boxes"],
        rows["angles"],
        tuple(settings["shift_range"]),
        settings["length"],
        rows["smoothed"],
        rows["held"],
    )


def without_face(folder: WorkFolder) -> tuple[int, int]:
    """How many frames of a clip have no box, and how many a held one.

    Raises:
        MediaError: the track is not there any more.
    """
    rows = folder.rows(folder.track)
    return int((~rows["boxes"].any(axis=1)).sum()), int(rows["held"].sum())
