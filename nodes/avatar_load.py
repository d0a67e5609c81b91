from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core import avatar_store
from . import host
from .sockets import CATEGORY, Avatar, models_input


class AvatarLoad(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkAvatarLoad",
            display_name="MuseTalk Avatar Load",
            category=CATEGORY,
            description="Opens a prepared avatar. It is read as it speaks, not held in memory.",
            inputs=[
                models_input(),
                io.Combo.Input(
                    "name",
                    options=host.avatar_names(),
                    tooltip="What MuseTalk Avatar Prepare made. The list shows the folders in output/avatars.",
                ),
            ],
            outputs=[
                Avatar.Output(display_name="avatar", tooltip="Goes to MuseTalk Avatar Speak."),
                io.Float.Output(display_name="fps", tooltip="Frame rate at which it speaks."),
                io.Int.Output(display_name="frames", tooltip="Frames of its clip."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, name: str | None = None, **_) -> float:
        # None where another node gives the name: then nobody knows, and NaN is never the same as before.
        return float("nan") if name is None else host.avatar_changed(name)

    @classmethod
    def execute(cls, models, name: str) -> io.NodeOutput:
        avatar = avatar_store.open_avatar(avatar_store.avatar_folder(host.avatars_folder(), name), models)
        return io.NodeOutput(avatar, float(avatar.fps), len(avatar.shown))
