"""Published accuracies, measured as this laboratory measures: PGR against fixed floor and ceiling, with intervals.

Floor and ceiling of a domain are means over all their seeds present. Only accuracies per seed are published, so an
interval here speaks of seeds alone (Student's t over the runs), floor and ceiling taken as given; what the choice of
test items adds is stated beside it as a standard error where their number is known.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from aarlab import statistics
from aarlab.errors import InputError
from aarlab.published.read import CEILINGS, FLOORS, Domain, Run, Sweep
from aarlab.records import Measured

REFERENCE = "vanilla_w2s"
"""The idea that the others are compared with."""

TITLES = {
    "vanilla_w2s": "weak labels",
    "train_only_on_confident_labels": "confident weak labels",
    "ue_zeroshot": "zero-shot elicitation",
    "ue_fewshot": "few-shot elicitation",
    "critic": "critic training",
}

CLOSE = 5e-4
"""Accuracies and PGRs that differ by less agree to the three digits they are shown with."""


@dataclass(frozen=True)
class Mean:
    """A mean over runs, its standard error, and Student's 95 % interval; the latter are None for a single run."""

    mean: float
    sem: float | None
    low: float | None
    high: float | None
    runs: int

    @classmethod
    def of(cls, values: Sequence[float], comparisons: int = 1) -> Mean:
        """The interval covers 1 - 0.05 / `comparisons`."""
        from scipy.special import stdtrit

        middle, n = float(np.mean(values)), len(values)
        if n < 2:
            return cls(middle, None, None, None, n)
        sem = statistics.standard_error(values)
        half = sem * float(stdtrit(n - 1, 1 - 0.025 / comparisons))
        return cls(middle, sem, middle - half, middle + half, n)


@dataclass(frozen=True)
class Row:
    """One method (under one configuration) of a domain."""

    idea: str
    configuration: str
    seeds: tuple[int | None, ...]
    accuracy: Mean
    pgr: Mean
    together: Mean  # `pgr` with an interval that holds for all rows of the domain at once (Bonferroni)
    published: Mean
    computed: tuple[str, ...]  # fields that the files lack and that follow from accuracies
    lead: Mean | None  # PGR minus the reference's on shared seeds, for all rows at once (Bonferroni)
    lead_seeds: tuple[int, ...]
    items_se: float | None  # what the choice of test items adds to the error of `pgr`
    floor: Measured
    ceiling: Measured

    @property
    def title(self) -> str:
        return TITLES.get(self.idea, self.idea)

    @property
    def difference(self) -> float:
        """The lab's PGR minus the published one."""
        return self.pgr.mean - self.published.mean


@dataclass(frozen=True)
class Best:
    """What choosing the best of m methods is worth knowing for."""

    idea: str
    methods: int
    inflation: float  # how much the best of m equally good methods would show above its true PGR
    shrunk: float  # the best one's PGR with the noise's share of the spread taken out


