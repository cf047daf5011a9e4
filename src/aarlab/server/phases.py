"""From research to the numbers of record: which evaluations each phase needs, and when a lab moves on.

After research the best submissions are audited, then those whose verdict lets them rank are opened on the record
tasks. Where a verdict keeps one out, the next best is audited too, up to twice the number that may be opened.
"""

from __future__ import annotations

from statistics import fmean
from typing import Literal

from aarlab.errors import InputError
from aarlab.records import Phase, Submission
from aarlab.server import audits
from aarlab.server.lab import LAB, PHASES, Lab
from aarlab.store import Rows


def ask_for(lab: Lab, rows: Rows, phase: Phase, reason: str = "") -> None:
    """Set where the lab is to go, and why. Asking again changes nothing; going back is refused."""
    target = lab.target(rows)
    if PHASES.index(phase) < PHASES.index(target):
        raise InputError(f"the lab is already bound for phase {target!r}; phases only go forward")
    if phase != target:
        rows.set_meta("target", phase)
        lab.ledger.append(rows, "phase", {"asked": phase, "reason": reason}, lab.now())


def advance(lab: Lab) -> bool:
    """Go to the next phase when this one's work is done and the operator asked for more."""
    with lab.store.read() as rows:
        if not _may_move(lab, rows):
            return False
    with lab.store.write() as rows:
        if not _may_move(lab, rows):
            return False
        here = lab.phase(rows)
        if here != "audit" or not _audit_more(lab, rows):
            _move(lab, rows, here, PHASES[PHASES.index(here) + 1])
    lab.changed("scores")
    return True


def _move(lab: Lab, rows: Rows, here: Phase, there: Phase) -> None:
    chosen = _enter(lab, rows, there)
    rows.set_meta("phase", there)
    lab.ledger.append(rows, "phase", {"from": here, "to": there, **chosen}, lab.now())
    if here == "research":
        audits.settle(lab, rows)


def _may_move(lab: Lab, rows: Rows) -> bool:
    return lab.phase(rows) != lab.target(rows) and rows.pending() == 0


def _enter(lab: Lab, rows: Rows, phase: Phase) -> dict[str, object]:
    """Queue what a phase needs; returns what the ledger keeps of the choice."""
    baselines = [s.id for s in rows.submissions(LAB)]
    if phase == "audit":
        rows.set_meta("candidates", candidates := [s.id for s in _candidates(rows)])
        return {"candidates": candidates, "audited": _audit_more(lab, rows)}
    if phase == "record":
        chosen = finalists(lab, rows)
        rows.set_meta("finalists", chosen)
        _queue(
            lab, rows, [*baselines, *chosen], [(lab.problem.name, c.name) for c in lab.problem.of_role("record")], phase
        )
        return {"finalists": chosen, "baselines": baselines}
    if phase == "transfer":
        best = winner(lab, rows)
        rows.set_meta("winner", best)
        runners = [*baselines, best] if best is not None else []
        _queue(lab, rows, runners, _transfer_tasks(lab), phase)
        return {"winner": best}
    return {}


def _transfer_tasks(lab: Lab) -> list[tuple[str, str]]:
    others = [p for p in lab.vault.problems.values() if p.name != lab.problem.name]
    return [(p.name, c.name) for p in others for c in (*p.of_role("record"), *p.of_role("feedback"))]


def _queue(
    lab: Lab, rows: Rows, submissions: list[int], tasks: list[tuple[str, str]], purpose: Literal["record", "transfer"]
) -> None:
    for problem, task in tasks:
        for number in submissions:
            rows.add_evaluation(number, problem, task, purpose, lab.now())


def finalists(lab: Lab, rows: Rows) -> list[int]:
    """The submissions to be opened: the best by exact feedback accuracy that a verdict or the operator lets rank.

    Without audits by themselves a submission that nobody audited counts too.
    """
    standing = rows.standing()
    order = _ordered(rows)
    free = not lab.settings.audit.finalists

    def opens(number: int) -> bool:
        known = standing.get(number)
        return free if known is None else known.verdict.outcome in audits.GOOD

    return [n for n in order if opens(n)][: lab.settings.scoring.finalists]


