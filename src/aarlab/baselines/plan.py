"""What is to be measured: problems, tasks, methods, seeds and the student."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aarlab.baselines.students import StudentChoice
from aarlab.errors import InputError, UnknownName
from aarlab.problems import base
from aarlab.problems.base import Problem
from aarlab.problems.table import packed
from aarlab.w2s import methods
from aarlab.w2s.methods import About

REFERENCE = "weak-labels-hard"
"""The method that all others are compared with."""

CEILING = "(ceiling)"
"""Not a method: the student on true labels, measured where the pack's ceiling is another student's."""

FULL_SEEDS = 20
"""Seeds of the committed table."""


@dataclass(frozen=True)
class Entry:
    """A method to be measured: what it says of itself, and its text."""

    about: About
    source: str

    @property
    def name(self) -> str:
        return self.about.name


@dataclass(frozen=True)
class Run:
    """One method on one task of one problem: `seeds` of them make a row of the table."""

    problem: Problem
    task: str
    method: str
    source: str  # empty for the ceiling


@dataclass(frozen=True)
class Plan:
    """A whole table. `tasks` are names or roles; `whole`: nothing was left out, so that it may be the reference."""

    problems: tuple[Problem, ...]
    entries: tuple[Entry, ...]
    tasks: tuple[str, ...]
    seeds: int
    student: StudentChoice
    whole: bool = False

    def tasks_of(self, problem: Problem) -> list[str]:
        """The chosen tasks of a problem, in its own order."""
        return [c.name for c in problem.tasks.values() if not self.tasks or {c.name, c.role} & set(self.tasks)]

    def runs(self) -> Iterator[Run]:
        """Task by task, so that a worker loads each task about once."""
        for problem in self.problems:
            for task in self.tasks_of(problem):
                if not self.student.known_ceiling:
                    yield Run(problem, task, CEILING, "")
                for entry in self.entries:
                    yield Run(problem, task, entry.name, entry.source)

    @property
    def comparisons(self) -> int:
        """How many methods are compared with the reference."""
        return max(1, sum(e.name != REFERENCE for e in self.entries))

    def command(self) -> str:
        """The command that measures this table."""
        words = ["aarlab", "baselines", *([] if self.whole else [p.name for p in self.problems])]
        words += ["--seeds", str(self.seeds)]
        if [e.name for e in self.entries] != methods.names():
            words += ["--methods", ",".join(e.name for e in self.entries)]
        if self.tasks:
            words += ["--tasks", ",".join(self.tasks)]
        return shlex.join([*words, *self.student.flags()])


def chosen(
    problems: Sequence[str], methods_: Sequence[str], tasks: Sequence[str], seeds: int, student: StudentChoice
) -> Plan:
    """The plan that names and numbers from the command line mean; empty lists mean all.

    Raises UnknownName for a problem, method or task that does not exist, InputError for fewer than 2 seeds.
    """
    if seeds < 2:
        raise InputError(f"--seeds is {seeds}; at least 2 are needed, since the intervals count how seeds differ")
    loaded = tuple(base.load(name) for name in dict.fromkeys(problems or packed()))
    entries = tuple(_entry(name) for name in dict.fromkeys(methods_ or methods.names()))
    known = {word for p in loaded for c in p.tasks.values() for word in (c.name, c.role)}
    for word in tasks:
        if word not in known:
            raise UnknownName(f"--tasks: no task or role {word!r}; known: {', '.join(sorted(known))}")
    whole = not tasks and [p.name for p in loaded] == packed() and [e.name for e in entries] == methods.names()
    return Plan(loaded, entries, tuple(tasks), seeds, student, whole)


def default_folder(plan: Plan) -> Path:
    """docs for a complete table in a checkout of the library, else results: a part never replaces the whole."""
    checkout = Path("pyproject.toml").is_file() and Path("src/aarlab").is_dir()
    return Path("docs" if checkout and plan.whole and plan.seeds >= FULL_SEEDS else "results")


def _entry(name: str) -> Entry:
    return Entry(methods.about(name), methods.source(name))
