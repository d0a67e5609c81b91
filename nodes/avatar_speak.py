from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core.finishing import Finish
from ..musetalk_core.fragmented import write_growing
from ..musetalk_core.job import comment
from ..musetalk_core.sound_input import Sound
from . import host
from .sockets import (
    CATEGORY,
    Avatar,
    batch_size_input,
    colour_match_input,
    detail_input,
    fade_in_silence_input,
    first_frames_input,
    models_input,
)
from .tensors import sound_of


class AvatarSpeak(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkAvatarSpeak",
            display_name="MuseTalk Avatar Speak",
            category=CATEGORY,
            description="A prepared avatar says a voice: only the mouth is painted and blended. The video can be "
            "watched while it is made.",
            inputs=[
                models_input(),
                Avatar.Input("avatar", tooltip="From MuseTalk Avatar Prepare or MuseTalk Avatar Load."),
                io.Audio.Input("audio", tooltip="The voice: any rate, channels and language."),
                fade_in_silence_input(),
                batch_size_input("Frames"),
                detail_input(),
                colour_match_input(),
                first_frames_input(),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="Finished, with the voice. Keep it with Save Video."),
                io.Int.Output(display_name="frame_count", tooltip="Frames of the video."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        models,
        avatar,
        audio,
        fade_in_silence,
        batch_size,
        detail=0.0,
        colour_match=0.0,
        first_frames=0,
    ) -> io.NodeOutput:
        voice = Sound(*sound_of(audio))
        spoken = avatar.speak(
            models,
            voice,
            batch_size,
            host.progress(),
            Finish(detail, colour_match),
            fade_in_silence,
            first_frames or None,
        )
        path = host.new_temp_file(".mp4")
        with host.growing_video(cls.hidden.unique_id, path) as stream:
            frames = write_growing(
                path, spoken.frames, avatar.fps, voice, stream.growing, comment(models), avatar.look, spoken.seconds
            )
        return io.NodeOutput(host.video_file(path), frames)
