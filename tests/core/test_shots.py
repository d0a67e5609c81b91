"""A cut is where the picture changes for good; what moves or flashes is no cut."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from musetalk_core.shots import part_with_cuts, with_cuts

HEIGHT, WIDTH = 90, 160


def scene(seed: int, width: int = WIDTH) -> np.ndarray:
    """Soft coloured blobs, another for every seed."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 10 * width // WIDTH, 3), np.uint8)
    return cv2.resize(small, (width, HEIGHT), interpolation=cv2.INTER_CUBIC)


def shot(seed: int, frames: int) -> list[np.ndarray]:
    """A scene filmed by a noisy camera."""
    rng = np.random.default_rng(seed + 1000)
    noise = rng.normal(0, 6, (frames, HEIGHT, WIDTH, 3))
    return list(np.clip(scene(seed) + noise, 0, 255).astype(np.uint8))


def cuts(frames: list[np.ndarray]) -> list[int]:
    pairs = list(with_cuts(iter(frames)))
    assert all(seen is frame for (seen, _), frame in zip(pairs, frames, strict=True)), "each frame, once, in order"
    return [i for i, (_, cut) in enumerate(pairs) if cut]


@pytest.mark.parametrize("lengths", [(1,), (12,), (7, 9), (5, 4, 20, 6), (1, 5), (5, 1), (3, 3, 3)])
def test_every_shot_begins_with_a_cut_but_the_first(lengths: tuple[int, ...]) -> None:
    frames = [frame for seed, count in enumerate(lengths) for frame in shot(seed, count)]
    assert cuts(frames) == np.cumsum(lengths)[:-1].tolist()


@pytest.mark.parametrize("speed", [2, 10, 30, 60])
def test_fast_motion_is_no_cut(speed: int) -> None:
    wide = scene(0, 16 * WIDTH)
    standing = [wide[:, :WIDTH]] * 6
    panned = [wide[:, x : x + WIDTH] for x in range(0, 15 * WIDTH, speed)]
    stopped = [panned[-1]] * 6
    assert cuts(standing + panned + stopped) == []


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_no_cut(length: int) -> None:
    frames = shot(0, 20)
    for i in range(8, 8 + length):
        frames[i] = 255 - (255 - frames[i]) // 5
    assert cuts(frames) == []


def test_a_cut_from_a_moving_shot_to_another_is_seen() -> None:
    one, two = scene(1, 3 * WIDTH), scene(2, 3 * WIDTH)
    moving = [wide[:, x : x + WIDTH] for wide in (one, two) for x in range(0, 60, 3)]
    assert cuts(moving) == [20]


def test_a_picture_that_fades_is_not_cut() -> None:
    a, b = scene(1).astype(float), scene(2).astype(float)
    faded = [((1 - t) * a + t * b).astype(np.uint8) for t in np.linspace(0, 1, 12)]
    assert cuts([faded[0]] * 5 + faded + [faded[-1]] * 5) == []


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 30])
def test_parts_of_a_clip_have_the_cuts_of_the_whole(size: int) -> None:
    frames = [frame for seed, count in enumerate((4, 1, 5, 2, 7)) for frame in shot(seed, count)]
    frames[14] = 255 - (255 - frames[14]) // 5  # a flash
    whole = cuts(frames)
    found = []
    for start in range(0, len(frames), size):
        part = range(start, min(start + size, len(frames)))
        asked = Asked(frames)
        pairs = list(part_with_cuts(asked, part))
        assert all(seen is frames[i] for i, (seen, _) in zip(part, pairs, strict=True))
        assert asked.indices == [*range(max(0, part.start - 3), min(part.stop + 2, len(frames)))]
        found += [i for i, (_, cut) in zip(part, pairs, strict=True) if cut]
    assert found == whole and len(whole) >= 3


class Asked(list):
    """Frames that note which of them are asked for."""

    def __init__(self, frames: list[np.ndarray]) -> None:
        super().__init__(frames)
        self.indices: list[int] = []

    def __getitem__(self, index: int) -> np.ndarray:
        self.indices.append(index)
        return super().__getitem__(index)
