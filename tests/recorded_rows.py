"""A recorded lab's rows and ledger: research in bulk, as the service would have written it, and what follows by the
service's own functions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Table

from aarlab import audits as all_audits
from aarlab.execution.base import Event
from aarlab.execution.check import normalise
from aarlab.records import Answer, Evaluation, Finding, IdeaRow, Purpose, Score, Submission
from aarlab.server import audits, phases, results
from aarlab.server.audits import Examined
from aarlab.server.lab import Lab
from aarlab.store import tables as t
from aarlab.vault.feedback import Ladder, released_bits
from aarlab.vault.ledger import evaluation_body, submission_body, verdict_body
from recorded_base import MINUTES, PROBLEM, Draft, Json, Recording, chain, leaver, moments, put

OPENED_FILES = 40  # best submissions that have outcome files where the others have none


class Writer:
    """Submissions, evaluations, scores, answers and ledger lines, a stretch of the run at a time."""

    def __init__(self, lab: Recording, drafts: list[Draft], outcomes: bool) -> None:
        self.lab, self.drafts, self.card = lab, drafts, lab.feedback
        self.by_id = {d.id: d for d in drafts}
        with lab.store.read() as rows:
            terms = rows.meta("ladder")
        self.ladder = Ladder(float(terms["step"]), int(terms["start"]), int(terms["start"]))
        self.rungs, self.given = self.ladder.rungs, 0
        best = sorted((d for d in drafts if d.scored), key=lambda d: -sum(d.right))
        self.kept = {d.id for d in (best if outcomes else best[:OPENED_FILES])}
        self.running = {d.id for d in [d for d in drafts if d.finished is None][: lab.settings.scoring.workers]}
        self.evaluation_of: dict[int, int] = {}
        self.rows: dict[Table, list[Json]] = {}
        self.row_of: dict[int, Json] = {}
        self.lines: list[tuple[float, str, Json]] = []

    def write(self) -> None:
        """Everything up to the end of research, in three transactions."""
        steps = sorted(self._steps(), key=lambda s: s[:2])
        for until, act in zip((*moments(self.lab)[:2], math.inf), (self._early_audit, self._stop, None), strict=True):
            stretch = [s for s in steps if s[0] <= until]
            steps = steps[len(stretch) :]
            self._stretch(stretch)
            if act is not None:
                self.lab.clock = until
                act()
        self.lab.changed("scores")

    def _steps(self) -> Iterator[tuple[float, int, Callable[[Draft], None], Draft]]:
        """(time, rank, what happens, to whom); a repeated method gets its answer as it comes in."""
        for d in self.drafts:
            yield d.created, 2 * d.id, self._taken, d
            if d.finished is not None:
                ends = self._repeated if d.repeat_of else self._scored if d.scored else self._failed
                yield d.finished, 2 * d.id + 1, ends, d

    def _stretch(self, steps: Sequence[tuple[float, int, Callable[[Draft], None], Draft]]) -> None:
        """What happened between two moments, in one transaction."""
        with self.lab.store.read() as rows:
            known = rows.evaluations()
            last = rows.last_line()
        self.rows, self.lines = {}, []
        self.next_evaluation = max((e.id for e in known), default=0) + 1
        for _, _, act, draft in steps:
            act(draft)
        order = (t.submissions, t.ideas, t.evaluations, t.scores, t.answers)
        with self.lab.store.write() as rows:
            for table in order:
                put(rows.c, table, self.rows.get(table, []))
            put(rows.c, t.ledger, chain(self.lines, last, self.lab.vault.key))

    def _add(self, table: Table, row: Json) -> None:
        self.rows.setdefault(table, []).append(row)

    def _taken(self, d: Draft) -> None:
        """Handed in: the row in its final state, the ledger line as it was then."""
        status = "running" if d.id in self.running else d.status
        row = Submission(
            id=d.id, researcher=d.researcher, name=d.name, status=status,
            bundle_hash=self.lab.keep_artifact(d.source), normal_hash=normalise(d.source), created=d.created,
            finished=d.finished, parent=d.parent, track=d.track, claimed_pgr=d.claimed, reason=d.reason, note=d.note,
            repeat_of=d.repeat_of,
        )  # fmt: skip
        self.row_of[d.id] = dict(vars(row))
        self._add(t.submissions, self.row_of[d.id])
        self.lines.append((d.created, "submission", submission_body(row)))
        if d.declared:
            self._add(t.ideas, vars(IdeaRow("submission", d.id, d.declared, "researcher")))
        if d.repeat_of is None:
            self.evaluation_of[d.id] = self.next_evaluation
            self.next_evaluation += 1
            if d.finished is None:  # nothing has come of it yet; its answer is set aside
                lease = f"{self.lab.incarnation}:{d.id}" if status == "running" else None
                self._evaluation(d, status, lease=lease)
                self._answer_row(d, None)

    def _evaluation(self, d: Draft, status: str, **values: Any) -> Evaluation:
        number = self.evaluation_of[d.id]
        about = (number, d.id, PROBLEM, self.card.name, "feedback", status, d.created)
        row = Evaluation(*about, finished=d.finished, **values)
        self._add(t.evaluations, vars(row))
        return row

    def _answer_row(self, d: Draft, answer: Answer | None) -> None:
        number = self.given if answer else None
        said = {"text": answer.text, "record": answer.record} if answer else {"text": None, "record": None}
        self._add(t.answers, {"submission": d.id, "researcher": d.researcher, "number": number, **said})

    def _scored(self, d: Draft) -> None:
        outcome = self._outcome(d) if d.id in self.kept else None
        row = self._evaluation(d, "scored", outcome=outcome)
        scores = self._scores(d, row)
        keep = ("evaluation", "seed_index", "accuracy", "pgr", "items", "cpu_seconds", "wall_seconds")
        for score in scores:
            self._add(t.scores, {k: getattr(score, k) for k in keep})
        d.answer, self.ladder = self.ladder.answer(float(np.mean([s.accuracy for s in scores])))
        self.given += 1
        self._answer_row(d, d.answer)
        body = evaluation_body(row, scores) | self._verdict(d)
        more = {"number": self.given, "bits_at_most": round(released_bits(self.given, self.rungs), 3)}
        self.lines.append((d.finished or d.created, "answer", body | more))

    def _outcome(self, d: Draft) -> str:
        correct = self.lab.tasks.correct(PROBLEM, self.card.name, d.id, d.right)
        return self.lab.vault.save_outcomes(self.evaluation_of[d.id], PROBLEM, self.card.name, correct)

    def _scores(self, d: Draft, row: Evaluation) -> list[Score]:
        rng, items, found = self.lab.rng, self.card.test_items, []
        for i, right in enumerate(d.right):
            accuracy, cpu = right / items, round(rng.uniform(0.4, 2.6), 4)
            found.append(Score(
                d.id, self.card.name, i, accuracy, self.card.pgr(accuracy), items, cpu, round(1.06 * cpu, 4), row.id,
                PROBLEM, "feedback",
            ))  # fmt: skip
        return found

    def _failed(self, d: Draft) -> None:
        ours = d.reason == "infrastructure"
        row = self._evaluation(d, d.status, reason=d.reason, failures=results.MAX_FAILURES - 1 if ours else 0)
        self.lines.append((d.finished or d.created, "failed", evaluation_body(row, []) | self._verdict(d)))
        if d.reason == "forbidden":
            seen = [asdict(Event("socket", "AF_INET", 2)), asdict(Event("program", "/bin/sh"))]
            body = {"what": "denied", "submission": d.id, "purpose": "feedback", "events": seen}
            self.lines.append((d.finished or d.created, "alarm", body))

    def _repeated(self, d: Draft) -> None:
        first = self.by_id[d.repeat_of or 0]
        d.answer = first.answer
        self.lines.append((d.finished or d.created, "repeat", {**self._verdict(d), "of": first.id}))

    def _verdict(self, d: Draft) -> Json:
        """The ledger's body of a verdict; the submission's row, written already, gets the answer too."""
        row = self.row_of[d.id]
        if d.answer is not None:
            row |= {"answer": d.answer.text, "record": d.answer.record}
        return verdict_body(Submission(**row))

    # What the operator does meanwhile

    def _early_audit(self) -> None:
        """The operator wants to know early what the leader of the day depends on."""
        known = [d for d in self.drafts if d.answer and d.scored and (d.finished or 0) < self.lab.clock]
        if not known:
            return
        best = max(known, key=lambda d: sum(d.right))
        with self.lab.store.write() as rows:
            number = audits.request(self.lab, rows, best.id, "quick")
        self.lab.clock += 1.5
        spot = "wrong track" if best.track == "inductive" else ""
        end_audit(self.lab, number, findings(self.lab, best, spot, "quick"))

    def _stop(self) -> None:
        name = leaver(self.lab)
        if name:
            with self.lab.store.write() as rows:
                rows.set_researcher(name, status="stopped")
                self.lab.ledger.append(rows, "stop", {"researcher": name}, self.lab.now())


# Audits and what follows research


SPOTS = ("", "shortcut", "wrong track", "", "did not run", "", "doubtful", "", "one task")
"""What audits find, in their order; only an inductive method can be on the wrong track. All others are as declared."""


@dataclass(frozen=True)
class Measured:
    """One audit's number, how far its interval reaches, and its sentence with {0} for the number."""

    value: float
    reach: float | None
    sentence: str
    details: Json = field(default_factory=dict)


