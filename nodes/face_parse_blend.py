from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core.blender import Blender
from ..musetalk_core.errors import pick
from ..musetalk_core.finishing import Finish
from . import host, panels
from .sockets import CATEGORY, Audio, Faces, batch_size_input, colour_match_input, detail_input, models_input
from .tensors import ImageFrames, to_image

_AS_RELEASE = "as the release"
MASK_MODES = {_AS_RELEASE: None, "jaw": "jaw", "raw": "raw", "neck": "neck", "face": "face"}
CHEEK_WIDTHS = range(20, 161)


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
                io.Combo.Input(
                    "mask_mode",
                    options=list(MASK_MODES),
                    default=_AS_RELEASE,
                    tooltip="What is replaced, in the lower half of the face box. as the release: jaw for 1.5, "
                    "face for 1.0. jaw: mouth and skin, narrowed at the cheeks. raw: mouth and skin. neck: "
                    "raw and the neck. face: everything of the face, the nose too.",
                ),
                io.Int.Input(
                    "cheek_width",
                    default=90,
                    min=CHEEK_WIDTHS[0],
                    max=CHEEK_WIDTHS[-1],
                    tooltip="For jaw: half width of the middle that is repainted in full, where the square round the "
                    "face is 512 wide. Smaller keeps more of the original cheeks.",
                ),
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
