"""Practice mode: a few rounded answers to lists of predictions on the feedback task's test items.

This is how the published study scored, and it exists to study that: whoever chooses a prediction for each item chooses
what an answer tells. Practice is off by default, never ranked and never a submission. What a list's accuracy is rounded
to leaves `possible` different answers, so k answers carry at most k log2(possible) bits about the labels.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.problems.base import Problem, TaskCard
from aarlab.records import LedgerLine, PracticeAnswer
from aarlab.vault.store import Vault
from aarlab.w2s.task import Ints, Layer, TaskInputs

POINTS = 100
"""An answer is a multiple of 1 / POINTS."""

WARNING = (
    "Practice answers leak label bits of the feedback task: at most {bits:.1f} each, {total:.1f} in all {answers}. "
    "They are never ranked, and the number of record does not depend on them."
)


def rounded(right: int, items: int) -> float:
    """Accuracy to the nearest point, a half upwards."""
    return (2 * POINTS * right + items) // (2 * items) / POINTS


def bits_each(items: int) -> float:
    """log2 of the number of different answers that `items` items can give."""
    return math.log2(len({rounded(right, items) for right in range(items + 1)}))


def list_hash(predictions: Sequence[int]) -> str:
    """SHA-256 of the list, written as one digit per item."""
    return hashlib.sha256("".join(map(str, predictions)).encode()).hexdigest()


def grade(predictions: Sequence[int], labels: NDArray[np.int8]) -> float:
    """The rounded accuracy of a list of 0 and 1, (n,), against labels (n,)."""
    return rounded(int((np.asarray(predictions, np.int8) == labels).sum()), len(labels))


def released_bits(answers: int, items: int) -> float:
    """The most that so many answers can carry, in bits."""
    return answers * bits_each(items)


def line_body(row: PracticeAnswer) -> dict[str, Any]:
    """What the ledger keeps of an answer; `bits`: the most that all practice answers have carried so far."""
    bits = released_bits(row.number, len(row.predictions))
    return {**{k: getattr(row, k) for k in ("number", "researcher", "list_hash", "answer")}, "bits": round(bits, 3)}


def faults(
    lines: Iterable[LedgerLine], rows: Iterable[PracticeAnswer], labels: NDArray[np.int8] | None
) -> Iterator[str]:
    """What does not fit between ledger and practice rows; answers are computed again where the labels are given."""
    told = {line.body["number"]: line.body for line in lines if line.kind == "practice"}
    kept = {row.number: row for row in rows}
    for number in sorted(told.keys() | kept.keys()):
        if number not in told or number not in kept:
            where = "ledger" if number in told else "database"
            yield f"practice answer {number} stands only in the {where}"
            continue
        row = kept[number]
        if line_body(row) != told[number] or list_hash([int(p) for p in row.predictions]) != row.list_hash:
            yield f"practice answer {number} was edited in the database"
        elif labels is not None and grade([int(p) for p in row.predictions], labels) != row.answer:
            yield f"practice answer {number} does not follow from its list and the labels"


def warning(card: TaskCard, answers: int) -> str:
    """What brief, card and report say where practice is on."""
    each = bits_each(card.test_items)
    return WARNING.format(bits=each, total=answers * each, answers=answers)


def file_name(card: TaskCard) -> str:
    return f"{card.name}-test.inputs.npz"


def export(public: Path, vault: Vault, problem: Problem, answers: int) -> None:
    """Put the feedback task's test inputs into LAB/public, in the order that lists follow, and say so in card.json."""
    card = problem.of_role("feedback")[0]
    shown = part(problem.inputs(card.name), vault.practice_order(problem.name, card.name))
    path = public / file_name(card)
    path.write_bytes(shown.to_bytes())
    path.chmod(0o644)
    about = json.loads((public / "card.json").read_text("utf-8"))
    about["practice"] = {"inputs": path.name, "items": len(shown), "answers": answers, "note": warning(card, answers)}
    (public / "card.json").write_text(json.dumps(about, indent=1), "utf-8")


def part(inputs: TaskInputs, rows: Ints) -> TaskInputs:
    """The inputs of some items alone, in the order of `rows`; groups are numbered anew, as they come."""
    kept = rows if inputs.pairs is None else np.unique(inputs.pairs[rows])
    return replace(
        inputs,
        layers={name: Layer(block.values[kept], block.scale) for name, block in inputs.layers.items()},
        zero_shot=inputs.zero_shot[rows],
        groups=_renumbered(inputs.groups[rows]),
        pairs=None if inputs.pairs is None else np.searchsorted(kept, inputs.pairs[rows]),
        texts=_chosen(inputs.texts, rows),
        answers=_chosen(inputs.answers, rows),
        passages=_chosen(inputs.passages, rows),
    )


def _renumbered(groups: Ints) -> Ints:
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    fresh: Ints = np.argsort(np.argsort(first))[number]
    return fresh


def _chosen(values: tuple[Any, ...] | None, rows: Ints) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values[i] for i in rows)
