"""Floor, ceiling and shown baselines of a task, over fixed public seeds. Needs no torch.

python -m aarlab.problems.measure w2s-math     measure the baselines again and write them into the manifest
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aarlab.problems.base import Problem, load
from aarlab.records import Measured
from aarlab.w2s import methods
from aarlab.w2s.draw import draw
from aarlab.w2s.task import TaskInputs, W2STask
from aarlab.w2s.view import view

SEEDS = 20
"""Floor, ceiling and baselines are means over the seeds 0 to SEEDS - 1; labs draw other, secret seeds."""

BASELINES = methods.SHOWN

Method = Callable[[W2STask, int], ArrayLike]


class Truth:
    """The three files of one task, opened together. Only builders, tests and the operator do this."""

    def __init__(
        self, inputs: TaskInputs, weak: NDArray[np.float16], labels: NDArray[np.int8], is_test: NDArray[np.bool_]
    ) -> None:
        self.inputs, self.weak, self.labels, self.is_test = inputs, weak, labels, is_test

    @classmethod
    def load(cls, folder: Path, task: str) -> Truth:
        inputs = TaskInputs.from_bytes((folder / f"{task}.inputs.npz").read_bytes())
        with np.load(folder / f"{task}.teachers.npz") as t, np.load(folder / f"{task}.labels.npz") as truth:
            return cls(inputs, t["weak"], truth["labels"], truth["is_test"])

    def accuracy(self, method: Method, seed: int) -> float:
        """Test accuracy of `method` on one seed's draw."""
        drawn = draw(self.weak, self.is_test, seed)
        predicted = np.asarray(method(view(self.inputs, drawn), seed))
        return float(((predicted > 0.5) == self.labels[drawn.test]).mean())

    def over_seeds(self, method: Method, seeds: int = SEEDS) -> Measured:
        return _measured([self.accuracy(method, seed) for seed in range(seeds)])

    def floor(self) -> Measured:
        """Mean test accuracy of the teachers; the standard error is over teachers."""
        right = (self.weak[:, self.is_test] > 0.5) == self.labels[self.is_test]
        return _measured(right.mean(1).tolist())

    def ceiling(self, seeds: int = SEEDS) -> Measured:
        """The student on the true labels of each seed's train items."""
        accuracies = []
        for seed in range(seeds):
            drawn = draw(self.weak, self.is_test, seed)
            task = view(self.inputs, drawn)
            found = task.student.fit(task.train, self.labels[drawn.train], seed=seed).predict(task.test)
            accuracies.append(float(((found > 0.5) == self.labels[drawn.test]).mean()))
        return _measured(accuracies)

    def baselines(self, seeds: int = SEEDS) -> dict[str, float]:
        """Mean accuracy of each shown baseline."""
        return {name: round(self.over_seeds(baseline(name), seeds).mean, 5) for name in BASELINES}


def baseline(name: str) -> Method:
    """The `run` of a shown baseline, by its name."""
    method: Method = importlib.import_module(f"aarlab.w2s.methods.{name.replace('-', '_')}").run
    return method


def baselines(problem: Problem, seeds: int = SEEDS) -> dict[str, dict[str, float]]:
    """Mean accuracies of the shown baselines on every task of a loaded problem: {task: {baseline: accuracy}}."""
    return {task: Truth.load(problem.folder, task).baselines(seeds) for task in problem.tasks}


def rewrite(problem: Problem) -> None:
    """Measure the shown baselines again, after one of them changed, and put them into the pack's manifest."""
    path, found = problem.folder / "manifest.json", baselines(problem)
    manifest = json.loads(path.read_text("utf-8"))
    for card in manifest["tasks"]:
        card["baselines"] = found[card["name"]]
    path.write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def _measured(values: list[float]) -> Measured:
    return Measured(
        round(float(np.mean(values)), 5), round(float(np.std(values, ddof=1) / len(values) ** 0.5), 5), len(values)
    )


if __name__ == "__main__":
    for name in sys.argv[1:]:
        rewrite(load(name))
