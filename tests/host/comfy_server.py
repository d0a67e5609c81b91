"""A real ComfyUI in a subprocess, with this pack as its only custom node."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from urllib.error import URLError

from tests.host.comfy_client import ComfyClient

REPOSITORY = Path(__file__).resolve().parents[2]

_FOLDERS = ("custom_nodes", "models", "input", "output", "temp", "user")
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.2
_LOG_TAIL_LINES = 60


class StartupError(RuntimeError):
    """ComfyUI ended, or stayed silent, instead of answering."""


def find_comfyui() -> tuple[Path, Path] | None:
    """The ComfyUI folder and its Python, or None if there is no ComfyUI.

    The folder is COMFYUI_DIR or ~/ComfyUI; the Python is COMFYUI_PYTHON, the one of a virtual
    environment inside the folder, or the one running this.
    """
    folder = Path(os.environ.get("COMFYUI_DIR") or Path.home() / "ComfyUI").resolve()
    if not (folder / "main.py").is_file():
        return None
    chosen = os.environ.get("COMFYUI_PYTHON")
    return folder, Path(chosen) if chosen else _python_of(folder)


def _python_of(folder: Path) -> Path:
    executable = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    candidates = (folder / environment / executable for environment in (".venv", "venv"))
    return next((path for path in candidates if path.is_file()), Path(sys.executable))


class ComfyServer(ComfyClient):
    """Context manager: a running ComfyUI whose files all live in a temporary base folder.

    The pack is linked into custom_nodes under a name of its own, since the name must not matter.
    """

    def __init__(
        self, comfy_dir: Path, python: Path, extra_args: Sequence[str] = (), start_timeout: float = 180.0
    ) -> None:
        self._port = _free_port()
        super().__init__(f"http://127.0.0.1:{self._port}")
        self._main = comfy_dir / "main.py"
        self._python = python
        self._extra_args = extra_args
        self._start_timeout = start_timeout
        self._cleanup = ExitStack()

    def __enter__(self) -> ComfyServer:
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="comfyui-", ignore_cleanup_errors=True)
            self.base = Path(stack.enter_context(folder))
            self._prepare_base()
            log = stack.enter_context(self._log_path.open("wb"))
            process = subprocess.Popen(
                self._command(), cwd=self.base, env=_environment(), stdout=log, stderr=subprocess.STDOUT
            )
            stack.callback(_stop, process)
            self._wait_until_it_answers(process)
            self._cleanup = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    @property
    def input_dir(self) -> Path:
        return self.base / "input"

    @property
    def output_dir(self) -> Path:
        return self.base / "output"

    @property
    def models_dir(self) -> Path:
        return self.base / "models"

    @property
    def log(self) -> str:
        """Everything the host has printed so far."""
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    @property
    def log_tail(self) -> str:
        """The last lines of the log, for error messages."""
        return "\n".join(self.log.splitlines()[-_LOG_TAIL_LINES:])

    def upload(self, path: Path, name: str | None = None) -> str:
        """Copy a file into the input folder and return its name there."""
        return Path(shutil.copyfile(path, self.input_dir / (name or path.name))).name

    @property
    def _log_path(self) -> Path:
        return self.base / "server.log"

    def _prepare_base(self) -> None:
        for folder in _FOLDERS:
            (self.base / folder).mkdir()
        nodes = self.base / "custom_nodes"
        (nodes / "musetalk-under-test").symlink_to(REPOSITORY, target_is_directory=True)
        for file in Path(__file__).parent.glob("stand_ins*.py"):
            (nodes / file.name).symlink_to(file)

    def _command(self) -> list[str]:
        return [
            *(str(self._python), str(self._main), "--cpu", "--disable-auto-launch", "--disable-api-nodes"),
            *("--listen", "127.0.0.1", "--port", str(self._port)),
            *("--base-directory", str(self.base)),
            *("--database-url", f"sqlite:///{self.base / 'user' / 'comfyui.db'}"),
            *self._extra_args,
        ]

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise StartupError(f"ComfyUI ended with code {process.returncode}:\n{self.log_tail}")
            try:
                self.get("/system_stats")
            except (URLError, ConnectionError):
                time.sleep(_POLL_SECONDS)
            else:
                return
        raise StartupError(f"ComfyUI did not answer within {self._start_timeout:g} s:\n{self.log_tail}")


def _environment() -> dict[str, str]:
    """The environment for a host that logs at once, in UTF-8, and leaves no bytecode in the sources."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
