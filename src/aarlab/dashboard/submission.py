"""One submission: its code and what changed, what was measured on which seed, what it depends on, who spoke of it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

import altair as alt

from aarlab.dashboard.charts import Chart
from aarlab.dashboard.lab import Json, Snapshot, sealed, source
from aarlab.dashboard.leaderboard import outcome, ranking, track
from aarlab.dashboard.run import estimate
from aarlab.errors import InputError, UnknownName
from aarlab.records import Finding, Judgement, Score, Submission
from aarlab.reports import audited, figures
from aarlab.reports.data import Audited
from aarlab.reports.text import plain
from aarlab.reports.transcripts import Place
from aarlab.store import Rows, Store

SHOWN_SOURCE = 200_000  # characters
MOST_RELATIVES = 40
STATES = {
    "queued": "It waits for a free place; the lab runs submissions in order.",
    "running": "The lab is running it on hidden data, with its own seeds.",
    "failed": "It did not run to its end; `aarlab try FILE` shows the full traceback on the open task.",
    "timed_out": "It took longer than the lab allows for a seed; see `scoring.timeout` in lab.toml.",
    "refused": "The lab did not run it: what it does is not allowed, or a budget was spent.",
    "scored": "",
}


def page(lab: Snapshot, store: Store, number: int, query: dict[str, str]) -> Json:
    """query: `against`, the submission whose code this one's is compared with (default: its parent)."""
    s = lab.submissions.get(number)
    if s is None:
        raise UnknownName(f"{lab.name} has no submission {number}; it has {len(lab.submissions)}")
    with store.read() as rows:
        findings = rows.findings(s.repeat_of or number).get(s.repeat_of or number, [])
        history = rows.judgements(number)
        lines = [vars(x) for x in rows.lines_about(number)]
        posts = [{"post": p.id, "kind": p.kind, "title": p.title, "researcher": p.researcher, "created": p.created}
                 for p in rows.citing(number)]  # fmt: skip
        scores = list(_scores(lab, rows, number))
        place = _place(rows, number)
    text, trouble = _source(lab, number)
    return {
        **head(lab, s), "place": place.text() if place else "", "link": place.link() if place else "",
        "state_means": STATES[s.status], "scores": scores, "findings": [_finding(f) for f in findings],
        "verdicts": [_verdict(j) for j in history], "ledger": lines, "posts": posts, "source": text,
        "trouble": trouble, "difference": difference(lab, s, text, query.get("against", "")),
        "ancestors": ancestors(lab, s), "descendants": descendants(lab, number),
        "repeats": [n for n, other in lab.submissions.items() if other.repeat_of == number][:MOST_RELATIVES],
        "sealed": sealed(lab),
    }  # fmt: skip


def head(lab: Snapshot, s: Submission) -> Json:
    entry = lab.entry(s.id)
    return {
        "submission": s.id, "name": s.name, "researcher": s.researcher, "status": s.status, "reason": s.reason or "",
        "answer": s.answer or "", "declared": s.track, "family": lab.families.get(s.id, ""), "note": s.note,
        "claim": s.claimed_pgr, "created": s.created, "finished": s.finished, "parent": s.parent,
        "repeat_of": s.repeat_of, "ranked": s.ranked, "remark": s.remark, "bundle_hash": s.bundle_hash,
        "winner": s.id == lab.winner, "rank": ranking(lab).get(s.id),
        "track": track(lab, entry) if entry else s.track, "outcome": outcome(lab, entry) if entry else "",
        "pgr": None if entry is None else estimate(entry.pgr, entry.drawn),
        "lead": None if entry is None or entry.lead is None else entry.lead.as_dict(),
        "record": None if sealed(lab) or entry is None or entry.record is None else entry.record.as_dict(),
    }  # fmt: skip


def _source(lab: Snapshot, number: int) -> tuple[str, str]:
    """(the method file, what is wrong with it)."""
    try:
        return source(lab, number)[:SHOWN_SOURCE], ""
    except InputError as error:
        return "", str(error)


def _scores(lab: Snapshot, rows: Rows, number: int) -> Iterator[Json]:
    """Per task and seed; record and transfer runs only once the run has ended."""
    for e in rows.evaluations_of(number):
        hidden = sealed(lab) and e.purpose in ("record", "transfer")
        if e.purpose == "audit" or hidden:
            continue
        scores: list[Score] = rows.scores(e.id)
        yield {
            "purpose": e.purpose, "problem": e.problem, "task": e.task, "status": e.status, "reason": e.reason or "",
            "pgr": sum(x.pgr for x in scores) / len(scores) if scores else None,
            "seeds": [{"seed": x.seed_index, "accuracy": x.accuracy, "pgr": x.pgr, "items": x.items,
                       "cpu_seconds": x.cpu_seconds} for x in scores],
        }  # fmt: skip


def _place(rows: Rows, number: int) -> Place | None:
    step = rows.makers(number).get(number)
    if step is None:
        return None
    found = next(iter(rows.events(step.researcher, step.id - 1, 1)))
    message = str((json.loads(found.body).get("message") or {}).get("id") or "")
    return Place(step.researcher, step.log, step.session, step.turn, step.id, message)


