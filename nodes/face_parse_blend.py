from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core.blender import Blender
from ..musetalk_core.errors import pick
from ..musetalk_core.finishing import Finish
from . import host, panels
from .sockets import (
    CATEGORY,
    MASK_MODES,
    Audio,
    Faces,
    batch_size_input,
    cheek_width_input,
    colour_match_input,
    detail_input,
    mask_mode_input,
    models_input,
)
from .tensors import ImageFrames, to_image


class FaceParseBlend(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkFaceParseBlend",
            display_name="MuseTalk Face Parse Blend",
            category=CATEGORY,
            description="Puts each painted face back into its frame along a mask that follows the face. Where the "
            "voice outlasts the clip, frames repeat as the face track's length says.",
            inputs=[
                models_input(),
                io.Image.Input("images", tooltip="The same frames the faces were found in."),
                io.Image.Input("faces_painted", tooltip="From MuseTalk VAE Decode, any size."),
                Faces.Input("faces", tooltip="The face track the painted faces belong to."),
                mask_mode_input(),
                cheek_width_input(),
                batch_size_input("Frames"),
                detail_input(),
                colour_match_input(),
                Audio.Input(
                    "audio_features",
                    optional=True,
                    tooltip="The same as for MuseTalk Inpaint. Connect it to show the original mouth while the voice "
                    "is silent.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The finished frames, one for each painted face.")
            ],
        )

    @classmethod
    def execute(
        cls,
        models,
        images,
        faces_painted,
        faces,
        mask_mode,
        cheek_width,
        batch_size,
        detail=0.0,
        colour_match=0.0,
        audio_features=None,
    ) -> io.NodeOutput:
        mode = pick(MASK_MODES, mask_mode, "mask_mode")
        blender = Blender(models, ImageFrames(images), faces, mode, cheek_width, Finish(detail, colour_match))
        speech = None if audio_features is None else audio_features.speech
        blended = blender.blend_all(ImageFrames(faces_painted), batch_size, host.progress(), speech)
        finished = to_image(blended, len(faces_painted))  # the blender works as they are asked for
        return io.NodeOutput(finished, ui=panels.mask_panel(blender.first, mask_mode, cheek_width))
