"""Rows of submissions and of the Ladder's answers to them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from aarlab.records import Answer, Submission
from aarlab.store import tables as t
from aarlab.store.base import Base, made

OPEN = ("queued", "running")


class SubmissionRows(Base):
    def add_submission(self, row: Submission) -> Submission:
        """Insert; the returned row carries its number (the given id is ignored)."""
        values = asdict(row)
        values.pop("id")
        number = self.c.execute(insert(t.submissions).values(**values)).inserted_primary_key
        assert number is not None
        return Submission(id=number[0], **values)

    def submission(self, number: int) -> Submission | None:
        found = self.c.execute(select(t.submissions).where(t.submissions.c.id == number)).one_or_none()
        return None if found is None else _submission(found)

    def submissions(self, researcher: str | None = None) -> list[Submission]:
        """All submissions, or one researcher's, oldest first."""
        query = select(t.submissions).order_by(t.submissions.c.id)
        if researcher is not None:
            query = query.where(t.submissions.c.researcher == researcher)
        return made(Submission, self.c.execute(query))

    def set_submission(self, number: int, **values: Any) -> None:
        self.c.execute(update(t.submissions).where(t.submissions.c.id == number).values(**values))

    def count_submissions(self, researcher: str) -> int:
        """Submissions that count: all but those that our own failures ended."""
        s = t.submissions.c
        query = select(func.count()).where(s.researcher == researcher, s.reason.is_distinct_from("infrastructure"))
        return int(self.c.execute(query).scalar_one())

    def same_method(self, normal_hash: str, exclude: str) -> Submission | None:
        """The first scored or pending original with this syntax tree, not counting researcher `exclude`."""
        s = t.submissions.c
        found = self.c.execute(
            select(t.submissions)
            .where(s.normal_hash == normal_hash, s.repeat_of.is_(None), s.researcher != exclude)
            .where(s.status.in_((*OPEN, "scored")))
            .order_by(s.id)
            .limit(1)
        ).one_or_none()
        return None if found is None else _submission(found)

    def waiting_repeats(self, number: int) -> list[Submission]:
        s = t.submissions.c
        query = select(t.submissions).where(s.repeat_of == number, s.status.in_(OPEN)).order_by(s.id)
        return made(Submission, self.c.execute(query))

    def repeats(self, number: int) -> list[Submission]:
        """The submissions with the same syntax tree as this original, oldest first."""
        query = select(t.submissions).where(t.submissions.c.repeat_of == number).order_by(t.submissions.c.id)
        return made(Submission, self.c.execute(query))

    def reserve_answer(self, submission: int, researcher: str) -> None:
        self.c.execute(insert(t.answers).values(submission=submission, researcher=researcher))

    def release_answer(self, submission: int) -> None:
        """Give a reserved answer back; one that was given stays."""
        a = t.answers.c
        self.c.execute(delete(t.answers).where(a.submission == submission, a.number.is_(None)))

    def give_answer(self, submission: int, number: int, answer: Answer) -> None:
        self.c.execute(
            update(t.answers)
            .where(t.answers.c.submission == submission)
            .values(number=number, text=answer.text, record=answer.record)
        )

    def answers_taken(self) -> dict[str, int]:
        """Answers per researcher, reserved ones included."""
        a = t.answers.c
        return {r[0]: int(r[1]) for r in self.c.execute(select(a.researcher, func.count()).group_by(a.researcher))}

    def answers_given(self) -> list[tuple[int, int, Answer]]:
        """(number, submission, answer) in the order they were given."""
        a = t.answers.c
        query = select(t.answers).where(a.number.is_not(None)).order_by(a.number)
        return [(r.number, r.submission, Answer(r.text, r.record)) for r in self.c.execute(query)]

    def ladder_state(self) -> tuple[int, float | None]:
        """How many answers were given, and the best accuracy that one of them showed."""
        a = t.answers.c
        count, best = self.c.execute(select(func.count(a.number), func.max(a.record))).one()
        return int(count), None if best is None else float(best)


def _submission(row: Row[Any]) -> Submission:
    return Submission(**row._mapping)
