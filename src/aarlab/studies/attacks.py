"""Attacks on answers about hidden labels. Each sees answers and its own beliefs, and says which predictions to turn.

Items stand in the attacker's order, the least certain first. prior: P(the base list is wrong), (n,), as the attacker
believes it. An attack gets an oracle and the numbers of answers at which it is judged, and returns for each of them
the items it would turn round then, bool (len(grid), n).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aarlab.studies.mechanisms import Bools, Floats, Oracle

ROUNDS = 25
"""Rounds of message passing; it has settled long before."""


def flips(oracle: Oracle, prior: Floats, grid: Sequence[int], order: NDArray[np.int64] | None = None) -> Bools:
    """One item turned at a time, from a list that sits at a rounding edge: each answer is a label.

    Exact answers have an edge everywhere. Elsewhere the edge is found by halving: between two lists with different
    answers, with single items turned in between, two neighbours answer differently.
    """
    n, most = len(prior), oracle.mechanism.limit or max(grid)
    order = np.arange(n) if order is None else order
    base, spent, up = _edge(oracle, prior, most)
    if base is None:
        return np.zeros((len(grid), n), bool)
    tested = order[: max(0, min(n, most - spent))]
    said = oracle.singles(base, tested)
    here = np.round(up[0], 9)
    gains = np.round(said, 9) > here if up[1] else np.round(said, 9) >= here
    wrong = np.where(base[tested], ~gains, gains)
    found = np.zeros((len(grid), n), bool)
    for row, answers in enumerate(grid):
        known = slice(0, max(0, min(answers, most) - spent))
        found[row, tested[known]] = wrong[known]
    return found


def _edge(oracle: Oracle, prior: Floats, most: int) -> tuple[Bools | None, int, tuple[float, bool]]:
    """(list, answers spent, (its answer, whether one more right item changes it)); None where answers run out."""
    n, before = len(prior), oracle.asked

    def turned(count: int) -> Bools:
        return np.arange(n) >= n - count  # the surest items first

    def ask(count: int) -> float:
        return float(oracle.ask(turned(count)[None])[0])

    if not oracle.mechanism.grid:
        return turned(0), 1, (ask(0), True)
    low, high = 0, _reach(prior, 1.2 * oracle.mechanism.grid * n)
    first, last = ask(low), ask(high)
    while first == last and high < n and oracle.asked - before < most:
        high = min(n, 2 * high)
        last = ask(high)
    while high - low > 1 and first != last and oracle.asked - before < most:
        middle = (low + high) // 2
        said = ask(middle)
        low, high, last = (middle, high, last) if said == first else (low, middle, said)
    spent = oracle.asked - before
    if high - low > 1 or first == last:
        return None, spent, (first, True)
    return turned(low), spent, (first, last > first)


def _reach(prior: Floats, items: float) -> int:
    """How many of the surest items to turn, so that the number of right ones is expected to fall by so many."""
    fall = np.cumsum(1 - 2 * prior[::-1])
    return min(len(prior), int(np.searchsorted(fall, items)) + 2)


# Coin weighing


@lru_cache(maxsize=16)
def detecting(bits: int) -> NDArray[np.float32]:
    """Lindström's detecting matrix, 0/1 float32 (2^bits, bits 2^(bits - 1)): its rows weigh all coins exactly.

    Rows and blocks of columns are named by sets of `bits` elements. Block a has |a| columns; column j depends on
    row & a alone and is 1 on 2^j subsets of a of the same parity as a, so its Möbius sum over the subsets of a is 2^j.
    """
    rows = np.arange(1 << bits)
    columns = [c for a in blocks(bits) for c in _block(rows, a)]
    return np.stack(columns, axis=1).astype(np.float32)


def blocks(bits: int) -> list[int]:
    """The sets, the largest first: a block is read once all larger ones are known."""
    return sorted(range(1, 1 << bits), key=lambda a: -a.bit_count())


def _block(rows: NDArray[np.int64], a: int) -> Iterator[NDArray[np.bool_]]:
    size = a.bit_count()
    subsets = [s for s in range(a + 1) if s & a == s and (s.bit_count() - size) % 2 == 0]
    for j in range(size):
        yield np.isin(rows & a, subsets[len(subsets) - (1 << j) :])


def weigh(answers: Floats, bits: int) -> Bools:
    """The coins, bool (bits 2^(bits - 1),), from the weights of the rows of `detecting(bits)`."""
    matrix, left = detecting(bits), np.asarray(answers, np.float64).copy()
    found = np.zeros(matrix.shape[1], bool)
    moebius, column = _moebius(bits), 0
    for a in blocks(bits):
        size = a.bit_count()
        digits = round(float(moebius[a] @ left))
        found[column : column + size] = [(digits >> j) & 1 for j in range(size)]
        left -= matrix[:, column : column + size] @ found[column : column + size]
        column += size
    return found


@lru_cache(maxsize=16)
def _moebius(bits: int) -> NDArray[np.float32]:
    """(2^bits, 2^bits): sum over the subsets of a row's set, with the sign of what is left out."""
    one = np.array([[1, 0], [-1, 1]], np.float32)
    out = np.ones((1, 1), np.float32)
    for _ in range(bits):
        out = np.kron(out, one)
    return out


