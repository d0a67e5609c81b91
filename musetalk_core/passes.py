"""As much at once through a network as the memory holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from .errors import NoRoomError

if TYPE_CHECKING:
    from .models import Models

log = logging.getLogger(__name__)

Result = TypeVar("Result")

# What torch and its libraries say, whatever they raise: CUDA, MPS and Windows, Linux, cuBLAS and cuDNN.
_SAID = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")

_fits: WeakKeyDictionary[Models, dict[str, int]] = WeakKeyDictionary()  # by stage, where memory ran out once


def in_passes(
    models: Models, stage: str, items: Any, size: int, work: Callable[[Any], Result]
) -> Iterator[tuple[Any, Result]]:
    """Does the work on some items a pass at a time, on fewer at once where the memory is too small for so many.

    Where it runs out for the first time, all networks leave the device, so that the one in use has it to itself.
    Where it runs out again, passes are halved; the smaller size is kept for as long as the models are used, and told
    once.

    Args:
        models: The networks.
        stage: What the work is, for messages, and what is remembered by.
        items: A list or an array.
        size: How many a pass, at least 1.
        work: Gets the items of a pass. It asks `models` for its network each time, and leaves no trace of a pass
            that broke off.

    Yields:
        The items of each pass, in order, and what the work gave.

    Raises:
        NoRoomError: The memory is too small for one item alone.
    """
    fits = _fits.setdefault(models, {})
    done, alone, halved = 0, False, False
    while done < len(items):
        part = items[done : done + min(size, fits.get(stage, size))]
        result = _attempt(work, part)
        if result is None:
            if alone and len(part) == 1:
                fits.pop(stage, None)  # who tries again has perhaps made room
                raise NoRoomError(
                    f"The memory is too small for {stage}, even with one at a time.",
                    "Close what else uses it, choose the precision fp16, or scale the frames down.",
                )
            if len(part) > 1:
                halved = stage in fits
                fits[stage] = len(part) // 2 if halved else len(part)
            models.cache.residency.free()
            alone = True
            continue
        if halved:
            log.warning(
                "MuseTalk: the memory is too small for %s %d at once, from now on %d", stage, size, fits[stage]
            )
        done, alone, halved = done + len(part), False, False
        yield part, result


def _attempt(work: Callable[[Any], Result], part: Any) -> Result | None:
    """What the work gives; None where memory ran out. By then nothing holds what it had made, as its error does."""
    try:
        return work(part)
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not any(words in str(error).lower() for words in _SAID):
            raise
    return None
