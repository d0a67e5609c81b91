"""Planning: by hand, by formula and played through; the page shows what the command prints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from musetalk_core.cli import main
from musetalk_core.planning import filled_by, many_clips, one_film, steps_of
from musetalk_core.planning_inputs import PAINTING, Assumptions, Measured, measured_from
from musetalk_core.planning_simulation import simulate

DOCS = Path(__file__).resolve().parents[2] / "docs"
REPORT = DOCS / "planning-measured.json"
PAGE = DOCS / "planning.md"
SIZES = (1, 8, 100, 1000)

SIMPLE = Measured(
    "one by hand",
    "1920 x 1080",
    False,
    {
        "dwpose": (0.5,),
        "whisper": (0.0,),
        "vae encode": (0.0,),
        "unet": (0.25,),
        "vae decode": (0.75,),
        PAINTING: (1.0,),
        "face parse": (0.0,),
    },
    {
        "track": (0.01,),
        "blend": (0.1,),
        "survey video": (0.1,),
        "read video": (0.2,),
        "write video": (0.4,),
        "copy video": (0.02,),
    },
    10.0,
)
BY_HAND = Assumptions(
    frames_per_second_per_card=1.0,
    cards_per_machine=2,
    cores_per_machine=4,
    codec_threads=1,
    dispatch_seconds=1e-9,
    failure_share=0.0,
    shard_seconds=2.0,
    key_seconds=1e-9,
    clip_seconds=4.0,
    clips_per_card=3,
    film_seconds=4.0,
    card_hour_price=30.0,
    core_hour_price=3.0,
)


def page_input() -> Measured:
    return measured_from(json.loads(REPORT.read_text(encoding="utf-8")))


def steady(measured: Measured) -> Measured:
    """The same means, without any spread."""
    return replace(
        measured,
        seconds={name: (np.mean(times),) for name, times in measured.seconds.items()},
        core_seconds={name: (np.mean(times),) for name, times in measured.core_seconds.items()},
    )


def slow_at_times(measured: Measured) -> Measured:
    """Every tenth time, the networks take three times as long as a card's speed says."""
    return replace(
        measured,
        seconds={
            name: tuple(times) * (10 if name == PAINTING else 9) + (3 * times[0],) * (name != PAINTING)
            for name, times in measured.seconds.items()
        },
        core_seconds={name: tuple(times) * 10 for name, times in measured.core_seconds.items()},
    )


def played(measured: Measured, assumed: Assumptions, cards: int, film: bool) -> float:
    """Seconds until all is done; of a film, which may be lucky, on average."""
    clips, seconds = (1, assumed.film_seconds) if film else (assumed.clips_per_card * cards, assumed.clip_seconds)
    steps, rng = steps_of(measured, assumed, seconds), np.random.default_rng(1)
    return np.mean([simulate(steps, clips, cards, assumed, rng) for _ in range(50 if film else 1)])


def printed(capsys: pytest.CaptureFixture, *options: str) -> str:
    assert main(["plan", "--measured", str(REPORT), *options]) == 0
    return capsys.readouterr().out


# By hand: 100 frames; begin 10 s, two looks of 25 s, track 1 s, two times 50 s of speaking, join 2 s


@pytest.mark.parametrize(("cards", "seconds"), [(1, 10 + 2 * 25 + 1 + 2 * 50 + 2), (2, 10 + 25 + 1 + 50 + 2)])
def test_a_film_takes_what_one_reckons_by_hand(cards: int, seconds: int) -> None:
    plan = one_film(SIMPLE, BY_HAND, cards)
    assert plan.seconds == pytest.approx(seconds)
    assert played(SIMPLE, BY_HAND, cards, film=True) == pytest.approx(seconds)
    assert plan.frames_per_second == pytest.approx(100 / seconds)
    # A card alone, doing nothing but networks, needs 1.5 s a frame.
    assert plan.of_ideal == pytest.approx(100 * 1.5 / cards / seconds)
    # A card with its two cores costs 36 an hour, which is 0.01 a second; the film is a fifteenth of a minute.
    assert plan.price_per_minute == pytest.approx(15 * 0.01 * cards * seconds)
    # 100 frames of 10 bytes: read to begin, to look and to speak; pieces written and read; the mp4 written,
    # and read and written again.
    assert plan.storage_bytes_per_second == pytest.approx(8000 / seconds)
    assert plan.machine_bytes_per_second == plan.storage_bytes_per_second


