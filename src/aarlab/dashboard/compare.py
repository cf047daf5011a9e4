"""Labs side by side, and differences with intervals where two labs can be compared at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any
from urllib.parse import urlencode

import altair as alt
import numpy as np

from aarlab.dashboard.lab import Json, Snapshot, sealed
from aarlab.dashboard.run import estimate
from aarlab.ideas.entropy import bits
from aarlab.records import Estimate
from aarlab.reports import figures

MOST_NAMES = 200


@dataclass(frozen=True)
class Chart:
    """A chart over several labs; see `charts.Chart`."""

    title: str
    draw: Callable[[Sequence[Snapshot], int], Any]
    rows: Callable[[Sequence[Snapshot]], Sequence[Json]]


def page(labs: Sequence[Snapshot], known: Sequence[str]) -> Json:
    """The twin: {"known": names to choose from, "labs": one row each, "differences": pairs, "query": for charts}."""
    return {
        "known": list(known[:MOST_NAMES]),
        "labs": [row(lab) for lab in labs],
        "differences": [difference(labs[0], other) for other in labs[1:]],
        "query": urlencode([("lab", lab.name) for lab in labs]),
    }


def row(lab: Snapshot) -> Json:
    best, kinds = lab.best, Counter(r.kind for r in lab.settings.researchers)
    hours = sum(lab.usage.wall.values()) / 3600
    proposed = Counter(lab.families.values())
    return {
        "name": lab.name, "problem": lab.problem.name, "data": lab.problem.data_hash[:12], "state": lab.state,
        "fleet": ", ".join(f"{n} {kind}" for kind, n in kinds.items()),
        "directed": any(r.direction for r in lab.settings.researchers),
        "research_minutes": round(lab.research_seconds / 60, 1), "verified": len(lab.entries),
        "best": None if best is None else estimate(best.pgr, best.drawn),
        "best_submission": None if best is None else best.submission.id,
        "lead": None if best is None or best.lead is None else best.lead.as_dict(),
        "baseline": lab.best_baseline, "record": of_record(lab), "sealed": sealed(lab),
        "dollars": round(lab.costs["dollars"], 4),
        "dollars_per_hour": round(lab.costs["dollars"] / hours, 4) if hours else None,
        "answers": lab.budget["answers"]["used"], "bits": lab.budget["bits"]["used"],
        "families": len(proposed), "entropy_bits": spread(proposed),
    }  # fmt: skip


def spread(families: Counter[str]) -> float | None:
    """Entropy of the submissions' families in bits; None without any."""
    return round(float(bits(np.array([list(families.values())]))[0]), 3) if families else None


def of_record(lab: Snapshot) -> Json | None:
    """The winner's PGR of record, once the run has ended."""
    winner = lab.entry(lab.winner) if lab.winner is not None else None
    return None if sealed(lab) or winner is None or winner.record is None else winner.record.as_dict()


def difference(one: Snapshot, other: Snapshot) -> Json:
    """Best of `other` minus best of `one` on the feedback task; `why` says where that means nothing."""
    found: Json = {"one": one.name, "other": other.name, "difference": None, "record": None, "why": ""}
    if one.problem.name != other.problem.name:
        return found | {"why": f"different problems: {one.problem.name} and {other.problem.name}"}
    if one.problem.data_hash != other.problem.data_hash:
        return found | {"why": "the same problem with other items (`--fresh`): other floors and ceilings"}
    a, b = one.best, other.best
    if a is None or b is None or not (a.drawn and b.drawn):
        return found | {"why": "one of them has no verified score with an interval yet"}
    found["difference"] = minus(b.pgr, a.pgr).as_dict()
    x, y = of_record(one), of_record(other)
    if x is not None and y is not None:
        found["record"] = minus(Estimate(**y), Estimate(**x)).as_dict()
    return found


