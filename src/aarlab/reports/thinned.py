"""Fewer points for a chart over time: what the eye looks for stays, of the rest a fair part.

A browser draws 1,000 points at once and 10,000 in seconds. Tables and downloads keep every row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aarlab.records import Estimate

MOST = 1000
"""Points from which a chart is thinned, and about as many as it then draws."""

BINS = 100
"""Stretches of equal time, each of which keeps its best, its worst and at least one of the others."""

SPREAD = 2_654_435_761
"""2 ** 32 over the golden ratio: multiples of it fall evenly, whatever the order in which researchers hand in."""


@dataclass(frozen=True)
class Scored:
    """One verified score: when, whose, how much, and the fleet's best so far."""

    submission: int
    researcher: str
    minutes: float
    pgr: Estimate
    best: float
    name: str = ""


def thinned(scores: Sequence[Scored], most: int = MOST) -> list[Scored]:
    """All where there are no more than `most`, else a part of them in the same order, the same part each time.

    Kept are every new fleet best, the first and the last, and of each stretch of time the best, the worst and a part
    of the others. Only so many new bests that they leave no room make it more than `most`.
    """
    if len(scores) <= most:
        return list(scores)
    stretches = list(_stretches(scores))
    kept = {0, len(scores) - 1, *new_bests(scores)}
    for places in stretches:
        kept |= {max(places, key=lambda i: scores[i].pgr.mean), min(places, key=lambda i: scores[i].pgr.mean)}
    others = [[i for i in places if i not in kept] for places in stretches]
    room = max(0, most - len(kept) - len(others)) / len(scores)
    for places in others:
        chosen = sorted(places, key=lambda i: (scores[i].submission * SPREAD % 2**32, i))
        kept |= set(chosen[: 1 + int(room * len(places))])
    return [scores[i] for i in sorted(kept)]


def new_bests(scores: Sequence[Scored]) -> Iterator[int]:
    """The places at which the fleet's best goes up, the first among them."""
    best = float("-inf")
    for i, s in enumerate(scores):
        if s.best > best:
            best = s.best
            yield i


def sentence(drawn: int, of: int) -> str:
    """What a thinned chart says of itself; empty where all is drawn."""
    return f"{drawn:,} of {of:,} submissions drawn; every new best is." if drawn < of else ""


def _stretches(scores: Sequence[Scored]) -> Iterator[list[int]]:
    """The places of each stretch of time that has any."""
    first = min(s.minutes for s in scores)
    length = (max(s.minutes for s in scores) - first) / BINS or 1.0
    found: dict[int, list[int]] = {}
    for i, s in enumerate(scores):
        found.setdefault(min(BINS - 1, int((s.minutes - first) / length)), []).append(i)
    yield from found.values()
