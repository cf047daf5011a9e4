"""Reworded items of a pack: some test items of a task in other words, with features the model extracts anew.

They go into `<task>.renamed.npz` beside the task's other files, for the audit that asks whether a method knows items by
their wording. Labs keep it in the vault; no method and no researcher gets it.

python -m aarlab.problems.reworded w2s-math    make those of the shipped pack (needs the [train] extra, some minutes)
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import PackError
from aarlab.problems import build, pack
from aarlab.problems.base import Problem, load
from aarlab.problems.comparison import COSINE
from aarlab.problems.drafts import Arrays, Draft, Spec
from aarlab.problems.sources import Sources
from aarlab.w2s import texts
from aarlab.w2s.task import Ints, TaskInputs

ITEMS = 300
"""Reworded test items of a task; whole groups of items with one question are taken."""

CLIPPED = 0.001
"""Most features, as a share, that may lie outside the int8 range of the pack's own scale."""


def make(problem: Problem, cache: Path | None = None) -> str:
    """Write the reworded items of every feedback task into the pack, and their checksums into its manifest.

    Raises PackError where the model does not give the pack's own features for the unchanged texts.
    """
    spec, _ = build.builder(problem.name)
    sources = Sources(cache)
    read = build.Reader(sources.path("model"), sources.cache, None, 0)
    lines = []
    for card in problem.of_role("feedback"):
        with np.load(problem.path(card.name, "labels"), allow_pickle=False) as z:
            is_test = z["is_test"]
        lines.append(_task(problem, spec, read, card.name, is_test))
    return "\n".join(lines)


def _task(problem: Problem, spec: Spec, read: build.Read, task: str, is_test: NDArray[np.bool_]) -> str:
    inputs = problem.inputs(task)
    rows = chosen(inputs, np.flatnonzero(is_test), np.random.default_rng([spec.seed, 4]))
    module = importlib.import_module(f"aarlab.problems.{problem.name.replace('-', '_')}.reword")
    old = tuple((inputs.texts or ())[i] for i in rows)
    new = tuple(module.reword(text, f"{spec.seed} {task}") for text in old)
    agree = _agreement(inputs, rows, features(spec, read, module.parts(old)))
    if agree < COSINE:
        raise PackError(f"{task}: features of unchanged texts agree with the pack's by {agree:.5f}, {COSINE} is needed")
    found = features(spec, read, module.parts(new))
    layers, clipped = quantised(inputs, found, spec)
    if clipped > CLIPPED:
        raise PackError(f"{task}: {clipped:.2%} of the reworded features lie outside the pack's scale")
    write(problem, task, rows, layers, np.asarray(spec.zero_shot(found), np.float32), new)
    near = _agreement(inputs, rows, found)
    return (
        f"{task}: {len(rows)} items reworded; cosine to the pack {agree:.5f} unchanged, {near:.5f} reworded; "
        f"{clipped:.4%} of the features clipped"
    )


def chosen(inputs: TaskInputs, test: Ints, rng: np.random.Generator) -> Ints:
    """About ITEMS test rows, all items of one question together, ascending."""
    questions = np.array([_digest(texts.passage(inputs, int(i))[0]) for i in test])
    names = rng.permutation(np.unique(questions))
    sizes = np.cumsum([(questions == name).sum() for name in names])
    kept = names[: int(np.searchsorted(sizes, ITEMS)) + 1]
    found: Ints = test[np.isin(questions, kept)]
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def features(spec: Spec, read: build.Read, parts: dict[str, tuple[str, ...]]) -> Arrays:
    """All that the spec wants of some texts. parts: `rows`, `prefixes` and so on, as a Draft has them."""
    n = len(parts["rows"])
    nothing = np.zeros(n, np.int8)
    draft = Draft("reworded", "feedback", "", labels=nothing, split=nothing, groups=np.zeros(n, np.int64), **parts)  # type: ignore[arg-type]
    return build.student_features(spec, read, draft, np.arange(n))


def quantised(inputs: TaskInputs, found: Arrays, spec: Spec) -> tuple[dict[str, NDArray[Any]], float]:
    """Values on the pack's own scale, and which share of those in int8 had to be clipped."""
    out, outside, count = {}, 0, 0
    for name, layer in inputs.layers.items():
        if layer.values.dtype != np.int8:
            assert spec.logprob is not None
            out[name] = pack.exact(spec.logprob(found)).values
            continue
        steps = np.round(found[name].astype(np.float32) / layer.scale)
        outside, count = outside + int((np.abs(steps) > 127).sum()), count + steps.size
        out[name] = np.clip(steps, -127, 127).astype(np.int8)
    return out, outside / max(count, 1)


def _agreement(inputs: TaskInputs, rows: Ints, found: Arrays) -> float:
    """Mean cosine between the pack's features and others of the same items, of the layer that agrees least."""
    cosines = []
    for name, layer in inputs.layers.items():
        if layer.values.dtype != np.int8:
            continue
        x, y = layer.rows(rows), found[name].astype(np.float32)
        norm = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        cosines.append(float(((x * y).sum(1) / np.maximum(norm, 1e-12)).mean()))
    return min(cosines)


def write(
    problem: Problem, task: str, rows: Ints, layers: dict[str, NDArray[Any]], zero_shot: NDArray[Any],
    written: tuple[str, ...],
) -> None:  # fmt: skip
    """`<task>.renamed.npz` in the pack, and its checksum in the manifest."""
    path = problem.path(task, "renamed")
    arrays = {f"values.{name}": values for name, values in layers.items()}
    arrays |= {"rows": rows, "zero_shot": zero_shot, "texts": np.frombuffer(json.dumps(written).encode(), np.uint8)}
    path.write_bytes(pack.archive(arrays))
    place = problem.folder / "manifest.json"
    manifest = json.loads(place.read_text("utf-8"))
    manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    place.write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(make(load(name)))
