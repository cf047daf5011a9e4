"""From a report's results to the rows that `figures` draws. None where there is nothing to draw."""

from __future__ import annotations

from typing import Any

from aarlab.reports import figures
from aarlab.reports.data import RunData, given_up, method
from aarlab.reports.results import Results


def over_time(data: RunData, results: Results, width: int) -> Any:
    if not results.points and not results.baselines:
        return None
    scores = [figures.Scored(p.submission, p.researcher, p.minutes, p.pgr, p.best) for p in results.points]
    return figures.pgr_over_time(scores, results.baselines, data.run.research_seconds / 60, width)


def by_task(data: RunData, results: Results, width: int) -> Any:
    """Record tasks first, then each other domain's. Contenders: the winner, then the baselines."""
    if data.winner is None or results.record is None:
        return None
    won, name = method(data.winner), "winner"
    panels = []
    for family in results.families():
        where = "record" if family.purpose == "record" else family.label
        for task in family.tasks:
            shown = {name: task.pgr[won]} if won in task.pgr else {}
            shown |= {n: e for n, e in task.pgr.items() if not n.startswith("#")}
            panels.append(figures.Panel(f"{where}: {task.title}", shown))
    return figures.by_task(panels, name, width)


def claims(results: Results, width: int) -> Any:
    rows = []
    for r in results.rows:
        if (claim := r.submission.claimed_pgr) is not None:
            rows.append(figures.Claim(r.submission.id, claim, r.pgr, "feedback"))
            if r.record:
                rows.append(figures.Claim(r.submission.id, claim, r.record, "record"))
    return figures.claimed_against_measured(rows, width) if rows else None


def activity(data: RunData, results: Results, width: int) -> Any:
    """Submissions and posts of everybody who did anything, in the order of the fleet."""
    start = data.run.started
    scored = {p.submission for p in results.points}
    events = [
        figures.Event(
            s.researcher, max(0.0, ((s.finished or s.created) - start) / 60),
            "scored" if s.id in scored else "failed", s.name, s.id, s.parent, s.id in results.lineage,
        )
        for s in data.submissions
        if s.id in scored or (s.status in ("failed", "timed_out", "refused") and not given_up(s))
    ]  # fmt: skip
    events += [figures.Event(p.researcher, max(0.0, (p.created - start) / 60), p.kind, p.title) for p in data.posts]
    names = dict.fromkeys([*(r.name for r in data.researchers), *(e.researcher for e in events)])
    active = [n for n in names if any(e.researcher == n for e in events)]
    return figures.activity(events, active, data.run.research_seconds / 60, width) if active else None
