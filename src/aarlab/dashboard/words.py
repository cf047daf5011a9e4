"""Markdown of researchers as harmless HTML: no images, no markup of theirs, no links but to web addresses.

What a reader sees is what stands there: format characters become visible, also those that entities spell; a link is
followed by its address; nothing is taken as a definition that is not shown. Time and size are bounded whatever the
text holds: it is cut before it is parsed, tables that would grow are left as text, and so is what is nested so deeply
that the parser would drop it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from aarlab.reports.text import plain

TAGS = {
    "p", "br", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "table", "thead", "tbody", "tr",
    "th", "td", "hr", "h3", "h4", "h5", "h6", "a",
}  # fmt: skip
ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}
WEB = re.compile(r"https?://[^\s<>\"']+", re.IGNORECASE)
"""The only addresses that become links."""

SHOWN = 20_000
"""Characters of one text that a page shows; the rest is a file to download."""
CELLS = 10_000
"""Of tables in one text; a header of many columns over many short rows would make millions."""
ADDRESS = 200  # characters of a link's address that are written after it
KEPT = 512  # rendered texts


def markdown(text: str, limit: int = SHOWN) -> Markup:
    """HTML with TAGS and ATTRIBUTES only, of the first `limit` characters."""
    return _rendered(text[:limit] + "…" if len(text) > limit else text)


@lru_cache(KEPT)
def _rendered(text: str) -> Markup:
    text = plain(text.replace("\r\n", "\n"))
    made = reader(_cells(text) <= CELLS)
    tokens = made.parse(text)
    if max((t.level for t in tokens), default=0) >= made.options.maxNesting - 1:
        return Markup(f"<pre><code>{escape(text)}</code></pre>")
    html = made.renderer.render(tokens, made.options, {})
    clean = nh3.clean(
        html, tags=TAGS, attributes=ATTRIBUTES, url_schemes={"http", "https"}, attribute_filter=_attribute,
        link_rel="noopener noreferrer nofollow",
    )  # fmt: skip
    return Markup(visible(clean))


def visible(html: str) -> str:
    """Format characters that came in as entities become visible too."""
    return html if html.replace("\n", "").replace("\t", "").isprintable() else plain(html)


def _cells(text: str) -> int:
    """No fewer than the cells of all tables that a text may hold."""
    lines = text.splitlines()
    return len(lines) * (1 + max((line.count("|") for line in lines), default=0))


def _attribute(tag: str, name: str, value: str) -> str | None:
    """The value that an attribute keeps; None for what is not ours, the cleaner's own additions among it."""
    if name != "rel" and (name not in ATTRIBUTES.get(tag, ()) or (name == "href" and not WEB.fullmatch(value))):
        return None
    return value


class Reader(MarkdownIt):
    """CommonMark with strikethrough and perhaps tables, without HTML, images and definitions of links."""

    def __init__(self, tables: bool) -> None:
        super().__init__("commonmark", {"html": False, "linkify": False})
        self.enable(["strikethrough", *(["table"] if tables else [])])
        self.disable(["image", "reference"])
        self.add_render_rule("heading_open", _heading("<{}>"))
        self.add_render_rule("heading_close", _heading("</{}>\n"))
        self.add_render_rule("link_close", _address)

    def validateLink(self, url: str) -> bool:  # the name that the parser knows
        return WEB.fullmatch(url) is not None


@cache
def reader(tables: bool) -> Reader:
    return Reader(tables)


def _heading(form: str) -> Any:
    """Headings begin below the page's own two levels."""

    def render(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return form.format(f"h{min(6, int(tokens[index].tag[1]) + 2)}")

    return render


def _address(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """After a link, where it leads and what else it says, unless its text is the address."""
    start = next(i for i in range(index, -1, -1) if tokens[i].type == "link_open")
    target, title = str(tokens[start].attrGet("href")), tokens[start].attrGet("title")
    text = "".join(t.content for t in tokens[start:index])
    more = f', "{title}"' if title else ""
    if tokens[start].info == "auto" or (text.rstrip("/") == target.rstrip("/") and not more):
        return "</a>"
    shown = target if len(target) <= ADDRESS else target[:ADDRESS] + "…"
    return f"</a> ({escape(shown + more)})"
