"""`aarlab redteam`: make the attacks, show the matrix, write it down."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aarlab.errors import AarlabError
from aarlab.problems import base
from aarlab.redteam import show
from aarlab.redteam.attack import Attack, Line, Outcome, chosen, every
from aarlab.redteam.ground import Ground

MATRIX = "redteam.json"
PAGE = "redteam.md"


@dataclass(frozen=True)
class Result:
    """All matrices of a call, ready for JSON, and whether every attack ended as expected."""

    matrices: tuple[dict[str, Any], ...]
    as_expected: bool
    page: Path | None


def run(problems: Sequence[str], only: str, fast: bool, out: Path | None, quiet: bool) -> Result:
    """Attack each problem in turn; all shipped ones where none is named."""
    attacks = chosen(only, fast)
    found, good = [], True
    for name in problems or base.names():
        started = time.monotonic()
        lines = attack(base.load(name), attacks, quiet)
        found.append(show.as_dict(name, lines, time.monotonic() - started))
        good = good and not any(line.missed for line in lines)
    return Result(tuple(found), good, _write(out, found) if out else None)


def attack(problem: base.Problem, attacks: Sequence[Attack], quiet: bool = False) -> list[Line]:
    """Make the attacks on one problem, one after the other."""
    lines: list[Line] = []
    with Ground(problem) as ground, show.Show(problem.name, len(attacks), quiet) as shown:
        for one in attacks:
            shown.starts(one.id)
            lines.append(make(one, ground))
            shown.ended(lines[-1])
    return lines


def make(one: Attack, ground: Ground) -> Line:
    """One attack. An error of the lab itself is an outcome too: one that nobody expects."""
    if missing := one.missing(ground.operator.feedback):
        return Line(one, None, missing)
    started = time.monotonic()
    try:
        outcome = one.run(ground)
    except AarlabError as error:
        outcome = Outcome("", "", broken=(f"the attack broke off: {error}",))
    return Line(one, outcome, seconds=time.monotonic() - started)


def _write(folder: Path, matrices: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MATRIX).write_text(json.dumps(matrices, indent=1) + "\n", "utf-8")
    page = folder / PAGE
    page.write_text(show.page(matrices, every()), "utf-8")
    return page
