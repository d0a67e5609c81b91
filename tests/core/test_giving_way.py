"""Sessions take turns, and none while there is something more important."""

from __future__ import annotations

import threading

import pytest

from musetalk_core.giving_way import GivingWay, GivingWayCache, Left

LOOSE = 10.0  # seconds; far more than anything here takes


def test_a_turn_waits_until_nothing_more_important_is_done() -> None:
    busy, done = threading.Event(), threading.Event()
    busy.set()

    def work() -> None:
        with GivingWay(threading.Lock(), busy.is_set):
            assert not busy.is_set()
            done.set()

    worker = threading.Thread(target=work)
    worker.start()
    assert not done.wait(0.2)
    busy.clear()
    assert done.wait(LOOSE)
    worker.join()


def test_what_becomes_important_while_another_has_its_turn_comes_first() -> None:
    lock, busy, done = threading.Lock(), threading.Event(), threading.Event()

    def work() -> None:
        with GivingWay(lock, busy.is_set):
            done.set()

    with lock:
        worker = threading.Thread(target=work)
        worker.start()
        busy.set()
    assert not done.wait(0.2)
    busy.clear()
    assert done.wait(LOOSE)
    worker.join()


def test_between_the_networks_of_a_turn_it_gives_way_and_lets_others_wait_for_themselves() -> None:
    lock, busy, asked = threading.Lock(), threading.Event(), []
    turns = GivingWay(lock, busy.is_set)

    class Cache:
        residency = "the device's"

        def network(self, *args):
            asked.append((args, lock.locked(), busy.is_set()))
            return "network"

    cache = GivingWayCache(Cache(), turns)
    assert cache.residency == "the device's"

    def work() -> None:
        with turns:
            busy.set()
            assert cache.network("unet", "fp16", 7) == "network"

    worker = threading.Thread(target=work)
    worker.start()
    assert busy.wait(LOOSE)
    with lock:  # it does not keep its turn meanwhile
        assert not asked
        busy.clear()
    worker.join(LOOSE)
    assert asked == [(("unet", "fp16", 7), True, False)] and turns.waited > 0
    assert not lock.locked()


def test_a_session_that_ends_while_it_gives_way_leaves_its_turn() -> None:
    lock, busy = threading.Lock(), threading.Event()
    turns = GivingWay(lock, busy.is_set)
    with pytest.raises(Left), turns:
        busy.set()
        threading.Timer(0.1, turns.leave).start()
        turns.give_way()
    assert not lock.locked()


def test_a_session_that_ends_does_not_wait() -> None:
    lock = threading.Lock()
    turns = GivingWay(lock, lambda: True)
    threading.Timer(0.1, turns.leave).start()
    with pytest.raises(Left), turns:
        raise AssertionError("a turn was given")
    assert not lock.locked()


def test_turns_are_given_back_after_an_error() -> None:
    lock = threading.Lock()
    with pytest.raises(ZeroDivisionError), GivingWay(lock, lambda: False):
        assert lock.locked()
        raise ZeroDivisionError
    assert not lock.locked()
