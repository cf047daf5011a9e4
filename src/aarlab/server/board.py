"""Ready-made replies for what is asked often, and a bell for those who wait.

All writes of a lab pass through one process, so a reply stays right until somebody tells the board of a change.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

TOPICS = {
    "scores": ("status", "leaderboard", "methods", "post"),
    "running": ("status",),
    "posts": ("post",),
    "people": (),
}
"""Which replies a change makes stale: the part of a reply's name before the colon."""


class Board:
    def __init__(self) -> None:
        self.replies: dict[str, dict[str, tuple[str, bytes]]] = {}
        self.version = 0
        self.bell = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.lock = threading.Lock()

    def changed(self, topic: str) -> None:
        """Called from any thread after a commit."""
        with self.lock:
            self.version += 1
            for kind in TOPICS[topic]:
                self.replies.pop(kind, None)
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        self.bell.set()
        self.bell = asyncio.Event()

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

    async def wait(self, bell: asyncio.Event, timeout: float) -> None:
        """Until `bell`, taken before one looked, rings for a change, or `timeout` seconds."""
        self.loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(bell.wait(), timeout)
        except TimeoutError:
            return
