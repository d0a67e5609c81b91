"""The pack's own socket types and what travels through each, and the inputs that several nodes have."""

from comfy_api.v0_0_2 import io

from ..musetalk_core.releases import CHEEK_WIDTHS
from ..musetalk_core.timeline import LENGTHS, TRAINED_FPS

CATEGORY = "MuseTalk"

Models = io.Custom("MUSETALK_MODELS")  # musetalk_core.models.Models
Audio = io.Custom("MUSETALK_AUDIO")  # musetalk_core.audio.AudioFeatures
Faces = io.Custom("MUSETALK_FACES")  # musetalk_core.faces.FaceTrack
Latents = io.Custom("MUSETALK_LATENTS")  # musetalk_core.pipeline.FaceLatents
Avatar = io.Custom("MUSETALK_AVATAR")  # musetalk_core.avatar.Avatar
Options = io.Custom("MUSETALK_FACE_OPTIONS")  # musetalk_core.face_options.FaceOptions
Filenames = io.Custom("VHS_FILENAMES")  # VideoHelperSuite's; musetalk_core.vhs_filenames

FPS = {"keep": None, "25": TRAINED_FPS}
_AS_RELEASE = "as the release"
MASK_MODES = {_AS_RELEASE: None, "jaw": "jaw", "raw": "raw", "neck": "neck", "face": "face"}


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


def fps_input(tooltip: str) -> io.Input:
    return io.Combo.Input(
        "fps",
        options=list(FPS),
        default="keep",
        tooltip=f"{tooltip} keep: the source's own, exactly; one that varies becomes "
        "constant at its average. 25: what MuseTalk was trained at. Pictures play at 25.",
    )


def mask_mode_input() -> io.Input:
    return io.Combo.Input(
        "mask_mode",
        options=list(MASK_MODES),
        default=_AS_RELEASE,
        tooltip="What is replaced, in the lower half of the face box. as the release: jaw for 1.5, "
        "face for 1.0. jaw: mouth and skin, narrowed at the cheeks. raw: mouth and skin. neck: "
        "raw and the neck. face: everything of the face, the nose too.",
    )


def cheek_width_input() -> io.Input:
    return io.Int.Input(
        "cheek_width",
        default=90,
        min=CHEEK_WIDTHS[0],
        max=CHEEK_WIDTHS[-1],
        tooltip="For jaw: half width of the middle that is repainted in full, where the square round the "
        "face is 512 wide. Smaller keeps more of the original cheeks.",
    )


def fade_in_silence_input() -> io.Input:
    return io.Boolean.Input(
        "fade_in_silence",
        default=False,
        tooltip="Show the original mouth while the voice is silent. Good where it is closed in the source.",
    )


def first_frames_input() -> io.Input:
    return io.Int.Input(
        "first_frames",
        default=0,
        min=0,
        max=100000,
        optional=True,
        tooltip="Make only so many frames, to tune the settings quickly. 0 makes all.",
    )


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


def shift_outputs() -> list[io.Output]:
    return [
        io.Int.Output(display_name="shift_min", tooltip="Lowest usable bbox_shift."),
        io.Int.Output(display_name="shift_max", tooltip="Highest usable bbox_shift."),
    ]


def track_outputs() -> list[io.Output]:
    return [
        io.Image.Output(
            display_name="preview",
            tooltip="Up to 16 frames with points, box and usable range drawn in.",
        ),
        *shift_outputs(),
        io.Int.Output(display_name="faceless", tooltip="How many frames have no face and pass through untouched."),
    ]
