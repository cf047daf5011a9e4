"""How often the intervals of `aarlab.statistics` hold: simulated worlds whose truth is known.

    python -m aarlab.calibration                              prints the tables
    python -m aarlab.calibration --write docs/statistics.md   puts them between the page's markers

In a world, an outcome is right when a normal number, made of parts for its group, item, seed, seed x group and chance,
lies below a threshold. So the true accuracy is known exactly, whatever the shares of the parts. Everything is drawn
anew in every trial, the measured floor and ceiling too. 1,500 trials a cell take three to four minutes of one core.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from aarlab import statistics
from aarlab.errors import InputError
from aarlab.records import Estimate, Measured

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

TRIALS, DRAWS, SEED = 1500, 1000, 20260401
START, END = "<!-- calibration: start -->", "<!-- calibration: end -->"


@dataclass(frozen=True)
class World:
    """How outcomes come about. The parts are shares of the latent variance; what they leave is chance."""

    name: str
    seeds: int = 5
    groups: int = 300
    size: tuple[int, int] = (4, 4)  # items of a group, uniform between the two
    accuracy: float = 0.7
    group: float = 0.3
    item: float = 0.3
    seed: float = 0.002
    seed_group: float = 0.05
    larger_is_harder: float = 0.0  # how much accuracy falls from the smallest to the largest groups

    def levels(self, shift: float) -> Array:
        """True accuracy of each group size."""
        sizes = self._sizes.astype(np.float64)
        steps: Array = (sizes - sizes.mean()) / max(1.0, float(np.ptp(sizes)))
        return self.accuracy + shift - self.larger_is_harder * steps

    def truth(self, shift: float = 0.0) -> float:
        """Accuracy over all items that could be drawn: a group weighs as much as it has items."""
        return float(self.levels(shift) @ self._sizes / self._sizes.sum())

    def items(self, rng: np.random.Generator) -> tuple[NDArray[np.intp], Array]:
        """The group of each item, and what makes it hard under every seed."""
        groups = np.repeat(np.arange(self.groups), rng.integers(self.size[0], self.size[1] + 1, self.groups))
        by_group = math.sqrt(self.group) * rng.standard_normal(self.groups)
        return groups, by_group[groups] + math.sqrt(self.item) * rng.standard_normal(len(groups))

    def outcomes(
        self, groups: NDArray[np.intp], hard: Array, rng: np.random.Generator, shift: float = 0.0, seeds: int = 0
    ) -> Bools:
        """(seeds, items) right or wrong for a method whose accuracy is higher by `shift`."""
        seeds = seeds or self.seeds
        chance = 1 - self.group - self.item - self.seed - self.seed_group
        latent = math.sqrt(chance) * rng.standard_normal((seeds, len(groups)), np.float32)
        latent += hard + math.sqrt(self.seed) * rng.standard_normal((seeds, 1))
        if self.seed_group:
            latent += (math.sqrt(self.seed_group) * rng.standard_normal((seeds, self.groups), np.float32))[:, groups]
        edges = np.array([NormalDist().inv_cdf(level) for level in self.levels(shift).tolist()])
        found: Bools = latent < edges[np.bincount(groups, minlength=self.groups) - self.size[0]][groups]
        return found

    @cached_property
    def _sizes(self) -> NDArray[np.intp]:
        return np.arange(self.size[0], self.size[1] + 1)


WORLDS = (
    World("5 seeds, 300 groups of 4"),
    World("1,200 groups of one item", groups=1200, size=(1, 1), group=0.0, item=0.6),
    World("groups of 1 to 20 items", groups=150, size=(1, 20)),
    World("the larger a group, the harder", groups=150, size=(1, 20), larger_is_harder=0.2),
    World("20 groups of 30", groups=20, size=(30, 30)),
    World("4 seeds", seeds=4),
    World("10 seeds, 100 groups of 4", seeds=10, groups=100),
    World("20 seeds, 100 groups of 4", seeds=20, groups=100),
    World("seeds differ much", seed=0.02),
    World("seeds do not differ", seed=0.0, seed_group=0.0),
    World("every seed has its own hard groups", seed_group=0.3),
    World("accuracy 0.95", accuracy=0.95),
)
"""Worlds in which a nominal 95 % interval has to hold in 93 to 97 % of trials."""

LIMITS = (
    World("2 seeds that differ much", seeds=2, seed=0.02),
    World("2 seeds that differ as usual", seeds=2),
    World("2 seeds that do not differ", seeds=2, seed=0.0, seed_group=0.0),
    World("3 seeds", seeds=3),
    World("1 seed", seeds=1),
    World("5 groups of 50", groups=5, size=(50, 50)),
    World("accuracy 0.98, 40 groups of 1", accuracy=0.98, groups=40, size=(1, 1), group=0.0, item=0.6),
)
"""Worlds with too little data, for which nothing is promised."""

LOW, HIGH, ENDS = -0.1, 0.05, 16
"""Floor and ceiling lie so far from a method's accuracy, and are measured over so many seeds."""


