"""The tool calls of the newest answer: which call is a tool carrying out, and so under which key does it write?"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from inspect_ai.tool import ToolCall


class Calls:
    """Inspect does not tell a tool its call's id; it is found by function and arguments, each id once."""

    def __init__(self) -> None:
        self.waiting: list[ToolCall] = []
        self.made: dict[str, tuple[str, int]] = {}  # call id -> ("submission" | "post", number)
        self._last = ""

    def start(self, calls: Sequence[ToolCall]) -> None:
        """These are carried out next, in this order."""
        self.waiting, self.made = list(calls), {}

    def key(self, function: str, arguments: dict[str, Any]) -> str:
        """The id of the call that is being carried out."""
        same = [c for c in self.waiting if c.function == function]
        exact = [c for c in same if all(arguments.get(k) == v for k, v in c.arguments.items())]
        for call in exact or same:
            self.waiting.remove(call)
            self._last = call.id
            return call.id
        self._last = uuid.uuid4().hex  # not asked for by this conversation's model (a bridged program's call)
        return self._last

    def note(self, kind: str, number: int) -> None:
        """The running call made a submission or a post."""
        self.made[self._last] = (kind, number)
