"""A submission's way in: checked at the door, then budget, row, evaluation and ledger line in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aarlab.errors import BudgetSpent, InputError, NotAllowed, UnknownName
from aarlab.execution.check import check_payload, check_source, normalise
from aarlab.records import IdeaRow, Submission
from aarlab.server import canaries
from aarlab.server.auth import Identity
from aarlab.server.bodies import NewSubmission
from aarlab.server.lab import LAB, Lab
from aarlab.server.views import submission_view
from aarlab.store import Rows
from aarlab.vault.feedback import HARD_TOP
from aarlab.vault.ledger import digest, submission_body, verdict_body

UNRANKED_PROCESS = "not ranked: this lab runs methods without isolation"
UNRANKED_TOP = (
    "not ranked: {used} answers were already given on these labels, and {top} is the most that a ranking can bear; "
    "start a run on new labels with --fresh"
)


def submit(lab: Lab, who: Identity, body: NewSubmission, key: str | None) -> dict[str, Any]:
    """Take one submission in. Raises MethodError, BudgetSpent or NotAllowed with nothing charged."""
    sent = (body.source, body.name, body.note, body.track, key or "")
    with canaries.watching(lab, who.name, "submission", *sent) as heard:
        return _take(lab, who, body, key, heard)


def _take(lab: Lab, who: Identity, body: NewSubmission, key: str | None, heard: list[str]) -> dict[str, Any]:
    check_source(body.source)
    check_payload(body.source, lab.policy.payload)
    normal = normalise(body.source)
    earlier = lab.earlier()

    def work(rows: Rows) -> dict[str, Any]:
        _check_right(lab, rows, who, body)
        now = lab.now()
        original = rows.same_method(normal, exclude=LAB)
        if original is None:
            lab.budget(rows).check(rows.answers_taken(), who.name)
        remark = _remark(lab, rows, earlier.answers if earlier else 0) or canaries.remark(heard)
        row = Submission(
            id=0, researcher=who.name, name=body.name, status="queued", bundle_hash=lab.keep_artifact(body.source),
            normal_hash=normal, created=now, parent=body.parent, track=body.track, claimed_pgr=body.claimed_pgr,
            note=body.note, repeat_of=original.id if original else None, ranked=not remark, remark=remark,
        )  # fmt: skip
        row = rows.add_submission(row)
        if body.family:
            rows.set_idea(IdeaRow("submission", row.id, body.family, "researcher"))
        lab.ledger.append(rows, "submission", submission_body(row), now)
        canaries.alarm(lab, rows, who.name, "submission", heard, submission=row.id)
        if original is None:
            rows.reserve_answer(row.id, who.name)
            rows.add_evaluation(row.id, lab.problem.name, lab.feedback.name, "feedback", now)
        elif original.status == "scored":
            row = repeat(lab, rows, row, original)
        return submission_view(row, lab.feedback) | {"family": body.family}

    reply = once(lab, who, key, body.asked(), work)
    lab.changed("scores")
    return reply


def repeat(lab: Lab, rows: Rows, row: Submission, original: Submission) -> Submission:
    """Give a repeated method the verdict its original got; nothing is run and nothing is charged."""
    now = lab.now()
    verdict = {k: getattr(original, k) for k in ("status", "reason", "answer", "record")}
    rows.set_submission(row.id, finished=now, **verdict)
    found = rows.submission(row.id)
    assert found is not None
    lab.ledger.append(rows, "repeat", {**verdict_body(found), "of": original.id}, now)
    return found


def once(
    lab: Lab, who: Identity, key: str | None, asked: dict[str, Any], work: Callable[[Rows], dict[str, Any]]
) -> dict[str, Any]:
    """Do `work` in one transaction; asked again under the same key, give the first reply and do nothing."""
    request = digest(asked)
    with lab.store.write() as rows:
        if key is not None and (kept := rows.reply(who.name, key)) is not None:
            if kept[0] != request:
                raise InputError("this Idempotency-Key was used for another request; take a new one")
            return kept[1]
        reply = work(rows)
        if key is not None:
            rows.keep_reply(who.name, key, request, reply)
        return reply


def _check_right(lab: Lab, rows: Rows, who: Identity, body: NewSubmission) -> None:
    if body.track not in lab.policy.tracks:
        raise InputError(f"there is no track {body.track!r}; the tracks are {', '.join(lab.policy.tracks)}")
    if lab.target(rows) != "research":
        raise NotAllowed("the research phase is over; this lab takes no more submissions")
    person = rows.researcher(who.name)
    if person is None or person.status == "stopped":
        raise NotAllowed(f"{who.name} was stopped by the operator and submits no more")
    limit = lab.settings.budget.submissions
    if rows.count_submissions(who.name) >= limit:
        raise BudgetSpent(f"you have made all your {limit} submissions of this run")
    if body.parent is not None:
        parent = rows.submission(body.parent)
        if parent is None or (parent.researcher != who.name and parent.status != "scored"):
            raise UnknownName(f"there is no submission {body.parent} to build on")


def _remark(lab: Lab, rows: Rows, earlier: int) -> str:
    """Why a new submission is not ranked; empty when it is."""
    if not lab.ranks:
        return UNRANKED_PROCESS
    used = earlier + sum(rows.answers_taken().values())
    return UNRANKED_TOP.format(used=used, top=HARD_TOP) if used >= HARD_TOP else ""
