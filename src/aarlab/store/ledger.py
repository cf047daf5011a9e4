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


def _line(row: Row[Any]) -> LedgerLine:
    return LedgerLine(**{**row._mapping, "body": json.loads(row.body)})
