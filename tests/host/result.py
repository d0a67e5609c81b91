"""What came of running a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TERMINAL_STATUS = {
    "execution_success": "success",
    "execution_error": "error",
    "execution_interrupted": "interrupted",
}


@dataclass(frozen=True)
class Result:
    """One finished prompt.

    `status` is "success", "error" or "interrupted"; `outputs` is what the history lists per node id;
    `messages` are the WebSocket's JSON messages ({"type", "data"}) in order, the terminal one last;
    `previews` is the number of preview images that came between them.
    """

    status: str
    outputs: dict[str, Any]
    messages: tuple[dict[str, Any], ...]
    previews: int

    def data(self, message_type: str) -> list[dict[str, Any]]:
        """The data of every message of one type."""
        return [message["data"] for message in self.messages if message["type"] == message_type]

    @property
    def error(self) -> str | None:
        """The text of the exception that ended the prompt, if one did."""
        return next((data["exception_message"] for data in self.data("execution_error")), None)

    @property
    def executed(self) -> list[str]:
        """The ids of the nodes that really ran, in order of their start."""
        started = (data["node"] for data in self.data("executing"))
        return list(dict.fromkeys(node for node in started if node is not None))

    @property
    def cached(self) -> set[str]:
        """The ids of the nodes whose results the host still had."""
        return {node for data in self.data("execution_cached") for node in data["nodes"]}
