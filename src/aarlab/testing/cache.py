"""A prompt cache as providers bill it: the part of a prompt that was seen before costs less."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from aarlab.testing.conversation import tokens

FLOOR = 1024
"""Tokens below which nothing is cached, as with the providers."""


@dataclass(frozen=True)
class Input:
    """Tokens of a prompt: read from the cache, written to it, and neither."""

    read: int
    written: int
    fresh: int

    @property
    def total(self) -> int:
        return self.read + self.written + self.fresh


class PromptCache:
    """Prefixes by hash, one list of messages per key and model; the oldest are forgotten beyond `size`."""

    def __init__(self, size: int = 100_000, floor: int = FLOOR) -> None:
        self.size, self.floor = size, floor
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, owner: str, parts: list[Any], keep: bool = True) -> Input:
        """Tokens of a prompt given in parts (tools, system, then messages); `keep`: write what was not there."""
        digest = hashlib.blake2b(owner.encode(), digest_size=16)
        total, read = 0, 0
        with self._lock:
            for part in parts:
                text = part if isinstance(part, str) else json.dumps(part, separators=(",", ":"), ensure_ascii=False)
                digest.update(text.encode("utf-8", "surrogatepass"))
                total += tokens(text)
                if self._known(digest.digest(), keep) and total >= self.floor:
                    read = total
        written = total - read if keep and total >= self.floor else 0
        return Input(read, written, total - read - written)

    def _known(self, key: bytes, keep: bool) -> bool:
        if key in self._seen:
            self._seen.move_to_end(key)
            return True
        if keep:
            self._seen[key] = None
            if len(self._seen) > self.size:
                self._seen.popitem(last=False)
        return False
