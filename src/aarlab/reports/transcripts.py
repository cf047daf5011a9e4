"""Where in a researcher's conversation something was made, and the address at which Inspect View shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aarlab.errors import InputError

SCAN = "scan.json"

VIEW = "http://127.0.0.1:7575/"
"""Where `aarlab transcripts` opens Inspect View, if no port is given."""


@dataclass(frozen=True)
class Place:
    """A position. `log`: a file under `transcripts/`, or empty for a researcher without Inspect logs."""

    researcher: str
    log: str
    session: int
    turn: int
    event: int | None = None  # number of the event row
    message: str = ""  # id of the message in the log

    def text(self) -> str:
        """`transcripts/FILE · turn 12`, or `turn 12` where there is no file."""
        return f"transcripts/{self.log} · turn {self.turn}" if self.log else f"turn {self.turn}"

    def link(self) -> str:
        """Inspect View's address: the log, the researcher's sample in it, and the message; empty without a log."""
        if not self.log:
            return ""
        where = f"#/logs/{quote(self.log, safe='')}/samples/sample/{quote(self.researcher, safe='')}/1/transcript"
        return VIEW + where + (f"?message={quote(self.message, safe='')}" if self.message else "")

    def as_dict(self) -> dict[str, str | int | None]:
        return {
            "log": self.log, "session": self.session, "turn": self.turn, "event": self.event, "message": self.message,
            "link": self.link(),
        }  # fmt: skip


def scan_of(lab: Path) -> dict[str, Any] | None:
    """The newest scan of a lab; None where there was none. Raises InputError for a file that cannot be understood."""
    path = lab / "run" / SCAN
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); remove it and run `aarlab scan {lab}`") from None
    return found
