"""The leak that trains: a few weights tuned on answers alone, and where the method is better afterwards.

The method is the baseline of hard weak labels, which trains on whatever task it runs on, with a fixed correction:
its log-odds and 22 principal components of the probe's features (computed on the open task), 23 weights in all. An
evolution strategy changes the weights by what is answered about the attacked task's test items, and the result is
measured on those, on the other half of the task's train groups (a same-task vault: their labels answered nothing and
the method did not train on them), and on the problem's other tasks (new tasks).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from aarlab.problems import audit_task
from aarlab.problems.audit_task import AuditTask
from aarlab.problems.base import Problem
from aarlab.studies.mechanisms import Bools, Floats, Mechanism, Oracle
from aarlab.vault.feedback import Ladder
from aarlab.w2s.students.base import Head
from aarlab.w2s.task import Draw, TaskInputs
from aarlab.w2s.view import view

COMPONENTS = 22
MARKS = (0, 15, 50, 150, 450)
STEP, SUCCESS, SHRINK, LEAST = 0.4, 1.35, 0.92, 0.05
"""The elitist strategy: first length of a step, its factors after a success and a failure (a 1/5 rule), its least."""

BROOD, PARENTS, WIDTH, COOLING = 10, 5, 0.6, 0.985
"""The recombining strategy: lists of a generation, how many of them are averaged, length of a step and its factor."""


@dataclass(frozen=True)
class Measured:
    """Items of one kind: the base's log-odds and the components, all standardised, (n, 23), and their labels, (n,)."""

    x: Floats
    labels: NDArray[np.int8]
    floor: float
    gap: float

    def right(self, weights: Floats) -> Bools:
        found: Bools = (self.x @ weights > 0) == (self.labels == 1)
        return found

    def pgr(self, weights: Floats) -> float:
        return float((self.right(weights).mean() - self.floor) / self.gap)


class Reader:
    """22 principal components of the open task's items, standardised there."""

    def __init__(self, inputs: TaskInputs) -> None:
        x = _matrix(inputs, np.arange(len(inputs)))
        self.mean, self.scale = x.mean(axis=0), x.std(axis=0) + 1e-6
        _, _, axes = np.linalg.svd((x - self.mean) / self.scale, full_matrices=False)
        self.axes = axes[:COMPONENTS].T
        self.length = ((x - self.mean) / self.scale @ self.axes).std(axis=0)

    def measured(self, task: AuditTask, head: Head, rows: NDArray[np.int64]) -> Measured:
        """What the corrected method sees of some items: a fitted base head's log-odds, and the components."""
        components = (_matrix(task.inputs, rows) - self.mean) / self.scale @ self.axes / self.length
        odds = head.logits(view(task.inputs, Draw(rows, rows, np.zeros(len(rows), np.float32), 0)).test)
        x = np.concatenate([(odds / odds.std())[:, None], components], axis=1)
        return Measured(x, task.labels[rows], task.floor.mean, task.ceiling.mean - task.floor.mean)


def _matrix(inputs: TaskInputs, rows: NDArray[np.int64]) -> Floats:
    """The probe's features, weighted as it weighs them."""
    spec = inputs.student
    parts = [inputs.features(rows, n) * np.sqrt(w) for n, w in zip(spec.layers, spec.weights, strict=True)]
    found: Floats = np.concatenate(parts, axis=1).astype(np.float64)
    return found


def _base(task: AuditTask, rows: NDArray[np.int64], rng: np.random.Generator) -> Head:
    """The baseline of hard weak labels, trained on some of a task's train items by a teacher drawn."""
    weak = task.labels_of(int(rng.integers(len(task.weak))), rows)
    seen = view(task.inputs, Draw(rows, rows, weak, 0))
    return seen.student.fit(seen.train, weak > 0.5)


def mechanisms(ladder: Ladder) -> list[Mechanism]:
    return [
        Mechanism("exact"),
        Mechanism("rounded to 1 point", grid=0.01),
        Mechanism("Gauss 1 point", noise=0.01),
        Mechanism("Gauss 2 points", noise=0.02),
        Mechanism("Ladder of the lab", ladder=ladder),
    ]


