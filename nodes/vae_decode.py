from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core import pipeline
from ..musetalk_core.networks.vae import SCALING_FACTOR
from . import host
from .sockets import CATEGORY, batch_size_input, models_input
from .tensors import to_image


class VAEDecode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkVAEDecode",
            display_name="MuseTalk VAE Decode",
            category=CATEGORY,
            description="Decodes the painted latents to faces of 256 x 256. A face restorer may follow; Face Parse "
            "Blend takes faces of any size.",
            inputs=[
                models_input(),
                io.Latent.Input("latent", tooltip="From MuseTalk Inpaint."),
                batch_size_input("Faces"),
            ],
            outputs=[io.Image.Output(display_name="faces", tooltip="256 x 256; black for frames without a face.")],
        )

    @classmethod
    def execute(cls, models, latent, batch_size) -> io.NodeOutput:
        faces = pipeline.decode(models, latent["samples"] * SCALING_FACTOR, batch_size, host.progress())
        return io.NodeOutput(to_image(faces, len(faces)))
