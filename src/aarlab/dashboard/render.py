"""Templates: whole pages, and the parts of a page that are sent again when something has changed."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, Template

from aarlab.dashboard.words import markdown
from aarlab.reports import templating

HERE = Path(__file__).parent

STYLE = templating.TEMPLATES / "base.css"
"""The report's own style, which pages load too."""

FRAME = "lab.html.j2"
"""What all pages of a lab extend."""

PART = "part_"
"""Blocks of a template whose name begins so are sent again by live updates."""


@cache
def environment() -> Environment:
    """The report's filters and macros, with what only pages have: `p` (parts.j2) knows of links, charts and forms."""
    made = templating.environment(HERE / "templates")
    made.filters["markdown"] = markdown
    made.globals["static"] = static
    made.globals["p"] = made.get_template("parts.j2").module
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
    path = STYLE if name == STYLE.name else HERE / "static" / name
    return f"/static/{name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
