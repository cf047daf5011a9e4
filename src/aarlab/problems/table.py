"""docs/tasks.md: what every task is and how hard, written from the packs' manifests.

python -m aarlab.problems.table > docs/tasks.md
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aarlab.problems import base
from aarlab.problems.measure import BASELINES

HOME = Path(__file__).parent

HEAD = """# The tasks

Written by `python -m aarlab.problems.table > docs/tasks.md` from the data packs; do not edit by hand.

Floor: mean test accuracy of the weak teachers. Ceiling: the student trained on the true labels of the train items.
Both are means with one standard error over the number of teachers or seeds given. Gap: ceiling minus floor, in points.
The right-hand columns are the performance gap recovered, (accuracy - floor) / (ceiling - floor), by the shown
baselines: 0 is the teacher, 1 the ceiling. Positives: share of label 1 in train and test.
"""


def tasks_table() -> str:
    """The whole document, as markdown."""
    return "\n".join([HEAD, *(_problem(base.load(name, check=False)) for name in packed())])


def packed() -> list[str]:
    """The problems whose pack is shipped; a problem under construction has none yet."""
    return [n for n in base.names() if HOME.joinpath(n.replace("-", "_"), "pack", "manifest.json").is_file()]


def _problem(problem: base.Problem) -> str:
    manifest = base.read_manifest(problem.folder, check=False)
    size = sum((problem.folder / f).stat().st_size for f in manifest["files"]) / 1e6
    titles = ["task", "role", "about", "train", "test", "positives", "floor", "ceiling", "gap", *BASELINES]
    rows = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    rows += [_row(problem, card) for card in problem.tasks.values()]
    sources = [f"{s['requirement']}: {s['licence']}" for s in manifest["recipe"]["sources"].values()]
    licences = sorted({card.licence for card in problem.tasks.values()})
    first = next(iter(problem.tasks.values()))
    return "\n".join([
        f"## {problem.name}", "", f"{problem.title} Pack: {size:.1f} MB. {first.floor.seeds} teachers; ceiling and "
        f"baselines over {first.ceiling.seeds} seeds.", "", *rows, "",
        f"Licences: {'; '.join(licences)}. Built from {'; '.join(sources)}.", "",
    ])  # fmt: skip


def _row(problem: base.Problem, card: base.TaskCard) -> str:
    with np.load(problem.path(card.name, "labels")) as truth:
        labels, is_test = truth["labels"], truth["is_test"]
    cells = [
        card.name, card.role, card.title, str(card.train_items), str(card.test_items),
        f"{100 * labels[~is_test].mean():.0f} %, {100 * labels[is_test].mean():.0f} %",
        f"{100 * card.floor.mean:.1f} ± {100 * card.floor.se:.1f}",
        f"{100 * card.ceiling.mean:.1f} ± {100 * card.ceiling.se:.1f}", f"{100 * card.gap:.1f}",
        *(f"{card.pgr(card.baselines[b]):.2f}" if b in card.baselines else "" for b in BASELINES),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print(tasks_table(), end="")
