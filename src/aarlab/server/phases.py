"""From research to the numbers of record: which evaluations each phase needs, and when a lab moves on."""

from __future__ import annotations

from statistics import fmean

from aarlab.errors import InputError
from aarlab.records import Phase
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
        there = PHASES[PHASES.index(here) + 1]
        chosen = _enter(lab, rows, there)
        rows.set_meta("phase", there)
        lab.ledger.append(rows, "phase", {"from": here, "to": there, **chosen}, lab.now())
    lab.changed("scores")
    return True


def _may_move(lab: Lab, rows: Rows) -> bool:
    return lab.phase(rows) != lab.target(rows) and rows.pending() == 0


def _enter(lab: Lab, rows: Rows, phase: Phase) -> dict[str, object]:
    """Queue what a phase needs; returns what the ledger keeps of the choice."""
    baselines = [s.id for s in rows.submissions(LAB)]
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


def _queue(lab: Lab, rows: Rows, submissions: list[int], tasks: list[tuple[str, str]], purpose: Phase) -> None:
    assert purpose in ("record", "transfer")
    for problem, task in tasks:
        for number in submissions:
            rows.add_evaluation(number, problem, task, purpose, lab.now())


def finalists(lab: Lab, rows: Rows) -> list[int]:
    """The best submissions by exact feedback accuracy; unranked ones only where no ranked one exists."""
    accuracy = _mean_by_submission(rows, "accuracy", "feedback")
    own = [s for s in rows.submissions() if s.researcher != LAB and s.id in accuracy]
    ranked = [s for s in own if s.ranked] or own
    order = sorted(ranked, key=lambda s: (-accuracy[s.id], s.id))
    return [s.id for s in order[: lab.settings.scoring.finalists]]


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
