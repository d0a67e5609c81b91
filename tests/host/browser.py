"""A Chromium to look at the host's own frontend with."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.host.comfy_server import ComfyServer

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Nothing but the host is to be reached.
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
_READY = "!!(window.app?.extensionManager && window.LiteGraph?.registered_node_types?.MuseTalkLoadModels)"
_START_MS = 60_000
_RUN_SECONDS = 120.0


def find_chromium() -> str | None:
    """CHROMIUM, or a Chromium or Chrome on the path."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def open_browser() -> Iterator[Any]:
    """A running browser of playwright's.

    Raises:
        ImportError: there is no playwright.
        FileNotFoundError: there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    executable = find_chromium()
    if executable is None:
        raise FileNotFoundError("no Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(_ARGUMENTS))
        yield browser
        browser.close()


class Frontend:
    """The host's frontend in a page; `page` is playwright's."""

    def __init__(self, browser: Any, server: ComfyServer) -> None:
        self.page = browser.new_page(viewport={"width": 1500, "height": 1150})
        self._server = server
        self.open()

    def open(self) -> None:
        """Load the page, or load it again."""
        self.page.goto(self._server.url)
        self.page.wait_for_function(_READY, timeout=_START_MS)
        # Some versions show templates, or an empty graph, a moment after they are ready.
        self.page.wait_for_timeout(2000)
        self.page.keyboard.press("Escape")

    def load(self, graph: dict[str, Any]) -> None:
        """Show a saved graph."""
        self.page.evaluate("(graph) => window.app.loadGraphData(graph)", graph)

    def graph(self) -> dict[str, Any]:
        """The graph as it would be saved."""
        return self.page.evaluate("JSON.parse(JSON.stringify(window.app.graph.serialize()))")

    def node(self, kind: str) -> dict[str, Any]:
        """The first node of a kind, as it would be saved."""
        return next(node for node in self.graph()["nodes"] if node["type"] == kind)

    def widget(self, kind: str, name: str) -> Any:
        """The value of a widget of the first node of a kind."""
        return self.page.evaluate(f"({_WIDGET})({kind!r}, {name!r}).value")

    def turn(self, kind: str, name: str, value: Any) -> None:
        """Change a widget as a hand on it would."""
        change = "([kind, name, value]) => { const w = (%s)(kind, name); w.value = value; w.callback?.(value); }"
        self.page.evaluate(change % _WIDGET, [kind, name, value])

    def look_at(self, kind: str) -> None:
        """Bring the first node of a kind into sight, at its natural size."""
        self.page.evaluate(
            """(kind) => {
                const { canvas, graph } = window.app;
                const { pos } = graph._nodes.find((node) => node.type === kind);
                canvas.ds.scale = 1;
                canvas.ds.offset = [300 - pos[0], 160 - pos[1]];
                canvas.setDirty(true, true);
            }""",
            kind,
        )
        self.settle()

    def settle(self) -> None:
        """Wait until the page has been drawn anew."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.page.wait_for_timeout(150)

    def run(self) -> dict[str, Any]:
        """Run the graph that is shown, and give its entry in the history."""
        before = set(self._server.get("/history"))
        self.page.evaluate("window.app.queuePrompt(0)")
        deadline = time.monotonic() + _RUN_SECONDS
        while time.monotonic() < deadline:
            self.page.wait_for_timeout(200)
            history = self._server.get("/history")
            if new := set(history) - before:
                self.settle()
                return history[new.pop()]
        raise TimeoutError(f"the graph did not end within {_RUN_SECONDS:g} s")

    def set(self, setting: str, value: str) -> None:
        """Change a setting of the host's."""
        self.page.evaluate(
            "([name, value]) => window.app.extensionManager.setting.set(name, value)", [setting, value]
        )
        self.settle()


_WIDGET = """(kind, name) => window.app.graph._nodes.find((node) => node.type === kind)
    .widgets.find((widget) => widget.name === name)"""
