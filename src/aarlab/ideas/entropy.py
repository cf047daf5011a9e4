"""How many families of ideas a fleet keeps alive: Shannon entropy over the researchers at work, through time.

At each moment every researcher at work counts once, with the family of its latest idea, as in the 2026 study. Entropy
is in bits: 0 when all are at one family, log2 n when n researchers are at n families, at most log2 11 = 3.46.

The plug-in entropy of n researchers lies below that of the population they stand for, by about (families - 1) / (2 n)
nats (Miller 1955). A bootstrap resample leaves researchers out and so lies lower still: with nine researchers at nine
families, by half a bit. The bands are percentiles of the resamples, moved up by the mean shortfall and cut at what n
researchers can reach; `corrected` is Miller's and Madow's value. Fleets of one size are biased alike, so that curves of
two arms can be compared as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aarlab.ideas.families import FAMILIES
from aarlab.ideas.gather import Idea

LEVEL, DRAWS, LEAST = 0.90, 1000, 5
"""Of the bands; resamples; fewer researchers at work give no point (the 2026 study's 90 % and 5)."""

NUMBERS = {family: i for i, family in enumerate(FAMILIES)}

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """Entropy at one moment. bits lies in [low, high]; families: different ones among so many researchers."""

    time: float  # in the unit of the ideas' times
    researchers: int
    families: int
    bits: float
    low: float
    high: float
    corrected: float


def bits(counts: Ints) -> Floats:
    """Shannon entropy in bits of counts (..., families) -> (...); 0 where nothing is counted."""
    total = counts.sum(-1, keepdims=True)
    p = counts / np.maximum(total, 1)
    terms = np.where(p > 0, -p * np.log2(np.where(p > 0, p, 1.0)), 0.0)
    found: Floats = terms.sum(-1) + 0.0
    return found


def miller_madow(counts: Ints) -> float:
    """Entropy in bits with the first-order correction for few observations, at most log2 of all families."""
    n, seen = int(counts.sum()), int((counts > 0).sum())
    more = (seen - 1) / (2 * n * np.log(2)) if n else 0.0
    return float(min(bits(counts) + more, np.log2(len(FAMILIES))))


def at_work(
    ideas: Iterable[Idea], time: float, window: float = 0.0, until: Mapping[str, float] | None = None
) -> dict[str, str]:
    """Researcher -> family of its latest idea up to `time`.

    window: ideas older than this no longer count (0: they do). until: when a researcher ended; later it is not at work.
    """
    return next(_through(ideas, [time], window, until))[1]


def _through(
    ideas: Iterable[Idea], times: Iterable[float], window: float = 0.0, until: Mapping[str, float] | None = None
) -> Iterator[tuple[float, dict[str, str]]]:
    """(time, `at_work` then) at rising times, in one pass over the ideas."""
    latest: dict[str, Idea] = {}
    ends, ordered = until or {}, sorted(ideas, key=lambda i: i.time)
    place = 0
    for time in sorted(times):
        while place < len(ordered) and ordered[place].time <= time:
            latest[ordered[place].researcher] = ordered[place]
            place += 1
        working = {
            name: idea.family
            for name, idea in sorted(latest.items())
            if time <= ends.get(name, time) and (not window or time - idea.time <= window)
        }
        yield time, working


def codes(families: Iterable[str]) -> Ints:
    """Families as numbers, (n,)."""
    return np.array([NUMBERS[f] for f in families], np.int64)


def counted(rows: Ints) -> Ints:
    """How often each family occurs in rows (..., n) -> (..., families)."""
    found: Ints = (rows[..., None] == np.arange(len(FAMILIES))).sum(-2)
    return found


def resampled(rows: Ints, rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Entropies of fleets drawn from this one, researchers (n,) with replacement; moved to its own on average (draws,).

    Cut to [0, the most that n researchers can have].
    """
    n = len(rows)
    drawn = bits(counted(rows[rng.integers(0, n, (draws, n))]))
    moved = drawn + (bits(counted(rows)) - drawn.mean())
    found: Floats = np.clip(moved, 0.0, np.log2(min(n, len(FAMILIES))))
    return found


def point(
    time: float, families: Sequence[str], rng: np.random.Generator, level: float = LEVEL, draws: int = DRAWS
) -> Point:
    """The entropy of some researchers' families at one moment, with its band."""
    rows = codes(families)
    counts = counted(rows)
    spread = resampled(rows, rng, draws)
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
    value = float(bits(counts))
    return Point(
        time, len(rows), int((counts > 0).sum()), value, min(float(low), value), max(float(high), value),
        miller_madow(counts),
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _point(families: tuple[str, ...], seed: int, draws: int) -> Point:
    """The same draws at every moment: a band moves only where families do, and is drawn once."""
    return point(0.0, families, np.random.default_rng(seed), draws=draws)


def curve(
    ideas: Sequence[Idea],
    times: Iterable[float],
    window: float = 0.0,
    until: Mapping[str, float] | None = None,
    least: int = LEAST,
    seed: int = 0,
    draws: int = DRAWS,
) -> tuple[Point, ...]:
    """Entropy at each of `times`, rising, at which at least `least` researchers are at work."""
    found: list[Point] = []
    for time, working in _through(ideas, times, window, until):
        own = tuple(working.values())
        if len(own) < max(least, 1):
            continue
        found.append(replace(_point(own, seed, draws), time=time))
    return tuple(found)


def moments(end: float, count: int = 60) -> list[float]:
    """`count` times from 0 to `end`, both included."""
    return [float(t) for t in np.linspace(0.0, end, count)]
