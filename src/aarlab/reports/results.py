"""The numbers of a report, computed once from per-item outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2, sqrt

from aarlab import statistics
from aarlab.records import Estimate, Submission
from aarlab.reports.data import RunData, TaskOutcomes, method

NORMAL_95 = 1.96


@dataclass(frozen=True)
class Point:
    """One verified feedback score in time. `minutes` since the run started; `best`: the fleet's best up to then."""

    submission: int
    name: str
    researcher: str
    minutes: float
    pgr: Estimate
    best: float


@dataclass(frozen=True)
class Row:
    """One line of the leaderboard. `rank` is None where scores are unranked."""

    rank: int | None
    submission: Submission
    pgr: Estimate
    record: Estimate | None
    winner: bool


@dataclass(frozen=True)
class TaskResult:
    """One record or transfer task: PGR of every contender, and the winner's lead over each baseline (paired)."""

    outcomes: TaskOutcomes
    pgr: dict[str, Estimate]
    leads: dict[str, Estimate]

    @property
    def title(self) -> str:
        return self.outcomes.card.title


@dataclass(frozen=True)
class Family:
    """Tasks that are averaged: the record tasks, or one other domain's transfer tasks."""

    label: str
    purpose: str
    tasks: tuple[TaskResult, ...]
    pgr: dict[str, Estimate]
    leads: dict[str, Estimate]

    def best_baseline(self, names: Sequence[str]) -> str | None:
        """The baseline with the highest mean; None when none ran on these tasks."""
        known = [n for n in names if n in self.pgr]
        return max(known, key=lambda n: self.pgr[n].mean) if known else None


@dataclass(frozen=True)
class Results:
    """All numbers of one report. `record` is None until the record tasks were opened."""

    baselines: dict[str, Estimate]  # on the feedback tasks
    points: tuple[Point, ...]
    rows: tuple[Row, ...]
    record: Family | None
    transfer: tuple[Family, ...]
    inflation: float  # PGR that picking the best finalist adds on average, were all equally good and erring apart
    inflation_paired: float  # the same, from how far finalists differ on the same seeds and items
    lookup_gain: float  # accuracy that the released bits can buy by look-up on the feedback items
    lineage: tuple[int, ...]  # the winner and what it builds on, oldest first

    def families(self) -> tuple[Family, ...]:
        return ((self.record,) if self.record else ()) + self.transfer


def measure(data: RunData) -> Results:
    """Every estimate of the report. Deterministic: the resampling has a fixed seed."""
    feedback = [_result(data, t) for t in data.of_purpose("feedback")]
    baselines = _means(feedback, _baseline_names(data))
    scored = {s.id: p for s in data.submissions if (p := _means(feedback, [method(s.id)]).get(method(s.id)))}
    record = _record(data)
    return Results(
        baselines=baselines,
        points=_points(data, scored),
        rows=_rows(data, scored, record),
        record=record,
        transfer=_transfer(data),
        inflation=_inflation(data, record),
        inflation_paired=_inflation_paired(data, record),
        lookup_gain=_lookup_gain(data, feedback, baselines),
        lineage=lineage(data),
    )


def combine(parts: Sequence[Estimate]) -> Estimate:
    """The mean over tasks, which are taken as given: their intervals' arms are added in quadrature."""
    k = len(parts)
    mean = sum(p.mean for p in parts) / k
    down = sqrt(sum((p.mean - p.low) ** 2 for p in parts)) / k
    up = sqrt(sum((p.high - p.mean) ** 2 for p in parts)) / k
    return Estimate(mean, mean - down, mean + up, min(p.seeds for p in parts), sum(p.items for p in parts))


def lineage(data: RunData) -> tuple[int, ...]:
    """The winner's ancestors, oldest first, the winner last."""
    return ancestors({s.id: s.parent for s in data.submissions}, data.winner)


def ancestors(parents: Mapping[int, int | None], last: int | None) -> tuple[int, ...]:
    """What `last` builds on by declared parents, oldest first, itself last."""
    chain: list[int] = []
    current = last
    while current is not None and current in parents and current not in chain:
        chain.append(current)
        current = parents[current]
    return tuple(reversed(chain))


def _baseline_names(data: RunData) -> list[str]:
    """Shown baselines, in the order of the problem's card."""
    names: dict[str, None] = {}
    for task in data.tasks:
        names |= dict.fromkeys(n for n in task.correct if not n.startswith("#"))
    return list(names)


def _result(data: RunData, task: TaskOutcomes) -> TaskResult:
    card = task.card
    pgr = {
        name: statistics.estimate_pgr(correct, task.groups, card.floor, card.ceiling)
        for name, correct in task.correct.items()
    }
    return TaskResult(task, pgr, _leads(data, task) if task.purpose != "feedback" else {})


def _leads(data: RunData, task: TaskOutcomes) -> dict[str, Estimate]:
    """Winner minus each baseline on the same items and seeds, widened for the finalists it was chosen from."""
    if data.winner is None or (mine := task.correct.get(method(data.winner))) is None:
        return {}
    opened = max(1, len(data.finalists)) if task.purpose == "record" else 1
    return {
        name: statistics.paired_difference(mine, task.correct[name], task.groups, task.card.gap, comparisons=opened)
        for name in _baseline_names(data)
        if name in task.correct and task.correct[name].shape == mine.shape
    }


