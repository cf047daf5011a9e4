"""What was measured before: one file per method and task, one line per seed, named by everything the result hangs on.

The key covers the task's three files, the method's code, the code of `aarlab.w2s` that it and the student import, and
the student's settings. Comments and docstrings do not count. A run that is killed has lost at most the seeds in work.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache as remembered
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.baselines.plan import Plan, Run
from aarlab.problems.base import PARTS, read_manifest

ROOTS = ("aarlab.w2s.draw", "aarlab.w2s.view")
"""What every run goes through, whatever its method imports: the draw, the task, the probe student."""

REGISTRIES = ("aarlab.w2s", "aarlab.w2s.methods")
"""Packages whose own file only gathers names; what is imported from them is named and counted by itself."""


@dataclass(frozen=True)
class Outcome:
    """One seed. correct: bool (n_test,), in the order of the task's rows; the method's CPU time in seconds."""

    seed: int
    correct: NDArray[np.bool_]
    cpu_seconds: float

    def line(self) -> str:
        bits = base64.b64encode(np.packbits(self.correct).tobytes()).decode()
        row = {"seed": self.seed, "items": len(self.correct), "cpu": round(self.cpu_seconds, 5), "correct": bits}
        return json.dumps(row) + "\n"

    @classmethod
    def parse(cls, line: str) -> Outcome:
        row = json.loads(line)
        packed = np.frombuffer(base64.b64decode(row["correct"]), np.uint8)
        return cls(row["seed"], np.unpackbits(packed, count=row["items"]).astype(bool), row["cpu"])


class Cache:
    """Outcomes of a plan's runs in a folder."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.student = folder, plan.student
        self._files = {p.name: read_manifest(p.folder, check=False)["files"] for p in plan.problems}

    def path(self, run: Run) -> Path:
        """The run's file; it need not exist."""
        files = self._files[run.problem.name]
        parts = [files[f"{run.task}.{part}.npz"] for part in PARTS]
        words = [*parts, code(run.source, self.student.name), repr(self.student), run.method]
        key = hashlib.sha256("\n".join(words).encode()).hexdigest()
        return self.folder / f"{run.problem.name}.{run.task}" / f"{run.method}.{key[:16]}.jsonl"

    def read(self, run: Run) -> dict[int, Outcome]:
        """What is known, by seed. A line that was being written when its writer died does not count."""
        path = self.path(run)
        found = {}
        for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
            try:
                outcome = Outcome.parse(line)
            except (ValueError, KeyError, TypeError):
                continue
            found[outcome.seed] = outcome
        return found

    def add(self, run: Run, outcome: Outcome) -> None:
        """Keep one seed."""
        path = self.path(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.is_file() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" * bool(torn) + outcome.line())

    def forget(self, run: Run) -> None:
        self.path(run).unlink(missing_ok=True)


@remembered
def code(source: str, student: str) -> str:
    """SHA-256 over a method's syntax tree and those of all modules of `aarlab.w2s` that it leads to."""
    own, found = tree(source), {}
    waiting = [*ROOTS, *_imports(source), *([f"aarlab.w2s.students.{student}"] if student != "probe" else [])]
    while waiting:
        name = waiting.pop()
        if name not in found and (text := _module(name)) is not None:
            found[name] = tree(text)
            waiting += [n for n in _imports(text) if student != "probe" or not n.startswith("aarlab.w2s.students.lora")]
    return hashlib.sha256("\n".join([own, *(found[n] for n in sorted(found))]).encode()).hexdigest()


@remembered
def tree(text: str) -> str:
    """The syntax tree without docstrings, as text."""
    parsed = ast.parse(text)
    for node in ast.walk(parsed):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(parsed)


@remembered
def _imports(text: str) -> tuple[str, ...]:
    """Every name below `aarlab.w2s` that a file imports; of `from a import b` both a and a.b."""
    names = _imported(ast.parse(text))
    return tuple(name for name in names if name.startswith("aarlab.w2s.") and name not in REGISTRIES)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@remembered
def _module(name: str) -> str | None:
    """The text of a module; of a package, all its files; None where `name` is neither (a function, a class)."""
    place = resources.files("aarlab").joinpath(*name.split(".")[1:])
    if place.is_dir():
        own = (
            [p for p in place.iterdir() if p.name.endswith(".py")]
            if name.endswith(".lora")
            else [place / "__init__.py"]
        )
        return "\n".join(p.read_text("utf-8") for p in sorted(own, key=lambda p: p.name) if p.is_file())
    file = resources.files("aarlab").joinpath(*name.split(".")[1:-1], f"{name.rsplit('.', 1)[-1]}.py")
    return file.read_text("utf-8") if file.is_file() else None
