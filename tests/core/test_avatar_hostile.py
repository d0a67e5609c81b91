"""An avatar from elsewhere: it loads and speaks, or is refused with a reason, whatever stands in it."""

from __future__ import annotations

import copy
import json
import random
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from musetalk_core.avatar import Preparation
from musetalk_core.avatar_store import avatar_info, list_avatars, open_avatar, prepare_avatar
from musetalk_core.errors import InputError, MuseTalkError
from musetalk_core.face_options import FaceOptions
from tests.core.avatars import Looked, Painters, no_stages, spoken_by, steady
from tests.core.jobs import bursts, face_film

SAID = bursts(0.4, (0.0,), lasting=0.3)
CHOSEN = Preparation(faces=FaceOptions(upright=True))


@pytest.fixture
def ann(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_skin: None) -> Path:
    Looked(monkeypatch)
    prepare_avatar(Painters(), steady(face_film(7)), tmp_path / "Ann", CHOSEN, no_stages)
    return tmp_path / "Ann"


def file_of(folder: Path, kind: str) -> Path:
    return folder / json.loads((folder / "avatar.json").read_text())["parts"][kind]["file"]


def speaks(folder: Path) -> bool:
    """Whether it speaks; where it does not, a reason is given."""
    list_avatars(folder.parent)
    try:
        avatar_info(folder)
        avatar = open_avatar(folder, Painters())
        slow = avatar.fps < 1  # and so would be the test, or say nothing
        frames = [] if slow else spoken_by(avatar, Painters(), SAID)
    except MuseTalkError as error:
        assert error.cause and error.remedy
        return False
    assert all(frame.shape == (64, 64, 3) and frame.dtype == np.uint8 for frame in frames)
    return True


# avatar.json


