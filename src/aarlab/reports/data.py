"""What a report is made from, read from a lab folder and nowhere else.

`collect` reads; nothing here measures or draws. Outcomes are per item (which answers were right), so that every
number of a report is computed again from them and never copied from a row that somebody could have edited.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aarlab import settings as settings_file
from aarlab.errors import Infrastructure, InputError
from aarlab.fleet import costs, usage
from aarlab.ideas.complexity import Complexity, complexity
from aarlab.ideas.gather import Idea, gather
from aarlab.problems.base import TaskCard
from aarlab.records import Evaluation, Finding, Judgement, LedgerLine, Post, ResearcherRow, Submission
from aarlab.reports.transcripts import Place, scan_of
from aarlab.settings import Settings
from aarlab.store import Rows, Store
from aarlab.store.registry import Earlier, Registry, state_file
from aarlab.vault.feedback import Ladder, released_bits
from aarlab.vault.store import Vault
from aarlab.vault.verify import Report as LedgerCheck
from aarlab.vault.verify import verify

Part = Literal["feedback", "record", "transfer"]
Correct = NDArray[np.bool_]

SEEDED = ("feedback", "record", "transfer")
"""Purposes whose runs share seeds that the lab drew once; each audit has its own."""

LAB = "lab"
"""The name under which a lab submits the shown baselines."""


@dataclass(frozen=True)
class TaskOutcomes:
    """One scored task: who got which item right.

    `correct`: contender -> bool (seeds, items), columns in the order of `groups` (items,), which says which items
    share a problem. A contender is a baseline's name, or `method(id)` for a submission.
    """

    problem: str
    purpose: Part
    card: TaskCard
    groups: NDArray[np.int64]
    correct: dict[str, Correct]

    @property
    def key(self) -> str:
        return f"{self.problem}/{self.card.name}"


@dataclass(frozen=True)
class BudgetUse:
    """Answers and bits of the Ladder, against what is allowed. `earlier`: other runs on the same label set."""

    answers_used: int
    answers: int
    bits: float
    bits_bound: float
    step: float
    earlier_answers: int = 0
    earlier_bits: float = 0.0
    earlier_runs: int = 0


@dataclass(frozen=True)
class LedgerState:
    """The append-only record: how long it is, its last hash, and what is wrong with it ("" when nothing is)."""

    lines: int
    head: str
    problem: str = ""


@dataclass(frozen=True)
class RunInfo:
    """Which run this is and how far it got. `seeds` stay empty until the run is done."""

    lab: str
    phase: str
    started: float
    ended: float | None
    reason: str
    research_seconds: float
    total_seconds: float
    version: str
    isolation: str
    seeds: dict[str, list[int]] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.phase == "done"

    @property
    def ranked(self) -> bool:
        """Scores made without isolation are shown and never ranked."""
        return self.isolation != "process"


@dataclass(frozen=True)
class Audited:
    """What was measured of one submission, and the verdicts that followed, oldest first; `standing` is what holds."""

    submission: int
    findings: tuple[Finding, ...]
    judgements: tuple[Judgement, ...]
    standing: Judgement


@dataclass(frozen=True)
class RunData:
    """Everything a report says, before any statistics."""

    run: RunInfo
    settings: Settings
    problem: str
    title: str
    brief: str
    data_hash: str
    open_tasks: tuple[TaskCard, ...]
    tasks: tuple[TaskOutcomes, ...]
    submissions: tuple[Submission, ...]
    researchers: tuple[ResearcherRow, ...]
    posts: tuple[Post, ...]
    finalists: tuple[int, ...]
    winner: int | None
    winner_source: str
    costs: dict[str, Any]  # the shape of fleet.costs.totals
    budget: BudgetUse
    ledger: LedgerState
    audited: tuple[Audited, ...] = ()  # finalists first
    alarms: tuple[LedgerLine, ...] = ()
    places: dict[int, Place] = field(default_factory=dict)  # submission -> the step that made it
    scan: dict[str, Any] | None = None  # run/scan.json
    ideas: tuple[Idea, ...] = ()
    complexity: dict[int, Complexity] = field(default_factory=dict)  # submission -> of its method file

    def of_purpose(self, purpose: Part) -> list[TaskOutcomes]:
        return [t for t in self.tasks if t.purpose == purpose]

    def submission(self, number: int) -> Submission:
        return next(s for s in self.submissions if s.id == number)


def given_up(submission: Submission) -> bool:
    """Whether our own failures, not the method's, kept a submission from being scored."""
    return submission.status == "failed" and submission.reason == "infrastructure"


