from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core import job
from ..musetalk_core.errors import pick
from ..musetalk_core.face_options import LIGHT_SMOOTHING, NO_OPTIONS
from ..musetalk_core.finishing import Finish
from ..musetalk_core.sound_input import Sound
from ..musetalk_core.timeline import known_length
from . import host
from .sockets import (
    CATEGORY,
    FPS,
    batch_size_input,
    bbox_shift_input,
    colour_match_input,
    detail_input,
    extra_margin_input,
    fade_in_silence_input,
    first_frames_input,
    fps_input,
    length_input,
    models_input,
    options_input,
    smoothing_input,
)
from .tensors import sound_of


class LipSyncVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkLipSyncVideo",
            display_name="MuseTalk Lip Sync Video",
            category=CATEGORY,
            description="The whole job in one node, for clips of any length: a face and a voice in, the finished "
            "video out. Frames pass through a few at a time, so that memory does not grow with the length.",
            inputs=[
                models_input(),
                io.Audio.Input(
                    "audio",
                    tooltip="The voice: any rate, channels and language. The video lasts as long as it does, unless "
                    "length says trim.",
                ),
                bbox_shift_input(
                    "Moves the middle of the face box, in pixels. Down (positive) opens the mouth more, up "
                    "(negative) less. The console tells the usable range.",
                ),
                extra_margin_input(),
                fps_input("Frame rate of the video."),
                length_input(),
                smoothing_input(LIGHT_SMOOTHING),
                batch_size_input("Frames"),
                fade_in_silence_input(),
                detail_input(),
                colour_match_input(),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="The face as a video. Its own sound is not used. Or connect image.",
                ),
                io.Image.Input(
                    "image", optional=True, tooltip="The face as one picture, or as pictures to be played at 25 fps."
                ),
                options_input(),
                first_frames_input(),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="Finished, with the voice. Keep it with Save Video."),
                io.Int.Output(display_name="frame_count", tooltip="Frames of the video."),
                io.Int.Output(
                    display_name="faceless",
                    tooltip="How many frames of the source have no face and passed through untouched.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        models,
        audio,
        bbox_shift,
        extra_margin,
        fps,
        fade_in_silence,
        batch_size,
        length="pingpong",
        smoothing=LIGHT_SMOOTHING,
        detail=0.0,
        colour_match=0.0,
        video=None,
        image=None,
        face_options=NO_OPTIONS,
        first_frames=0,
    ) -> io.NodeOutput:
        voice = Sound(*sound_of(audio))
        settings = job.Settings(
            bbox_shift=bbox_shift,
            extra_margin=extra_margin,
            fps=pick(FPS, fps, "frame rate"),
            length=known_length(length),
            faces=face_options,
            smoothing=smoothing,
            fade_in_silence=fade_in_silence,
            finish=Finish(detail, colour_match),
            batch_size=batch_size,
            first_frames=first_frames or None,
        )
        clip = host.open_clip(video, image, voice.duration)
        path = host.new_temp_file(".mp4")
        made = job.make_video(models, clip, voice, voice, path, settings, lambda stage: host.progress())
        return io.NodeOutput(host.video_file(path), made.frames, made.faceless)
