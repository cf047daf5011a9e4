"""Labs side by side: what each was, what it reached at what price, and how far their best methods differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Any
from urllib.parse import urlencode

from aarlab.dashboard import ideas
from aarlab.dashboard.lab import Entry, Json, Snapshot, sealed
from aarlab.dashboard.run import estimate
from aarlab.fleet import plan
from aarlab.records import Estimate
from aarlab.reports import compared
from aarlab.reports.sentences import signed
from aarlab.vault.feedback import HARD_TOP

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Chart:
    """draw: (labs, width in pixels) -> an altair chart, or None where there is nothing to draw; rows: its numbers."""

    title: str
    draw: Callable[[Sequence[Snapshot], int], Any]
    rows: Callable[[Sequence[Snapshot]], list[Json]]


def page(labs: Sequence[Snapshot], known: Sequence[str]) -> Json:
    """known: the names of all labs, newest first."""
    chosen = {lab.name for lab in labs}
    return {
        "labs": [row(lab, letter) for letter, lab in zip(LETTERS, labs, strict=False)],
        "differences": differences(labs),
        "cautions": cautions(labs),
        "known": [{"name": name, "chosen": name in chosen} for name in known],
        "query": urlencode([("lab", lab.name) for lab in labs]),
    }


# One lab


def row(lab: Snapshot, letter: str) -> Json:
    """All that is compared, of one lab."""
    best, found = top(lab), ideas.thoughts(lab)
    point = found.points[-1] if found.points else None
    record = of_record(lab)
    hours = lab.costs["hours"]
    return {
        "letter": letter, "lab": lab.name, "problem": lab.problem.name, "title": lab.problem.title,
        "labels": lab.problem.data_hash, "fresh": lab.settings.fresh, "state": lab.state, "phase": lab.phase,
        "isolation": lab.settings.isolation.kind, "ranked": lab.ranked, "fleet": plan.crew(lab.settings),
        "directions": directions(lab), "models": models(lab), "started": lab.started,
        "research_seconds": round(lab.research_seconds, 1), "minutes_allowed": lab.settings.budget.minutes,
        "submissions": len(lab.submissions), "verified": len(lab.entries), "seeds": lab.settings.scoring.seeds,
        "best": None if best is None else best.submission.id,
        "best_name": "" if best is None else best.submission.name,
        "best_pgr": None if best is None else estimate(best.pgr, best.drawn),
        "lead": None if best is None or best.lead is None else best.lead.as_dict(), "baseline": lab.best_baseline,
        "baseline_pgr": lab.baselines[lab.best_baseline].as_dict() if lab.best_baseline else None,
        "sealed": sealed(lab), "winner": lab.winner, "record": None if record is None else record.as_dict(),
        "dollars": round(lab.costs["dollars"], 4), "llm_dollars": round(lab.costs["llm_dollars"], 4),
        "researcher_hours": round(hours, 4),
        "dollars_per_hour": round(lab.costs["dollars"] / hours, 4) if hours else None,
        "answers": lab.budget["answers"]["used"], "answers_allowed": lab.budget["answers"]["limit"],
        "bits": lab.budget["bits"]["used"], "bits_bound": lab.budget["bits"]["limit"],
        "entropy": None if point is None else {"bits": round(point.bits, 3), "low": round(point.low, 3),
                                               "high": round(point.high, 3), "researchers": point.researchers},
        "families": None if point is None else point.families,
    }  # fmt: skip


def top(lab: Snapshot) -> Entry | None:
    """The best on the feedback task; in a lab without isolation, where nothing ranks, the best all the same."""
    return lab.best or (None if lab.ranked else max(lab.entries, key=lambda e: e.pgr.mean, default=None))


def of_record(lab: Snapshot) -> Estimate | None:
    """The winner's PGR of record; None while it is sealed, being measured, or where there is no winner."""
    entry = None if sealed(lab) or lab.winner is None else lab.entry(lab.winner)
    return None if entry is None else entry.record


def directions(lab: Snapshot) -> str:
    """Whether the researchers were given directions."""
    given = [bool(r.direction) for r in lab.people if r.role == "researcher" and r.kind != "human"]
    if not any(given):
        return "undirected"
    return "directed" if all(given) else f"{sum(given)} of {len(given)} directed"


def models(lab: Snapshot) -> str:
    """The language models of the fleet, most frequent first; empty where there is none."""
    names = Counter(lab.settings.model_of(r) for r in lab.settings.researchers if r.is_language_model)
    return ", ".join(name for name, _ in names.most_common())


# Between two labs


def difference(a: Estimate, b: Estimate) -> Estimate:
    """a less b, measured apart: their intervals' arms are added in quadrature."""
    mean = a.mean - b.mean
    down = sqrt((a.mean - a.low) ** 2 + (b.high - b.mean) ** 2)
    up = sqrt((a.high - a.mean) ** 2 + (b.mean - b.low) ** 2)
    return Estimate(mean, mean - down, mean + up, min(a.seeds, b.seeds), min(a.items, b.items))


def differences(labs: Sequence[Snapshot]) -> list[Json]:
    """Every pair, on the feedback task and on record: the difference with its interval, or why there is none."""
    named = list(zip(LETTERS, labs, strict=False))
    return [
        {"first": x, "second": y, "what": what, **_difference(a, b, what)}
        for (x, a), (y, b) in combinations(named, 2)
        for what in ("best on the feedback task", "winner on record")
    ]


