"""The one door to ComfyUI: its devices, memory manager, progress bar, interrupts and folders."""

from __future__ import annotations

import asyncio
import functools
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import folder_paths
import torch
from comfy_api.v0_0_2 import Input, InputImpl
from PIL import Image
from server import PromptServer
from torch import Tensor, nn

from ..musetalk_core import avatar_store, fingerprints, media_input
from ..musetalk_core.cache import ModelCache
from ..musetalk_core.errors import InputError
from ..musetalk_core.growing import Growing, Stream
from ..musetalk_core.media_input import Clip
from ..musetalk_core.memo import TensorMemo
from ..musetalk_core.plain_names import is_plain
from ..musetalk_core.timeline import exact_rate
from .tensors import ImageFrames

if TYPE_CHECKING:
    import numpy as np
    from aiohttp import web

    from ..musetalk_core.progress import Progress

MODEL_FOLDER = "musetalk"
FACE_TRACKS = "face_tracks"  # below the output folder
AVATARS = "avatars"  # too
_OLDER_PACK = Path("TMElyralab") / "MuseTalk"  # below models/diffusers
_EXTENSIONS = {".safetensors", ".bin", ".pth", ".pt", ".json"}
_PREVIEW_SIZE = 512  # px, longer side
_LIVE_EVENT = "musetalk.live"
_LOOK_AGAIN = 0.1  # seconds


def register_model_folder() -> None:
    """Make ``models/musetalk`` known, leaving paths from the user's extra_model_paths.yaml in place."""
    folder_paths.add_model_folder_path(MODEL_FOLDER, str(Path(folder_paths.models_dir) / MODEL_FOLDER))
    # Assigning a new entry would lose those paths; the set is extended where it is.
    folder_paths.folder_names_and_paths[MODEL_FOLDER][1].update(_EXTENSIONS)


def weight_roots() -> list[Path]:
    """Folders in which weights may lie in their published layout; the first takes downloads.

    The last are ComfyUI's own for TAESD.
    """
    roots = [Path(path) for path in folder_paths.get_folder_paths(MODEL_FOLDER)]
    roots += [Path(path) / _OLDER_PACK for path in folder_paths.get_folder_paths("diffusers")]
    return roots + [Path(path) for path in folder_paths.get_folder_paths("vae_approx")]


class MuseTalkNetwork(nn.Module):
    """ModelPatcher writes attributes such as ``device`` to what it manages; diffusers' networks have
    read-only properties of these names, so each network rides in a plain module."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


class HostResidency:
    """`Residency` by ComfyUI's memory manager, which may evict a network for a big neighbour."""

    def __init__(self) -> None:
        self._patchers: dict[int, comfy.model_patcher.ModelPatcher] = {}

    @property
    def device(self) -> torch.device:
        return comfy.model_management.get_torch_device()

    def bring(self, network: nn.Module, working_bytes: int) -> None:
        patcher = self._patchers.get(id(network))
        if patcher is None:
            patcher = comfy.model_patcher.ModelPatcher(
                MuseTalkNetwork(network), self.device, comfy.model_management.unet_offload_device()
            )
            self._patchers[id(network)] = patcher
        # A plain module left half on the CPU would fail, and these networks are small enough.
        comfy.model_management.load_models_gpu([patcher], memory_required=working_bytes, force_full_load=True)
        if next(network.parameters()).device.type != self.device.type:  # the host was started with --novram
            patcher.model.to(self.device)

    def forget(self, network: nn.Module) -> None:
        self._patchers.pop(id(network), None)

    def free(self) -> None:
        comfy.model_management.unload_all_models()
        comfy.model_management.soft_empty_cache()


@functools.cache
def model_cache() -> ModelCache:
    """The one cache of this process."""
    return ModelCache(HostResidency())


@functools.cache
def observation_memo() -> TensorMemo:
    """What the face networks saw, so that moving ``bbox_shift`` runs none of them again."""
    return TensorMemo()