def _means(results: Sequence[TaskResult], names: Sequence[str], leads: bool = False) -> dict[str, Estimate]:
    """Contenders that ran on every one of these tasks, averaged over them."""
    tables = [r.leads if leads else r.pgr for r in results]
    return {n: combine([t[n] for t in tables]) for n in names if tables and all(n in t for t in tables)}


def _family(data: RunData, label: str, purpose: str, tasks: Sequence[TaskOutcomes]) -> Family:
    results = tuple(_result(data, t) for t in tasks)
    names = list(dict.fromkeys(n for r in results for n in r.pgr))
    return Family(label, purpose, results, _means(results, names), _means(results, names, leads=True))


def _record(data: RunData) -> Family | None:
    tasks = [t for t in data.of_purpose("record") if any(n.startswith("#") for n in t.correct)]
    return _family(data, data.problem, "record", tasks) if tasks else None


def _transfer(data: RunData) -> tuple[Family, ...]:
    tasks = [t for t in data.of_purpose("transfer") if data.winner is not None and method(data.winner) in t.correct]
    problems = list(dict.fromkeys(t.problem for t in tasks))
    return tuple(_family(data, p, "transfer", [t for t in tasks if t.problem == p]) for p in problems)


def _points(data: RunData, scored: dict[int, Estimate]) -> tuple[Point, ...]:
    finished = [s for s in data.submissions if s.id in scored]
    best, points = float("-inf"), []
    for s in sorted(finished, key=lambda s: s.finished or s.created):
        best = max(best, scored[s.id].mean)
        minutes = ((s.finished or s.created) - data.run.started) / 60
        points.append(Point(s.id, s.name, s.researcher, max(0.0, minutes), scored[s.id], best))
    return tuple(points)


def _rows(data: RunData, scored: dict[int, Estimate], record: Family | None) -> tuple[Row, ...]:
    """Finalists by PGR of record, then the others by feedback PGR; only ranked rows have a place."""
    on_record = {i: record.pgr[method(i)] for i in scored if method(i) in record.pgr} if record else {}

    def order(number: int) -> tuple[bool, bool, float]:
        value = on_record.get(number, scored[number]).mean
        return (number != data.winner, number not in on_record, -value)

    rows, place = [], 0
    for i in sorted(scored, key=order):
        ranked = data.run.ranked and data.submission(i).ranked
        place += ranked
        rows.append(Row(place if ranked else None, data.submission(i), scored[i], on_record.get(i), i == data.winner))
    return tuple(rows)


def _inflation(data: RunData, record: Family | None) -> float:
    if record is None or data.winner is None or method(data.winner) not in record.pgr:
        return 0.0
    return float(statistics.best_of_inflation(_error(record.pgr[method(data.winner)]), len(data.finalists)))


def _inflation_paired(data: RunData, record: Family | None) -> float:
    """Errors that all finalists share move all of them and select nobody: what is left is their differences' part."""
    if record is None or data.winner is None or len(data.finalists) < 2:
        return 0.0
    tables = [_against(data.winner, data.finalists, t.outcomes) for t in record.tasks]
    differences = _means_of(tables)
    if not differences:
        return 0.0
    own = sum(_error(d) for d in differences) / len(differences) / sqrt(2)
    return float(statistics.best_of_inflation(own, len(data.finalists)))


def _against(winner: int, finalists: Sequence[int], task: TaskOutcomes) -> dict[str, Estimate]:
    """Winner minus every other finalist on one task."""
    mine, found = task.correct.get(method(winner)), {}
    for name in (method(i) for i in finalists if i != winner):
        other = task.correct.get(name)
        if mine is not None and other is not None and other.shape == mine.shape:
            found[name] = statistics.paired_difference(mine, other, task.groups, task.card.gap)
    return found


def _means_of(tables: Sequence[dict[str, Estimate]]) -> list[Estimate]:
    return [combine([t[n] for t in tables]) for n in tables[0] if all(n in t for t in tables)] if tables else []


def _error(e: Estimate) -> float:
    """The standard error that a 95 % interval of this width means."""
    return (e.high - e.low) / (2 * NORMAL_95)


def _lookup_gain(data: RunData, feedback: Sequence[TaskResult], baselines: dict[str, Estimate]) -> float:
    """Accuracy that the bits bound can buy on the feedback items (rate-distortion, independent errors)."""
    if not feedback or not baselines:
        return 0.0
    items = sum(len(r.outcomes.groups) for r in feedback)
    error = min(
        1 - float(r.outcomes.correct[name].mean()) for r in feedback for name in baselines if name in r.outcomes.correct
    )
    return lookup_gain(data.budget.bits_bound, items, error)


def lookup_gain(bits: float, items: int, error: float) -> float:
    """How far `bits` can lower an error rate `error` < 0.5 on `items` binary labels, errors being independent."""
    error = min(error, 0.5)
    target = _entropy(error) - bits / max(1, items)
    if target <= 0:
        return error
    low, high = 0.0, error
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _entropy(middle) < target else (low, middle)
    return error - low


def _entropy(p: float) -> float:
    return 0.0 if p in (0.0, 1.0) else -p * log2(p) - (1 - p) * log2(1 - p)