def test_many_clips_take_what_one_reckons_by_hand() -> None:
    plan = many_clips(SIMPLE, BY_HAND, 1)
    assert [plan.seconds, played(SIMPLE, BY_HAND, 1, film=False)] == pytest.approx([3 * 163] * 2)
    assert plan.limit == "cards"


def test_a_clip_no_longer_than_a_piece_is_one_step_and_never_joined() -> None:
    (step,) = steps_of(SIMPLE, replace(BY_HAND, shard_seconds=4.0), 4.0)
    assert step.seconds == pytest.approx((10 + 50 + 1 + 100,))
    assert step.traffic_bytes == 100 * 10 * 6


def test_a_piece_is_decoded_from_the_key_frame_before_it() -> None:
    begun_anywhere = {step.name: step for step in steps_of(SIMPLE, replace(BY_HAND, key_seconds=1.0), 4.0)}
    # Of two pieces one begins within the film, on average half a second after a key frame.
    assert begun_anywhere["look"].core_seconds == pytest.approx(0.2 * (50 + 0.5 * 12.5))
    assert begun_anywhere["look"].traffic_bytes == pytest.approx(10 * (50 + 0.5 * 12.5))


# Formula and simulation


@pytest.mark.parametrize("cards", SIZES)
def test_formula_and_simulation_agree_where_times_do_not_vary(cards: int) -> None:
    measured, assumed = steady(page_input()), Assumptions()
    assert played(measured, assumed, cards, film=False) == pytest.approx(
        many_clips(measured, assumed, cards).seconds, rel=0.05
    )
    assert played(measured, assumed, cards, film=True) == pytest.approx(
        one_film(measured, assumed, cards).seconds, rel=0.05
    )


@pytest.mark.parametrize(
    ("limit", "assumed"),
    [
        ("cores", replace(BY_HAND, cores_per_machine=1)),
        ("network", replace(BY_HAND, network_bytes_per_second=20.0)),
        ("storage", replace(BY_HAND, storage_bytes_per_second=40.0)),
        ("driver", replace(BY_HAND, dispatch_seconds=30.0)),
    ],
)
def test_whatever_is_full_is_named_and_more_cards_gain_nothing(limit: str, assumed: Assumptions) -> None:
    assumed = replace(assumed, clips_per_card=50)
    plan = many_clips(SIMPLE, assumed, 4)
    assert plan.limit == limit
    assert played(SIMPLE, assumed, 4, film=False) == pytest.approx(plan.seconds, rel=0.1)
    in_machine = limit in ("cores", "network")
    denser = replace(assumed, cards_per_machine=4) if in_machine else assumed
    more = many_clips(SIMPLE, denser, 8)
    assert more.frames_per_second == pytest.approx(plan.frames_per_second)
    cards = 2 if in_machine else 4  # which share what is full
    assert filled_by(SIMPLE, assumed)[limit] < cards


def test_as_many_cards_as_fill_the_storage_are_where_it_begins_to_limit() -> None:
    measured, assumed = page_input(), Assumptions()
    full = filled_by(measured, assumed)["storage"]
    assert many_clips(measured, assumed, int(full)).limit == "cards"
    assert many_clips(measured, assumed, int(full) + 1).limit == "storage"


def test_where_half_of_the_steps_fail_everything_takes_twice_as_long() -> None:
    failing = replace(BY_HAND, failure_share=0.5, clips_per_card=400)
    plan = many_clips(SIMPLE, failing, 1)
    assert plan.seconds == pytest.approx(2 * 400 * 163)
    assert played(SIMPLE, failing, 1, film=False) == pytest.approx(plan.seconds, rel=0.05)