class HostVae:
    """`HostCodec` over a VAE of ComfyUI's.

    Raises:
        InputError: it is not of Stable Diffusion 1.x's kind.
    """

    def __init__(self, vae) -> None:
        if vae.latent_channels != 4 or vae.downscale_ratio != 8:
            raise InputError(
                "This VAE does not make the latents MuseTalk works on.",
                "Load sd-vae-ft-mse, or disconnect the VAE from MuseTalk Load Models.",
            )
        self._vae = vae

    def encode(self, pixels: Tensor, noise: list[torch.Generator] | None = None) -> Tensor:
        if noise is not None:
            raise InputError(
                "A VAE from Load VAE always gives the mode of its posterior.",
                "Set posterior to 'mode', or disconnect the VAE from MuseTalk Load Models.",
            )
        return self._vae.encode(pixels.movedim(1, -1) / 2 + 0.5)  # BCHW, -1..1 -> BHWC, 0..1

    def decode(self, latents: Tensor) -> Tensor:
        return self._vae.decode(latents).movedim(-1, 1) * 2 - 1  # BHWC, 0..1 -> BCHW, -1..1

    def fingerprint(self) -> str:
        network = self._vae.first_stage_model
        if network not in _vae_fingerprints:
            _vae_fingerprints[network] = fingerprints.of_tensors(network.state_dict())
        return _vae_fingerprints[network]


_vae_fingerprints: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()


def precision(asked: str) -> str:
    """The precision to use: the host knows best which cards are good at half precision."""
    if asked != "auto":
        return asked
    return "fp16" if comfy.model_management.should_use_fp16(comfy.model_management.get_torch_device()) else "fp32"


def progress() -> Progress:
    """A `Progress` on the running node's bar, with previews; raises when the user interrupts."""
    bar = comfy.utils.ProgressBar(1)

    def report(done: int, total: int, preview: np.ndarray | None = None) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        shown = None if preview is None else ("JPEG", Image.fromarray(preview), _PREVIEW_SIZE)
        bar.update_absolute(done, total, shown)

    return report


def face_track_files() -> list[str]:
    """Names of the JSON files in the input folder and in `FACE_TRACKS`, as the host annotates them.

    Asked for whenever the host describes the node, so it looks into these two folders only.
    """
    names = []
    for root, folder, mark in (
        (folder_paths.get_input_directory(), "", ""),
        (folder_paths.get_output_directory(), FACE_TRACKS, " [output]"),
    ):
        names += [f"{path.relative_to(root).as_posix()}{mark}" for path in sorted(Path(root, folder).glob("*.json"))]
    return names


def open_clip(video: Input.Video | None, image: Tensor | None, seconds: Fraction | None = None) -> Clip:
    """A VIDEO, all of it or its first ``seconds``, or an IMAGE, as a clip whose frames are read as they are needed.

    Raises:
        InputError: there is neither or both.
        MediaError: the video cannot be read.
    """
    if (video is None) == (image is None):
        raise InputError(
            f"There is {'no face' if video is None else 'both a video and an image'}.",
            "Connect either video or image.",
        )
    if image is not None:
        return Clip(ImageFrames(image), None)
    trim = getattr(video, "get_active_trim_window", None)
    # Asking for a stream of what is made of pictures would encode them, and some hosts trim without telling how.
    if not isinstance(video, InputImpl.VideoFromFile) or (hasattr(video, "as_trimmed") and trim is None):
        parts = video.get_components()
        fps = exact_rate(parts.frame_rate)
        times = tuple(i / fps for i in range(len(parts.images)))
        return Clip(ImageFrames(parts.images), fps, times)
    start, duration = (_exact(seconds) for seconds in (trim() if trim else (0, 0)))
    if duration:
        seconds = duration if seconds is None else min(seconds, duration)
    source = video.get_stream_source()
    file = source if hasattr(source, "read") else Path(source)  # in memory, or on disk
    return media_input.open_clip(file, seconds, start, progress())


def _exact(seconds: float) -> Fraction:
    """The time that a decimal number means: 0.2 as a float is a little more, and a frame may begin in between."""
    return Fraction(seconds).limit_denominator(1_000_000)


