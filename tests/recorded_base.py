"""What the parts of a recorded lab share: the open lab with its set clock, one draft per submission, outcomes."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Table, delete, insert, select, update

from aarlab.records import Answer, Evaluation, LedgerLine
from aarlab.server import results
from aarlab.server.lab import LAB, Lab
from aarlab.settings import ModelPrice
from aarlab.store import tables as t
from aarlab.store.registry import Earlier
from aarlab.vault.ledger import GENESIS, canonical, line_hash, sign
from aarlab.w2s.compose import Recipe

Json = dict[str, Any]
Bools = NDArray[np.bool_]

PROBLEM = "w2s-math"
MINUTES = 160.0  # of research; audits and record runs follow
ENDED_AGO, WHOLE_RUN = 3600.0, 10_800.0  # seconds
SERVER_START = 6.0  # seconds from the lab's creation until research begins
RUNS_SINCE = 6000.0  # seconds that a run in phase "research" has gone on
MANY = 2000  # submissions beyond which a transcript holds the turns that handed something in, and no others

MODELS = (
    ModelPrice("anthropic/claude-opus-4-6", 5.0, 25.0, 0.5, 6.25),
    ModelPrice("anthropic/claude-haiku-4-5", 1.0, 5.0, 0.1, 1.25),
    ModelPrice("openai-api/local/open-weights-32b", 0.2, 0.6, 0.02, 0.2),
)

WORTH = {
    "self-training": 0.6, "ensemble": 0.85, "distillation": 0.5, "data filtering": 0.45, "confidence weighting": 0.6,
    "loss function": 0.5, "unsupervised elicitation": 0.8, "curriculum": 0.5, "model internal": 0.55,
    "evolutionary": 0.65, "other": 0.3,
}  # fmt: skip
"""PGR that a family's first methods may reach."""


class Recording(Lab):
    """An open lab whose clock is set, and which keeps its answers out of the machine's count."""

    def __init__(self, folder: Path, rng: random.Random, now: float, phase: str) -> None:
        super().__init__(folder)
        self.rng = rng
        self.draws = np.random.default_rng(rng.getrandbits(63))
        self.began = now - (ENDED_AGO + WHOLE_RUN if phase == "done" else RUNS_SINCE)
        self.open_ended = phase != "done"
        self.horizon = now if self.open_ended else self.began + SERVER_START + 60 * MINUTES  # the end of research
        self.clock = self.began
        self.tasks = Outcomes(self)
        self.people = {one.name: one for one in self.settings.researchers}
        self.first = self.settings.researchers[0].name
        with self.store.write() as rows:
            backdate(self, rows.c)
            self.baselines = {s.id: s.name for s in rows.submissions(LAB)}

    def now(self) -> float:
        return self.clock

    def earlier(self) -> Earlier | None:
        return None

    def report_answers(self) -> None:
        """Made-up answers tell nobody anything about labels."""

    def score_baselines(self) -> None:
        """The shown baselines, as the pack's card has them."""
        with self.store.read() as rows:
            waiting = rows.evaluations("baseline")
        for evaluation in waiting:
            self.clock += 4.0 + self.rng.random()
            self.score(evaluation, self.feedback.pgr(self.feedback.baselines[self.baselines[evaluation.submission]]))

    def score(self, evaluation: Evaluation, pgr: float) -> None:
        """End a queued evaluation with a score of about this PGR, as a worker would."""
        with self.store.write() as rows:
            taken = rows.claim_one(evaluation.id, "recorded")
        assert taken is not None
        seeds = len(self.vault.seeds(taken.problem, taken.task, taken.purpose))
        right = self.tasks.right(taken.problem, taken.task, pgr, seeds)
        correct = self.tasks.correct(taken.problem, taken.task, taken.submission, right)
        outcome = self.vault.save_outcomes(taken.id, taken.problem, taken.task, correct)
        cpu = [round(self.rng.uniform(0.6, 2.4), 4) for _ in range(seeds)]
        results.record_score(self, taken, results.Graded(correct, outcome, cpu, [round(1.05 * c, 4) for c in cpu]))


def backdate(lab: Recording, c: Connection) -> None:
    """Let the lab have been created when the run began: its first rows, and the ledger lines on them, anew."""
    about = json.loads(c.execute(select(t.meta.c.value).where(t.meta.c.key == "lab")).scalar_one())
    about["created"] = lab.began
    c.execute(update(t.meta).where(t.meta.c.key == "lab").values(value=json.dumps(about)))
    lines = c.execute(select(t.ledger.c.kind, t.ledger.c.body).order_by(t.ledger.c.number)).all()
    for table in (t.submissions, t.evaluations):
        c.execute(update(table).values(created=lab.began))
    c.execute(delete(t.ledger))
    fresh = [(lab.began, kind, {**json.loads(body), "created": lab.began}) for kind, body in lines]
    put(c, t.ledger, chain(fresh, None, lab.vault.key))


