"""Whole jobs on real files: the voice goes into the video as it is, and the mouth moves with it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.signal import correlate

from musetalk_core.media_input import read_sound, read_voice
from musetalk_core.sound_input import Sound
from tests.core.jobs import MOUTH, bursts, film, loud_at, opened_at, speak, spoken, voice_file
from tests.core.media_samples import NTSC, encode_sound

AAC_BLOCK = 1024  # samples

pytestmark = pytest.mark.usefixtures("all_skin")


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def sound_codec(path: Path) -> str:
    with av.open(str(path)) as container:
        assert len(container.streams.audio) == 1
        return container.streams.audio[0].codec_context.name


@pytest.mark.parametrize("rate", [Fraction(25), NTSC, Fraction(60)], ids=str)
def test_speech_and_mouth_run_side_by_side(tmp_path: Path, rate: Fraction) -> None:
    """Of all ways to lay the real voice beside the mouth, that without a shift fits best."""
    source = film(tmp_path, 20, rate)
    out = speak(tmp_path, source, voice_file(tmp_path / "voice.wav", spoken(3)), 20, length="hold")
    mouths = np.array([frame[MOUTH][..., 0].mean() for frame in out.frames])
    heard = read_voice(out.path)
    blocks = [heard.waveform[0, int(t * heard.rate) :][: heard.rate // 50] for t in out.times]
    loud = np.array([np.sqrt((block**2).mean()) for block in blocks]) > 0.03
    assert 0.2 < loud.mean() < 0.95
    likeness = correlate(mouths - mouths.mean(), loud - loud.mean(), mode="full")
    assert abs(int(likeness.argmax()) - (len(mouths) - 1)) <= 1


@pytest.mark.parametrize(
    ("name", "codec", "written"),
    [
        ("voice.m4a", "aac", "aac"),
        ("voice.mp3", "libmp3lame", "mp3float"),
        ("voice.flac", "flac", "flac"),
        ("voice.wav", "pcm_s16le", None),
    ],
)
def test_the_voice_goes_into_the_video(tmp_path: Path, name: str, codec: str, written: str | None) -> None:
    """What mp4 can hold is copied to the bit, everything else encoded, and it stays in step either way."""
    voice = voice_file(tmp_path / name, spoken(1.5), codec)
    out = speak(tmp_path, film(tmp_path, 5), voice, 5)
    before, after = read_sound(voice), read_sound(out.path)
    shared = before.waveform.shape[1]
    assert (after.rate, len(after.waveform)) == (before.rate, 1)
    assert 0 <= after.waveform.shape[1] - shared <= 2 * AAC_BLOCK
    if written:
        assert sound_codec(out.path) == written
        assert packets(out.path) == packets(voice)
        settled = slice(2 * AAC_BLOCK, shared)  # of a lossy sound the very beginning hangs on what was before
        np.testing.assert_allclose(after.waveform[:, settled], before.waveform[:, settled], atol=1e-4)
    else:
        assert sound_codec(out.path) == "aac"
        assert np.abs(after.waveform[:, :shared] - before.waveform).mean() < 0.1 * np.abs(before.waveform).mean()
    assert len(out.frames) == int(before.duration * 25)


def test_the_voice_takes_the_place_of_the_sources_own_sound(tmp_path: Path) -> None:
    silent_film = film(tmp_path, 10)
    voiced = speak(tmp_path, silent_film, voice_file(tmp_path / "other.wav", bursts(0.4, (0.0,), 16000, 0.4)), 10)
    source = voiced.path.rename(tmp_path / "voiced.mp4")
    out = speak(tmp_path, source, voice_file(tmp_path / "voice.wav", bursts(0.4, (0.2,), lasting=0.1)), 10)
    assert sound_codec(out.path) == "aac"
    assert loud_at(out.path) == pytest.approx([0.2], abs=0.01)
    # And a film may speak with a voice of its own.
    again = speak(tmp_path, source, source, 10)
    assert packets(again.path) == packets(source)
    assert loud_at(again.path)[0] < 0.01


def test_a_voice_with_both_ears_steers_one_mouth_and_stays_stereo(tmp_path: Path) -> None:
    left, right = bursts(1.0, (0.2,)), bursts(1.0, (0.6,))
    encode_sound(
        tmp_path / "voice.flac", "flac", Sound(np.concatenate((left.waveform, right.waveform)), 16000), "stereo"
    )
    out = speak(tmp_path, film(tmp_path, 25), tmp_path / "voice.flac", 25)
    assert opened_at(out) == pytest.approx([0.2, 0.6], abs=0.05)
    heard = read_sound(out.path)
    assert [int(np.abs(side).argmax() > 8000) for side in heard.waveform] == [0, 1]
