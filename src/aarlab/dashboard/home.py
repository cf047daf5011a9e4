"""Every lab of a folder, without opening them all: settings, locks and written reports say enough."""

from __future__ import annotations

import contextlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aarlab.dashboard.lab import Json
from aarlab.dashboard.labs import Labs
from aarlab.fleet.lock import holder
from aarlab.problems import base

SHOWN = 200


def page(labs: Labs, starting: Sequence[Json] = ()) -> Json:
    """The twin: {"folder", "labs", "starting", "problems", "more"}; `more` is how many older labs are left out."""
    names = labs.names()
    return {
        "folder": str(labs.root),
        "labs": [row(labs.root / name) for name in names[:SHOWN]],
        "more": max(0, len(names) - SHOWN),
        "starting": list(starting),
        "problems": list(base.names()),
    }


def row(folder: Path) -> Json:
    """One lab as far as its files tell cheaply."""
    settings, report = _settings(folder), _report(folder)
    record = (report.get("record") or {}).get("pgr")
    board = report.get("leaderboard") or []
    best = record or (board[0].get("pgr") if board else None)
    return {
        "name": folder.name,
        "problem": str(settings.get("problem", "")),
        "researchers": len(settings.get("researchers", [])),
        "kinds": sorted({str(r.get("kind", "search")) for r in settings.get("researchers", [])}),
        "made": (folder / "lab.toml").stat().st_mtime,
        "state": state(folder, report),
        "headline": str(report.get("headline", "")),
        "pgr": best,
        "of_record": bool(record),
        "dollars": (report.get("costs") or {}).get("dollars"),
    }


def state(folder: Path, report: Json) -> str:
    if holder(folder) is not None:
        return "running" if (folder / "run" / "server.json").is_file() else "starting"
    if not (folder / "lab.db").is_file():
        return "broken"
    return "done" if (report.get("run") or {}).get("done") else "stopped"


def _settings(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        return tomllib.loads((folder / "lab.toml").read_text("utf-8"))
    return {}


def _report(folder: Path) -> Json:
    """The report written last; nothing where there is none, or where it is damaged."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((folder / "report" / "report.json").read_text("utf-8"))
        if isinstance(found, dict):
            return found
    return {}
