"""How many hidden labels of a real task are stolen by k answers, for each way to answer, by the best attack known.

The base submission is a real baseline's predictions on the task's test items, one draw of teacher and data a repeat.
The attacker knows how certain each prediction is, and from the open task, whose labels are public, how often such
predictions are wrong. What it steals is the accuracy of its last list less that of the base, in PGR of the task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression

from aarlab.errors import InputError
from aarlab.problems import audit_task
from aarlab.problems.audit_task import AuditTask
from aarlab.problems.base import Problem
from aarlab.studies import attacks, bits, direction
from aarlab.studies.mechanisms import Bools, Floats, Mechanism, Oracle, mechanisms
from aarlab.vault.feedback import START_BASELINE, Ladder, fixed_step
from aarlab.w2s import methods
from aarlab.w2s.view import view

BASE = START_BASELINE
"""The method whose predictions are the base submission; the lab's Ladder starts at its accuracy."""

GRID = (1, 2, 3, 5, 7, 10, 15, 22, 33, 50, 70, 100, 150, 220, 320, 450, 700, 1000, 1500, 2200, 3200, 4500)
MARKS = (10, 50, 150, 450, 4500)
"""Answers at which tables are read: the lab's practice, one agent, a run, nine agents of 50, nine of 500."""

FOCUS = (1, 2, 4, 0)
"""Random halves are asked of so many items per answer, the least certain; 0: of all."""

PAPER_ITEMS, PAPER_GAP = 1300, 0.19
"""About the test items of the published study's chat task, and its accuracy between floor and ceiling."""

LEAST_STEP = 0.005
"""The Ladder's, as a lab has it by default."""

FEW, REDRAWS = 50, 8
"""Up to so few answers each attack is made so often on each base, and averaged: there its luck exceeds its gain."""

Tell = Callable[[str, int], None]


@dataclass(frozen=True)
class World:
    """One base submission in the attacker's order, least certain items first.

    wrong: bool (n,); prior: P(wrong) as the attacker believes it, (n,).
    """

    wrong: Bools
    prior: Floats

    def gains(self, turned: Bools) -> Floats:
        """Accuracy gained by turning these items round, for each row of bool (rows, n)."""
        signs = np.where(self.wrong, 1.0, -1.0)
        found: Floats = (turned @ signs) / len(signs)
        return found

    def part(self, items: int, rng: np.random.Generator) -> World:
        """The same with fewer items, in the same order."""
        kept = np.sort(rng.choice(len(self.wrong), min(items, len(self.wrong)), replace=False))
        return World(self.wrong[kept], self.prior[kept])


def study(
    problem: Problem, task: str, answers: int, repeats: int, seed: int, tell: Tell = lambda where, done: None
) -> dict[str, Any]:
    """The whole study as JSON-ready data. tell(what, steps done of `steps(repeats)`) is called now and then.

    Raises InputError for numbers that mean nothing, UnknownName for a task that is not there.
    """
    if answers < MARKS[0]:
        raise InputError(f"--answers is {answers}; at least {MARKS[0]} are needed")
    if repeats < 2:
        raise InputError(f"--repeats is {repeats}; at least 2 are needed for an interval")
    problem.check_gaps()
    open_task = audit_task.load(problem, problem.of_role("open")[0].name)
    attacked = audit_task.load(problem, task)
    ladder = _ladder(problem, task)
    grid = [k for k in GRID if k < answers] + [answers]
    worlds = list(_worlds(attacked, open_task, repeats, seed))
    found = _stolen(worlds, mechanisms(ladder), grid, seed, lambda n: tell("stealing labels", n))
    return {
        **_about(problem, attacked, ladder, worlds, seed),
        "answers": grid,
        "marks": [k for k in MARKS if k in grid],
        "mechanisms": [_row(m, found, grid, attacked, worlds) for m in mechanisms(ladder)],
        "paper": _paper(worlds, ladder, answers, seed),
        "direction": direction.study(problem, attacked, ladder, repeats, seed, lambda n: tell("tuning", repeats + n)),
    }


def _stolen(
    worlds: Sequence[World], every: Sequence[Mechanism], grid: Sequence[int], seed: int, tell: Callable[[int], None]
) -> dict[tuple[str, str], list[Floats]]:
    """(mechanism, attack) -> gains at each number of answers, of each world."""
    found: dict[tuple[str, str], list[Floats]] = {}
    few = [k for k in grid if k <= FEW]
    for number, world in enumerate(worlds):
        rng = np.random.default_rng([seed, 3, number])
        draws = [
            {key: world.gains(turned) for key, turned in _attacked(world, every, few if draw else grid, rng)}
            for draw in range(REDRAWS)
        ]
        for key, gains in draws[0].items():
            gains[: len(few)] = np.mean([d[key][: len(few)] for d in draws], axis=0)
            found.setdefault(key, []).append(gains)
        tell(number + 1)
    return found