def coins(oracle: Oracle, prior: Floats, grid: Sequence[int]) -> Bools:
    """Weigh sets of items: exact answers tell how many of a set are wrong, and 2^b sets tell b 2^(b - 1) items."""
    n, most = len(prior), max(grid)
    found = np.zeros((len(grid), n), bool)
    right = float(oracle.ask(np.zeros((1, n), bool))[0])
    known: dict[tuple[int, int], Bools] = {}
    for row, answers in enumerate(grid):
        place = 0
        for bits in _sizes(min(answers, most) - 1, n):
            span = min(bits << (bits - 1), n - place)
            if (place, bits) not in known:
                known[place, bits] = _weighed(oracle, right, place, bits, n)
            found[row, place : place + span] = known[place, bits][:span]
            place += span
    return found


def _sizes(answers: int, items: int) -> Iterator[int]:
    """Sizes of designs, the largest that fit first, until answers or items are used up."""
    bits = 10
    while answers > 0 and items > 0 and bits > 0:
        wanted = bits - 1 > 0 and (bits - 1) << (bits - 2) >= items
        if (1 << bits) > answers or wanted:
            bits -= 1
            continue
        yield bits
        answers, items = answers - (1 << bits), items - (bits << (bits - 1))


def _weighed(oracle: Oracle, right: float, place: int, bits: int, n: int) -> Bools:
    span = min(bits << (bits - 1), n - place)
    turned = np.zeros((1 << bits, n), bool)
    turned[:, place : place + span] = detecting(bits)[:, :span] > 0
    moved = (oracle.ask(turned) - right) * n  # wrong ones turned, less right ones turned
    return weigh((moved + turned.sum(axis=1)) / 2, bits)


# Random halves


@dataclass(frozen=True)
class Halves:
    """Random lists asked of several oracles, and what they said. signs: +-1 float32 (lists, n); -1: turned round."""

    signs: NDArray[np.float32]
    said: Floats  # (lists, oracles), in items

    @classmethod
    def ask(cls, oracles: Sequence[Oracle], signs: NDArray[np.float32]) -> Halves:
        return cls(signs, np.stack([o.ask_signs(signs) * o.items for o in oracles], axis=1))


def votes(halves: Halves, prior: Floats, spread: Floats) -> Bools:
    """Wacky boosting: each list votes for its predictions with its score; one step, no decoder. (oracles, n)."""
    return _decode(halves, prior, spread, rounds=1)


def decoded(halves: Halves, prior: Floats, spread: Floats) -> Bools:
    """The same answers decoded by approximate message passing with the prior. (oracles, n)."""
    return _decode(halves, prior, spread, rounds=ROUNDS)


def _decode(halves: Halves, prior: Floats, spread: Floats, rounds: int) -> Bools:
    """y = A u + noise, u = +1/2 where the base is right and -1/2 where it is wrong; A has signs, centred.

    Donoho, Maleki and Montanari 2009, with the posterior mean of a two-valued u for a denoiser; the step's variance is
    read off the residual. spread: (oracles,) noise in items.
    """
    k, n = halves.signs.shape
    a = (halves.signs - halves.signs.mean(axis=0)) / np.float32(np.sqrt(k))
    y = ((halves.said - halves.said.mean(axis=0)) / np.sqrt(k)).astype(np.float32)
    odds = np.log((1 - prior) / prior).astype(np.float32)[:, None]
    guess = np.tile(0.5 * np.tanh(odds / 2), (1, y.shape[1])).astype(np.float32)
    least = np.maximum(spread**2 / k, 1e-6).astype(np.float32)
    rest, onsager = np.zeros_like(y), np.zeros(y.shape[1], np.float32)
    score = np.tile(odds, (1, y.shape[1]))
    for _ in range(rounds):
        rest = y - a @ guess + rest * onsager
        variance = np.maximum((rest**2).sum(axis=0) / k, least)
        score = odds + (guess + a.T @ rest) / variance
        guess = 0.5 * np.tanh(np.clip(score, -60, 60) / 2)
        onsager = (n / k) * (0.25 - guess**2).mean(axis=0) / variance
    return (score < 0).T


# Ladders


