"""The nodes of the older pack, ids and sockets as they were, so that its graphs still run."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..musetalk_core import legacy, vhs_filenames, weights
from ..musetalk_core.tasks import stamps
from . import host
from .load_models import LoadModels
from .sockets import CATEGORY, Filenames
from .tensors import to_image


class LegacyRun(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkRun",
            display_name="MuseTalk Run (older graphs)",
            category=CATEGORY,
            description="Kept for graphs of the older pack. In new ones, see the template MuseTalk dub a video. "
            "Uses release 1.0 where its weights are there, else 1.5.",
            is_deprecated=True,
            inputs=[
                io.String.Input(
                    "video_path",
                    default="",
                    tooltip="A video, a picture or a folder of pictures: its whole path, or its name in ComfyUI's "
                    "input folder.",
                ),
                io.String.Input(
                    "audio_path",
                    default="",
                    tooltip="The voice: the file's whole path, or its name in ComfyUI's input folder.",
                ),
                io.Int.Input(
                    "bbox_shift",
                    default=0,
                    min=-1000,
                    max=1000,
                    tooltip="Moves the middle of the face box, in pixels. Down (positive) opens the mouth more.",
                ),
                io.Int.Input(
                    "batch_size",
                    default=8,
                    min=1,
                    max=1024,
                    tooltip="Frames computed at once. More than 8 gains little; fewer need less memory.",
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE", tooltip="The finished frames, at the video's own rate.")],
        )

    @classmethod
    def fingerprint_inputs(cls, video_path=None, audio_path=None, **_) -> list:
        return [_changed(video_path), _changed(audio_path), LoadModels.fingerprint_inputs()]

    @classmethod
    def execute(cls, video_path: str, audio_path: str, bbox_shift: int, batch_size: int) -> io.NodeOutput:
        source, voice = host.media_path(video_path), host.media_path(audio_path)
        roots = host.weight_roots()
        release = legacy.release_at_hand(roots)
        models = weights.open_models(release, roots, host.model_cache(), host.precision("auto"))
        return io.NodeOutput(to_image(*legacy.speak(models, source, voice, bbox_shift, batch_size, host.progress())))


class LegacyCutAudio(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MuseTalkCupAudio",
            display_name="MuseTalk Cut Audio (older graphs)",
            category=CATEGORY,
            description="Kept for graphs of the older pack: cuts a piece out of a sound file. In new ones, use the "
            "nodes Load Audio and Trim Audio Duration.",
            is_deprecated=True,
            inputs=[
                io.String.Input(
                    "audio_path",
                    default="",
                    tooltip="The sound: the file's whole path, or its name in ComfyUI's input folder.",
                ),
                io.Int.Input("start", default=0, min=0, max=3600000, tooltip="Where the piece begins, in ms."),
                io.Int.Input(
                    "end",
                    default=1000,
                    min=0,
                    max=3600000,
                    tooltip="Where it ends, in ms. 0, or more than the sound lasts, means the end of the sound.",
                ),
            ],
            outputs=[io.String.Output(display_name="STRING", tooltip="The path of a wav in ComfyUI's temp folder.")],
        )

    @classmethod
    def fingerprint_inputs(cls, audio_path=None, **_) -> list:
        return _changed(audio_path)

    @classmethod
    def execute(cls, audio_path: str, start: int, end: int) -> io.NodeOutput:
        source, piece = host.media_path(audio_path), host.new_temp_file(".wav")
        legacy.cut_sound(source, start, end, piece)
        return io.NodeOutput(str(piece))


class LegacyFilenames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VHS_FILENAMES_STRING_MuseTalk",
            display_name="VHS Filenames to String (older graphs)",
            category=CATEGORY,
            description="Kept for graphs of the older pack: the path of the file that Video Combine saved. In new "
            "ones, connect filenames to MuseTalk MuseV Frames.",
            is_deprecated=True,
            inputs=[Filenames.Input("filenames", tooltip="From Video Combine of VideoHelperSuite.")],
            outputs=[io.String.Output(display_name="STRING", tooltip="The path of the last file.")],
        )

    @classmethod
    def execute(cls, filenames) -> io.NodeOutput:
        return io.NodeOutput(vhs_filenames.last_file(filenames))


def _changed(name: str | None) -> list:
    """What tells the file from what it was; nothing where another node gives its name, which the host then asks."""
    return stamps(host.media_path(name)) if name else []
