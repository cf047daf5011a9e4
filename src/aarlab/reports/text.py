"""Text that researchers wrote, made safe to show: it is quoted as data and never becomes markup."""

from __future__ import annotations

import re
import unicodedata

MARKS = re.compile(r"([\\`*_\[\]|~$@]|:(?=//)|^[#+\-=]|(?:(?<=^\d)|(?<=^\d\d))[.)](?= ))")


def plain(text: str, limit: int = 0) -> str:
    """Visible text only: control, direction and other format characters become `\\uXXXX`; cut after `limit`."""
    cut = text[:limit] + "…" if limit and len(text) > limit else text
    if cut.isprintable():  # holds none of them; nearly all text on a page is so
        return cut
    return "".join(c if c in "\n\t" or not _hidden(c) else f"\\u{ord(c):04x}" for c in cut)


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def markdown(text: str, limit: int = 0) -> str:
    """One line in which nothing becomes markup, a link or a mention, in Markdown or in the HTML made of it."""
    line = " ".join(plain(text, limit).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKS.sub(r"\\\1", line)


def fence(source: str) -> str:
    """A code fence longer than any run of backticks in the source."""
    longest = max((len(run) for run in re.findall(r"`+", source)), default=0)
    return "`" * max(3, longest + 1)


def html_code(source: str) -> str:
    """Highlighted, escaped HTML of a method file; `base.css` has the colours."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    shown: str = highlight(plain(source), PythonLexer(), HtmlFormatter(nowrap=True)) if source else ""
    return shown