def reopen(lab: Lab, rows: Rows, number: int) -> None:
    """An operator ranked a submission while the record tasks are being measured: open it too, where there is room."""
    opened = rows.meta("finalists", [])
    room = len(opened) < lab.settings.scoring.finalists
    if lab.phase(rows) == "record" and room and number not in opened and number in _ordered(rows):
        rows.set_meta("finalists", chosen := [*opened, number])
        _queue(lab, rows, [number], [(lab.problem.name, c.name) for c in lab.problem.of_role("record")], "record")
        body = {"from": "record", "to": "record", "finalists": chosen, "reason": "the operator ranked another"}
        lab.ledger.append(rows, "phase", body, lab.now())


def _ordered(rows: Rows) -> list[int]:
    """Those that were candidates when research ended, the best first, then what the operator ranked beside them."""
    known = rows.meta("candidates")
    first = [s.id for s in _candidates(rows)] if known is None else known
    spoken = {n for n, j in rows.standing().items() if j.by == "operator" and j.verdict.outcome in audits.GOOD}
    accuracy = _mean_by_submission(rows, "accuracy", "feedback")
    return sorted({*first, *(spoken & accuracy.keys())}, key=lambda n: (-accuracy[n], n))


def _candidates(rows: Rows) -> list[Submission]:
    """Scored submissions by exact feedback accuracy; unranked ones only where no ranked one exists.

    Of several that got the very same items right under every seed the first one stands for all: a method under other
    names for its variables takes one finalist's slot.
    """
    accuracy = _mean_by_submission(rows, "accuracy", "feedback")
    own = [s for s in rows.submissions() if s.researcher != LAB and s.id in accuracy]
    ranked = [s for s in own if s.ranked] or own
    outcome = {e.submission: e.outcome for e in rows.evaluations("feedback")}
    first: dict[str | None, Submission] = {}
    for s in ranked:
        first.setdefault(outcome.get(s.id), s)
    return sorted(first.values(), key=lambda s: (-accuracy[s.id], s.id))


def _audit_more(lab: Lab, rows: Rows) -> list[int]:
    """Queue audits until enough candidates rank, none is left, or twice as many were audited; returns whose."""
    if not lab.settings.audit.finalists:
        return []
    most, order, standing = lab.settings.scoring.finalists, _ordered(rows), rows.standing()
    judged = [n for n in order if n in standing]
    missing = most - sum(standing[n].verdict.outcome in audits.GOOD for n in judged)
    new = [n for n in order if n not in standing][: max(0, min(missing, 2 * most - len(judged)))]
    for number in new:
        audits.request(lab, rows, number, asked="lab")
    return new


def winner(lab: Lab, rows: Rows) -> int | None:
    """The finalist with the highest mean PGR over all record tasks; one that failed on any task cannot win."""
    wanted = {c.name for c in lab.problem.of_role("record")}
    done: dict[int, set[str]] = {}
    for e in rows.evaluations("record"):
        if e.status == "scored":
            done.setdefault(e.submission, set()).add(e.task)
    pgr = _mean_by_submission(rows, "pgr", "record")
    able = [n for n in rows.meta("finalists", []) if done.get(n, set()) >= wanted and n in pgr]
    return max(able, key=lambda n: (pgr[n], -n), default=None)


def _mean_by_submission(rows: Rows, what: str, purpose: str) -> dict[int, float]:
    """Mean of a score column per submission: over seeds within a task, then over tasks."""
    values: dict[int, dict[str, list[float]]] = {}
    for s in rows.scores():
        if s.purpose == purpose:
            values.setdefault(s.submission, {}).setdefault(s.task, []).append(getattr(s, what))
    return {n: fmean(fmean(v) for v in tasks.values()) for n, tasks in values.items()}
