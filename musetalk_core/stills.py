"""Reading still images, and folders of them, with Pillow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import MediaError
from .lazy_frames import LazyFrames

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Files with these endings are stills; every other file is opened as video."""

HELD_BYTES = 128 * 2**20
"""Pictures of a folder that were read are kept up to this size: many are asked for again soon."""

ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 are pictures held sideways


def read_still(path: Path) -> np.ndarray:
    """Reads an image upright, without its transparency: uint8 RGB (H, W, 3).

    Raises:
        MediaError: There is no such file, or it is damaged.
    """
    from PIL import Image, ImageOps

    if not path.is_file():
        raise MediaError(f"There is no file {path}.", "Check the path.")
    try:
        with Image.open(path) as image:
            return np.array(_eight_bit(ImageOps.exif_transpose(image)).convert("RGB"))
    # What Pillow raises on damaged files, depending on the format.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def read_folder(folder: Path) -> Sequence[np.ndarray]:
    """The images of a folder in the order of the numbers in their names (2.png before 10.png).

    Hidden files and files that are not images are passed over. All sizes are compared at once,
    the pictures are read when they are asked for.

    Raises:
        MediaError: There are no images, or their sizes differ; when a picture is asked for: it is damaged.
    """
    paths = sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")),
        key=lambda p: _natural_key(p.name),
    )
    if not paths:
        raise MediaError(f"The folder {folder} holds no images.", "Choose a folder of png or jpg files.")
    width, height = _upright_size(paths[0])
    for path in paths[1:]:
        size = _upright_size(path)
        if size != (width, height):
            raise MediaError(
                f"{path} is {size[0]} x {size[1]}, those before it {width} x {height}.",
                "Bring all pictures to one size.",
            )
    read = lru_cache(maxsize=max(1, HELD_BYTES // (width * height * 3)))(read_still)
    return LazyFrames(lambda index: read(paths[index]), range(len(paths)))


def _upright_size(path: Path) -> tuple[int, int]:
    """Width and height from the header of an image, the pixels unread."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            # To look for EXIF behind the pixels of a png, Pillow would read them: there it is hardly ever.
            read_exif = image.format != "PNG" or "exif" in image.info
            sideways = read_exif and image.getexif().get(ORIENTATION, 1) >= 5
            return image.size[::-1] if sideways else image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> MediaError:
    return MediaError(f"{path} cannot be read as an image: {error}.", "Save it again as png or jpg.")


def _natural_key(name: str) -> list[str | int]:
    # Split at the numbers: text and numbers alternate, so that like is compared with like.
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(re.split(r"(\d+)", name))]


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey down to 8 bits: Pillow's own conversion clips it to white."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    grey = np.clip(np.asarray(image), 0, 0xFFFF) // 257  # 0..65535 -> 0..255
    return Image.fromarray(grey.astype(np.uint8))
