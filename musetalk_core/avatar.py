"""A face prepared once, to speak many times: everything about it that does not depend on the voice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from . import pipeline, speaking
from .avatar_models import require_release, require_vae
from .face_options import LIGHT_SMOOTHING, NO_OPTIONS, FaceOptions
from .finishing import NO_FINISH, Finish
from .job import sound_end
from .models import Models
from .progress import Progress, silent
from .releases import MaskMode
from .sound_input import Sound
from .speaking import Face
from .timeline import Length, play_order
from .video_look import VideoLook


@dataclass(frozen=True)
class Preparation:
    """What is chosen when a face is prepared.

    Attributes:
        bbox_shift: Pixels to move the face box's middle down.
        extra_margin: Pixels below the chin instead of the release's.
        fps: Frame rate of what will be spoken; the source's own (25 for stills) when None.
        length: What happens when a sound outlasts the clip.
        faces: Which face, how it is looked for, and what if there is none.
        smoothing: 0..1, of the landmarks over time.
        mask_mode: Instead of the release's.
        cheek_width: Instead of the release's, for mask mode "jaw".
        seed: Sample the VAE's posterior; its mode when None.
    """

    bbox_shift: int = 0
    extra_margin: int | None = None
    fps: Fraction | None = None
    length: Length = "pingpong"
    faces: FaceOptions = NO_OPTIONS
    smoothing: float = LIGHT_SMOOTHING
    mask_mode: MaskMode | None = None
    cheek_width: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Spoken:
    """What an avatar says.

    Attributes:
        frames: uint8 RGB (H, W, 3) each, painted as they are taken.
        seconds: Where the sound ends with them; None where all of it is heard.
    """

    frames: Iterator[np.ndarray]
    seconds: Fraction | None


@dataclass(frozen=True)
class Avatar:
    """A prepared face.

    Attributes:
        name: Its name.
        release: Name of the release it was prepared for.
        fps: Frames a second at which it speaks.
        face: Frames, boxes, latents and masks, read when they are asked for. Not to be used by two
            threads at once: each opens the avatar for itself.
        shown: Which of its frames the clip shows, one for each frame at ``fps``.
        look: What a video of it is to look like; None for stills.
        vae: `fingerprints.of_encoder` of what made its latents.
    """

    name: str
    release: str
    fps: Fraction
    face: Face
    shown: Sequence[int]
    look: VideoLook | None
    vae: str

    def order(self, sound: int) -> list[int]:
        """Which of its frames each output frame shows, for a sound that lasts ``sound`` frames."""
        return [self.shown[i] for i in play_order(sound, len(self.shown), self.face.track.length)]

    def speak(
        self,
        models: Models,
        sound: Sound,
        batch_size: int = 8,
        progress: Progress = silent,
        finish: Finish = NO_FINISH,
        fade_in_silence: bool = False,
        first_frames: int | None = None,
    ) -> Spoken:
        """The avatar saying a sound.

        It is what the whole job would give that encodes as this avatar was encoded: exactly, or up to rounding where
        the batch size is another.

        Args:
            models: The networks; only Whisper, UNet and VAE decoder are used.
            sound: What is to be said.
            batch_size, progress, finish, fade_in_silence: As for `speaking.speak`.
            first_frames: Make no more than this many; all when None.

        Raises:
            InputError: the models are not those it was opened with, or the sound cannot be worked with.
        """
        require_release(self.name, self.release, models)
        require_vae(self.name, self.vae, models)
        features = pipeline.listen(models, sound.waveform, sound.rate, self.fps)
        if first_frames is not None:
            features = features.first(first_frames)
        order = self.order(features.frames)
        frames = speaking.speak(models, self.face, features, batch_size, progress, order, finish, fade_in_silence)
        return Spoken(frames, sound_end(sound.duration, len(order), self.fps))
