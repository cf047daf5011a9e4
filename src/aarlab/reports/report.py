"""Write a lab's report: `report.html` (one file, no script, no fetch), `report.md`, `report.json`, PNGs."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from aarlab.errors import Infrastructure
from aarlab.reports import sentences
from aarlab.reports.data import RunData, collect, given_up, method
from aarlab.reports.document import document, timeline
from aarlab.reports.results import Results, measure
from aarlab.reports.text import fence, html_code, markdown, plain

FOLDER = "report"
SHOWN_ROWS = 12
BODY_CHARACTERS = 2000
WIDE, SLIM = 1020, 356


def write(lab: Path) -> Path:
    """Measure and draw everything again from the lab folder. Returns the page's path.

    Raises InputError for a folder that is no whole lab, Infrastructure when the files cannot be written.
    """
    data = collect(lab)
    try:
        return render(data, lab / FOLDER)
    except OSError as error:
        raise Infrastructure(
            f"{lab / FOLDER}: the report cannot be written ({error.strerror}); free space and run `aarlab report {lab}`"
        ) from None


def headline(lab: Path) -> str:
    """The first sentence of the report written last."""
    text: str = json.loads((lab / FOLDER / "report.json").read_text("utf-8"))["headline"]
    return text


def render(data: RunData, folder: Path) -> Path:
    """Write the report's files into `folder`, each replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    results = measure(data)
    charts = _charts(data, results)
    _replace(folder / "report.json", json.dumps(document(data, results), indent=1, allow_nan=False).encode())
    _replace(folder / "report.md", _text("report.md.j2", _context(data, results), escape=False).encode())
    context = _context(data, results) | _page(data, results, charts)
    page = folder / "report.html"
    _replace(page, _text("report.html.j2", context, escape=True).encode())
    _write_pngs(folder, charts)
    return page


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(content)
    os.replace(fresh, path)


def _text(template: str, context: dict[str, Any], escape: bool) -> str:
    from aarlab.reports.templating import environment

    made = environment(escape=escape)
    made.filters |= {"md": markdown, "moment": _moment, "since": _since}
    if not escape:
        made.filters["clock"] = _since  # Markdown says every time so
    return made.get_template(template).render(context)


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _since(seconds: float) -> str:
    """`0:42`, `12:05`, `3:05:10`."""
    whole = max(0, int(seconds))
    return (
        f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
        if whole >= 3600
        else f"{whole // 60}:{whole % 60:02d}"
    )


def _context(data: RunData, results: Results) -> dict[str, Any]:
    """What both the page and the Markdown show."""
    from aarlab.reports import audited, costs, ideas, scan

    points = {p.submission: p for p in results.points}
    return {
        "data": data, "run": data.run, "results": results, "record": results.record, "points": points,
        "headline": sentences.headline(data, results),
        "believe": sentences.believe(data, results), "doubt": sentences.doubt(data, results),
        "winner": data.submission(data.winner) if data.winner is not None else None,
        "winner_key": method(data.winner) if data.winner is not None else "",
        "lineage": [data.submission(i) for i in results.lineage],
        "posts": sorted(data.posts, key=lambda p: p.created), "body_characters": BODY_CHARACTERS,
        "kept": audited.kept(results), "overrulings": audited.overrulings(data),
        "alarms": [(x.time, audited.alarm(x.body)) for x in data.alarms],
        "barred": [s for s in data.submissions if not s.ranked and s.remark],
        "events": timeline(data, results), "shown_rows": SHOWN_ROWS, "states": _states(data),
        "fence": fence(data.winner_source), "source": plain(data.winner_source).rstrip(),
        **costs.context(data, results), **scan.context(data), "places": data.places,
        **ideas.context(data, results),
    }  # fmt: skip


def _states(data: RunData) -> dict[str, int]:
    """How many submissions are in each state, most frequent first."""
    counts: dict[str, int] = {}
    for s in data.submissions:
        state = "given up by the lab" if given_up(s) else s.status.replace("_", " ")
        counts[state] = counts.get(state, 0) + 1
    return dict(sorted(counts.items(), key=lambda kv: -kv[1]))


def _page(data: RunData, results: Results, charts: dict[str, Any]) -> dict[str, Any]:
    """What only the page needs: its tables as the dashboard has them, drawings, and code in colours."""
    from aarlab.reports import figures, rows

    drawn = {
        name: {size: figures.svg(chart, f"{name}-{size}") for size, chart in sizes.items()}
        for name, sizes in charts.items()
    }
    return {**rows.context(data, results), "figures": drawn, "code": html_code(data.winner_source)}


def _charts(data: RunData, results: Results) -> dict[str, Any]:
    """Each chart at two widths, for a desk and for a hand."""
    from aarlab.reports import audited, draw, ideas

    makers = {
        "time": partial(draw.over_time, data, results),
        "record": partial(draw.by_task, data, results),
        "claims": partial(draw.claims, results),
        "audits": partial(audited.chart, data),
        "activity": partial(draw.activity, data, results),
        "entropy": partial(ideas.entropy_chart, data),
        "families": partial(ideas.families_chart, data),
        "complexity": partial(ideas.complexity_chart, data, results),
    }
    charts = {name: {"wide": make(WIDE), "slim": make(SLIM)} for name, make in makers.items()}
    return {name: sizes for name, sizes in charts.items() if sizes["wide"] is not None}


def _write_pngs(folder: Path, charts: dict[str, Any]) -> None:
    from aarlab.reports import figures

    for name, file in (("time", "pgr-over-time.png"), ("record", "record.png"), ("entropy", "entropy.png")):
        if name in charts:
            _replace(folder / file, figures.png(charts[name]["wide"]))
        else:
            (folder / file).unlink(missing_ok=True)