def minus(a: Estimate, b: Estimate) -> Estimate:
    """a - b with errors taken as independent: other seeds, so not paired; the same items, so a little too wide."""
    mean = a.mean - b.mean
    return Estimate(
        mean, mean - hypot(a.mean - a.low, b.high - b.mean), mean + hypot(a.high - a.mean, b.mean - b.low),
        min(a.seeds, b.seeds), min(a.items, b.items),
    )  # fmt: skip


# Charts


def curves(labs: Sequence[Snapshot]) -> list[Json]:
    """Best so far over minutes: the points at which each lab's best rose, and its end."""
    found: list[Json] = []
    for lab in labs:
        last = float("-inf")
        for e in lab.entries:
            if e.best > last:
                found.append({"lab": lab.name, "minutes": round(e.minutes, 3), "best": e.best})
                last = e.best
        if lab.entries:
            end = max(lab.research_seconds / 60, lab.entries[-1].minutes)
            found.append({"lab": lab.name, "minutes": round(end, 3), "best": lab.entries[-1].best})
    return found


def draw_curves(labs: Sequence[Snapshot], width: int) -> Any:
    rows = curves(labs)
    if not rows:
        return None
    names = [lab.name for lab in labs if lab.entries]
    colours = (figures.BEST, figures.ALERT, *figures.BASELINES)
    scale = alt.Scale(domain=names, range=[colours[i % len(colours)] for i in range(len(names))])
    dashes = alt.Scale(domain=names, range=[list(figures.DASHES[i % 4]) for i in range(len(names))])
    data = [{**r, "tip": f"{r['lab']}: {r['best']:.2f} after {r['minutes']:.1f} minutes"} for r in rows]
    base = alt.Chart(figures.rows_of(data)).encode(
        x=alt.X("minutes:Q", title="minutes of research"), y=alt.Y("best:Q", title="best verified PGR so far"),
        color=alt.Color("lab:N", scale=scale, legend=alt.Legend(orient="top", title=None)),
    )  # fmt: skip
    lines = base.mark_line(interpolate="step-after", strokeWidth=2.2).encode(
        strokeDash=alt.StrokeDash("lab:N", scale=dashes, legend=None)
    )
    points = base.mark_point(filled=True, size=30)
    return figures.transparent(alt.layer(lines, points).properties(width=width - 70, height=260))


def intervals(labs: Sequence[Snapshot]) -> list[Json]:
    found: list[Json] = []
    for lab in labs:
        if lab.best is not None:
            found.append({"lab": lab.name, "on": "feedback", **lab.best.pgr.as_dict()})
        if (record := of_record(lab)) is not None:
            found.append({"lab": lab.name, "on": "record", **record})
    return found


def draw_intervals(labs: Sequence[Snapshot], width: int) -> Any:
    rows = intervals(labs)
    if not rows:
        return None
    kinds = alt.Scale(domain=["feedback", "record"], range=[figures.BEST, figures.ALERT])
    shapes = alt.Scale(domain=["feedback", "record"], range=["circle", "diamond"])
    legend = alt.Legend(orient="top", title="best PGR on the task of")
    data = [{**r, "tip": f"{r['lab']}, {r['on']}: {r['mean']:.2f} [{r['low']:.2f}, {r['high']:.2f}]"} for r in rows]
    base = alt.Chart(figures.rows_of(data)).encode(
        y=alt.Y("lab:N", title=None, sort=[lab.name for lab in labs]), yOffset="on:N",
        color=alt.Color("on:N", scale=kinds, legend=legend),
    )  # fmt: skip
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title="PGR"), x2="high:Q")
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(
        x="mean:Q", shape=alt.Shape("on:N", scale=shapes, legend=legend)
    )
    return figures.transparent(alt.layer(bars, dots).properties(width=width - 180, height=46 * len(labs)))


CHARTS = {
    "curves": Chart("Best verified PGR over time", draw_curves, curves),
    "intervals": Chart("Best PGR of each lab", draw_intervals, intervals),
}
