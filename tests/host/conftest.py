"""Fixtures that run a real ComfyUI, found through COMFYUI_DIR, and say loudly when there is none."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.host.browser import open_browser
from tests.host.comfy_server import ComfyServer, find_comfyui

HERE = Path(__file__).parent
NO_COMFYUI = (
    "NO COMFYUI FOUND: host tests did not run. Set COMFYUI_DIR (and COMFYUI_PYTHON) to the folder of a "
    "ComfyUI (and to its Python)."
)
NO_BROWSER = (
    "NO BROWSER FOUND: the tests of the panels did not run. Install playwright (requirements-test.txt) and a "
    "Chromium, or set CHROMIUM to its executable."
)
_missing = pytest.StashKey[list[str]]()
_running = pytest.StashKey[list[ComfyServer]]()

StartComfy = Callable[..., ComfyServer]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_missing] = []
    config.stash[_running] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.host)


@pytest.fixture(scope="session")
def comfyui(pytestconfig: pytest.Config) -> tuple[Path, Path]:
    """The ComfyUI folder and its Python; skips where there is no ComfyUI."""
    found = find_comfyui()
    if found is None:
        pytestconfig.stash[_missing].append(NO_COMFYUI)
        pytest.skip(NO_COMFYUI)
    return found


@pytest.fixture(scope="session")
def comfy(comfyui: tuple[Path, Path], pytestconfig: pytest.Config) -> Iterator[ComfyServer]:
    """One ComfyUI for the whole session."""
    with ComfyServer(*comfyui) as server:
        pytestconfig.stash[_running].append(server)
        yield server
        pytestconfig.stash[_running].remove(server)


@pytest.fixture(scope="module")  # while it is open, asyncio.run is not to be had
def browser(pytestconfig: pytest.Config) -> Iterator[Any]:
    """A Chromium; skips where there is none."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open_browser())
        except (ImportError, FileNotFoundError):
            pytestconfig.stash[_missing].append(NO_BROWSER)
            pytest.skip(NO_BROWSER)
        yield opened


@pytest.fixture
def fresh_comfy(comfyui: tuple[Path, Path], pytestconfig: pytest.Config) -> Iterator[StartComfy]:
    """Starts a ComfyUI of the test's own: `fresh_comfy(*extra_args)`; it ends with the test."""
    running = pytestconfig.stash[_running]
    with ExitStack() as stack:

        def start(*extra_args: str) -> ComfyServer:
            server = stack.enter_context(ComfyServer(*comfyui, extra_args=extra_args))
            running.append(server)
            stack.callback(running.remove, server)
            return server

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the host's log next to a failure."""
    report = yield
    if report.failed:
        for server in item.config.stash[_running]:
            report.sections.append((f"ComfyUI log of {server.url}", server.log_tail))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[_missing]:
        terminalreporter.section("WARNING", sep="!", yellow=True, bold=True)
    for line in config.stash[_missing]:
        terminalreporter.line(line, yellow=True, bold=True)
