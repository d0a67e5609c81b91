"""Help pages and translations describe the nodes as they are: every node and socket, nothing else.

The texts come from the nodes' own ``define_schema``, with stand-ins for the parts of ComfyUI it touches.
"""

from __future__ import annotations

import ast
import asyncio
import functools
import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "web" / "docs"
LANGUAGES = ("en", "zh")


class _SocketType:
    """Stands for io.Image, io.Custom("NAME") and so on: its sockets are what they were given."""

    def __call__(self, _name: str) -> _SocketType:
        return self

    def Input(self, id: str, **settings) -> SimpleNamespace:
        return SimpleNamespace(**({"display_name": id, "tooltip": None, "default": None} | settings), id=id)

    def Output(self, display_name: str, tooltip: str | None = None, **_settings) -> SimpleNamespace:
        return SimpleNamespace(display_name=display_name, tooltip=tooltip)


class _Io:
    ComfyNode = object
    Schema = SimpleNamespace
    Hidden = SimpleNamespace(unique_id="UNIQUE_ID")

    def __getattr__(self, _name: str) -> _SocketType:
        return _SocketType()


def _load_schemas() -> dict[str, SimpleNamespace]:
    pack = ModuleType("musetalk_pack_without_comfyui")
    pack.__path__ = [str(ROOT)]
    stand_ins = {name: MagicMock() for name in ("comfy", "comfy.model_management", "comfy.model_patcher")}
    stand_ins |= {name: MagicMock() for name in ("comfy.utils", "comfy_api", "server")} | {pack.__name__: pack}
    stand_ins["comfy_api.v0_0_2"] = MagicMock(ComfyExtension=object, io=_Io())
    no_folder = str(ROOT / "no such folder")
    stand_ins["folder_paths"] = MagicMock(
        get_input_directory=lambda: no_folder, get_output_directory=lambda: no_folder
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, module in stand_ins.items():
            patch.setitem(sys.modules, name, module)
        nodes = importlib.import_module(f"{pack.__name__}.nodes")
        listed = asyncio.run(nodes.MuseTalkExtension().get_node_list())
        return {schema.node_id: schema for schema in (node.define_schema() for node in listed)}


SCHEMAS = _load_schemas()
HELP = [f"{node}{suffix}" for node in SCHEMAS for suffix in (".md", "/zh.md")]


def texts_of_schemas() -> dict[str, str | None]:
    """Everything that can be translated, by its path in nodeDefs.json; None where a node leaves it out."""
    texts = {}
    for node, schema in SCHEMAS.items():
        texts |= {f"{node}.display_name": schema.display_name, f"{node}.description": schema.description}
        sockets = {f"inputs.{one.id}": one for one in schema.inputs}
        sockets |= {f"outputs.{i}": one for i, one in enumerate(schema.outputs)}
        for path, one in sockets.items():
            texts |= {f"{node}.{path}.name": one.display_name, f"{node}.{path}.tooltip": one.tooltip}
    return texts


def texts_of_locale(language: str) -> dict[str, str]:
    """The texts of one nodeDefs.json by their paths."""

    def flat(tree: dict, prefix: str = "") -> dict[str, str]:
        texts = {}
        for key, value in tree.items():
            texts |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        return texts

    return flat(json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8")))


def test_every_node_and_input_explains_itself() -> None:
    silent = [path for path, text in texts_of_schemas().items() if not text and ".outputs." not in path]
    assert not silent


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_locale_has_every_text_and_no_other(language: str) -> None:
    assert texts_of_locale(language).keys() == texts_of_schemas().keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_frontend_can_show_every_text(language: str) -> None:
    # vue-i18n, which shows them, reads these characters as syntax.
    unusable = {path: text for path, text in texts_of_locale(language).items() if not text or set(text) & set("{}@|")}
    assert not unusable


def test_the_english_locale_says_what_the_schemas_say() -> None:
    said = {path: text for path, text in texts_of_schemas().items() if text is not None}
    english = texts_of_locale("en")
    assert {path: english.get(path) for path in said} == said


def test_there_is_a_help_page_for_each_node_and_for_nothing_else() -> None:
    assert {path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md")} == set(HELP)


@pytest.mark.parametrize("name", HELP)
def test_a_help_page_lists_the_inputs_with_their_defaults_and_the_outputs(name: str) -> None:
    schema = SCHEMAS[re.match(r"\w+", name)[0]]
    page = (PAGES / name).read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    listed = [re.match(r" `(.+?)`", row[0])[1] for row in rows]
    assert listed == [one.id for one in schema.inputs] + [one.display_name for one in schema.outputs]
    defaults = [row[1].strip() for row in rows[: len(schema.inputs)]]
    assert defaults == [_as_written(one.default) for one in schema.inputs]


@pytest.mark.parametrize("name", HELP)
def test_a_help_page_names_every_choice(name: str) -> None:
    schema = SCHEMAS[re.match(r"\w+", name)[0]]
    page = (PAGES / name).read_text(encoding="utf-8")
    choices = [choice for one in schema.inputs for choice in getattr(one, "options", ())]
    assert not [choice for choice in choices if f"`{choice}`" not in page]


@pytest.mark.parametrize("name", HELP)
def test_a_help_page_quotes_messages_as_they_are(name: str) -> None:
    page = (PAGES / name).read_text(encoding="utf-8")
    pieces = [piece.strip(" .") for quote in re.findall(r'\*\*["“](.+?)["”]', page) for piece in quote.split("...")]
    assert not [piece for piece in pieces if not any(piece in text for text in _texts_of_code())]


@functools.cache
def _texts_of_code() -> list[str]:
    """The constant parts of all strings in the code."""
    files = [path for folder in ("nodes", "musetalk_core") for path in (ROOT / folder).rglob("*.py")]
    parts = [part for path in files for part in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    return [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def _as_written(default: object) -> str:
    return "–" if default is None else "`" + json.dumps(default).strip('"') + "`"