def method(submission: int) -> str:
    """The contender name of a submission; no baseline can have it."""
    return f"#{submission}"


def collect(lab: Path) -> RunData:
    """Read a lab folder, running or not. Raises InputError where it is none, or where its vault is missing."""
    settings = settings_file.read(lab / "lab.toml")
    for part in ("lab.db", "vault/secret.json"):
        if not (lab / part).is_file():
            raise InputError(f"{lab} has no {part}; a report is measured from a whole lab folder, vault included")
    vault, store = Vault(lab / "vault"), Store(lab / "lab.db")
    try:
        with store.read() as rows:
            return _Reader(lab, settings, vault, rows).data()
    finally:
        store.close()


class _Reader:
    """One pass over a lab."""

    def __init__(self, lab: Path, settings: Settings, vault: Vault, rows: Rows) -> None:
        self.lab, self.settings, self.vault, self.rows = lab, settings, vault, rows
        self.problem = vault.problems[settings.problem]
        everything = rows.submissions()
        self.baselines = {s.id: s.name for s in everything if s.researcher == LAB}
        self.submissions = tuple(s for s in everything if s.researcher != LAB)
        self.evaluations = rows.evaluations()
        self.used = usage.read(lab / "run")

    def data(self) -> RunData:
        winner = self.rows.meta("winner")
        lines = self.rows.lines()
        sources = {s.id: self._artifact(s) for s in self.submissions}
        start = float(self.rows.meta("lab")["created"])
        return RunData(
            run=self._run(lines),
            settings=self.settings,
            problem=self.problem.name,
            title=self.problem.title,
            brief=self.problem.brief,
            data_hash=self.problem.data_hash,
            open_tasks=tuple(self.problem.of_role("open")),
            tasks=tuple(self._tasks()),
            submissions=self.submissions,
            researchers=self._researchers(),
            posts=tuple(self.rows.posts()),
            finalists=tuple(self.rows.meta("finalists", [])),
            winner=winner,
            winner_source=self._source(winner),
            costs=self._costs(),
            budget=self._budget(),
            ledger=_ledger(verify(self.lab)),
            audited=tuple(self._audited()),
            alarms=tuple(x for x in lines if x.kind == "alarm"),
            places=self._places(),
            scan=scan_of(self.lab),
            ideas=gather(self.submissions, self.rows.posts(), sources, self.rows.ideas(), start),
            complexity={n: found for n, text in sources.items() if (found := complexity(text))},
        )

    def _run(self, lines: list[LedgerLine]) -> RunInfo:
        about, phase = self.rows.meta("lab"), self.rows.meta("phase", "research")
        moves = [x for x in lines if x.kind == "phase"]
        return RunInfo(
            lab=self.lab.name,
            phase=phase,
            started=float(about["created"]),
            ended=moves[-1].time if phase == "done" and moves else None,
            reason=next((str(m.body["reason"]) for m in moves if m.body.get("reason")), ""),
            research_seconds=self.used.research_seconds,
            total_seconds=self.used.total_seconds,
            version=str(about["version"]),
            isolation=self.settings.isolation.kind,
            seeds=self._seeds() if phase == "done" else {},
        )

    def _seeds(self) -> dict[str, list[int]]:
        """The lab's seeds per task; only a finished run shows them."""
        asked = dict.fromkeys((e.problem, e.task, e.purpose) for e in self.evaluations if e.purpose in SEEDED)
        return {f"{p}/{t}": list(self.vault.seeds(p, t, purpose)) for p, t, purpose in asked}

    def _tasks(self) -> Iterable[TaskOutcomes]:
        """Feedback and record tasks whether or not anything ran there yet, then the transfer tasks that were used."""
        for card in (*self.problem.of_role("feedback"), *self.problem.of_role("record")):
            yield self._task(self.problem.name, card, "feedback" if card.role == "feedback" else "record")
        asked = dict.fromkeys((e.problem, e.task) for e in self.evaluations if e.purpose == "transfer")
        for problem, task in asked:
            yield self._task(problem, self.vault.problems[problem].task(task), "transfer")

    def _task(self, problem: str, card: TaskCard, part: Part) -> TaskOutcomes:
        purposes = ("feedback", "baseline") if part == "feedback" else (part,)
        groups: NDArray[np.int64] = np.zeros(0, np.int64)
        correct: dict[str, Correct] = {}
        for e in self.evaluations:
            if (e.problem, e.task, e.status) == (problem, card.name, "scored") and e.purpose in purposes:
                with np.load(self.vault.outcome_path(e.id), allow_pickle=False) as z:
                    correct[self._contender(e)], groups = z["correct"], z["groups"]
        return TaskOutcomes(problem, part, card, groups, correct)

    def _contender(self, e: Evaluation) -> str:
        return self.baselines.get(e.submission) or method(e.submission)

    def _audited(self) -> Iterable[Audited]:
        """Every judged submission of the fleet; one that repeats another's method has that one's findings."""
        findings, standing = self.rows.findings(), self.rows.standing()
        finalists = self.rows.meta("finalists", [])
        rows = [s for s in self.submissions if s.id in standing]
        for s in sorted(rows, key=lambda s: (s.id not in finalists, s.id)):
            own = findings.get(s.repeat_of or s.id, [])
            yield Audited(s.id, tuple(own), tuple(self.rows.judgements(s.id)), standing[s.id])

    def _researchers(self) -> tuple[ResearcherRow, ...]:
        """The fleet, and people who handed something in."""
        active = {s.researcher for s in self.submissions}
        return tuple(
            r for r in self.rows.researchers() if r.role == "researcher" or (r.name in active and r.role != "lab")
        )

    def _source(self, winner: int | None) -> str:
        if winner is None:
            return ""
        return self._artifact(next(s for s in self.submissions if s.id == winner))

    def _artifact(self, submission: Submission) -> str:
        """The method file as it was submitted."""
        return (self.lab / "artifacts" / f"{submission.bundle_hash}.py").read_text("utf-8")

    def _costs(self) -> dict[str, Any]:
        """Feedback runs are their researcher's; baselines, audits, record and transfer runs are the lab's own."""
        owner = {s.id: s.researcher for s in self.submissions}
        seconds = {r.name: 0.0 for r in self._researchers()} | {LAB: 0.0}
        for score in self.rows.scores():
            who = owner.get(score.submission, LAB) if score.purpose == "feedback" else LAB
            seconds[who] += score.cpu_seconds
        seconds[LAB] += sum(j.cpu_seconds for j in self.rows.judgements())
        people = [{"name": n, "role": "researcher", "method_cpu_seconds": s} for n, s in seconds.items()]
        calls = {name: vars(account) for name, account in self.rows.accounts().items()}
        return costs.totals(self.settings, self.used, {"researchers": people, "spending": calls})

    def _places(self) -> dict[int, Place]:
        """The step of a conversation that made each submission, where one is known."""
        found = {}
        for number, step in self.rows.makers().items():
            row = next(iter(self.rows.events(step.researcher, step.id - 1, 1)))
            message = str((json.loads(row.body).get("message") or {}).get("id") or "")
            found[number] = Place(row.researcher, row.log, row.session, row.turn, row.id, message)
        return found

    def _budget(self) -> BudgetUse:
        given, _ = self.rows.ladder_state()
        terms = self.rows.meta("ladder")
        rungs = Ladder(float(terms["step"]), int(terms["start"]), int(terms["start"])).rungs
        total = self.settings.budget.answers
        earlier = self._earlier() or Earlier(0, 0, 0.0)
        return BudgetUse(
            answers_used=given,
            answers=total,
            bits=released_bits(given, rungs),
            bits_bound=released_bits(max(total, given), rungs),
            step=float(terms["step"]),
            earlier_answers=earlier.answers,
            earlier_bits=earlier.bits,
            earlier_runs=earlier.labs,
        )

    def _earlier(self) -> Earlier | None:
        """What other labs of this machine were told about the same labels; None when the count cannot be read."""
        try:
            registry = Registry(state_file())
        except (Infrastructure, OSError):
            return None
        try:
            return registry.earlier(self.problem.data_hash, str(self.rows.meta("lab")["id"]))
        finally:
            registry.close()


def _ledger(check: LedgerCheck) -> LedgerState:
    more = f" (and {len(check.faults) - 1} more)" if len(check.faults) > 1 else ""
    return LedgerState(check.lines, check.head, check.faults[0] + more if check.faults else "")
