from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core import mmpose_backend
from ..musetalk_core.errors import pick
from ..musetalk_core.face_options import NO_OPTIONS
from ..musetalk_core.observing import observe_faces
from ..musetalk_core.preview import draw_track
from ..musetalk_core.timeline import TRAINED_FPS, known_length
from ..musetalk_core.tracking import track_faces
from ..musetalk_core.weights import FACE_KINDS
from . import host, panels
from .sockets import (
    CATEGORY,
    Audio,
    Faces,
    batch_size_input,
    bbox_shift_input,
    extra_margin_input,
    length_input,
    models_input,
    options_input,
    smoothing_input,
    track_outputs,
)
from .tensors import ImageFrames, to_image


class DWPoseLandmarks(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkDWPoseLandmarks",
            display_name="MuseTalk DWPose Landmarks",
            category=CATEGORY,
            description="Finds the face in every frame and the box that MuseTalk repaints. Frames without a face "
            "pass through untouched.",
            inputs=[
                models_input(),
                io.Image.Input("images", tooltip="The source frames; one picture makes a talking still."),
                bbox_shift_input(
                    "Moves the middle of the face box, in pixels. Down (positive) opens the mouth more, up "
                    "(negative) less. Stay within the range shown in the preview. Changing it does not run the "
                    "face networks again.",
                ),
                extra_margin_input(),
                batch_size_input("Frames"),
                io.Combo.Input(
                    "backend",
                    options=list(mmpose_backend.BACKENDS),
                    default="torch",
                    tooltip="torch: built in. mmpose: your own working installation of it, with the same weights.",
                ),
                Audio.Input(
                    "audio_features",
                    optional=True,
                    tooltip="Connect it to look only at the frames that the voice will reach. Leave it out when the "
                    "face track is to be saved.",
                ),
                length_input(),
                smoothing_input(0.0),
                options_input(),
            ],
            outputs=[
                Faces.Output(display_name="faces", tooltip="Landmarks and box for each frame."),
                *track_outputs(),
            ],
        )

    @classmethod
    def execute(
        cls,
        models,
        images,
        bbox_shift,
        extra_margin,
        batch_size,
        backend,
        audio_features=None,
        length="pingpong",
        smoothing=0.0,
        face_options=NO_OPTIONS,
    ) -> io.NodeOutput:
        frames = ImageFrames(images, audio_features.frames if audio_features else None)
        fps = audio_features.fps if audio_features else TRAINED_FPS
        backends = mmpose_backend.BACKENDS
        states = [models.sources[kind].state() for kind in FACE_KINDS]
        seen = host.observation_memo().get(
            images,
            (len(frames), backend, face_options.choice.key, face_options.detection, fps, *states),
            lambda: observe_faces(
                models,
                frames,
                batch_size,
                pick(backends, backend, "backend")(models),
                host.progress(),
                face_options,
                fps,
            ),
        )
        track = track_faces(
            models, seen, bbox_shift, extra_margin, face_options, smoothing, known_length(length), fps
        )
        drawn = draw_track(frames, track)
        minus, plus = track.shift_range
        faceless = int((~track.present).sum())
        panel = panels.shift_panel(models.release, frames, track, extra_margin, face_options.upright)
        return io.NodeOutput(track, to_image(drawn, len(drawn)), -minus, plus, faceless, ui=panel)
