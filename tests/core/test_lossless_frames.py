"""Frames in a file come back as they were, in any order."""

from __future__ import annotations

import contextlib
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from musetalk_core.errors import MediaError
from musetalk_core.lossless_frames import LosslessFrames, write_frames
from tests.core.jobs import face_film
from tests.core.media_samples import encode_film

SIZES = [
    *((1, 1), (1, 2), (2, 1), (3, 5), (1, 64), (64, 1)),
    *((63, 65), (64, 64), (101, 333), (2, 900), (900, 2), (62, 700)),
]


def noise(count: int, height: int, width: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


@pytest.fixture
def pictures() -> list[np.ndarray]:
    return noise(9, 70, 66)


@pytest.fixture
def file(tmp_path: Path, pictures) -> Path:
    write_frames(tmp_path / "frames.mkv", pictures)
    return tmp_path / "frames.mkv"


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size_comes_back_exactly(tmp_path: Path, size: tuple[int, int]) -> None:
    pictures = [*noise(4, *size), np.zeros((*size, 3), np.uint8), np.full((*size, 3), 255, np.uint8)]
    assert write_frames(tmp_path / "frames.mkv", pictures) == 6
    frames = LosslessFrames(tmp_path / "frames.mkv", 6, size)
    assert len(frames) == 6
    for i in (5, 4, 3, 2, 1, 0, 0, 3, 4, 1):
        np.testing.assert_array_equal(frames[i], pictures[i])


def test_any_order_gives_the_same(file: Path, pictures) -> None:
    frames = LosslessFrames(file, 9, (70, 66))
    np.testing.assert_array_equal(list(frames), pictures)
    order = random.Random(0).choices(range(9), k=60)
    for i in order:
        np.testing.assert_array_equal(frames[i], pictures[i])
    with pytest.raises(IndexError):
        frames[9]


def test_a_picture_that_was_handed_out_cannot_be_spoilt(file: Path) -> None:
    frames = LosslessFrames(file, 9, (70, 66))
    with pytest.raises(ValueError, match="read-only"):
        frames[3][:] = 0


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="nothing tells which files are open")
def test_closed_it_lets_go_of_the_file(file: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    frames = LosslessFrames(file, 9, (70, 66))
    assert len(os.listdir("/dev/fd")) == before + 1
    frames.close()
    assert len(os.listdir("/dev/fd")) == before


def test_several_may_read_at_once_each_for_itself_even_after_the_file_is_gone(file: Path, pictures) -> None:
    readers = [LosslessFrames(file, 9, (70, 66)) for _ in range(4)]
    with contextlib.suppress(OSError):  # Windows keeps what is read
        file.unlink()
    with ThreadPoolExecutor(4) as threads:
        for got in threads.map(lambda reader: [reader[i] for i in reversed(range(9))], readers):
            np.testing.assert_array_equal(got, pictures[::-1])


def test_a_slice_of_non_contiguous_pictures_is_written_as_it_looks(tmp_path: Path, pictures) -> None:
    turned = [np.rot90(picture)[:, ::-1] for picture in pictures]
    write_frames(tmp_path / "frames.mkv", turned)
    np.testing.assert_array_equal(list(LosslessFrames(tmp_path / "frames.mkv", 9, (66, 70))), turned)


def test_pictures_of_two_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="Frame 1 is 5 x 4, those before it 5 x 3"):
        write_frames(tmp_path / "frames.mkv", [noise(1, 3, 5)[0], noise(1, 4, 5)[0]])


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="nowhere"):
        write_frames(tmp_path / "nowhere" / "frames.mkv", noise(1, 3, 5))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.8, 0.97])
def test_a_file_cut_short_is_refused(file: Path, pictures, share: float) -> None:
    raw = file.read_bytes()
    file.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(MediaError, match=r"Prepare the avatar again\."):
        list(LosslessFrames(file, 9, (70, 66)))


def test_another_file_is_refused(tmp_path: Path, file: Path) -> None:
    for count, size in ((10, (70, 66)), (9, (66, 70)), (10**9, (70, 66))):
        with pytest.raises(MediaError, match=r"Prepare the avatar again\."):
            LosslessFrames(file, count, size)
    film, playlist = tmp_path / "film.mkv", tmp_path / "list.mkv"
    encode_film(film, noise(9, 70, 66))
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{file}\n#EXT-X-ENDLIST\n")
    for other in (film, playlist, tmp_path, tmp_path / "none.mkv"):
        with pytest.raises(MediaError, match=r"Prepare the avatar again\."):
            LosslessFrames(other, 9, (70, 66))


def test_a_damaged_file_gives_pictures_or_says_so(file: Path) -> None:
    raw, chance = file.read_bytes(), random.Random(0)
    for _ in range(60):
        spoilt = bytearray(raw)
        for _ in range(chance.choice((1, 20))):
            spoilt[chance.randrange(len(raw))] = chance.randrange(256)
        file.write_bytes(spoilt)
        try:
            frames = LosslessFrames(file, 9, (70, 66))
        except MediaError:
            continue
        for i in reversed(range(9)):
            try:
                assert frames[i].shape == (70, 66, 3)
            except MediaError as error:
                assert "Prepare the avatar again." in str(error)


def test_smaller_than_pictures_in_a_folder(tmp_path: Path) -> None:
    film = face_film(12, 240, 320)
    write_frames(tmp_path / "frames.mkv", film)
    folder = sum(len(cv2.imencode(".png", frame)[1]) for frame in film)
    assert (tmp_path / "frames.mkv").stat().st_size < folder
