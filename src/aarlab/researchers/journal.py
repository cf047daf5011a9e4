"""A researcher's memory on disk: one line of JSON per event, appended; a killed process goes on where it was.

Intentions are written before they are carried out, with the key that makes repeating them harmless. What was intended
and not confirmed is sent again, word for word, under the same key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class Journal:
    """Events in `path`. A last line that was cut off by a kill is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.events = list(_read(path))
        whole = "".join(json.dumps(e) + "\n" for e in self.events)
        if path.exists() and path.read_text("utf-8", errors="replace") != whole:
            part = path.with_name(f".{path.name}.part")
            part.write_text(whole, "utf-8")
            part.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def add(self, kind: str, **values: Any) -> Json:
        """Append one event; it is on disk when this returns."""
        event = {"event": kind, **values}
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.events.append(event)
        return event

    def of(self, kind: str) -> list[Json]:
        return [e for e in self.events if e["event"] == kind]

    def unconfirmed(self, kind: str, done: str) -> list[Json]:
        """Events of `kind` whose `key` no event `done` carries."""
        confirmed = {e["key"] for e in self.of(done)}
        return [e for e in self.of(kind) if e["key"] not in confirmed]

    def close(self) -> None:
        self._file.close()


def _read(path: Path) -> Iterator[Json]:
    if not path.exists():
        return
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            return  # the torn end of the file
        if not isinstance(event, dict) or "event" not in event:
            return
        yield event
