"""Where memory runs out: others leave, passes are halved, and what comes out is the same."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from musetalk_core import observing, pipeline
from musetalk_core.errors import NoRoomError
from musetalk_core.networks import s3fd
from musetalk_core.passes import in_passes
from musetalk_core.speaking import lip_sync
from tests.core.stand_ins import StandIns, counted_rows, fixed_track, pictures

SIZE = (64, 48)  # height, width
BOX = (8, 16, 40, 48)
TRACK = fixed_track(SIZE, BOX, [True] * 8)
SAID = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB)"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


class Card:
    """A device on which a batch is too large, and what was done about it.

    Args:
        holds: The most that fit at once.
        others: How often memory runs out whatever the batch, because of what else is there: until it is freed.
    """

    def __init__(self, holds: int, others: int = 0) -> None:
        self.holds, self.others = holds, others
        self.freed, self.tried = 0, []

    def free(self) -> None:
        self.freed += 1
        self.others = 0

    def take(self, count: int, error: RuntimeError = SAID[0]) -> None:
        self.tried.append(count)
        if count > self.holds or self.others:
            raise error


def models_on(card: Card) -> StandIns:
    models = StandIns()
    models.networks.s3fd = None
    models.cache.residency = card
    return models


def limited(monkeypatch: pytest.MonkeyPatch, where: object, name: str, card: Card, batch: int = 0) -> None:
    """A function or method whose argument of that number is a batch on the card."""
    inner = getattr(where, name)

    def outer(*args, **kwargs):
        card.take(len(args[batch]))
        return inner(*args, **kwargs)

    monkeypatch.setattr(where, name, outer)


def doubled(models: StandIns, card: Card, size: int, items: int = 10) -> list[int]:
    def work(part: list[int]) -> list[int]:
        card.take(len(part))
        return [2 * i for i in part]

    return [i for _, found in in_passes(models, "doubling", list(range(items)), size, work) for i in found]


@pytest.mark.parametrize("error", SAID)
def test_however_it_is_said_passes_are_halved_until_they_fit(error: RuntimeError) -> None:
    card = Card(2)
    models = models_on(card)

    def work(part: list[int]) -> list[int]:
        card.take(len(part), error)
        return part

    passes = [part for part, _ in in_passes(models, "a stage", list(range(10)), 8, work)]
    assert passes == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert card.tried[:4] == [8, 8, 4, 2] and card.freed == 3


def test_what_leaves_may_be_enough() -> None:
    card = Card(8, others=1)
    assert doubled(models_on(card), card, 8) == [*range(0, 20, 2)]
    assert card.tried == [8, 8, 2] and card.freed == 1


def test_one_that_needs_the_memory_for_itself_gets_it_every_time() -> None:
    card = Card(1, others=1)
    models = models_on(card)
    assert doubled(models, card, 1, 2) == [0, 2]
    card.others = 1
    assert doubled(models, card, 1, 2) == [0, 2]
    assert card.tried == [1] * 6 and card.freed == 2


def test_the_smaller_size_is_kept_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    card = Card(3)
    models = models_on(card)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert doubled(models, card, 8) == [*range(0, 20, 2)]
    assert card.tried.count(8) == 2 and card.tried.count(4) == 1
    (line,) = caplog.messages
    assert "doubling 8 at once" in line and line.endswith("now on 2")


def test_other_models_and_other_stages_are_tried_at_full_size() -> None:
    card = Card(2)
    models = models_on(card)
    doubled(models, card, 8)
    large = Card(8)
    assert list(in_passes(models, "another", [1, 2, 3], 8, lambda part: large.take(len(part)) or part))
    assert doubled(models_on(large), large, 8) == [*range(0, 20, 2)]
    assert large.tried == [3, 8, 2]


def test_one_that_does_not_fit_is_told_and_tried_afresh_by_the_next_job() -> None:
    card = Card(0)
    models = models_on(card)
    with pytest.raises(NoRoomError, match=r"too small for doubling, even with one at a time\. Close what"):
        doubled(models, card, 8)
    assert card.tried == [8, 8, 4, 2, 1]
    card.holds = 8
    assert doubled(models, card, 8) == [*range(0, 20, 2)]
    assert card.tried[5:] == [8, 2]


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ValueError("out of memory")])
def test_other_errors_pass_through(error: Exception) -> None:
    def work(part: list[int]) -> None:
        raise error

    card = Card(8)
    with pytest.raises(type(error)) as failure:
        list(in_passes(models_on(card), "a stage", [1, 2], 2, work))
    assert failure.value is error and not card.freed


@pytest.mark.parametrize("kind", ["unet", "vae encoder", "vae decoder", "face parser"])
def test_the_whole_job_gives_the_same_frames_where_memory_is_short(kind: str, monkeypatch) -> None:
    expected = list(lip_sync(StandIns(), pictures(8), TRACK, counted_rows(20), 8))
    card = Card(3)
    models = models_on(card)
    networks = models.networks
    owner, method = {
        "unet": (networks.unet, "forward"),
        "vae encoder": (networks.vae, "encode"),
        "vae decoder": (networks.vae, "decode"),
        "face parser": (networks.face_parse, "forward"),
    }[kind]
    limited(monkeypatch, owner, method, card)
    out = list(lip_sync(models, pictures(8), TRACK, counted_rows(20), 8))
    np.testing.assert_array_equal(out, expected)
    assert max(card.tried) > 3 >= card.tried[-1] and card.freed


@pytest.mark.parametrize("kind", ["dwpose", "s3fd"])
def test_faces_are_found_the_same_where_memory_is_short(kind: str, monkeypatch) -> None:
    found = {int(frame[0, 0, 0]): [8, 16, 40, 48, i / 10] for i, frame in enumerate(pictures(8), 1)}
    monkeypatch.setattr(s3fd, "detect", lambda _, batch: [np.array([found[int(frame[0, 0, 0])]]) for frame in batch])
    frames = pictures(8)
    expected = observing.observe_faces(models_on(Card(99)), frames, 8)
    card = Card(4)  # a frame and its mirror image are two
    models = models_on(card)
    if kind == "dwpose":
        limited(monkeypatch, models.networks.dwpose, "forward", card)
    else:
        limited(monkeypatch, s3fd, "detect", card, 1)
    seen = observing.observe_faces(models, frames, 8)
    assert card.freed and max(card.tried) > 4 >= card.tried[-1]
    for name in ("landmarks", "scores", "detections"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(expected, name))


def test_progress_tells_each_smaller_pass(monkeypatch) -> None:
    card = Card(2)
    models = models_on(card)
    limited(monkeypatch, models.networks.vae, "decode", card)
    told: list[tuple[int, int]] = []
    pipeline.decode(models, torch.ones(5, 4, 32, 32), 4, lambda done, total, _: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_the_network_is_brought_again_after_all_have_left() -> None:
    """Against a real budget: what was freed comes back with the next pass."""
    models = StandIns()
    residency = models.cache.residency
    network = torch.nn.Linear(1, 1)
    places: list[str] = []
    network.to = lambda place: places.append(str(place))
    card = Card(2)

    def work(part: list[int]) -> list[int]:
        residency.bring(network, 0)
        card.take(len(part))
        return part

    assert len(list(in_passes(models, "a stage", [1, 2, 3, 4], 4, work))) == 2
    assert len(places) == 6  # brought for four passes, left after two of them
