"""The operator's messages on their way into a language model's conversation.

What counts as told is what is written down: a message is marked with its number when it enters the conversation, and
the marks in the written messages, after a restart those in the event rows, say up to where the researcher has heard.
So none is lost with a killed process, and none comes twice.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from aarlab.llm import prompts

MARK = re.compile(r"^\[message (\d+) from the operator\]", re.MULTILINE)


class Mail:
    """One researcher's. `heard`: number of the newest message that its conversation holds, 0 for none."""

    def __init__(self) -> None:
        self.heard = 0
        self._waiting: dict[int, str] = {}  # number -> text
        self._lock = threading.Lock()

    def take(self, messages: Sequence[dict[str, Any]]) -> None:
        """What the lab handed over: {id, text}."""
        with self._lock:
            self._waiting |= {m["id"]: m["text"] for m in messages if m["id"] > self.heard}

    def written(self, texts: Iterable[str]) -> None:
        """These entered the conversation as messages to the model; any of ours among them is told."""
        numbers = [int(found) for text in texts for found in MARK.findall(text)]
        with self._lock:
            self.heard = max([self.heard, *numbers])
            self._waiting = {n: text for n, text in self._waiting.items() if n > self.heard}

    def text(self) -> str:
        """All that waits, as one text in their order; empty where nothing does."""
        with self._lock:
            waiting = sorted(self._waiting.items())
        return "\n\n".join([*(prompts.message(n, text) for n, text in waiting), *([prompts.TOLD] if waiting else [])])
