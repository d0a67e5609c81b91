"""``run``: from its options to jobs, one or many."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from .arguments import mp4, rate, share, whole
from .bars import bar
from .errors import InputError, MediaError
from .face_options import LIGHT_SMOOTHING, Detection, FaceChoice, FaceOptions, NoFace
from .finishing import Finish
from .tasks import Task, default_output, read_tasks, require_own_outputs, run_all, stamps, table
from .timeline import LENGTHS

if TYPE_CHECKING:
    from .job import Outcome, Settings
    from .models import Models

_FACE = "'largest', a number (counted from the left, 1 is the leftmost), X,Y (a point in pixels), or a picture of it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``run`` that are not about models."""
    files = parser.add_argument_group("what", "repeat --source, --audio and --output for several, or give a list")
    files.add_argument(
        "--source", type=Path, action="append", metavar="FACE", help="a video, image or folder of images"
    )
    files.add_argument("--audio", type=Path, action="append", metavar="VOICE", help="any file with sound")
    files.add_argument("--output", type=mp4, action="append", metavar="OUT.mp4", help="one for each job")
    files.add_argument(
        "--tasks",
        type=Path,
        metavar="LIST",
        help=".csv (source,audio,output,bbox_shift) or the original code's .yaml",
    )
    files.add_argument(
        "--output-folder",
        type=Path,
        default=Path("output"),
        metavar="DIR",
        help="for outputs without a name of their own",
    )

    mouth = parser.add_argument_group("mouth")
    mouth.add_argument("--bbox-shift", type=int, default=0, metavar="N", help="pixels; more opens the mouth more")
    mouth.add_argument("--extra-margin", type=whole(0), metavar="N", help="pixels below the chin (1.5; default 10)")
    mouth.add_argument(
        "--fade-in-silence", action="store_true", help="show the original mouth while the voice is silent"
    )
    mouth.add_argument("--detail", type=share, default=0.0, metavar="0..1", help="fine detail of the original skin")
    mouth.add_argument("--colour-match", type=share, default=0.0, metavar="0..1", help="at the seam")

    time_ = parser.add_argument_group("time")
    time_.add_argument("--fps", type=rate, metavar="F", help="of the output: 25, 30000/1001, ... or keep (default)")
    time_.add_argument("--length", choices=LENGTHS, default="pingpong", help="when the voice outlasts the clip")

    faces = parser.add_argument_group("faces")
    faces.add_argument("--face", type=_face, default=FaceChoice(), metavar="WHICH", help=f"of several: {_FACE}")
    faces.add_argument("--detection", choices=get_args(Detection), default="auto")
    faces.add_argument("--no-face", choices=get_args(NoFace), default="pass", help="frames without a face")
    faces.add_argument("--hold-frames", type=whole(1), default=12, metavar="N", help="for --no-face hold")
    faces.add_argument("--upright", action="store_true", help="turn tilted faces upright and back")
    faces.add_argument(
        "--smoothing",
        type=share,
        default=LIGHT_SMOOTHING,
        metavar="0..1",
        help=f"of the face box; default {LIGHT_SMOOTHING}",
    )
    faces.add_argument("--face-track", type=Path, metavar="FILE", help="use a saved face track")
    faces.add_argument("--save-face-track", type=Path, metavar="FILE", help="save the face track for next time")
    faces.add_argument("--backend", choices=["torch", "mmpose"], default="torch", help="of DWPose")

    work = parser.add_argument_group("work")
    work.add_argument("--batch-size", type=whole(1), default=8, metavar="N")
    work.add_argument(
        "--seed", type=whole(0, 2**64 - 1), metavar="N", help="sample the VAE's posterior, as the original code does"
    )


def run(args: argparse.Namespace, open_models: Callable[[Sequence[str]], Models]) -> int:
    """Do the jobs; 0 when all are done."""
    from . import job

    settings = _settings(args)
    tasks = _tasks(args)
    if args.save_face_track and (args.tasks or len(tasks) > 1):
        raise InputError("One file cannot hold the face tracks of several jobs.", "Leave out --save-face-track.")
    models = open_models(_kinds(settings))
    if args.tasks is None and len(tasks) == 1:
        started = time.perf_counter()
        (task,) = tasks
        if not args.output:
            task.output.parent.mkdir(parents=True, exist_ok=True)
        outcome = job.run(models, task.source, task.audio, task.output, settings, bar)
        print(report(task.output, outcome, started))
        return 0

    def run_one(task: Task, mark: str) -> int:
        shift = settings.bbox_shift if task.bbox_shift is None else task.bbox_shift
        task.output.parent.mkdir(parents=True, exist_ok=True)
        chosen = replace(settings, bbox_shift=shift)
        return job.run(models, task.source, task.audio, task.output, chosen, bar, mark).frames

    track = stamps(settings.face_track) if settings.face_track else None
    weights = {kind: source.state() for kind, source in models.sources.items()}
    chosen = replace(settings, batch_size=1)  # on which the outputs do not depend
    same = chosen, track, args.face.key, models.release.name, models.synthetic, weights, str(models.dtype)
    results = run_all(tasks, run_one, same)
    print("\n" + table(results))
    return 1 if any(result.state == "failed" for result in results) else 0


def report(output: Path, outcome: Outcome, started: float) -> str:
    """What a job made, in a line."""
    seconds = time.perf_counter() - started
    return (
        f"\n{output}: {outcome.frames} frames at {float(outcome.fps):g} fps in {seconds:.1f} s"
        + (f", source frames without a face, passed through: {outcome.faceless}" if outcome.faceless else "")
        + (f", source frames on the last box: {outcome.held}" if outcome.held else "")
        + (" - made with SYNTHETIC WEIGHTS, the mouth is noise" if outcome.synthetic else "")
    )


def _settings(args: argparse.Namespace) -> Settings:
    from .job import Settings

    return Settings(
        bbox_shift=args.bbox_shift,
        extra_margin=args.extra_margin,
        fps=args.fps,
        length=args.length,
        faces=FaceOptions(args.face, args.detection, args.no_face, args.hold_frames, args.upright),
        smoothing=args.smoothing,
        fade_in_silence=args.fade_in_silence,
        finish=Finish(args.detail, args.colour_match),
        face_track=args.face_track,
        save_face_track=args.save_face_track,
        backend=args.backend,
        batch_size=args.batch_size,
        seed=args.seed,
    )


def _tasks(args: argparse.Namespace) -> list[Task]:
    sources, voices, outputs = args.source or [], args.audio or [], args.output or []
    if args.tasks is not None:
        if sources or voices or outputs:
            raise InputError("There are both a list and --source, --audio or --output.", "Give one or the other.")
        return read_tasks(args.tasks, args.output_folder)
    jobs = max(len(sources), len(voices))
    if not sources or not voices or {len(sources), len(voices)} - {1, jobs} or len(outputs) not in (0, jobs):
        raise InputError(
            f"There are {len(sources)} sources, {len(voices)} voices and {len(outputs)} outputs.",
            "Give as many of each, or one source or one voice for all, and all outputs or none.",
        )
    pairs = list(zip(sources * (jobs // len(sources)), voices * (jobs // len(voices)), strict=True))
    outputs = outputs or [default_output(*pair, args.output_folder) for pair in pairs]
    return require_own_outputs([Task(*pair, output) for pair, output in zip(pairs, outputs, strict=True)])


def _kinds(settings: Settings) -> list[str]:
    from .cache import KINDS
    from .weights import FACE_KINDS

    return [kind for kind in KINDS if not (settings.face_track and kind in FACE_KINDS)]


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
