from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core import avatar_store
from ..musetalk_core.avatar import Preparation
from ..musetalk_core.errors import pick
from ..musetalk_core.face_options import LIGHT_SMOOTHING, NO_OPTIONS
from ..musetalk_core.preview import draw_track
from ..musetalk_core.timeline import known_length
from . import host, panels
from .avatar_memory import AvatarMemory
from .sockets import (
    CATEGORY,
    FPS,
    MASK_MODES,
    Avatar,
    batch_size_input,
    bbox_shift_input,
    cheek_width_input,
    extra_margin_input,
    fps_input,
    length_input,
    mask_mode_input,
    models_input,
    options_input,
    smoothing_input,
    track_outputs,
)
from .tensors import to_image

_memory = AvatarMemory(host.avatar_changed)


class AvatarPrepare(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkAvatarPrepare",
            display_name="MuseTalk Avatar Prepare",
            category=CATEGORY,
            description="Does once, and keeps, everything about a face that does not depend on the voice. "
            "MuseTalk Avatar Speak then only paints.",
            inputs=[
                models_input(),
                io.String.Input(
                    "name",
                    default="avatar",
                    tooltip="Of its folder in output/avatars. An avatar of that name is prepared anew, but for what "
                    "has not changed.",
                ),
                bbox_shift_input(
                    "Moves the middle of the face box, in pixels. Down (positive) opens the mouth more, up "
                    "(negative) less. Stay within the range shown in the preview. Changing it does not run the "
                    "face networks again.",
                ),
                extra_margin_input(),
                fps_input("Frame rate at which the avatar speaks."),
                length_input(),
                smoothing_input(LIGHT_SMOOTHING),
                mask_mode_input(),
                cheek_width_input(),
                batch_size_input("Frames"),
                io.Video.Input("video", optional=True, tooltip="The face as a video. Or connect image."),
                io.Image.Input(
                    "image", optional=True, tooltip="The face as one picture, or as pictures to be played at 25 fps."
                ),
                options_input(),
            ],
            outputs=[
                Avatar.Output(display_name="avatar", tooltip="Goes to MuseTalk Avatar Speak."),
                *track_outputs(),
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, name: str | None = None, **inputs) -> float:
        # What it makes is a folder: somebody else may have been there. None where another node gives the name.
        return float("nan") if name is None else _memory.key(name, inputs)

    @classmethod
    def execute(
        cls,
        models,
        name,
        bbox_shift,
        extra_margin,
        fps,
        mask_mode,
        cheek_width,
        batch_size,
        length="pingpong",
        smoothing=LIGHT_SMOOTHING,
        video=None,
        image=None,
        face_options=NO_OPTIONS,
    ) -> io.NodeOutput:
        chosen = Preparation(
            bbox_shift=bbox_shift,
            extra_margin=extra_margin,
            fps=pick(FPS, fps, "frame rate"),
            length=known_length(length),
            faces=face_options,
            smoothing=smoothing,
            mask_mode=pick(MASK_MODES, mask_mode, "mask_mode"),
            cheek_width=cheek_width,
        )
        widgets = {
            "bbox_shift": bbox_shift,
            "extra_margin": extra_margin,
            "fps": fps,
            "mask_mode": mask_mode,
            "cheek_width": cheek_width,
            "batch_size": batch_size,
            "length": length,
            "smoothing": smoothing,
        }
        folder = avatar_store.avatar_folder(host.avatars_folder(), name)
        key = _memory.key(name, widgets)
        clip = host.open_clip(video, image)
        avatar = avatar_store.prepare_avatar(models, clip, folder, chosen, lambda stage: host.progress(), batch_size)
        _memory.leave(name, widgets, key)
        track = avatar.face.track
        drawn = draw_track(avatar.face.frames, track)
        minus, plus = track.shift_range
        panel = panels.shift_panel(models.release, avatar.face.frames, track, extra_margin, face_options.upright)
        faceless = int((~track.present).sum())
        return io.NodeOutput(avatar, to_image(drawn, len(drawn)), -minus, plus, faceless, ui=panel)
