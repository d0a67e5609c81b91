"""What tells weights from others."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch

from musetalk_core import fingerprints
from musetalk_core.cache import Source
from musetalk_core.fingerprints import fingerprint, of_tensors
from tests.core.avatars import Painters


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    for name, content in (("a", b"weights"), ("b", b"weights"), ("c", b"others")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (fingerprint(Painters(vae=Source("vae", tmp_path / name)), "vae") for name in "abc")
    assert a == b == hashlib.sha256(b"weights").hexdigest() != c


def test_a_file_is_read_once_and_again_when_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "vae.pth", []
    real = fingerprints.of_file
    monkeypatch.setattr(fingerprints, "of_file", lambda path: read.append(path) or real(path))
    path.write_bytes(b"weights")
    models = Painters(vae=Source("vae", path))
    assert fingerprint(models, "vae") == fingerprint(models, "vae")
    assert len(read) == 1
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(1, 1))
    assert fingerprint(models, "vae") == hashlib.sha256(b"WEIGHTS").hexdigest()


def test_synthetic_weights_are_called_so() -> None:
    assert fingerprint(Painters(), "dwpose") == "synthetic-small"
    assert fingerprint(Painters(vae=Source("vae", synthetic="full")), "vae") == "synthetic-full"


def test_a_vae_of_the_hosts_tells_its_own(tmp_path: Path) -> None:
    models = Painters(vae=Source("vae", tmp_path / "nowhere"))
    models.host_vae = models.networks.vae
    models.host_vae.fingerprint = lambda: of_tensors({"a": torch.ones(2)})
    assert fingerprint(models, "vae") == "connected-" + of_tensors({"a": torch.ones(2)})


def test_tensors_are_known_by_name_shape_dtype_and_content() -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1.5), "c": torch.zeros(0)}
    assert of_tensors(tensors) == of_tensors(dict(reversed(tensors.items())))
    assert of_tensors(tensors | {"a": tensors["a"].T.contiguous().T}) == of_tensors(tensors)
    for other in (
        {"A": tensors["a"], "b": tensors["b"], "c": tensors["c"]},
        tensors | {"a": tensors["a"].reshape(3, 2)},
        tensors | {"a": tensors["a"].to(torch.bfloat16)},
        tensors | {"b": torch.tensor(1.25)},
        tensors | {"c": torch.zeros(0, dtype=torch.int64)},
    ):
        assert of_tensors(other) != of_tensors(tensors)
