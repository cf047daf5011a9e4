"""Random halves of the items are turned round, and the labels are solved for from the pooled answers.

Each exact answer is one linear equation in the labels. A Ladder answers most of them with the same three words, and the
ledger prints how many bits all answers together can carry at most.
"""

from __future__ import annotations

import numpy as np

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground, taken
from aarlab.redteam.practice import Guesses, List, bound_points

NUMBER = 6
NAME = "least squares on pooled answers"
EXPECTED = ("counted", "no gain")
NEEDS = ()
FAST = False

SOURCE = """
import numpy as np

def run(task, seed):
    p = task.student.fit(task.train, task.weak_labels > 0.5, seed=seed).predict(task.test)
    x = task.student.features(task.test, task.student.spec.layers[0])
    s = x @ np.random.default_rng({seed}).normal(size=x.shape[1])
    return np.where(s > np.median(s), 1 - p, p)
"""


def attack(ground: Ground) -> Outcome:
    notes = Notes()
    guesses = Guesses(ground, ground.operator.feedback.test)
    with ground.lab(answers=18) as lab:
        rows, refused = taken(lab, [SOURCE.format(seed=i) for i in range(40)])
        budget = lab.run()["budget"]
    notes.expect((len(rows), refused) == (18, 22), "18 answers, 22 refused")
    records = [r["record"] for r in rows]
    decoded = 0.0 if not any(records) else 100.0  # without a record all equations are the same inequality
    bits = budget["bits"]["released_at_most"]
    most = bound_points(bits, len(guesses.own))
    notes.expect(decoded <= most, f"at most {bits:.0f} bits came out, decoded {decoded:.1f} points, bound {most:.1f}")
    exact = guesses.points(_solved(guesses, 600, ground.rng))
    notes.expect(exact > 0.5, f"600 exact answers give {exact:+.1f} points")
    return notes.outcome("40 random halves turned round, by nine researchers", "counted", "no gain")


def _solved(guesses: Guesses, answers: int, rng: np.random.Generator) -> List:
    """Ridge regression of exact counts on random halves: where the own list is probably wrong, turned round."""
    n, first = len(guesses.own), guesses.right(guesses.own)
    halves = rng.random((answers, n)) < 0.5
    gained = np.array([guesses.right(guesses.turned(np.flatnonzero(h))) - first for h in halves])
    wrong = (gained + halves.sum(1)) / 2  # of each half, how many items were wrong
    rate, design = 1 - first / n, halves.astype(float)
    kernel = design @ design.T + 1e-3 * np.eye(answers)
    belief = rate + design.T @ np.linalg.solve(kernel, wrong - rate * halves.sum(1))
    return guesses.turned(np.flatnonzero(belief > 0.5))
