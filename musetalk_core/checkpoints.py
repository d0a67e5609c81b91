"""Reading checkpoints as data: nothing a file carries is ever executed.

A PyTorch checkpoint is a pickle, and a pickle may call any function on load. The files of this
field cannot all be read with ``torch.load(weights_only=True)`` either: the published DWPose one is
an mmengine checkpoint that drags training state made of foreign classes along. So one unpickler
reads them all: it knows how to rebuild tensors, and every other class or function a file names is
replaced by `_Inert`, which swallows whatever is done to it and does nothing.
"""

from __future__ import annotations

import pickle
import tarfile
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .errors import WeightsInvalidError

StateDict = dict[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)

_REMEDY = "Delete it and fetch it again (python -m musetalk_core download)."
_MOST_TUPLES_IN_ONE = 2000  # at any depth; hashing 100,000 in each other would overflow the stack


class _Inert:
    """Stands for any object that is not a tensor: accepts every pickle operation, does nothing."""

    dtype = torch.uint8  # what torch asks of a class of storage, should this stand for one

    def __new__(cls, *args: Any, **kwargs: Any) -> _Inert:
        return object.__new__(_Inert)  # ``cls`` is an instance where this stands for a nested class

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> _Inert:
        return self

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_KNOWN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): _tensor,  # PyTorch before 0.4
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}


class _TensorUnpickler(pickle._Unpickler):  # the one written in Python: its operations can be replaced
    dispatch = pickle._Unpickler.dispatch.copy()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tuples_in: dict[int, int] = {}  # by the id of a tuple

    def find_class(self, module: str, name: str) -> Any:
        # Real classes of storages never come from here: torch answers for those it knows beforehand.
        return _KNOWN.get((module, name), _Inert)

    def load_build(self) -> None:
        """Drop the state: it could rename or rewire what is shared by the whole process."""
        self.stack.pop()

    def load_binpersid(self) -> None:
        """Let torch fetch storages only: for a network's class it may write a patch of the source code."""
        saved = self.stack.pop()
        self.append(self.persistent_load(saved) if saved[0] == "storage" else _Inert)

    def weigh_tuple(self) -> None:
        made = self.stack[-1]
        inside = sum(1 + self._tuples_in.get(id(item), 0) for item in made if type(item) is tuple)
        if inside > _MOST_TUPLES_IN_ONE:
            raise pickle.UnpicklingError("too many tuples in each other")
        self._tuples_in[id(made)] = inside


def _then_weigh(load_tuple: Callable[[_TensorUnpickler], None]) -> Callable[[_TensorUnpickler], None]:
    def load(unpickler: _TensorUnpickler) -> None:
        load_tuple(unpickler)
        unpickler.weigh_tuple()

    return load


_TensorUnpickler.dispatch[pickle.BUILD[0]] = _TensorUnpickler.load_build
_TensorUnpickler.dispatch[pickle.BINPERSID[0]] = _TensorUnpickler.load_binpersid
for _operation in pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3:
    _TensorUnpickler.dispatch[_operation[0]] = _then_weigh(_TensorUnpickler.dispatch[_operation[0]])

_TENSORS_ONLY = types.ModuleType("tensors_only_pickle")
_TENSORS_ONLY.Unpickler = _TensorUnpickler  # type: ignore[attr-defined]
_TENSORS_ONLY.load = lambda file, **kwargs: _TensorUnpickler(file, **kwargs).load()  # type: ignore[attr-defined]


def read_state_dict(path: Path) -> StateDict:
    """Read the tensors of a checkpoint without executing anything in it.

    Reads ``.safetensors``, PyTorch's zip and legacy formats, and unwraps the usual nesting
    (``state_dict``, ``model_state_dict``, ``model``). Large zip files are memory-mapped.

    Args:
        path: The checkpoint file.

    Returns:
        Tensor names to CPU tensors, in the dtype they were stored in.

    Raises:
        WeightsInvalidError: the file is truncated, not a checkpoint, or holds no tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(
                str(path),
                map_location="cpu",
                pickle_module=_TENSORS_ONLY,
                weights_only=False,  # the unpickler above is stricter: it never calls what a file names
                mmap=_is_plain_zip(path),
            )
    except Exception as error:  # torch and pickle raise a dozen unrelated types for a damaged file
        raise WeightsInvalidError(
            f"{path} is not a readable checkpoint: it is damaged or cut short "
            f"({path.stat().st_size} bytes; {type(error).__name__}).",
            _REMEDY,
        ) from error
    state = _unwrap(content)
    if not state:
        raise WeightsInvalidError(f"{path} holds no tensors.", _REMEDY)
    return state


def _is_plain_zip(path: Path) -> bool:
    """Whether torch takes the file for a zip; refuses what it would not read with our unpickler alone."""
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            file.seek(0)
            if "constants.pkl" in torch._C.PyTorchFileReader(file).get_all_records():
                raise pickle.UnpicklingError("a TorchScript program, which would run as it is loaded")
            return True
    if tarfile.is_tarfile(path):
        raise pickle.UnpicklingError("a tar archive, whose links would be followed as it is unpacked")
    return False


def _unwrap(content: Any) -> StateDict:
    if not isinstance(content, Mapping):
        return {}
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}


def load_network(create: Callable[[], Network], path: Path) -> Network:
    """Build a network and fill it from a checkpoint in its own naming.

    Args:
        create: Builds the network with untrained weights.
        path: The checkpoint file.

    Raises:
        WeightsInvalidError: the file is damaged or of another network.
    """
    state = read_state_dict(path)
    with torch.device("meta"):
        network = create()
    return fill_network(network, state, path)


def fill_network(network: Network, state: StateDict, path: Path) -> Network:
    """Give ``network`` the tensors of ``state``, which must match it name by name and shape by shape.

    Floating-point tensors become float32. Each tensor is copied, one at a time, because it may be a
    view of the file: a file overwritten in place would take the process down with it.

    Args:
        network: The network, on any device.
        state: The tensors, in the network's own naming.
        path: Where they came from, for the error.

    Returns:
        ``network``, in evaluation mode, its parameters frozen.

    Raises:
        WeightsInvalidError: names or shapes differ; the message says which and how many.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    differing = [name for name, shape in expected.items() if found.get(name) != shape]
    if differing:
        name = differing[0]
        raise WeightsInvalidError(
            f"{path} does not fit the {type(network).__name__} network: tensor {name} should have shape "
            f"{expected[name]} but is {found.get(name, 'missing')} "
            f"({len(differing)} of {len(expected)} tensors differ).",
            "Put the published file there; it may be the file of another network or release.",
        )
    network.load_state_dict({name: _own(state[name]) for name in expected}, assign=True)
    return network.eval().requires_grad_(False)


def _own(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
