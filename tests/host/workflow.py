"""From a workflow, as the UI saves it, to the graph that the host's API runs."""

from __future__ import annotations

from typing import Any

from tests.host.widgets import WorkflowError, as_literal, describe, widget_values

_MUTED = 2
_BYPASSED = 4
_UI_ONLY = {"Note", "MarkdownNote", "PrimitiveNode", "Reroute"}

Node = dict[str, Any]


def to_api(workflow: dict[str, Any], object_info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The API graph of a workflow, for the node types listed in /object_info."""
    wiring = _Wiring(workflow)
    graph = {}
    for node in workflow["nodes"]:
        if node["type"] in _UI_ONLY or _mode(node) in (_MUTED, _BYPASSED):
            continue
        if node["type"] not in object_info:
            raise WorkflowError(f"{describe(node)}: the host has no such node type")
        inputs = widget_values(node, object_info[node["type"]]) | wiring.inputs(node)
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph


class _Wiring:
    """Follows the links of a workflow."""

    def __init__(self, workflow: dict[str, Any]) -> None:
        self._nodes = {node["id"]: node for node in workflow["nodes"]}
        self._links = {link[0]: link for link in workflow["links"]}

    def inputs(self, node: Node) -> dict[str, Any]:
        """The linked inputs of a node: [node id, slot], or the value that a PrimitiveNode gives."""
        found = {slot["name"]: self._source(node, slot, slot["type"]) for slot in node.get("inputs", [])}
        return {name: source for name, source in found.items() if source is not None}

    def _source(self, node: Node, slot: dict[str, Any], wanted: str) -> Any:
        """What an input gets once bypassed nodes and reroutes are out of the way, None for nothing."""
        link_id = slot.get("link")
        if link_id is None:
            return None
        if link_id not in self._links:
            raise WorkflowError(f"{describe(node)}: input {slot['name']!r} names the missing link {link_id}")
        _, origin_id, origin_slot, *_ = self._links[link_id]
        origin = self._nodes[origin_id]
        if _mode(origin) == _MUTED:
            return None
        if origin["type"] == "Reroute":
            return self._source(origin, origin["inputs"][0], wanted)
        if origin["type"] == "PrimitiveNode":
            return as_literal(origin["widgets_values"][0])
        if _mode(origin) == _BYPASSED:
            passed = _passed_through(origin, origin_slot, wanted)
            return passed and self._source(origin, passed, wanted)
        return [str(origin_id), origin_slot]


def _mode(node: Node) -> int:
    return node.get("mode", 0)


def _passed_through(node: Node, output: int, wanted: str) -> dict[str, Any] | None:
    """The input that a bypassed node passes on: the one beside the output, else the first that fits."""
    inputs = node.get("inputs", [])
    offered = node["outputs"][output]["type"]
    fitting = [slot for slot in inputs if _connects(slot["type"], offered) and _connects(slot["type"], wanted)]
    beside = [slot for slot in inputs[output : output + 1] if slot in fitting]
    same = [slot for slot in fitting if slot["type"] == wanted]
    return next(iter([*beside, *same, *fitting]), None)


def _connects(one: str, other: str) -> bool:
    """Whether two slot types, each "*" or a comma-separated choice, may be linked."""
    return "*" in (one, other) or not set(one.split(",")).isdisjoint(other.split(","))