def _paper(worlds: Sequence[World], ladder: Ladder, answers: int, seed: int) -> dict[str, Any]:
    """The same at the size of the published study: that many of the items, and its gap."""
    rng, grid = np.random.default_rng([seed, 4]), [k for k in MARKS if k <= min(answers, 450)]
    smaller = [world.part(PAPER_ITEMS, rng) for world in worlds]
    items = len(smaller[0].wrong)
    step = fixed_step(items, LEAST_STEP)
    start = int(np.ceil(ladder.accuracy(ladder.start) / step - 1e-9))
    every = mechanisms(Ladder(step, start, start))
    found = _stolen(smaller, every, grid, seed, lambda n: None)
    rows = []
    for m in every:
        own = _own(found, m, grid)
        best = [_best(own, i)[1] / PAPER_GAP for i in range(len(grid))]
        rows.append({"name": m.name, "pgr": [_estimate(gains) for gains in best]})
    return {"items": items, "gap": PAPER_GAP, "step": step, "answers": grid, "mechanisms": rows}


def steps(repeats: int) -> int:
    """Of the progress bar."""
    return 2 * repeats


def _ladder(problem: Problem, task: str) -> Ladder:
    """The lab's Ladder on this task; from its floor where no baseline was published for it."""
    card = problem.task(task)
    if START_BASELINE in card.baselines:
        return Ladder.from_card(card, LEAST_STEP)
    step = fixed_step(card.test_items, LEAST_STEP)
    start = int(np.ceil(card.floor.mean / step))
    return Ladder(step, start, start)


def _worlds(attacked: AuditTask, open_task: AuditTask, repeats: int, seed: int) -> Iterator[World]:
    for number in range(repeats):
        rng = np.random.default_rng([seed, 1, number])
        wrong, certainty = _base(attacked, rng)
        known, sureness = _base(open_task, rng)
        order = np.argsort(certainty, kind="stable")
        yield World(wrong[order], _error_rate(known[np.argsort(sureness, kind="stable")], len(order)))


def _base(task: AuditTask, rng: np.random.Generator) -> tuple[Bools, Floats]:
    """(whether each test item is wrong, how certain the prediction is) of the base method on one draw."""
    draw = task.draw(int(rng.integers(len(task.weak))), rng)
    space: dict[str, Any] = {}
    exec(compile(methods.source(BASE), BASE, "exec"), space)  # a method file of this package
    said = np.asarray(space["run"](view(task.inputs, draw), draw.seed))
    wrong: Bools = (said > 0.5) != (task.labels[draw.test] == 1)
    return wrong, np.abs(said - 0.5)


def _error_rate(wrong: Bools, items: int) -> Floats:
    """P(wrong) by rank of certainty, (items,), fitted on other items in that order; never above a half."""

    def terms(n: int) -> NDArray[np.float64]:
        rank = (np.arange(n) + 0.5) / n
        return np.stack([rank, rank**2], axis=1)

    fit = LogisticRegression(C=10).fit(terms(len(wrong)), wrong)
    found: Floats = np.clip(fit.predict_proba(terms(items))[:, 1], 0.01, 0.499)
    return found


# Attacks


def _attacked(
    world: World, every: Sequence[Mechanism], grid: Sequence[int], rng: np.random.Generator
) -> Iterator[tuple[tuple[str, str], Bools]]:
    """((mechanism, attack), items turned at each number of answers) of every attack that makes sense."""
    n = len(world.wrong)
    shuffled = rng.permutation(n)
    for m in every:
        if m.ladder is not None:
            yield (m.name, "climbing"), attacks.climb(Oracle(world.wrong, m, rng), world.prior, grid, rng)
            yield (m.name, "edge-walking"), attacks.walk(Oracle(world.wrong, m, rng), world.prior, grid)
        elif not m.noise:
            for name, order in (("flips", np.arange(n)), ("flips in random order", shuffled)):
                yield (m.name, name), attacks.flips(Oracle(world.wrong, m, rng), world.prior, grid, order)
    yield ("exact", "coin weighing"), attacks.coins(Oracle(world.wrong, every[0], rng), world.prior, grid)
    yield from _halves(world, [m for m in every if m.ladder is None], grid, rng)


