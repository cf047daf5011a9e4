"""The first page of a lab: how good, at what price, who does what, and what a person should do now."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from aarlab.dashboard.charts import Chart
from aarlab.dashboard.lab import Entry, Json, Snapshot
from aarlab.records import Estimate, EventRow, LedgerLine, Post, ResearcherRow, Submission
from aarlab.reports import figures, sentences
from aarlab.store import Store

EVENTS = 24
QUIET_SECONDS = 180.0  # without a heartbeat a researcher of a running lab is "silent"
CALM = {
    "running": "All is well; nothing to do.",
    "done": "Look at what the winner depends on before you believe it.",
}
NEARLY = 0.9  # of a budget, from which the page says that it ends soon

LINES = ("phase", "alarm", "control", "stop", "overrule")
"""Ledger lines that are events for people; answers are shown with their submissions."""

STEPS = ("note", "retry", "compaction")
"""Steps of a conversation that are."""


def page(lab: Snapshot, store: Store) -> Json:
    return {
        "headline": headline(lab),
        "settled": not lab.drawing and (lab.phase != "done" or lab.report is not None),
        "advice": advice(lab),
        "best": None if lab.best is None else score(lab, lab.best),
        "budget": {k: v for k, v in lab.budget.items() if v["limit"] is not None or v["used"]},
        "counts": counts(lab),
        "baselines": {n: e.as_dict() for n, e in lab.baselines.items()},
        "researchers": [card(lab, r) for r in lab.people if r.role == "researcher"],
        "events": events(lab, store),
        "costs": {k: lab.costs[k] for k in ("dollars", "llm_dollars", "compute_dollars", "cpu_seconds", "hours")},
    }


# In words


def headline(lab: Snapshot) -> str:
    """The run in one sentence, true at any moment."""
    if lab.report is not None:
        return sentences.headline(*lab.report)
    best = lab.best
    if best is None:
        waiting = sum(s.status in ("queued", "running") for s in lab.submissions.values())
        return f"Nothing verified yet; {sentences.count(waiting, 'submission')} on the way."
    so_far = "so far" if lab.phase == "research" else "on the feedback task"
    text = f"Best {so_far}: {best.submission.name} (#{best.submission.id}, by {best.submission.researcher}) recovers "
    text += f"{sentences.number(best.pgr) if best.drawn else f'{best.pgr.mean:.2f}'} of the gap on the feedback task"
    if best.lead is not None and lab.best_baseline:
        side = "above" if best.lead.low > 0 else "below" if best.lead.high < 0 else "not clearly apart from"
        text += f", {side} {lab.best_baseline} ({sentences.signed(best.lead)} paired)"
    last = "are being measured" if lab.phase == "done" else "come when the run ends"
    return f"{text}. The numbers of record {last}."


def advice(lab: Snapshot) -> list[Json]:
    """What a person may want to do now, most pressing first. level: "act", "look" or "fine".

    What every page says of a lab that does not run (`catalogue.notices`) is not said again.
    """
    found = list(_advice(lab))
    if not found and lab.state in CALM:
        found = [{"level": "fine", "text": CALM[lab.state]}]
    return [{"submission": None, "researcher": None, **a} for a in found]


def _advice(lab: Snapshot) -> Iterator[Json]:
    for row in lab.people:
        if row.role == "researcher" and lab.state == "running" and lab.phase == "research":
            word = condition(lab, row)
            if word in ("failed", "silent", "out of budget"):
                yield {"level": "act" if word == "failed" else "look", "text": f"{row.name} is {word}: {row.state}",
                       "researcher": row.name}  # fmt: skip
    for name, part in lab.budget.items():
        if lab.phase == "research" and part["limit"] and part["used"] >= NEARLY * part["limit"]:
            yield {"level": "look", "text": f"{part['used']:,.4g} of {part['limit']:,.4g} {name} are used; "
                   "research ends when one budget is spent."}  # fmt: skip
    held = [n for n, j in lab.judgements.items() if j.verdict.outcome == "held"]
    for number in held[:3]:
        yield {"level": "act", "text": f"#{number} is held: a person has to decide whether it ranks.",
               "submission": number}  # fmt: skip
    if not lab.ranked:
        yield {"level": "look", "text": "Isolation is `process`: methods are not isolated and no score is ranked."}


# Researchers


def condition(lab: Snapshot, row: ResearcherRow) -> str:
    """One word for what a researcher is doing, from its status, its last words and how long ago they came."""
    if row.status == "stopped":
        return "stopped"
    if row.state.startswith("failed"):
        return "failed"
    if row.state.startswith("budget spent"):
        return "out of budget"
    if row.state.startswith("finished") or lab.phase != "research":
        return "finished"
    if lab.state != "running":
        return "paused" if row.heartbeat else "waiting"
    if row.heartbeat is None:
        return "waiting"
    return "silent" if time.time() - row.heartbeat > QUIET_SECONDS else "working"


def card(lab: Snapshot, row: ResearcherRow) -> Json:
    mine = lab.by_researcher.get(row.name, [])
    best = max(mine, key=lambda e: e.pgr.mean, default=None)
    spent = lab.costs["researchers"].get(row.name, {})
    return {
        "name": row.name, "kind": row.kind, "direction": row.direction or "undirected",
        "condition": condition(lab, row), "state": row.state, "heartbeat": row.heartbeat,
        "submissions": lab.handed_in[row.name], "verified": len(mine),
        "best": None if best is None else score(lab, best), "dollars": round(spent.get("dollars", 0.0), 4),
        "tokens": spent.get("tokens", 0), "cpu_seconds": round(spent.get("cpu_seconds", 0.0), 1),
        "trace": [round(e.pgr.mean, 4) for e in mine[-40:]],
    }  # fmt: skip


def score(lab: Snapshot, e: Entry) -> Json:
    return {
        "submission": e.submission.id, "name": e.submission.name, "researcher": e.submission.researcher,
        "pgr": estimate(e.pgr, e.drawn), "lead": None if e.lead is None else e.lead.as_dict(),
    }  # fmt: skip


def estimate(e: Estimate, drawn: bool = True) -> Json:
    """A PGR as data; `low` and `high` are None while its interval is not drawn."""
    return e.as_dict() if drawn else {**e.as_dict(), "low": None, "high": None}


def counts(lab: Snapshot) -> Json:
    all_ = lab.submissions.values()
    return {
        "submissions": len(lab.submissions), "verified": len(lab.entries),
        "waiting": sum(s.status in ("queued", "running") for s in all_),
        "failed": sum(s.status in ("failed", "timed_out", "refused") for s in all_),
        "records": sum(s.record is not None and s.repeat_of is None for s in all_), "posts": lab.posts,
    }  # fmt: skip


# Events


def events(lab: Snapshot, store: Store, limit: int = EVENTS) -> list[Json]:
    """What happened last, newest first: {"time", "kind", "who", "text", and what it is about}."""
    with store.read() as rows:
        posts = rows.posts(limit=limit)[::-1]
        lines = rows.line_page(limit=limit, kinds=LINES)
        steps = rows.newest_events(STEPS, limit)
    recent = sorted(lab.submissions.values(), key=lambda s: s.finished or s.created)[-limit:]
    found = [_of_submission(lab, s) for s in recent] + [_of_post(p) for p in posts]
    found += [_of_line(x) for x in lines] + [_of_step(e) for e in steps]
    found = [{"submission": None, "post": None, **e} for e in found]
    return sorted(found, key=lambda e: -float(e["time"]))[:limit]


def _of_submission(lab: Snapshot, s: Submission) -> Json:
    entry = lab.entry(s.id)
    if entry is not None:
        said = f"verified at {entry.pgr.mean:.2f}" + (f": {s.answer}" if s.answer else "")
    else:
        said = {"queued": "waits to be run", "running": "is being run"}.get(s.status, s.status.replace("_", " "))
        said += f" ({s.reason})" if s.reason and s.status not in ("queued", "running") else ""
    return {"time": s.finished or s.created, "kind": "record" if s.record is not None else "submission",
            "who": s.researcher, "text": f"{s.name} {said}", "submission": s.id}  # fmt: skip


def _of_post(p: Post) -> Json:
    return {"time": p.created, "kind": p.kind, "who": p.researcher, "text": p.title, "post": p.id}


def _of_line(x: LedgerLine) -> Json:
    body = ", ".join(f"{k} {v}" for k, v in x.body.items() if isinstance(v, str | int | float))
    return {"time": x.time, "kind": x.kind, "who": "the lab", "text": body, "line": x.number}


def _of_step(e: EventRow) -> Json:
    body = json.loads(e.body)
    text = str(body.get("text") or body.get("why") or e.kind)
    return {"time": e.time, "kind": e.kind, "who": e.researcher, "text": text[:300]}


# Charts


def references(lab: Snapshot) -> dict[str, float]:
    """What others reached on this very problem, as its problem.toml says: `[references]`, name = PGR."""
    found = lab.problem.settings.get("references", {})
    return {str(n): float(v) for n, v in found.items()} if isinstance(found, dict) else {}


def draw(lab: Snapshot, width: int, about: str) -> Any:
    if not lab.entries and not lab.baselines:
        return None
    scores = [
        figures.Scored(e.submission.id, e.submission.researcher, e.minutes, e.pgr, e.best, e.submission.name)
        for e in lab.entries
    ]
    minutes = max(lab.research_seconds / 60, *(e.minutes for e in lab.entries), 0.1)
    return figures.pgr_over_time(scores, lab.baselines, minutes, width, references(lab))


def rows(lab: Snapshot, about: str) -> Sequence[Json]:
    return [
        {"submission": e.submission.id, "name": e.submission.name, "researcher": e.submission.researcher,
         "minutes": round(e.minutes, 3), "pgr": e.pgr.mean, "low": e.pgr.low if e.drawn else None,
         "high": e.pgr.high if e.drawn else None, "fleet_best": e.best}
        for e in lab.entries
    ]  # fmt: skip


CHARTS = {"time": Chart("PGR over time", draw, rows)}
