"""How an evaluation ends: scores, answer, budget and ledger line in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import MethodError
from aarlab.execution.base import Event
from aarlab.execution.events import forbidden
from aarlab.records import Evaluation, Score, Status, Submission
from aarlab.server.lab import Lab
from aarlab.server.submissions import repeat
from aarlab.store import Rows
from aarlab.vault.feedback import released_bits
from aarlab.vault.ledger import evaluation_body, verdict_body

MAX_FAILURES = 5
"""Infrastructure failures after which the lab gives an evaluation up; the researcher is never charged."""

MOST_DENIED = 20
"""Different forbidden events that one alarm lists."""

VERDICTS = ("feedback", "baseline")
"""Purposes whose end is also the submission's."""


@dataclass(frozen=True)
class Graded:
    """What a successful run measured. correct: bool (seeds, items)."""

    correct: NDArray[np.bool_]
    outcome: str
    cpu_seconds: Sequence[float]
    wall_seconds: Sequence[float]
    events: Sequence[Event] = ()  # what the method's processes did besides computing


def record_score(lab: Lab, evaluation: Evaluation, graded: Graded) -> bool:
    """Write a score and all that follows from it. False when the lease was lost: then nothing is written."""
    scores = _scores(lab, evaluation, graded)
    with lab.store.write() as rows:
        ended = end(lab, rows, evaluation, "scored", None, graded.outcome)
        if ended is None:
            return False
        rows.add_scores(scores)
        body = evaluation_body(ended, scores)
        if evaluation.purpose == "feedback":
            accuracy = float(np.mean([s.accuracy for s in scores]))
            body |= _answer(lab, rows, evaluation.submission, accuracy)
        elif evaluation.purpose == "baseline":
            body |= _verdict(lab, rows, evaluation.submission, "scored", None)
        kind = "answer" if evaluation.purpose == "feedback" else "score"
        lab.ledger.append(rows, kind, body, lab.now())
        raise_alarm(lab, rows, evaluation, graded.events)
        _settle_repeats(lab, rows, evaluation)
    if evaluation.purpose == "feedback":
        lab.report_answers()
    lab.changed("scores")
    return True


def record_failure(lab: Lab, evaluation: Evaluation, error: MethodError) -> bool:
    """Write a method's failure: a fixed word and a fixed reason, and the reserved answer goes back."""
    return _record_end(lab, evaluation, status_of(error.reason), error.reason, error.events)


def status_of(reason: str) -> Status:
    """The status word of a method's failure."""
    return {"timed-out": "timed_out", "forbidden": "refused"}.get(reason, "failed")  # type: ignore[return-value]


def record_trouble(lab: Lab, evaluation: Evaluation) -> bool:
    """Note an infrastructure failure: back into the queue, or given up after MAX_FAILURES."""
    failures = evaluation.failures + 1
    if failures >= MAX_FAILURES:
        return _record_end(lab, evaluation, "failed", "infrastructure")
    with lab.store.write() as rows:
        held = rows.requeue(evaluation, failures)
    lab.changed("scores")
    return held


def hand_back(lab: Lab, evaluation: Evaluation) -> None:
    """Requeue what a stopping server was running; it counts as nobody's failure."""
    with lab.store.write() as rows:
        rows.requeue(evaluation, evaluation.failures)


def _record_end(lab: Lab, evaluation: Evaluation, status: Status, reason: str, events: Sequence[Event] = ()) -> bool:
    with lab.store.write() as rows:
        ended = end(lab, rows, evaluation, status, reason, None)
        if ended is None:
            return False
        body = evaluation_body(ended, [])
        if evaluation.purpose in VERDICTS:
            rows.release_answer(evaluation.submission)
            body |= _verdict(lab, rows, evaluation.submission, status, reason)
        lab.ledger.append(rows, "failed", body, lab.now())
        raise_alarm(lab, rows, evaluation, events)
        _settle_repeats(lab, rows, evaluation)
    lab.changed("scores")
    return True


def raise_alarm(lab: Lab, rows: Rows, evaluation: Evaluation, events: Sequence[Event]) -> None:
    """Note for the operator, in the same transaction, what a method tried and may not do. No researcher hears of it."""
    denied = [asdict(e) for e in events if forbidden(e)][:MOST_DENIED]
    if denied:
        body = {"what": "denied", "submission": evaluation.submission, "purpose": evaluation.purpose, "events": denied}
        lab.ledger.append(rows, "alarm", body, lab.now())


def _scores(lab: Lab, e: Evaluation, graded: Graded) -> list[Score]:
    card = lab.vault.problems[e.problem].task(e.task)
    accuracy = [float(a) for a in graded.correct.mean(axis=1)]
    return [
        Score(
            submission=e.submission, task=e.task, seed_index=i, accuracy=a, pgr=card.pgr(a),
            items=graded.correct.shape[1], cpu_seconds=round(float(graded.cpu_seconds[i]), 4),
            wall_seconds=round(float(graded.wall_seconds[i]), 4), evaluation=e.id, problem=e.problem, purpose=e.purpose,
        )
        for i, a in enumerate(accuracy)
    ]  # fmt: skip


def end(
    lab: Lab, rows: Rows, e: Evaluation, status: Status, reason: str | None, outcome: str | None
) -> Evaluation | None:
    """Close the evaluation if its lease is still held."""
    assert e.lease is not None
    now = lab.now()
    if not rows.finish(e.id, e.lease, status=status, reason=reason, outcome=outcome, finished=now):
        return None
    return replace(e, status=status, reason=reason, outcome=outcome, finished=now, lease=None)


def _answer(lab: Lab, rows: Rows, submission: int, accuracy: float) -> dict[str, object]:
    """Let the Ladder speak; returns what the ledger keeps of it."""
    answer, _ = lab.ladder(rows).answer(accuracy)
    given, _ = rows.ladder_state()
    rows.give_answer(submission, given + 1, answer)
    bits = released_bits(given + 1, lab.ladder(rows).rungs)
    verdict = _verdict(lab, rows, submission, "scored", None, answer.text, answer.record)
    return {**verdict, "number": given + 1, "bits_at_most": round(bits, 3)}


def _verdict(
    lab: Lab, rows: Rows, submission: int, status: Status, reason: str | None,
    answer: str | None = None, record: float | None = None,
) -> dict[str, object]:  # fmt: skip
    now = lab.now()
    rows.set_submission(submission, status=status, reason=reason, answer=answer, record=record, finished=now)
    row = rows.submission(submission)
    assert row is not None
    return verdict_body(row)


def _settle_repeats(lab: Lab, rows: Rows, e: Evaluation) -> None:
    """Submissions of the same method that came while this one ran get its verdict."""
    if e.purpose != "feedback":
        return
    original: Submission | None = rows.submission(e.submission)
    assert original is not None
    for row in rows.waiting_repeats(e.submission):
        repeat(lab, rows, row, original)
