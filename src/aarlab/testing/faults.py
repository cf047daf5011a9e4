"""When the scripted provider fails, and how.

    every:5:429              every 5th request is answered 429
    at:12:malformed          the 12th request (also at:12-15:500)
    outage:40:30             from request 40 on, for 30 seconds, every request fails (529; outage:40:30:500 for another)
    outage-at:60:30:503      the same, 60 seconds after the server started
    share:0.05:timeout       5 % of the requests, the same ones in every run

`r3/every:3:empty` does so to researcher r3 alone, and counts r3's requests alone. Numbers count from 1. A request for
the number of tokens or the list of models is never counted.

    400 401 403 404 429 500 502 503 529   that status, in the wire format's own words; 429 says retry-after
    slow=SECONDS      answers after that time (2 where none is given)
    timeout           does not answer until the client gives up, at most 15 minutes
    drop              closes the connection after the first part of the answer
    midway            begins a stream, then sends an error event (500 where nothing is streamed)
    truncate          cut at the token limit, in the middle of a tool call's arguments
    malformed         a tool call whose arguments are not JSON
    empty             an answer without text and tool call
    silent            an answer without its tool calls
    wrong             tool calls with arguments that the tool does not have
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from dataclasses import dataclass

from aarlab.errors import ConfigError

STATUSES = (400, 401, 403, 404, 429, 500, 502, 503, 529)
KINDS = ("slow", "timeout", "drop", "midway", "truncate", "malformed", "empty", "silent", "wrong")
OUTAGE = "529"
FORM = re.compile(r"(?:(?P<who>[^/:]+)/)?(?P<when>every|at|outage|outage-at|share):(?P<rest>.+)")


@dataclass(frozen=True)
class Fault:
    """One line of the schedule. kind: a status or one of KINDS. first, last: request numbers; seconds: of an outage."""

    when: str
    kind: str
    first: float
    last: float = 0
    seconds: float = 0.0
    delay: float = 2.0
    who: str = ""

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Raises ConfigError with the forms that are known."""
        found = FORM.fullmatch(text.strip())
        if found is None:
            raise ConfigError(
                f"fault {text!r}: write every:N:KIND, at:N:KIND, at:N-M:KIND, outage:N:SECONDS[:KIND], "
                "outage-at:SECONDS:SECONDS[:KIND] or share:P:KIND, with r3/ before it for one researcher"
            )
        when, parts = found["when"], found["rest"].split(":")
        try:
            if when.startswith("outage"):
                first, seconds, *kind = parts
                made = cls(when, kind[0] if kind else OUTAGE, float(first), seconds=float(seconds))
            else:
                number, kind_text = parts
                first, _, last = number.partition("-")
                made = cls(when, kind_text, float(first), float(last or first))
        except ValueError:
            raise ConfigError(f"fault {text!r}: {when}: takes numbers and a kind between colons") from None
        return made._checked(text, found["who"] or "")

    def _checked(self, text: str, who: str) -> Fault:
        kind, _, delay = self.kind.partition("=")
        if kind not in KINDS and kind not in map(str, STATUSES):
            known = ", ".join([*map(str, STATUSES), *KINDS])
            raise ConfigError(f"fault {text!r}: {kind!r} is no kind of fault; known: {known}")
        if self.first <= 0 or (self.when == "share" and self.first > 1):
            raise ConfigError(f"fault {text!r}: {self.first:g} must be above 0, and a share at most 1")
        return Fault(self.when, kind, self.first, self.last, self.seconds, float(delay or 2.0), who)


class Faults:
    """The schedule at work; counts requests. Safe between threads."""

    def __init__(self, lines: tuple[str, ...] | list[str] = ()) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()  # by researcher; "" is everybody
        self._began: dict[Fault, float] = {}  # outages that have begun
        self.set(lines)

    def set(self, lines: tuple[str, ...] | list[str]) -> None:
        """A new schedule. Requests stay counted; outages begin anew. Raises ConfigError and then changes nothing."""
        faults = tuple(Fault.parse(line) for line in lines)
        with self._lock:
            self.faults, self._began = faults, {}

    def next(self, who: str, now: float) -> Fault | None:
        """Count a request of researcher `who`, `now` seconds after the server started: its fault, if any."""
        with self._lock:
            self._counts[""] += 1
            self._counts[who] += 1
            for fault in self.faults:
                if fault.who in ("", who) and self._hits(fault, self._counts[fault.who], now):
                    return fault
        return None

    @property
    def counted(self) -> int:
        return self._counts[""]

    def _hits(self, fault: Fault, number: int, now: float) -> bool:
        if fault.when == "every":
            return number % int(fault.first) == 0
        if fault.when == "at":
            return fault.first <= number <= fault.last
        if fault.when == "share":
            digest = hashlib.sha256(f"{fault.who}/{number}".encode()).digest()
            return bool(int.from_bytes(digest[:4], "big") < fault.first * 2**32)
        if fault.when == "outage":
            if number < fault.first:
                return False
            return now - self._began.setdefault(fault, now) < fault.seconds
        return fault.first <= now < fault.first + fault.seconds
