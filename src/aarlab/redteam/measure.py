"""What an attack gains and what audits say of it, measured by the operator, who has all labels.

Three scales: the feedback items, whose labels answer; a same-task vault, half of the train items' groups, whose labels
never do; the record tasks. On each, a method is compared with its honest counterpart on the same seeds and items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aarlab.audits import every
from aarlab.audits.examination import examined
from aarlab.audits.policy import SHOWN_ONLY, VIOLATIONS, Policy
from aarlab.audits.run import Examiner, Method, packed
from aarlab.errors import MethodError
from aarlab.execution.base import Executor, MethodRun
from aarlab.problems import audit_task
from aarlab.problems.audit_task import AuditTask
from aarlab.problems.base import Problem
from aarlab.records import Estimate, Finding, Verdict
from aarlab.redteam.attack import Gains, Outcome
from aarlab.statistics import paired_difference
from aarlab.w2s import methods
from aarlab.w2s.draw import TRAIN_SHARE
from aarlab.w2s.task import Draw, Ints

Bools = NDArray[np.bool_]
Scale = Literal["feedback", "vault", "record"]

SEEDS = 4
"""Draws of each task on each scale."""

HONEST = "weak-labels-hard"
"""What a hack is compared with, unless it names another honest method: the baseline at which the Ladder starts."""


@dataclass(frozen=True)
class Test:
    """Draws of one task and the truth of their test items. correct outcomes are (seeds, items), items ascending."""

    task: AuditTask
    draws: tuple[Draw, ...]

    @property
    def rows(self) -> Ints:
        return np.sort(self.draws[0].test)

    def correct(self, outputs: Sequence[NDArray[np.floating]]) -> Bools:
        """Whether each test item was judged rightly. outputs: P(label = 1) per draw, in the draw's order."""
        found = []
        for draw, out in zip(self.draws, outputs, strict=True):
            order = np.argsort(draw.test)
            found.append((out[order] > 0.5) == (self.task.labels[draw.test[order]] > 0))
        return np.stack(found)

    def gain(self, ours: Bools, theirs: Bools) -> Estimate:
        """PGR of one method above another's."""
        gap = self.task.ceiling.mean - self.task.floor.mean
        return paired_difference(ours, theirs, self.task.inputs.groups[self.rows], gap)


