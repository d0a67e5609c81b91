"""Frames to observations: both face networks over a whole clip, in one pass, batch by batch.

The face detector at full resolution costs more than all else together, so it only runs where its
answer can matter. What it alone decides is that there is no face.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice

import cv2
import numpy as np
import torch

from .errors import InputError
from .face_options import NO_OPTIONS, FaceChoice, FaceOptions
from .faces import Observations
from .keypoints import FACE, Region, estimate_keypoints
from .likeness import Portrait
from .models import Models
from .networks import s3fd
from .overlap import ahead
from .passes import in_passes
from .people import Follower
from .progress import Frames, Progress, silent
from .shots import part_with_cuts
from .timeline import TRAINED_FPS

KeypointEstimator = Callable[[Sequence[np.ndarray]], "tuple[np.ndarray, np.ndarray]"]

Seen = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Landmarks int64 (B, 68, 2), scores float32 (B, 68) and detections int64 (B, 4) of a batch."""

CLEAR_SCORE = 0.5
"""Mean score of the 68 points from which on the landmarks alone prove a face. Below 0.3 a point counts as
a guess; where no face is, most are."""

_REDUCED_SIDE = 640  # px, the longer one: a face of 64 pixels in 1080p has 21 there, and S3FD's smallest anchor is 16
_DETECTOR_BATCH_PIXELS = 1280 * 720  # S3FD at full resolution takes half a gigabyte for a million pixels
_REGION = 3  # face boxes wide and high that DWPose sees of a chosen person
_OWN_OVERLAP = 0.25  # intersection over union from which on landmarks are the chosen face's
_NOBODY = (-1, -1, -1, -1)


@torch.inference_mode()
def observe_faces(
    models: Models,
    frames: Frames,
    batch_size: int = 8,
    keypoints: KeypointEstimator | None = None,
    progress: Progress = silent,
    options: FaceOptions = NO_OPTIONS,
    fps: Fraction = TRAINED_FPS,
    part: range | None = None,
) -> Observations:
    """Find the speaking face, and the cuts, in all frames.

    With ``detection`` "exact" S3FD sees every frame at full resolution. With "auto" it sees those whose
    landmarks leave doubt, reduced to 640 pixels, and those where it finds nothing there in full. Where
    one of several faces is chosen it sees all frames reduced, and in full those where the chosen person
    is not found, or has still to be chosen; DWPose then sees a region round the chosen face.

    Args:
        models: The networks.
        frames: At least one, all of one size; each is asked for once, in order, ahead of need by a batch and in
            another thread.
        batch_size: Frames a pass of DWPose; S3FD takes as many as fit a fixed number of pixels.
        keypoints: Another estimator to use instead of our RTMPose; same results as
            `keypoints.estimate_keypoints`.
        progress: Called at least once a batch.
        options: Which face, and how surely it is looked for.
        fps: Frames a second: how long a person may be out of sight.
        part: Look at these frames of the clip only, at least one, and give what was seen in them; all when None.
            Parts that begin at multiples of the batch size give together what the whole gives, unless one of
            several faces is followed: see `in_parts`.

    Raises:
        InputError: another estimator is to find a chosen face, or the chosen picture shows none.
    """
    part = range(len(frames)) if part is None else part
    height, width = frames[part.start].shape[:2]
    if in_parts(options):
        look = _the_only_one(models, options, keypoints)
    elif keypoints is None:
        look = _one_of_several(models, options, fps)
    else:
        raise InputError(
            "The mmpose backend cannot look for one of several faces.",
            'Choose the torch backend, or let the frame be taken for one person, "as the reference".',
        )
    parts: list[Seen] = []
    cuts: list[bool] = []
    done = 0
    with ahead(part_with_cuts(frames, part), batch_size) as marked:
        for batch in _batches(marked, batch_size):
            pictures, begins = [frame for frame, _ in batch], [cut for _, cut in batch]
            parts.append(look(pictures, begins, _Detector(models, progress, done, len(part))))
            cuts += begins
            done += len(batch)
            progress(done, len(part), pictures[-1])
    landmarks, scores, detections = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Observations(height, width, landmarks, scores, detections, np.array(cuts))


def in_parts(options: FaceOptions) -> bool:
    """Whether parts of a clip may be looked at separately: nobody is followed from frame to frame."""
    return options.choice.by == "reference"