def chain(fresh: Sequence[tuple[float, str, Json]], last: LedgerLine | None, key: bytes) -> list[Json]:
    """Ledger rows for (time, kind, body), signed, after the line `last`."""
    number, previous, least = (last.number, last.hash, last.time) if last else (0, GENESIS, 0.0)
    rows = []
    for moment, kind, body in fresh:
        number, least = number + 1, max(least, moment)
        line = LedgerLine(number, least, kind, json.loads(canonical(body)), previous, "")
        line = replace(line, hash=line_hash(line))
        previous = line.hash
        rows.append({**vars(line), "body": json.dumps(line.body), "mac": sign(key, line.hash)})
    return rows


def put(c: Connection, table: Table, rows: Sequence[Json]) -> None:
    """Insert all rows in one statement."""
    if rows:
        c.execute(insert(table), list(rows))


class Outcomes:
    """Who gets which test item right. Hard items are hard for everybody, so that contenders err alike."""

    def __init__(self, lab: Recording) -> None:
        self.lab = lab
        self._hard: dict[tuple[str, str], NDArray[np.float32]] = {}

    def right(self, problem: str, task: str, pgr: float, seeds: int) -> tuple[int, ...]:
        """Items right under each seed, for a method that is worth this PGR."""
        card = self.lab.vault.problems[problem].task(task)
        accuracy = card.floor.mean + pgr * card.gap + self.lab.draws.normal(0, 0.006, seeds)
        return tuple(int(k) for k in np.clip(np.round(accuracy * card.test_items), 1, card.test_items - 1))

    def correct(self, problem: str, task: str, who: int, right: Sequence[int]) -> Bools:
        """(seeds, items) with so many items right in each row; `who` has a taste of its own."""
        hard = self._order(problem, task)
        rng = np.random.default_rng([who, len(hard)])
        noisy = hard + 0.15 * rng.random(len(hard), np.float32) + 0.12 * rng.random((len(right), len(hard)), np.float32)
        out = np.zeros(noisy.shape, bool)
        for row, (values, count) in enumerate(zip(noisy, right, strict=True)):
            out[row, np.argpartition(values, count - 1)[:count]] = True
        return out

    def _order(self, problem: str, task: str) -> NDArray[np.float32]:
        """How hard each test item is, in [0, 1]; items of a group are alike."""
        if (problem, task) not in self._hard:
            pack = self.lab.vault.problems[problem]
            with np.load(pack.path(task, "inputs")) as inputs, np.load(pack.path(task, "labels")) as truth:
                groups = inputs["groups"][truth["is_test"]]
            rng = np.random.default_rng(len(groups))
            _, group = np.unique(groups, return_inverse=True)
            values = rng.normal(size=len(group)) + rng.normal(size=group.max() + 1)[group]
            self._hard[problem, task] = (values.argsort().argsort() / len(group)).astype(np.float32)
        return self._hard[problem, task]


@dataclass
class Draft:
    """One submission of the simulated research. right: test items right under each seed; pgr: what it is worth."""

    id: int
    researcher: str
    created: float
    name: str = ""
    family: str = ""
    track: str = "inductive"
    source: str = ""
    recipe: Recipe | None = None  # of a search researcher's method
    partner: str = ""  # the other family of a file that joins two
    parent: int | None = None
    repeat_of: int | None = None
    finished: float | None = None
    status: str = "scored"
    reason: str | None = None
    pgr: float = 0.0
    right: tuple[int, ...] = ()
    claimed: float | None = None
    declared: str = ""
    note: str = ""
    answer: Answer | None = None

    @property
    def scored(self) -> bool:
        return self.status == "scored" and self.repeat_of is None

    @property
    def outcome_words(self) -> str:
        """What a researcher is told."""
        if self.answer is not None:
            return self.answer.text
        return self.status if self.reason is None else f"{self.status.replace('_', ' ')} ({self.reason})"


def moments(lab: Recording) -> tuple[float, ...]:
    """When something happens for which all that was handed in has its score: an audit, a stop, the end of research."""
    whole = lab.horizon - lab.began
    middle = (lab.began + 0.35 * whole, lab.began + 0.75 * whole)
    return middle if lab.open_ended else (*middle, lab.horizon)


def leaver(lab: Recording) -> str:
    """The researcher whom the operator stops; empty in a small fleet."""
    names = [n for n, one in lab.people.items() if one.kind == "search"]
    return names[-1] if len(names) > 2 else ""
