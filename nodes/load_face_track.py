from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core import face_track_file
from ..musetalk_core.face_options import NO_OPTIONS, FaceOptions
from ..musetalk_core.timeline import known_length
from ..musetalk_core.tracking import track_faces
from . import host
from .sockets import (
    CATEGORY,
    Faces,
    bbox_shift_input,
    extra_margin_input,
    length_input,
    models_input,
    options_input,
    shift_outputs,
    smoothing_input,
)


class LoadFaceTrack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkLoadFaceTrack",
            display_name="MuseTalk Load Face Track",
            category=CATEGORY,
            description="Loads a saved face track instead of finding the faces again.",
            inputs=[
                models_input(),
                io.Combo.Input(
                    "file",
                    options=host.face_track_files(),
                    tooltip="A file that MuseTalk Save Face Track wrote. The list shows the JSON files in ComfyUI's "
                    "input folder and in output/face_tracks.",
                ),
                bbox_shift_input(
                    "As in MuseTalk DWPose Landmarks; the boxes are made anew from the saved landmarks.",
                ),
                extra_margin_input("As in MuseTalk DWPose Landmarks."),
                length_input(),
                smoothing_input(0.0),
                options_input("Only no_face, hold_frames and upright matter here: the faces are already found."),
            ],
            outputs=[
                Faces.Output(display_name="faces", tooltip="Landmarks and box for each frame."),
                *shift_outputs(),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **_) -> int:
        # None where another node gives the name; the host then asks that node.
        return host.annotated_file(file).stat().st_mtime_ns if file else 0

    @classmethod
    def execute(
        cls,
        models,
        file: str,
        bbox_shift: int,
        extra_margin: int,
        length: str = "pingpong",
        smoothing: float = 0.0,
        face_options: FaceOptions = NO_OPTIONS,
    ) -> io.NodeOutput:
        seen = face_track_file.load(host.annotated_file(file))
        track = track_faces(models, seen, bbox_shift, extra_margin, face_options, smoothing, known_length(length))
        minus, plus = track.shift_range
        return io.NodeOutput(track, -minus, plus)
