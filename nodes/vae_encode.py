from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core import pipeline
from . import host
from .sockets import CATEGORY, Faces, Latents, batch_size_input, models_input
from .tensors import ImageFrames


class VAEEncode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkVAEEncode",
            display_name="MuseTalk VAE Encode",
            category=CATEGORY,
            description="Cuts the face out of each frame and encodes it twice: with the mouth masked out, and whole "
            "as the reference.",
            inputs=[
                models_input(),
                io.Image.Input("images", tooltip="The same frames the faces were found in."),
                Faces.Input("faces", tooltip="From MuseTalk DWPose Landmarks or Load Face Track."),
                batch_size_input("Faces"),
                io.Combo.Input(
                    "posterior",
                    options=["mode", "sample"],
                    default="mode",
                    tooltip="mode: deterministic, less flicker. sample: draws from the VAE's distribution, as the "
                    "original code does.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFF,
                    control_after_generate=False,
                    tooltip="For 'sample' only.",
                ),
            ],
            outputs=[Latents.Output(display_name="latents", tooltip="Goes to MuseTalk Inpaint.")],
        )

    @classmethod
    def execute(cls, models, images, faces, batch_size, posterior, seed) -> io.NodeOutput:
        chosen = seed if posterior == "sample" else None
        return io.NodeOutput(
            pipeline.encode_faces(models, ImageFrames(images), faces, batch_size, chosen, host.progress())
        )