def measured(world: World, shift: float, rng: np.random.Generator) -> Measured:
    """A floor or ceiling measured elsewhere: a mean over `ENDS` seeds and its standard error."""
    seeds = world.truth(shift) + 0.015 * rng.standard_normal(ENDS)
    return statistics.measured(seeds)


def pgr_held(world: World, rng: np.random.Generator, draws: int = DRAWS) -> bool:
    """One trial: is the true PGR inside the interval, floor and ceiling measured elsewhere?"""
    groups, hard = world.items(rng)
    ends = (measured(world, LOW, rng), measured(world, _high(world), rng))
    correct = world.outcomes(groups, hard, rng)
    return _inside(_true_pgr(world), statistics.estimate_pgr(correct, groups, *ends, rng, draws))


def joint_held(world: World, rng: np.random.Generator, draws: int = DRAWS) -> bool:
    """One trial: the same with outcomes of floor and ceiling on the same items."""
    groups, hard = world.items(rng)
    ends = [world.outcomes(groups, hard, rng, shift, ENDS) for shift in (LOW, _high(world))]
    correct = world.outcomes(groups, hard, rng)
    return _inside(_true_pgr(world), statistics.estimate_pgr(correct, groups, ends[0], ends[1], rng, draws))


def difference_held(world: World, rng: np.random.Generator, draws: int = DRAWS) -> bool:
    """One trial: is the true difference of two methods, 0.1 PGR, inside the paired interval?"""
    groups, hard = world.items(rng)
    gap, lead = _high(world) - LOW, 0.1 * (_high(world) - LOW)
    a, b = (world.outcomes(groups, hard, rng, shift) for shift in (lead, 0.0))
    truth = (world.truth(lead) - world.truth()) / gap
    return _inside(truth, statistics.paired_difference(a, b, groups, gap, rng, draws=draws))


Trial = Callable[[World, np.random.Generator, int], bool]
QUESTIONS: dict[str, Trial] = {
    "PGR": pgr_held,
    "PGR, floor and ceiling on the same items": joint_held,
    "paired difference": difference_held,
}


def coverage(trial: Trial, world: World, trials: int = TRIALS, draws: int = DRAWS) -> float:
    """Share of trials in which the interval held."""
    rng = np.random.default_rng([SEED, *world.name.encode()])
    return float(np.mean([trial(world, rng, draws) for _ in range(trials)]))


@dataclass(frozen=True)
class Field:
    """m methods on one world; their true PGRs are normal with standard deviation `spread`."""

    name: str
    methods: int
    spread: float
    world: World


FIELDS = (
    Field("5 methods, equally good", 5, 0.0, WORLDS[0]),
    Field("20 methods, equally good", 20, 0.0, WORLDS[0]),
    Field("20 methods, true PGRs spread by 0.1", 20, 0.1, WORLDS[0]),
    Field("5 methods, seeds differ much", 5, 0.1, replace(WORLDS[0], seed=0.02)),
    Field("20 methods, 10 seeds that differ much", 20, 0.1, replace(WORLDS[0], seeds=10, seed=0.02)),
)


@dataclass(frozen=True)
class Chosen:
    """What became of the best of m methods: shares of trials, and means of PGR over them."""

    alone: float  # the interval of the best by itself held
    best: float  # its simultaneous interval held
    all_held: float  # all m simultaneous intervals held at once
    leads: float  # all m simultaneous intervals of the lead over a baseline held at once
    inflation: float  # how far the best one's PGR lay above its true one
    estimated: float  # what `leaderboard` said that would be


def chosen(field: Field, trials: int, draws: int = DRAWS) -> Chosen:
    """Simulate choosing the best of m."""
    rng = np.random.default_rng([SEED, *field.name.encode()])
    rows = [_choose(field, rng, draws) for _ in range(trials)]
    return Chosen(*np.mean(rows, axis=0).tolist())


def _choose(field: Field, rng: np.random.Generator, draws: int) -> tuple[float, ...]:
    world, gap = field.world, HIGH - LOW
    groups, hard = world.items(rng)
    shifts = gap * field.spread * rng.standard_normal(field.methods)
    correct = np.stack([world.outcomes(groups, hard, rng, float(s)) for s in shifts])
    baseline = world.outcomes(groups, hard, rng)
    truths = [(world.truth(float(s)) - world.truth(LOW)) / gap for s in shifts]
    floor, ceiling = measured(world, LOW, rng), measured(world, HIGH, rng)
    board = statistics.leaderboard(correct, groups, floor, ceiling, rng, draws)
    leads = statistics.leads(correct, baseline, groups, gap, rng, draws)
    best = board.best
    return (
        _inside(truths[best], board.alone[best]),
        _inside(truths[best], board.together[best]),
        all(_inside(t, e) for t, e in zip(truths, board.together, strict=True)),
        all(_inside(float(s) / gap, e) for s, e in zip(shifts, leads, strict=True)),
        board.alone[best].mean - truths[best],
        board.inflation,
    )


