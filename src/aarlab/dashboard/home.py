"""Every lab of the folder at a glance, without opening any, and the form that starts a run.

Of a lab that nobody looks at, `lab.toml`, the lock of its supervisor and its last report say enough; what was read of
them is kept until the files change.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aarlab import settings as settings_file
from aarlab.dashboard import compare
from aarlab.dashboard.kept import Kept
from aarlab.dashboard.lab import Json, Snapshot
from aarlab.dashboard.labs import Labs
from aarlab.dashboard.run import estimate
from aarlab.errors import AarlabError
from aarlab.fleet import plan
from aarlab.fleet.lock import holder
from aarlab.problems import base
from aarlab.settings import Budget, Scoring, Settings

READING_SECONDS = 0.3  # of one page for reports that were not read before; the others follow with the next page
MOST_BYTES = 30_000_000  # of a report

Stamp = tuple[str, int, int]

SETTINGS: Kept[Stamp, Settings | str] = Kept(2000)
REPORTS: Kept[Stamp, Json] = Kept(2000)

RESEARCHERS = 9


def page(labs: Labs, starting: Sequence[Json]) -> Json:
    """starting: {"name", "state", "text"} of runs that were started here and have no folder yet."""
    end = time.monotonic() + READING_SECONDS
    rows = [_row(labs, name, end) for name in labs.names()]
    return {
        "folder": str(labs.root),
        "labs": rows,
        "unread": sum(row["unread"] for row in rows),
        "starting": [dict(s) for s in starting],
        "form": form(),
        "counts": {state: sum(r["state"] == state for r in rows) for state in ("running", "stopped", "done")},
    }


def form() -> Json:
    """What the form of a new run offers: problems, and the defaults of `aarlab run`."""
    budget, scoring = Budget(), Scoring()
    return {
        "problems": base.names(), "problem": Settings().problem, "researchers": RESEARCHERS, "minutes": budget.minutes,
        "answers": budget.answers, "seeds": scoring.seeds, "isolations": ["bwrap", "gvisor", "process"],
    }  # fmt: skip


# One lab


def _row(labs: Labs, name: str, end: float) -> Json:
    seen = labs.seen(name)
    if seen is not None:
        return of_open(seen)
    try:
        return of_closed(labs.root / name, end)
    except OSError as error:  # gone or changed under our eyes
        return {**NOTHING, "lab": name, "error": f"{labs.root / name}: {error.strerror}"}


NOTHING: Json = {
    "lab": "", "state": "unreadable", "phase": "", "problem": "", "made": None, "fleet": "", "directions": "",
    "isolation": "", "best": None, "what": "", "headline": "", "dollars": None, "verified": None, "unread": False,
    "error": "",
}  # fmt: skip
"""A row about which nothing is known."""


def of_open(lab: Snapshot) -> Json:
    """The row of a lab whose snapshot is there."""
    best, record = compare.top(lab), compare.of_record(lab)
    shown = record.as_dict() if record else estimate(best.pgr, best.drawn) if best else None
    what = "record" if record else "feedback" if best else ""
    return {
        **NOTHING, **_about(lab.settings), "lab": lab.name, "state": lab.state, "phase": lab.phase,
        "made": lab.started, "best": shown, "what": what, "dollars": round(lab.costs["dollars"], 4),
        "verified": len(lab.entries),
    }  # fmt: skip


def of_closed(folder: Path, end: float) -> Json:
    """The row of a lab that stays closed. end: until when (monotonic) unknown reports may be read."""
    known = _settings(folder / "lab.toml")
    row = {**NOTHING, "lab": folder.name, "made": (folder / "lab.toml").stat().st_mtime}
    if isinstance(known, str):
        return {**row, "error": known}
    if not (folder / "lab.db").is_file():
        return {**row, **_about(known), "error": f"{folder.name} has no lab.db: it is being made, or was cut short"}
    found, read = _report(folder / "report" / "report.json", end)
    state = "done" if found.get("done") else "stopped"
    if holder(folder) is not None:
        state = "running" if (folder / "run" / "server.json").is_file() else "starting"
    return {**row, **_about(known), **{k: v for k, v in found.items() if k != "done"}, "state": state,
            "unread": not read}  # fmt: skip


def _about(settings: Settings) -> Json:
    given = [bool(r.direction) for r in settings.researchers if r.kind != "human"]
    return {
        "problem": settings.problem, "fleet": plan.crew(settings), "isolation": settings.isolation.kind,
        "directions": "directed" if given and all(given) else "partly directed" if any(given) else "undirected",
    }  # fmt: skip


def _stamp(path: Path) -> Stamp:
    about = path.stat()
    return str(path), about.st_mtime_ns, about.st_size


def _settings(path: Path) -> Settings | str:
    """A lab's settings, or why they cannot be read."""
    stamp = _stamp(path)
    found = SETTINGS.get(stamp)
    if found is None:
        try:
            found = SETTINGS.put(stamp, settings_file.read(path))
        except AarlabError as error:
            found = SETTINGS.put(stamp, str(error))
    return found


def _report(path: Path, end: float) -> tuple[Json, bool]:
    """What the last report says, and whether that is known: a large one waits for the next page."""
    try:
        stamp = _stamp(path)
    except OSError:
        return {}, True  # none was written
    found = REPORTS.get(stamp)
    if found is None and time.monotonic() > end:
        return {}, False
    return (found if found is not None else REPORTS.put(stamp, _read(path, stamp[2]))), True


def _read(path: Path, size: int) -> Json:
    """The few numbers of a report that the list shows; nothing of one that is damaged or of another form."""
    if size > MOST_BYTES:
        return {}
    try:
        return _numbers(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _numbers(report: Any) -> Json:
    run, record = report["run"], report["record"]["pgr"]
    rows = [row["pgr"] for row in report["leaderboard"] if row["pgr"] and row["ranked"]]
    best = record if run["done"] and record else max(rows, key=lambda e: float(e["mean"]), default=None)
    return {
        "headline": str(report["headline"]), "phase": str(run["phase"]), "done": bool(run["done"]),
        "best": best, "what": "" if best is None else "record" if best is record else "feedback",
        "dollars": float(report["costs"]["dollars"]), "verified": len(report["leaderboard"]),
    }  # fmt: skip