def places(data: object, path: tuple = ()) -> Iterator[tuple]:
    """Ways to every value in it."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


STRANGE = st.one_of(
    st.sampled_from([None, True, False, [], {}, [[]], [None], {"a": 1}, [0] * 7]),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 0.5, 1e308, -0.0, 1e-300]),
    st.sampled_from(
        [
            "",
            "25",
            "1/0",
            "0",
            "9999999999",
            "1/9999999999",
            "../x",
            "1e999999999",
            "9" * 5000,
            "\ud800",
            "x\0",
            "/etc/passwd",
            "NaN",
        ]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(-3, 9), max_size=9),
)


NO_RECORDS = [
    *(b"", b"\xff\xfe", b"\0" * 99, b"null", b"[]", b"{}", b"NaN", b'"musetalk-avatar"'),
    *(b"[" * 100_000, b'{"format":' * 100_000),
    *(b'{"format": "musetalk-avatar", "version": 1}', b'{"format": "musetalk-face-track", "version": 1}'),
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_the_record(ann: Path, data: st.DataObject) -> None:
    path = ann / "avatar.json"
    if not (ann.parent / "good.json").exists():
        shutil.copy(path, ann.parent / "good.json")
    record = json.loads((ann.parent / "good.json").read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from(list(places(record))))
        holder = record
        for key in way:
            holder = holder[key]
        if data.draw(st.booleans()) and isinstance(holder, dict):
            del holder[last]
        else:
            holder[last] = copy.deepcopy(data.draw(STRANGE))
    path.write_text(json.dumps(record))
    speaks(ann)


@pytest.mark.parametrize("content", NO_RECORDS, ids=lambda content: repr(content[:20]))
def test_a_record_that_is_none_is_refused(ann: Path, content: bytes) -> None:
    (ann / "avatar.json").write_bytes(content)
    with pytest.raises(InputError, match="is no avatar of version 1"):
        open_avatar(ann, Painters())
    assert list_avatars(ann.parent) == []


@pytest.mark.parametrize(
    "name",
    ["../{}", "/{}", "./{}", "{}/", "{}\n", "C:{}", "x{}", "frames-1.mkv", "frames-0000000g.mkv", "avatar.json"],
)
@pytest.mark.parametrize("kind", ["frames", "seen", "latents", "masks"])
def test_only_files_beside_it_can_be_named(ann: Path, kind: str, name: str) -> None:
    path = ann / "avatar.json"
    real = file_of(ann, kind)
    shutil.copy(real, ann.parent / real.name)
    record = json.loads(path.read_text())
    record["parts"][kind]["file"] = name.format(real.name)
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="is not the name of a file"):
        open_avatar(ann, Painters())


def test_not_a_number_is_refused(ann: Path) -> None:
    path = ann / "avatar.json"
    path.write_text(path.read_text().replace('"smoothing": 0.3', '"smoothing": NaN'))
    with pytest.raises(InputError, match="NaN is no number"):
        open_avatar(ann, Painters())


# The other files


@pytest.mark.parametrize("kind", ["frames", "seen", "latents", "masks"])
def test_a_damaged_file_speaks_or_is_refused(ann: Path, kind: str) -> None:
    path, chance = file_of(ann, kind), random.Random(0)
    raw, outcomes = path.read_bytes(), set()
    for trial in range(40):
        spoilt = bytearray(raw)
        end = 400 if trial % 2 else len(raw)  # the heads are the most delicate
        for _ in range(chance.choice((1, 1, 30))):
            spoilt[chance.randrange(end)] = chance.randrange(256)
        path.unlink()
        path.write_bytes(spoilt[: chance.randrange(len(raw))] if trial % 5 == 0 else spoilt)
        outcomes.add(speaks(ann))
    assert False in outcomes


@pytest.mark.parametrize("kind", ["frames", "seen", "latents", "masks"])
def test_a_missing_file_is_refused(ann: Path, kind: str) -> None:
    file_of(ann, kind).unlink()
    assert not speaks(ann)


@pytest.mark.parametrize("kind", ["frames", "seen", "latents", "masks"])
def test_a_file_of_another_avatar_is_refused(ann: Path, kind: str) -> None:
    prepare_avatar(Painters(), steady(face_film(9)), ann.parent / "Bob", CHOSEN, no_stages)
    shutil.copy(file_of(ann.parent / "Bob", kind), file_of(ann, kind))
    assert not speaks(ann) or kind == "frames"  # longer films hold shorter ones


def rewrite(path: Path, **changes: torch.Tensor) -> None:
    tensors = {name: value.clone() for name, value in load_file(path).items()}
    path.unlink()
    save_file(tensors | changes, path)


@pytest.mark.parametrize(
    "latents",
    [torch.zeros(4, 8, 32, 32), torch.zeros(5, 8, 32, 32).half(), torch.zeros(5, 8, 32), torch.zeros(5, 4, 64, 32)],
    ids=lambda latents: f"{latents.dtype} {list(latents.shape)}",
)
def test_latents_of_another_shape_are_refused(ann: Path, latents: torch.Tensor) -> None:
    rewrite(file_of(ann, "latents"), latents=latents)
    assert not speaks(ann)


def test_strange_numbers_in_latents_are_only_painted(ann: Path) -> None:
    rewrite(file_of(ann, "latents"), latents=torch.full((5, 8, 32, 32), float("nan")))
    assert speaks(ann)


@pytest.mark.parametrize("change", ["back", "beyond", "negative", "fewer", "bomb", "short", "noise"])
def test_masks_out_of_place_are_refused(ann: Path, change: str) -> None:
    path = file_of(ann, "masks")
    tensors = load_file(path)
    offsets, data = tensors["offsets"].clone(), tensors["data"].clone()
    if change == "back":
        offsets[2] = offsets[1] - 1
    elif change == "beyond":
        offsets[-1] += 10**12
    elif change == "negative":
        offsets[0] = -5
    elif change == "fewer":
        offsets = offsets[:-1].clone()
    else:
        content = {"bomb": zlib.compress(bytes(1 << 26)), "short": zlib.compress(bytes(9)), "noise": b"noise" * 9}
        data = torch.frombuffer(bytearray(content[change]), dtype=torch.uint8)
        offsets = torch.tensor([0, *[len(data)] * 5])
    rewrite(path, offsets=offsets, data=data)
    assert not speaks(ann)


def test_faces_far_away_or_huge_are_refused(ann: Path) -> None:
    path = file_of(ann, "seen")
    good = path.read_text()
    for number in (10**6, -(10**6), 10**12, 2**62, -(2**62), 10**40):
        seen = json.loads(good)
        seen["frames"][2]["landmarks"][8] = [number, number]
        path.write_text(json.dumps(seen))
        assert not speaks(ann)
    for margin in (10**6, 2**31):
        record = json.loads((ann / "avatar.json").read_text())
        record["settings"]["extra_margin"] = margin
        path.write_text(good)
        (ann / "avatar.json").write_text(json.dumps(record))
        assert not speaks(ann)


def test_a_face_track_of_any_kind_is_only_read(ann: Path) -> None:
    path = file_of(ann, "seen")
    good = json.loads(path.read_text())
    for change in ({"fps": "1e999999999"}, {"fps": "1/0"}, {"frames": []}, {"frames": None}, {"width": -64}):
        path.write_text(json.dumps(good | change))
        assert not speaks(ann)
    path.write_bytes(b"[" * 100_000)
    assert not speaks(ann)
