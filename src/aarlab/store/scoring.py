"""Rows of evaluations (the queue) and of the scores they end in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from aarlab.records import Evaluation, Purpose, Score, Status
from aarlab.store import tables as t
from aarlab.store.base import Base, made
from aarlab.store.submissions import OPEN


class ScoringRows(Base):
    def add_evaluation(self, submission: int, problem: str, task: str, purpose: Purpose, now: float) -> bool:
        """Queue one; False when it is there already."""
        row = upsert(t.evaluations).values(
            submission=submission, problem=problem, task=task, purpose=purpose, status="queued", created=now, failures=0
        )
        return self.c.execute(row.on_conflict_do_nothing()).rowcount == 1

    def evaluation(self, number: int) -> Evaluation | None:
        found = self.c.execute(select(t.evaluations).where(t.evaluations.c.id == number)).one_or_none()
        return None if found is None else _evaluation(found)

    def evaluations(self, purpose: Purpose | None = None) -> list[Evaluation]:
        query = select(t.evaluations).order_by(t.evaluations.c.id)
        if purpose is not None:
            query = query.where(t.evaluations.c.purpose == purpose)
        return made(Evaluation, self.c.execute(query))

    def queued(self) -> bool:
        return (
            self.c.execute(select(t.evaluations.c.id).where(t.evaluations.c.status == "queued").limit(1)).first()
            is not None
        )

    def evaluations_of(self, submission: int) -> list[Evaluation]:
        """All runs of one submission, in the order in which they were asked for."""
        query = select(t.evaluations).where(t.evaluations.c.submission == submission).order_by(t.evaluations.c.id)
        return made(Evaluation, self.c.execute(query))

    def evaluation_of(self, submission: int, purpose: Purpose) -> Evaluation | None:
        """The newest evaluation of a submission for a purpose."""
        e = t.evaluations.c
        query = select(t.evaluations).where(e.submission == submission, e.purpose == purpose)
        found = self.c.execute(query.order_by(e.id.desc()).limit(1)).one_or_none()
        return None if found is None else _evaluation(found)

    def ask_again(self, number: int) -> None:
        """Queue a finished evaluation once more."""
        values = {"status": "queued", "reason": None, "lease": None, "failures": 0, "finished": None}
        self.c.execute(update(t.evaluations).where(t.evaluations.c.id == number).values(**values))

    def claim_one(self, number: int, lease: str) -> Evaluation | None:
        """Take this evaluation under a lease, if it is queued."""
        e = t.evaluations.c
        query = update(t.evaluations).where(e.id == number, e.status == "queued")
        taken = self.c.execute(query.values(status="running", lease=lease)).rowcount == 1
        return self.evaluation(number) if taken else None

    def claim(self, lease: str, not_these: Iterable[int] = ()) -> Evaluation | None:
        """Take the next queued evaluation under a lease, or None.

        Everybody's first comes before anybody's second, so that one researcher's long queue holds up nobody else.
        """
        e, s = t.evaluations.c, t.submissions.c
        turn = func.row_number().over(partition_by=(s.researcher, e.purpose), order_by=e.id).label("turn")
        turns = select(e.id, e.status, turn).join(t.submissions, s.id == e.submission).subquery().c
        query = select(turns.id).where(turns.status == "queued", turns.id.not_in(tuple(not_these)))
        number = self.c.execute(query.order_by(turns.turn, turns.id).limit(1)).scalar()
        if number is None:
            return None
        self.c.execute(update(t.evaluations).where(e.id == number).values(status="running", lease=lease))
        found = self.evaluation(number)
        assert found is not None
        self._show(found, "running")
        return found

    def requeue(self, row: Evaluation, failures: int) -> bool:
        """Put a running evaluation back into the queue; False when the lease is no longer held."""
        held = self.finish(row.id, row.lease or "", status="queued", failures=failures)
        if held:
            self._show(row, "queued")
        return held

    def _show(self, row: Evaluation, status: Status) -> None:
        """Let an open submission show how far its own evaluation is."""
        if row.purpose in ("feedback", "baseline"):
            s = t.submissions.c
            self.c.execute(
                update(t.submissions).where(s.id == row.submission, s.status.in_(OPEN)).values(status=status)
            )

    def finish(self, number: int, lease: str, **values: Any) -> bool:
        """End a running evaluation; False when the lease is no longer held."""
        e = t.evaluations.c
        query = update(t.evaluations).where(e.id == number, e.lease == lease, e.status == "running")
        return self.c.execute(query.values(lease=None, **values)).rowcount == 1

    def requeue_running(self) -> list[Evaluation]:
        """Put what a dead server left running back into the queue."""
        e = t.evaluations.c
        left = made(Evaluation, self.c.execute(select(t.evaluations).where(e.status == "running")))
        for row in left:
            self.requeue(row, row.failures)
        return left

    def pending(self, *purposes: Purpose) -> int:
        """Evaluations of these purposes (all purposes when none is named) that are not finished."""
        e = t.evaluations.c
        query = select(func.count()).where(e.status.in_(OPEN))
        if purposes:
            query = query.where(e.purpose.in_(purposes))
        return int(self.c.execute(query).scalar_one())

    def add_scores(self, scores: Iterable[Score]) -> None:
        keep = ("evaluation", "seed_index", "accuracy", "pgr", "items", "cpu_seconds", "wall_seconds")
        self.c.execute(insert(t.scores), [{k: getattr(s, k) for k in keep} for s in scores])

    def scores(self, evaluation: int | None = None) -> list[Score]:
        """Scores with what they belong to, by evaluation and seed."""
        e, s = t.evaluations.c, t.scores
        query = (
            select(s, e.submission, e.task, e.problem, e.purpose)
            .join(t.evaluations, e.id == s.c.evaluation)
            .order_by(s.c.evaluation, s.c.seed_index)
        )
        if evaluation is not None:
            query = query.where(s.c.evaluation == evaluation)
        return made(Score, self.c.execute(query))

    def measured(self) -> list[tuple[int, Purpose, float, float]]:
        """(submission, purpose, PGR, CPU seconds) of every score, by evaluation and seed: `scores` in short."""
        e, s = t.evaluations.c, t.scores.c
        query = select(e.submission, e.purpose, s.pgr, s.cpu_seconds)
        query = query.join_from(t.scores, t.evaluations, e.id == s.evaluation).order_by(s.evaluation, s.seed_index)
        return [tuple(row) for row in self.c.execute(query).all()]


def _evaluation(row: Row[Any]) -> Evaluation:
    return Evaluation(**row._mapping)
