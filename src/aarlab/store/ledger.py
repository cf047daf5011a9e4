"""Rows of the ledger. Only appended to; there is no method that changes or removes one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select

from aarlab.records import LedgerLine
from aarlab.store import tables as t
from aarlab.store.base import Base

OFTEN = ("submission", "answer", "failed", "repeat")
"""Kinds that every submission leaves once, when it comes in or when it ends: most of a ledger's lines."""

SLACK_SECONDS = 60.0
"""By which a line may be later than what it tells of, where a clock was set back."""


class LedgerRows(Base):
    def last_line(self) -> LedgerLine | None:
        found = self.c.execute(select(t.ledger).order_by(t.ledger.c.number.desc()).limit(1)).one_or_none()
        return None if found is None else _line(found)

    def add_line(self, line: LedgerLine) -> None:
        values = {**vars(line), "body": json.dumps(line.body)}
        self.c.execute(insert(t.ledger).values(**values))

    def lines(self) -> list[LedgerLine]:
        return [_line(r) for r in self.c.execute(select(t.ledger).order_by(t.ledger.c.number))]

    def lines_of(self, kind: str) -> list[LedgerLine]:
        """The lines of one kind, oldest first."""
        query = select(t.ledger).where(t.ledger.c.kind == kind).order_by(t.ledger.c.number)
        return [_line(r) for r in self.c.execute(query)]

    def line_page(
        self, before: int | None = None, limit: int = 50, kinds: Sequence[str] | None = None
    ) -> list[LedgerLine]:
        """The newest lines, or those before a number, newest first; of all kinds, or of some."""
        query = select(t.ledger).order_by(t.ledger.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(t.ledger.c.number < before)
        if kinds is not None:
            query = query.where(t.ledger.c.kind.in_(kinds))
        return [_line(r) for r in self.c.execute(query)]

    def line_counts(self) -> dict[str, int]:
        """Kind -> how many lines, the most frequent first."""
        number = func.count()
        query = select(t.ledger.c.kind, number).group_by(t.ledger.c.kind).order_by(number.desc(), t.ledger.c.kind)
        return {str(row[0]): int(row[1]) for row in self.c.execute(query)}

    def lines_about(self, submission: int, limit: int = 100) -> list[LedgerLine]:
        """The first lines about one submission, oldest first; none where there is no such submission."""
        s = t.submissions.c
        moments = self.c.execute(select(s.created, s.finished).where(s.id == submission)).one_or_none()
        if moments is None:
            return []
        ledger, end = t.ledger.c, (moments.finished or moments.created) + SLACK_SECONDS
        soon = or_(ledger.kind.not_in(OFTEN), ledger.time <= end) if moments.finished else ledger.kind != ""
        found = self._about(submission, and_(ledger.time >= moments.created, soon), limit)
        whole = any(line.kind == "submission" for line in found)
        return found if whole else self._about(submission, ledger.kind != "", limit)

    def _about(self, submission: int, where: ColumnElement[bool], limit: int) -> list[LedgerLine]:
        """`where` comes first and spares most lines the reading of their body."""
        ledger = t.ledger.c
        named = or_(
            func.json_extract(ledger.body, "$.submission") == submission,
            and_(ledger.kind == "submission", func.json_extract(ledger.body, "$.id") == submission),
            ledger.kind == "phase",
        )
        query = select(t.ledger).where(where, named).order_by(ledger.number)
        return [line for line in map(_line, self.c.execute(query)) if _names(line, submission)][:limit]


def _names(line: LedgerLine, submission: int) -> bool:
    """Phases name those that they audit or open in lists."""
    lists = (line.body.get(k, ()) for k in ("audited", "finalists"))
    return line.kind != "phase" or submission == line.body.get("winner") or any(submission in x for x in lists)


def _line(row: Row[Any]) -> LedgerLine:
    return LedgerLine(**{**row._mapping, "body": json.loads(row.body)})
