"""``manifest``: from graphs of ComfyUI to the lines of a manifest for ``batch``.

A line says what a node that makes a face speak would do. Widgets, defaults and choices are those of the pack's nodes.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .api_graph import ApiGraph, Node, Values
from .batch_manifest import AVATAR_SETTINGS
from .errors import InputError, Value
from .face_options import LIGHT_SMOOTHING

MODELS: Values = {
    "release": "1.5",
    "precision": "auto",
    "fetch_missing": False,
    "weights": "models folder",
    "vae_encode": "full",
    "vae_decode": "full",
    "acceleration": "off",
}
FACE_OPTIONS: Values = {
    "face": "as the reference",
    "position": 1,
    "x": 0,
    "y": 0,
    "no_face": "pass through",
    "hold_frames": 12,
    "detection": "auto",
    "upright": False,
}
LIP_SYNC: Values = {
    "bbox_shift": 0,
    "extra_margin": 10,
    "fps": "keep",
    "length": "pingpong",
    "smoothing": LIGHT_SMOOTHING,
    "batch_size": 8,
    "fade_in_silence": False,
    "detail": 0.0,
    "colour_match": 0.0,
    "first_frames": 0,
}
SPEAK: Values = {name: LIP_SYNC[name] for name in AVATAR_SETTINGS}
"""The widgets of the nodes that matter here, with their defaults."""

FACES = ("as the reference", "largest", "from the left", "at a point", "like the picture")
NO_FACE = {"pass through": "pass", "hold the last box": "hold", "stop": "stop"}
VAES = {"full": "full", "TAESD (faster, coarser)": "taesd"}
WEIGHTS = {"models folder": [], "synthetic (installation check)": ["--weights", "synthetic"]}
"""Their choices, and what the command line calls them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``manifest``."""
    parser.add_argument(
        "graphs", type=Path, nargs="+", metavar="GRAPH.json", help="in ComfyUI's API format: File > Export (API)"
    )
    parser.add_argument("--input", type=Path, required=True, metavar="DIR", help="ComfyUI's input folder")
    parser.add_argument(
        "--output-folder",
        type=Path,
        metavar="DIR",
        help="ComfyUI's output folder: videos go there, and files marked [output] are looked for there; by default "
        "batch decides where videos go",
    )


def run(args: argparse.Namespace) -> int:
    """Print the lines, and to stderr the options of ``batch`` that go with them; 0 when that worked."""
    lines, options = read_graphs(args.graphs, args.input, args.output_folder)
    print("\n".join(map(json.dumps, lines)))
    print(f"Options of batch for these clips: {shlex.join(options)}", file=sys.stderr)
    return 0


def read_graphs(paths: Sequence[Path], inputs: Path, outputs: Path | None = None) -> tuple[list[Values], list[str]]:
    """What the nodes of some graphs do that make a face speak.

    Args:
        paths: The graphs, in the format of ComfyUI's API.
        inputs: ComfyUI's input folder.
        outputs: Its output folder, where the videos are to go; None where ``batch`` decides that.

    Returns:
        For each such node, in order, a line for `batch_manifest.read_manifest`, with whole paths; and the options of
        ``batch`` that stand for what is set in MuseTalk Load Models.

    Raises:
        InputError: there is no such node, or one does what a line cannot say, or two work with other models; the node
            is named.
    """
    lines: list[Values] = []
    models: dict[tuple[str, ...], Node] = {}
    for path in paths:
        graph = ApiGraph(path, inputs, outputs)
        for node in graph.nodes.values():
            if node.kind not in _LINES:
                continue
            line = _LINES[node.kind](graph, node) | {"voice": graph.file(node, "audio", "LoadAudio")}
            name = f"{graph.saved_as(node)}_{path.stem}_{re.sub(r'[^0-9A-Za-z-]', '-', node.id)}.mp4"
            lines.append(line | {"output": str(outputs.absolute() / name) if outputs else name})
            models.setdefault(_models(graph, node), node)
    if not lines:
        raise InputError(
            f"No node makes a face speak in {', '.join(map(str, paths))}.",
            "Use MuseTalk Lip Sync Video, or MuseTalk Avatar Speak.",
        )
    if len(models) > 1:
        first, second, *_ = models.values()
        raise InputError(f"{first} and {second} work with other models.", "Make a manifest of each.")
    (options,) = map(list, models)
    if outputs and any("avatar" in line for line in lines):
        options += ["--avatars", str(outputs.absolute() / "avatars")]
    return lines, options


def _lip_sync(graph: ApiGraph, node: Node) -> Values:
    chosen = node.widgets(LIP_SYNC, ("models", "audio", "video", "image", "face_options"))
    if ("video" in node.inputs) == ("image" in node.inputs):
        raise InputError(f"{node} has no face, or two.", "Connect either video or image.")
    name, loader = ("video", "LoadVideo") if "video" in node.inputs else ("image", "LoadImage")
    return {"source": graph.file(node, name, loader)} | _settings(chosen) | _faces(graph, node)


def _avatar_speak(graph: ApiGraph, node: Node) -> Values:
    chosen = node.widgets(SPEAK, ("models", "avatar", "audio"))
    opened = graph.linked(node, "avatar", "MuseTalkAvatarLoad")
    if _models(graph, opened) != _models(graph, node):
        raise InputError(f"{node} and {opened} work with other models.", "Connect the same to both.")
    return {"avatar": opened.widgets({"name": ""}, ("models",))["name"]} | _settings(chosen)


_LINES = {"MuseTalkLipSyncVideo": _lip_sync, "MuseTalkAvatarSpeak": _avatar_speak}


def _settings(chosen: Values) -> Values:
    """What is set in a node that speaks; there, 0 frames are all."""
    return {name: value for name, value in chosen.items() if (name, value) != ("first_frames", 0)}


def _faces(graph: ApiGraph, node: Node) -> Values:
    """What is set in MuseTalk Face Options, or what holds without it."""
    options = Node(node.graph, "", "MuseTalkFaceOptions", {})
    if "face_options" in node.inputs:
        options = graph.linked(node, "face_options", "MuseTalkFaceOptions")
    chosen = options.widgets(FACE_OPTIONS, ("picture",))
    settings = {name: chosen[name] for name in ("hold_frames", "detection", "upright")}
    settings["no_face"] = _choice(options, chosen, "no_face", NO_FACE)
    match _choice(options, chosen, "face", {name: name for name in FACES}):
        case "largest":
            settings["face"] = "largest"
        case "from the left":
            settings["face"] = chosen["position"]
        case "at a point":
            settings["face"] = f"{chosen['x']},{chosen['y']}"
        case "like the picture":
            settings["face"] = graph.file(options, "picture", "LoadImage")
    return settings


def _models(graph: ApiGraph, node: Node) -> tuple[str, ...]:
    """The options for what is set in the MuseTalk Load Models that a node gets its networks from."""
    models = graph.linked(node, "models", "MuseTalkLoadModels")
    chosen = models.widgets(MODELS, ("vae",))
    if "vae" in models.inputs:
        raise InputError(f"{models} is given another VAE.", "Disconnect it: batch takes the weights' own, or TAESD.")
    return (
        *("--release", str(chosen["release"])),
        *("--precision", str(chosen["precision"])),
        *("--acceleration", str(chosen["acceleration"])),
        *("--vae-encode", _choice(models, chosen, "vae_encode", VAES)),
        *("--vae-decode", _choice(models, chosen, "vae_decode", VAES)),
        *_choice(models, chosen, "weights", WEIGHTS),
    )


def _choice(node: Node, chosen: Values, name: str, table: Mapping[str, Value]) -> Value:
    """What the command line calls what a node's widget is set to."""
    if chosen[name] not in table:
        raise InputError(f"{node} has {name} set to {chosen[name]!r}.", f"Choose one of: {', '.join(table)}.")
    return table[chosen[name]]
