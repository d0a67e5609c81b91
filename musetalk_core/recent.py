"""Remembering the latest results, up to a size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Values by key, of which the least recently used go when they are together larger than ``limit``.

    A short clip played again and again is computed once; a long one is computed anew where it is
    shown again, in bounded memory.

    Args:
        limit: Of all values, such as bytes.
        size: Of a value.
    """

    def __init__(self, limit: int, size: Callable[[Value], int]) -> None:
        self._limit = limit
        self._size = size
        self._entries: OrderedDict[Key, Value] = OrderedDict()
        self._held = 0

    def all(self, keys: Iterable[Key], compute: Callable[[list[Key]], Iterable[Value]]) -> dict[Key, Value]:
        """The values of all the keys, of which those not remembered are computed in one call.

        Args:
            keys: Any number; more values than fit are still returned, only not all remembered.
            compute: Gets the missing keys in order, gives their values.
        """
        found = {key: self._entries.get(key) for key in keys}
        new = [key for key, value in found.items() if value is None]
        found.update(zip(new, compute(new), strict=True) if new else ())
        for key, value in found.items():
            if key in self._entries:
                self._entries.move_to_end(key)
                continue
            self._entries[key] = value
            self._held += self._size(value)
            while self._held > self._limit:
                self._held -= self._size(self._entries.popitem(last=False)[1])
        return found
