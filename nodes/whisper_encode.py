from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core import pipeline
from ..musetalk_core.timeline import exact_rate
from . import host
from .sockets import CATEGORY, Audio, first_frames_input, models_input
from .tensors import sound_of


class WhisperEncode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkWhisperEncode",
            display_name="MuseTalk Whisper Encode",
            category=CATEGORY,
            description="Turns a voice into the audio features that steer the mouth, and says how many frames "
            "it lasts.",
            inputs=[
                models_input(),
                io.Audio.Input(
                    "audio", tooltip="The voice: any rate, channels and language. Clean speech works best."
                ),
                io.Float.Input(
                    "fps",
                    default=25.0,
                    min=1.0,
                    max=240.0,
                    step=0.001,
                    tooltip="Frames per second of the video to be made; connect the source video's. MuseTalk "
                    "was trained at 25. Give the same number to the node that saves the video.",
                ),
                first_frames_input(),
            ],
            outputs=[
                Audio.Output(display_name="audio_features", tooltip="Goes to MuseTalk Inpaint."),
                io.Int.Output(display_name="frame_count", tooltip="Whole frames that the voice lasts."),
            ],
        )

    @classmethod
    def execute(cls, models, audio, fps: float, first_frames: int = 0) -> io.NodeOutput:
        waveform, rate = sound_of(audio)
        if first_frames:
            features = pipeline.listen(models, waveform, rate, exact_rate(fps)).first(first_frames)
        else:
            features = pipeline.encode_audio(models, waveform, rate, exact_rate(fps), host.progress())
        return io.NodeOutput(features, features.frames)
