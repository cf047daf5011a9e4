"""Who built on whom: every method in its researcher's lane, with lines to the one that it builds on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from aarlab.reports.figures import (
    ALERT,
    BEST,
    GRID,
    INK,
    MUTED,
    NARROW,
    Chart,
    Event,
    links,
    minutes_axis,
    rows_of,
    transparent,
)


def chart(events: Sequence[Event], researchers: Sequence[str], minutes: float, width: int = 760) -> Any:
    """Methods over time, one lane per researcher; None where there is none.

    events: `scored` and `failed` submissions; those with `ancestor` lead to the best one and are drawn strong. An event
    whose parent is not among them has no line.
    """
    if not events:
        return None
    inner = width - (96 if width > NARROW else 70)
    end = max([minutes, *(e.minutes for e in events), 0.1])
    x = minutes_axis(end, inner)
    y = alt.Y("who:N", title=None, sort=list(researchers), scale=alt.Scale(domain=list(researchers)))
    lanes = alt.Chart(rows_of([{"who": r} for r in researchers])).mark_rule(color=GRID).encode(y=y)
    layers = [lanes, *links(events, x, y), *_points(events, x, y), _names(events, x, y, 34 * end / inner)]
    return transparent(alt.layer(*layers).properties(width=inner, height=max(60, 28 * len(researchers))))


def _points(events: Sequence[Event], x: alt.X, y: alt.Y) -> list[Chart]:
    """Circles of the methods that lead to the best, small squares of the others, triangles of those that failed."""
    looks: dict[str, dict[str, Any]] = {
        "other": {"shape": "square", "size": 30, "color": MUTED, "opacity": 0.75},
        "failed": {"shape": "triangle-down", "size": 34, "color": ALERT, "opacity": 0.8},
        "ancestor": {"shape": "circle", "size": 90, "color": BEST, "opacity": 1},
    }
    rows = [
        {"who": e.researcher, "m": e.minutes, "look": _look(e), "href": e.href,
         "tip": f"#{e.submission} by {e.researcher}: {e.label}" + (f", builds on #{e.parent}" if e.parent else "")}
        for e in events
    ]  # fmt: skip
    found = []
    for name, look in looks.items():
        own = [r for r in rows if r["look"] == name]
        if own:
            found.append(alt.Chart(rows_of(own)).mark_point(filled=True, **look).encode(x=x, y=y))
    return found


def _look(e: Event) -> str:
    return "ancestor" if e.ancestor else "failed" if e.kind == "failed" else "other"


def _names(events: Sequence[Event], x: alt.X, y: alt.Y, room: float) -> Chart:
    """Numbers above those that lead to the best, the newest first, where `room` minutes of the lane are free."""
    named: list[Event] = []
    for e in sorted((e for e in events if e.ancestor), key=lambda e: -e.minutes):
        if all(e.researcher != n.researcher or abs(e.minutes - n.minutes) > room for n in named):
            named.append(e)
    rows = rows_of([{"who": e.researcher, "m": e.minutes, "t": f"#{e.submission}"} for e in named])
    text = alt.Chart(rows).mark_text(dy=-12, fontSize=11, fontWeight="bold", color=INK)
    return text.encode(x=x, y=y, text="t:N")
