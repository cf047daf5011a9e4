"""Rows of practice answers. Only appended to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, func, insert, select

from aarlab.records import PracticeAnswer
from aarlab.store import tables as t
from aarlab.store.base import Base


class PracticeRows(Base):
    def practice_answer(self, list_hash: str) -> PracticeAnswer | None:
        """What this list was answered, whoever sent it."""
        found = self.c.execute(select(t.practice).where(t.practice.c.list_hash == list_hash)).one_or_none()
        return None if found is None else _answer(found)

    def practice_answers(self) -> list[PracticeAnswer]:
        """All of them, in the order they were given."""
        return [_answer(r) for r in self.c.execute(select(t.practice).order_by(t.practice.c.number))]

    def count_practice(self) -> int:
        return int(self.c.execute(select(func.count()).select_from(t.practice)).scalar_one())

    def add_practice(self, row: PracticeAnswer) -> None:
        self.c.execute(insert(t.practice).values(**asdict(row)))


def _answer(row: Row[Any]) -> PracticeAnswer:
    return PracticeAnswer(**row._mapping)
