"""How MuseTalk Avatar Prepare left its folders, so that it runs again when somebody else was there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class AvatarMemory:
    """What the host is to remember results under, besides their inputs.

    That is a number, the same from run to run while an avatar's folder and the widgets are as the node left them. It
    grows when the avatar was prepared elsewhere, with other settings by another node, or removed.

    Args:
        changed: Changes when the avatar of a name is prepared anew, or removed.
    """

    def __init__(self, changed: Callable[[str], int]) -> None:
        self._changed = changed
        self._left: dict[str, tuple[int, dict[str, Any], int]] = {}

    def key(self, name: str, widgets: Mapping[str, Any]) -> int:
        """What to remember the result under.

        Args:
            name: The avatar's.
            widgets: Values by name; None for those that another node gives.
        """
        if name not in self._left:
            return 0
        change, left, key = self._left[name]
        same = all(value is None or left.get(widget) == value for widget, value in widgets.items())
        return key if same and self._changed(name) == change else key + 1

    def leave(self, name: str, widgets: Mapping[str, Any], key: int) -> None:
        """Remember how an avatar is after it was prepared.

        Args:
            name, widgets: As for `key`.
            key: What it gave before.
        """
        self._left[name] = self._changed(name), dict(widgets), key
