"""The nodes' public face: ids, sockets and widgets, frozen, since saved graphs depend on every detail."""

from __future__ import annotations

import json
from pathlib import Path

SNAPSHOT = Path(__file__).with_name("schemas.json")
CHANGED = (
    "A node's schema changed. Widgets may only be appended, never moved or renamed: saved graphs hold their "
    "values by position. If the change is meant, write the new snapshot over tests/host/schemas.json:\n"
)


def described(info: dict) -> dict:
    """What of /object_info saved graphs depend on, alike in both versions of the host."""
    inputs = {}
    for group in ("required", "optional"):
        for name in info["input_order"].get(group, []):
            type_, *options = info["input"][group][name]
            kept = {key: value for key, value in (options[0] if options else {}).items() if key in KEPT}
            on_disk = type_ == "COMBO" and name in ("file", "name")  # the list is what is there
            inputs[name] = [group, type_, {} if on_disk else kept]
    outputs = dict(zip(info["output_name"], info["output"], strict=True))
    return {"inputs": inputs, "outputs": outputs, "output_node": info["output_node"]}


KEPT = {"default", "min", "max", "step", "options", "control_after_generate"}


def test_schemas_are_as_they_were(comfy):
    ours = {name: described(info) for name, info in comfy.object_info().items() if "MuseTalk" in name}
    assert ours == json.loads(SNAPSHOT.read_text()), CHANGED + json.dumps(ours, indent=1)


def test_every_node_and_input_explains_itself(comfy):
    for name, info in comfy.object_info().items():
        if "MuseTalk" in name:
            assert info["description"] and info["category"] == "MuseTalk"
            for group in ("required", "optional"):
                for socket, (_, options) in info["input"].get(group, {}).items():
                    assert options["tooltip"], f"{name}.{socket}"
