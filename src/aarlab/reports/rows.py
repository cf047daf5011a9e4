"""The report's tables as rows of plain values, of the same shape as the dashboard's: one set of macros shows both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from aarlab.ideas.families import FAMILIES
from aarlab.ideas.gather import Idea
from aarlab.records import Estimate, Judgement
from aarlab.reports import audited, costs, ideas
from aarlab.reports.data import Audited, RunData
from aarlab.reports.results import Point, Results, Row
from aarlab.vault.feedback import HARD_TOP

Json = dict[str, Any]
NOT_AUDITED = "not audited"

COLUMNS: dict[str, Json] = {
    key: {"title": title, "number": number, "address": "", "sorted": ""}
    for key, title, number in (
        ("rank", "rank", True), ("name", "method", False), ("pgr", "feedback PGR", True),
        ("claimed", "claimed", True), ("record", "PGR of record", True), ("verdict", "audit", False),
        ("track", "track", False), ("researcher", "researcher", False), ("family", "family", False),
    )
}  # fmt: skip
"""Of the leaderboard. Nothing sorts in a file without a script, and leads are drawn for finalists alone."""


def context(data: RunData, results: Results) -> Json:
    """What the page shows beside `report._context`."""
    shown = [*(r.pgr for r in results.rows), *results.baselines.values()]
    return {
        "columns": COLUMNS, "board": {"scale": scale(shown), "record": "known" if data.run.done else "sealed"},
        "lines": leaderboard(data, results), "verdicts": [_verdict(data, a) for a in data.audited],
        "warnings": [_alarm(x.time, x.number, x.body) for x in data.alarms], "families": families(data, results),
        "line": lineage(data, results), "whole": whole(data), "earlier": _earlier(data), "top": HARD_TOP,
    }  # fmt: skip


def scale(shown: Sequence[Estimate]) -> Json:
    """The ends of the small bars: always 0 and 1, and what reaches further as far as is sensible."""
    low, high = min([0.0, *(e.low for e in shown)]), max([1.0, *(e.high for e in shown)])
    return {"low": round(max(-0.2, low), 3), "high": round(min(1.6, high), 3)}


def leaderboard(data: RunData, results: Results) -> list[Json]:
    """Submissions and baselines in one order: the winner, then by PGR of record where known, then by feedback PGR."""
    judged = {a.submission: a.standing for a in data.audited}
    family = _of_submissions(data.ideas)
    lines = [_line(data, r, judged.get(r.submission.id), family.get(r.submission.id, "")) for r in results.rows]
    record = results.record.pgr if results.record else {}
    lines += [
        {"baseline": True, "winner": False, "name": n, "pgr": e, "record": record.get(n)}
        for n, e in results.baselines.items()
    ]
    return sorted(lines, key=_merit)


def _merit(line: Json) -> tuple[bool, bool, float]:
    return (not line["winner"], line["record"] is None, -(line["record"] or line["pgr"]).mean)


def _line(data: RunData, row: Row, judgement: Judgement | None, family: str) -> Json:
    s, place = row.submission, data.places.get(row.submission.id)
    return {
        "baseline": False, "rank": row.rank, "submission": s.id, "name": s.name, "researcher": s.researcher,
        "pgr": row.pgr, "record": row.record, "claimed": s.claimed_pgr, "claim": claim(s.claimed_pgr, row.pgr),
        "winner": row.winner, "finalist": s.id in data.finalists, "ranked": row.rank is not None, "remark": s.remark,
        "track": judgement.verdict.track if judgement else s.track, "declared": s.track, "family": family,
        "parent": s.parent, "audit": mark(judgement),
        "transcript": {"text": place.text(), "turn": place.turn, "link": place.link()} if place else None,
    }  # fmt: skip


def claim(claimed: float | None, measured: Estimate) -> str:
    """Where a claimed PGR lies: `inside` the measured interval, `above` or `below` it; empty where none is known."""
    if claimed is None:
        return ""
    return "above" if claimed > measured.high else "below" if claimed < measured.low else "inside"


def mark(judgement: Judgement | None) -> Json:
    """A verdict in words, and the channels that are not as declared."""
    if judgement is None:
        return {"verdict": NOT_AUDITED, "reason": "", "by": "", "measured": "", "channels": []}
    v = judgement.verdict
    apart = [c for c in v.channels if c.word not in ("as declared", "not judged")]
    return {
        "verdict": v.outcome, "reason": v.reason, "by": judgement.by, "measured": v.row,
        "channels": [{"channel": c.channel, "word": c.word, "sentence": c.sentence} for c in apart],
    }  # fmt: skip


def _verdict(data: RunData, a: Audited) -> Json:
    s, j = data.submission(a.submission), a.standing
    return {
        "submission": s.id, "name": s.name, "winner": s.id == data.winner, "finalist": s.id in data.finalists,
        "outcome": j.verdict.outcome, "by": j.by, "level": j.level, "time": j.time, "track": j.verdict.track,
        "declared": j.verdict.declared, "reason": j.verdict.reason, "uses": j.verdict.row,
    }  # fmt: skip


def _alarm(time: float, number: int, body: Mapping[str, Any]) -> Json:
    return {"time": time, "number": number, "text": audited.alarm(dict(body)), "submission": None}


def families(data: RunData, results: Results) -> list[Json]:
    """Every family that occurs, who was there first, and the best method of it."""
    first: dict[str, Idea] = {}
    for i in data.ideas:
        first.setdefault(i.family, i)
    best = _best(data.ideas, results)
    return [
        {
            **row, "code": ideas.CODES[name := str(row["family"])], "meaning": FAMILIES[name],
            "first": first[name].researcher, "first_minutes": first[name].time / 60,
            "best": best[name].submission if name in best else None, "pgr": best[name].pgr if name in best else None,
        }
        for row in ideas.families(data.ideas)
    ]  # fmt: skip


def _of_submissions(found: Sequence[Idea]) -> dict[int, str]:
    """Submission -> its family."""
    return {i.number: i.family for i in found if i.kind == "submission"}


def _best(found: Sequence[Idea], results: Results) -> dict[str, Point]:
    family = _of_submissions(found)
    best: dict[str, Point] = {}
    for p in results.points:
        name = family.get(p.submission)
        if name is not None and (name not in best or p.pgr.mean > best[name].pgr.mean):
            best[name] = p
    return best


def lineage(data: RunData, results: Results) -> list[Json]:
    """The winner and what it builds on, oldest first."""
    family = _of_submissions(data.ideas)
    points = {p.submission: p for p in results.points}
    rows = []
    for s in (data.submission(i) for i in results.lineage):
        minutes = max(0.0, ((s.finished or s.created) - data.run.started) / 60)
        pgr = points[s.id].pgr if s.id in points else None
        rows.append({"submission": s.id, "name": s.name, "researcher": s.researcher, "minutes": minutes,
                     "family": family.get(s.id), "pgr": pgr})  # fmt: skip
    return rows


def whole(data: RunData) -> Json:
    """Dollars, tokens and seconds of all researchers and the lab together, by the names of `fleet.costs`."""
    bill, rows = costs.fleet(data), list(data.costs["researchers"].values())
    summed = ("reasoning_tokens", "own_cpu_seconds", "method_cpu_seconds")
    return {
        **asdict(bill), **{k: sum(row.get(k, 0) for row in rows) for k in summed}, "outstanding_dollars": 0.0,
        "llm_dollars_per_hour": bill.llm_per_hour or 0.0, "compute_dollars_per_hour": bill.compute_per_hour or 0.0,
    }  # fmt: skip


def _earlier(data: RunData) -> Json:
    b = data.budget
    return {"labs": b.earlier_runs, "answers": b.earlier_answers, "bits": b.earlier_bits}
