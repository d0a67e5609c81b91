"""Stand-ins for the nodes of other packs that example workflows and older graphs use.

Ids, sockets and the order of widgets are the real ones'; what they do is only enough to tell whether a graph
is wired rightly. Where a pack is installed, its own nodes are used.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import folder_paths
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import nodes

PROMPT = "(masterpiece, best quality, highres:1),(1girl, solo:1),(eye blinks:1.8),(head wave:1.3)"
VIDEOS = (".webm", ".mp4", ".mkv", ".gif", ".mov")
COUNT = {"default": 0, "min": 0, "max": 2**53 - 1}


def settings_of_musev() -> dict:
    """The widgets that both nodes of MuseV end with."""
    return {
        "img_edge_ratio": ("FLOAT", {"default": 1.0}),
        "video_len": ("INT", {"default": 12}),
        "seed": ("INT", {"default": 1234}),
        "width": ("INT", {"default": 563}),
        "height": ("INT", {"default": 714}),
        "first_redraw_steps": ("INT", {"default": 30}),
        "video_steps": ("INT", {"default": 10}),
        "first_redraw_guidance_scale": ("FLOAT", {"default": 7.5}),
        "video_guidance_scale": ("FLOAT", {"default": 3.5}),
        "sd_model_name": (["majicmixRealv6Fp16", "fantasticmix_v10"], {"default": "majicmixRealv6Fp16"}),
        "uselcm": ("BOOLEAN", {"default": False}),
    }


class MuseVRun:
    """The picture, swaying from side to side."""

    CATEGORY = "MuseV"
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        first = {"ref_image": ("IMAGE",), "prompt": ("STRING", {"default": PROMPT})}
        return {"required": first | settings_of_musev()}

    def run(self, ref_image, prompt, video_len, width, height, **_):
        picture = F.interpolate(ref_image[:1].movedim(-1, 1), (height, width)).movedim(1, -1)
        return (torch.cat([picture.roll(round(6 * np.sin(i)), 2) for i in range(video_len)]),)


class MuseVRunVid2Vid(MuseVRun):
    """The same, as many frames as the video has at most."""

    @classmethod
    def INPUT_TYPES(cls):
        first = {"ref_image": ("IMAGE",), "prompt": ("STRING", {"default": PROMPT})}
        return {"required": first | {"video_path": ("STRING", {"default": ""})} | settings_of_musev()}

    def run(self, video_path, video_len, **settings):
        with av.open(video_path) as container:
            there = sum(1 for _ in container.decode(video=0))
        return super().run(video_len=min(video_len, there), **settings)


class FilenamesOfMuseV:
    """The path of the file that Video Combine saved."""

    CATEGORY = "MuseV"
    FUNCTION = "run"
    RETURN_TYPES = ("STRING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"filenames": ("VHS_FILENAMES",)}}

    def run(self, filenames):
        return (filenames[1][-1],)


class RifeVfi:
    """Each frame and its successors' cross-fades, in half precision; the last frame comes once."""

    CATEGORY = "ComfyUI-Frame-Interpolation/VFI"
    FUNCTION = "vfi"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "ckpt_name": (["rife40.pth", "rife47.pth", "rife49.pth"], {"default": "rife47.pth"}),
                "frames": ("IMAGE",),
                "clear_cache_after_n_frames": ("INT", {"default": 10, "min": 1, "max": 1000}),
                "multiplier": ("INT", {"default": 2, "min": 1}),
                "fast_mode": ("BOOLEAN", {"default": True}),
                "ensemble": ("BOOLEAN", {"default": True}),
                "scale_factor": ([0.25, 0.5, 1.0, 2.0, 4.0], {"default": 1.0}),
            },
            "optional": {"optional_interpolation_states": ("INTERPOLATION_STATES",)},
        }

    def vfi(self, frames, multiplier, **_):
        shares = torch.arange(multiplier)[:, None, None, None] / multiplier
        faded = [torch.lerp(one, other, shares) for one, other in pairwise(frames)]
        return (torch.cat([*faded, frames[-1:]]).half(),)