def test_a_film_cut_into_fewer_pieces_than_cards_leaves_cards_idle() -> None:
    many_pieces = replace(BY_HAND, film_seconds=400.0)
    assert one_film(SIMPLE, replace(many_pieces, shard_seconds=100.0), 100).limit == "pieces"
    assert one_film(SIMPLE, many_pieces, 100).limit == "sequential parts"
    assert one_film(SIMPLE, many_pieces, 2).limit == "cards"


def test_steps_that_are_slow_at_times_cost_what_the_page_says() -> None:
    usual, assumed = steady(page_input()), Assumptions()
    slow = slow_at_times(usual)

    def factor(cards: int, film: bool) -> float:
        return played(slow, assumed, cards, film) / played(usual, assumed, cards, film)

    def speaking(measured: Measured) -> float:
        step = next(step for step in steps_of(measured, assumed, assumed.film_seconds) if step.name == "speak")
        return simulate([step], 1, 1000, replace(assumed, failure_share=0.0), np.random.default_rng(1))

    said = (
        f"many clips on 100 cards then take {factor(100, False):.2f} times as long, the film on 8 cards "
        f"{factor(8, True):.2f} times, and its speaking alone on 1,000 cards {speaking(slow) / speaking(usual):.2f} "
        "times"
    )
    assert said in " ".join(PAGE.read_text(encoding="utf-8").split())


# The command


def test_the_page_shows_what_the_command_prints_for_its_input(capsys: pytest.CaptureFixture) -> None:
    assert f"```\n{printed(capsys)}```" in PAGE.read_text(encoding="utf-8")


def test_json_gives_the_inputs_and_both_ways_of_reckoning(capsys: pytest.CaptureFixture) -> None:
    told = json.loads(printed(capsys, "--json", "--cards", "2", "--clips-per-card", "1", "--shard-seconds", "20"))
    assert told["assumed"]["shard_seconds"] == 20
    assert told["measured"]["bytes_per_frame"] == page_input().bytes_per_frame
    (clips,), (film,) = told["plans"]["many clips"], told["plans"]["one film"]
    assert clips["cards"] == film["cards"] == 2
    assert 0 < film["simulated_frames_per_second"] < 2 * film["frames_per_second"]


def test_the_speed_of_a_card_is_the_measured_one_where_a_card_was_measured(capsys, tmp_path: Path) -> None:
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    path = tmp_path / "card.json"
    path.write_text(json.dumps(report | {"device": "cuda:0"}))

    def speed(path: Path, *options: str) -> float:
        assert main(["plan", "--measured", str(path), "--cards", "1", "--json", *options]) == 0
        return json.loads(capsys.readouterr().out)["assumed"]["frames_per_second_per_card"]

    assert speed(REPORT) == 30
    assert speed(path) == pytest.approx(1 / np.mean(report["stages"][PAINTING]["each_round_seconds_per_frame"]))
    assert speed(path, "--frames-per-second-per-card", "45") == 45


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("{}", "lacks 'stages'"),
        ("[]", "lacks"),
        ('{"video": {"rows": {}}, "machine": "m", "stages": {}}', "lacks"),
        ("seconds: 3", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_report_that_is_none_is_refused(content: str | None, cause: str, capsys, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    assert main(["plan", "--measured", str(path)]) == 1
    told = capsys.readouterr().err
    assert cause in told and "bench --json" in told


@pytest.mark.parametrize(
    "option",
    ["--failure-share=1", "--shard-seconds=0", "--storage-bytes-per-second=nan", "--codec-threads=0", "--cards=0"],
)
def test_an_assumption_that_makes_no_sense_is_refused(option: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--measured", str(REPORT), option])
    assert option.partition("=")[0] in capsys.readouterr().err
