"""What differs between MuseTalk 1.0 (April 2024) and 1.5 (March 2025): one table, no branches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import pick

MaskMode = Literal["jaw", "raw", "neck", "face"]
CHEEK_WIDTHS = range(20, 161)
"""What may be chosen instead of `Release.cheek_width`."""


@dataclass(frozen=True)
class Release:
    """The settings that belong to one set of UNet weights.

    Attributes:
        name: "1.0" or "1.5".
        windows: How the sound is cut into Whisper's 30 s windows: the "samples" are cut and padded
            with silence, or the log-"mel" of the whole is cut and padded with zeros.
        sixteen_bit: Whether the sound is rounded to 16-bit samples first.
        norm_last: Whether the last Whisper state passes the encoder's final LayerNorm.
        edges: What stands for audio rows outside the sound: "zeros", or "repeat" of the edge row.
        extra_margin: Pixels by which the face box reaches below the chin.
        mask_mode: Which parse classes the pasted region is made of.
        crop_expand: Side of the blending square over the longer side of the face box.
        blur_ratio: Width of the mask's Gaussian blur over the side of the blending square.
        cheek_width: Half width in parse-map pixels (of 512) of the band that "jaw" does not erode.
    """

    name: str
    windows: Literal["samples", "mel"]
    sixteen_bit: bool
    norm_last: bool
    edges: Literal["zeros", "repeat"]
    extra_margin: int
    mask_mode: MaskMode
    crop_expand: float
    blur_ratio: float
    cheek_width: int


RELEASES = {
    release.name: release
    for release in (
        Release(
            name="1.5",
            windows="samples",
            sixteen_bit=False,
            norm_last=True,
            edges="zeros",
            extra_margin=10,
            mask_mode="jaw",
            crop_expand=1.5,
            blur_ratio=0.05,
            cheek_width=90,
        ),
        Release(
            name="1.0",
            windows="mel",
            sixteen_bit=True,
            norm_last=False,
            edges="repeat",
            extra_margin=0,
            mask_mode="face",
            crop_expand=1.2,
            blur_ratio=0.1,
            cheek_width=90,
        ),
    )
}


def get_release(name: str) -> Release:
    """Look a release up by its name.

    Raises:
        InputError: there is no such release.
    """
    return pick(RELEASES, name, "MuseTalk release")
