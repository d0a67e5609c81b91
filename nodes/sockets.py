"""The pack's own socket types, and what travels through each."""

from comfy_api.v0_0_2 import io

CATEGORY = "MuseTalk"

Models = io.Custom("MUSETALK_MODELS")  # musetalk_core.models.Models
Audio = io.Custom("MUSETALK_AUDIO")  # musetalk_core.audio.AudioFeatures
Faces = io.Custom("MUSETALK_FACES")  # musetalk_core.faces.FaceTrack
Latents = io.Custom("MUSETALK_LATENTS")  # musetalk_core.pipeline.FaceLatents
Filenames = io.Custom("VHS_FILENAMES")  # VideoHelperSuite's; musetalk_core.vhs_filenames


def models_input() -> io.Input:
    return Models.Input("models", tooltip="From MuseTalk Load Models.")


def batch_size_input(what: str) -> io.Input:
    return io.Int.Input(
        "batch_size",
        default=8,
        min=1,
        max=64,
        tooltip=f"{what} computed at once. More than 8 gains little; fewer need less memory.",
    )
