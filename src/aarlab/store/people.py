"""Rows of researchers, people and the lab itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, text, update

from aarlab.records import ResearcherRow
from aarlab.store import tables as t
from aarlab.store.base import Base

BY_NAME = select(t.researchers).where(t.researchers.c.name == bindparam("name"))
"""Put together once: it is asked in nearly every request."""


class PeopleRows(Base):
    def add_researcher(self, row: ResearcherRow) -> None:
        values = asdict(row)
        values.pop("options")
        self.c.execute(insert(t.researchers).values(**values))

    def researchers(self) -> list[ResearcherRow]:
        """Everybody with a row, in the order they were added."""
        return [_researcher(r) for r in self.c.execute(select(t.researchers).order_by(text("rowid")))]

    def researcher(self, name: str) -> ResearcherRow | None:
        found = self.c.execute(BY_NAME, {"name": name}).one_or_none()
        return None if found is None else _researcher(found)

    def set_alive(self, name: str, now: float) -> None:
        """Note a sign of life."""
        self.c.exec_driver_sql("UPDATE researchers SET heartbeat = ? WHERE name = ?", (now, name))

    def set_researcher(self, name: str, **values: Any) -> None:
        self.c.execute(update(t.researchers).where(t.researchers.c.name == name).values(**values))


def _researcher(row: Row[Any]) -> ResearcherRow:
    return ResearcherRow(**row._mapping)
