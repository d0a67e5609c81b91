"""Options that several commands have, and their values, each refused with a reason where it makes no sense."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Protocol, get_args

from .errors import MediaError, MuseTalkError
from .face_options import LIGHT_SMOOTHING, Detection, FaceChoice, FaceOptions, NoFace
from .timeline import LENGTHS, exact_rate

_FACE = "'largest', a number (counted from the left, 1 is the leftmost), X,Y (a point in pixels), or a picture of it"


class Options(Protocol):
    """A parser, or one of its groups."""

    def add_argument(self, *names: str, **settings) -> object: ...


def add_box(options: Options) -> None:
    """Where the box of the face is."""
    options.add_argument("--bbox-shift", type=int, default=0, metavar="N", help="pixels; more opens the mouth more")
    options.add_argument("--extra-margin", type=whole(0), metavar="N", help="pixels below the chin (1.5; default 10)")


def add_finish(options: Options) -> None:
    """How the painted mouth is put into the picture."""
    options.add_argument(
        "--fade-in-silence", action="store_true", help="show the original mouth while the voice is silent"
    )
    options.add_argument("--detail", type=share, default=0.0, metavar="0..1", help="fine detail of the original skin")
    options.add_argument("--colour-match", type=share, default=0.0, metavar="0..1", help="at the seam")


def add_time(options: Options) -> None:
    """The rate, and what happens at the end of the clip."""
    options.add_argument("--fps", type=rate, metavar="F", help="of the output: 25, 30000/1001, ... or keep (default)")
    options.add_argument("--length", choices=LENGTHS, default="pingpong", help="when the voice outlasts the clip")


def add_faces(options: Options) -> None:
    """Which face, how it is looked for, and what if there is none; for `face_options`."""
    options.add_argument("--face", type=_face, default=FaceChoice(), metavar="WHICH", help=f"of several: {_FACE}")
    options.add_argument("--detection", choices=get_args(Detection), default="auto")
    options.add_argument("--no-face", choices=get_args(NoFace), default="pass", help="frames without a face")
    options.add_argument("--hold-frames", type=whole(1), default=12, metavar="N", help="for --no-face hold")
    options.add_argument("--upright", action="store_true", help="turn tilted faces upright and back")
    options.add_argument(
        "--smoothing",
        type=share,
        default=LIGHT_SMOOTHING,
        metavar="0..1",
        help=f"of the face box; default {LIGHT_SMOOTHING}",
    )


def face_options(args: argparse.Namespace) -> FaceOptions:
    """What was chosen with the options of `add_faces`."""
    return FaceOptions(args.face, args.detection, args.no_face, args.hold_frames, args.upright)


def add_output_folder(options: Options) -> None:
    options.add_argument(
        "--output-folder",
        type=Path,
        default=Path("output"),
        metavar="DIR",
        help="for outputs without a name of their own",
    )


def add_avatars(options: Options) -> None:
    options.add_argument(
        "--avatars",
        type=Path,
        default=Path("output/avatars"),
        metavar="DIR",
        help="where prepared avatars are; default output/avatars",
    )


def add_batch_size(options: Options, default: int = 8) -> None:
    options.add_argument("--batch-size", type=whole(1), default=default, metavar="N", help="frames a pass")


def add_first_frames(options: Options) -> None:
    options.add_argument(
        "--first-frames", type=whole(1), metavar="N", help="make only the first N frames, to tune the settings on"
    )


def add_vae(options: Options) -> None:
    """What encodes and what decodes, a `weights.VaeChoice` each."""
    for half in ("encode", "decode"):
        options.add_argument(
            f"--vae-{half}",
            choices=["full", "taesd"],
            default="full",
            help=f"what {half}s the faces; taesd is much faster and coarser",
        )


def add_seed(options: Options) -> None:
    options.add_argument(
        "--seed", type=whole(0, 2**64 - 1), metavar="N", help="sample the VAE's posterior, as the original code does"
    )


def rate(text: str) -> Fraction | None:
    """Frames a second; None for "keep"."""
    if text == "keep":
        return None
    try:
        return exact_rate(Fraction(text))
    except (ValueError, ZeroDivisionError, MuseTalkError) as error:
        raise argparse.ArgumentTypeError(
            f"{text} is neither 'keep' nor a frame rate such as 25, 29.97 or 30000/1001"
        ) from error


def whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    """Reads whole numbers of a range."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            wanted = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text} is not a whole number {wanted}")
        return int(text)

    return read


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")
    return value


def positive(text: str) -> float:
    """A number above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def mp4(text: str) -> Path:
    """A video to write."""
    if not text.lower().endswith(".mp4"):
        raise argparse.ArgumentTypeError(f"{text} does not end in .mp4, the only kind of video that is written")
    return Path(text)


def _face(text: str) -> FaceChoice:
    if text == "largest":
        return FaceChoice("largest")
    if re.fullmatch(r"[1-9]\d?", text):
        return FaceChoice("position", position=int(text) - 1)
    if point := re.fullmatch(r"(\d+),(\d+)", text):
        return FaceChoice("point", point=(int(point[1]), int(point[2])))
    if Path(text).is_file():
        from .media_input import read_clip

        try:
            return FaceChoice("picture", picture=read_clip(text, 1).frames[0])
        except MediaError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    raise argparse.ArgumentTypeError(f"{text} is none of {_FACE}")
