"""What manifests are read with: the options of the command, and an avatar."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from musetalk_core.avatar import Preparation
from musetalk_core.avatar_store import prepare_avatar
from musetalk_core.batch_manifest import add_line_arguments
from tests.core.avatars import Looked, Painters, no_stages, still
from tests.core.jobs import face_film


def options(*words: str, weights: str = "synthetic") -> argparse.Namespace:
    """What the command ``batch`` was given."""
    parser = argparse.ArgumentParser()
    add_line_arguments(parser)
    return parser.parse_args(words, argparse.Namespace(weights=weights))


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An avatar of synthetic weights."""
    Looked(monkeypatch)
    models = Painters()
    models.synthetic = True
    prepare_avatar(models, still(face_film(1)[0]), folder, Preparation(), no_stages)
