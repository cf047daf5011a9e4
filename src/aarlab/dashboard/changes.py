"""Method files as pages show them: highlighted with numbered lines, and what changed between two of them."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape
from typing import Any

from markupsafe import Markup

from aarlab.reports import sentences
from aarlab.reports.text import plain

CONTEXT = 3  # unchanged lines around a change
MOST_WORK = 8_000_000
"""Comparisons that a diff may need; two files that were made to need more would hold the page up for minutes."""

MOST_COLOURED = 30_000
"""Characters of a file that is highlighted; a longer one is shown plain."""

NOISE = re.compile(r'<span class="(?:n|p|o|w|nn)">(.*?)</span>')
"""Names, operators and blanks look like the text around them and need no element."""


class Code(str):
    """A method file: itself as data, numbered and highlighted lines (`span.l`, `#L12`) in a template."""

    __slots__ = ()

    def __html__(self) -> str:
        return _highlighted(str(self))


@lru_cache(maxsize=64)
def _highlighted(source: str) -> Markup:
    lines = _coloured(source) if len(source) <= MOST_COLOURED else escape(plain(source))
    shown = lines.removesuffix("\n").split("\n")
    return Markup("".join(f'<span class="l" id="L{i}">{line}\n</span>' for i, line in enumerate(shown, 1)))


def _coloured(source: str) -> str:
    """Escaped HTML whose elements all end on their line."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    made: str = highlight(plain(source), PythonLexer(stripnl=False), HtmlFormatter(nowrap=True))
    return NOISE.sub(r"\1", made)


@lru_cache(maxsize=64)
def changes(old: str, new: str) -> tuple[dict[str, Any], ...] | None:
    """{"kind", "old", "new", "text"} of every changed line and those around it; None where that takes too long.

    kind: `add`, `del`, `same`, or `gap` for lines left out. old, new: line numbers from 1, None where it has none.
    """
    a, b = lines(old), lines(new)
    if _work(a, b) > MOST_WORK:
        return None
    found: list[dict[str, Any]] = []
    last = 0
    for group in difflib.SequenceMatcher(None, a, b).get_grouped_opcodes(CONTEXT):
        if group[0][1] > last:
            found.append(_gap(group[0][1] - last))
        for change in group:
            found += _rows(change, a, b)
        last = group[-1][2]
    if found and len(a) > last:
        found.append(_gap(len(a) - last))
    return tuple(found)


def lines(source: str) -> list[str]:
    return plain(source.replace("\r\n", "\n")).removesuffix("\n").split("\n")


def _rows(change: tuple[str, int, int, int, int], a: Sequence[str], b: Sequence[str]) -> Iterator[dict[str, Any]]:
    what, a1, a2, b1, b2 = change
    if what == "equal":
        for i, j in zip(range(a1, a2), range(b1, b2), strict=True):
            yield {"kind": "same", "old": i + 1, "new": j + 1, "text": a[i]}
        return
    yield from ({"kind": "del", "old": i + 1, "new": None, "text": a[i]} for i in range(a1, a2))
    yield from ({"kind": "add", "old": None, "new": j + 1, "text": b[j]} for j in range(b1, b2))


def _gap(n: int) -> dict[str, Any]:
    return {"kind": "gap", "old": None, "new": None, "text": f"{sentences.count(n, 'line')} alike"}


def _work(a: Sequence[str], b: Sequence[str]) -> int:
    """No fewer than the steps of `SequenceMatcher`: pairs of equal lines, looked at again for each block it finds.

    Lines that are more frequent than one in a hundred of a long file are not among its candidates.
    """
    often, length = Counter(b), len(b)
    popular = {line for line, n in often.items() if length >= 200 and n > length // 100 + 1}
    pairs = sum(n * often[line] for line, n in Counter(a).items() if line not in popular)
    return (pairs + len(a)) * max(1, min(len(a), length))
