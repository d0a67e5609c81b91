"""What the instruments measure with: the sample's photograph, made to sway, and a voice of noise."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from .sound_input import Sound

FPS = Fraction(25)
FULL_HD = (1920, 1080)  # pixels
_RATE = 16000  # Hz
_PICTURE = Path(__file__).resolve().parent.parent / "assets" / "sample" / "face.jpg"


def swaying(size: tuple[int, int], count: int) -> Iterator[np.ndarray]:
    """The photograph, moving from side to side.

    Args:
        size: Width and height in pixels.
        count: How many frames.

    Yields:
        uint8 RGB (H, W, 3).
    """
    picture = cv2.resize(cv2.cvtColor(cv2.imread(str(_PICTURE)), cv2.COLOR_BGR2RGB), size)
    for i in range(count):
        yield np.roll(picture, round(20 * np.sin(i / 10)), axis=1)


def voice(frames: int) -> Sound:
    """Noise at 16 kHz that lasts so many frames at 25 a second."""
    samples = int(frames / FPS * _RATE)
    return Sound(np.random.default_rng(0).uniform(-0.3, 0.3, (1, samples)).astype(np.float32), _RATE)