def _difference(a: Snapshot, b: Snapshot, what: str) -> Json:
    why = apart(a, b)
    pgrs = [_of(lab, what) for lab in (a, b)]
    missing = next((p for p in pgrs if isinstance(p, str)), "")
    if why or missing:
        return {"difference": None, "words": "", "why_not": why or missing}
    found = difference(*(p for p in pgrs if isinstance(p, Estimate)))
    side = "higher" if found.low > 0 else "lower" if found.high < 0 else "not clearly apart"
    return {"difference": found.as_dict(), "words": f"{side}: {signed(found)}", "why_not": ""}


def apart(a: Snapshot, b: Snapshot) -> str:
    """Why two labs' PGRs cannot be compared; empty where they can."""
    if a.problem.name != b.problem.name:
        return f"different problems: {a.problem.name} and {b.problem.name} have other floors and ceilings"
    if a.problem.data_hash != b.problem.data_hash:
        return "different items: one label set is not the other, so that PGR means another gap"
    if not (a.ranked and b.ranked):
        return "a lab without isolation has no score that ranks"
    return ""


def _of(lab: Snapshot, what: str) -> Estimate | str:
    """The PGR in question, or why there is none yet."""
    if what == "winner on record":
        if sealed(lab):
            return f"the record of {lab.name} is sealed until its run ends"
        if lab.winner is None:
            return f"{lab.name} has no winner"
        return of_record(lab) or f"the record of {lab.name} is being measured"
    best = top(lab)
    if best is None:
        return f"{lab.name} has nothing verified yet"
    return best.pgr if best.drawn else f"the interval of {lab.name} is being drawn"


def cautions(labs: Sequence[Snapshot]) -> list[str]:
    """What a reader of the differences must know."""
    if len(labs) < 2:
        return []
    found = [
        "Each lab drew its own seeds, so differences are unpaired: the errors of both are added as if independent. "
        "They judge the same items, which makes these intervals rather too wide than too narrow.",
        "The best of many scores on the feedback task is too high as a measurement, and more so where more was "
        "submitted. Compare winners on record where both are open.",
    ]
    unequal = [words for words, values in _budgets(labs).items() if len(set(values)) > 1]
    if unequal:
        found.insert(0, f"Not on equal terms: these labs differ in {', '.join(unequal)}.")
    if any(lab.state != "done" for lab in labs):
        found.append("A lab that has not ended will still change.")
    if len({lab.problem.data_hash for lab in labs}) < len(labs):
        found.append(
            f"Labs on one label set of one machine count each other's answers; beyond {HARD_TOP} in all, new scores do "
            "not rank."
        )
    return found


def _budgets(labs: Sequence[Snapshot]) -> dict[str, list[Any]]:
    return {
        "research time": [lab.settings.budget.minutes for lab in labs],
        "answers": [lab.settings.budget.answers for lab in labs],
        "fleet": [plan.crew(lab.settings) for lab in labs],
        "directions": [directions(lab) for lab in labs],
        "models": [models(lab) for lab in labs],
        "dollars allowed": [lab.settings.budget.dollars for lab in labs],
        "seeds a score": [lab.settings.scoring.seeds for lab in labs],
        "isolation": [lab.settings.isolation.kind for lab in labs],
    }


# Charts


def _lines(labs: Sequence[Snapshot]) -> list[compared.Line]:
    return [
        compared.Line(letter, steps(lab), lab.research_seconds / 60) for letter, lab in zip(LETTERS, labs, strict=False)
    ]


def steps(lab: Snapshot) -> tuple[tuple[float, float], ...]:
    """(minutes, best so far) at every improvement."""
    found: list[tuple[float, float]] = []
    for e in lab.entries:
        if not found or e.best > found[-1][1]:
            found.append((e.minutes, e.best))
    return tuple(found)


def _over_time(labs: Sequence[Snapshot], width: int) -> Any:
    return compared.over_time(_lines(labs), labs[0].baselines if labs else {}, width)


def _time_rows(labs: Sequence[Snapshot]) -> list[Json]:
    return [
        {"lab": lab.name, "minutes": round(minutes, 3), "best_pgr": best}
        for lab in labs
        for minutes, best in steps(lab)
    ]


def _reached(labs: Sequence[Snapshot], width: int) -> Any:
    marks = []
    for letter, lab in zip(LETTERS, labs, strict=False):
        best = top(lab)
        baseline = lab.baselines[lab.best_baseline].mean if lab.best_baseline else None
        label = f"{letter} {lab.name}"
        marks.append(compared.Mark(label, None if best is None else best.pgr, of_record(lab), baseline))
    return compared.reached(marks, width)


def _reached_rows(labs: Sequence[Snapshot]) -> list[Json]:
    rows = []
    for lab in labs:
        best, record = top(lab), of_record(lab)
        if best is not None:
            rows.append({"lab": lab.name, "what": "best on the feedback task", **estimate(best.pgr, best.drawn)})
        if record is not None:
            rows.append({"lab": lab.name, "what": "winner on record", **record.as_dict()})
    return rows


CHARTS = {
    "compare": Chart("Best PGR so far of each lab", _over_time, _time_rows),
    "compare-pgr": Chart("What each lab reached", _reached, _reached_rows),
}
