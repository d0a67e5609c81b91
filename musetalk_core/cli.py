"""The same work without a graph: ``python -m musetalk_core run | prepare | speak | ...``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from . import avatar_commands, batch_command, graph_manifest, run_command
from .acceleration import ACCELERATIONS
from .arguments import add_vae, mp4, whole
from .bars import bar
from .errors import MuseTalkError

if TYPE_CHECKING:
    from .models import Models

_MEMORY_SECONDS = (5, 15, 30, 60)
_LIVE_SECONDS = 10
_SCALING_SECONDS = 4
_IMAGE_SECONDS = (1, 2, 3)  # to see how memory grows; a minute of 1080p would need 75 GB


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it worked, 1 with a message when it could not, 130 when interrupted."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a path no code page can print must not end a finished job
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    args = _parser().parse_args(argv)
    try:
        return args.command(args)
    except MuseTalkError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="musetalk_core", description="MuseTalk lip-sync from the command line.")
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="make a face say a voice, or many faces many voices")
    run.set_defaults(command=_run)
    run_command.add_arguments(run)
    _add_model_options(run)

    batch = commands.add_parser("batch", help="make the clips of a manifest, on this machine or a Ray cluster")
    batch.set_defaults(command=_batch)
    batch_command.add_arguments(batch)
    _add_model_options(batch)

    prepare = commands.add_parser("prepare", help="prepare a face once, so that it can speak at once")
    prepare.set_defaults(command=lambda args: avatar_commands.prepare(args, _opener(args)))
    avatar_commands.add_prepare_arguments(prepare)
    _add_model_options(prepare)

    speak = commands.add_parser("speak", help="make a prepared face say voices")
    speak.set_defaults(command=lambda args: avatar_commands.speak(args, _opener(args)))
    avatar_commands.add_speak_arguments(speak)
    _add_model_options(speak, release=None)

    avatars = commands.add_parser("avatars", help="list the prepared faces")
    avatars.set_defaults(command=avatar_commands.avatars)
    avatar_commands.add_avatars_arguments(avatars)

    manifest = commands.add_parser("manifest", help="make the manifest of a batch from graphs of ComfyUI")
    manifest.set_defaults(command=graph_manifest.run)
    graph_manifest.add_arguments(manifest)

    demo = commands.add_parser("demo", help="lip-sync the bundled sample, fetching the weights if they can be had")
    demo.set_defaults(command=_demo)
    demo.add_argument("--output", type=mp4, default=Path("output/demo.mp4"), metavar="OUT.mp4")

    download = commands.add_parser("download", help="fetch missing weight files and check them")
    download.set_defaults(command=_download)
    _add_release(download)
    add_vae(download)
    download.add_argument("--weights", type=Path, metavar="DIR", help="where to; default models/musetalk")

    doctor = commands.add_parser("doctor", help="say what is there, what is missing and what will be used")
    doctor.set_defaults(command=_doctor)
    doctor.add_argument("--weights", type=Path, metavar="DIR", help="default models/musetalk")
    doctor.add_argument("--json", action="store_true", help="for machines")

    bench = commands.add_parser("bench", help="time each stage")
    bench.set_defaults(command=_bench)
    bench.add_argument("--json", action="store_true", help="for machines")
    bench.add_argument("--batch-size", type=whole(1), metavar="N", help="frames a pass; default 4, of --compare 2")
    bench.add_argument(
        "--size", type=_size, default=(704, 1216), metavar="WxH", help="of the frames; default 704x1216"
    )
    bench.add_argument(
        "--compare", action="store_true", help="each optimisation against the plain way instead; takes minutes"
    )
    bench.add_argument(
        "--frames", type=whole(1), default=2, metavar="N", help="length of the whole clips of --compare; default 2"
    )
    bench.add_argument(
        "--memory",
        nargs="?",
        const="all",
        choices=["all", "clips", "networks"],
        help="memory instead: the peak over the length of the clip, what each network takes by batch size and what "
        "a card of 6 GB holds, or all of it (default); takes minutes",
    )
    bench.add_argument(
        "--live", action="store_true", help="how a prepared face speaks in real time instead: does it keep up"
    )
    bench.add_argument(
        "--scaling", action="store_true", help="how a batch gains from a second Ray worker instead; needs two cores"
    )
    bench.add_argument(
        "--seconds",
        type=whole(1),
        nargs="+",
        metavar="S",
        help="lengths for --memory, default 5 15 30 60; how long it speaks each time for --live, default 10, and for "
        "--scaling, default 4",
    )
    _add_model_options(bench, default="synthetic-full")
    return parser


def _add_release(parser: argparse.ArgumentParser, default: str | None = "1.5") -> None:
    parser.add_argument(
        "--release", choices=["1.5", "1.0"], default=default, help=f"default {default or 'what it was prepared for'}"
    )


def _add_model_options(
    parser: argparse.ArgumentParser, default: str | None = None, release: str | None = "1.5"
) -> None:
    _add_release(parser, release)
    parser.add_argument(
        "--weights",
        default=default,
        metavar="DIR",
        help="folder of the weights, or 'synthetic' (stand-ins that only check the installation: the mouth is "
        f"noise), or 'synthetic-full' (the same at full size); default {default or 'models/musetalk'}",
    )
    parser.add_argument("--precision", choices=["auto", "fp32", "fp16", "bf16"], default="auto")
    parser.add_argument(
        "--acceleration",
        choices=ACCELERATIONS,
        default="off",
        help="on an NVIDIA or AMD card: record a batch's work and launch it in one go, or torch.compile, which needs "
        "Triton and takes minutes at first; default off",
    )
    add_vae(parser)


def _run(args: argparse.Namespace) -> int:
    return run_command.run(args, lambda kinds: _open(args, kinds))


def _batch(args: argparse.Namespace) -> int:
    return batch_command.run(args, lambda kinds: _open(args, kinds))


def _demo(args: argparse.Namespace) -> int:
    from . import demo, weights
    from .opening import new_cache

    started = time.perf_counter()
    outcome = demo.run(weights.default_roots(), new_cache(), args.output, bar)
    print(run_command.report(args.output, outcome, started))
    return 0


def _opener(args: argparse.Namespace) -> avatar_commands.OpenModels:
    return lambda kinds, release: _open(argparse.Namespace(**{**vars(args), "release": release}), kinds)


def _open(args: argparse.Namespace, kinds: Sequence[str]) -> Models:
    from .opening import Opening, new_cache

    return Opening.of(args).open(kinds, new_cache())


def _download(args: argparse.Namespace) -> int:
    from . import download, manifest, weights
    from .cache import KINDS
    from .releases import get_release

    roots = [args.weights] if args.weights else weights.default_roots()
    kinds = weights.chosen_kinds(KINDS, args.vae_encode, args.vae_decode)
    files = weights.missing(get_release(args.release), roots, kinds)
    for file in files:
        print(f"{manifest.describe(file)} -> {roots[0] / file.path}")
    download.fetch_all(files, roots[0], bar("download"))
    print(f"All weights of MuseTalk {args.release} are in {roots[0]}.")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from . import doctor, weights

    report = doctor.examine([args.weights] if args.weights else weights.default_roots())
    print(json.dumps(report, indent=1) if args.json else doctor.describe(report))
    return 0 if report["sound"] else 1


def _bench(args: argparse.Namespace) -> int:
    from . import bench, bench_compare
    from .cache import KINDS

    args.batch_size = args.batch_size or (2 if args.compare else 4)
    if args.live:
        return _bench_live(args)
    if args.scaling:
        return _bench_scaling(args)
    if args.memory:
        return _bench_memory(args)
    if args.compare:
        args.vae_encode = args.vae_decode = "full"  # TAESD has a row of its own
    models, shown = _open(args, KINDS), bar("bench")
    if args.compare:
        report = bench_compare.measure(models, args.size, args.batch_size, args.frames, shown)
    else:
        report = bench.measure(models, args.size, args.batch_size, shown)
    table = (bench_compare if args.compare else bench).table
    print(json.dumps(report, indent=1) if args.json else table(report))
    return 0


def _bench_memory(args: argparse.Namespace) -> int:
    from . import bench_memory, bench_networks
    from .cache import KINDS

    models, report, tables = _open(args, KINDS), {}, []
    if args.memory != "networks":
        seconds = args.seconds or _MEMORY_SECONDS
        clips = bench_memory.measure(models, args.size, seconds, _IMAGE_SECONDS, args.batch_size, bar("clips"))
        report |= clips
        tables.append(bench_memory.table(clips))
    if args.memory != "clips":
        networks = bench_networks.measure(models, bar("networks"))
        report |= networks
        tables.append(bench_networks.table(networks))
    print(json.dumps(report, indent=1) if args.json else "\n\n".join(tables))
    return 0


def _bench_live(args: argparse.Namespace) -> int:
    from . import bench_live, demo
    from .avatar import Preparation
    from .avatar_making import prepare_avatar
    from .cache import KINDS
    from .media_input import open_clip

    models = _open(args, KINDS)
    seconds = args.seconds[0] if args.seconds else _LIVE_SECONDS
    # An avatar is read when it is shown: on Windows its files cannot be deleted while it is held.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        clip = open_clip(demo.SAMPLE / "face.jpg")
        avatar = prepare_avatar(models, clip, Path(folder) / "sample", Preparation(), bar)
        report = bench_live.measure(models, avatar, seconds)
    print(json.dumps(report, indent=1) if args.json else bench_live.table(report))
    return 0


def _bench_scaling(args: argparse.Namespace) -> int:
    from . import bench_scaling
    from .timeline import TRAINED_FPS

    seconds = args.seconds[0] if args.seconds else _SCALING_SECONDS
    report = bench_scaling.measure(int(seconds * TRAINED_FPS), bar("scaling"))
    print(json.dumps(report, indent=1) if args.json else bench_scaling.table(report))
    return 0


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = map(whole(1), text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not a size such as 704x1216") from error
    return width, height