PLANS = tuple(
    w
    for w in WORLDS
    if w.name in ("5 seeds, 300 groups of 4", "groups of 1 to 20 items", "4 seeds", "seeds do not differ")
)
"""Worlds in which the planned smallest difference is put to the test."""


def planned(world: World, trials: int, draws: int = DRAWS) -> tuple[float, float]:
    """The difference in PGR that the plan says is found in 80 %, and the share of trials that found it."""
    rng = np.random.default_rng([SEED, *world.name.encode()])
    gap = HIGH - LOW
    large = replace(world, groups=20 * world.groups)
    groups, hard = large.items(rng)
    a, b = (large.outcomes(groups, hard, rng, seeds=100) for _ in "ab")
    spread = statistics.pilot(a, b, groups)
    items = round(world.groups * sum(world.size) / 2)
    difference = statistics.smallest_difference(world.seeds, items, gap, spread)
    found = 0
    for _ in range(trials):
        groups, hard = world.items(rng)
        a, b = (world.outcomes(groups, hard, rng, shift) for shift in (difference * gap, 0.0))
        found += statistics.paired_difference(a, b, groups, gap, rng, draws=draws).low > 0
    return difference, found / trials


def page(trials: int = TRIALS, say: Callable[[str], None] = lambda _: None) -> str:
    """All tables, as Markdown."""
    few, error = max(1, trials // 4), 100 * math.sqrt(0.95 * 0.05 / trials)
    return "\n\n".join(
        (
            f"{trials:,} trials a cell (standard error {error:.1f} points), seed {SEED}.",
            _coverage_table(WORLDS, trials, say),
            "Too little data, nothing promised:",
            _coverage_table(LIMITS, trials, say),
            f"The best of m, {few:,} trials a row:",
            _field_table(few, say),
            f"Planning, {few:,} trials a row:",
            _plan_table(few, say),
        )
    )


def _coverage_table(worlds: Sequence[World], trials: int, say: Callable[[str], None]) -> str:
    rows = []
    for world in worlds:
        say(world.name)
        rows.append([world.name, *(f"{100 * coverage(q, world, trials):.1f}" for q in QUESTIONS.values())])
    return _table(["world: % of intervals that held", *QUESTIONS], rows)


def _field_table(trials: int, say: Callable[[str], None]) -> str:
    rows = []
    for field in FIELDS:
        say(field.name)
        c = chosen(field, trials)
        shares = [f"{100 * x:.1f}" for x in (c.alone, c.best, c.all_held, c.leads)]
        rows.append([field.name, *shares, f"{c.inflation:.3f}", f"{c.estimated:.3f}"])
    heads = ("`alone` of the best", "`together` of the best", "`together`, all", "`leads`, all")
    return _table(["field", *heads, "true inflation", "`inflation`"], rows)


def _plan_table(trials: int, say: Callable[[str], None]) -> str:
    rows = []
    for world in PLANS:
        say(f"planning: {world.name}")
        difference, power = planned(world, trials)
        rows.append([world.name, f"{difference:.3f}", f"{100 * power:.1f}"])
    return _table(["world", "smallest difference in PGR", "% found (80 planned)"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _high(world: World) -> float:
    return min(HIGH, (1 - world.accuracy) / 2)


def _true_pgr(world: World) -> float:
    return float(statistics.pgr(world.truth(), world.truth(LOW), world.truth(_high(world))))


def _inside(truth: float, found: Estimate) -> bool:
    return found.low <= truth <= found.high


def write(path: Path, text: str) -> None:
    """Put the text between the markers of a page. Raises InputError where the page has none."""
    before, start, rest = path.read_text().partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise InputError(f"{path} has no lines {START} and {END} to write between")
    path.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the simulation; progress goes to stderr."""
    parser = argparse.ArgumentParser(prog="python -m aarlab.calibration", description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=TRIALS, help="trials a cell (default: %(default)s)")
    parser.add_argument("--write", type=Path, help="page to put the tables into; default: print them")
    options = parser.parse_args(argv)
    if options.trials < 1:
        parser.error(f"--trials is {options.trials}; at least 1 is needed")
    began = time.monotonic()
    text = page(options.trials, lambda name: print(f"{time.monotonic() - began:5.0f} s  {name}", file=sys.stderr))
    if options.write:
        write(options.write, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
