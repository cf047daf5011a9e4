"""The exfiltration study's drawing: PGR stolen against answers, and the leak that trains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt

from aarlab.reports.figures import ALERT, BASELINES, BEST, INK, MUTED, Chart, dodge, standalone

OCHRE, GREEN, PLUM, _ = BASELINES
STYLES: Mapping[str, tuple[str, list[int], float]] = {
    "exact": (INK, [1, 0], 2.0),
    "rounded to 0.5 points": (BEST, [1, 0], 1.6),
    "rounded to 1 point": (BEST, [7, 3], 1.6),
    "rounded to 2 points": (BEST, [2, 3], 1.6),
    "Gauss 1 point": (OCHRE, [1, 0], 1.6),
    "Gauss 2 points": (OCHRE, [7, 3], 1.6),
    "practice mode": (PLUM, [1, 0], 1.8),
    "Ladder from zero, nine": (GREEN, [7, 3], 1.6),
    "Ladder of the lab": (ALERT, [1, 0], 2.6),
}
"""Colour, dashes and width of each mechanism."""

WIDTH, HEIGHT = 620, 380
PANEL, PANEL_HEIGHT = 196, 230
GUIDES = {10: "practice mode: 10", 50: "one agent: 50", 450: "nine agents of 50: 450"}
POWER = 0.5
"""PGR is drawn on a square-root scale: hundredths and the whole gap on one axis."""


def drawing(found: Mapping[str, Any]) -> Chart:
    """Both charts of a study (`aarlab.studies.exfiltration.study`), one above the other, on white."""
    parts = [stolen(found), trained(found["direction"])]
    whole = alt.vconcat(*parts, spacing=34).resolve_scale(x="independent", y="independent", color="independent")
    return standalone(whole)


def _title(text: str, below: str) -> alt.TitleParams:
    return alt.TitleParams(
        text, subtitle=below, anchor="start", fontSize=13, color=INK, subtitleColor=MUTED, subtitleFontSize=11,
        fontWeight="bold", offset=22, frame="group",
    )  # fmt: skip


# Stolen labels


def stolen(found: Mapping[str, Any]) -> Chart:
    """PGR stolen by the best attack against the number of answers, one line a mechanism, with bands."""
    rows = [row for m in found["mechanisms"] for row in _lines(m)]
    top = max(1.1, max(r["high"] for r in rows)) * 1.04
    scale = alt.Scale(type="pow", exponent=POWER, domain=[0, top], nice=False)
    ticks = [t for t in (0, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3) if t <= top]
    y = alt.Y("pgr:Q", title="PGR stolen", scale=scale, axis=alt.Axis(values=ticks, format="~g", gridOpacity=0.7))
    span = alt.Scale(type="log", domain=[1, max(found["answers"])], nice=False)
    shown = [v for v in (1, 3, 10, 30, 100, 300, 1000, 3000) if v <= max(found["answers"])]
    axis = alt.Axis(values=shown, format=",d", grid=False)
    x = alt.X("answers:Q", title="answers, of all agents together", scale=span, axis=axis)
    names = [m["name"] for m in found["mechanisms"]]
    layers = [_guides(span, max(found["answers"])), _whole_gap(found, scale), _bands(rows, x, y), _curves(rows, x, y)]
    layers.append(_names(found, names, top))
    below = f"{found['problem']}, task {found['task']}, {found['items']:,} items; best attack, 95 % band of the mean"
    title = _title(f"Labels stolen from {found['base']} by answers to lists of predictions", below)
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=title)


def _lines(m: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Points of one mechanism, as long as it answers."""
    rows = [
        {"name": m["name"], "answers": b["answers"], "pgr": max(0.0, b["pgr"]["mean"]),
         "low": max(0.0, b["pgr"]["low"]), "high": max(0.0, b["pgr"]["high"])}
        for b in m["best"]
    ]  # fmt: skip
    return [r for r in rows if not m["limit"] or r["answers"] <= m["limit"]]


def _bands(rows: Sequence[Mapping[str, Any]], x: alt.X, y: alt.Y) -> Chart:
    base = alt.Chart(alt.InlineData(values=list(rows)))
    low, high = alt.Y("low:Q", scale=y["scale"], title=y["title"]), alt.Y2("high:Q")
    return base.mark_area(opacity=0.13).encode(x=x, y=low, y2=high, color=_colour())


def _colour() -> alt.Color:
    scale = alt.Scale(domain=list(STYLES), range=[c for c, _, _ in STYLES.values()])
    return alt.Color("name:N", scale=scale, legend=None)


def _curves(rows: Sequence[Mapping[str, Any]], x: alt.X, y: alt.Y) -> Chart:
    """One layer a mechanism: width and dashes are no fields; a dot where practice mode ends."""
    charts = []
    for name, (colour, dash, width) in STYLES.items():
        own = [r for r in rows if r["name"] == name]
        if not own:
            continue
        line = alt.Chart(alt.InlineData(values=own)).mark_line(color=colour, strokeDash=dash, strokeWidth=width)
        charts.append(line.encode(x=x, y=y))
        if name == "practice mode":
            dot = alt.Chart(alt.InlineData(values=own[-1:])).mark_point(filled=True, size=60, color=colour, opacity=1)
            charts.append(dot.encode(x=x, y=y))
    return alt.layer(*charts)


