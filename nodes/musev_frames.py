from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from comfy_api.v0_0_2 import io

from ..musetalk_core import vhs_filenames
from ..musetalk_core.errors import InputError
from ..musetalk_core.job import conformed
from ..musetalk_core.media_input import open_clip
from ..musetalk_core.progress import Frames, Picked, Progress
from ..musetalk_core.resample import METHODS, resample
from ..musetalk_core.sound_input import Sound
from ..musetalk_core.timeline import LENGTHS, TRAINED_FPS, exact_rate, known_length, output_frames, source_frame
from . import host
from .sockets import CATEGORY, Filenames
from .tensors import ImageFrames, sound_of, to_image


class MuseVFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkMuseVFrames",
            display_name="MuseTalk MuseV Frames",
            category=CATEGORY,
            description="Brings the few frames of MuseV, or any clip, to the 25 frames a second that MuseTalk was "
            "trained at, and on request to the length of the voice. The clip plays as fast as it was meant to.",
            inputs=[
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="The frames of MuseV, of RIFE or of any other node. Connect these or filenames.",
                ),
                Filenames.Input(
                    "filenames",
                    optional=True,
                    tooltip="A saved video, from Video Combine of VideoHelperSuite. It brings its own frame rate.",
                ),
                io.Float.Input(
                    "frames_per_second",
                    default=8.0,
                    min=0.1,
                    max=240.0,
                    step=0.001,
                    tooltip="The rate that images are meant for: 4 to 12 from MuseV; after RIFE or FILM, that times "
                    "their multiplier. Not used with filenames.",
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default="motion",
                    tooltip="How frames in between are made. motion: pixels move along their paths. blend: "
                    "neighbours fade into each other. nearest: frames are repeated or left out. Scenes never mix.",
                ),
                io.Float.Input(
                    "target_fps",
                    default=float(TRAINED_FPS),
                    min=1.0,
                    max=240.0,
                    step=0.001,
                    tooltip="The rate to come out. MuseTalk was trained at 25.",
                ),
                io.Combo.Input(
                    "length",
                    options=list(LENGTHS),
                    default="pingpong",
                    tooltip="Where the voice outlasts the clip. pingpong: the clip runs backwards and forwards. "
                    "loop: it starts again. hold: it stays on its last frame. trim: the frames end with the clip.",
                ),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="The voice, to give as many frames as it lasts. Without it the clip keeps its length.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The frames at the new rate."),
                io.Float.Output(
                    display_name="fps", tooltip="Their rate, for MuseTalk Whisper Encode and for Create Video."
                ),
                io.Int.Output(display_name="frame_count", tooltip="How many they are."),
            ],
        )

    @classmethod
    def execute(
        cls, frames_per_second, method, target_fps, length, images=None, filenames=None, audio=None
    ) -> io.NodeOutput:
        fps = exact_rate(target_fps)
        sound = None if audio is None else Sound(*sound_of(audio))
        source, source_fps = _source(images, filenames, exact_rate(frames_per_second), sound)
        frames = resample(source, source_fps, fps, method)
        count = len(frames)
        if sound is not None and count > 1:  # a single picture speaks as it is
            count = output_frames(int(sound.duration * fps), count, known_length(length))
        if not count:
            raise InputError("The voice is shorter than one frame.", "Give a longer one.")
        # The clip is made once, into an IMAGE with room for the repeats, which are then copied within it.
        out = to_image(_reported(frames, min(count, len(frames)), host.progress()), count)
        for i in range(len(frames), count):
            out[i] = out[source_frame(i, len(frames), length)]
        return io.NodeOutput(out, float(fps), count)


def _source(images, filenames, images_fps: Fraction, sound: Sound | None) -> tuple[Frames, Fraction]:
    """The frames of either, at a constant rate, and that rate."""
    if (images is None) == (filenames is None):
        raise InputError("The clip must come from images or from filenames.", "Connect one of the two, not both.")
    if filenames is None:
        return ImageFrames(images), images_fps
    path = Path(vhs_filenames.last_video(filenames))
    frames, shown, fps = conformed(open_clip(path, sound and sound.duration, progress=host.progress()), None)
    return Picked(frames, shown), fps


def _reported(frames: Frames, count: int, progress: Progress) -> Iterator[np.ndarray]:
    for i in range(count):
        yield frames[i]
        progress(i + 1, count, None)