def study(
    problem: Problem, attacked: AuditTask, ladder: Ladder, repeats: int, seed: int,
    tell: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:  # fmt: skip
    """PGR at `MARKS` answers on feedback items, same-task vault and new tasks, for each mechanism; per repeat."""
    reader = Reader(problem.inputs(problem.of_role("open")[0].name))
    others = [audit_task.load(problem, name) for name in problem.tasks if name != attacked.task]
    found: dict[str, list[list[list[float]]]] = {}
    for number in range(repeats):
        rng = np.random.default_rng([seed, 2, number])
        first, second = _halves(attacked, rng)
        head = _base(attacked, first, rng)
        feedback = reader.measured(attacked, head, attacked.test)
        places = [[feedback], [reader.measured(attacked, head, second)], _fresh(reader, others, rng)]
        trained = LogisticRegression(fit_intercept=False, max_iter=500)
        seen = reader.measured(attacked, head, first)
        found.setdefault("", []).append([_everywhere(trained.fit(seen.x, seen.labels).coef_[0], places)])
        for m in mechanisms(ladder):
            for name, strategy in STRATEGIES.items():
                if m.ladder is None or strategy is elitist:
                    tuned = strategy(feedback, m, MARKS, rng)
                    found.setdefault(f"{m.name}/{name}", []).append([_everywhere(w, places) for w in tuned])
        tell(number + 1)
    top = np.array(found.pop(""))[:, 0]
    return {
        "weights": COMPONENTS + 1,
        "answers": list(MARKS),
        "places": ["feedback items", "same-task vault", "new tasks"],
        "new_tasks": [t.task for t in others],
        "vault_items": len(attacked.pool) // 2,
        "trained_on_labels": _summary(top),
        "mechanisms": [_best(m.name, found) for m in mechanisms(ladder)],
    }


def _fresh(reader: Reader, others: Sequence[AuditTask], rng: np.random.Generator) -> list[Measured]:
    """The other tasks, each with a base trained on its own teacher."""
    return [reader.measured(t, _base(t, t.pool, rng), t.test) for t in others]


def _best(name: str, found: dict[str, list[list[list[float]]]]) -> dict[str, Any]:
    """A mechanism with the strategy that gains most on the feedback items in the end."""
    own = {key.split("/")[1]: np.array(v) for key, v in found.items() if key.startswith(f"{name}/")}
    best = max(own, key=lambda strategy: own[strategy][:, -1, 0].mean())
    return {"name": name, "strategy": best, "pgr": [_summary(own[best][:, i]) for i in range(len(MARKS))]}


def _everywhere(head: Floats, places: Sequence[Sequence[Measured]]) -> list[float]:
    """Mean PGR of each place."""
    return [float(np.mean([m.pgr(head) for m in place])) for place in places]


def _halves(task: AuditTask, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The train items in two halves without a common group."""
    groups = task.inputs.groups[task.pool]
    named = rng.permutation(np.unique(groups))
    first = np.isin(groups, named[: len(named) // 2])
    return task.pool[first], task.pool[~first]


def elitist(feedback: Measured, m: Mechanism, marks: Sequence[int], rng: np.random.Generator) -> list[Floats]:
    """The weights after each number of answers: one trial an answer, kept where the answer is as good as the best."""
    best, step, asked, score = _start(feedback), STEP, 0, -np.inf
    oracle, found = Oracle(~feedback.right(best), m, rng), []
    base = feedback.right(best)
    for mark in marks:
        while asked < mark:
            trial = best if asked == 0 else best + step * rng.normal(size=len(best)) / np.sqrt(len(best))
            answer = _ask(trial, feedback, base, oracle)
            better = np.isfinite(answer) and answer >= score
            best, score = (trial, answer) if better else (best, score)
            step, asked = max(LEAST, step * (SUCCESS if better else SHRINK)), asked + 1
        found.append(best)
    return found


def recombining(feedback: Measured, m: Mechanism, marks: Sequence[int], rng: np.random.Generator) -> list[Floats]:
    """A brood an average: the better half of every generation's trials becomes the next centre, noise or not."""
    centre, width, asked = _start(feedback), WIDTH, 0
    base = feedback.right(centre)
    oracle, found = Oracle(~base, m, rng), []
    share = np.log(PARENTS + 0.5) - np.log(np.arange(1, PARENTS + 1))
    brood: list[tuple[float, Floats]] = []
    for mark in marks:
        while asked < mark:
            move = width * rng.normal(size=len(centre)) / np.sqrt(len(centre))
            brood.append((_ask(centre + move, feedback, base, oracle), move))
            asked += 1
            if len(brood) == BROOD:
                ranked = sorted(brood, key=lambda pair: -pair[0])[:PARENTS]
                centre = centre + sum(s * move for s, (_, move) in zip(share / share.sum(), ranked, strict=True))
                width, brood = width * COOLING, []
        found.append(centre)
    return found


STRATEGIES = {"elitist": elitist, "recombining": recombining}


def _start(feedback: Measured) -> Floats:
    """The base alone."""
    found: Floats = np.eye(feedback.x.shape[1])[0]
    return found


def _ask(weights: Floats, feedback: Measured, base: Bools, oracle: Oracle) -> float:
    """One answer about a method; a Ladder's "no new record" is minus infinity."""
    turned = feedback.right(weights) != base
    if oracle.mechanism.ladder is None:
        return float(oracle.ask(turned[None])[0])
    rung = oracle.record(turned)
    return -np.inf if rung is None else float(rung)


def _summary(values: Floats) -> list[dict[str, float]]:
    """Mean and 95 % interval of each place. values: (repeats, places)."""
    reach = 1.96 * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    mean = values.mean(axis=0)
    return [
        {"mean": round(float(m), 4), "low": round(float(m - r), 4), "high": round(float(m + r), 4)}
        for m, r in zip(mean, reach, strict=True)
    ]
