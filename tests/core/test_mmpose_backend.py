"""DWPose by mmpose: its answers are used, its way of reading checkpoints is not."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from musetalk_core import mmpose_backend, observing
from musetalk_core.cache import ByteBudget, ModelCache, Source
from musetalk_core.cli import main
from musetalk_core.errors import InputError, WeightsInvalidError
from musetalk_core.models import Models
from musetalk_core.networks import s3fd
from musetalk_core.releases import RELEASES
from tests.core.stand_ins import SAMPLE

WEIGHT = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


class MakesAFolder:
    """Makes one when it is unpickled as Python would."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def write_checkpoint(path: Path, **more: object) -> Path:
    torch.save({"state_dict": {"weight": WEIGHT, "bias": torch.zeros(2)}, "meta": {"epoch": 270}, **more}, path)
    return path


def models_with(path: Path | None) -> Models:
    sources = {
        "dwpose": Source("dwpose", path) if path else Source("dwpose", synthetic="small"),
        "s3fd": Source("s3fd", synthetic="small"),
    }
    return Models(RELEASES["1.5"], sources, torch.float32, ModelCache(ByteBudget(torch.device("cpu"))))


@pytest.fixture(autouse=True)
def _nothing_remembered():
    mmpose_backend._load.cache_clear()
    yield
    mmpose_backend._load.cache_clear()


@pytest.fixture
def mmpose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A package that looks like mmpose: it finds each point where the brightest blue pixel is."""
    asked = SimpleNamespace(inits=[], pictures=[], weights=[])

    def init_model(config: str, checkpoint: str | None = None, device: str = "cuda:0") -> nn.Module:
        asked.inits.append((config, checkpoint, device))
        return nn.Linear(2, 2).to(device)

    def inference_topdown(model: nn.Module, picture: np.ndarray) -> list[SimpleNamespace]:
        asked.pictures.append(picture)
        asked.weights.append(model.weight.detach().clone())
        assert not model.training
        y, x = np.unravel_index(picture[..., 0].argmax(), picture.shape[:2])  # blue comes first with mmpose
        found = SimpleNamespace(
            keypoints=np.full((1, 133, 2), (x, y), np.float64), keypoint_scores=np.full((1, 133), 0.9)
        )
        return [SimpleNamespace(pred_instances=found)]

    package, apis = ModuleType("mmpose"), ModuleType("mmpose.apis")
    package.__file__ = str(tmp_path / "site-packages" / "mmpose" / "__init__.py")
    package.apis, apis.init_model, apis.inference_topdown = apis, init_model, inference_topdown
    monkeypatch.setitem(sys.modules, "mmpose", package)
    monkeypatch.setitem(sys.modules, "mmpose.apis", apis)
    return asked


def frames() -> list[np.ndarray]:
    """Three frames whose brightest blue pixel, and another, redder one, are elsewhere in each."""
    made = []
    for i in range(3):
        frame = np.zeros((40, 60, 3), np.uint8)
        frame[10 + i, 20 + 2 * i] = (0, 0, 255)
        frame[0, 0] = (255, 0, 0)
        made.append(frame)
    return made


def test_its_points_are_used(mmpose: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3fd, "detect", lambda network, batch: [np.array([[1, 2, 30, 35, 0.9]])] * len(batch))
    models = models_with(write_checkpoint(tmp_path / "dwpose.pth"))
    seen = observing.observe_faces(models, frames(), 2, mmpose_backend.BACKENDS["mmpose"](models))
    assert seen.landmarks.shape == (3, 68, 2) and seen.scores.shape == (3, 68)
    assert [points[0].tolist() for points in seen.landmarks] == [[20, 10], [22, 11], [24, 12]]
    assert np.allclose(seen.scores, 0.9) and seen.scores.dtype == np.float32
    assert models.cache.loads["dwpose"] == 0  # ours is not even loaded


def test_it_is_given_our_reading_of_the_checkpoint(mmpose: SimpleNamespace, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    path = write_checkpoint(tmp_path / "dwpose.pth", message_hub=MakesAFolder(trap))
    points, scores = mmpose_backend.estimator(models_with(path))(frames())
    assert points.shape == (3, 133, 2) and scores.shape == (3, 133)
    assert points.dtype == scores.dtype == np.float32
    assert all(torch.equal(weight, WEIGHT) for weight in mmpose.weights)
    assert not trap.exists()
    ((config, checkpoint, device),) = mmpose.inits
    assert checkpoint is None and device == "cpu"
    assert config.startswith(str(tmp_path / "site-packages" / "mmpose")) and "384x288" in config


def test_it_is_set_up_once(mmpose: SimpleNamespace, tmp_path: Path) -> None:
    models = models_with(write_checkpoint(tmp_path / "dwpose.pth"))
    for _ in range(3):
        mmpose_backend.estimator(models)(frames()[:1])
    assert len(mmpose.inits) == 1 and len(mmpose.pictures) == 3


def test_a_checkpoint_of_another_network_is_refused(mmpose: SimpleNamespace, tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(3, 3)}}, tmp_path / "dwpose.pth")
    with pytest.raises(WeightsInvalidError, match="does not fit"):
        mmpose_backend.estimator(models_with(tmp_path / "dwpose.pth"))


def test_without_mmpose_the_error_says_what_to_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmpose", None)
    with pytest.raises(InputError, match="mmpose") as failure:
        mmpose_backend.estimator(models_with(write_checkpoint(tmp_path / "dwpose.pth")))
    assert "torch backend" in failure.value.remedy


@pytest.mark.parametrize("trouble", ["assert False, 'MMCV 9 is incompatible'", "import no_such_mmcv", "1 / 0"])
def test_a_broken_mmpose_is_told_as_such(trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose mmcv is of the wrong version fails on an assertion."""
    (tmp_path / "mmpose").mkdir()
    (tmp_path / "mmpose" / "__init__.py").write_text(trouble)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mmpose", raising=False)
    with pytest.raises(InputError, match=r"working mmpose .*(incompatible|no_such_mmcv|division)") as failure:
        mmpose_backend.estimator(models_with(write_checkpoint(tmp_path / "dwpose.pth")))
    assert "torch backend" in failure.value.remedy


def test_an_mmpose_without_its_configuration_is_told_as_such(
    mmpose: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init_model(config: str, **_: object) -> nn.Module:
        raise FileNotFoundError(config)

    monkeypatch.setattr(sys.modules["mmpose.apis"], "init_model", init_model)
    with pytest.raises(InputError, match=r"working mmpose .*rtmpose-l_8xb32"):
        mmpose_backend.estimator(models_with(write_checkpoint(tmp_path / "dwpose.pth")))


def test_it_needs_real_weights(mmpose: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="real weights") as failure:
        mmpose_backend.estimator(models_with(None))
    assert "torch backend" in failure.value.remedy


def test_the_command_line_says_so_too(tmp_path: Path, capsys: pytest.CaptureFixture, one_cache: None) -> None:
    arguments = ["--source", str(SAMPLE / "face.jpg"), "--audio", str(SAMPLE / "voice.wav")]
    arguments += ["--output", str(tmp_path / "out.mp4"), "--weights", "synthetic", "--backend", "mmpose"]
    assert main(["run", *arguments]) == 1
    assert "mmpose needs real weights" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_default_is_our_own() -> None:
    assert mmpose_backend.BACKENDS["torch"](models_with(None)) is None
