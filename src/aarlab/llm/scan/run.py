"""The post-hoc scan of a lab: event rows, posts and submitted files here, Inspect logs by Inspect Scout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aarlab import settings as settings_file
from aarlab.errors import ConfigError, Infrastructure, InputError
from aarlab.llm.scan.kinds import KINDS
from aarlab.llm.scan.signs import PER_KIND, Sign, joined, kept, signs
from aarlab.llm.scan.steps import Step, of_events
from aarlab.settings import Settings
from aarlab.store import Rows, Store

FILE = "scan.json"
TRANSCRIPTS = "transcripts"
SERVANTS = ("lab", "fleet", "operator", "viewer")
OURS = ("search", "scripted")
"""Kinds of researchers that are the lab's own code; they search constants by design and are not scanned."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Database:
    """What the lab's database shows of the researchers' doings."""

    signs: tuple[Sign, ...]
    researchers: tuple[str, ...]
    counts: dict[str, int]  # "events", "posts", "submissions" that were read
    places: dict[str, tuple[int, int]]  # id of a message -> (turn, event row)


def scan(lab: Path, model: str = "") -> dict[str, Any]:
    """Scan a lab, running or not, and write `<lab>/run/scan.json`; its content is returned.

    model: an Inspect model name that reads the conversations as well; empty: `llm.reader_model`, which may be empty.
    Raises InputError for a folder that is no lab, ConfigError without inspect-scout where there are Inspect logs,
    Infrastructure when Scout fails; the signs of the database are written before that.
    """
    settings = settings_file.read(lab / "lab.toml")
    model = model or settings.llm.reader_model
    logs = sorted((lab / TRANSCRIPTS).glob("*.eval"))
    if logs or model:
        check_installed()
    found = read(lab)
    result = _result(model, found, found.signs)
    _write(lab, result)
    if logs:
        told = scout(lab, found.researchers, model, _base_url(settings, model))
        logged = [placed(Sign(**s), found.places) for s in told["signs"]]
        result = _result(model, found, joined([found.signs, logged]), told, len(logs))
        _write(lab, result)
    return result


def check_installed() -> None:
    """Raises ConfigError without the extra."""
    if find_spec("inspect_scout") is None:
        raise ConfigError("Inspect logs are read with inspect-scout; install it with `pip install 'aarlab[scan]'`")


def placed(sign: Sign, places: dict[str, tuple[int, int]]) -> Sign:
    """A sign of a log with the turn and row of its message: a log counts the turns of its own session only."""
    turn, event = places.get(sign.message, (sign.turn, sign.event))
    return replace(sign, turn=turn, event=event)


def read(lab: Path) -> Database:
    """The signs in the lab's database and artifacts. Raises InputError where there is no database."""
    if not (lab / "lab.db").is_file():
        raise InputError(f"{lab} has no lab.db; a scan reads a whole lab folder")
    store = Store(lab / "lab.db")
    try:
        with store.read() as rows:
            people = [r for r in rows.researchers() if r.kind not in OURS and r.role not in SERVANTS]
            names = tuple(r.name for r in rows.researchers() if r.role == "researcher")
            counts = {"events": 0, "posts": 0, "submissions": 0}
            makers = _makers(rows)
            places: dict[str, tuple[int, int]] = {}
            groups = [signs(_steps(lab, rows, p.name, makers, counts, places), names) for p in people]
    finally:
        store.close()
    return Database(tuple(joined(groups)), names, counts, places)


def _steps(
    lab: Path, rows: Rows, name: str, makers: dict[int, Json], counts: dict[str, int],
    places: dict[str, tuple[int, int]],
) -> Iterator[Step]:  # fmt: skip
    """Everything one researcher did: its conversation, its posts, its submitted files."""

    def events() -> Iterator[Json]:
        for row in rows.events(name):
            counts["events"] += 1
            body = json.loads(row.body)
            if isinstance(message := body.get("message"), dict) and message.get("id"):
                places[message["id"]] = (row.turn, row.id)
            yield vars(row) | {"body": body}

    yield from of_events(name, events())
    for post in rows.posts():
        if post.researcher == name:
            counts["posts"] += 1
            yield Step(name, "posted", f"{post.title}\n{post.body}", post=post.id)
    for row in rows.submissions():
        path = lab / "artifacts" / f"{row.bundle_hash}.py"
        if row.researcher == name and path.is_file():
            counts["submissions"] += 1
            source = path.read_text("utf-8", "replace")
            place = makers.get(row.id, {})
            yield Step(name, "submitted", source, programs=(source,), submission=row.id, **place)


def _makers(rows: Rows) -> dict[int, Json]:
    """Where in a conversation each submission was made."""
    found = {}
    for number, step in rows.makers().items():
        row = next(iter(rows.events(step.researcher, step.id - 1, 1)))
        message = str((json.loads(row.body).get("message") or {}).get("id") or "")
        found[number] = {"turn": row.turn, "log": row.log, "event": row.id, "message": message}
    return found


def scout(lab: Path, researchers: Sequence[str], model: str, base_url: str) -> dict[str, Any]:
    """What Scout found in the Inspect logs, by a process of its own. Raises Infrastructure with its last words."""
    run = (lab / "run").resolve()
    out = run / "scan-logs.json"
    command = [
        sys.executable, "-m", "aarlab.llm.scan.scout", "--transcripts", str((lab / TRANSCRIPTS).resolve()),
        "--scans", str(run / "scans"), "--out", str(out), "--model", model, "--base-url", base_url, "--", *researchers,
    ]  # fmt: skip
    out.unlink(missing_ok=True)
    done = subprocess.run(command, cwd=run, env=dict(os.environ), capture_output=True, text=True)
    if done.returncode or not out.is_file():
        words = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise Infrastructure(f"inspect-scout failed on {lab / TRANSCRIPTS}: {words[0][:300]}")
    told: dict[str, Any] = json.loads(out.read_text("utf-8"))
    out.unlink()
    return told


def _base_url(settings: Settings, model: str) -> str:
    """The fleet's own address, where the reader is a model of the same provider."""
    same = model.split("/")[0] == settings.llm.model.split("/")[0]
    return settings.llm.base_url if model and same else ""


def _result(
    model: str, found: Database, rows: Sequence[Sign], told: dict[str, Any] | None = None, logs: int = 0
) -> dict[str, Any]:
    shown = kept(rows)
    told = told or {}
    return {
        "format": 1,
        "time": time.time(),
        "model": model,
        "sources": {**found.counts, "logs": len(told.get("logs", [])), "unread logs": logs - len(told.get("logs", []))},
        "complete": bool(told.get("complete", True)),
        "errors": told.get("errors", []),
        "counts": {
            kind: sum(s.kind == kind for s in rows) for kind in dict.fromkeys([*KINDS, *(s.kind for s in rows)])
        },
        "left_out": len(rows) - len(shown),
        "most_per_kind": PER_KIND,
        "signs": [s.as_dict() for s in shown],
    }


def _write(lab: Path, result: dict[str, Any]) -> None:
    path = lab / "run" / FILE
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(result, indent=1), "utf-8")
    os.replace(fresh, path)
