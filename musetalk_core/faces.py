"""What was seen of a face in each frame, the box that MuseTalk repaints, and its usable shift.

Source: the reference's ``preprocessing.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from . import upright
from .errors import InputError
from .timeline import Length


@dataclass(frozen=True)
class Observations:
    """What the networks saw; everything about faces that does not depend on a setting.

    Attributes:
        height, width: Size of the frames in pixels.
        landmarks: int64 (frames, 68, 2), x and y in pixels, iBUG order; -1 where they were another's.
        scores: float32 (frames, 68), SimCC scores; below about 0.3 a point is a guess.
        detections: int64 (frames, 4), x1, y1, x2, y2 of the face as the face detector saw it, or round the
            landmarks where they were clear enough to do without; -1 where there is no face.
        cuts: bool (frames,), whether the frame begins a new shot; the first does not count as one.
        fps: Frames a second, where that is known.
    """

    height: int
    width: int
    landmarks: np.ndarray
    scores: np.ndarray
    detections: np.ndarray
    cuts: np.ndarray
    fps: Fraction | None = None

    @property
    def present(self) -> np.ndarray:
        """bool (frames,): whether there is a face."""
        return _seen(self.detections)

    @property
    def marked(self) -> np.ndarray:
        """bool (frames,): whether there is a face, and the landmarks are its own."""
        return self.present & _own(self.landmarks)

    def first(self, count: int) -> Observations:
        """What was seen in the first ``count`` frames; all of it where there are not as many."""
        return self.take(range(min(count, len(self.landmarks))))

    def take(self, frames: Sequence[int]) -> Observations:
        """What was seen in the frames with these indices."""
        index = np.array(frames, np.int64)
        parts = self.landmarks, self.scores, self.detections, self.cuts
        return Observations(self.height, self.width, *(part[index] for part in parts), self.fps)


@dataclass(frozen=True)
class FaceTrack:
    """Where the face is in each frame.

    Attributes:
        seen: The landmarks and detections the boxes were made from.
        bbox_shift: Pixels by which the box's middle was moved down.
        extra_margin: Pixels by which the box was grown at the chin.
        boxes: int64 (frames, 4): x1, y1, x2, y2 in pixels, inside the frame where it is not turned;
            zeros where no face.
        angles: float64 (frames,): degrees by which the frame is turned clockwise about its centre before
            the box is cut out of it, so that a tilted face stands upright; 0 leaves it as it is.
        shift_range: (minus, plus): ``bbox_shift`` is usable in -minus..plus.
        length: What happens when the sound outlasts the clip.
        landmarks: (frames, 68, 2) in pixels, smoothed where that was asked for: what the boxes were made
            from, before turning; those seen unless given.
        held: bool (frames,): the frame has no face, its box is the last one before it; none unless given.
    """

    seen: Observations
    bbox_shift: int
    extra_margin: int
    boxes: np.ndarray
    angles: np.ndarray
    shift_range: tuple[int, int]
    length: Length = "pingpong"
    landmarks: np.ndarray = None
    held: np.ndarray = None

    def __post_init__(self) -> None:
        if self.landmarks is None:
            object.__setattr__(self, "landmarks", self.seen.landmarks)
        if self.held is None:
            object.__setattr__(self, "held", np.zeros(len(self.boxes), bool))

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def present(self) -> np.ndarray:
        """bool (frames,): whether the frame has a box, its own or a held one."""
        return self.boxes.any(axis=1)

    def upright_landmarks(self, index: int) -> np.ndarray:
        """The landmarks of a frame, float (68, 2), where they are once it is turned upright."""
        points, angles = self.landmarks[index : index + 1], self.angles[index : index + 1]
        return upright.turn_points(points, angles, (self.seen.height, self.seen.width))[0]


def mirrored_boxes(landmarks: np.ndarray, shifts: int | np.ndarray) -> np.ndarray:
    """Boxes whose upper edge mirrors the chin about nose point 29, shifted.

    Args:
        landmarks: int64 (frames, 68, 2), px.
        shifts: Pixels to move the middle down, for all frames or (frames,).

    Returns:
        int64 (frames, 4), which may leave the frame; the upper edge is below the lower one where the
        shift is too large.
    """
    x, y = landmarks[..., 0], landmarks[..., 1]
    bottom = y.max(axis=1)
    top = 2 * (y[:, 29] + shifts) - bottom
    return np.stack((x.min(axis=1), top, x.max(axis=1), bottom), axis=1)


def face_boxes(landmarks: np.ndarray, detections: np.ndarray, shifts: int | np.ndarray) -> np.ndarray:
    """The reference's face boxes.

    Args:
        landmarks: int64 (frames, 68, 2), px.
        detections: int64 (frames, 4), px; -1 where no face.
        shifts: ``bbox_shift`` in pixels; positive opens the mouth more.

    Returns:
        int64 (frames, 4): x1, y1, x2, y2; zeros where no face; the detection where the landmarks
        give an empty box or one that leaves the frame on the left.
    """
    boxes = mirrored_boxes(landmarks, shifts)
    boxes[:, 1] = np.maximum(0, boxes[:, 1])
    boxes = np.where((_empty(boxes) | (boxes[:, 0] < 0))[:, None], detections, boxes)
    return np.where(_seen(detections)[:, None], boxes, 0)


def largest_shifts(landmarks: np.ndarray, height: int | np.ndarray) -> np.ndarray:
    """The largest ``bbox_shift`` that leaves a box in each frame, int64 (frames,); below 0 where 0 leaves none.

    Args:
        landmarks: int64 (frames, 68, 2), px.
        height: Pixels from the top that count, for all frames or (frames,).
    """
    y = landmarks[..., 1]
    bottom = y.max(axis=1)
    return (bottom + np.minimum(bottom, height) - 1) // 2 - y[:, 29]


def shift_range(landmarks: np.ndarray, detections: np.ndarray) -> tuple[int, int]:
    """How far ``bbox_shift`` may go up and down: mean nose steps 29-30 and 28-29 over the frames.

    Returns:
        (minus, plus) in pixels, truncated; (0, 0) where no frame has a face with landmarks.
    """
    nose = landmarks[_seen(detections) & _own(landmarks)][:, 28:31, 1]
    if not len(nose):
        return 0, 0
    return int((nose[:, 2] - nose[:, 1]).mean()), int((nose[:, 1] - nose[:, 0]).mean())


def _seen(detections: np.ndarray) -> np.ndarray:
    return detections[:, 2] >= 0


def _own(landmarks: np.ndarray) -> np.ndarray:
    return (landmarks != -1).any(axis=(1, 2))


def _empty(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 3] <= boxes[:, 1]) | (boxes[:, 2] <= boxes[:, 0])


def make_track(
    seen: Observations,
    bbox_shift: int,
    extra_margin: int,
    landmarks: np.ndarray | None = None,
    turn: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None,
) -> FaceTrack:
    """Boxes for the observed faces; cheap, so that settings can change without any network.

    Args:
        seen: What the networks saw.
        bbox_shift: Pixels, see `face_boxes`. In a frame in which it leaves no box it is as large as it may be.
        extra_margin: Pixels to grow the box at the chin.
        landmarks: (frames, 68, 2), smoothed ones to use instead of those seen.
        turn: Given landmarks, turns each frame's upright: those, and the degrees clockwise (frames,).

    Raises:
        InputError: the shift leaves no face box in any frame that has a face.
    """
    landmarks = seen.landmarks if landmarks is None else landmarks
    points, angles = np.rint(landmarks).astype(np.int64), np.zeros(len(landmarks))
    turned = np.zeros(len(landmarks), bool)
    if turn:
        upright, degrees = turn(landmarks)
        upright = np.rint(upright).astype(np.int64)
        turned = seen.marked & ~_empty(mirrored_boxes(upright, 0))
        points, angles = np.where(turned[:, None, None], upright, points), np.where(turned, degrees, 0.0)

    # A turned box may leave the frame; what is outside is black.
    largest = largest_shifts(points, np.where(turned, points[..., 1].max(axis=1), seen.height))
    too_far = (largest >= 0) & (bbox_shift > largest)
    shifts = np.where(too_far, largest, bbox_shift)
    boxes = np.where(turned[:, None], mirrored_boxes(points, shifts), face_boxes(points, seen.detections, shifts))
    has_face = boxes.any(axis=1)
    boxes[has_face, 3] += extra_margin
    inside = np.clip(boxes, 0, (seen.width, seen.height, seen.width, seen.height))
    boxes = np.where(turned[:, None], boxes, inside)
    empty = _empty(boxes)
    boxes[empty] = 0
    usable = shift_range(points, seen.detections)
    if has_face.any() and (empty | too_far)[has_face].all():
        raise InputError(
            f"With bbox_shift {bbox_shift} no face box is left in any frame.",
            f"Keep it within [-{usable[0]} ~ {usable[1]}].",
        )
    return FaceTrack(seen, bbox_shift, extra_margin, boxes, angles, usable, landmarks=landmarks)


def require_fit(frames: Sequence[np.ndarray], track: FaceTrack) -> None:
    """Refuse frames that a face track cannot have been made from.

    Args:
        frames: uint8 RGB (H, W, 3) each.
        track: The track; it may cover only the first of the frames.

    Raises:
        InputError: the frames differ in size, or there are fewer of them.
    """
    height, width = frames[0].shape[:2]
    if (height, width) != (track.seen.height, track.seen.width):
        raise InputError(
            f"The face track is for frames of {track.seen.width} x {track.seen.height}, "
            f"but these are {width} x {height}.",
            "Make the face track from the same frames.",
        )
    if len(track) > len(frames):
        raise InputError(
            f"The face track has {len(track)} frames but only {len(frames)} pictures came.",
            "Connect the frames that the face track was made from.",
        )
