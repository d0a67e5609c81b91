"""How long many clips, or one film, take on many cards: the formula, of what was measured and what is assumed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from .planning_inputs import LOOKING, ON_ONE_CORE, SPEAKING, Assumptions, Measured
from .timeline import TRAINED_FPS

_INDEX_MOVED = 2  # a finished mp4 is read and written once more, to move its index to its beginning


@dataclass(frozen=True)
class Step:
    """One kind of step of a clip.

    Attributes:
        name: What it does.
        count: How many of it the clip has; they can all be done at once, after the last of the kind before.
        seconds: How long one takes where nothing is in its way, one for each round of the measurement.
        core_seconds: Processor time of one.
        traffic_bytes: Read from and written to the shared storage by one.
    """

    name: str
    count: int
    seconds: tuple[float, ...]
    core_seconds: float
    traffic_bytes: float


@dataclass(frozen=True)
class Plan:
    """What so many cards do.

    Attributes:
        cards, machines: How many.
        seconds: From the beginning to the last finished video.
        frames_per_second: In all, over this time.
        of_ideal: This rate over that of cards that run networks all the time.
        limit: What takes the time: "cards", "cores", "network" (of a machine), "storage" or "driver". For one film,
            where most of the time goes: also "sequential parts", or "pieces" (there are fewer than cards).
        price_per_minute: Of finished video, in the currency of the assumed prices.
        storage_bytes_per_second: Traffic of the shared storage, on average.
        machine_bytes_per_second: Traffic of each machine, on average.
    """

    cards: int
    machines: int
    seconds: float
    frames_per_second: float
    of_ideal: float
    limit: str
    price_per_minute: float
    storage_bytes_per_second: float
    machine_bytes_per_second: float


def steps_of(measured: Measured, assumed: Assumptions, clip_seconds: float) -> tuple[Step, ...]:
    """The steps of a clip, in order; a clip no longer than a shard is one step."""
    frames = clip_seconds * float(TRAINED_FPS)
    count = math.ceil(clip_seconds / assumed.shard_seconds)
    piece = frames / count
    # Decoding begins at the key frame before a piece: on average half of the way between two too early.
    read = piece + (count - 1) / count * assumed.key_seconds / 2 * float(TRAINED_FPS)
    alone, core = _costs(measured, assumed)

    def step(name: str, count: int, transferred: float, parts: Mapping[str, float]) -> Step:
        """A step that does each of its parts for so many frames, all parts at the same time."""
        rounds = zip(*([n * times for times in alone[part]] for part, n in parts.items()), strict=True)
        core_seconds = sum(n * core[part] for part, n in parts.items())
        return Step(name, count, tuple(map(max, rounds)), core_seconds, transferred * measured.bytes_per_frame)

    painting = {"speak": piece, "read video": read, "blend": piece, "write video": piece}
    steps = (
        step("begin", 1, frames, {"survey video": frames}),
        step("look", count, read, {"look": piece, "read video": read}),
        step("track", 1, 0.0, {"track": frames}),
        step("speak", count, read + piece, painting),
        step("join", 1, (2 + _INDEX_MOVED) * frames, {"copy video": frames}),
    )
    return steps if count > 1 else (_in_one(steps[:-1], _INDEX_MOVED * frames * measured.bytes_per_frame),)


def _costs(measured: Measured, assumed: Assumptions) -> tuple[dict[str, tuple[float, ...]], dict[str, float]]:
    """Of each part of a step, a frame: the seconds that it takes alone, one for each round; and the core-seconds."""
    alone = {"look": _on_card(measured, assumed, LOOKING), "speak": _on_card(measured, assumed, SPEAKING)}
    core = dict.fromkeys(alone, 0.0)
    for name, times in measured.core_seconds.items():
        cores = 1 if name in ON_ONE_CORE else assumed.codec_threads
        alone[name] = tuple(each / cores for each in times)
        core[name] = fmean(times)
    return alone, core


def _in_one(steps: Sequence[Step], index_bytes: float) -> Step:
    """A clip that is finished in its first step, without pieces to join."""
    return Step(
        steps[0].name,
        1,
        tuple(map(sum, zip(*(step.seconds for step in steps), strict=True))),
        sum(step.core_seconds for step in steps),
        sum(step.traffic_bytes for step in steps) + index_bytes,
    )


def many_clips(measured: Measured, assumed: Assumptions, cards: int) -> Plan:
    """Many clips, enough to keep all cards busy until shortly before the end."""
    steps = steps_of(measured, assumed, assumed.clip_seconds)
    takes = _clips_take(steps, assumed, cards)
    limit = max(takes, key=takes.__getitem__)
    clips = assumed.clips_per_card * cards
    return _plan(measured, assumed, cards, clips * assumed.clip_seconds, steps, clips, takes[limit], limit)


def filled_by(measured: Measured, assumed: Assumptions) -> dict[str, float]:
    """How many cards, busy with many clips, fill what they share.

    Returns:
        Cards by what is full: "cores" and "network", both of one machine; "storage" and "driver".
    """
    takes = _clips_take(steps_of(measured, assumed, assumed.clip_seconds), assumed, 1)
    busy = takes.pop("cards")
    takes["cores"] /= assumed.cards_per_machine  # one card comes with a share of them
    return {name: busy / seconds for name, seconds in takes.items()}


def one_film(measured: Measured, assumed: Assumptions, cards: int) -> Plan:
    """One long film: each kind of step waits for the last of the kind before."""
    steps = steps_of(measured, assumed, assumed.film_seconds)
    spent: Counter[str] = Counter()
    for step in steps:
        # As many at a time as there are cards; a step that fails begins anew when it would have ended.
        waves = math.ceil(step.count * _tries(assumed) / cards) if step.count > cards else 0
        own = "sequential parts" if step.count == 1 else "pieces" if step.count < cards else "cards"
        takes = _shared([step], 1, cards, min(step.count, assumed.machines(cards)), assumed)
        takes[own] = max(waves, _longest_try(min(step.count, cards), assumed)) * fmean(step.seconds)
        limit = max(takes, key=takes.__getitem__)
        spent[limit] += takes[limit]
    limit, _ = spent.most_common(1)[0]
    return _plan(measured, assumed, cards, assumed.film_seconds, steps, 1, spent.total(), limit)


def _clips_take(steps: Sequence[Step], assumed: Assumptions, cards: int) -> dict[str, float]:
    """Seconds that cards, and each thing they share, are busy with all of many clips."""
    clips = assumed.clips_per_card * cards
    takes = _shared(steps, clips, cards, assumed.machines(cards), assumed)
    takes["cards"] = clips * _tries(assumed) * sum(step.count * fmean(step.seconds) for step in steps) / cards
    return takes


def _on_card(measured: Measured, assumed: Assumptions, names: Iterable[str]) -> tuple[float, ...]:
    """Seconds a frame that a card takes for some networks, one for each round."""
    scale = measured.painted_per_second / assumed.frames_per_second_per_card
    return tuple(scale * sum(times) for times in zip(*(measured.seconds[name] for name in names), strict=True))


def _shared(steps: Iterable[Step], clips: int, cards: int, machines: int, assumed: Assumptions) -> dict[str, float]:
    """Seconds that each thing which steps share is busy, where these machines do all steps of the clips."""
    times = _tries(assumed) * clips
    core_seconds = times * sum(step.count * step.core_seconds for step in steps)
    traffic = times * sum(step.count * step.traffic_bytes for step in steps)
    return {
        "cores": core_seconds / (assumed.cores(cards) * machines / assumed.machines(cards)),
        "network": traffic / (machines * assumed.network_bytes_per_second),
        "storage": traffic / assumed.storage_bytes_per_second,
        "driver": times * sum(step.count for step in steps) * assumed.dispatch_seconds,
    }


def _tries(assumed: Assumptions) -> float:
    """How often a step is done on average."""
    return 1 / (1 - assumed.failure_share)


def _longest_try(count: int, assumed: Assumptions) -> float:
    """How often the most often failing one of so many steps is done, on average."""
    return sum(1 - (1 - assumed.failure_share**k) ** count for k in range(100))


def _plan(
    measured: Measured,
    assumed: Assumptions,
    cards: int,
    video_seconds: float,
    steps: Iterable[Step],
    clips: int,
    seconds: float,
    limit: str,
) -> Plan:
    frames_per_second = video_seconds * float(TRAINED_FPS) / seconds
    card_seconds = fmean(_on_card(measured, assumed, (*LOOKING, *SPEAKING)))
    traffic = clips * _tries(assumed) * sum(step.count * step.traffic_bytes for step in steps) / seconds
    price_per_hour = cards * assumed.card_hour_price + assumed.cores(cards) * assumed.core_hour_price
    machines = assumed.machines(cards)
    return Plan(
        cards,
        machines,
        seconds,
        frames_per_second,
        frames_per_second * card_seconds / cards,
        limit,
        price_per_hour * seconds / 3600 / (video_seconds / 60),
        traffic,
        traffic / machines,
    )
