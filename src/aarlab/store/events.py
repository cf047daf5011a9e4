"""Rows of what researchers did step by step. Only appended to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields

from sqlalchemy import func, select

from aarlab.records import EventRow
from aarlab.store import tables as t
from aarlab.store.base import Base, made

COLUMNS = tuple(f.name for f in fields(EventRow) if f.name != "id")
ADD = (  # written out, as in `spending`: it runs several times in every turn
    f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    "ON CONFLICT (researcher, key) DO NOTHING RETURNING id"
)
NUMBER = "SELECT id FROM events WHERE researcher = ? AND key = ?"


class EventRows(Base):
    def add_events(self, researcher: str, rows: Sequence[EventRow]) -> list[int]:
        """Insert what is new by its key; the numbers of all, in the order given (the given ids are ignored)."""
        numbers = []
        for row in rows:
            found = self.c.exec_driver_sql(ADD, tuple(getattr(row, c) for c in COLUMNS)).scalar()
            if found is None:
                found = self.c.exec_driver_sql(NUMBER, (researcher, row.key)).scalar_one()
            numbers.append(int(found))
        return numbers

    def events(self, researcher: str | None = None, since: int = 0, limit: int | None = None) -> Iterator[EventRow]:
        """One researcher's steps, or everybody's, after number `since`, oldest first."""
        query = select(t.events).where(t.events.c.id > since).order_by(t.events.c.id)
        if researcher is not None:
            query = query.where(t.events.c.researcher == researcher)
        if limit is not None:
            query = query.limit(limit)
        for row in self.c.execute(query):
            yield EventRow(**row._mapping)

    def last_event(self) -> int:
        """The number of the newest step; 0 before the first."""
        return int(self.c.execute(select(func.max(t.events.c.id))).scalar() or 0)

    def newest_events(self, kinds: Collection[str], limit: int) -> list[EventRow]:
        """The newest steps of these kinds, newest first."""
        query = select(t.events).where(t.events.c.kind.in_(kinds)).order_by(t.events.c.id.desc()).limit(limit)
        return made(EventRow, self.c.execute(query))

    def event_heads(
        self, researcher: str, limit: int, characters: int, before: int | None = None
    ) -> list[tuple[EventRow, int]]:
        """A researcher's newest steps, or those before a number, newest first: (row, characters of its whole body).

        A body longer than `characters` is cut, and no JSON any more.
        """
        e = t.events.c
        columns = [c for c in e if c.name != "body"]
        query = select(*columns, func.substr(e.body, 1, characters).label("body"), func.length(e.body).label("whole"))
        query = query.where(e.researcher == researcher).order_by(e.id.desc()).limit(limit)
        if before is not None:
            query = query.where(e.id < before)
        found = []
        for row in self.c.execute(query):
            values = dict(row._mapping)
            whole = int(values.pop("whole"))
            found.append((EventRow(**values), whole))
        return found

    def has_event(self, researcher: str, key: str) -> bool:
        e = t.events.c
        query = select(e.id).where(e.researcher == researcher, e.key == key)
        return self.c.execute(query).first() is not None

    def last_turn(self, researcher: str) -> tuple[int, int]:
        """(session, turn) of a researcher's newest step; (0, 0) before the first."""
        e = t.events.c
        query = select(e.session, e.turn).where(e.researcher == researcher).order_by(e.id.desc()).limit(1)
        found = self.c.execute(query).one_or_none()
        return (0, 0) if found is None else (int(found.session), int(found.turn))

    def makers(self, submission: int | None = None) -> dict[int, EventRow]:
        """The step that made each submission, without its body; of one submission, or of all."""
        e = t.events.c
        first = select(func.min(e.id)).where(e.submission.is_not(None)).group_by(e.submission)
        if submission is not None:
            first = first.where(e.submission == submission)
        columns = [c for c in e if c.name != "body"]
        found = self.c.execute(select(*columns).where(e.id.in_(first)))
        return {row.submission: EventRow(**row._mapping, body="{}") for row in found}
