"""What the older pack's nodes did: files in, frames and cut sounds out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from musetalk_core import legacy, vhs_filenames
from musetalk_core.errors import InputError, MediaError
from musetalk_core.media_input import read_clip, read_sound
from tests.core.stand_ins import SAMPLE, tone, write_clip, write_wav

RATE = 16000


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """One second, two channels: a rising ramp, and the same upside down."""
    ramp = np.linspace(0, 0.9, RATE, dtype=np.float32)
    return write_wav(tmp_path / "voice.wav", np.stack((ramp, -ramp)), RATE, "stereo")


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (0, 1000, 0, RATE),
        (250, 750, RATE // 4, RATE * 3 // 4),
        (250, 0, RATE // 4, RATE),
        (900, 9000, RATE * 9 // 10, RATE),
    ],
)
def test_a_cut_sound_is_that_part_of_it(
    voice: Path, tmp_path: Path, start: int, end: int, first: int, last: int
) -> None:
    legacy.cut_sound(voice, start, end, tmp_path / "part.wav")
    whole, part = read_sound(voice), read_sound(tmp_path / "part.wav")
    assert part.rate == RATE and part.waveform.shape == (2, last - first)
    np.testing.assert_allclose(part.waveform, whole.waveform[:, first:last], atol=2e-4)


@pytest.mark.parametrize(("start", "end"), [(1000, 2000), (500, 500), (600, 400), (5000, 0)])
def test_a_cut_without_sound_in_it_says_how_long_the_sound_is(
    voice: Path, tmp_path: Path, start: int, end: int
) -> None:
    with pytest.raises(InputError, match=rf"between {start} and {end} ms of .*voice\.wav, which lasts 1\.00 s"):
        legacy.cut_sound(voice, start, end, tmp_path / "part.wav")
    assert not (tmp_path / "part.wav").exists()


def test_loud_sounds_are_limited_not_wrapped(tmp_path: Path) -> None:
    loud = write_wav(tmp_path / "loud.wav", tone(0.1, RATE, amplitude=1.0)[None], RATE, "mono")
    legacy.cut_sound(loud, 0, 0, tmp_path / "part.wav")
    np.testing.assert_allclose(read_sound(tmp_path / "part.wav").waveform, read_sound(loud).waveform, atol=2e-4)


def test_the_old_release_is_used_where_it_is(tmp_path: Path) -> None:
    assert legacy.release_at_hand([tmp_path]).name == "1.5"
    unet = tmp_path / "second" / "musetalk" / "pytorch_model.bin"
    unet.parent.mkdir(parents=True)
    unet.touch()
    assert legacy.release_at_hand([tmp_path, tmp_path / "second"]).name == "1.0"


@pytest.mark.parametrize(("fps", "frames"), [(Fraction(10), 4), (Fraction(30000, 1001), 11), (None, 10)])
def test_a_face_speaks_at_its_own_rate(synthetic_models, all_skin, tmp_path, fps, frames: int) -> None:
    face = cv2.resize(read_clip(SAMPLE / "face.jpg").frames[0], (96, 96))
    source = tmp_path / ("face.mp4" if fps else "face.png")
    if fps:
        write_clip(source, [face] * 2, fps)
    else:
        Image.fromarray(face).save(source)
    sound = write_wav(tmp_path / "voice.wav", tone(0.4, RATE)[None], RATE, "mono")
    shown, count = legacy.speak(synthetic_models("1.0"), source, sound, 0, 8)
    shown = list(shown)
    assert count == len(shown) == frames
    assert shown[0].shape == (96, 96, 3)


def test_a_missing_voice_is_named(synthetic_models, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"nobody\.wav"):
        legacy.speak(synthetic_models(), SAMPLE / "face.jpg", tmp_path / "nobody.wav", 0, 8)


PNG, GIF, VIDEO, SPOKEN = "out/A_00001.png", "out/A_00001.gif", "out/A_00001.mp4", "out/A_00001-audio.mp4"


@pytest.mark.parametrize(
    ("paths", "last"),
    [([PNG, VIDEO], VIDEO), ([PNG, VIDEO, SPOKEN], SPOKEN), ([VIDEO, PNG], VIDEO), ([PNG, GIF], GIF)],
)
def test_of_the_files_of_video_combine_the_last_video_is_taken(paths: list[str], last: str) -> None:
    assert vhs_filenames.last_video((True, paths)) == last
    assert vhs_filenames.last_file((True, paths)) == paths[-1]


def test_pictures_in_place_of_a_video_are_named() -> None:
    with pytest.raises(InputError, match=r"A_00001\.png is no video.*h264"):
        vhs_filenames.last_video((False, [PNG]))


@pytest.mark.parametrize("choose", [vhs_filenames.last_file, vhs_filenames.last_video])
def test_nothing_saved_is_told(choose) -> None:
    with pytest.raises(InputError, match="saved no file"):
        choose((True, []))
