"""How soon a live session speaks, and how many frames it sustains: with the networks, and without their cost."""

from __future__ import annotations

import math
import threading
import time
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .audio import SAMPLE_RATE
from .avatar import Avatar
from .latents import FACE_SIZE
from .live import LiveSession
from .live_hearing import LOOK_AHEAD
from .models import Models
from .networks.whisper import N_CTX, N_STATE
from .timeline import FASTEST
from .turns import Turns

PIECE = 0.02  # s of sound that arrive together
_ROWS = (
    ("first_frame_arriving", "first frame, sound arriving", "s"),
    ("first_frame_at_once", "first frame, sound at once", "s"),
    ("idle_share", "idle while it should speak", ""),
    ("frames_per_second", "frames a second at most", ""),
)


def measure(models: Models, avatar: Avatar, seconds: float) -> dict[str, Any]:
    """Let an avatar speak made-up sound in real time.

    Args:
        models: The networks.
        avatar: Who speaks, best a prepared one: what it computes when it is asked for is not left out of the
            second measurement.
        seconds: How long it speaks, each of the six times.

    Returns:
        JSON-ready: the avatar's rate and frame size, the look-ahead in seconds, and for "models" and for "instant"
        networks, which return at once: seconds from the first sound pushed to the first frame that speaks, with
        the sound arriving in real time in pieces of 20 ms and with all of it there at once; the share of idle
        frames between the first and the last that speaks (sound arriving); frames a second where 240 are wanted.
    """
    report: dict[str, Any] = {
        "frame": f"{avatar.face.track.seen.width} x {avatar.face.track.seen.height}",
        "fps": float(avatar.fps),
        "look_ahead": float(LOOK_AHEAD),
    }
    fastest = replace(avatar, fps=Fraction(FASTEST))
    for name, networks in (("models", models), ("instant", _Instant(models))):
        arriving, at_once, most = (
            _speak(networks, who, seconds, step)
            for who, step in ((avatar, PIECE), (avatar, seconds), (fastest, seconds))
        )
        report[name] = {
            "first_frame_arriving": arriving["first_frame"],
            "first_frame_at_once": at_once["first_frame"],
            "idle_share": arriving["idle_share"],
            "frames_per_second": most["frames_per_second"],
        }
    return report


def table(report: dict[str, Any]) -> str:
    """The report of `measure` for people."""
    lines = [
        f"frames of {report['frame']} at {report['fps']:g} fps; a frame needs {1000 * report['look_ahead']:.1f} ms "
        "of sound from its beginning on",
        f"{'':30}{'models':>10}{'instant':>10}{'ratio':>8}",
    ]
    for key, what, unit in _ROWS:
        with_models, instant = report["models"][key], report["instant"][key]
        ratio = f"{with_models / instant:.2f}" if instant else "-"
        lines.append(f"{what + (f' ({unit})' if unit else ''):30}{with_models:10.3f}{instant:10.3f}{ratio:>8}")
    return "\n".join(lines)


def _speak(models: Models | _Instant, avatar: Avatar, seconds: float, piece: float) -> dict[str, float]:
    """One session, after a word to warm up; the sound arrives in pieces of so many seconds."""
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, int(seconds * SAMPLE_RATE)).astype(np.float32)
    over = threading.Event()
    times: list[float] = []  # of the moments from the first on that speaks
    speaking: list[bool] = []
    with closing(LiveSession(models, avatar, SAMPLE_RATE, Turns())) as live:
        moments = iter(live)
        live.push(sound[: SAMPLE_RATE // 5])
        live.flush()
        spoken = 0
        while spoken < math.ceil(avatar.fps / 5):
            spoken += next(moments).speaking
        started = time.monotonic()
        threading.Thread(target=_arrive, args=(live, sound, piece, over), daemon=True).start()
        for moment in moments:
            if times or moment.speaking:
                times.append(time.monotonic())
                speaking.append(moment.speaking)
            if sum(speaking) >= int(seconds * avatar.fps) or (times and times[-1] - times[0] > seconds):
                break
        over.set()
    stop = len(speaking) - speaking[::-1].index(True)
    spoken = sum(speaking)
    return {
        "first_frame": times[0] - started,
        "idle_share": 1 - spoken / stop,
        # One that speaks is followed by the time until the next.
        "frames_per_second": (spoken - 1) / (times[stop - 1] - times[0]) if stop > 1 else 0.0,
    }


def _arrive(live: LiveSession, sound: np.ndarray, piece: float, over: threading.Event) -> None:
    """Push a piece after the other, each when it has been spoken somewhere and there is room."""
    begun = time.monotonic()
    for first in range(0, len(sound), int(piece * SAMPLE_RATE)):
        part = sound[first : first + int(piece * SAMPLE_RATE)]
        while len(part) and not over.wait(max(0.0, begun + first / SAMPLE_RATE - time.monotonic())):
            part = part[live.push(part) :]
            if len(part):
                time.sleep(PIECE)
    live.flush()


class _Instant:
    """`Models` that return at once."""

    synthetic = False
    acceleration = "off"

    def __init__(self, models: Models) -> None:
        self.release, self.cache = models.release, models.cache
        self._unet = _InstantUnet()

    def unet(self, frames: int = 1) -> nn.Module:
        return self._unet

    def vae_decoder(self, faces: int = 1) -> SimpleNamespace:
        return SimpleNamespace(decode=lambda latents: torch.zeros(len(latents), 3, FACE_SIZE, FACE_SIZE))

    def whisper(self) -> SimpleNamespace:
        return SimpleNamespace(
            conv1=nn.Identity(),
            conv2=lambda mel: torch.zeros(len(mel), N_STATE, N_CTX),
            positional_embedding=torch.zeros(1),
            blocks=[nn.Identity()] * 4,
            ln_post=nn.Identity(),
        )


class _InstantUnet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, latents: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=torch.ones_like(latents[:, :4]))
