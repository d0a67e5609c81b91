"""Remembering what was computed from a tensor, for as long as the tensor lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import TypeVar

from torch import Tensor

Value = TypeVar("Value")


class TensorMemo:
    """Results by the tensor they were computed from and a key.

    The tensor itself is the key, not a hash of its content: a host hands the same cached tensor to
    every run of a graph, and hashing minutes of video would cost more than it saves. Nothing is kept
    alive: an entry goes when its tensor does.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Tensor], dict[Hashable, object]]] = {}

    def get(self, tensor: Tensor, key: Hashable, compute: Callable[[], Value]) -> Value:
        """The remembered result, or that of ``compute()``, which is then remembered."""
        name = id(tensor)
        entry = self._entries.get(name)
        if entry is None or entry[0]() is not tensor:
            entry = weakref.ref(tensor, lambda _: self._entries.pop(name, None)), {}
            self._entries[name] = entry
        results = entry[1]
        if key not in results:
            results[key] = compute()
        return results[key]
