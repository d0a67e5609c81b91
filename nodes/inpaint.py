from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core import pipeline
from ..musetalk_core.networks.vae import SCALING_FACTOR
from . import host
from .sockets import CATEGORY, Audio, Latents, batch_size_input, models_input


class Inpaint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkInpaint",
            display_name="MuseTalk Inpaint",
            category=CATEGORY,
            description="Paints the mouth that says the voice: one pass of the UNet for each frame, in latent space.",
            inputs=[
                models_input(),
                Latents.Input("latents", tooltip="From MuseTalk VAE Encode."),
                Audio.Input("audio_features", tooltip="From MuseTalk Whisper Encode; says how many frames are made."),
                batch_size_input("Frames"),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="A LATENT like any other: the stock VAE Decode reads it too, with sd-vae-ft-mse.",
                )
            ],
        )

    @classmethod
    def execute(cls, models, latents, audio_features, batch_size) -> io.NodeOutput:
        predicted = pipeline.predict(models, latents, audio_features, batch_size, progress=host.progress())
        return io.NodeOutput({"samples": predicted / SCALING_FACTOR})  # the host keeps latents unscaled
