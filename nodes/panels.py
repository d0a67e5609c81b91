"""What the panels in the graph show of a run. Graphs that are queued without a frontend do without them."""

from __future__ import annotations

import dataclasses
import secrets
from collections import OrderedDict

import numpy as np
from PIL import Image

from ..musetalk_core.blender import ParsedFace
from ..musetalk_core.faces import FaceTrack, mirrored_boxes
from ..musetalk_core.preview import reduced
from ..musetalk_core.progress import Frames
from ..musetalk_core.releases import Release
from . import host

_JPEG_QUALITY = 85
_MOST_FACES = 8  # of 2 MB at most


def shift_panel(release: Release, frames: Frames, track: FaceTrack, extra_margin: int, upright: bool) -> dict:
    """The first frame that has a face, and all that the face box follows from (see web/geometry.js).

    Args:
        release: It may know no margin at the chin.
        frames: Those the track was made from.
        track: The track; some frame has a face.
        extra_margin: As it is set in the node.
        upright: Whether tilted faces are turned.
    """
    seen = np.flatnonzero(track.present & ~track.held)
    index = int(seen[track.seen.marked[seen].argmax()])  # the landmarks of some frames are another's
    points = np.rint(track.upright_landmarks(index)).astype(np.int64)
    _, top, _, bottom = mirrored_boxes(points[None], 0)[0]
    marked = bool(track.seen.marked[index])
    minus, plus = track.shift_range
    face = {
        "picture": _in_temp_folder(frames[index]),
        "frame": index,
        "width": track.seen.width,
        "height": track.seen.height,
        "landmarks": points.tolist() if marked else None,
        "angle": float(track.angles[index]),
        "turned": bool(upright and marked and top < bottom),
        "detection": track.seen.detections[index].tolist(),
        "bbox_shift": track.bbox_shift,
        "extra_margin": extra_margin,
        "has_margin": bool(release.extra_margin),
        "range": [-minus, plus],
    }
    return {"musetalk_shift": [face]}


def mask_panel(face: ParsedFace | None, mask_mode: str, cheek_width: int) -> dict | None:
    """The name under which the mask of a face may be asked for, and the settings of this run.

    None where no face was parsed.
    """
    if face is None:
        return None
    settings = {"mask_mode": mask_mode, "cheek_width": cheek_width}
    return {"musetalk_mask": [{"id": kept_faces.keep(face), **settings}]}


class KeptFaces:
    """The parsed faces of the last runs, by names that nobody can guess."""

    def __init__(self) -> None:
        self._faces: OrderedDict[str, ParsedFace] = OrderedDict()

    def keep(self, face: ParsedFace) -> str:
        """Keep a face, its picture made smaller, and give its name."""
        name = secrets.token_urlsafe(16)
        self._faces[name] = dataclasses.replace(face, picture=reduced(face.picture))
        while len(self._faces) > _MOST_FACES:
            self._faces.popitem(last=False)
        return name

    def get(self, name: str) -> ParsedFace | None:
        """The face, or None where it is forgotten."""
        return self._faces.get(name)


kept_faces = KeptFaces()


def _in_temp_folder(frame: np.ndarray) -> dict[str, str]:
    """Write a picture, and say where it is as the host's /view understands it."""
    path = host.new_temp_file(".jpg")
    Image.fromarray(reduced(frame)).save(path, quality=_JPEG_QUALITY)
    return {"filename": path.name, "subfolder": "", "type": "temp"}