def _finding(f: Finding) -> Json:
    return {
        "audit": f.audit, "channel": f.channel, "status": f.status, "sentence": f.sentence, "value": f.value,
        "low": f.low, "high": f.high, "items": f.items,
    }  # fmt: skip


def _verdict(j: Judgement) -> Json:
    v = j.verdict
    return {"time": j.time, "by": j.by, "outcome": v.outcome, "track": v.track, "reason": v.reason, "uses": v.row,
            "level": j.level}  # fmt: skip


# Code


def difference(lab: Snapshot, s: Submission, text: str, against: str) -> Json | None:
    """The change from another submission's code, line by line: {"base", "lines": [{"kind", "text"}], "added", ...}."""
    base = int(against) if against.isdecimal() and len(against) < 12 else s.parent
    if base is None or base == s.id or base not in lab.submissions:
        return None
    other, trouble = _source(lab, base)
    if trouble:
        return None
    kinds = {"+": "add", "-": "del", " ": "same", "@": "gap"}
    found = [
        {"kind": kinds.get(line[:1], "same"), "text": plain(line.rstrip("\n"))}
        for line in list(difflib.unified_diff(other.splitlines(), text.splitlines(), lineterm="", n=4))[2:]
    ]
    return {
        "base": base, "base_name": lab.submissions[base].name, "lines": found,
        "added": sum(x["kind"] == "add" for x in found), "removed": sum(x["kind"] == "del" for x in found),
    }  # fmt: skip


# Relatives


def ancestors(lab: Snapshot, s: Submission) -> list[Json]:
    """What it builds on, by declared parents, oldest first."""
    found: list[Submission] = []
    seen, parent = {s.id}, s.parent
    while parent is not None and parent not in seen and parent in lab.submissions and len(found) < MOST_RELATIVES:
        seen.add(parent)
        found.append(lab.submissions[parent])
        parent = found[-1].parent
    return [_relative(lab, one) for one in reversed(found)]


def descendants(lab: Snapshot, number: int) -> list[Json]:
    """What builds on it directly."""
    children = [one for one in lab.submissions.values() if one.parent == number]
    return [_relative(lab, one) for one in children[:MOST_RELATIVES]]


def _relative(lab: Snapshot, s: Submission) -> Json:
    entry = lab.entry(s.id)
    return {"submission": s.id, "name": s.name, "researcher": s.researcher, "status": s.status,
            "pgr": None if entry is None else estimate(entry.pgr, entry.drawn)}  # fmt: skip


# Charts


def draw_seeds(lab: Snapshot, width: int, about: str) -> Any:
    rows = seed_rows(lab, about)
    entry = lab.entry(int(about)) if about.isdecimal() else None
    if not rows or entry is None:
        return None
    values = [0.0, 1.0, entry.pgr.low, entry.pgr.high, *(r["pgr"] for r in rows)]
    low, high = min(values), max(values)
    scale = alt.Scale(domain=[low - 0.03, high + 0.03], nice=False)
    x = alt.X("pgr:Q", title="PGR on the feedback task", scale=scale)
    dots = alt.Chart(figures.rows_of([{**r, "tip": f"seed {r['seed']}: {r['pgr']:.3f}"} for r in rows]))
    shown = dots.mark_point(filled=True, size=54, color=figures.INK, opacity=0.7).encode(x=x, y=alt.value(30))
    whole = alt.Chart(figures.rows_of([{"low": entry.pgr.low, "high": entry.pgr.high, "pgr": entry.pgr.mean}]))
    bar = whole.mark_rule(color=figures.BEST, strokeWidth=4, opacity=0.6).encode(
        x=alt.X("low:Q", scale=scale), x2="high:Q", y=alt.value(55)
    )
    mean = whole.mark_point(filled=True, size=90, color=figures.BEST, opacity=1).encode(x=x, y=alt.value(55))
    guides = alt.Chart(figures.rows_of([{"x": 0}, {"x": 1}])).mark_rule(color=figures.MUTED)
    lines = guides.encode(x=alt.X("x:Q", scale=scale))
    return figures.transparent(alt.layer(lines, bar, mean, shown).properties(width=width - 60, height=80))


def seed_rows(lab: Snapshot, about: str) -> list[Json]:
    entry = lab.entry(int(about)) if about.isdecimal() else None
    return [] if entry is None else [{"seed": i, "pgr": value} for i, value in enumerate(entry.seeds)]


def draw_audit(lab: Snapshot, width: int, about: str) -> Any:
    number = int(about) if about.isdecimal() else 0
    standing, findings = lab.judgements.get(number), lab.findings(number)
    if standing is None or not findings:
        return None
    found = Audited(number, tuple(findings), (standing,), standing)
    return audited.profiles({f"#{number} {lab.submissions[number].name}": found}, width)


def audit_rows(lab: Snapshot, about: str) -> list[Json]:
    return [_finding(f) for f in lab.findings(int(about))] if about.isdecimal() else []


CHARTS = {
    "seeds": Chart("PGR of each seed", draw_seeds, seed_rows),
    "audit": Chart("What the method depends on", draw_audit, audit_rows),
}