def climb(oracle: Oracle, prior: Floats, grid: Sequence[int], rng: np.random.Generator) -> Bools:
    """Turn random sets of uncertain items and keep what makes a record; each agent works on items of its own."""
    n, agents = len(prior), oracle.mechanism.ladders
    kept = np.zeros((agents, n), bool)
    found, marks = np.zeros((len(grid), n), bool), {k: i for i, k in enumerate(grid)}
    own = [np.arange(n // 2)[np.arange(n // 2) % agents == agent] for agent in range(agents)]
    for answers in range(1, max(grid) + 1):
        agent = answers % agents
        asked = kept[agent].copy()
        size = min(len(own[agent]), int(rng.choice(SETS)))
        if answers > agents or oracle.mechanism.ladders == 1:  # an agent's first list is the base
            asked[rng.choice(own[agent], size, replace=False)] ^= True
        if oracle.record(asked, agent) is not None:
            kept[agent] = asked
        if answers in marks:
            found[marks[answers]] = kept.any(axis=0)
    return found


SETS = (16, 32, 64, 128, 256, 512)
"""How many items a climbing attacker turns at once; drawn anew with every answer."""


class Edge:
    """One agent that keeps its list one item under the next rung, so that a "no" tells a label.

    belief: P(wrong) of every item, shared by all agents. count: P(so many right), (n + 1,), of the current list.
    """

    def __init__(self, belief: Floats, step: float) -> None:
        self.belief, self.n, self.step = belief, len(belief), step
        self.turned = np.ones(self.n, bool)  # a bad list: everything turned round
        self.best = 0
        right, spread = float(belief.sum()), float(np.sqrt((belief * (1 - belief)).sum()))
        self.count = np.exp(-0.5 * ((np.arange(self.n + 1) - right) / (3 * spread)) ** 2)
        self.count /= self.count.sum()
        self.tested = np.zeros(self.n, bool)

    @property
    def needed(self) -> int:
        """Right items of the next record."""
        return self._from(self.best + 1)

    def _from(self, rung: int) -> int:
        return int(np.ceil(rung * self.step * self.n - 1e-6))

    def ask(self, oracle: Oracle, agent: int, item: int | None) -> None:
        """Ask about the list, with one item turned where one is named, and learn from the answer."""
        asked = self.turned.copy()
        gain = 0.0
        if item is not None:
            asked[item] ^= True
            gain = float(1 - self.belief[item] if self.turned[item] else self.belief[item])
        rung = oracle.record(asked, agent)
        low, high = (0, self.needed) if rung is None else (self._from(rung), self._from(rung + 1))
        fits = np.zeros(self.n + 3, bool)
        fits[1 + low : 1 + min(high, self.n + 1)] = True  # of the asked list; shifted by one on either side
        self.best = self.best if rung is None else rung
        if item is None:
            self._learn(fits[1:-1].astype(float))
            return
        up, down = fits[2:] * gain, fits[:-2] * (1 - gain)
        rises, falls = float(self.count @ up), float(self.count @ down)
        gain = rises / max(rises + falls, 1e-300)
        self.belief[item] = np.clip(1 - gain if self.turned[item] else gain, 1e-6, 1 - 1e-6)
        self._learn(up + down)

    def _learn(self, weight: Floats) -> None:
        found = self.count * weight
        total = found.sum()
        if total > 1e-200:
            self.count = found / total

    def turn(self, item: int) -> None:
        """Change the list in one item."""
        gain = float(1 - self.belief[item] if self.turned[item] else self.belief[item])
        moved = np.zeros_like(self.count)
        moved[1:] += gain * self.count[:-1]
        moved[:-1] += (1 - gain) * self.count[1:]
        self.count, self.turned[item] = moved / moved.sum(), not self.turned[item]

    def settle(self) -> None:
        """Move surest items until the list is expected one item under the next record."""
        off = self.needed - 1 - float(self.count @ np.arange(self.n + 1))
        good = np.where(self.turned, 1 - self.belief, self.belief)  # P(turning it makes it right)
        order = np.argsort(-good if off > 0 else good)
        for item in order[:64]:
            move = 2 * float(good[item]) - 1
            if abs(off) < 0.5 or move * off <= 0:
                return
            self.turn(int(item))
            off -= move


def walk(oracle: Oracle, prior: Floats, grid: Sequence[int]) -> Bools:
    """Edge-walking by all agents in turn, with what they learn in common."""
    agents, belief = oracle.mechanism.ladders, np.clip(prior, 1e-3, 1 - 1e-3).copy()
    ladder = oracle.mechanism.ladder
    assert ladder is not None
    crew = [Edge(belief, ladder.step) for _ in range(agents)]
    tested = np.zeros(len(prior), bool)
    found, marks = np.zeros((len(grid), len(prior)), bool), {k: i for i, k in enumerate(grid)}
    for edge in crew:
        edge.best = ladder.start
    for answers in range(1, max(grid) + 1):
        edge = crew[answers % agents]
        if answers <= agents:
            edge.ask(oracle, answers % agents, None)
        else:
            edge.settle()
            doubt = np.where(tested, 2.0, np.abs(belief - 0.5))
            item = int(doubt.argmin())
            edge.ask(oracle, answers % agents, item)
            tested[item] = abs(belief[item] - 0.5) > 0.4
        if answers in marks:
            found[marks[answers]] = belief > 0.5
    return found
