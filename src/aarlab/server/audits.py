"""Audits of submissions: asked for, made, judged, and written in one transaction under the lease.

An audit runs the method again on the feedback task under changed conditions. What it finds says something about
hidden labels, so a submission's rank follows from it only once research is over: until then findings and verdicts are
the operator's alone, and `settle` applies them when the lab moves on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from aarlab.audits.base import LEVELS, Level
from aarlab.audits.examination import examined
from aarlab.audits.reader import Reader, with_opinion
from aarlab.audits.run import Examiner, Method, Tell
from aarlab.errors import InputError, MethodError, NotAllowed, UnknownName
from aarlab.execution.base import Event, Executor, MethodRun, RunResult
from aarlab.execution.events import added
from aarlab.records import Evaluation, Finding, Judgement, Outcome, Submission, Verdict
from aarlab.server import results
from aarlab.server.lab import LAB, Lab
from aarlab.server.verdicts import judgement_view
from aarlab.store import Rows
from aarlab.vault.ledger import evaluation_body, findings_body, judgement_body

GOOD: tuple[Outcome, ...] = ("ranked", "ranked with a note")
"""Outcomes with which a submission may be opened on the record tasks."""

UNDONE = "the lab could not audit it: a failure of the lab's own, not of the method"


@dataclass(frozen=True)
class Examined:
    """What one audit brought: findings, or why there are none (a reason of MethodError, or `infrastructure`)."""

    findings: tuple[Finding, ...] = ()
    cpu_seconds: float = 0.0
    trouble: str = ""
    events: tuple[Event, ...] = ()  # over all runs, for the operator


class Metered:
    """An executor that adds up what its runs took and did."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.spent: list[float] = []
        self.events: list[Event] = []

    @property
    def cpu_seconds(self) -> float:
        return round(sum(self.spent), 3)

    def run(self, what: MethodRun) -> RunResult:
        try:
            found = self.executor.run(what)
        except MethodError as error:
            self.events += error.events
            raise
        self.events += found.events
        self.spent.append(sum(found.cpu_seconds))  # append is atomic: several threads run at once
        return found

    def close(self) -> None:
        """The executor is its owner's to close."""


# Asking


def request(lab: Lab, rows: Rows, number: int, level: Level | None = None, asked: str = "operator") -> int:
    """Queue the audit of a submission; returns the evaluation's number. One that was made as thoroughly is not made
    again unless the method did not run in it, and methods with one syntax tree share one.

    Raises UnknownName, and InputError for a submission that has no score to explain.
    """
    row = rows.submission(number)
    if row is None:
        raise UnknownName(f"there is no submission {number}")
    if row.status != "scored":
        raise InputError(f"submission {number} is {row.status}; only a scored one can be audited")
    original, level = row.repeat_of or row.id, level or _own_level(lab)
    known, again = rows.evaluation_of(original, "audit"), False
    if known is None:
        rows.add_evaluation(original, lab.problem.name, lab.feedback.name, "audit", lab.now())
        known = rows.evaluation_of(original, "audit")
        assert known is not None
    elif known.status in ("queued", "running"):
        level = max(level, _level(rows, known.id, level), key=LEVELS.index)
    elif known.reason is None and LEVELS.index(_level(rows, known.id, level)) >= LEVELS.index(level):
        if row.repeat_of and not rows.judgements(number):
            _judge_again(lab, rows, row, known)
        return known.id
    else:
        again = True
        rows.ask_again(known.id)
    rows.set_meta("audit levels", {**rows.meta("audit levels", {}), str(known.id): level})
    body = {"submission": number, "evaluation": known.id, "level": level, "by": asked, "again": again}
    lab.ledger.append(rows, "asked", body, lab.now())
    return known.id


def _own_level(lab: Lab) -> Level:
    found: Level = lab.settings.audit.level  # type: ignore[assignment]
    return found


def _level(rows: Rows, evaluation: int, default: Level) -> Level:
    found: Level = rows.meta("audit levels", {}).get(str(evaluation), default)
    return found


# Making


