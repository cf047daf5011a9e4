"""`aarlab baselines` from flags to files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aarlab.baselines import harness, table, write
from aarlab.baselines.cache import Cache
from aarlab.baselines.harness import Measured
from aarlab.baselines.plan import chosen, default_folder
from aarlab.baselines.students import choice

CACHE = Path("cache/baselines")


@dataclass(frozen=True)
class Written:
    """The table, its page, and a sentence for each method that failed somewhere."""

    table: dict[str, Any]
    page: Path
    failures: tuple[str, ...]


def run(
    problems: list[str],
    seeds: int,
    methods: str = "",
    tasks: str = "",
    student: str = "probe",
    model: str = "",
    items: int = 0,
    epochs: float = 0.0,
    workers: int = 2,
    cache: Path | None = None,
    fresh: bool = False,
    out: Path | None = None,
) -> Written:
    """Measure and write a table. `methods`, `tasks`: names separated by commas; empty for all.

    Raises InputError or UnknownName for flags that mean nothing, before anything is measured or written.
    """
    plan = chosen(problems, _names(methods), _names(tasks), seeds, choice(student, model, items, epochs))
    found = harness.measure(plan, Cache(cache or CACHE, plan), workers, fresh)
    made = table.table(plan, found)
    page = write.write(made, out or default_folder(plan))
    return Written(made, page, tuple(_failures(found)))


def _failures(found: Measured) -> Iterator[str]:
    """One sentence for each method and reason, with the tasks."""
    where: dict[tuple[str, str], list[str]] = {}
    for problem, task, method in found.failed:
        where.setdefault((method, found.failures[problem, task, method].why), []).append(f"{problem} {task}")
    for (method, why), tasks in where.items():
        yield f"{method} failed on {', '.join(tasks)}: {why}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