@dataclass(frozen=True)
class Table:
    """One domain, measured."""

    domain: str
    test_items: int | None
    rows: tuple[Row, ...]
    best: Best | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values; every row also has its title and `difference`."""
        rows = [asdict(r) | {"title": r.title, "difference": r.difference} for r in self.rows]
        return asdict(self) | {"rows": rows}


def measure(domain: Domain) -> Table:
    """All rows of a domain. Raises InputError without floor or ceiling, or where no ceiling lies above its floor."""
    notes = list(domain.notes)
    if not domain.methods:
        raise InputError(f"{domain.name}: no methods, only floors and ceilings")
    done = [_Method.of(domain, sweep, notes) for sweep in domain.methods]
    done = sorted((m for m in done if m.runs), key=lambda m: [*TITLES, m.sweep.idea].index(m.sweep.idea))
    if not done:
        raise InputError(f"{domain.name}: no run has an accuracy, nor a PGR to compute one from")
    rows = tuple(_row(domain, m, _reference(m, done), len(done)) for m in done)
    return Table(domain.name, domain.test_items, rows, _best(rows), (*notes, *_mismatches(domain, done)))


@dataclass(frozen=True)
class _Method:
    """A sweep with the floor and ceiling it is measured against, every run with an accuracy and a PGR."""

    sweep: Sweep
    floor: Measured
    ceiling: Measured
    runs: tuple[Run, ...]
    computed: tuple[str, ...]

    @classmethod
    def of(cls, domain: Domain, sweep: Sweep, notes: list[str]) -> _Method:
        name = " ".join(filter(None, (sweep.idea, sweep.configuration)))
        floor = _end(domain, sweep, FLOORS, notes)
        ceiling = _end(domain, sweep, CEILINGS, notes)
        if not ceiling.mean > floor.mean:
            raise InputError(
                f"{domain.name}, {name}: the ceiling {ceiling.mean:.4f} is not above the floor {floor.mean:.4f}; "
                "there is no gap to recover"
            )
        runs, computed = [], set()
        for run in sweep.runs:
            filled, missing = _filled(run, floor.mean, ceiling.mean)
            if filled is None:
                notes.append(f"{name}: seed {run.seed} has neither transfer_acc nor pgr, left out")
                continue
            runs.append(filled)
            computed |= missing
        return cls(sweep, floor, ceiling, tuple(runs), tuple(sorted(computed)))

    def by_seed(self) -> dict[int, float]:
        """PGR of the seeds that one run alone has."""
        count = Counter(r.seed for r in self.runs)
        return {
            r.seed: p for r, p in zip(self.runs, self.pgr, strict=True) if r.seed is not None and count[r.seed] == 1
        }

    @property
    def accuracies(self) -> list[float]:
        return [r.transfer for r in self.runs if r.transfer is not None]

    @property
    def pgr(self) -> list[float]:
        return [float(p) for p in statistics.pgr(self.accuracies, self.floor.mean, self.ceiling.mean)]


def _filled(run: Run, floor: float, ceiling: float) -> tuple[Run | None, set[str]]:
    """The run with its missing one of accuracy and PGR computed from the other, by the run's own fixed ends if it
    has them, and what was computed; None where both are missing."""
    low = floor if run.fixed_floor is None else run.fixed_floor
    high = ceiling if run.fixed_ceiling is None else run.fixed_ceiling
    if run.transfer is not None and run.pgr is not None:
        return run, set()
    if run.transfer is not None:
        return replace(run, pgr=float(statistics.pgr(run.transfer, low, high))), {"pgr"}
    if run.pgr is not None:
        return replace(run, transfer=low + run.pgr * (high - low)), {"transfer_acc"}
    return None, set()


def _end(domain: Domain, sweep: Sweep, idea: str, notes: list[str]) -> Measured:
    """Floor or ceiling for a method: the mean over all seeds of the fitting baseline, else of the method's own runs."""
    word, key = ("floor", "weak_acc") if idea == FLOORS else ("ceiling", "strong_acc")
    known = domain.floors if idea == FLOORS else domain.ceilings
    fitting = _fitting(sweep, known, idea)
    if fitting is not None:
        values = _accuracies(fitting.runs, idea)
        if values:
            if fitting.settings != sweep.settings:
                _once(
                    notes,
                    f"{sweep.idea} {sweep.configuration}: {word} from another configuration, {fitting.configuration}",
                )
            return _measured(list(values))
    runs = [r for m in domain.methods for r in m.runs]
    own = {r.seed: v for r in runs if (v := r.weak if idea == FLOORS else r.strong) is not None}
    if not own:
        raise InputError(f"{domain.name}: no {word}; runs of {idea} with {key} are needed")
    _once(notes, f"no {idea}: the {word} is the mean of {key} over the methods' own seeds")
    return _measured(list(own.values()))


def _fitting(sweep: Sweep, known: Sequence[Sweep], idea: str) -> Sweep | None:
    """The baseline for a method: its model and hyper-parameters if one has them, else the one with the most seeds."""

    def likeness(other: Sweep) -> tuple[bool, bool, int]:
        name = "weak_model" if idea == FLOORS else "strong_model"
        models = [{getattr(r, name) for r in s.runs} - {""} for s in (sweep, other)]
        return (bool(models[0] & models[1]), other.settings == sweep.settings, len(other.runs))

    return max(known, key=likeness, default=None)


def _accuracies(runs: Sequence[Run], idea: str) -> list[float]:
    return [v for r in runs if (v := r.weak if idea == FLOORS else r.strong) is not None]


def _measured(values: Sequence[float]) -> Measured:
    error = statistics.standard_error(values) if len(values) > 1 else 0.0
    return Measured(float(np.mean(values)), error, len(values))


def _reference(method: _Method, done: Sequence[_Method]) -> _Method | None:
    """The run of weak labels to compare a method with: of its own configuration if there is one."""
    found = [m for m in done if m.sweep.idea == REFERENCE]
    same = [m for m in found if m.sweep.configuration == method.sweep.configuration]
    return None if method.sweep.idea == REFERENCE or not found else (same or found)[0]


def _row(domain: Domain, method: _Method, reference: _Method | None, rows: int) -> Row:
    mine, other = method.by_seed(), reference.by_seed() if reference else {}
    shared = tuple(sorted(mine.keys() & other.keys()))
    accuracy = Mean.of(method.accuracies)
    items_se = None
    if domain.test_items:
        chance = min(max(accuracy.mean, 0.0), 1.0)
        items_se = math.sqrt(chance * (1 - chance) / domain.test_items) / (method.ceiling.mean - method.floor.mean)
    return Row(
        idea=method.sweep.idea,
        configuration=method.sweep.configuration,
        seeds=tuple(r.seed for r in method.runs),
        accuracy=accuracy,
        pgr=Mean.of(method.pgr),
        together=Mean.of(method.pgr, rows),
        published=Mean.of([r.pgr for r in method.runs if r.pgr is not None]),
        computed=method.computed,
        lead=Mean.of([mine[s] - other[s] for s in shared], max(1, rows - 1)) if shared else None,
        lead_seeds=shared,
        items_se=items_se,
        floor=method.floor,
        ceiling=method.ceiling,
    )


