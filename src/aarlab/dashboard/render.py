"""Templates: whole pages, and the parts of a page that are sent again when something has changed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from aarlab.dashboard.words import markdown
from aarlab.reports import sentences
from aarlab.reports.text import plain

HERE = Path(__file__).parent
TEMPLATES = (HERE / "templates", HERE.parent / "reports" / "templates")
"""Pages and the report share macros; a name is looked for here first."""

FRAME = "lab.html.j2"
"""What all pages of a lab extend."""

PART = "part_"
"""Blocks of a template whose name begins so are sent again by live updates."""


@cache
def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    made.filters |= {
        "number": sentences.number, "signed": sentences.signed, "money": sentences.money, "plain": plain,
        "zero": sentences.plus_zero, "iso": iso, "ago": ago, "clock": clock, "markdown": markdown, "share": share,
    }  # fmt: skip
    made.globals |= {"static": static, "p": made.get_template("parts.j2").module}
    return made


def page(template: str, context: dict[str, Any]) -> str:
    """A whole page."""
    return environment().get_template(template).render(context)


def parts(template: str, context: dict[str, Any]) -> dict[str, str]:
    """The page's live parts: element id -> HTML."""
    found: dict[str, str] = {}
    for name in (FRAME, template):  # a template's blocks are its own alone
        part: Template = environment().get_template(name)
        inside = part.new_context(context)
        found |= {n: "".join(b(inside)).strip() for n, b in part.blocks.items() if n.startswith(PART)}
    return found


@cache
def static(name: str) -> str:
    """The address of a static file; another one whenever the file is another."""
    return f"/static/{name}?v={hashlib.sha256((HERE / 'static' / name).read_bytes()).hexdigest()[:12]}"


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def ago(seconds: float | None) -> Markup | str:
    """A moment: exact for machines and on hover, relative once the script has run."""
    if seconds is None:
        return "–"
    exact = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup(f'<time datetime="{iso(seconds)}" title="{exact}" data-relative>{exact[:16]}</time>')


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


def share(used: float, limit: float | None) -> float:
    """Percent of a budget, from 0 to 100."""
    return round(min(100.0, 100.0 * used / limit), 1) if limit else 0.0