def findings(lab: Recording, d: Draft, spot: str = "", level: str = "full") -> tuple[Finding, ...]:
    """One finding per audit of a level. spot: what is odd about the method, a word of `SPOTS`."""
    numbers, items = _numbers(lab.rng, d.track, d.claimed) | _odd(spot), lab.feedback.test_items
    found = []
    for audit in all_audits.every():
        if level == "quick" and audit.level == "full":
            continue
        one = numbers.get(audit.name)
        if one is None:
            found.append(Finding(audit.name, audit.channel, "not applicable", f"{audit.title}: not applicable"))
        elif spot == "did not run" and audit.name == "rename":
            why = f"{audit.title}: failed, the method did not run in condition 'renamed' (crashed)"
            found.append(Finding(audit.name, audit.channel, "failed", why))
        else:
            ends = (None, None) if one.reach is None else (one.value - one.reach, one.value + one.reach)
            said = one.sentence.format(one.value)
            found.append(Finding(audit.name, audit.channel, "measured", said, one.value, *ends, items, one.details))
    return tuple(found)


def _numbers(rng: random.Random, track: str, claimed: float | None) -> dict[str, Measured]:
    """What an honest method of a track shows, by the audit's name."""

    def near(value: float, spread: float) -> float:
        return round(value + rng.uniform(-spread, spread), 4)

    teacher = {"teacher-free": near(0.03, 0.03), "hybrid": near(0.38, 0.1)}.get(track, near(0.66, 0.12))
    swap = 0.04 if track == "teacher-free" else near(0.7, 0.15)
    batch = near(0.11, 0.03) if track in ("group", "transductive") else near(0.012, 0.01)
    claim = "the claim lies {0:+.2f} above three fresh seeds on the open task"
    fresh = {} if claimed is None else {"fresh-seeds": Measured(near(0.05, 0.06), 0.04, claim)}
    return fresh | {
        "code-reading": Measured(0.0, None, "no rule of the code reader applies", {"rules": {}}),
        "payload": Measured(near(0.05, 0.02), None, "the file holds {0:.0%} of what a method may carry"),
        "execution-trace": Measured(0.0, 0.0, "did nothing that it may not do", {"seen": []}),
        "teacher-flip": Measured(
            teacher, 0.05,
            "with every weak label inverted the method loses {0:.0%} of what a turned teacher could cost it",
        ),
        "teacher-permutation": Measured(
            max(0.0, teacher - 0.06), 0.06, "with weak labels shuffled among the items it loses {0:.0%} of its skill"
        ),
        "teacher-swap": Measured(
            swap, 0.09, "the method follows its teacher {0:.2f} times as far as the plain weak-label baseline"
        ),
        "group-isolation": Measured(
            batch, 0.008, "{0:.1%} of the predictions change when no other item of the group is in the batch"
        ),
        "tiny-batches": Measured(batch / 2, 0.006, "{0:.1%} of the predictions change in batches of a few items"),
        "answer-frequency": Measured(
            near(0.01, 0.05), 0.04,
            "of equally right answers the most frequent one of its group is called right {0:+.1%} more often",
        ),
        "answer-dedup": Measured(near(0.02, 0.02), 0.03, "on one item of each different answer {0:.0%} is lost"),
        "source-balance": Measured(
            near(0.14, 0.08), 0.08, "{0:.0%} of the skill vanishes when items of one source are compared alone"
        ),
        "leave-one-source-out": Measured(near(0.08, 0.04), 0.06, "trained without one source it loses {0:.0%} there"),
        "rename": Measured(near(0.02, 0.012), 0.008, "{0:.1%} of the predictions change with the same items reworded"),
        "feature-basis": Measured(near(0.006, 0.005), 0.004, "in another basis {0:.1%} more predictions change"),
        "text-shuffle": Measured(0.0, 0.002, "{0:.1%} of the predictions change when texts are exchanged"),
        "same-task-gap": Measured(near(0.3, 0.9), None, "right as often on held-out items; the gap is {0:.1f} errors"),
        "student-ablation": Measured(
            near(0.97, 0.03), 0.03, "with the features of unrelated items the method loses {0:.0%} of its skill"
        ),
        "zero-shot-ablation": Measured(near(0.2, 0.1), 0.02, "{0:.1%} change with the opinion of other items"),
        "knock-out": Measured(
            near(0.94, 0.05), 0.05,
            "with teacher and untrained opinion both destroyed the method loses {0:.0%} of its skill",
        ),
        "new-task": Measured(near(0.86, 0.08), 0.07, "on open the method keeps {0:.0%} of its skill on feedback"),
    }  # fmt: skip


