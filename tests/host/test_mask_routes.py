"""What the panels are given, as those see it who use the host without its frontend."""

from __future__ import annotations

import io
import json
from urllib.error import HTTPError

import numpy as np
import pytest
from PIL import Image

from tests.host.graphs import speaking


def test_without_a_frontend_the_panels_are_small_data(comfy):
    entry = comfy.wait(comfy.queue(speaking(seconds=0.08)), timeout=120)
    (shift,), (mask,) = entry["outputs"]["landmarks"]["musetalk_shift"], entry["outputs"]["blend"]["musetalk_mask"]
    assert len(json.dumps([shift, mask])) < 2500
    assert Image.open(io.BytesIO(comfy.view(shift["picture"]))).size == (256, 256)
    url = f"/musetalk/mask/{mask['id']}?mask_mode=neck&cheek_width=90"
    picture = np.asarray(Image.open(io.BytesIO(comfy.get_bytes(url))))
    assert picture.ndim == 3 and picture.shape[0] == picture.shape[1]
    for query in ("mask_mode=neck", "mask_mode=nose&cheek_width=90", "mask_mode=jaw&cheek_width=9" + "9" * 5000):
        refused(comfy, f"/musetalk/mask/{mask['id']}?{query}", 400)
    refused(comfy, "/musetalk/mask/unknown?mask_mode=jaw&cheek_width=90", 404)


def test_masks_of_older_runs_are_forgotten(comfy):
    graph, names = speaking(seconds=0.08), []
    for i in range(9):
        graph["blend"]["inputs"]["cheek_width"] = 60 + i
        entry = comfy.wait(comfy.queue(graph), timeout=120)
        names.append(entry["outputs"]["blend"]["musetalk_mask"][0]["id"])
    query = "?mask_mode=jaw&cheek_width=90"
    refused(comfy, f"/musetalk/mask/{names[0]}{query}", 404)
    assert comfy.get_bytes(f"/musetalk/mask/{names[-1]}{query}")
    assert len(set(names)) == len(names)


def refused(comfy, path: str, status: int) -> None:
    with pytest.raises(HTTPError) as caught:
        comfy.get_bytes(path)
    assert caught.value.code == status
    assert set(json.load(caught.value)) == {"error", "remedy"}