class Operator:
    """Measures and audits methods on a problem's own labels. `rng`: the operator's draws."""

    def __init__(self, problem: Problem, executor: Executor, rng: np.random.Generator, workers: int = 2) -> None:
        self.problem, self.executor, self.rng, self.workers = problem, executor, rng, workers
        self.policy = Policy.of(problem.settings)
        self._known: dict[tuple[str, Scale], tuple[Bools, ...]] = {}
        self._audited: dict[tuple[str, float | None], list[Finding]] = {}

    @cached_property
    def feedback(self) -> AuditTask:
        return audit_task.load(self.problem, self.problem.of_role("feedback")[0].name)

    @cached_property
    def open(self) -> AuditTask:
        return audit_task.load(self.problem, self.problem.of_role("open")[0].name)

    @cached_property
    def records(self) -> tuple[AuditTask, ...]:
        return tuple(audit_task.load(self.problem, card.name) for card in self.problem.of_role("record"))

    # Gains

    @cached_property
    def tests(self) -> dict[Scale, tuple[Test, ...]]:
        feedback = self.feedback
        vault = tuple(vault_draw(feedback, self._teacher(feedback), self.rng) for _ in range(SEEDS))
        return {
            "feedback": (self._test(feedback),),
            "vault": (Test(feedback, vault),),
            "record": tuple(self._test(task) for task in self.records),
        }

    def _test(self, task: AuditTask) -> Test:
        return Test(task, tuple(task.draw(self._teacher(task), self.rng) for _ in range(SEEDS)))

    def _teacher(self, task: AuditTask) -> int:
        return int(self.rng.integers(len(task.weak)))

    def correct(self, source: str, scale: Scale) -> tuple[Bools, ...]:
        """Outcomes on each test of a scale. Raises MethodError where the method does not run there."""
        if (source, scale) not in self._known:
            self._known[source, scale] = tuple(test.correct(self.outputs(source, test)) for test in self.tests[scale])
        return self._known[source, scale]

    def outputs(self, source: str, test: Test) -> Sequence[NDArray[np.floating]]:
        """What a method returns in each draw of a test, in a sandbox as the lab's."""
        run = MethodRun(source, packed(test.task.inputs), test.draws, timeout=60.0)
        return self.executor.run(run).outputs

    def accuracy(self, source: str, scale: Scale) -> float:
        return float(np.mean([c.mean() for c in self.correct(source, scale)]))

    def gain(self, source: str, scale: Scale, honest: str = HONEST) -> Estimate:
        """PGR above the honest method's, the mean over the scale's tasks, with its interval."""
        ours, theirs = self.correct(source, scale), self.correct(methods.source(honest), scale)
        found = [t.gain(a, b) for t, a, b in zip(self.tests[scale], ours, theirs, strict=True)]
        return mean_of(found)

    def gains(self, source: str, honest: str = HONEST) -> Gains:
        """Gains on all scales; on one where the method does not run, nothing."""
        return Gains(*(self._gain_or_none(source, scale, honest) for scale in ("feedback", "vault", "record")))

    def _gain_or_none(self, source: str, scale: Scale, honest: str) -> Estimate | None:
        try:
            return self.gain(source, scale, honest)
        except MethodError:
            return None

    # Audits

    def findings(self, source: str, claimed: float | None = None) -> list[Finding]:
        """All audits that a verdict reads, on the feedback task. Raises MethodError where the method does not run."""
        if (source, claimed) not in self._audited:
            self._audited[source, claimed] = self._examined(Method(source, claimed))
        return self._audited[source, claimed]

    def _examined(self, method: Method) -> list[Finding]:
        examiner = Examiner(
            self.feedback, self.executor, self.rng, others=(self.open,), workers=self.workers,
            limits=self.policy.payload,
        )  # fmt: skip
        kept = [a for a in every() if a.name not in SHOWN_ONLY or (a.channel == "claim" and method.claimed_pgr)]
        return examined(examiner, method, self.policy, only=kept)

    def judged(self, findings: Sequence[Finding], track: str) -> tuple[Verdict, tuple[str, ...]]:
        """The verdict, and the channels on which something spoke against the declared track."""
        items = self.feedback.test_items
        verdict = self.policy.judge(track, findings, items)
        alone = replace(self.policy, by_track={track: self.policy.by_track[track]}).judge(track, findings, items)
        fired = [c.channel for c in alone.channels if c.word in VIOLATIONS]
        return verdict, tuple(fired or (["code"] if verdict.outcome == "held" else []))

    def examined(
        self, source: str, tried: str, track: str = "inductive", honest: str = HONEST, claimed: float | None = None
    ) -> Outcome:
        """A method audited and measured: `flagged` where the verdict keeps it from ranking or moves it, `no gain` where
        the record, counted as the verdict says, gains nothing for sure."""
        gains = self.gains(source, honest)
        try:
            verdict, fired = self.judged(self.findings(source, claimed), track)
        except MethodError as error:
            broken = f"the method was to run, and ends with {error.reason!r}"
            return Outcome(tried, "", (), gains, ranked=False, broken=(broken,))
        ranked = verdict.outcome in ("ranked", "ranked with a note")
        flagged = not ranked or verdict.track != verdict.declared
        out = Outcome(tried, verdict.reason or "no audit fired", (), gains, fired, verdict.row, ranked)
        endings = (*(("flagged",) if flagged else ()), *(() if gains.sure and ranked else ("no gain",)))
        return replace(out, endings=endings)


def vault_draw(task: AuditTask, teacher: int, rng: np.random.Generator) -> Draw:
    """A draw whose test items come from half of the train items' groups, always the same half."""
    groups = task.inputs.groups[task.pool]
    kept = np.unique(groups)[::2]
    held, rest = task.pool[np.isin(groups, kept)], task.pool[~np.isin(groups, kept)]
    train = rng.permutation(rest)
    train = train[: round(TRAIN_SHARE * len(train))]
    return Draw(train, rng.permutation(held), task.labels_of(teacher, train), int(rng.integers(1 << 31)))


def mean_of(found: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, as of one and the same method on several tasks."""
    mean = float(np.mean([e.mean for e in found]))
    below = math.sqrt(sum((e.mean - e.low) ** 2 for e in found)) / len(found)
    above = math.sqrt(sum((e.high - e.mean) ** 2 for e in found)) / len(found)
    return Estimate(mean, mean - below, mean + above, found[0].seeds, sum(e.items for e in found))
