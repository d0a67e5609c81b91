"""``run``: from its options to jobs, one or many."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import (
    add_batch_size,
    add_box,
    add_faces,
    add_finish,
    add_first_frames,
    add_output_folder,
    add_seed,
    add_time,
    face_options,
    mp4,
)
from .bars import bar
from .errors import InputError
from .finishing import Finish
from .tasks import Task, about_faces, default_output, read_tasks, require_own_outputs, run_all, stamps, table

if TYPE_CHECKING:
    from .job import Outcome, Settings
    from .models import Models


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
    add_output_folder(files)
    files.add_argument("--save-face-track", type=Path, metavar="FILE", help="save the face track for next time")
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options that are settings of a job; for `settings_of`."""
    mouth = parser.add_argument_group("mouth")
    add_box(mouth)
    add_finish(mouth)
    add_time(parser.add_argument_group("time"))

    faces = parser.add_argument_group("faces")
    add_faces(faces)
    faces.add_argument("--face-track", type=Path, metavar="FILE", help="use a saved face track")
    faces.add_argument("--backend", choices=["torch", "mmpose"], default="torch", help="of DWPose")

    work = parser.add_argument_group("work")
    add_batch_size(work)
    add_first_frames(work)
    add_seed(work)


def run(args: argparse.Namespace, open_models: Callable[[Sequence[str]], Models]) -> int:
    """Do the jobs; 0 when all are done."""
    from . import job

    settings = replace(settings_of(args), save_face_track=args.save_face_track)
    tasks = _tasks(args)
    if args.save_face_track and (args.tasks or len(tasks) > 1):
        raise InputError("One file cannot hold the face tracks of several jobs.", "Leave out --save-face-track.")
    if args.save_face_track and args.first_frames:
        raise InputError("With --first-frames, the rest of the clip has no face track.", "Leave out one of the two.")
    models = open_models(kinds_of(settings))
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

    weights = {kind: source.state() for kind, source in models.sources.items()}
    same = *outcome_of(settings), models.release.name, models.synthetic, weights, str(models.dtype)
    results = run_all(tasks, run_one, same)
    print("\n" + table(results))
    return 1 if any(result.state == "failed" for result in results) else 0


def report(output: Path, outcome: Outcome, started: float) -> str:
    """What a job made, in a line."""
    seconds = time.perf_counter() - started
    return (
        f"\n{output}: {outcome.frames} frames at {float(outcome.fps):g} fps in {seconds:.1f} s"
        + about_faces(outcome.faceless, outcome.held)
        + (" - made with SYNTHETIC WEIGHTS, the mouth is noise" if outcome.synthetic else "")
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """What was chosen with the options of `add_settings`."""
    from .job import Settings

    return Settings(
        bbox_shift=args.bbox_shift,
        extra_margin=args.extra_margin,
        fps=args.fps,
        length=args.length,
        faces=face_options(args),
        smoothing=args.smoothing,
        fade_in_silence=args.fade_in_silence,
        finish=Finish(args.detail, args.colour_match),
        face_track=args.face_track,
        backend=args.backend,
        batch_size=args.batch_size,
        seed=args.seed,
        first_frames=args.first_frames,
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


def kinds_of(settings: Settings) -> list[str]:
    """The networks that a job with these settings needs."""
    from .cache import KINDS
    from .weights import FACE_KINDS

    return [kind for kind in KINDS if not (settings.face_track and kind in FACE_KINDS)]


def outcome_of(settings: Settings) -> tuple[object, ...]:
    """What an output depends on in settings, for `tasks.fingerprint`; on the batch size by rounding at most."""
    track = stamps(settings.face_track) if settings.face_track else None
    return replace(settings, batch_size=1), track, settings.faces.choice.key