Look = Callable[[list[np.ndarray], list[bool], "_Detector"], Seen]


def _the_only_one(models: Models, options: FaceOptions, keypoints: KeypointEstimator | None) -> Look:
    """As the reference looks: the frame is one person, the detector says whether they have a face."""
    estimate = keypoints or (lambda batch: _estimate(models, [(frame, None) for frame in batch]))

    def look(batch: list[np.ndarray], cuts: list[bool], detector: _Detector) -> Seen:
        points, scores = (part[:, FACE] for part in estimate(batch))
        landmarks = points.astype(np.int64)  # truncated, as the reference does
        detections = _extent(landmarks)
        exact = options.detection == "exact"
        doubtful = [i for i in range(len(batch)) if exact or not _clear(landmarks[i], scores[i], batch[i])]
        asked = [batch[i] for i in doubtful]
        found = detector.full(asked) if exact else detector.thorough(asked)
        for i, boxes in zip(doubtful, found, strict=True):
            detections[i] = s3fd.whole_pixels(boxes[0]) if len(boxes) else _NOBODY
        return landmarks, scores, detections

    return look


def _one_of_several(models: Models, options: FaceOptions, fps: Fraction) -> Look:
    """The detector finds everyone, one is followed, and only they are looked at closely."""
    follower = Follower(options.choice, fps)
    portrait = _portrait(models, options.choice)

    def step(who: Follower, frame: np.ndarray, boxes: np.ndarray, cut: bool) -> np.ndarray | None:
        index = who.step(boxes, cut, portrait.likeness(frame, boxes) if portrait else None)
        return None if index is None else boxes[index]

    def look(batch: list[np.ndarray], cuts: list[bool], detector: _Detector) -> Seen:
        nonlocal follower
        exact = options.detection == "exact"
        everyone = detector.full(batch) if exact else detector.reduced(batch)
        chosen = []
        for i, (frame, boxes, cut) in enumerate(zip(batch, everyone, cuts, strict=True)):
            trial = follower.twin()
            box = step(trial, frame, boxes, cut)
            # A reduced frame may show that the chosen person carries on, nothing else.
            carries_on = box is not None and follower.following and not cut
            if not (exact or carries_on or detector.whole(frame)):
                trial = follower.twin()
                box = step(trial, frame, detector.full([frame], i)[0], cut)
            follower = trial
            chosen.append(box)
        return _closely(models, batch, chosen)

    return look


def _closely(models: Models, batch: list[np.ndarray], chosen: list[np.ndarray | None]) -> Seen:
    """DWPose on a region round each chosen face; its landmarks are set aside where they are another's."""
    landmarks = np.full((len(batch), 68, 2), -1, np.int64)
    scores = np.zeros((len(batch), 68), np.float32)
    detections = np.array([_NOBODY if box is None else s3fd.whole_pixels(box) for box in chosen], np.int64)
    there = [i for i, box in enumerate(chosen) if box is not None]
    if there:
        found = _estimate(models, [(batch[i], _region(chosen[i], batch[i])) for i in there])
        points, marks = (part[:, FACE] for part in found)
        own = _overlap(_extent(points), detections[there]) >= _OWN_OVERLAP
        landmarks[np.array(there)[own]], scores[np.array(there)[own]] = points[own].astype(np.int64), marks[own]
    return landmarks, scores, detections


def _estimate(models: Models, pictures: list[tuple[np.ndarray, Region | None]]) -> tuple[np.ndarray, np.ndarray]:
    """`estimate_keypoints` of frames, each with the region to look at."""

    def estimate(part: list[tuple[np.ndarray, Region | None]]) -> tuple[np.ndarray, np.ndarray]:
        return estimate_keypoints(models.dwpose(len(part)), *zip(*part, strict=True))

    passes = in_passes(models, "finding landmarks", pictures, len(pictures), estimate)
    points, scores = zip(*(found for _, found in passes), strict=True)
    return np.concatenate(points), np.concatenate(scores)


def _portrait(models: Models, choice: FaceChoice) -> Portrait | None:
    """The largest face in the chosen picture."""
    if choice.by != "picture":
        return None
    remedy = "Choose a picture in which the whole face is visible and upright."
    if choice.picture is None:
        raise InputError("There is no picture to choose the face by.", remedy)
    boxes = _Detector(models, silent, 0, 1).thorough([choice.picture])[0]
    if not len(boxes):
        raise InputError("The picture to choose the face by shows no face.", remedy)
    return Portrait(choice.picture, boxes[np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1).argmax()])


