"""``prepare``, ``speak`` and ``avatars``: a face prepared once says many voices."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from .arguments import (
    add_avatars,
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
    whole,
)
from .bars import bar
from .errors import InputError
from .finishing import Finish
from .realtime_config import Entry, read_config
from .releases import CHEEK_WIDTHS, MaskMode
from .synthetic import NOTICE
from .tasks import Result, Task, require_own_outputs, run_all, table, told

if TYPE_CHECKING:
    from .avatar import Avatar, Preparation
    from .avatar_store import AvatarInfo
    from .models import Models

log = logging.getLogger(__name__)

OpenModels = Callable[[Sequence[str], str], "Models"]
"""Gives the networks of these kinds, for the release of this name."""

PREPARING = ("vae_encoder", "dwpose", "s3fd", "face_parse")
SPEAKING = ("unet", "vae_decoder", "whisper")
_TIMED = """
Timed: Whisper, UNet, VAE decoder, what is read of the avatar, and blending into its frames. Not timed:
loading the networks, reading the voice. Not done: encoding and writing the video."""


def add_prepare_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``prepare`` that are not about models."""
    what = parser.add_argument_group("what")
    what.add_argument("--source", type=Path, required=True, metavar="FACE", help="a video, image or folder of images")
    what.add_argument("--name", required=True, metavar="NAME", help="for the avatar; one of that name is replaced")
    add_avatars(what)
    mouth = parser.add_argument_group("mouth")
    add_box(mouth)
    mouth.add_argument("--mask-mode", choices=get_args(MaskMode), help="what is blended; default the release's")
    least, most = CHEEK_WIDTHS[0], CHEEK_WIDTHS[-1]
    mouth.add_argument(
        "--cheek-width",
        type=whole(least, most),
        metavar="N",
        help=f"of --mask-mode jaw, {least} to {most}; default the release's",
    )
    add_time(parser.add_argument_group("time"))
    add_faces(parser.add_argument_group("faces"))
    work = parser.add_argument_group("work")
    add_batch_size(work)
    add_seed(work)


def add_speak_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``speak`` that are not about models."""
    what = parser.add_argument_group("what", "an avatar and its voices, or the original code's real-time file")
    what.add_argument("--name", metavar="NAME", help="of the avatar")
    what.add_argument("--audio", type=Path, action="extend", nargs="+", metavar="VOICE", help="any files with sound")
    what.add_argument("--output", type=mp4, action="extend", nargs="+", metavar="OUT.mp4", help="one for each voice")
    what.add_argument(
        "--config", type=Path, metavar="FILE", help=".yaml: avatars, what they are prepared from, and their voices"
    )
    add_output_folder(what)
    add_avatars(what)
    add_finish(parser.add_argument_group("mouth"))
    work = parser.add_argument_group("work")
    add_batch_size(work)
    add_first_frames(work)
    work.add_argument("--no-save", action="store_true", help="write nothing, only time what comes before")


def add_avatars_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``avatars``."""
    add_avatars(parser)
    parser.add_argument("--json", action="store_true", help="for machines")


def prepare(args: argparse.Namespace, open_models: OpenModels) -> int:
    """Prepare an avatar; 0 when it is there."""
    from . import avatar_store
    from .avatar import Preparation

    folder = avatar_store.avatar_folder(args.avatars, args.name)
    settings = Preparation(
        bbox_shift=args.bbox_shift,
        extra_margin=args.extra_margin,
        fps=args.fps,
        length=args.length,
        faces=face_options(args),
        smoothing=args.smoothing,
        mask_mode=args.mask_mode,
        cheek_width=args.cheek_width,
        seed=args.seed,
    )
    _prepare(open_models(PREPARING, args.release), args.source, folder, settings, args.batch_size)
    return 0


