"""From the reports of both arms' runs to curves and paired differences: pure functions on parsed `report.json` files.

Families are those of submissions, as rules or a language model class them, never as researchers declare them: who was
given a direction would name it. The bands of an arm are drawn by resampling the researchers of each of its runs; the
intervals of a difference come from the repeats alone, and there is none with a single repeat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from aarlab.ideas.entropy import DRAWS, LEAST, LEVEL, at_work, bits, codes, counted, resampled
from aarlab.ideas.families import By
from aarlab.ideas.gather import Idea

Json = Mapping[str, Any]
Floats = NDArray[np.float64]

MOMENTS = 60
PAIRED_LEVEL = 0.95


@dataclass(frozen=True)
class Run:
    """One run of one arm."""

    arm: str
    repeat: int
    ideas: tuple[Idea, ...]
    researchers: int
    seconds: float  # of research
    report: Json


def runs_of(reports: Sequence[tuple[str, int, Json]]) -> tuple[list[Run], By]:
    """Every run with its submissions' families, and who classed them: one classer for all runs."""
    handed_in = [i for _, _, r in reports for i in r["ideas"]["ideas"] if i["kind"] == "submission"]
    by: By = "llm" if handed_in and all("llm" in i["classed"] for i in handed_in) else "rules"
    return [_run(arm, repeat, r, by) for arm, repeat, r in reports], by


def _run(arm: str, repeat: int, report: Json, by: By) -> Run:
    ideas = tuple(
        Idea(i["seconds"], i["researcher"], "submission", i["number"], i["classed"][by], by)
        for i in report["ideas"]["ideas"]
        if i["kind"] == "submission" and by in i["classed"]
    )
    fleet = sum(r["kind"] != "human" for r in report["run"]["researchers"])
    return Run(arm, repeat, ideas, fleet, float(report["run"]["research_seconds"]), report)


def measure(plan: Json, reports: Sequence[tuple[str, int, Json]]) -> dict[str, Any]:
    """The study as JSON-ready data. reports: (arm, repeat, report.json), both arms of every repeat."""
    runs, by = runs_of(reports)
    arms = {arm: [r for r in runs if r.arm == arm] for arm in ("directed", "undirected")}
    end = max([r.seconds for r in runs] + [i.time for r in runs for i in r.ideas])
    return {
        "study": "directions",
        "plan": dict(plan),
        "repeats": len(arms["directed"]),
        "classed_by": by,
        "seconds": end,
        "arms": {arm: _arm(own, end) for arm, own in arms.items()},
        "runs": [_row(r, end) for r in runs],
        "differences": {name: paired(arms, of) for name, of in metrics(end).items()},
    }


# Curves


def _arm(runs: Sequence[Run], end: float) -> dict[str, Any]:
    return {
        "entropy": entropy(runs, end),
        "best": _best_so_far(runs, end),
        "dollars": round(sum(_dollars(r) for r in runs), 6),
        "cpu_seconds": round(sum(float(r.report["costs"]["cpu_seconds"]) for r in runs), 1),
        "researcher_hours": round(sum(r.researchers * r.seconds for r in runs) / 3600, 4),
        "submissions": sum(len(r.ideas) for r in runs),
    }


def entropy(runs: Sequence[Run], end: float, draws: int = DRAWS) -> list[dict[str, float]]:
    """Mean entropy of an arm's runs through time, where each has at least five researchers at work (or its whole
    fleet); the 90 % band resamples the researchers of every run."""
    found = []
    for seconds in np.linspace(0, end, MOMENTS):
        working = [list(at_work(r.ideas, float(seconds)).values()) for r in runs]
        if any(len(w) < min(LEAST, r.researchers) for w, r in zip(working, runs, strict=True)):
            continue
        rng = np.random.default_rng(0)
        rows = [codes(w) for w in working]
        values = [float(bits(counted(row))) for row in rows]
        spread = np.mean([resampled(row, rng, draws) for row in rows], axis=0)
        low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        mean = float(np.mean(values))
        hours = float(np.mean([r.researchers * seconds / 3600 for r in runs]))
        found.append({
            "seconds": round(float(seconds), 2), "researcher_hours": round(hours, 5), "bits": round(mean, 4),
            "low": round(min(float(low), mean), 4), "high": round(max(float(high), mean), 4),
            "families": round(float(np.mean([len(set(w)) for w in working])), 3),
            "researchers": round(float(np.mean([len(w) for w in working])), 3),
        })  # fmt: skip
    return found