def _guides(span: alt.Scale, most: int) -> Chart:
    """Budgets as vertical lines."""
    rows = [{"answers": k, "t": text} for k, text in GUIDES.items() if k <= most]
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=alt.X("answers:Q", scale=span))
    text = base.mark_text(dy=-5, fontSize=10.5, color=MUTED, baseline="bottom")
    rule = base.mark_rule(color=MUTED, strokeDash=[3, 3], strokeWidth=1)
    return rule + text.encode(y=alt.value(0), text="t:N")


def _whole_gap(found: Mapping[str, Any], scale: alt.Scale) -> Chart:
    """PGR 1: what lies between teacher and ceiling."""
    text = f"the whole gap: {100 * found['gap']:.1f} points\n(published study: {100 * found['paper_gap']:.0f})"
    base = alt.Chart(alt.InlineData(values=[{"pgr": 1, "t": text}])).encode(y=alt.Y("pgr:Q", scale=scale))
    note = base.mark_text(align="left", dx=4, dy=-20, fontSize=10.5, color=MUTED, lineBreak="\n")
    return base.mark_rule(color=MUTED, strokeWidth=1) + note.encode(x=alt.value(0), text="t:N")


def _names(found: Mapping[str, Any], names: Sequence[str], top: float) -> Chart:
    """Each mechanism's name at the end of its line, kept apart; practice mode ends early and is named there."""
    ends = {m["name"]: (_lines(m) or [{"pgr": 0.0}])[-1]["pgr"] for m in found["mechanisms"]}
    right = [n for n in reversed(names) if n != "practice mode"]  # of equals the first one named comes out on top
    wanted = [HEIGHT * (1 - (ends[n] / top) ** POWER) for n in right]
    places = dodge(wanted, 14, 4, HEIGHT - 2)
    charts = [_word(n, WIDTH + 8, p) for n, p in zip(right, places, strict=True)]
    if "practice mode" in names:
        height = HEIGHT * (1 - (ends["practice mode"] / top) ** POWER)
        charts.append(
            _word("practice mode", WIDTH * math.log(10) / math.log(max(found["answers"])) - 8, height - 32, "right")
        )
    return alt.layer(*charts)


def _word(name: str, x: float, y: float, align: Literal["left", "right"] = "left") -> Chart:
    data = alt.InlineData(values=[{"n": name}])
    mark = alt.Chart(data).mark_text(align=align, fontSize=11, color=STYLES[name][0], fontWeight="bold")
    return mark.encode(x=alt.value(x), y=alt.value(y), text="n:N")


# The leak that trains


def trained(found: Mapping[str, Any]) -> Chart:
    """PGR after tuning on answers: on the items that answered, on a same-task vault and on new tasks."""
    values = [e for m in found["mechanisms"] for row in m["pgr"] for e in row]
    span = [min(-0.1, min(e["low"] for e in values)) - 0.03, max(1.05, max(e["high"] for e in values) + 0.03)]
    charts = [_place(found, i, span) for i in range(len(found["places"]))]
    below = f"{found['weights']} weights beside the baseline, changed by an evolution strategy; 95 % bands"
    return alt.hconcat(*charts, spacing=16, title=_title("The leak that trains: tuning on answers alone", below))


def _place(found: Mapping[str, Any], at: int, span: Sequence[float]) -> Chart:
    first, last = at == 0, at == len(found["places"]) - 1
    scale = alt.Scale(domain=list(span), nice=False)
    axis = alt.Axis(labels=first, ticks=first, domain=first, tickCount=6, gridOpacity=0.7)
    y = alt.Y("pgr:Q", title="PGR" if first else None, scale=scale, axis=axis)
    wide = alt.Scale(type="pow", exponent=0.5, domain=[0, max(found["answers"])], nice=False)
    x = alt.X("answers:Q", title="answers", scale=wide, axis=alt.Axis(values=list(found["answers"]), grid=False))
    marks = alt.Chart(alt.InlineData(values=[{"pgr": 0}, {"pgr": 1}])).mark_rule(color=MUTED, strokeWidth=1)
    layers = [marks.encode(y=y), *(_tuned(found["answers"], m, at, x, y) for m in found["mechanisms"])]
    if last:
        ends = [PANEL_HEIGHT * (span[1] - m["pgr"][-1][at]["mean"]) / (span[1] - span[0]) for m in found["mechanisms"]]
        places = dodge(ends, 14, 4, PANEL_HEIGHT - 2)
        layers += [_word(m["name"], PANEL + 8, p) for m, p in zip(found["mechanisms"], places, strict=True)]
    title = alt.TitleParams(
        found["places"][at], anchor="start", fontSize=12, color=INK, fontWeight="normal", frame="group"
    )
    return alt.layer(*layers).properties(width=PANEL, height=PANEL_HEIGHT, title=title)


def _tuned(answers: Sequence[int], m: Mapping[str, Any], at: int, x: alt.X, y: alt.Y) -> Chart:
    """One mechanism's line with its band in one panel."""
    rows = [
        {"answers": k, "pgr": row[at]["mean"], "low": row[at]["low"], "high": row[at]["high"]}
        for k, row in zip(answers, m["pgr"], strict=True)
    ]
    colour, dash, _ = STYLES[m["name"]]
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=x)
    low = alt.Y("low:Q", scale=y["scale"], axis=y["axis"])
    band = base.mark_area(opacity=0.12, color=colour).encode(y=low, y2="high:Q")
    return band + base.mark_line(strokeWidth=1.8, color=colour, strokeDash=dash).encode(y=y)
