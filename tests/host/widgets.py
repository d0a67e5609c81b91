"""From a node's `widgets_values`, as the UI saves them, to named input values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"  # makes further widgets, as many as its value asks for
_WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", _DYNAMIC_COMBO}
_SEED_NAMES = {"seed", "noise_seed"}


class WorkflowError(ValueError):
    """The workflow does not fit the host's node types."""


def widget_values(node: dict[str, Any], node_info: dict[str, Any]) -> dict[str, Any]:
    """The value of every widget of the node, by input name.

    The list of saved values may be longer than the schema's widgets: the UI puts its own (upload
    buttons, players) after them. It may lack optional widgets, which a newer host may have added.
    """
    saved = node.get("widgets_values") or []
    values = saved if isinstance(saved, dict) else _by_name(saved, node_info)
    named = {}
    for name, spec, required in _widgets(node_info):
        if _kind(spec) == _DYNAMIC_COMBO:
            raise WorkflowError(f"{describe(node)}: {name!r} is a dynamic combo, which is not supported")
        if name in values:
            named[name] = as_literal(values[name])
        elif required:
            raise WorkflowError(f"{describe(node)}: widgets_values has no value for {name!r}: {saved!r}")
    return named


def as_literal(value: Any) -> Any:
    """The value as the prompt format wants it; a bare list would be read as a link."""
    return {"__value__": value} if isinstance(value, list) else value


def describe(node: dict[str, Any]) -> str:
    """The node's name for error messages."""
    return f"node {node['id']} ({node['type']})"


def _by_name(saved: list[Any], node_info: dict[str, Any]) -> dict[str, Any]:
    names = [slot for name, spec, _ in _widgets(node_info) for slot in (name, *_controls(name, spec))]
    return {name: value for name, value in zip(names, saved, strict=False) if name is not None}


def _controls(name: str, spec: list[Any]) -> list[None]:
    """A place for each value that the "control after generate" of a widget adds behind its own."""
    kind, options = _kind(spec), _options(spec)
    if kind == "INT":
        return [None] * bool(options.get("control_after_generate", name in _SEED_NAMES))
    if kind == "COMBO":
        return [None, None] * bool(options.get("control_after_generate"))  # the mode and a filter
    return []


def _widgets(node_info: dict[str, Any]) -> Iterator[tuple[str, list[Any], bool]]:
    """Name, specification and "is required" of the inputs that are widgets, in the UI's order."""
    for group in ("required", "optional"):
        for name in node_info["input_order"].get(group, []):
            spec = node_info["input"][group][name]
            if _kind(spec) in _WIDGET_TYPES and not _options(spec).get("forceInput"):
                yield name, spec, group == "required"


def _kind(spec: list[Any]) -> str:
    """The type of an input; version 1 schemas spell a COMBO as the list of its options."""
    return "COMBO" if isinstance(spec[0], list) else spec[0]


def _options(spec: list[Any]) -> dict[str, Any]:
    return spec[1] if len(spec) > 1 else {}
