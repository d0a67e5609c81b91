"""The whole job on frames: in bounded memory, in any order, fading in silence."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from musetalk_core import speaking
from musetalk_core.blender import Blender
from musetalk_core.finishing import Finish
from musetalk_core.recent import Recent
from musetalk_core.speaking import lip_sync
from tests.core.stand_ins import StandIns, counted_rows, fixed_track, pictures, threads_of_ours

SIZE = (64, 48)  # height, width
BOX = (8, 16, 40, 48)
MOUTH = (42, 24)  # row and column of a pixel that is repainted in full
SHOULDER = (62, 4)  # of one that is never touched


def track_of(count: int, **changes):
    return replace(fixed_track(SIZE, BOX, [True] * count), **changes)


class Asked(Sequence):
    """Frames that note which of them are asked for."""

    def __init__(self, frames: Sequence[np.ndarray]) -> None:
        self.frames, self.indices, self.threads = frames, [], []

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> np.ndarray:
        self.indices.append(index)
        self.threads.append(threading.get_ident())
        return self.frames[index]


def test_frames_are_asked_for_in_the_order_they_are_shown_two_batches_ahead_and_by_one_thread() -> None:
    frames = Asked(pictures(21))
    for i, _ in enumerate(lip_sync(StandIns(), frames, track_of(21), counted_rows(21), 3)):
        assert max(frames.indices) < (i // 3 + 3) * 3
    assert frames.indices == [*range(21)]
    assert len(set(frames.threads[1:])) == 1 and threading.get_ident() not in frames.threads[1:]


def test_a_batch_is_composed_while_the_networks_paint_the_next(monkeypatch) -> None:
    """Compositing that waits for the next batch to be painted would wait for ever if one came after the other."""
    painted = [threading.Event() for _ in range(3)]
    models = StandIns()
    decode, composite = models.networks.vae.decode, Blender.composite

    def decoded(latents):
        painted[len(models.networks.vae.decoded)].set()
        return decode(latents)

    def composed(blender, frames, sources, *others):
        assert painted[min(sources[0] // 2 + 1, 2)].wait(20)
        yield from composite(blender, frames, sources, *others)

    models.networks.vae.decode = decoded
    monkeypatch.setattr(Blender, "composite", composed)
    assert len(list(lip_sync(models, pictures(6), track_of(6), counted_rows(6), 2))) == 6


@pytest.mark.parametrize("where", ["read", "painted", "composed"])
def test_an_error_in_any_thread_comes_out_as_it_is_and_ends_them_all(where: str, monkeypatch) -> None:
    models, error = StandIns(), OSError("of this kind")

    def fail(*_, **__):
        raise error

    class Broken(Asked):
        def __getitem__(self, index: int) -> np.ndarray:
            return fail() if index == 5 and where == "read" else super().__getitem__(index)

    frames = Broken(pictures(12))
    shown = lip_sync(models, frames, track_of(12), counted_rows(12), 2)
    next(shown)
    if where == "painted":
        models.networks.unet.forward = fail
    elif where == "composed":
        monkeypatch.setattr(Blender, "composite", lambda *_: map(fail, [0]))
    with pytest.raises(OSError) as failure:
        list(shown)
    assert failure.value is error
    assert not threads_of_ours()


def test_whoever_stops_early_leaves_no_thread() -> None:
    shown = lip_sync(StandIns(), pictures(12), track_of(12), counted_rows(12), 2)
    next(shown)
    assert threads_of_ours()
    shown.close()
    assert not threads_of_ours()


def test_a_long_clip_is_computed_anew_where_it_is_shown_again_and_looks_the_same(monkeypatch) -> None:
    features = counted_rows(22)
    plenty, scarce = StandIns(), StandIns()
    expected = list(lip_sync(plenty, pictures(6), track_of(6), features, 2))
    assert sum(plenty.networks.vae.encoded) == 2 * 6
    monkeypatch.setattr(speaking, "_LATENT_BYTES", 2 * 8 * 32 * 32 * 4)
    out = list(lip_sync(scarce, pictures(6), track_of(6), features, 2))
    assert sum(scarce.networks.vae.encoded) > 2 * 6
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("seed", [None, 3])
def test_noise_belongs_to_the_frame_not_to_the_batch(synthetic_models, monkeypatch, seed) -> None:
    models, frames = synthetic_models(), pictures(3)
    once = list(lip_sync(models, frames, track_of(3), counted_rows(6), 3, seed))
    monkeypatch.setattr(speaking, "_LATENT_BYTES", 0)
    again = list(lip_sync(models, frames, track_of(3), counted_rows(6), 2, seed))
    assert np.abs(np.array(once, np.int16) - np.array(again, np.int16)).max() <= 1


def test_any_order_can_be_shown() -> None:
    order = [2, 2, 0, 1, 4]
    out = list(lip_sync(StandIns(), pictures(5), track_of(5), counted_rows(9), 2, order=order))
    assert [int(frame[SHOULDER][0]) for frame in out] == [40 + 10 * i for i in order]
    assert [int(frame[MOUTH][0]) for frame in out] == [10 * i for i in range(5)]  # each hears its own moment


@pytest.mark.parametrize(
    ("length", "shown"),
    [("pingpong", [0, 1, 2, 2, 1]), ("loop", [0, 1, 2, 0, 1]), ("hold", [0, 1, 2, 2, 2]), ("trim", [0, 1, 2])],
)
def test_the_length_policy_of_the_track_is_kept(length: str, shown: list[int]) -> None:
    out = list(lip_sync(StandIns(), pictures(3), track_of(3, length=length), counted_rows(5), 2))
    assert [int(frame[SHOULDER][0]) for frame in out] == [40 + 10 * i for i in shown]


def test_in_silence_the_original_mouth_shows_and_nothing_is_painted() -> None:
    models, frames = StandIns(), pictures(1)
    speech = np.array([1, 1, 0.5, 0, 0, 0], np.float32)
    features = replace(counted_rows(6), speech=speech)
    out = list(lip_sync(models, frames, track_of(1), features, 2, fade_in_silence=True))
    red = [int(frame[MOUTH][0]) for frame in out]
    assert red[:2] == [0, 10] and red[2] == round((20 + 40) / 2)
    for frame in out[3:]:
        np.testing.assert_array_equal(frame, frames[0])
    assert sum(models.networks.unet.batches) == sum(models.networks.vae.decoded) == 3
    # Without the wish for it, silence is painted as well.
    loud = list(lip_sync(StandIns(), frames, track_of(1), features, 2))
    assert [int(frame[MOUTH][0]) for frame in loud] == [0, 10, 20, 30, 40, 50]


def test_turned_faces_are_cut_and_blended_turned() -> None:
    """A face on its side: the crop's upper half, which is what the model sees, is the picture's left half."""
    frame = np.full((64, 64, 3), 40, np.uint8)
    frame[:, :32] = 200  # white on the left
    track = replace(fixed_track((64, 64), (16, 16, 48, 48), [True]), angles=np.array([90.0]))
    models = StandIns()
    seen = []
    encode = models.networks.vae.encode
    models.networks.vae.encode = lambda pixels, noise=None: seen.append(pixels[1]) or encode(pixels, noise)
    (out,) = lip_sync(models, [frame], track, counted_rows(1))
    top, bottom = seen[0][:, :120].mean(), seen[0][:, 136:].mean()
    assert top > 0.5 and bottom < -0.6
    changed = (out != frame).any(axis=2)
    assert changed[20:44, 34:46].mean() > 0.9  # the lower half of the face lies on the right
    assert not changed[:, :24].any()


def test_a_finish_changes_the_face_and_nothing_else() -> None:
    frames = [np.random.default_rng(0).integers(90, 110, (600, 600, 3), np.uint8)]
    track = fixed_track((600, 600), (40, 40, 560, 560), [True])
    plain, finished = (
        next(lip_sync(StandIns(), frames, track, counted_rows(1), finish=finish))
        for finish in (Finish(), Finish(0.0, 1.0))
    )
    changed = (plain != finished).any(axis=2)
    assert changed.any() and not changed[:270].any() and not changed[:, :40].any()


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    computed = []

    def compute(keys):
        computed.extend(keys)
        return [torch.zeros(10) for _ in keys]

    recent = Recent(30, len)
    assert list(recent.all([1, 2, 3], compute)) == [1, 2, 3]
    recent.all([1], compute)  # now 2 is the oldest
    recent.all([4], compute)
    recent.all([3, 1, 4], compute)
    assert computed == [1, 2, 3, 4]
    assert len(recent.all(range(10, 20), compute)) == 10  # more than fit
    recent.all([19], compute)
    recent.all([10], compute)
    assert computed == [1, 2, 3, 4, *range(10, 20), 10]
