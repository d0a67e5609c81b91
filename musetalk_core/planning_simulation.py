"""The same as `planning`, played through step by step: workers, waiting, failures, and times that vary."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

import numpy as np

from .planning import Step
from .planning_inputs import Assumptions


class _Shared:
    """Something that many steps use: work is done in the order in which it came, one after the other.

    Args:
        per_second: How much work is done in a second.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second, self._free = per_second, 0.0

    def done(self, now: float, work: float) -> float:
        """The second at which work that comes now is done."""
        self._free = max(self._free, now) + work / self._per_second
        return self._free


def simulate(steps: Sequence[Step], clips: int, cards: int, assumed: Assumptions, rng: np.random.Generator) -> float:
    """Plays clips through.

    Each worker holds a card and does one step at a time. The driver gives a free worker the next step of the clip
    that was begun first. A step takes as long as one round of the measurement says for all of its frames, drawn anew
    for each try; longer where cores or network of its machine, or the storage, are not done with its work by then: a
    step uses them while it computes. Steps that fail take their time and are done again.

    Args:
        steps: Of each clip, see `planning.steps_of`.
        clips: How many.
        cards: How many.
        assumed: The rest.
        rng: Draws times and failures.

    Returns:
        Seconds from the beginning until the last clip is done.
    """
    machines = assumed.machines(cards)
    cores = [_Shared(assumed.cores(len(range(i, cards, machines)))) for i in range(machines)]
    networks = [_Shared(assumed.network_bytes_per_second) for _ in range(machines)]
    storage, driver = _Shared(assumed.storage_bytes_per_second), _Shared(1.0)
    ready = [(clip, 0) for clip in range(clips) for _ in range(steps[0].count)]  # heap: clip and kind of step
    left = [steps[0].count] * clips  # steps of the clip's present kind that are not done
    idle = deque(range(cards))  # worker i is on machine i % machines
    running: list[tuple[float, int, int, int]] = []  # heap: when it ends, worker, clip, kind
    now = 0.0
    while ready or running:
        while ready and idle:
            (clip, kind), worker = heapq.heappop(ready), idle.popleft()
            step, machine = steps[kind], worker % machines
            begun = driver.done(now, assumed.dispatch_seconds)
            ends = max(
                begun + step.seconds[int(rng.random() * len(step.seconds))],
                cores[machine].done(begun, step.core_seconds),
                networks[machine].done(begun, step.traffic_bytes),
                storage.done(begun, step.traffic_bytes),
            )
            heapq.heappush(running, (ends, worker, clip, kind))
        now, worker, clip, kind = heapq.heappop(running)
        idle.append(worker)
        if rng.random() < assumed.failure_share:
            heapq.heappush(ready, (clip, kind))
            continue
        left[clip] -= 1
        if left[clip] == 0 and kind + 1 < len(steps):
            left[clip] = steps[kind + 1].count
            for _ in range(left[clip]):
                heapq.heappush(ready, (clip, kind + 1))
    return now
