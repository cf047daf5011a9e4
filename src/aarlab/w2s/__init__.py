"""The weak-to-strong library: tasks, students, methods and how good they are. Useful on its own, without a lab.

    from aarlab import w2s

    task = w2s.OpenTask.load("w2s-math")             # a task with public labels, its floor and ceiling
    one = task.evaluate(w2s.method("weak-labels-soft"), seeds=range(10))
    print(one)                                        # PGR with its interval

Parts: `task` (what a method is given), `students` (probe and LoRA), `methods` (one file, one method), `parts` (what
methods are made of), `open_task` (trying a method on public labels).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aarlab.w2s.open_task import Method, OpenTask, Trial
    from aarlab.w2s.task import Items, W2STask

__all__ = ["Items", "Method", "OpenTask", "Trial", "W2STask", "method"]

_HOMES = {"Items": "task", "W2STask": "task", "Method": "open_task", "OpenTask": "open_task", "Trial": "open_task"}


def method(name: str) -> Method:
    """`run(task, seed)` of a shipped method, by its name. Raises UnknownName naming all methods."""
    from aarlab.w2s import methods
    from aarlab.w2s.open_task import load_run

    return load_run(methods.source(name), name)


def __getattr__(name: str) -> Any:
    # looked up when first used: a sandboxed run imports parts of this package and has no time for the rest
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
