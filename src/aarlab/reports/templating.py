"""What templates are read with: filters and macros that the report and the dashboard's pages share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aarlab.reports import sentences
from aarlab.reports.text import plain

TEMPLATES = Path(__file__).parent / "templates"


def environment(*folders: Path, escape: bool = True) -> Environment:
    """Templates of these folders, then of this package. In HTML `m` holds the shared macros (`macros.j2`)."""
    made = Environment(
        loader=FileSystemLoader((*folders, TEMPLATES)), autoescape=escape, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    made.filters |= {
        "number": sentences.number, "signed": sentences.signed, "money": sentences.money, "plain": plain,
        "zero": sentences.plus_zero, "iso": iso, "ago": ago, "clock": clock, "share": share,
    }  # fmt: skip
    made.globals["at"] = at
    if escape:
        made.globals["m"] = made.get_template("macros.j2").module
    return made


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def ago(seconds: float | None) -> Markup | str:
    """A moment: exact for machines and on hover, relative where a script runs that makes it so."""
    if seconds is None:
        return "–"
    exact = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup(f'<time datetime="{iso(seconds)}" title="{exact}" data-relative>{exact[:16]} UTC</time>')


def clock(seconds: float) -> str:
    """`42 s`, `12 min`, `3 h 05 min`, `2 d 04 h`."""
    whole = max(0, int(seconds))
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h {whole // 60 % 60:02d} min"
    return f"{whole // 86_400} d {whole // 3600 % 24:02d} h"


def at(value: float, scale: Mapping[str, float]) -> str:
    """Where a number lies between the `low` and the `high` of a bar's scale, in percent; at its end beyond it."""
    low, high = scale["low"], scale["high"]
    return f"{100 * (min(max(value, low), high) - low) / (high - low):.1f}"


def share(used: float, limit: float | None) -> float:
    """Percent of a budget, from 0 to 100."""
    return round(min(100.0, 100.0 * used / limit), 1) if limit else 0.0
