"""Writes example_workflows/*.json from the graphs of `graphs.py`, asking a running ComfyUI for its sockets.

    python tools/make_workflows.py http://127.0.0.1:8188

Widgets keep their defaults unless a graph says otherwise.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections import defaultdict
from pathlib import Path

from graphs import GRAPHS

OUT = Path(__file__).parent.parent / "example_workflows"
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
UPLOADS = {"LoadImage": ["image"], "LoadVideo": ["image"], "LoadAudio": [None, None]}  # button values in saved graphs

NOTE = """## {title}

{text}

Copy the files of this pack's `assets/sample` folder into ComfyUI's `input` folder, or choose \
your own files. The first time, switch on **fetch_missing** in *MuseTalk Load Models* to download the weights.
"""

COLUMN = 400  # px from one column of nodes to the next
WIDTH, GAP, HEAD, SLOT, WIDGET = 340, 60, 40, 22, 28  # px
PICTURES = {  # px shown below the widgets, by the node itself or while it runs
    **dict.fromkeys(("LoadImage", "LoadVideo", "PreviewImage"), 300),
    **dict.fromkeys(("MuseTalkDWPoseLandmarks", "MuseTalkFaceParseBlend"), 234),
    **dict.fromkeys(("MuseTalkVAEEncode", "MuseTalkVAEDecode", "MuseTalkLipSyncVideo"), 240),
    **dict.fromkeys(("MuseTalkAvatarPrepare", "MuseTalkAvatarSpeak", "SaveVideo"), 240),
    "LoadAudio": 80,
}


def workflow(title: str, text: str, graph: list[tuple], info: dict) -> dict:
    ids = {name: i for i, (name, *_) in enumerate(graph, start=1)}
    types = {name: kind for name, kind, *_ in graph}
    nodes, links, tops = [], [], defaultdict(int)
    for name, kind, column, inputs in graph:
        sockets, values, named = [], [], {}
        for socket, (type_, options) in specification(info[kind]).items():
            value = inputs.get(socket, options.get("default"))
            linked = isinstance(value, str) and value.split(".")[0] in ids and value[-1].isdigit()
            widget = is_widget(type_)
            if linked:
                source, slot = value.split(".")
                made = [len(links) + 1, ids[source], int(slot), ids[name], len(sockets)]
                links.append([*made, info[types[source]]["output"][int(slot)]])
            if linked or not widget:
                entry = {"name": socket, "type": type_ if isinstance(type_, str) else "COMBO"}
                entry["link"] = links[-1][0] if linked else None
                if widget:
                    entry["widget"] = {"name": socket}
                sockets.append(entry)
            if widget:
                default = options.get("default", choices(type_, options)[0] if choices(type_, options) else None)
                values.append(default if linked or value is None else value)
                named[socket] = values[-1]
                if options.get("control_after_generate", socket == "seed"):
                    values.append("fixed")
        labels = list(zip(info[kind]["output_name"], info[kind]["output"], strict=True))
        height = HEAD + SLOT * max(len(sockets), len(labels)) + WIDGET * len(values) + PICTURES.get(kind, 0)
        nodes.append(
            {
                "id": ids[name],
                "type": kind,
                "pos": [COLUMN * column, tops[column]],
                "size": [WIDTH, height],
                "flags": {},
                "order": ids[name] - 1,
                "mode": 0,
                "inputs": sockets,
                "outputs": [{"name": label, "type": type_, "links": []} for label, type_ in labels],
                "properties": {"Node name for S&R": kind},
                # VideoHelperSuite's nodes save their widgets by name.
                "widgets_values": named if kind.startswith("VHS_") else values + UPLOADS.get(kind, []),
            }
        )
        tops[column] += height + GAP
    for number, source, slot, *_ in links:
        nodes[source - 1]["outputs"][slot]["links"].append(number)
    nodes.append(
        {
            "id": len(nodes) + 1,
            "type": "MarkdownNote",
            "pos": [-COLUMN, 0],
            "size": [WIDTH, 320],
            "flags": {},
            "order": len(nodes),
            "mode": 0,
            "inputs": [],
            "outputs": [],
            "properties": {},
            "widgets_values": [NOTE.format(title=title, text=text)],
        }
    )
    head = {"last_node_id": len(nodes), "last_link_id": len(links)}
    tail = {"groups": [], "config": {}, "extra": {}, "version": 0.4}
    return head | {"nodes": nodes, "links": links} | tail


def specification(node: dict) -> dict[str, tuple]:
    out = {}
    for group in ("required", "optional"):
        for name in node["input_order"].get(group, []):
            type_, *options = node["input"][group][name]
            out[name] = type_, options[0] if options else {}
    return out


def is_widget(type_: object) -> bool:
    return isinstance(type_, list) or type_ in WIDGETS


def choices(type_: object, options: dict) -> list:
    return type_ if isinstance(type_, list) else options.get("options", [])


def main(url: str) -> None:
    with urllib.request.urlopen(f"{url}/object_info") as response:
        info = json.load(response)
    for title, (text, graph) in GRAPHS.items():
        path = OUT / f"{title}.json"
        path.write_text(json.dumps(workflow(title, text, graph, info), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
