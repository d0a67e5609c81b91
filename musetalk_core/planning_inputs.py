"""What a plan for many cards is computed from: what was measured, and what is assumed, strictly apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from .errors import InputError

AUTHORS_SPEED = 30.0
"""Frames a second that MuseTalk's authors claim for a V100 (their README: "30fps+"). Their real-time mode prepares
the face beforehand, so this is taken to be UNet and decoder alone."""

PAINTING = "unet + vae decode"
LOOKING = ("dwpose",)
SPEAKING = ("whisper", "vae encode", "unet", "vae decode", "face parse")
ON_ONE_CORE = ("track", "blend", "copy video")
CODING = ("survey video", "read video", "write video")


@dataclass(frozen=True)
class Measured:
    """What `bench --json` measured on one machine. Nothing in it is assumed.

    Attributes:
        machine: What computed, and what with.
        frame: Width and height of the frames, for people.
        on_card: Whether the networks ran on a card.
        seconds: For each network the seconds a frame, one for each round.
        core_seconds: The same for what no network does: the processor time of all cores together.
        bytes_per_frame: Of a film as this pack writes it; a source is taken to be as large.
    """

    machine: str
    frame: str
    on_card: bool
    seconds: Mapping[str, tuple[float, ...]]
    core_seconds: Mapping[str, tuple[float, ...]]
    bytes_per_frame: float

    @property
    def painted_per_second(self) -> float:
        """Frames a second that UNet and decoder painted, on average."""
        return 1 / fmean(self.seconds[PAINTING])


@dataclass(frozen=True)
class Assumptions:
    """What nobody measured. All are above 0, but `failure_share` is in [0, 1).

    Attributes:
        frames_per_second_per_card: That UNet and decoder paint on one card. The other networks take as long in
            proportion to them as they took in the measurement.
        cards_per_machine, cores_per_machine: Of each; one worker holds one card. Machines share the cards evenly, and
            one with fewer cards has as many fewer cores.
        codec_threads: Cores that the coding of one film keeps busy.
        network_bytes_per_second: Of each machine.
        storage_bytes_per_second: Of the storage that all machines share.
        dispatch_seconds: That the driver needs for each step.
        failure_share: Of the steps; they are done again.
        shard_seconds: Of video, the longest piece.
        key_seconds: Of video, between two frames of a source that decoding can begin at.
        clip_seconds, clips_per_card: Of many clips, the length of each and how many there are for each card.
        film_seconds: Length of the one film.
        card_hour_price, core_hour_price: In any one currency.
    """

    frames_per_second_per_card: float = AUTHORS_SPEED
    cards_per_machine: int = 8
    cores_per_machine: int = 96
    codec_threads: int = 4
    network_bytes_per_second: float = 1.25e9
    storage_bytes_per_second: float = 2e9
    dispatch_seconds: float = 0.002
    failure_share: float = 0.01
    shard_seconds: float = 30.0
    key_seconds: float = 10.0
    clip_seconds: float = 60.0
    clips_per_card: int = 20
    film_seconds: float = 6000.0
    card_hour_price: float = 2.0
    core_hour_price: float = 0.04

    def machines(self, cards: int) -> int:
        """How many machines hold so many cards."""
        return math.ceil(cards / self.cards_per_machine)

    def cores(self, cards: float) -> float:
        """How many cores come with so many cards."""
        return cards * self.cores_per_machine / self.cards_per_machine


def measured_from(report: Mapping[str, Any]) -> Measured:
    """What a report of `bench --json` says.

    Raises:
        InputError: It lacks what is needed here: it is of an older bench, or of another kind.
    """
    try:
        stages, video = report["stages"], report["video"]
        rows = {**stages, **video["rows"]}
        return Measured(
            f"{report['machine']}, {report['device']}, {report['threads']} threads, {report['precision']}",
            report["frame"],
            report["device"] != "cpu",
            {name: tuple(stages[name]["each_round_seconds_per_frame"]) for name in (PAINTING, *LOOKING, *SPEAKING)},
            {name: tuple(rows[name]["each_round_core_seconds_per_frame"]) for name in (*ON_ONE_CORE, *CODING)},
            video["bytes_per_frame"],
        )
    except (KeyError, TypeError) as error:
        raise InputError(
            f"The report of the measurement lacks {error}.", "Make it with 'bench --json' of this version."
        ) from error