def _odd(spot: str) -> dict[str, Measured]:
    """What shows instead where something is odd."""
    if spot == "shortcut":
        said = "of equally right answers the most frequent one of its group is called right {0:+.1%} more often"
        return {"answer-frequency": Measured(0.31, 0.07, said, {"measured twice": [0.34, 0.31]})}
    if spot == "wrong track":
        said = "{0:.1%} of the predictions change when no other item of the group is in the batch"
        return {"group-isolation": Measured(0.142, 0.021, said)}
    if spot == "one task":
        return {"new-task": Measured(0.44, 0.09, "on open the method keeps {0:.0%} of its skill on feedback")}
    if spot == "doubtful":
        said = "{0:.0%} of the skill vanishes when items of one source are compared alone"
        return {"source-balance": Measured(0.54, 0.09, said)}
    return {}


def end_audit(lab: Lab, evaluation: int, found: tuple[Finding, ...], cpu: float = 96.0) -> None:
    """End an audit's evaluation as a worker would."""
    with lab.store.write() as rows:
        taken = rows.claim_one(evaluation, "recorded")
    assert taken is not None
    audits.record(lab, taken, Examined(tuple(audits.plain(f) for f in found), cpu))


class Ending:
    """From the end of research to the numbers of record, by the lab's own rules."""

    def __init__(self, lab: Recording, drafts: list[Draft]) -> None:
        self.lab, self.drafts = lab, {d.id: d for d in drafts}
        self.spots = list(SPOTS)

    def run(self) -> None:
        """Through all phases."""
        lab = self.lab
        lab.clock = lab.horizon
        with lab.store.write() as rows:
            phases.ask_for(lab, rows, "done", f"{MINUTES:g} minutes of research are over")
        while self._phase() != "done":
            lab.clock += 1.0
            phases.advance(lab)
            self._work()

    def _phase(self) -> str:
        with self.lab.store.read() as rows:
            return self.lab.phase(rows)

    def _work(self) -> None:
        """All that the phase queued, two at a time."""
        with self.lab.store.read() as rows:
            waiting = [e for e in rows.evaluations() if e.status == "queued"]
        for e in waiting:
            if e.purpose == "audit":
                self._audit(e)
            else:
                self.lab.clock += self.lab.rng.uniform(4.0, 8.0)
                self.lab.score(e, self._pgr(e.submission, e.problem, e.task, e.purpose))

    def _audit(self, e: Evaluation) -> None:
        draft = self.drafts[e.submission]
        spot = self._spot(draft)
        self.lab.clock += self.lab.rng.uniform(28.0, 45.0)
        cpu = round(self.lab.rng.uniform(60, 130), 2)
        end_audit(self.lab, e.id, findings(self.lab, draft, spot), cpu)
        if spot == "did not run":
            self._overrule(e.submission)

    def _spot(self, d: Draft) -> str:
        """What is odd about the next audited method."""
        able = [s for s in self.spots if s != "wrong track" or d.track == "inductive"]
        if not able:
            return ""
        self.spots.remove(able[0])
        return able[0]

    def _overrule(self, submission: int) -> None:
        """A person reads the file of a method that is held, and lets it rank."""
        self.lab.clock += 30.0
        with self.lab.store.write() as rows:
            reason = "read by hand: it reads no texts, and the crash on reworded items is a name that our copy lacks"
            audits.overrule(self.lab, rows, submission, True, reason)
            phases.reopen(self.lab, rows, submission)

    def _pgr(self, submission: int, problem: str, task: str, purpose: Purpose) -> float:
        """What a submission is worth on a task that it was not made for."""
        card = self.lab.vault.problems[problem].task(task)
        if submission in self.lab.baselines:
            return card.pgr(card.baselines[self.lab.baselines[submission]])
        kept = 0.74 if purpose == "record" else 0.42
        return kept * self.drafts[submission].pgr + self.lab.rng.gauss(0.0, 0.035)
