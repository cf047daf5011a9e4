"""Weak-to-strong transfer of a really fine-tuned student: floor, ceiling, hard and soft weak labels on an open task.

    python benchmarks/lora_w2s.py --seeds 3                      w2s-math, 1,100 train items, 2 epochs, SmolLM2-135M
    python benchmarks/lora_w2s.py --seeds 3 --out results.json   kept there; run again to go on
    python benchmarks/lora_w2s.py w2s-pref --out pref.json       its texts are fetched, they are not in the pack
    python benchmarks/lora_w2s.py --show docs/lora/w2s-math.json    what the documentation quotes; nothing is trained

Per seed and target one training: on true labels (the ceiling), on the teacher's labels, on its probabilities. Every
finished training is written at once, so a stopped run goes on, and seeds can be added later. Another recipe in the file
is an error, not a mixture. The first training prints how long all will take.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.errors import InputError
from aarlab.problems.withheld import restored
from aarlab.statistics import estimate_accuracy, estimate_pgr
from aarlab.w2s.open_task import OpenTask
from aarlab.w2s.students.lora import LoraStudent, configuration

TARGETS = ("truth", "hard", "soft")


def main() -> None:
    given = arguments()
    if given.show:
        show(json.loads(given.show.read_text("utf-8")))
        return
    recipe = {name: getattr(given, name) for name in ("problem", "model", "train", "test", "epochs", "rate", "frozen")}
    done = opened(given.out, recipe)
    todo = [(s, t) for s in range(given.seeds) for t in TARGETS if f"{s} {t}" not in done["runs"]]
    if todo:
        train(given, done, todo)
    show(done)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", nargs="?", default="w2s-math")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=1100, help="train items of each seed's draw")
    parser.add_argument("--test", type=int, default=0, help="test items, the same for all seeds; 0: all")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--frozen", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("lora_w2s.json"))
    parser.add_argument("--show", type=Path, metavar="FILE", help="print what FILE holds; nothing is trained")
    return parser.parse_args()


def train(given: argparse.Namespace, done: dict[str, Any], todo: list[tuple[int, str]]) -> None:
    """The trainings that are missing, each written when it is done."""
    task = OpenTask.load(given.problem)
    task = replace(task, inputs=restored(task.inputs, task.labels))  # w2s-pref ships no texts
    config = configuration(
        given.model, epochs=given.epochs, learning_rate=given.rate, frozen_blocks=given.frozen, threads=given.threads
    )
    student = LoraStudent(config, checkpoints=given.out.with_suffix(".checkpoints"), progress=Bar())
    rows = tested(task, given.test)
    for number, (seed, target) in enumerate(todo):
        began = time.process_time()
        correct = trained(task, student, seed, target, given.train, rows)
        seconds = time.process_time() - began
        done["runs"][f"{seed} {target}"] = {
            "accuracy": float(correct.mean()), "seconds": round(seconds, 1), "correct": "".join(map(str, 1 * correct)),
        }  # fmt: skip
        saved(given.out, done)
        left = (len(todo) - number - 1) * seconds / 60
        print(f"\rseed {seed} {target:5} {correct.mean():.3f}  {seconds:.0f} CPU s, {left:.0f} min left", flush=True)


def show(found: dict[str, Any]) -> None:
    """Floor, ceiling and transfer of finished trainings."""
    task, runs = OpenTask.load(found["recipe"]["problem"]), found["runs"]
    seeds = next(s for s in range(len(runs) + 1) if any(f"{s} {t}" not in runs for t in TARGETS))
    report(task, runs, tested(task, found["recipe"]["test"]), seeds)


class Bar:
    """One line on a terminal while a training runs."""

    def __init__(self) -> None:
        self.began, self.last = time.time(), 0

    def __call__(self, what: str, done: int, total: int) -> None:
        if done <= self.last:
            self.began = time.time()
        self.last = done
        if sys.stderr.isatty():
            left = (time.time() - self.began) * (total - done) / done
            print(f"\r{what} {done / total:4.0%}, {left:.0f} s left   ", end="", file=sys.stderr, flush=True)


def tested(task: OpenTask, count: int) -> Any:
    """Rows of the test items, in the task's order; `count` of them at random but for all seeds the same."""
    rows = np.flatnonzero(task.is_test)
    return rows if not count else np.sort(np.random.default_rng(0).permutation(rows)[:count])


def trained(task: OpenTask, student: LoraStudent, seed: int, target: str, count: int, rows: Any) -> Any:
    """Which of the test rows are judged rightly, bool (rows,), after training on `count` items of a seed's draw."""
    drawn, view = task.draw(seed), task.view(seed)
    truth = task.labels[drawn.train] > 0
    labels = {"truth": truth, "hard": view.weak_labels > 0.5, "soft": view.weak_labels}[target]
    head = student.fit(view.train[:count], labels[:count], seed=seed)
    chosen = np.isin(drawn.test, rows)
    right = (head.predict(view.test[chosen]) > 0.5) == (task.labels[drawn.test[chosen]] > 0)
    return right[np.argsort(drawn.test[chosen])]


def teachers(task: OpenTask, rows: Any, seeds: int) -> Any:
    """Which test rows each seed's teacher judges rightly, bool (seeds, rows)."""
    which = [int(np.random.default_rng(seed).integers(len(task.weak))) for seed in range(seeds)]
    for seed, teacher in enumerate(which):
        drawn = task.draw(seed)
        assert np.array_equal(drawn.weak_labels, task.weak[teacher, drawn.train].astype(np.float32))
    return (task.weak[which][:, rows] > 0.5) == (task.labels[rows] > 0)


def report(task: OpenTask, runs: dict[str, Any], rows: Any, seeds: int) -> None:
    groups = task.inputs.groups[rows]
    found = {t: np.array([[c == "1" for c in runs[f"{s} {t}"]["correct"]] for s in range(seeds)]) for t in TARGETS}
    weak = teachers(task, rows, seeds)
    for name, correct in (("floor", weak), ("ceiling", found["truth"])):
        e = estimate_accuracy(correct, groups)
        print(f"{name:8} accuracy {e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]")
    for target in TARGETS[1:]:
        accuracy = f"{target:8} accuracy {found[target].mean():.3f}"
        try:
            e = estimate_pgr(found[target], groups, weak, found["truth"])
        except InputError as error:
            print(f"{accuracy}  PGR undefined: {error}")
        else:
            print(f"{accuracy}  PGR {e.mean:.2f} [{e.low:.2f}, {e.high:.2f}], {seeds} seeds")


def opened(path: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        return {"recipe": recipe, "runs": {}}
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if found["recipe"] != recipe:
        sys.exit(f"{path} holds another recipe ({found['recipe']}); name another --out")
    return found


def saved(path: Path, found: dict[str, Any]) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    partial.replace(path)


if __name__ == "__main__":
    main()
