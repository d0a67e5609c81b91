from __future__ import annotations

from comfy_api.v0_0_2 import io, ui

from ..musetalk_core import face_track_file
from . import host
from .sockets import CATEGORY, Faces


class SaveFaceTrack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkSaveFaceTrack",
            display_name="MuseTalk Save Face Track",
            category=CATEGORY,
            description="Saves landmarks and boxes as a readable file, so that faces are found once per clip.",
            inputs=[
                Faces.Input("faces", tooltip="From MuseTalk DWPose Landmarks."),
                io.String.Input(
                    "filename_prefix",
                    default=f"{host.FACE_TRACKS}/MuseTalk",
                    tooltip="Below ComfyUI's output folder; may hold subfolders.",
                ),
            ],
            outputs=[io.String.Output(display_name="file", tooltip="The saved file's name in the output folder.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, faces, filename_prefix: str) -> io.NodeOutput:
        path, name = host.new_output_file(filename_prefix, ".json")
        face_track_file.save(faces, path)
        return io.NodeOutput(name, ui=ui.PreviewText(name))