def examine(lab: Lab, evaluation: Evaluation, executor: Executor, tell: Tell = lambda done, total: None) -> Examined:
    """Make all audits. Raises Infrastructure for our own failures; the method's are in what it returns."""
    with lab.store.read() as rows:
        submission, level = rows.submission(evaluation.submission), _level(rows, evaluation.id, _own_level(lab))
    assert submission is not None
    problem, metered = lab.vault.problems[evaluation.problem], Metered(executor)
    examiner = Examiner(
        task=lab.vault.audit_task(problem.name, evaluation.task),
        executor=metered,
        rng=lab.vault.rng(f"audit/{evaluation.id}"),
        others=tuple(lab.vault.audit_task(problem.name, c.name) for c in problem.of_role("open")),
        workers=lab.settings.scoring.workers,
        timeout=lab.settings.scoring.timeout,
        limits=lab.policy.payload,
        tell=tell,
    )
    source = lab.source(submission.bundle_hash)
    try:
        found = examined(examiner, Method(source, submission.claimed_pgr), lab.policy, level)
    except MethodError as error:
        return Examined(cpu_seconds=metered.cpu_seconds, trouble=error.reason, events=added(metered.events))
    if lab.settings.audit.reader:
        ranges = lab.policy.ranges(submission.track)
        found = with_opinion(found, Reader(lab.settings.audit.reader), source, problem.brief, ranges, submission.track)
    return Examined(tuple(plain(f) for f in found), metered.cpu_seconds, events=added(metered.events))


def plain(finding: Finding) -> Finding:
    """A finding that JSON can carry: Python's own numbers, and none that is not finite."""
    value, low, high = (None if v is None else _plain(float(v)) for v in (finding.value, finding.low, finding.high))
    details: dict[str, Any] = _plain(finding.details)
    return replace(finding, value=value, low=low, high=high, items=int(finding.items), details=details)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


# Judging and writing


def record(lab: Lab, evaluation: Evaluation, examined: Examined) -> bool:
    """Write findings, verdicts and rank. False when the lease was lost: then nothing is written."""
    status = results.status_of(examined.trouble) if examined.trouble else "scored"
    with lab.store.write() as rows:
        ended = results.end(lab, rows, evaluation, status, examined.trouble or None, None)
        if ended is None:
            return False
        rows.set_findings(evaluation.id, evaluation.submission, examined.findings)
        original = rows.submission(evaluation.submission)
        assert original is not None
        body = {**evaluation_body(ended, []), "findings": findings_body(examined.findings)}
        for row in (original, *rows.repeats(original.id)):
            judgement = _judge(lab, rows, row, evaluation.id, examined)
            _write(lab, rows, row, judgement, body if row is original else {"of": original.id})
        results.raise_alarm(lab, rows, evaluation, examined.events)
    lab.changed("scores")
    return True


def record_trouble(lab: Lab, evaluation: Evaluation) -> bool:
    """Note a failure of our own: tried again, and in the end held with a reason that says whose failure it was."""
    if evaluation.failures + 1 >= results.MAX_FAILURES:
        return record(lab, evaluation, Examined(trouble="infrastructure"))
    return results.record_trouble(lab, evaluation)


def _judge(lab: Lab, rows: Rows, row: Submission, evaluation: int, examined: Examined) -> Judgement:
    level = _level(rows, evaluation, _own_level(lab))
    cpu = examined.cpu_seconds if row.repeat_of is None else 0.0
    if examined.trouble:
        reason = UNDONE if examined.trouble == "infrastructure" else f"it did not run in the audit ({examined.trouble})"
        verdict = Verdict("held", row.track, row.track, reason, "", ())
    else:
        verdict = lab.policy.judge(row.track, examined.findings, lab.feedback.test_items)
    return Judgement(row.id, verdict, lab.now(), "lab", evaluation, level, cpu)


def _judge_again(lab: Lab, rows: Rows, row: Submission, known: Evaluation) -> None:
    """Give a repeated method the verdict that its original's findings mean on its own track."""
    findings = rows.findings(known.submission).get(known.submission, [])
    examined = Examined(tuple(findings), 0.0, known.reason or "")
    _write(lab, rows, row, _judge(lab, rows, row, known.id, examined), {"of": known.submission})


