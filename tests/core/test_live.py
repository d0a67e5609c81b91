"""Live sessions with their threads: the mouth moves with the voice, and nobody is kept waiting."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import torch

from musetalk_core.avatar import Avatar
from musetalk_core.cache import Source
from musetalk_core.giving_way import GivingWay
from musetalk_core.live import LiveSession, Moment
from musetalk_core.live_speech import Speech
from musetalk_core.sound_input import Sound
from musetalk_core.speaking import encoded_on_demand
from musetalk_core.turns import Turns
from tests.core.jobs import BOX, MOUTH, SIZE, Listeners, bursts, face_film, number_of, numbered, open_mouth
from tests.core.stand_ins import fixed_track

RATE = 16000
FPS = Fraction(25)
pytestmark = pytest.mark.usefixtures("all_skin")


class HandClock:
    """A clock on which time passes only while somebody waits, as much as they would."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        changed.wait(None if seconds is None else 0.001)  # others work in the meantime
        if seconds is not None and threading.current_thread() is threading.main_thread():
            self._now += seconds


def avatar(models: Listeners, count: int = 40, length: str = "pingpong") -> Avatar:
    """A face with a black mouth, on numbered frames."""
    face = face_film(1)[0]
    face[MOUTH] = 0
    track = fixed_track(SIZE, BOX, [True] * count)
    object.__setattr__(track, "length", length)
    made = encoded_on_demand(models, [numbered(face, i) for i in range(count)], track)
    return Avatar("somebody", models.release.name, FPS, made, range(count), None, "synthetic-small")


def session(models: Listeners | None = None, clock=None, turns: Turns | None = None, **more) -> LiveSession:
    models = models or Listeners()
    return LiveSession(models, avatar(models, **more), RATE, turns or Turns(), clock=clock)


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("musetalk")}


def watch(live: LiveSession, spoken: int) -> list[Moment]:
    """Moments until so many of them spoke and one was idle again."""
    out = []
    for moment in live:
        out.append(moment)
        if sum(one.speaking for one in out) >= spoken and not moment.speaking:
            return out
    return out


@pytest.mark.parametrize("release", ["1.0", "1.5"])
def test_the_mouth_opens_with_the_voice(release: str) -> None:
    voice = bursts(4, [0.5, 1.4, 2.96, 3.6]).waveform[0]
    live = session(Listeners(release), HandClock())
    assert live.push(voice) == len(voice)
    live.flush()
    moments = watch(live, 100)
    spoken = [one for one in moments if one.speaking]
    np.testing.assert_array_equal(np.concatenate([one.sound for one in spoken]), voice)
    loud = [np.abs(one.sound).mean() > 0.1 for one in spoken]
    mouths = [open_mouth(one.picture) for one in spoken]
    opened, heard = ([i for i in range(1, 100) if now[i] and not now[i - 1]] for now in (mouths, loud))
    assert opened == pytest.approx(heard, abs=1) and len(heard) == 4
    assert not any(open_mouth(one.picture) or one.sound.any() for one in moments if not one.speaking)
    assert not threads()  # the loop was left


@pytest.mark.parametrize(
    ("length", "expected"),
    [("pingpong", [0, 1, 2, 2, 1, 0, 0, 1]), ("loop", [0, 1, 2] * 2 + [0, 1]), ("trim", [0, 1] + [2] * 6)],
)
def test_the_idle_face_plays_on(length: str, expected: list[int]) -> None:
    live = session(clock=HandClock(), count=3, length=length)
    assert [number_of(one.picture) for one in islice(live, 8)] == expected
    live.close()


