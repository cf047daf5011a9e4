"""Rows that say to which family of methods a submission or a post belongs."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert as upsert

from aarlab.records import IdeaKind, IdeaRow
from aarlab.store import tables as t
from aarlab.store.base import Base, made


class IdeaRows(Base):
    def set_idea(self, row: IdeaRow) -> None:
        """Keep what `row.by` says, in place of what it said of the same thing before."""
        new = upsert(t.ideas).values(**asdict(row))
        keys = ["kind", "number", "by"]
        self.c.execute(new.on_conflict_do_update(index_elements=keys, set_={"family": new.excluded.family}))

    def ideas(self, kind: IdeaKind | None = None, by: str | None = None, since: int = 0) -> list[IdeaRow]:
        """All that was said, by kind and number; `since`: the first number that matters."""
        i = t.ideas.c
        query = select(t.ideas).order_by(i.kind, i.number, i.by)
        if kind is not None:
            query = query.where(i.kind == kind)
        if by is not None:
            query = query.where(i.by == by)
        if since:
            query = query.where(i.number >= since)
        return made(IdeaRow, self.c.execute(query))

    def declared(self, kind: IdeaKind, number: int) -> str:
        """The family its researcher declared; empty where it named none."""
        i = t.ideas.c
        query = select(i.family).where(i.kind == kind, i.number == number, i.by == "researcher")
        return str(self.c.execute(query).scalar() or "")
