"""Execution trace: what the method's process did or tried beside computing, in every run of the examination."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aarlab.audits.base import BASE, Audit, Results
from aarlab.execution.base import Event
from aarlab.execution.events import FORBIDDEN, SEEN, forbidden
from aarlab.records import Finding

MOST_LISTED = 40
"""Different events of each sort that the details list."""

BLIND = "an interpreter that a method brings with it leaves no trace"


class ExecutionTrace(Audit):
    """The number of forbidden events: programs, processes, sockets, C functions, code made from text, and the like.

    0 is clean. What honest code may do as well (a file opened outside the libraries, an import) is listed and not
    counted. The kernel refuses the worst of it in any case. A method that runs a stranger's program step by step, in an
    interpreter written by hand, shows nothing here: the teacher and student audits are for that.
    """

    name = "execution-trace"
    channel = "execution"
    title = "what the process did"
    level = "quick"

    def measure(self, results: Results) -> Finding:
        counted = [e for e in results.events if forbidden(e)]
        total = sum(e.count for e in counted)
        seen = [e for e in results.events if not forbidden(e)]
        sentence = f"the method {_tried(counted)}; {BLIND}"
        details = {"forbidden": _listed(counted), "seen": _listed(seen)}
        items = len(results.get(BASE)[0].rows)
        return Finding(self.name, self.channel, "measured", sentence, total, total, total, items, details)


def _tried(counted: Iterable[Event]) -> str:
    """Each kind of forbidden thing once, in words."""
    kinds = {e.kind: e for e in counted}
    if not kinds:
        return "did nothing that it may not do"
    return "did or tried what it may not: it " + ", ".join(FORBIDDEN[kind] for kind in kinds)


def _listed(found: Iterable[Event]) -> list[dict[str, Any]]:
    words = {**FORBIDDEN, **SEEN}
    events = list(found)[:MOST_LISTED]
    return [{"kind": e.kind, "detail": e.detail, "count": e.count, "what": words.get(e.kind, e.kind)} for e in events]
