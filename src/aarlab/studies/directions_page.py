"""The directions study in words and files: directions.html (no script, fetches nothing), .json, .svg and .png."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from aarlab.ideas.families import FAMILIES
from aarlab.studies.directions_measure import measure

Json = Mapping[str, Any]

NAME = "directions"
WIDE, SLIM = 1020, 356
KEYS = ("mean", "low", "high")
CLASSED = {"rules": "rules on their code", "llm": "a language model that read their code"}


def write(plan: Json, reports: Sequence[tuple[str, int, Json | None]], folder: Path) -> Path:
    """Measure finished runs and write the four files; gives the page's path."""
    return render(measure(plan, [(arm, n, r) for arm, n, r in reports if r is not None]), folder)


def render(found: Json, folder: Path) -> Path:
    """The files of a measured study."""
    import vl_convert

    from aarlab.reports.directions import drawing

    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / f"{NAME}.json", (json.dumps(found, indent=1, allow_nan=False) + "\n").encode())
    picture = drawing(found).to_dict(validate=False)
    _replace(folder / f"{NAME}.svg", vl_convert.vegalite_to_svg(picture).encode())
    _replace(folder / f"{NAME}.png", vl_convert.vegalite_to_png(picture, scale=2))
    page = folder / f"{NAME}.html"
    _replace(page, _html(found).encode())
    return page


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(content)
    os.replace(fresh, path)


def _html(found: Json) -> str:
    from aarlab.reports import figures
    from aarlab.reports.directions import charts

    loader = jinja2.ChoiceLoader([
        jinja2.PackageLoader("aarlab.studies", "."), jinja2.PackageLoader("aarlab.reports", "templates"),
    ])  # fmt: skip
    words = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    drawn: dict[str, dict[str, str]] = {}
    for size, width in (("wide", WIDE), ("slim", SLIM)):
        for name, chart in charts(found, width).items():
            drawn.setdefault(name, {})[size] = figures.svg(chart, f"{name}-{size}")
    return words.get_template("directions.html.j2").render(
        f=found, figures=drawn, palette=figures.PALETTE, code_light="", code_dark="", headline=headline(found),
        caveats=caveats(found), number=number, signed=signed, families=FAMILIES, classed=CLASSED[found["classed_by"]],
    )  # fmt: skip


def text(found: Json) -> str:
    """The study for a terminal."""
    head = f"{'':32}{'directed':>12}{'undirected':>12}   difference"
    rows = [
        f"{name:32}{number(d['directed']):>12}{number(d['undirected']):>12}   {signed(d)}"
        for name, d in found["differences"].items()
    ]
    return "\n".join([headline(found), "", head, *rows])


def headline(found: Json) -> str:
    """What came out, in words that fit the intervals."""
    n, gaps, plan = found["repeats"], found["differences"], found["plan"]
    repeats = f"{n} repeat{'s' if n != 1 else ''} of {plan['researchers']} researchers on {plan['problem']}."
    spread = _said("Ideas were", gaps["entropy over the run, bits"], "more varied", "bits of entropy")
    return f"{repeats} {spread} {_said('The PGR of record was', gaps['PGR of record'], 'higher', 'PGR')}"


def _said(subject: str, d: Json, word: str, unit: str) -> str:
    if d["mean"] is None:
        return f"{subject} not measured in both arms."
    if d["low"] is None:
        why = "one repeat" if len(d["each"]) == 1 else "all repeats alike"
        return f"{subject} {d['mean']:+.2f} {unit} apart (directed less undirected), without an interval: {why}."
    if d["low"] > 0:
        return f"{subject} {word} with directions: {signed(d)} {unit}."
    if d["high"] < 0:
        return f"{subject} {word} without directions: {signed(d)} {unit}."
    return f"{subject} not told apart: {signed(d)} {unit}."


def caveats(found: Json) -> list[str]:
    """What the numbers do not say."""
    plan, n = found["plan"], found["repeats"]
    out = [
        "Both arms have the same budgets of time, answers and seeds; which arm went first alternated. The answers are "
        "about one label set, and each run counts those of the runs before it.",
        f"Families are those of submissions, by {CLASSED[found['classed_by']]}, not by what researchers declare: who "
        "was given a direction would name it. Posts are not counted.",
        "Entropy of few researchers is biased low, alike in both arms of one size. Its bands resample the researchers "
        "of each run; the differences' intervals are t intervals over repeats.",
    ]
    if n < 5:
        out.append(f"With {n} repeat{'s' if n != 1 else ''} only a large difference of the arms can be seen.")
    if not plan["llm"]:
        out.append(
            "All researchers are parameter searches without a language model: a direction is a prior over the "
            "library's recipes, and the study says nothing about what directions do for language models."
        )
    return out


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) < 0.1 else f"{value:.2f}"


def signed(d: Json) -> str:
    """`+0.21 [+0.15, +0.27]`; without brackets where there is no interval."""
    if d["mean"] is None:
        return "–"
    digits = 4 if max(abs(v) for v in (d["mean"], d["low"] or 0.0, d["high"] or 0.0)) < 0.1 else 2
    mean, low, high = (None if d[k] is None else f"{round(d[k], digits) + 0.0:+.{digits}f}" for k in KEYS)
    return f"{mean}" if low is None else f"{mean} [{low}, {high}]"