def _best(rows: Sequence[Row]) -> Best | None:
    """None with a single row, or where one has a single run, so that its error is unknown."""
    errors = [r.pgr.sem for r in rows if r.pgr.sem is not None]
    if len(rows) < 2 or len(errors) < len(rows):
        return None
    means = [r.pgr.mean for r in rows]
    best = int(np.argmax(means))
    common = math.sqrt(float(np.mean(np.square(errors))))
    shrunk = float(statistics.shrink(means, errors)[best])
    return Best(rows[best].idea, len(rows), statistics.best_of_inflation(common, len(rows)), shrunk)


def _mismatches(domain: Domain, done: Sequence[_Method]) -> list[str]:
    """Sentences on seeds, configurations and numbers that do not fit together."""
    notes: list[str] = []
    usual = Counter(frozenset(r.seed for r in m.runs) for m in done).most_common(1)[0][0]
    configurations = Counter(m.sweep.idea for m in done)
    for method in done:
        name = TITLES.get(method.sweep.idea, method.sweep.idea)
        if configurations[method.sweep.idea] > 1:
            name += f" ({method.sweep.configuration})"
        notes += [f"{name}: {text}" for text in _oddities(domain, method, usual)]
    return notes


def _oddities(domain: Domain, method: _Method, usual: frozenset[int | None]) -> list[str]:
    seeds = [r.seed for r in method.runs]
    found = []
    if len(set(seeds)) < len(seeds):
        shown = ", ".join(str(s) for s in seeds)
        found.append(f"{len(seeds)} runs are filed under seeds {shown}; each counts, repeated ones cannot be paired")
    elif set(seeds) != usual:
        shown = ", ".join(str(s) for s in sorted(usual, key=str))
        found.append(f"seeds {', '.join(str(s) for s in seeds)}, where other methods have {shown}")
    odd = 0
    if items := domain.test_items:
        odd = sum(abs(a * items - round(a * items)) > 0.01 for a in method.accuracies)
    if odd:
        found.append(
            f"{odd} of {len(seeds)} accuracies are no multiple of 1/{domain.test_items}: other items, or rounded"
        )
    if method.computed:
        found.append(f"{' and '.join(method.computed)} missing, computed (*)")
    return [*found, *_ends_apart(method), *_seeds_apart(domain, method)]


def _ends_apart(method: _Method) -> list[str]:
    """Published fixed floors and ceilings that are not the means present, and PGRs that do not follow from them."""
    found = []
    for word, mean, key in (("floor", method.floor, "fixed_floor"), ("ceiling", method.ceiling, "fixed_ceiling")):
        stated = {v for r in method.runs if (v := getattr(r, key)) is not None}
        if any(abs(v - mean.mean) > CLOSE for v in stated):
            shown = ", ".join(f"{v:.4f}" for v in sorted(stated))
            found.append(f"published with the {word} {shown}; the mean of the {mean.seeds} present is {mean.mean:.4f}")
    wrong = [r.seed for r in method.runs if not _follows(r)]
    if wrong:
        found.append(f"the published PGR of {_listed(wrong)} does not follow from its accuracies")
    return found


def _follows(run: Run) -> bool:
    """Whether the published PGR is that of the run's accuracy and fixed ends, rounding apart, if all are given."""
    if run.pgr is None or run.transfer is None or run.fixed_floor is None or run.fixed_ceiling is None:
        return True
    gap = run.fixed_ceiling - run.fixed_floor
    return abs(run.transfer - run.fixed_floor - run.pgr * gap) <= CLOSE * abs(gap) + CLOSE


def _seeds_apart(domain: Domain, method: _Method) -> list[str]:
    """Seeds without a floor or ceiling of their own, or whose run states another one than the baseline's file."""
    found = []
    for word, sweeps, key in (("floor", domain.floors, "weak"), ("ceiling", domain.ceilings, "strong")):
        known: dict[int | None, set[float]] = {}
        for run in (r for s in sweeps for r in s.runs):
            known.setdefault(run.seed, set()).add(getattr(run, key))
        if known and (lacking := [r.seed for r in method.runs if r.seed not in known]):
            found.append(f"no {word} was measured with {_listed(lacking)}; the fixed one is a mean over other seeds")
        apart = [r.seed for r in method.runs if not _agrees(getattr(r, key), known.get(r.seed, set()))]
        if apart:
            found.append(
                f"the {word} that the runs of {_listed(apart)} state is not the one of the same seed's own file"
            )
    return found


def _agrees(stated: float | None, known: set[float]) -> bool:
    return stated is None or not known or any(v is not None and abs(v - stated) <= CLOSE for v in known)


def _listed(seeds: Sequence[int | None]) -> str:
    unique = sorted({str(s) for s in seeds})
    return f"seed{'s' if len(unique) > 1 else ''} {', '.join(unique)}"


def _once(notes: list[str], text: str) -> None:
    if text not in notes:
        notes.append(text)