class VhsLoadVideo:
    """Every frame of a video of the input folder; no sound."""

    CATEGORY = "Video Helper Suite 🎥🅥🅗🅢"
    FUNCTION = "load_video"
    RETURN_TYPES = ("IMAGE", "INT", "AUDIO", "VHS_VIDEOINFO")
    RETURN_NAMES = ("IMAGE", "frame_count", "audio", "video_info")

    @classmethod
    def INPUT_TYPES(cls):
        files = [path.name for path in Path(folder_paths.get_input_directory()).iterdir() if path.suffix in VIDEOS]
        return {
            "required": {
                "video": (sorted(files),),
                "force_rate": ("FLOAT", {"default": 0, "min": 0, "max": 60, "step": 1}),
                "custom_width": ("INT", {"default": 0, "min": 0, "max": 8192}),
                "custom_height": ("INT", {"default": 0, "min": 0, "max": 8192}),
                "frame_load_cap": ("INT", COUNT),
                "skip_first_frames": ("INT", COUNT),
                "select_every_nth": ("INT", COUNT | {"default": 1, "min": 1}),
            },
            "optional": {
                "meta_batch": ("VHS_BatchManager",),
                "vae": ("VAE",),
                "format": (["None", "AnimateDiff"], {"default": "AnimateDiff"}),
            },
        }

    def load_video(self, video, frame_load_cap, **_):
        with av.open(folder_paths.get_annotated_filepath(video)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        images = torch.from_numpy(np.stack(frames[: frame_load_cap or None])).float() / 255
        return (images, len(images), None, {})


class VhsVideoCombine:
    """A png of the first frame, an mp4, and with a sound a second mp4 (silent here too)."""

    CATEGORY = "Video Helper Suite 🎥🅥🅗🅢"
    FUNCTION = "combine_video"
    OUTPUT_NODE = True
    RETURN_TYPES = ("VHS_FILENAMES",)
    RETURN_NAMES = ("Filenames",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "images": ("IMAGE",),
                "frame_rate": ("FLOAT", {"default": 8, "min": 1, "step": 1}),
                "loop_count": ("INT", {"default": 0, "min": 0, "max": 100, "step": 1}),
                "filename_prefix": ("STRING", {"default": "AnimateDiff"}),
                "format": (["image/gif", "image/webp", "video/h264-mp4"],),
                "pingpong": ("BOOLEAN", {"default": False}),
                "save_output": ("BOOLEAN", {"default": True}),
            },
            "optional": {"audio": ("AUDIO",), "meta_batch": ("VHS_BatchManager",), "vae": ("VAE",)},
        }

    def combine_video(self, images, frame_rate, filename_prefix, save_output, audio=None, **_):
        root = folder_paths.get_output_directory() if save_output else folder_paths.get_temp_directory()
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, root)
        stem = f"{name}_{counter:05}"
        endings = [".png", ".mp4"] + ["-audio.mp4"] * (audio is not None)
        files = [Path(folder, stem + ending) for ending in endings]
        pixels = (images * 255).round().to(torch.uint8).numpy()
        Image.fromarray(pixels[0]).save(files[0])
        for path in files[1:]:
            write(path, pixels, Fraction(frame_rate).limit_denominator(1001))
        preview = {"filename": files[-1].name, "subfolder": subfolder, "type": "output" if save_output else "temp"}
        return {"ui": {"gifs": [preview]}, "result": ((save_output, [str(path) for path in files]),)}


def write(path: Path, pixels: np.ndarray, rate: Fraction) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = pixels.shape[1:3]
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))


class VhsLoadAudio:
    """A sound file by its path."""

    CATEGORY = "Video Helper Suite 🎥🅥🅗🅢/audio"
    FUNCTION = "load_audio"
    RETURN_TYPES = ("AUDIO", "FLOAT")
    RETURN_NAMES = ("audio", "duration")

    @classmethod
    def INPUT_TYPES(cls):
        optional = {name: ("FLOAT", {"default": 0, "min": 0}) for name in ("seek_seconds", "duration")}
        return {"required": {"audio_file": ("STRING", {"default": "input/"})}, "optional": optional}

    def load_audio(self, audio_file, **_):
        with av.open(audio_file) as container:
            frames = list(container.decode(audio=0))
        samples = np.concatenate([frame.to_ndarray().reshape(-1, frame.layout.nb_channels) for frame in frames])
        waveform = torch.from_numpy(samples.T[None] / 32768).float()
        rate = frames[0].sample_rate
        return ({"waveform": waveform, "sample_rate": rate}, waveform.shape[2] / rate)


STAND_INS = {
    "MuseVRun": MuseVRun,
    "MuseVRunVid2Vid": MuseVRunVid2Vid,
    "VHS_FILENAMES_STRING_MuseV": FilenamesOfMuseV,
    "RIFE VFI": RifeVfi,
    "VHS_LoadVideo": VhsLoadVideo,
    "VHS_VideoCombine": VhsVideoCombine,
    "VHS_LoadAudio": VhsLoadAudio,
}
NODE_CLASS_MAPPINGS = {name: node for name, node in STAND_INS.items() if name not in nodes.NODE_CLASS_MAPPINGS}