def test_in_real_time_while_the_sound_still_comes() -> None:
    voice = bursts(1.2, [0.4]).waveform[0]
    live = session()
    moments, times = [], []

    def speak() -> None:
        for first in range(0, len(voice), 320):
            live.push(voice[first : first + 320])
            time.sleep(0.02)
        live.flush()

    mouth = threading.Thread(target=speak)
    for moment in live:
        if len(moments) == 25:  # all is loaded
            mouth.start()
        moments.append(moment)
        times.append(time.monotonic())
        if sum(one.speaking for one in moments) == 30:
            break
    mouth.join()
    np.testing.assert_array_equal(np.concatenate([one.sound for one in moments if one.speaking]), voice)
    assert sum(len(one.sound) for one in moments) == len(moments) * RATE // 25
    assert times[-1] - times[0] >= 0.9 * (len(times) - 1) / 25  # not faster than real time


def test_synthetic_weights_are_told_also_in_idleness() -> None:
    first, second = (
        next(iter(session(Listeners(synthetic=synthetic), HandClock()))).picture for synthetic in (True, False)
    )
    assert (first != second).any()


def test_room_is_for_ten_seconds_and_comes_again() -> None:
    with closing(session(clock=HandClock())) as live:
        sound = np.full(RATE * 15, 0.1, np.float32)
        assert live.push(sound) == 10 * RATE and live.push(sound) == 0
        moments = watch_until_speaking(live)
        assert live.push(sound) == sum(len(one.sound) for one in moments if one.speaking)


def watch_until_speaking(live: LiveSession) -> list[Moment]:
    out = []
    while not out or not out[-1].speaking:
        out.append(live._next())
    return out


class Gate:
    """Lets a network through only when it is opened."""

    def __init__(self, models: Listeners) -> None:
        self._unet, self._open = models.networks.unet.forward, threading.Event()
        self.entered = threading.Event()
        self._open.set()
        models.networks.unet.forward = self._forward

    def _forward(self, *args, **more):
        self.entered.set()
        assert self._open.wait(10)
        return self._unet(*args, **more)

    def close(self) -> None:
        self._open.clear()
        self.entered.clear()

    def open(self) -> None:
        self._open.set()