class _Detector:
    """S3FD over frames of a batch, as many a pass as fit a fixed number of pixels."""

    def __init__(self, models: Models, progress: Progress, done: int, total: int) -> None:
        self._models = models
        self._report = lambda frames, preview: progress(done + frames, total, preview)

    def whole(self, frame: np.ndarray) -> bool:
        """Whether a reduced frame is the whole one."""
        return max(frame.shape[:2]) <= _REDUCED_SIDE

    def full(self, frames: list[np.ndarray], done: int = 0) -> list[np.ndarray]:
        """All faces at full resolution, see `s3fd.detect`; between passes it reports how many frames are done.

        Args:
            done: Frames of the batch before these.
        """
        found: list[np.ndarray] = []
        for part in _parts(frames):
            if done + len(found):
                self._report(done + len(found), part[0])
            found += self._pass(part)
        return found

    def reduced(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        """All faces seen with the longer side at 640 pixels, in pixels of the frame."""
        found: list[np.ndarray] = []
        for part in _parts([reduced_frame(frame) for frame in frames]):
            found += self._pass(part)
        return [_enlarge(boxes, frame) for boxes, frame in zip(found, frames, strict=True)]

    def thorough(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        """Reduced, and in full where nothing is found."""
        found = self.reduced(frames)
        missing = [i for i, frame in enumerate(frames) if not len(found[i]) and not self.whole(frame)]
        for i, boxes in zip(missing, self.full([frames[i] for i in missing]), strict=True):
            found[i] = boxes
        return found

    def _pass(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        def detect(part: list[np.ndarray]) -> list[np.ndarray]:
            pictures = np.stack(part)
            return s3fd.detect(self._models.s3fd(pictures[..., 0].size), pictures)

        passes = in_passes(self._models, "finding faces", frames, len(frames), detect)
        return [boxes for _, found in passes for boxes in found]


def _parts(frames: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    if frames:
        size = max(1, _DETECTOR_BATCH_PIXELS // frames[0][..., 0].size)
        for start in range(0, len(frames), size):
            yield frames[start : start + size]


def reduced_frame(frame: np.ndarray) -> np.ndarray:
    """A uint8 RGB frame with its longer side at 640 pixels; as it is where it is smaller."""
    height, width = frame.shape[:2]
    zoom = min(1.0, _REDUCED_SIDE / max(height, width))
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def _enlarge(boxes: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Boxes found in the reduced frame, in the frame's own pixels."""
    zoom = max(1.0, max(frame.shape[:2]) / _REDUCED_SIDE)
    return boxes * (zoom, zoom, zoom, zoom, 1)


def _clear(landmarks: np.ndarray, scores: np.ndarray, frame: np.ndarray) -> bool:
    """Whether the landmarks prove a face, and give it a box that lies in the frame at least in part."""
    x1, y1, x2, y2 = _extent(landmarks)
    height, width = frame.shape[:2]
    upright = landmarks[29, 1] < y2
    return bool(scores.mean() >= CLEAR_SCORE and upright and 0 <= x1 < x2 and x1 < width and y1 < height and y2 > 0)


def _extent(points: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 of the points (..., 68, 2)."""
    return np.concatenate((points.min(axis=-2), points.max(axis=-2)), axis=-1)


def _region(box: np.ndarray, frame: np.ndarray) -> Region:
    """Three times the face box about its centre, within the frame."""
    height, width = frame.shape[:2]
    centre, half = (box[:2] + box[2:4]) / 2, (box[2:4] - box[:2]) * _REGION / 2
    x1, y1 = np.maximum(centre - half, 0).astype(int)
    x2, y2 = np.minimum(np.ceil(centre + half), (width, height)).astype(int)
    return int(x1), int(y1), int(x2), int(y2)


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (N, 4) and (N, 4)."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    common = np.prod(np.maximum(sides, 0), axis=1)
    both = np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1)
    return common / (both - common)


def _batches(items: Iterator, size: int) -> Iterator[list]:
    while batch := list(islice(items, size)):
        yield batch
