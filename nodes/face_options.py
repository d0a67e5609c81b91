from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core.errors import InputError, pick
from ..musetalk_core.face_options import FaceChoice, FaceOptions
from .sockets import CATEGORY, Options
from .tensors import ImageFrames

_CHOICES = {
    "as the reference": "reference",
    "largest": "largest",
    "from the left": "position",
    "at a point": "point",
    "like the picture": "picture",
}
_NO_FACE = {"pass through": "pass", "hold the last box": "hold", "stop": "stop"}


class FaceOptionsNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkFaceOptions",
            display_name="MuseTalk Face Options",
            category=CATEGORY,
            description="For clips with several faces, with frames without a face, or with tilted heads. Connect it "
            "to face_options of MuseTalk DWPose Landmarks or MuseTalk Lip Sync Video.",
            inputs=[
                io.Combo.Input(
                    "face",
                    options=list(_CHOICES),
                    default="as the reference",
                    tooltip="Which of several faces speaks. as the reference: the whole frame is taken for one "
                    "person. The others choose at the start of every shot and then follow that person: the largest "
                    "face, the one at a position counted from the left, the one at or nearest to a point, or the one "
                    "most like the picture.",
                ),
                io.Int.Input("position", default=1, min=1, max=99, tooltip="For 'from the left': 1 is the leftmost."),
                io.Int.Input("x", default=0, min=0, max=16384, tooltip="For 'at a point', in pixels from the left."),
                io.Int.Input("y", default=0, min=0, max=16384, tooltip="For 'at a point', in pixels from the top."),
                io.Combo.Input(
                    "no_face",
                    options=list(_NO_FACE),
                    default="pass through",
                    tooltip="Frames without a face. pass through: they stay as they are. hold the last box: the "
                    "mouth goes on where the face was last, for up to hold_frames frames, never across a cut. stop: "
                    "an error names them.",
                ),
                io.Int.Input(
                    "hold_frames",
                    default=12,
                    min=1,
                    max=1000,
                    tooltip="For 'hold the last box': frames of each gap that it bridges at most.",
                ),
                io.Combo.Input(
                    "detection",
                    options=["auto", "exact"],
                    default="auto",
                    tooltip="auto: the face detector sees the frames whose pose scores leave doubt, or all where a "
                    "face is chosen, made smaller. exact: all frames in full resolution, as in the original code; "
                    "many times slower.",
                ),
                io.Boolean.Input(
                    "upright",
                    default=False,
                    tooltip="Turn tilted faces upright before they are painted, and back. MuseTalk was trained on "
                    "upright faces.",
                ),
                io.Image.Input(
                    "picture", optional=True, tooltip="For 'like the picture': the person as they look in the clip."
                ),
            ],
            outputs=[Options.Output(display_name="face_options", tooltip="Goes to face_options.")],
        )

    @classmethod
    def execute(cls, face, position, x, y, no_face, hold_frames, detection, upright, picture=None) -> io.NodeOutput:
        by = pick(_CHOICES, face, "choice of face")
        if by == "picture" and picture is None:
            raise InputError("There is no picture of the face to look for.", "Connect one to picture.")
        portrait = None if picture is None else ImageFrames(picture)[0]
        choice = FaceChoice(by, position - 1, (x, y), portrait)
        return io.NodeOutput(FaceOptions(choice, detection, pick(_NO_FACE, no_face, "choice"), hold_frames, upright))
