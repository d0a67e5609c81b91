"""From what was seen to the boxes that are repainted: smoothing, turning, and frames without a face. No network."""

from __future__ import annotations

import dataclasses
import logging
from fractions import Fraction

import numpy as np

from .errors import NoFaceError
from .face_options import NO_OPTIONS, FaceOptions
from .faces import FaceTrack, Observations, make_track
from .models import Models
from .smoothing import smooth
from .timeline import TRAINED_FPS, Length

log = logging.getLogger(__name__)


def track_faces(
    models: Models,
    seen: Observations,
    bbox_shift: int,
    extra_margin: int | None = None,
    options: FaceOptions = NO_OPTIONS,
    smoothing: float = 0.0,
    length: Length = "pingpong",
    fps: Fraction = TRAINED_FPS,
) -> FaceTrack:
    """Boxes for the observed faces; runs no network.

    Args:
        models: Its release says how far the box reaches below the chin.
        seen: What the networks saw.
        bbox_shift: Pixels to move the box's middle down.
        extra_margin: Pixels below the chin instead of the release's; 1.0 knows none and stays at 0.
        options: What to do without a face, and with a tilted one.
        smoothing: Of the landmarks, 0 (none) to 1, see `smoothing.smooth`.
        length: What happens when the sound outlasts the clip.
        fps: Frames a second of the clip, for the smoothing.

    Raises:
        NoFaceError: there is no face in any frame; or in some, and the options say to stop.
        InputError: the shift leaves no box inside the frame.
    """
    margin = models.release.extra_margin
    if margin and extra_margin is not None:
        margin = extra_margin
    landmarks = smooth(seen.landmarks, seen.marked, seen.cuts, fps, smoothing)
    track = make_track(seen, bbox_shift, margin, landmarks, _upright(seen) if options.upright else None)
    minus, plus = track.shift_range
    if not -minus <= bbox_shift <= plus:
        log.warning("MuseTalk: bbox_shift %d is outside the usable range [-%d ~ %d]", bbox_shift, minus, plus)
    if not track.present.any():
        raise NoFaceError(
            f"No face was found in any of the {len(track)} frames.",
            "Use pictures in which the whole face is visible, upright and at least about 64 pixels high.",
        )
    without = np.flatnonzero(~track.present)
    if len(without) and options.no_face == "stop":
        raise NoFaceError(
            f"{len(without)} of {len(track)} frames have no face: {_some(without)}.",
            "Cut them out, or let frames without a face pass through.",
        )
    if options.no_face == "hold":
        track = hold_boxes(track, options.hold_frames)
        if track.held.any():
            log.info("MuseTalk: %d frames without a face keep the last box before them", track.held.sum())
        without = np.flatnonzero(~track.present)
    if len(without):
        log.warning(
            "MuseTalk: %d of %d frames have no face and pass through untouched: %s",
            len(without),
            len(track),
            _some(without),
        )
    return dataclasses.replace(track, length=length)


def hold_boxes(track: FaceTrack, frames: int) -> FaceTrack:
    """Give frames without a face the last box, angle and landmarks before them in their shot.

    Args:
        track: A track without held boxes.
        frames: How many frames of each gap; those after them stay without.
    """
    boxes, angles, landmarks = track.boxes.copy(), track.angles.copy(), track.landmarks.copy()
    held = np.zeros(len(track), bool)
    since = frames  # frames since the last face of this shot; at first there is none to hold
    for i, present in enumerate(track.present):
        if present:
            since = 0
        elif track.seen.cuts[i]:
            since = frames
        elif since < frames:
            since += 1
            boxes[i], angles[i], landmarks[i], held[i] = boxes[i - 1], angles[i - 1], landmarks[i - 1], True
    return dataclasses.replace(track, boxes=boxes, angles=angles, landmarks=landmarks, held=held)


def _upright(seen: Observations):
    from .upright import roll, turn_points

    def turn(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        degrees = roll(landmarks)
        return turn_points(landmarks, degrees, (seen.height, seen.width)), degrees

    return turn


def _some(frames: np.ndarray) -> str:
    return ", ".join(map(str, frames[:20])) + (" ..." if len(frames) > 20 else "")