def test_while_a_network_computes_the_face_is_idle_and_an_interruption_drops_what_it_gives() -> None:
    models = Listeners()
    gate = Gate(models)
    with closing(session(models, HandClock())) as live:
        moments = iter(live)
        gate.entered.wait(10)  # the rehearsal
        gate.close()
        live.push(bursts(2, [0.1]).waveform[0])
        assert gate.entered.wait(10)
        assert not any(one.speaking for one in islice(moments, 30))  # no freeze
        live.interrupt()
        gate.open()
        assert not any(one.speaking for one in islice(moments, 30))
        decoded = sum(models.networks.vae.decoded)
        assert decoded <= 1  # only the rehearsal's: what is in vain is not even decoded
        live.push(np.full(RATE // 5, 0.25, np.float32))
        live.flush()
        again = list(islice((one for one in moments if one.speaking), 5))
        assert (np.concatenate([one.sound for one in again]) == 0.25).all()


def test_an_interruption_empties_what_is_painted_already() -> None:
    with closing(session(clock=HandClock())) as live:
        live.push(np.full(RATE * 5, 0.1, np.float32))
        watch_until_speaking(live)
        live.interrupt()
        assert not any(live._next().speaking for _ in range(20)) and not live.waiting
        assert live.push(np.full(RATE * 15, 0.1, np.float32)) == 10 * RATE


def test_two_sessions_at_once_paint_one_batch_at_a_time() -> None:
    models, turns, inside, most = Listeners(), Turns(), [], []
    unet = models.networks.unet.forward

    def noted(*args, **more):
        inside.append(1)
        time.sleep(0.002)
        most.append(len(inside))
        inside.pop()
        return unet(*args, **more)

    models.networks.unet.forward = noted
    lives, seen = [session(models, turns=turns) for _ in range(2)], {}
    watchers = [threading.Thread(target=lambda i=i: seen.update({i: watch(lives[i], 25)})) for i in range(2)]
    for live, watcher, level in zip(lives, watchers, (0.1, 0.2), strict=True):
        live.push(np.full(RATE, level, np.float32))
        live.flush()
        watcher.start()
    for watcher in watchers:
        watcher.join(30)
    for i, level in enumerate(np.float32([0.1, 0.2])):
        spoken = np.concatenate([one.sound for one in seen[i] if one.speaking])
        assert len(spoken) == RATE and (spoken == level).all()
    assert max(most) == 1


def test_an_utterance_heard_to_its_end_looks_as_the_avatar_speaks_offline() -> None:
    models, turns = Listeners(), Turns()
    models.host_vae, models.sources = None, {"vae": Source("vae", synthetic="small")}
    voice = bursts(2, [0.3, 1.1]).waveform
    still = avatar(models, count=1)
    with turns:  # nothing is painted before all is there
        live = LiveSession(models, still, RATE, turns, clock=HandClock())
        live.push(voice[0])
        live.flush()
    spoken = [one.picture for one in watch(live, 50) if one.speaking]
    np.testing.assert_array_equal(spoken, [*still.speak(models, Sound(voice, RATE)).frames])


def test_what_goes_wrong_is_raised_to_who_looks_on() -> None:
    models = Listeners()
    live = session(models, HandClock())
    moments = iter(live)
    next(moments)

    def broken(*_, **__):
        raise torch.cuda.OutOfMemoryError("no memory")

    models.networks.unet.forward = broken
    live.push(np.full(RATE, 0.1, np.float32))
    with pytest.raises(torch.cuda.OutOfMemoryError, match="no memory"):
        list(moments)
    assert not threads() and live.push(np.zeros(10, np.float32)) == 0


def test_what_gives_way_for_long_does_not_seem_slow(monkeypatch) -> None:
    busy, measured = threading.Event(), []
    turns, models = GivingWay(Turns(), busy.is_set), Listeners()
    with closing(session(models, turns=turns)) as live:
        moments = iter(live)
        unet = models.networks.unet.forward
        monkeypatch.setattr(Speech, "painted", lambda self, batch, faces, seconds: measured.append(seconds))
        while not sum(models.networks.vae.decoded):  # the rehearsal
            next(moments)

        def interrupted(*args, **more):
            busy.set()
            threading.Timer(2, busy.clear).start()
            turns.give_way()  # as where the next network is asked for
            return unet(*args, **more)

        models.networks.unet.forward = interrupted
        live.push(np.full(RATE, 0.1, np.float32))
        while not measured:
            assert not next(moments).speaking
    assert 0 <= measured[0] < 2


def test_a_session_closed_before_its_turn_paints_nothing() -> None:
    models, turns = Listeners(), Turns()
    with turns:
        live = session(models, turns=turns)
        closer = threading.Thread(target=live.close)
        closer.start()
        while not live._closed:
            time.sleep(0.001)
    closer.join()
    assert not models.networks.unet.batches and not threads()


def test_a_session_closed_in_the_rehearsal_ends_with_the_network_that_computes() -> None:
    models = Listeners()
    gate = Gate(models)
    gate.close()
    live = session(models)
    assert gate.entered.wait(10)
    closer = threading.Thread(target=live.close)
    closer.start()
    while not live._closed:
        time.sleep(0.001)
    gate.open()
    closer.join()
    assert not models.networks.vae.decoded and list(live) == []


def test_pushing_prepares_nothing() -> None:
    """It is called where nothing may take time; what hears is made where it is needed."""
    turns = GivingWay(Turns(), lambda: True)
    with closing(session(turns=turns)) as live:
        live._studio.listen = None
        assert live.push(np.full(RATE, 0.1, np.float32)) == RATE and live.waiting
        turns.leave()


def test_closing_from_another_thread_ends_the_iteration() -> None:
    live = session()
    threading.Timer(0.3, live.close).start()
    assert len(list(live)) > 2
    live.close()
    assert not threads() and list(live) == []


def test_leaving_the_loop_closes_and_a_session_nobody_looks_at_can_be_closed() -> None:
    live = session()
    for _ in live:
        break
    assert not threads()
    session().close()
    assert not threads()
