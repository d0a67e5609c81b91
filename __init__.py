"""MuseTalk for ComfyUI: a face and a voice in, the same face speaking out."""

from .nodes import comfy_entrypoint

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
