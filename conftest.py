"""Keeps pytest from importing the pack's own ``__init__.py``, which needs ComfyUI."""

from pathlib import Path

import pytest


def pytest_collect_directory(path, parent):
    if path == Path(__file__).parent:
        return pytest.Dir.from_parent(parent, path=path)