def _write(lab: Lab, rows: Rows, row: Submission, judgement: Judgement, body: dict[str, Any]) -> None:
    """Verdict row, ledger line and, once research is over, the rank."""
    earlier = rows.judgements(row.id)
    rows.add_judgement(judgement)
    change = {} if lab.phase(rows) == "research" else _rank(lab, row, earlier, judgement)
    if change:
        rows.set_submission(row.id, **change)
    line = {**body, "submission": row.id, "evaluation": judgement.evaluation, "verdict": judgement_body(judgement)}
    lab.ledger.append(rows, "audit", {**line, **change}, lab.now())


def _rank(lab: Lab, row: Submission, earlier: Sequence[Judgement], now: Judgement) -> dict[str, Any]:
    """What a verdict changes about a submission's rank. The operator's word stands, and so does what kept a submission
    from ranking before any audit."""
    barred = [j for j in earlier if j.by == "lab" and row.remark == _remark(j.verdict)]
    if any(j.by == "operator" for j in earlier) or row.researcher == LAB or not (row.ranked or barred):
        return {}
    change = {"ranked": now.verdict.outcome in GOOD, "remark": _remark(now.verdict)}
    return {} if change == {"ranked": row.ranked, "remark": row.remark} else change


def _remark(verdict: Verdict) -> str:
    """The public sentence of a verdict; empty for one that ranks as declared."""
    if verdict.outcome in GOOD:
        moved = verdict.track != verdict.declared
        return f"ranked on track {verdict.track}: {verdict.reason}" if moved else ""
    return f"{verdict.outcome}: {verdict.reason}"


def settle(lab: Lab, rows: Rows) -> None:
    """Research is over: apply the verdicts of audits that were made while it went on."""
    for number, judgement in rows.standing().items():
        row = rows.submission(number)
        if row is None or judgement.by == "operator":
            continue
        change = _rank(lab, row, [], judgement)
        if change:
            rows.set_submission(number, **change)
            lab.ledger.append(rows, "settled", {"submission": number, **change}, lab.now())


def overrule(lab: Lab, rows: Rows, number: int, ranked: bool, reason: str) -> None:
    """The operator ranks or unranks a submission; ledger and verdicts keep who was overruled and why."""
    row = rows.submission(number)
    if row is None:
        raise UnknownName(f"there is no submission {number}")
    if row.researcher == LAB:
        raise NotAllowed("baselines are not ranked")
    known = rows.standing().get(number)
    outcome: Outcome = "ranked" if ranked else "not ranked"
    shown = known.verdict if known else Verdict(outcome, row.track, row.track, "", "", ())
    verdict = replace(shown, outcome=outcome, reason=reason)
    judgement = Judgement(number, verdict, lab.now(), "operator", known.evaluation if known else None)
    rows.add_judgement(judgement)
    rows.set_submission(number, ranked=ranked, remark=reason)
    change = {"submission": number, "ranked": ranked, "remark": reason, "verdict": judgement_body(judgement)}
    lab.ledger.append(rows, "overrule", change, lab.now())


# Showing


def view(lab: Lab, rows: Rows, number: int) -> dict[str, Any]:
    """All that audits said of a submission, for the operator."""
    row = rows.submission(number)
    if row is None:
        raise UnknownName(f"there is no submission {number}")
    evaluation = rows.evaluation_of(row.repeat_of or row.id, "audit")
    judgements = rows.judgements(number)
    standing = rows.standing().get(number)
    return {
        "submission": number,
        "name": row.name,
        "researcher": row.researcher,
        "track": row.track,
        "status": "none" if evaluation is None else evaluation.status,
        "reason": None if evaluation is None else evaluation.reason,
        "evaluation": None if evaluation is None else evaluation.id,
        "level": None if evaluation is None else _level(rows, evaluation.id, _own_level(lab)),
        "repeat_of": row.repeat_of,
        "findings": [asdict(f) for f in rows.findings(row.repeat_of or row.id).get(row.repeat_of or row.id, [])],
        "verdict": None if standing is None else judgement_view(standing),
        "history": [judgement_view(j) for j in judgements],
    }