def avatar_names() -> list[str]:
    """Names of the prepared avatars; asked for whenever the host describes the node, so no avatar is read."""
    names = (file.parent.name for file in avatars_folder().glob("*/avatar.json"))
    return sorted(name for name in names if is_plain(name))


def avatar_changed(name: str) -> int:
    """Changes when an avatar is prepared anew: the modification time (ns); 0 where there is none of that name."""
    file = avatar_store.avatar_folder(avatars_folder(), name) / "avatar.json"
    return file.stat().st_mtime_ns if file.is_file() else 0


def video_file(path: Path) -> Input.Video:
    """A file as the host's VIDEO."""
    return InputImpl.VideoFromFile(str(path))


def new_temp_file(suffix: str) -> Path:
    """A path in the temp folder where no file is yet; ComfyUI clears the folder when it starts."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"musetalk_{uuid.uuid4().hex}{suffix}"


def annotated_file(name: str) -> Path:
    """The path of a file named as `face_track_files` does.

    Raises:
        InputError: the name leaves the input and output folders, or there is no such file.
    """
    path = Path(folder_paths.get_annotated_filepath(name)).resolve()
    folders = (folder_paths.get_input_directory(), folder_paths.get_output_directory())
    if not any(path.is_relative_to(Path(folder).resolve()) for folder in folders):
        raise InputError(f"{name!r} is outside ComfyUI's input and output folders.", "Choose a file from the list.")
    if not path.is_file():
        raise InputError(f"There is no file {name!r}.", "Put it into ComfyUI's input folder and refresh the list.")
    return path


def media_path(name: str) -> Path:
    """The file or folder that a path in a widget means: absolute, or below the input folder.

    Raises:
        InputError: there is nothing of that name.
    """
    path = Path(folder_paths.get_input_directory(), name.strip())
    if not name.strip() or not path.exists():
        raise InputError(f"There is no file {name!r}.", "Give its whole path, or its name in ComfyUI's input folder.")
    return path


def new_output_file(prefix: str, suffix: str) -> tuple[Path, str]:
    """A new numbered file in the output folder, and its name there.

    Args:
        prefix: May hold subfolders, as in ComfyUI's save nodes.
        suffix: With its dot.
    """
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory()
    )
    file = f"{name}_{counter:05}_{suffix}"
    return Path(folder) / file, (Path(subfolder) / file).as_posix()


def avatars_folder() -> Path:
    """Where prepared avatars are, a folder each; it need not be there."""
    return Path(folder_paths.get_output_directory()) / AVATARS


def web_routes() -> web.RouteTableDef:
    """Where addresses are registered; the host serves each of them below /api, too."""
    return PromptServer.instance.routes


def graph_running() -> bool:
    """Whether the host is executing a graph or will be at once, as one waits in its queue.

    What else uses the memory manager is not seen: "Unload models" with no graph in the queue.
    """
    return PromptServer.instance.prompt_queue.get_tasks_remaining() > 0


@functools.cache
def streams() -> Growing:
    """The growing videos of this process; their files are in the temp folder."""
    return Growing(lambda: new_temp_file(".mp4"))


@contextmanager
def growing_video(node_id: str, path: Path) -> Iterator[Stream]:
    """For the time in which a node writes a video to ``path``: it can be watched as it grows.

    As soon as there is something to watch, the client that queued the graph, if there is one, is sent the event
    `_LIVE_EVENT` with the node and the id under which the server gives the video. An exception ends the stream.

    Args:
        node_id: The node's, as the host calls it.
        path: The video's, when it is finished.
    """
    stream = streams().new()
    server = PromptServer.instance
    if server.client_id is not None:
        asyncio.run_coroutine_threadsafe(_announce(node_id, stream, server.client_id), server.loop)
    try:
        yield stream
    except BaseException:
        stream.failed()
        raise
    stream.finished(path)


async def _announce(node_id: str, stream: Stream, client_id: str) -> None:
    while not (stream.begun or stream.gone):
        await asyncio.sleep(_LOOK_AGAIN)
    if not stream.gone:
        PromptServer.instance.send_sync(_LIVE_EVENT, {"node": node_id, "id": stream.id}, client_id)