def _best_so_far(runs: Sequence[Run], end: float) -> list[dict[str, Any]]:
    """Best verified feedback PGR so far of each run, a step at every improvement."""
    found = []
    for r in runs:
        steps, best = [], -math.inf
        for event in r.report["timeline"]:
            if event["kind"] == "submission" and event["pgr"] and event["pgr"]["mean"] > best:
                best = event["pgr"]["mean"]
                steps.append({"seconds": round(min(event["seconds"], end), 2), "pgr": round(best, 4)})
        found.append({"repeat": r.repeat, "steps": steps})
    return found


# One number a run


def metrics(end: float) -> dict[str, Callable[[Run], float | None]]:
    """What is compared: name -> of a run, None where it has none."""
    return {
        "PGR of record": _record,
        "best PGR on the feedback task": _feedback,
        "entropy at the end, bits": lambda r: _entropy_at(r, end),
        "entropy over the run, bits": lambda r: _entropy_mean(r, end),
        "families at the end": lambda r: float(len(set(at_work(r.ideas, end).values()))),
        "families over the run": lambda r: float(len({i.family for i in r.ideas if i.time <= end})),
        "dollars": _dollars,
    }


def _record(r: Run) -> float | None:
    pgr = r.report["winner"] and r.report["winner"]["record"]
    return float(pgr["mean"]) if pgr else None


def _feedback(r: Run) -> float | None:
    return max((float(row["pgr"]["mean"]) for row in r.report["leaderboard"] if row["pgr"]), default=None)


def _dollars(r: Run) -> float:
    return float(r.report["costs"]["dollars"])


def _entropy_at(r: Run, seconds: float) -> float | None:
    working = list(at_work(r.ideas, seconds).values())
    return float(bits(counted(codes(working)))) if working else None


def _entropy_mean(r: Run, end: float) -> float | None:
    """Mean over the time from which the fleet is at work."""
    values = [
        _entropy_at(r, float(t))
        for t in np.linspace(0, end, MOMENTS)
        if len(at_work(r.ideas, float(t))) >= min(LEAST, r.researchers)
    ]
    return float(np.mean([v for v in values if v is not None])) if values else None


def paired(arms: Mapping[str, Sequence[Run]], of: Callable[[Run], float | None]) -> dict[str, Any]:
    """Directed less undirected, repeat by repeat: the values, their mean, and its 95 % t interval where two or more
    repeats have the number in both arms (else null)."""
    one, other = ({r.repeat: of(r) for r in arms[a]} for a in ("directed", "undirected"))
    gaps = [a - b for n in sorted(one) if (a := one[n]) is not None and (b := other.get(n)) is not None]
    mean, low, high = interval(gaps)
    return {
        "directed": _mean(one.values()), "undirected": _mean(other.values()), "each": [round(g, 4) for g in gaps],
        "mean": mean, "low": low, "high": high,
    }  # fmt: skip


def interval(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Mean and 95 % t interval; None for what so few values do not tell. Values that are all equal, as small counts
    may be, tell no spread."""
    if not values:
        return None, None, None
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    if error == 0:
        return round(mean, 4), None, None
    reach = float(stats.t.ppf((1 + PAIRED_LEVEL) / 2, len(values) - 1)) * error
    return round(mean, 4), round(mean - reach, 4), round(mean + reach, 4)


def _mean(values: Any) -> float | None:
    known = [v for v in values if v is not None]
    return round(float(np.mean(known)), 4) if known else None


def _row(r: Run, end: float) -> dict[str, Any]:
    """One run as a line of the table."""
    winner = r.report["winner"]
    return {
        "arm": r.arm, "repeat": r.repeat, "lab": r.report["run"]["lab"], "pgr": winner and winner["record"],
        "winner": winner["name"] if winner else None, "feedback": _rounded(_feedback(r)),
        "entropy": _rounded(_entropy_at(r, end)), "families": len(set(at_work(r.ideas, end).values())),
        "families_over_run": len({i.family for i in r.ideas if i.time <= end}), "submissions": len(r.ideas),
        "answers": r.report["budget"]["answers_used"], "dollars": round(_dollars(r), 6),
        "seconds": round(r.seconds, 1), "headline": r.report["headline"],
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
