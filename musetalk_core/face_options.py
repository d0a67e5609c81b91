"""What may be chosen about faces: which one speaks, how surely it is looked for, and what if there is none."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

ChoiceBy = Literal["reference", "largest", "position", "point", "picture"]
Detection = Literal["auto", "exact"]
NoFace = Literal["pass", "hold", "stop"]
LIGHT_SMOOTHING = 0.3
"""Of the landmarks, where a whole video is made; the stages by themselves stay exact."""


@dataclass(frozen=True)
class FaceChoice:
    """Which of several faces speaks.

    Attributes:
        by: "reference": DWPose takes the whole frame for one person, as the reference does;
            "largest"; "position": counted from the left; "point": the face there, or the nearest;
            "picture": the face most like the one in ``picture``. All but the first follow the chosen
            person through the shot.
        position: From the left, the leftmost is 0; for "position".
        point: x and y in pixels; for "point".
        picture: uint8 RGB (H, W, 3); for "picture".
    """

    by: ChoiceBy = "reference"
    position: int = 0
    point: tuple[int, int] = (0, 0)
    picture: np.ndarray | None = field(default=None, compare=False)

    @property
    def key(self) -> tuple:
        """Tells choices apart by what matters to them, the picture by its content."""
        match self.by:
            case "position":
                return self.by, self.position
            case "point":
                return self.by, self.point
            case "picture":
                return self.by, hashlib.sha256(self.picture.tobytes()).hexdigest()
        return (self.by,)


@dataclass(frozen=True)
class FaceOptions:
    """What may be chosen about faces besides the box.

    Attributes:
        choice: Which of several faces speaks.
        detection: "auto": the face detector runs only where the pose scores leave doubt; "exact":
            at full resolution on every frame, as the reference does.
        no_face: Frames without a face: "pass" through untouched, "hold" the last box for up to
            ``hold_frames`` frames, or "stop" with an error that names them.
        hold_frames: For "hold".
        upright: Turn tilted faces upright before they are painted, and back.
    """

    choice: FaceChoice = FaceChoice()
    detection: Detection = "auto"
    no_face: NoFace = "pass"
    hold_frames: int = 12
    upright: bool = False


NO_OPTIONS = FaceOptions()
"""What the reference does, but for where the detector runs."""
