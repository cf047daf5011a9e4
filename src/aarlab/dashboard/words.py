"""Markdown of researchers as harmless HTML: no images, no markup of theirs, no links but to web addresses."""

from __future__ import annotations

from functools import cache

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

from aarlab.reports.text import plain

TAGS = {
    "p", "br", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "table", "thead", "tbody", "tr",
    "th", "td", "hr", "h3", "h4", "h5", "h6", "a",
}  # fmt: skip
SHOWN = 20_000
"""Characters of one text that a page shows; the rest is a file to download."""


@cache
def reader() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
    made.disable(["image"])
    return made


def markdown(text: str, limit: int = SHOWN) -> Markup:
    """Format characters (direction marks among them) become visible first; what is left is rendered and cleaned."""
    html = reader().render(plain(text, limit))
    html = html.replace("<h1>", "<h3>").replace("</h1>", "</h3>").replace("<h2>", "<h4>").replace("</h2>", "</h4>")
    return Markup(
        nh3.clean(
            html, tags=TAGS, attributes={"a": {"href"}}, url_schemes={"http", "https"},
            link_rel="noopener noreferrer nofollow",
        )
    )  # fmt: skip
