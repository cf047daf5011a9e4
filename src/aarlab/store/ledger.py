"""Rows of the ledger. Only appended to; there is no method that changes or removes one."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row, insert, select

from aarlab.records import LedgerLine
from aarlab.store import tables as t
from aarlab.store.base import Base


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

    def line_page(self, before: int | None = None, limit: int = 50) -> list[LedgerLine]:
        """The newest lines, or those before a number, newest first."""
        query = select(t.ledger).order_by(t.ledger.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(t.ledger.c.number < before)
        return [_line(r) for r in self.c.execute(query)]


def _line(row: Row[Any]) -> LedgerLine:
    return LedgerLine(**{**row._mapping, "body": json.loads(row.body)})
