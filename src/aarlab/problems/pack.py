"""Writing a data pack: quantised inputs, teachers and labels of each task, and the manifest with their checksums."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.problems.base import PARTS, TaskCard
from aarlab.w2s.task import Layer, TaskInputs


def quantise(values: NDArray[Any]) -> Layer:
    """Symmetric int8, one scale per dimension: the largest magnitude becomes 127."""
    x = values.astype(np.float32)
    scale = (np.abs(x).max(0) / 127 + 1e-12).astype(np.float32)
    return Layer(np.round(x / scale).astype(np.int8), scale)


def exact(values: NDArray[Any]) -> Layer:
    """A small block kept in float16."""
    return Layer(values.astype(np.float16), np.ones(values.shape[1], np.float32))


def write_task(folder: Path, inputs: TaskInputs, weak: NDArray[np.float16], labels: dict[str, NDArray[Any]]) -> None:
    """The three files of a task. `labels` holds `labels`, `is_test` and what audits may want beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(io.BytesIO(inputs.to_bytes())) as plain:  # compressed on disk only: a tenth smaller, 50 ms to read
        (folder / f"{inputs.task}.inputs.npz").write_bytes(archive(dict(plain)))
    (folder / f"{inputs.task}.teachers.npz").write_bytes(archive({"weak": weak}))
    (folder / f"{inputs.task}.labels.npz").write_bytes(archive(labels))


def write_manifest(folder: Path, problem: str, cards: list[TaskCard], recipe: dict[str, Any]) -> None:
    """manifest.json over the files of `cards`; written last, so that a pack with one is complete."""
    files = {f"{c.name}.{part}.npz": "" for c in cards for part in PARTS}
    for name in files:
        files[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    manifest = {"problem": problem, "tasks": [asdict(c) for c in cards], "files": files, "recipe": recipe}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def archive(arrays: dict[str, NDArray[Any]]) -> bytes:
    """One compressed npz archive, the same bytes for the same arrays."""
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()
