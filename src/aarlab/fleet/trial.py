"""Try one method file on a problem's open task, in a method sandbox, with the full traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aarlab.audits.payload import shared
from aarlab.audits.policy import Policy
from aarlab.errors import InputError, MethodError
from aarlab.execution import LocalExecutor, MethodRun, check_payload, check_source
from aarlab.problems import base
from aarlab.sandbox import open_sandbox
from aarlab.w2s.open_task import OpenTask
from aarlab.w2s.task import TaskInputs

TIMEOUT = 120.0


def read_method(file: Path) -> str:
    """The text of a method file. Raises InputError where there is none."""
    if not file.is_file():
        raise InputError(f"{file}: no such file; give the path of a method file with `def run(task, seed)`")
    return file.read_text("utf-8")


def try_method(file: Path, problem: str, seeds: int, isolation: str) -> dict[str, Any]:
    """PGR per seed on the open task. Raises MethodError with the method's traceback."""
    source = read_method(file)
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; at least 1 is needed")
    check_source(source)
    loaded = base.load(problem)
    loaded.check_gaps()
    card = loaded.of_role("open")[0]
    task = OpenTask.load(loaded.folder, card.name)
    draws = tuple(task.draw(seed) for seed in range(seeds))
    sandbox = open_sandbox(isolation)
    sandbox.check()
    with LocalExecutor(sandbox, workers=1) as executor:
        found = executor.run(MethodRun(source, task.inputs.to_bytes(), draws, TIMEOUT))
    accuracy = [task.accuracy(p, d) for p, d in zip(found.outputs, draws, strict=True)]
    return {
        "problem": loaded.name,
        "task": card.name,
        "accuracy": accuracy,
        "pgr": [card.pgr(a) for a in accuracy],
        "cpu_seconds": list(found.cpu_seconds),
        "warnings": warnings(source, Policy.of(loaded.settings), task.inputs),
    }


def warnings(source: str, policy: Policy, inputs: TaskInputs) -> list[str]:
    """What a lab would say of the data the file carries: it refuses such a file, or does not rank it."""
    told = []
    try:
        check_payload(source, policy.payload)
    except MethodError as error:
        told.append(f"a lab refuses this file: {error}")
    if inputs.texts is not None and (amount := shared(source, [inputs], policy.payload)).ratio > 1:
        told.append(f"a lab does not rank this file: it holds {amount.sentence}; take them from the task in run()")
    return told


def sentence(found: dict[str, Any]) -> str:
    pgr = np.array(found["pgr"])
    spread = f" (seeds: {', '.join(f'{v:.3f}' for v in pgr)})" if len(pgr) > 1 else ""
    line = (
        f"{found['problem']} {found['task']}: PGR {pgr.mean():.3f}{spread}, "
        f"accuracy {np.mean(found['accuracy']):.3f}, {np.mean(found['cpu_seconds']):.2f} CPU s a seed"
    )
    return "\n".join([line, *(f"warning: {w}" for w in found["warnings"])])
