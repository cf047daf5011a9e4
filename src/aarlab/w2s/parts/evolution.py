"""Search without gradients over a head's parameters, inside a few random directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aarlab.w2s.students.base import Head
from aarlab.w2s.task import Floats, Items

EXACT = 1e-3
"""A head whose logits after a random step differ by less than this share from the sum of its parts is linear."""


@dataclass(frozen=True)
class Plane:
    """A head and some directions (k, d) in its parameters. A step (k,) is a point: parameters + step @ directions.

    The directions are held in memory: k times what the student trains.
    """

    head: Head
    directions: Floats

    def at(self, step: Floats) -> Head:
        """The head at a step (k,)."""
        moved: Floats = self.head.parameters() + (step @ self.directions).astype(np.float32)
        return self.head.with_parameters(moved)

    def logits(self, items: Items) -> Callable[[Floats], Floats]:
        """A function from steps (m, k) to the items' log-odds (m, n).

        A head that is linear in its parameters answers k + 2 times here, and every step is a product of matrices; the
        first two steps tried tell whether it is. Any other head answers at every step.
        """
        k = len(self.directions)
        base = self.head.logits(items)
        each = np.stack([self.at(unit).logits(items) - base for unit in np.eye(k, dtype=np.float32)])
        check = np.random.default_rng(0).standard_normal(k).astype(np.float32)
        away = float(np.abs(self.at(check).logits(items) - base - check @ each).max())
        if away <= EXACT * max(float(np.abs(check @ each).max()), 1e-6):
            return lambda steps: base + steps @ each
        return lambda steps: np.stack([self.at(step).logits(items) for step in steps])


def random_plane(head: Head, count: int, rng: np.random.Generator) -> Plane:
    """`count` Gaussian directions, as long as makes a standard normal step as large as the head's parameters."""
    values = head.parameters()
    size = np.float32(max(float(np.linalg.norm(values)), 1e-6) / np.sqrt(count * len(values)))
    return Plane(head, size * rng.standard_normal((count, len(values)), np.float32))


def evolve(
    reward: Callable[[Floats], Floats],
    width: int,
    rng: np.random.Generator,
    generations: int = 20,
    couples: int = 8,
    spread: float = 0.1,
    rate: float = 0.1,
) -> Floats:
    """An evolution strategy with antithetic Gaussian noise (Salimans et al. 2017): the step (width,) it ends at.

    reward: steps (m, width) -> (m,). Every generation tries the centre plus and minus `spread` times `couples` draws
    of noise; the centre moves by `rate` times the noise weighted by what plus gained over minus, in units of its root
    mean square, so that the reward's scale does not matter.
    """
    centre = np.zeros(width, np.float32)
    for _ in range(generations):
        noise = rng.standard_normal((couples, width), np.float32)
        plus, minus = np.split(reward(np.concatenate([centre + spread * noise, centre - spread * noise])), 2)
        gain = plus - minus
        size = float(np.sqrt(np.mean(gain**2)))
        if size > 0:
            centre = centre + np.float32(rate / size) * (gain @ noise / np.float32(couples)).astype(np.float32)
    return centre
