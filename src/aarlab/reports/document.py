"""`report.json`: the report as data. `report.schema.json` beside this file describes it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aarlab.records import Estimate, Submission
from aarlab.reports import audited, costs, ideas, scan, sentences
from aarlab.reports.data import RunData, TaskOutcomes, method
from aarlab.reports.results import Family, Results, Row, TaskResult

FORMAT = 1


def document(data: RunData, results: Results) -> dict[str, Any]:
    """Plain JSON values; every PGR is an object with mean, low, high, seeds, items, or null where there is none."""
    return {
        "format": FORMAT,
        "headline": sentences.headline(data, results),
        "run": _run(data),
        "problem": {
            "name": data.problem, "title": data.title, "data_hash": data.data_hash, "fresh": data.settings.fresh,
        },
        "tasks": [_open(data.problem, asdict(c)) for c in data.open_tasks] + [_task(t) for t in data.tasks],
        "baselines": _baselines(results),
        "leaderboard": [_row(data, r) for r in results.rows],
        "winner": _winner(data, results),
        "record": _record(data, results),
        "transfer": [_family(f, data) for f in results.transfer],
        "audits": audited.document(data, results),
        "alarms": [{"time": x.time, "line": x.number, **x.body} for x in data.alarms],
        "ideas": ideas.document(data, results),
        "timeline": timeline(data, results),
        "costs": costs.document(data, results),
        "scan": scan.document(data),
        "budget": asdict(data.budget) | {"lookup_gain": results.lookup_gain},
        "ledger": asdict(data.ledger) | {"verified": not data.ledger.problem},
        "believe": sentences.believe(data, results),
        "doubt": sentences.doubt(data, results),
    }  # fmt: skip


def timeline(data: RunData, results: Results) -> list[dict[str, Any]]:
    """Submissions and posts in order. `seconds` since the run started."""
    points = {p.submission: p for p in results.points}
    events = []
    for s in data.submissions:
        point = points.get(s.id)
        events.append({
            "kind": "submission", "seconds": (s.finished or s.created) - data.run.started, "researcher": s.researcher,
            "submission": s.id, "name": s.name, "status": s.status, "parent": s.parent, "answer": s.answer,
            "pgr": _pgr(point.pgr if point else None), "transcript": _place(data, s.id),
        })  # fmt: skip
    for p in data.posts:
        point = points.get(p.submission) if p.submission is not None else None
        events.append({
            "kind": p.kind, "seconds": p.created - data.run.started, "researcher": p.researcher, "post": p.id,
            "title": p.title, "body": p.body, "parent": p.parent, "submission": p.submission,
            "pgr": _pgr(point.pgr if point else None),
        })  # fmt: skip
    return sorted(events, key=lambda e: float(e["seconds"]))


def _run(data: RunData) -> dict[str, Any]:
    settings = asdict(data.settings)
    return {
        **{k: v for k, v in asdict(data.run).items() if k != "isolation"},
        "done": data.run.done,
        "isolation": {"kind": data.run.isolation, "ranked": data.run.ranked},
        "researchers": [
            {"name": r.name, "kind": r.kind, "direction": r.direction, "status": r.status} for r in data.researchers
        ],
        "settings": settings | {"researchers": list(settings["researchers"])},
    }


def _pgr(e: Estimate | None) -> dict[str, float | int] | None:
    return e.as_dict() if e else None


def _pgrs(table: dict[str, Estimate]) -> dict[str, Any]:
    return {name: _pgr(e) for name, e in table.items()}


def _open(problem: str, card: dict[str, Any]) -> dict[str, Any]:
    return {"problem": problem, "purpose": "open"} | card


def _task(task: TaskOutcomes) -> dict[str, Any]:
    return {"problem": task.problem, "purpose": task.purpose} | asdict(task.card) | {"gap": task.card.gap}


def _baselines(results: Results) -> list[dict[str, Any]]:
    on_record = results.record.pgr if results.record else {}
    return [{"name": n, "pgr": _pgr(e), "record": _pgr(on_record.get(n))} for n, e in results.baselines.items()]


def _row(data: RunData, row: Row) -> dict[str, Any]:
    s = row.submission
    return {"rank": row.rank, **_who(data, s), "pgr": _pgr(row.pgr), "record": _pgr(row.record), "winner": row.winner}


def _place(data: RunData, submission: int) -> dict[str, Any] | None:
    """Where in a transcript a submission was made."""
    found = data.places.get(submission)
    return found.as_dict() if found else None


def _who(data: RunData, s: Submission) -> dict[str, Any]:
    """A submission without its score. `claim` is the researcher's own word, never measured by the lab."""
    return {
        "submission": s.id, "name": s.name, "researcher": s.researcher, "parent": s.parent, "track": s.track,
        "claim": s.claimed_pgr, "bundle_hash": s.bundle_hash, "answer": s.answer, "ranked": s.ranked,
        "remark": s.remark, "transcript": _place(data, s.id),
    }  # fmt: skip


def _winner(data: RunData, results: Results) -> dict[str, Any] | None:
    if data.winner is None:
        return None
    row = next((r for r in results.rows if r.winner), None)
    return {
        **_who(data, data.submission(data.winner)),
        "pgr": _pgr(row.pgr if row else None),
        "record": _pgr(row.record if row else None),
        "lineage": list(results.lineage),
        "source": data.winner_source,
    }


def _record(data: RunData, results: Results) -> dict[str, Any]:
    """The same keys before and after the record tasks were opened."""
    opened: dict[str, Any] = {
        "finalists": list(data.finalists), "inflation": results.inflation,
        "inflation_paired": results.inflation_paired,
    }  # fmt: skip
    empty: dict[str, Any] = {
        "problem": data.problem, "pgr": None, "best_baseline": None, "lead": None, "contenders": {}, "leads": {},
        "tasks": [],
    }  # fmt: skip
    return opened | (_family(results.record, data) if results.record else empty)


def _family(family: Family, data: RunData) -> dict[str, Any]:
    best = family.best_baseline(list(family.leads))
    mine = family.pgr.get(method(data.winner)) if data.winner is not None else None
    return {
        "problem": family.label,
        "pgr": _pgr(mine),
        "best_baseline": best,
        "lead": _pgr(family.leads[best]) if best else None,
        "contenders": _pgrs(family.pgr),
        "leads": _pgrs(family.leads),
        "tasks": [_task_result(t) for t in family.tasks],
    }


def _task_result(result: TaskResult) -> dict[str, Any]:
    card = result.outcomes.card
    accuracy = {name: float(c.mean()) for name, c in result.outcomes.correct.items()}
    return {
        "task": card.name, "title": card.title, "items": len(result.outcomes.groups), "accuracy": accuracy,
        "contenders": _pgrs(result.pgr), "leads": _pgrs(result.leads),
    }  # fmt: skip
