"""What answers can have told: how many were given over time, and the most bits that they carry, against the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from aarlab.reports.figures import ALERT, BEST, INK, MUTED, NARROW, Chart, minutes_axis, rows_of, transparent

MOST = 900
"""Answers that are drawn one by one."""


@dataclass(frozen=True)
class Told:
    """One answer of the Ladder. minutes since the start; bits: the most that all answers up to it carry."""

    number: int
    minutes: float
    bits: float
    record: bool  # it said "new record"
    submission: int
    href: str = ""


def chart(told: Sequence[Told], answers: int, bound: float, minutes: float, width: int = 760) -> Any:
    """Two panels over time. answers, bound: what the whole budget allows, in answers and in bits."""
    inner = width - (150 if width > NARROW else 112)
    end = max([minutes, *(t.minutes for t in told), 0.1])
    shown = _spread(told)
    rows: list[dict[str, Any]] = [{"m": 0.0, "answers": 0, "bits": 0.0}]
    rows += [{"m": t.minutes, "answers": t.number, "bits": t.bits} for t in shown]
    rows.append({**rows[-1], "m": end})
    dots = [
        {"m": t.minutes, "answers": t.number, "bits": t.bits, "record": t.record, "href": t.href,
         "tip": f"answer {t.number} (#{t.submission}): {'new record' if t.record else 'no new record'}, "
                f"at most {t.bits:.1f} bits so far"}
        for t in shown
    ]  # fmt: skip
    panels = [
        _panel(rows, dots, "answers", "answers given", float(answers), f"{answers} allowed", end, inner, 100),
        _panel(rows, dots, "bits", "bits released at most", bound, f"{bound:.0f} bits, the bound", end, inner, 130),
    ]
    return transparent(alt.vconcat(*panels, spacing=14))


def _spread(told: Sequence[Told]) -> list[Told]:
    """All answers, or where there are too many to tell apart every so many, all records and the last."""
    step = -(-len(told) // MOST)
    return [t for t in told if step < 2 or t.record or t.number % step == 0 or t is told[-1]]


def _panel(
    rows: Sequence[dict[str, Any]], dots: Sequence[dict[str, Any]], what: str, title: str, limit: float, words: str,
    end: float, inner: int, height: int,
) -> Chart:  # fmt: skip
    top = max([limit, *(float(r[what]) for r in rows)]) * 1.08 or 1.0
    x = minutes_axis(end, inner)
    y = alt.Y(f"{what}:Q", title=title, scale=alt.Scale(domain=[0, top], nice=False), axis=alt.Axis(tickCount=4))
    bound = alt.Chart(rows_of([{what: limit, "t": words}])).encode(y=y)
    layers = [
        bound.mark_rule(color=ALERT, strokeDash=[6, 3], strokeWidth=1.4),
        bound.mark_text(align="left", dx=6, color=ALERT, fontSize=11, limit=104).encode(x=alt.value(inner), text="t:N"),
        alt.Chart(rows_of(rows)).mark_line(color=BEST, strokeWidth=2.2, interpolate="step-after").encode(x=x, y=y),
    ]
    if dots:
        layers += _dots(dots, x, y)
        last = {what: dots[-1][what], "t": f"{float(dots[-1][what]):.3g} so far"}
        text = alt.Chart(rows_of([last])).mark_text(align="left", dx=6, color=BEST, fontSize=11, fontWeight="bold")
        if float(dots[-1][what]) < 0.88 * limit:  # else it would lie on the words of the bound
            layers.append(text.encode(x=alt.value(inner), y=y, text="t:N"))
    return alt.layer(*layers).properties(width=inner, height=height)


def _dots(dots: Sequence[dict[str, Any]], x: alt.X, y: alt.Y) -> list[Chart]:
    """Records are diamonds, other answers small circles."""
    base = alt.Chart(rows_of(dots)).encode(x=x, y=y)
    plain = base.transform_filter("!datum.record").mark_point(filled=True, size=18, color=MUTED, opacity=0.9)
    record = base.transform_filter("datum.record")
    return [plain, record.mark_point(filled=True, size=52, shape="diamond", color=INK, opacity=1)]
