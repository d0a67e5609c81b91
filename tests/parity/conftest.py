"""Reference results: the project's copies, or another folder of the same files (``--golden-dir``)."""

from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def golden(request):
    folder = request.config.getoption("--golden-dir")
    return lambda name: np.load(folder / f"{name}.npz")


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.parity)
