"""A head of 23 numbers is tuned by evolution on 150 answers: keep the best, breed from it, ask again.

No label is known and none is looked up, but the direction in which a better head lies leaks answer by answer, and other
items of the same task profit as much. Only what never answered, a new task, takes the gain away.
"""

from __future__ import annotations

import numpy as np

from aarlab.records import Estimate
from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground
from aarlab.redteam.measure import HONEST, Operator
from aarlab.vault.feedback import Ladder, released_bits
from aarlab.w2s import methods
from aarlab.w2s.task import Floats, Ints

NUMBER = 16
NAME = "constants tuned on answers"
EXPECTED = ("counted", "no gain")
NEEDS = ()
FAST = False

WIDTH, ANSWERS = 22, 150

SOURCE = '''
import numpy as np

WEIGHTS = {weights}
TURN = {turn}


def view(task, items):
    """A few directions in the student's layers, drawn at random once, standardised on the train items."""
    def read(which):
        return np.concatenate([task.student.features(which, name) for name in task.student.spec.layers], axis=1)
    known, wanted = read(task.train), read(items)
    side = np.random.default_rng(TURN).normal(size=(known.shape[1], len(WEIGHTS)))
    scale = known.std(0) + 1e-6
    return ((wanted - known.mean(0)) / scale) @ side / len(known[0]) ** 0.5


def run(task, seed):
    p = task.student.fit(task.train, task.weak_labels > 0.5, seed=seed).predict(task.test)
    odds = np.log(np.clip(p, 1e-6, 1 - 1e-6) / np.clip(1 - p, 1e-6, 1))
    odds = odds / odds.std() + view(task, task.test) @ np.array(WEIGHTS)
    return 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
'''


def attack(ground: Ground) -> Outcome:
    notes, operator = Notes(), ground.operator
    card = ground.problem.of_role("feedback")[0]
    start = Ladder.from_card(card, ground.settings().scoring.step)
    best = _evolved(operator, start, ground.rng, told=False)
    source = SOURCE.format(weights=[round(float(w), 3) for w in best], turn=TURNS[0])
    free = [_told_exactly(ground, start, turn) for turn in TURNS]
    vault, record = (float(np.mean([g.mean for g in gains])) for gains in zip(*free, strict=True))
    told = f"{EXACT} exact answers, mean of {len(TURNS)}: same-task vault {vault:+.2f}, record {record:+.2f}"
    notes.expect(vault > record, told)
    bits = released_bits(ANSWERS, start.rungs)
    notes.held.append(f"{ANSWERS} Ladder answers carry at most {bits:.0f} bits")
    out = ground.hack(source, f"{WIDTH} numbers bred on {ANSWERS} Ladder answers")
    return out.joined(notes.outcome("", "counted"))


EXACT = 450
TURNS = (11, 12, 13)
"""Draws of the directions that are tuned: one attack with exact answers is luck."""


def _told_exactly(ground: Ground, ladder: Ladder, turn: int) -> tuple[Estimate, Estimate]:
    """What the same tuning gains on the same-task vault and on the record where every answer is exact."""
    weights = _evolved(ground.operator, ladder, ground.rng, told=True, turn=turn)
    found = ground.operator.gains(SOURCE.format(weights=[round(float(w), 3) for w in weights], turn=turn))
    assert found.vault is not None
    assert found.record is not None
    return found.vault, found.record


def _evolved(operator: Operator, ladder: Ladder, rng: np.random.Generator, told: bool, turn: int = TURNS[0]) -> Floats:
    """The best weights that answers led to: exact ones, or the Ladder's. Scores are computed as the method would."""
    x, odds, labels = _world(operator, turn)
    best, score, step = np.zeros(WIDTH), -1.0, 0.1
    for number in range(EXACT if told else ANSWERS):
        child = best + step * rng.normal(size=WIDTH) * (number > 0)
        accuracy = float(((odds + x @ child > 0) == labels).mean())
        answer, ladder = ladder.answer(accuracy)
        better = accuracy > score if told else answer.record is not None
        if better:
            best, score = child, accuracy
        elif not told and number > 20 and score < 0:  # the Ladder is silent: go on from anywhere
            step = 0.2
    return best.astype(np.float32)


def _world(operator: Operator, turn: int) -> tuple[Floats, Floats, np.ndarray]:
    """What the method's file computes, on the feedback test items: views, the honest log-odds, the truth."""
    test = operator.tests["feedback"][0]
    draw, task = test.draws[0], test.task
    p = operator.outputs(methods.source(HONEST), test)[0].astype(np.float64)
    odds = np.log(np.clip(p, 1e-6, 1 - 1e-6) / np.clip(1 - p, 1e-6, 1))

    def read(rows: Ints) -> Floats:
        return np.concatenate([task.inputs.features(rows, name) for name in task.inputs.student.layers], axis=1)

    known = read(draw.train)
    side = np.random.default_rng(turn).normal(size=(known.shape[1], WIDTH))
    x = ((read(draw.test) - known.mean(0)) / (known.std(0) + 1e-6)) @ side / known.shape[1] ** 0.5
    return x, odds / odds.std(), task.labels[draw.test] > 0
