"""A graph in the format of ComfyUI's API, read as data: its nodes, and the files that its links lead to.

The format is that of "Export (API)" and of ``POST /prompt``: node ids over ``class_type`` and ``inputs``, where an
input is a plain value, or a link ``[node id, output]``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError

Values = dict[str, str | int | float]
"""Names to plain values; bool is an int here."""

LOADERS = {"LoadVideo": "file", "LoadImage": "image", "LoadAudio": "audio"}
"""The host's nodes that load a file, and the input that names it."""

_MARKS = {" [input]": "input", " [output]": "output"}  # how the host says in which of its folders a file is
_SAVED = ("auto", "mp4", "h264", "")  # what Save Video may be set to; empty is a widget that shows the video


@dataclass(frozen=True)
class Node:
    """A node of a graph.

    Attributes:
        graph: The graph's file.
        id: The node's, in the graph.
        kind: Its type, as the host calls it.
        inputs: Values and links by name.
    """

    graph: Path
    id: str
    kind: str
    inputs: Mapping[str, object]

    def __str__(self) -> str:
        return f"Node {self.id} ({self.kind}) of {self.graph}"

    def widgets(self, defaults: Values, links: Collection[str] = ()) -> Values:
        """The values of its widgets, each the default where the graph leaves it out.

        Args:
            defaults: Of all widgets that it has.
            links: Its inputs that are no widgets.

        Raises:
            InputError: it has another input, or a widget is no plain value.
        """
        for name, value in self.inputs.items():
            if name not in defaults and name not in links:
                raise InputError(f"{self} has the unknown input {name!r}.", "Use a graph of this version's nodes.")
            if name in defaults and not isinstance(value, str | int | float):
                raise InputError(f"{name} of {self} is not a plain value.", "Set it in the node itself.")
        return {name: self.inputs.get(name, default) for name, default in defaults.items()}


class ApiGraph:
    """The nodes of a graph by their ids, in ``nodes``.

    Args:
        path: The file; the graph may lie in it below ``prompt``, as it is posted.
        inputs: The host's input folder.
        outputs: Its output folder; None where that is not known.

    Raises:
        InputError: there is no such file, or it is no such graph.
    """

    def __init__(self, path: Path, inputs: Path, outputs: Path | None) -> None:
        self._folders = {"input": inputs, "output": outputs}
        self.nodes = {id: Node(path, id, node["class_type"], node["inputs"]) for id, node in _read(path).items()}

    def linked(self, node: Node, name: str, *kinds: str) -> Node:
        """The node whose first output goes into an input.

        Args:
            node: The node.
            name: Of its input.
            kinds: Of which the other must be one.

        Raises:
            InputError: nothing is connected there, or something else.
        """
        link = node.inputs.get(name)
        origin = self.nodes.get(link[0]) if isinstance(link, list) and link and isinstance(link[0], str) else None
        if origin is None or link[1:] != [0] or origin.kind not in kinds:
            raise InputError(
                f"{name} of {node} does not come straight from {' or '.join(kinds)}.",
                "Connect it to that; what other nodes make, save in ComfyUI first.",
            )
        return origin

    def file(self, node: Node, name: str, loader: str) -> str:
        """The whole path of the file that an input gets.

        Args:
            node: The node.
            name: Of its input.
            loader: The node that must load it, of `LOADERS`.

        Raises:
            InputError: another node is connected there, or it changes what it loads, or there is no such file.
        """
        origin = self.linked(node, name, loader)
        if _edits(origin.inputs.get("edit")):
            raise InputError(f"{origin} trims or crops the video.", "Save what it makes, and load that.")
        named = origin.inputs.get(LOADERS[loader])
        if not isinstance(named, str):
            raise InputError(f"{origin} names no file.", "Choose one in the node itself.")
        mark = next((mark for mark in _MARKS if named.endswith(mark)), "")
        folder = self._folders[_MARKS.get(mark, "input")]
        if folder is None:
            raise InputError(
                f"{origin} loads {named} from the output folder.", "Give that folder as --output-folder."
            )
        path = folder.absolute() / inside(origin, named.removesuffix(mark))
        if not os.path.isfile(path):  # names that no file can have, too
            raise InputError(f"{origin} loads {named}, and there is no such file in {folder}.", "Put it there.")
        return str(path)

    def saved_as(self, node: Node) -> str:
        """The prefix under which Save Video saves the first output of a node; "MuseTalk" where it does not.

        Raises:
            InputError: something else is made of that output, or saved.
        """
        savers = [other for other in self.nodes.values() if [node.id, 0] in other.inputs.values()]
        if after := next((other for other in savers if other.kind != "SaveVideo"), None):
            raise InputError(
                f"{after} goes on with the video of {node}.", "Connect the video to Save Video, and to nothing else."
            )
        if not savers:
            return "MuseTalk"
        saver = savers[0]
        for name, value in saver.inputs.items():
            if name not in ("video", "filename_prefix") and value not in _SAVED:
                raise InputError(f"{saver} has {name} set to {value!r}.", "Set it to auto: the result is an mp4.")
        prefix = saver.widgets({"filename_prefix": "video/ComfyUI"}, saver.inputs)["filename_prefix"]
        return inside(saver, str(prefix))


def inside(node: Node, name: str) -> str:
    """A name of a file that a node gives, if it stays inside the host's folders.

    Raises:
        InputError: it leaves them.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{node} names {name!r}, which is outside ComfyUI's folders.", "Choose a name inside them.")
    return name


def _edits(edit: object) -> bool:
    """Whether Load Video's ``edit``, times and pixels for "trim" and "crop", changes anything: zeros do not."""
    return any(map(_edits, edit.values())) if isinstance(edit, dict) else bool(edit)


def _read(path: Path) -> dict[str, dict]:
    try:
        graph = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"The graph {path} cannot be read ({error}).", "Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}).", "Export the graph with File > Export (API).") from error
    if isinstance(graph, dict) and isinstance(graph.get("prompt"), dict) and "class_type" not in graph["prompt"]:
        graph = graph["prompt"]
    if not isinstance(graph, dict) or not all(map(_is_node, graph.values())):
        raise InputError(f"{path} is no graph in the format of ComfyUI's API.", "Export it with File > Export (API).")
    return graph


def _is_node(node: object) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
