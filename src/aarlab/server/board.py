"""Ready-made replies for what is asked often, and a bell for those who wait.

All writes of a lab pass through one process, so a reply stays right until somebody tells the board of a change.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable
from typing import Any

TOPICS = {
    "scores": ("status", "leaderboard", "methods"),
    "running": ("status",),
    "posts": (),
    "people": (),
}
"""Which replies a change makes stale: the part of a reply's name before the colon."""


class Bell:
    """Rings when something changes after it was taken. Use as a context manager."""

    def __init__(self, board: Board) -> None:
        self.board, self.loop, self.event = board, asyncio.get_running_loop(), asyncio.Event()

    def __enter__(self) -> Bell:
        with self.board.lock:
            self.board.bells.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        with self.board.lock:
            self.board.bells.discard(self)

    async def wait(self, timeout: float) -> None:
        """Until it rings, or `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.event.wait(), timeout)

    def ring(self) -> None:
        """From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop of the one who waited has ended
            self.loop.call_soon_threadsafe(self.event.set)


class Board:
    def __init__(self) -> None:
        self.replies: dict[str, dict[str, tuple[str, bytes]]] = {}
        self.version = 0
        self.bells: set[Bell] = set()
        self.lock = threading.Lock()

    def changed(self, topic: str) -> None:
        """Called from any thread after a commit."""
        with self.lock:
            self.version += 1
            for kind in TOPICS[topic]:
                self.replies.pop(kind, None)
            bells = list(self.bells)
        for bell in bells:
            bell.ring()

    def get(self, kind: str, key: str, make: Callable[[], tuple[str, Any]]) -> tuple[str, bytes]:
        """(owner, JSON bytes) of a reply, made at most once per change."""
        with self.lock:
            found = self.replies.get(kind, {}).get(key)
            before = self.version
        if found is None:
            owner, value = make()
            found = owner, json.dumps(value, allow_nan=False).encode()
            with self.lock:
                if self.version == before:  # else it may be stale already
                    self.replies.setdefault(kind, {})[key] = found
        return found
