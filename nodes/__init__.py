"""The extension: the ordered list of nodes."""

from comfy_api.v0_0_2 import ComfyExtension, io

from . import host, mask_routes
from .dwpose_landmarks import DWPoseLandmarks
from .face_options import FaceOptionsNode
from .face_parse_blend import FaceParseBlend
from .inpaint import Inpaint
from .legacy import LegacyCutAudio, LegacyFilenames, LegacyRun
from .lip_sync_video import LipSyncVideo
from .load_face_track import LoadFaceTrack
from .load_models import LoadModels
from .musev_frames import MuseVFrames
from .save_face_track import SaveFaceTrack
from .vae_decode import VAEDecode
from .vae_encode import VAEEncode
from .whisper_encode import WhisperEncode


class MuseTalkExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            LoadModels,
            LipSyncVideo,
            FaceOptionsNode,
            WhisperEncode,
            DWPoseLandmarks,
            VAEEncode,
            Inpaint,
            VAEDecode,
            FaceParseBlend,
            SaveFaceTrack,
            LoadFaceTrack,
            MuseVFrames,
            LegacyRun,
            LegacyCutAudio,
            LegacyFilenames,
        ]


async def comfy_entrypoint() -> MuseTalkExtension:
    host.register_model_folder()
    mask_routes.add_to(host.routes())
    return MuseTalkExtension()
