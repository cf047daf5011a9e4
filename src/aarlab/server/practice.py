"""Practice answers: a list of predictions on the feedback task's test items, and its accuracy to one point.

A list is read by hand and not by the web framework: everything that is not one 0 or 1 for each item is refused with
one sentence, which is the same for all of them, costs nothing and says nothing.
"""

from __future__ import annotations

import json
from typing import Any

from aarlab.errors import BudgetSpent, InputError, NotAllowed
from aarlab.records import PracticeAnswer
from aarlab.server.auth import Identity
from aarlab.server.lab import Lab
from aarlab.store import Rows
from aarlab.vault import practice

REFUSAL = 'send {"predictions": [...]} with one 0 or 1 for each test item, in the order of the public list, and no more'


def rules(lab: Lab, rows: Rows) -> dict[str, Any]:
    """What may be asked, what is left, and what it leaks."""
    total, given = lab.settings.scoring.practice, rows.count_practice()
    return {
        "on": total > 0,
        "task": lab.feedback.name,
        "items": lab.feedback.test_items,
        "inputs": practice.file_name(lab.feedback) if total else None,
        "answers": {"total": total, "given": given, "left": max(0, total - given)},
        "bits": {
            "each_at_most": round(practice.bits_each(lab.feedback.test_items), 2),
            "released_at_most": round(practice.released_bits(given, lab.feedback.test_items), 1),
        },
        "rules": [
            REFUSAL,
            "the answer is the accuracy rounded to one point; the same list gets the same answer and is not charged",
            "the answers belong to the whole fleet; they are never ranked and are no submission",
            practice.warning(lab.feedback, total) if total else "practice mode is off in this lab",
        ],
    }


def answer(lab: Lab, who: Identity, body: bytes) -> dict[str, Any]:
    """Answer one list. Raises InputError, NotAllowed or BudgetSpent with nothing written."""
    if not lab.settings.scoring.practice:
        raise NotAllowed("practice mode is off in this lab; scoring.practice in lab.toml switches it on for a new one")
    predictions = read(body, lab.feedback.test_items)
    with lab.store.write() as rows:
        found = rows.practice_answer(practice.list_hash(predictions))
        cached = found is not None
        if found is None:
            _check_right(lab, rows, who)
            found = _grade(lab, rows, who, predictions)
        left = rules(lab, rows)["answers"]["left"]
    lab.changed("scores")
    lab.report_answers()
    return {"accuracy": found.answer, "cached": cached, "answers_left": left}


def read(body: bytes, items: int) -> list[int]:
    """The predictions of a request. Raises InputError, always with the same sentence."""
    try:
        asked = json.loads(
            body, parse_int=_digit, parse_float=_refuse, parse_constant=_refuse, object_pairs_hook=_only_predictions
        )
    except (ValueError, RecursionError):
        raise InputError(REFUSAL) from None
    values = asked["predictions"] if isinstance(asked, dict) else None
    if not isinstance(values, list) or len(values) != items or any(type(v) is not int for v in values):
        raise InputError(REFUSAL)
    return values


def _digit(text: str) -> int:
    """0 or 1 as they are written: -0 and 00 are neither."""
    if text not in ("0", "1"):
        raise ValueError
    return int(text)


def _refuse(text: str) -> Any:
    raise ValueError


def _only_predictions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if [name for name, _ in pairs] != ["predictions"]:
        raise ValueError
    return dict(pairs)


def _check_right(lab: Lab, rows: Rows, who: Identity) -> None:
    total = lab.settings.scoring.practice
    if lab.target(rows) != "research":
        raise NotAllowed("the research phase is over; this lab gives no more practice answers")
    person = rows.researcher(who.name)
    if person is None or person.status == "stopped":
        raise NotAllowed(f"{who.name} was stopped by the operator and gets no more practice answers")
    if rows.count_practice() >= total:
        raise BudgetSpent(f"all {total} practice answers of this run are used, by all researchers together")


def _grade(lab: Lab, rows: Rows, who: Identity, predictions: list[int]) -> PracticeAnswer:
    """One answer: row and ledger line, in the caller's transaction."""
    labels, now = lab.vault.practice_labels(lab.problem.name, lab.feedback.name), lab.now()
    row = PracticeAnswer(
        number=rows.count_practice() + 1, researcher=who.name, list_hash=practice.list_hash(predictions),
        predictions="".join(map(str, predictions)), answer=practice.grade(predictions, labels), time=now,
    )  # fmt: skip
    rows.add_practice(row)
    lab.ledger.append(rows, "practice", practice.line_body(row), now)
    return row
