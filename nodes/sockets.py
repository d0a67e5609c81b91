"""The pack's own socket types and what travels through each, and the inputs that several nodes have."""

from comfy_api.v0_0_2 import io

from ..musetalk_core.timeline import LENGTHS

CATEGORY = "MuseTalk"

Models = io.Custom("MUSETALK_MODELS")  # musetalk_core.models.Models
Audio = io.Custom("MUSETALK_AUDIO")  # musetalk_core.audio.AudioFeatures
Faces = io.Custom("MUSETALK_FACES")  # musetalk_core.faces.FaceTrack
Latents = io.Custom("MUSETALK_LATENTS")  # musetalk_core.pipeline.FaceLatents
Options = io.Custom("MUSETALK_FACE_OPTIONS")  # musetalk_core.face_options.FaceOptions
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


def bbox_shift_input(tooltip: str) -> io.Input:
    return io.Int.Input("bbox_shift", default=0, min=-100, max=100, tooltip=tooltip)


def extra_margin_input(
    tooltip: str = "Pixels added below the chin, release 1.5 only: raise it when an open jaw is cut off.",
) -> io.Input:
    return io.Int.Input("extra_margin", default=10, min=0, max=100, tooltip=tooltip)


def length_input() -> io.Input:
    return io.Combo.Input(
        "length",
        options=list(LENGTHS),
        default="pingpong",
        optional=True,
        tooltip="When the voice outlasts the clip. pingpong: play it backwards, then forwards again. loop: start it "
        "again. hold: stay on the last frame. trim: end with the clip.",
    )


def smoothing_input(default: float) -> io.Input:
    return io.Float.Input(
        "smoothing",
        default=default,
        min=0.0,
        max=1.0,
        step=0.05,
        optional=True,
        tooltip="Steadies the face box over time. 0 follows every landmark as it is found.",
    )


def detail_input() -> io.Input:
    return io.Float.Input(
        "detail",
        default=0.0,
        min=0.0,
        max=1.0,
        step=0.05,
        optional=True,
        tooltip="For faces larger than the painted ones, which are 256 pixels: gives the skin the fine detail of the "
        "original back, outside the mouth.",
    )


def colour_match_input() -> io.Input:
    return io.Float.Input(
        "colour_match",
        default=0.0,
        min=0.0,
        max=1.0,
        step=0.05,
        optional=True,
        tooltip="Moves the painted face's colours to the original's along the seam.",
    )


def options_input(note: str = "") -> io.Input:
    tooltip = f"From MuseTalk Face Options. {note}".strip()
    return Options.Input("face_options", optional=True, tooltip=tooltip)
