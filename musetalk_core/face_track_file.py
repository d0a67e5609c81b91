"""A face track as a readable JSON file, so that detection is done once per clip.

Landmarks, detections and cuts are what is read back; boxes, and the angles of turned ones, stand in
it for people, and are made anew from the landmarks, so that ``bbox_shift`` stays adjustable.
"""

from __future__ import annotations

import contextlib
import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from .errors import InputError
from .faces import FaceTrack, Observations

FORMAT = "musetalk-face-track"
VERSION = 1


def save(track: FaceTrack, path: Path) -> None:
    """Write a face track; the file appears under its name only when it is complete.

    Raises:
        InputError: the folder cannot be written to.
    """
    seen = track.seen
    frames = [
        {
            "landmarks": seen.landmarks[i].tolist(),
            "scores": [round(float(score), 4) for score in seen.scores[i]],
            "detection": seen.detections[i].tolist() if seen.detections[i, 2] >= 0 else None,
            "box": track.boxes[i].tolist() if track.boxes[i].any() else None,
            **({"angle": round(float(track.angles[i]), 2)} if track.angles[i] else {}),
            **({"cut": True} if seen.cuts[i] else {}),
        }
        for i in range(len(track))
    ]
    head = {
        "format": FORMAT,
        "version": VERSION,
        "width": seen.width,
        "height": seen.height,
        "bbox_shift": track.bbox_shift,
        "extra_margin": track.extra_margin,
        "shift_range": list(track.shift_range),
    }
    if seen.fps and len(track) > 1:  # a still has none
        head["fps"] = str(seen.fps)
    # One line a frame: readable, and a diff shows which frame changed.
    text = json.dumps(head, indent=1)[:-2] + ',\n "frames": [\n'
    text += ",\n".join("  " + json.dumps(frame, separators=(",", ":")) for frame in frames) + "\n ]\n}\n"
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # its folder may be none
            part.unlink()
        raise InputError(
            f"The face track could not be written to {path} ({error.strerror}).",
            "Choose a folder that exists and can be written to.",
        ) from error


def load(path: Path) -> Observations:
    """Read a face track's landmarks, detections and cuts.

    Raises:
        InputError: there is no such file, or it is not a face track this version can read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT or data["version"] != VERSION:
            raise ValueError(f"format {data['format']} version {data['version']}")
        frames = data["frames"]
        landmarks = np.array([frame["landmarks"] for frame in frames], np.int64).reshape(-1, 68, 2)
        scores = np.array([frame["scores"] for frame in frames], np.float32).reshape(-1, 68)
        detections = np.array([frame["detection"] or [-1] * 4 for frame in frames], np.int64).reshape(-1, 4)
        cuts = np.array([bool(frame.get("cut")) for frame in frames])
        if not len(landmarks) == len(scores) == len(detections) > 0:
            raise ValueError("its lists differ in length or are empty")
        if "e" in str(data.get("fps", "")).lower():
            raise ValueError("its frame rate is written with an exponent")  # "1e999999999" would be taken for years
        fps = Fraction(data["fps"]) if "fps" in data else None
        return Observations(int(data["height"]), int(data["width"]), landmarks, scores, detections, cuts, fps)
    except OSError as error:
        raise InputError(
            f"The face track {path} cannot be read ({error.strerror}).",
            "Save one with MuseTalk Save Face Track.",
        ) from error
    except (ValueError, KeyError, TypeError, OverflowError, ZeroDivisionError, RecursionError) as error:
        raise InputError(
            f"{path} is not a face track of version {VERSION} ({error}).",
            "Save it again with MuseTalk Save Face Track.",
        ) from error