def speak(args: argparse.Namespace, open_models: OpenModels) -> int:
    """Let avatars speak; 0 when all that they were to say is done."""
    if args.no_save and args.output:
        raise InputError("There are both --output and --no-save.", "Give one or the other.")
    parts = _configured(args) if args.config else [_named(args)]
    if not args.no_save:
        require_own_outputs([task for part in parts for task in part.tasks])
    preparing = PREPARING if any(part.source for part in parts) else ()
    kinds = tuple(dict.fromkeys((*preparing, *SPEAKING)))
    models = {release: open_models(kinds, release) for release in {part.release for part in parts}}
    results = [result for part in parts for result in _speak_all(models[part.release], part, args)]
    print("\n" + table(results, by="audio" if args.no_save else "output"))
    made = [result for result in results if result.state != "failed"]
    if made and args.no_save:
        print(_TIMED)
    if made and any(of.synthetic for of in models.values()):
        print(f"Made with {NOTICE}: the mouth is noise.")
    return 0 if len(made) == len(results) else 1


def avatars(args: argparse.Namespace) -> int:
    """List what is there."""
    from . import avatar_store

    infos = avatar_store.list_avatars(args.avatars)
    if args.json:
        print(json.dumps([asdict(info) | {"fps": str(info.fps)} for info in infos], indent=1))
    elif infos:
        print("\n".join(f"{info.name}: MuseTalk {info.release}, {_described(info)}" for info in infos))
    else:
        print(f"There are no avatars in {args.avatars}.")
    return 0


@dataclass(frozen=True)
class _Part:
    """An avatar and what it is to say.

    Attributes:
        folder: Of the avatar.
        release: Of the networks that it is opened with.
        source: What it is prepared from before; None where it is there.
        bbox_shift: For that.
        tasks: What it says; their source is the avatar's own file.
    """

    folder: Path
    release: str
    source: Path | None
    bbox_shift: int
    tasks: list[Task]


def named(name: str, args: argparse.Namespace) -> tuple[Path, AvatarInfo]:
    """The folder of a prepared avatar in ``args.avatars``, and what is known of it.

    Raises:
        InputError: there is none of that name, or ``args.weights`` are none that can speak with it.
    """
    from . import avatar_store

    folder = avatar_store.avatar_folder(args.avatars, name)
    return folder, _there(folder, f'Make it: python -m musetalk_core prepare --source FACE --name "{name}".', args)


def _named(args: argparse.Namespace) -> _Part:
    voices, outputs = args.audio or [], args.output or []
    if not args.name or not voices or len(outputs) not in (0, len(voices)):
        raise InputError(
            f"There are {len(voices)} voices and {len(outputs)} outputs for {args.name or 'no avatar'}.",
            "Give --name, at least one --audio, and an --output for each or for none; or a --config.",
        )
    outputs = outputs or [args.output_folder / default_name(args.name, voice) for voice in voices]
    folder, info = named(args.name, args)
    tasks = [Task(record_of(folder), voice, output) for voice, output in zip(voices, outputs, strict=True)]
    return _Part(folder, args.release or info.release, None, info.bbox_shift, tasks)


def _configured(args: argparse.Namespace) -> list[_Part]:
    if args.name or args.audio or args.output:
        raise InputError("There are both --config and --name, --audio or --output.", "Give one or the other.")
    return [_entry_part(entry, args) for entry in read_config(args.config)]


def _entry_part(entry: Entry, args: argparse.Namespace) -> _Part:
    from . import avatar_store

    folder = avatar_store.avatar_folder(args.avatars, entry.name)
    release = args.release or "1.5"
    if not entry.prepare:
        info = _there(folder, f"Write preparation: True below {entry.name} in {args.config}.", args)
        release = args.release or info.release
        if info.bbox_shift != entry.bbox_shift:
            log.warning(
                "Avatar %s was prepared with bbox_shift %d, %s says %d: to heed that, prepare it again "
                "(preparation: True)",
                entry.name,
                info.bbox_shift,
                args.config,
                entry.bbox_shift,
            )
    outputs = args.output_folder / entry.name
    tasks = [Task(record_of(folder), voice, outputs / f"{name}.mp4") for name, voice in entry.voices.items()]
    return _Part(folder, release, entry.source if entry.prepare else None, entry.bbox_shift, tasks)