def _halves(
    world: World, every: Sequence[Mechanism], grid: Sequence[int], rng: np.random.Generator
) -> Iterator[tuple[tuple[str, str], Bools]]:
    n = len(world.wrong)
    signs = rng.choice(np.array([-1, 1], np.float32), (max(grid), n))
    found: dict[tuple[str, str], Bools] = {}
    for row, k in enumerate(grid):
        asked = [m for m in every if not m.limit or k <= m.limit]
        spread = np.array([m.spread(n) for m in asked])
        known: dict[int, dict[str, Bools]] = {}
        for focus in FOCUS:
            items = min(n, focus * k) if focus else n
            if items not in known:
                oracles = [Oracle(world.wrong, m, rng) for m in asked]
                halves = attacks.Halves.ask(oracles, signs[:k, :items])
                decoders = {"message passing": attacks.decoded, "votes": attacks.votes}
                known[items] = {w: d(halves, world.prior[:items], spread) for w, d in decoders.items()}
            for what, turned in known[items].items():
                where = f"{what}, {focus} items an answer" if focus else f"{what}, all items"
                for m, own in zip(asked, turned, strict=True):
                    found.setdefault((m.name, where), np.zeros((len(grid), n), bool))[row, :items] = own
    yield from found.items()


# Tables


def _about(problem: Problem, task: AuditTask, ladder: Ladder, worlds: Sequence[World], seed: int) -> dict[str, Any]:
    wrong = np.array([w.wrong.mean() for w in worlds])
    fifths = np.mean([[part.mean() for part in np.array_split(w.wrong, 5)] for w in worlds], axis=0)
    return {
        "problem": problem.name,
        "task": task.task,
        "base": BASE,
        "items": task.test_items,
        "groups": len(np.unique(task.inputs.groups[task.test])),
        "floor": task.floor.mean,
        "ceiling": task.ceiling.mean,
        "gap": task.ceiling.mean - task.floor.mean,
        "paper_gap": PAPER_GAP,
        "base_wrong": _estimate(wrong),
        "wrong_by_certainty": [round(float(f), 4) for f in fifths],
        "step": ladder.step,
        "start": ladder.accuracy(ladder.start),
        "rungs": ladder.rungs,
        "repeats": len(worlds),
        "seed": seed,
    }


def _row(
    m: Mechanism, found: dict[tuple[str, str], list[Floats]], grid: Sequence[int], task: AuditTask,
    worlds: Sequence[World],
) -> dict[str, Any]:  # fmt: skip
    """One mechanism: its best attack at each number of answers, every attack's mean, and its bits."""
    own = _own(found, m, grid)
    gap = task.ceiling.mean - task.floor.mean
    means = {attack: gains.mean(axis=0) for attack, gains in own.items()}
    best = [_best(own, i) for i in range(len(grid))]
    return {
        "name": m.name,
        "limit": m.limit,
        "best": [
            {"answers": k, "attack": attack, "gain": _estimate(gains), "pgr": _estimate(gains / gap)}
            for k, (attack, gains) in zip(grid, best, strict=True)
        ],
        "attacks": {attack: [round(float(v), 6) for v in mean] for attack, mean in means.items()},
        "bits": bits.row(m, worlds[0].prior, task.test_items, [k for k in MARKS if k in grid]),
    }


def _own(found: dict[tuple[str, str], list[Floats]], m: Mechanism, grid: Sequence[int]) -> dict[str, Floats]:
    """Attack -> gains (worlds, len(grid)) of one mechanism; the last answer's stay once no more are given."""
    own = {attack: np.stack(gains) for (name, attack), gains in found.items() if name == m.name}
    if m.limit:
        last = max(i for i, k in enumerate(grid) if k <= m.limit)
        for gains in own.values():
            gains[:, last + 1 :] = gains[:, last : last + 1]
    return own


def _best(own: dict[str, Floats], at: int) -> tuple[str, Floats]:
    """The attack with the highest mean gain; none where all of them lose."""
    attack = max(own, key=lambda name: own[name][:, at].mean())
    gains = own[attack][:, at]
    return (attack, gains) if gains.mean() > 1e-9 else ("none", np.zeros_like(gains))


def _estimate(values: Floats) -> dict[str, float]:
    """Mean with a 95 % t interval over repeats."""
    mean, reach = float(values.mean()), 0.0
    if len(values) > 1 and values.std() > 0:
        reach = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return {"mean": round(mean, 5), "low": round(mean - reach, 5), "high": round(mean + reach, 5)}
