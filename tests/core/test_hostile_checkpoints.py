"""Checkpoints made to do harm: nothing in them runs, and the process outlives them."""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import io
import os
import pickle
import runpy
import struct
import subprocess
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from musetalk_core.checkpoints import read_state_dict
from musetalk_core.errors import WeightsInvalidError

FORMATS = [pytest.param(True, id="zip"), pytest.param(False, id="legacy")]
WEIGHT = torch.arange(6.0).reshape(2, 3)


# Pickles that call


class Call:
    """Pickled as a call of ``function``, which may be the result of another `Call`."""

    def __init__(self, function: Callable, *args: object) -> None:
        self._call = function, args

    def __call__(self) -> None: ...

    def __reduce__(self) -> tuple:
        return self._call


def touch(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


def by_hub(marker: Path) -> Call:
    (marker.parent / "hubconf.py").write_text(f"def model():\n    {touch(marker)}\n")
    return Call(functools.partial(torch.hub.load, source="local"), str(marker.parent), "model")


def by_script(marker: Path) -> Call:
    script = marker.with_name("script.py")
    script.write_text(touch(marker))
    return Call(runpy.run_path, str(script))


def by_torch_load(marker: Path) -> Call:
    inner = io.BytesIO()
    torch.save(Call(exec, touch(marker)), inner)
    return Call(torch.storage._load_from_bytes, inner.getvalue())


def by_getattr(marker: Path) -> Call:
    return Call(Call(getattr, Call(importlib.import_module, "os"), "mkdir"), str(marker))


CALLS = {
    "os.system": lambda marker: Call(os.system, f"echo > {marker}"),
    "subprocess": lambda marker: Call(subprocess.getoutput, f"echo > {marker}"),
    "exec": lambda marker: Call(exec, touch(marker)),
    "eval": lambda marker: Call(eval, touch(marker)),
    "open": lambda marker: Call(builtins.open, str(marker), "w"),
    "getattr": by_getattr,
    "runpy": by_script,
    "torch.hub.load": by_hub,
    "torch.load": by_torch_load,
    "pickle.loads": lambda marker: Call(pickle.loads, pickle.dumps(Call(exec, touch(marker)))),
}


def remove(marker: Path) -> None:
    marker.rmdir() if marker.is_dir() else marker.unlink()


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_a_call_in_a_checkpoint_is_not_made(call: str, protocol: int, zipped: bool, tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "x.pth"
    content = {"meta": CALLS[call](marker), "state_dict": OrderedDict(weight=WEIGHT)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    torch.load(path, weights_only=False)
    assert marker.exists(), "the attack works on an ordinary reader"
    remove(marker)

    assert torch.equal(read_state_dict(path)["weight"], WEIGHT)
    assert not marker.exists()


@pytest.mark.parametrize("zipped", FORMATS)
def test_a_call_as_the_whole_checkpoint_is_not_made(zipped: bool, tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "x.pth"
    torch.save(Call(exec, touch(marker)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsInvalidError, match="holds no tensors"):
        read_state_dict(path)
    assert not marker.exists()


# Pickles that no pickler writes


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value)) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def stack_name(module: str, attribute: str) -> bytes:
    return text(module) + text(attribute) + pickle.STACK_GLOBAL


def dictionary(**items: bytes) -> bytes:
    return pickle.EMPTY_DICT + b"".join(text(key) + value + pickle.SETITEM for key, value in items.items())


def integer(value: int) -> bytes:
    return pickle.BININT + struct.pack("<i", value)


def write_with(operations: bytes, path: Path, zipped: bool) -> Path:
    """A sound checkpoint whose pickle first runs ``operations``, which leave one value on the stack."""
    sound = io.BytesIO()
    torch.save({"weight": WEIGHT}, sound, _use_new_zipfile_serialization=zipped)
    sound.seek(0)
    inserted = operations + pickle.POP
    if zipped:
        with zipfile.ZipFile(sound) as source, zipfile.ZipFile(path, "w") as target:
            for entry in source.namelist():
                content = source.read(entry)
                if entry.endswith("/data.pkl"):
                    content = content[:2] + inserted + content[2:]  # the first two bytes tell the protocol
                target.writestr(entry, content)
    else:
        for _ in range(3):  # magic number, version, system
            pickle.load(sound)
        start = sound.tell() + 2
        whole = sound.getvalue()
        path.write_bytes(whole[:start] + inserted + whole[start:])
    return path


@contextlib.contextmanager
def nothing_happens(folder: Path) -> Iterator[None]:
    """torch stays as it is, and no file appears."""
    rebuild = torch._utils._rebuild_tensor_v2

    def state() -> tuple:
        inside = rebuild.__name__, rebuild.__defaults__, dict(vars(rebuild))
        return dict(vars(torch._utils)), inside, sorted(folder.iterdir())

    before = state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert state() == before


REBUILD = name("torch._utils", "_rebuild_tensor_v2")


def set_attribute(of: bytes, state: bytes, **slots: bytes) -> bytes:
    return of + state + dictionary(**slots) + pickle.TUPLE2 + pickle.BUILD


def patching(marker: Path) -> bytes:
    """torch "repairs" a class whose source code differs from that in the file, by writing a patch."""
    state = dictionary(dump_patches=pickle.NEWTRUE)
    renamed = set_attribute(REBUILD, state, __name__=text(str(marker)))  # the patch is called after it
    source = pickle.MARK + text("module") + REBUILD + text("x.py") + text("import os\n") + pickle.TUPLE
    return renamed + pickle.POP + source + pickle.BINPERSID


def foreign_allocator(_: Path) -> bytes:
    """A storage that is asked to take its memory from an allocator at an address of the file's choice."""
    arguments = integer(16) + pickle.TUPLE1 + dictionary(allocator=integer(0x41414141))
    return name("torch", "UntypedStorage") + arguments + pickle.NEWOBJ_EX


def call(module: str, function: str, *arguments: str) -> bytes:
    return name(module, function) + pickle.MARK + b"".join(map(text, arguments)) + pickle.TUPLE + pickle.REDUCE


ODD = {
    "patch": patching,
    "allocator": foreign_allocator,
    "changed function": lambda _: set_attribute(REBUILD, pickle.NONE, __defaults__=pickle.NONE),
    "dotted storage": lambda _: name("torch", "FloatStorage._new_shared") + pickle.EMPTY_TUPLE + pickle.REDUCE,
    "storage of another module": lambda _: call("os", "systemStorage", "ls"),
    "lazy module": lambda _: name("torch", "_inductor"),
    "copyreg": lambda _: call("copyreg", "add_extension", "os", "system"),
    "codecs": lambda _: call("_codecs", "encode", "x", "hex"),
    "class made by a call": lambda _: call("builtins", "getattr", "x") + pickle.EMPTY_TUPLE + pickle.NEWOBJ,
    "old instance": lambda marker: pickle.MARK + text(str(marker)) + pickle.INST + b"os\nmkdir\n",
    "deep lists": lambda _: pickle.EMPTY_LIST * 200_000 + pickle.APPEND * 199_999,
    "deep dictionaries": lambda _: (
        (pickle.EMPTY_DICT + pickle.NONE) * 100_000 + pickle.EMPTY_DICT + pickle.SETITEM * 100_000
    ),
    "far memo": lambda _: pickle.NONE + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f",
    "foreign id": lambda _: text("somewhere") + pickle.TUPLE1 + pickle.BINPERSID,
}


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("trick", ODD)
def test_a_trick_changes_nothing_and_the_tensors_are_read(trick: str, zipped: bool, tmp_path: Path) -> None:
    path = write_with(ODD[trick](tmp_path / "marker"), tmp_path / "x.pth", zipped)
    with nothing_happens(tmp_path):
        assert torch.equal(read_state_dict(path)["weight"], WEIGHT)


def nested_tuple(depth: int, twice: bool = False) -> bytes:
    one = pickle.DUP + pickle.TUPLE2 if twice else pickle.TUPLE1
    return pickle.EMPTY_TUPLE + one * depth


def as_key(value: bytes) -> bytes:
    return pickle.EMPTY_DICT + value + pickle.NONE + pickle.SETITEM


def storage(key: bytes, count: bytes) -> bytes:
    return pickle.MARK + text("storage") + name("torch", "FloatStorage") + key + text("cpu") + count


FATAL = {
    "entry of a dotted name": stack_name("torch._utils", "_rebuild_tensor_v2.__globals__")
    + text("x")
    + pickle.NONE
    + pickle.SETITEM,
    "deep tuple": as_key(nested_tuple(1_000_000)),
    "wide tuple": as_key(nested_tuple(60, twice=True)),
    "deep tuple in a set": pickle.EMPTY_SET + pickle.MARK + nested_tuple(1_000_000) + pickle.ADDITEMS,
    "deep key of a storage": storage(nested_tuple(1_000_000), integer(1)) + pickle.TUPLE + pickle.BINPERSID,
    "missing storage": storage(text("777"), integer(-5)) + pickle.TUPLE + pickle.BINPERSID,
    "id that is no tuple": integer(5) + pickle.BINPERSID,
    "id in text": pickle.PERSID + b"storage\n",
    "empty stack": pickle.POP * 3,
    "no such operation": b"\xff",
    "unknown extension": pickle.EXT1 + b"\x07",
    "unknown memo": pickle.BINGET + b"\xfe",
    "long beyond the file": pickle.LONG4 + b"\xff\xff\xff\x7f",
    "bytes beyond the file": pickle.BINBYTES8 + b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    "frame beyond the file": pickle.FRAME + b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    "outside buffer": pickle.NEXT_BUFFER,
    "state of nothing": pickle.BUILD,
}


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("damage", FATAL)
def test_a_pickle_that_cannot_be_read_is_told(damage: str, zipped: bool, tmp_path: Path) -> None:
    path = write_with(FATAL[damage], tmp_path / "x.pth", zipped)
    with nothing_happens(tmp_path), pytest.raises(WeightsInvalidError, match="not a readable checkpoint"):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (7,), (1,)),
        (0, (2, 3), (1000, 1)),
        (1_000_000, (1,), (1,)),
        (-1, (2,), (1,)),
        (5, (6,), (-1,)),
        (0, (-6,), (1,)),
        (0, (2**62, 4), (1, 1)),
        (0, (2,), (2**62,)),
        (0, (2, 3), (1,)),
    ],
)
def test_a_tensor_outside_its_storage_is_told(
    offset: int, size: tuple, stride: tuple, zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reduce(tensor: torch.Tensor, protocol: int) -> tuple:
        place = tensor._typed_storage(), offset, size, stride, False, OrderedDict()
        return torch._utils._rebuild_tensor_v2, place

    monkeypatch.setattr(torch.Tensor, "__reduce_ex__", reduce)
    torch.save({"weight": WEIGHT}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    monkeypatch.undo()
    with pytest.raises(WeightsInvalidError, match="not a readable checkpoint"):
        read_state_dict(tmp_path / "x.pth")


# Files of which torch.load makes something else than a pickle


class Program(nn.Module):
    """TorchScript, which runs a program's ``__setstate__`` as it is loaded."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target
        self.weight = torch.zeros(4)

    @torch.jit.export
    def __getstate__(self):
        return self.target

    @torch.jit.export
    def __setstate__(self, target: str):
        self.target = target
        self.training = False
        self.weight = torch.from_file(target, True, 4)  # makes the file


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_program_is_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "x.pth"
    torch.jit.script(Program(str(marker))).save(str(path))
    torch.load(path, weights_only=False)
    assert marker.exists(), "the attack works on an ordinary reader"
    marker.unlink()
    with pytest.raises(WeightsInvalidError, match="not a readable checkpoint"):
        read_state_dict(path)
    assert not marker.exists()


def test_the_links_of_a_tar_archive_are_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "x.pth"
    victim.touch(0o600)
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("storages")
        link.type, link.linkname, link.mode = tarfile.LNKTYPE, str(victim), 0o666
        archive.addfile(link)
    with pytest.raises(WeightsInvalidError, match="not a readable checkpoint"):
        read_state_dict(path)
    assert victim.stat().st_mode & 0o777 == 0o600 and victim.stat().st_nlink == 1