def _there(folder: Path, remedy: str, args: argparse.Namespace) -> AvatarInfo:
    """What is known of an avatar that must be there, and be such that the weights asked for can speak with it."""
    from . import avatar_store

    if not record_of(folder).exists():
        raise InputError(f"There is no avatar {folder.name} in {folder.parent}.", remedy)
    info = avatar_store.avatar_info(folder)
    if info.synthetic and not str(args.weights).startswith("synthetic"):
        raise InputError(
            f"The avatar {folder.name} was prepared with synthetic weights.",
            "Prepare it again with the real ones, or let it speak with --weights synthetic.",
        )
    return info


def default_name(avatar: str, voice: Path) -> str:
    """Of the video of an avatar that says a voice."""
    return f"{avatar}_{voice.stem}.mp4"


def record_of(folder: Path) -> Path:
    """An avatar's own file, written anew whenever it is prepared: by it tasks see whether they are done."""
    return folder / "avatar.json"


def _speak_all(models: Models, part: _Part, args: argparse.Namespace) -> list[Result]:
    """Everything that an avatar is to say, after preparing it where that is wanted."""
    from . import avatar_store
    from .avatar import Preparation
    from .weights import chosen_kinds

    try:
        if part.source:
            settings = Preparation(bbox_shift=part.bbox_shift)
            avatar = _prepare(models, part.source, part.folder, settings, args.batch_size)
        else:
            avatar = avatar_store.open_avatar(part.folder, models)
    except Exception as error:  # the other avatars may do
        detail = told(error)
        return [Result(task, "failed", detail) for task in part.tasks]
    weights = {kind: models.sources[kind].state() for kind in chosen_kinds(SPEAKING, decode=args.vae_decode)}
    chosen = _finish(args), args.fade_in_silence, args.first_frames
    same = chosen, models.release.name, models.synthetic, weights, str(models.dtype)
    return run_all(
        part.tasks, lambda task, mark: _say(models, avatar, task, mark, args), same, saved=not args.no_save
    )


def _prepare(models: Models, source: Path, folder: Path, settings: Preparation, batch_size: int) -> Avatar:
    from . import avatar_store
    from .avatar_making import prepare_avatar
    from .media_input import open_clip

    started = time.perf_counter()
    clip = open_clip(source, progress=bar("open"))
    avatar = prepare_avatar(models, clip, folder, settings, bar, batch_size)
    seconds = time.perf_counter() - started
    size = sum(path.stat().st_size for path in folder.rglob("*"))
    print(f"\n{folder}: {_described(avatar_store.avatar_info(folder))}; {size / 1e6:.1f} MB, in {seconds:.1f} s")
    return avatar


def _described(info: AvatarInfo) -> str:
    minus, plus = info.shift_range
    return (
        f"{info.frames} frames at {float(info.fps):g} fps, {info.width} x {info.height}, "
        + (f"without a face: {info.faceless}, " if info.faceless else "")
        + f"bbox_shift {info.bbox_shift}, usable [-{minus} ~ {plus}]"
        + (", encoded by TAESD" if info.taesd else "")
        + (f", {NOTICE}" if info.synthetic else "")
    )


def _finish(args: argparse.Namespace) -> Finish:
    return Finish(args.detail, args.colour_match)


def _say(models: Models, avatar: Avatar, task: Task, mark: str, args: argparse.Namespace) -> int:
    """An avatar says a voice into a file; gives how many frames that takes."""
    from .job import comment
    from .media_output import write_video
    from .sound_input import read_voice

    heard = read_voice(task.audio)
    spoken = avatar.speak(
        models, heard, args.batch_size, bar("speak"), _finish(args), args.fade_in_silence, args.first_frames
    )
    if args.no_save:
        return _timed(models, task.audio, spoken.frames)
    task.output.parent.mkdir(parents=True, exist_ok=True)
    words = comment(models, mark)
    return write_video(task.output, spoken.frames, avatar.fps, task.audio, words, avatar.look, spoken.seconds)


def _timed(models: Models, voice: Path, frames: Iterator[np.ndarray]) -> int:
    """How many frames there are, after telling how fast they came."""
    for kind in SPEAKING:
        getattr(models, kind)()  # loaded now
    started = time.perf_counter()
    count = sum(1 for _ in frames)
    seconds = time.perf_counter() - started
    print(f"\n{voice}: {count} frames in {seconds:.2f} s, {count / seconds:.1f} frames a second")
    return count
