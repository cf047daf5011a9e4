"""What the scan of the transcripts found (`aarlab scan`), for the report. Quotes are data, shown as they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aarlab.reports.data import RunData
from aarlab.reports.transcripts import Place

READ = ("llm", "cli", "human")
"""Kinds of researchers that a scan reads."""


@dataclass(frozen=True)
class Shown:
    """One sign with its place."""

    kind: str
    researcher: str
    sentence: str
    quote: str
    by: str
    outcome: str
    place: Place | None
    submission: int | None
    post: int | None


def signs(data: RunData) -> list[Shown]:
    """The signs in the order of the scan."""
    return [_shown(s) for s in data.scan["signs"]] if data.scan else []


def _shown(sign: dict[str, Any]) -> Shown:
    known = bool(sign["turn"] or sign["log"])
    place = Place(sign["researcher"], sign["log"], 0, sign["turn"], sign["event"], sign["message"]) if known else None
    keep = ("kind", "researcher", "sentence", "quote", "by", "outcome", "submission", "post")
    return Shown(**{k: sign[k] for k in keep}, place=place)


def sentence(data: RunData) -> str:
    """What was read and found, in one or two sentences; empty where nobody was to be read."""
    if data.scan is None:
        people = any(r.kind in READ for r in data.researchers)
        return "The transcripts were not scanned; `aarlab scan` does it." if people else ""
    names = {"events": "event rows", "posts": "posts", "submissions": "submitted files", "logs": "Inspect logs"}
    sources = ", ".join(f"{data.scan['sources'][k]:,} {name}" for k, name in names.items() if data.scan["sources"][k])
    who = f"patterns and {data.scan['model']}" if data.scan["model"] else "patterns"
    counts = ", ".join(f"{n} {kind}" for kind, n in data.scan["counts"].items() if n)
    text = f"Read by {who}: {sources or 'nothing'}. Signs: {counts or 'none'}."
    if unread := data.scan["sources"]["unread logs"]:
        text += f" {unread} Inspect logs could not be read; what the event rows hold of them was."
    if not data.scan["complete"]:
        text += " The scan did not finish: " + "; ".join(data.scan["errors"][:3])
    return text


def document(data: RunData) -> dict[str, Any] | None:
    """`scan` of report.json; null where nothing was scanned."""
    if data.scan is None:
        return None
    keep = ("time", "model", "sources", "complete", "errors", "counts", "left_out", "signs")
    return {k: data.scan[k] for k in keep}


def context(data: RunData) -> dict[str, Any]:
    """What the templates show."""
    return {"scan": data.scan, "scan_sentence": sentence(data), "signs": signs(data)}
