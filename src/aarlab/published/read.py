"""Published results from disk: accuracies of floors, ceilings and methods, one `Run` a seed.

Two formats are read:

- **condensed**: `chat.json` with `weak_model`, `strong_model`, `test_items` and `methods`: name -> list of runs;
- **cache folder**: `<domain>_<idea>/<configuration>/seed_<N>.json`, one run a file; `eval.json` and `best_eval.json`,
  which only sum up, are passed over.

In both, `weak_artifacts` holds the floors (`weak_acc`) and `train_ceiling` the ceilings (`strong_acc`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aarlab.errors import InputError

FLOORS, CEILINGS = "weak_artifacts", "train_ceiling"
SEED_FILE = re.compile(r"seed_(\d+)\.json")
FRACTIONS = ("transfer_acc", "weak_acc", "strong_acc", "strong_gt_acc", "fixed_weak_baseline", "fixed_strong_baseline")


@dataclass(frozen=True)
class Run:
    """One seed of one method; None where the file does not say."""

    seed: int | None
    transfer: float | None
    weak: float | None
    strong: float | None
    pgr: float | None
    fixed_floor: float | None
    fixed_ceiling: float | None
    seconds: float | None
    weak_model: str = ""
    strong_model: str = ""


@dataclass(frozen=True)
class Sweep:
    """All seeds of one idea under one configuration of hyper-parameters (empty in the condensed format)."""

    idea: str
    configuration: str
    runs: tuple[Run, ...]

    @property
    def settings(self) -> str:
        """The hyper-parameters without the models' names, which differ between teacher, ceiling and method."""
        found = re.search(r"_e\d+_lr.*", self.configuration)
        return found.group() if found else ""


@dataclass(frozen=True)
class Domain:
    """chat, math or code. Floors and ceilings stand apart from the methods; there may be several configurations."""

    name: str
    test_items: int | None
    floors: tuple[Sweep, ...]
    ceilings: tuple[Sweep, ...]
    methods: tuple[Sweep, ...]
    notes: tuple[str, ...] = field(default=())


def read(path: Path) -> list[Domain]:
    """All domains at `path`: a condensed file, a folder of them, or a cache folder (or the folder it lies in).

    Raises InputError, naming file and line or field, for anything that is not as the module says.
    """
    if path.is_file():
        return [_condensed(path)]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder")
    for folder in (path, path / "cache_results"):
        files = sorted(f for f in folder.glob("*/*/seed_*.json") if SEED_FILE.fullmatch(f.name))
        if files:
            return _cached(files)
    files = sorted(path.glob("*.json"))
    if not files:
        raise InputError(
            f"{path}: no results; a folder of condensed files (chat.json, ...) or of "
            "<domain>_<idea>/<configuration>/seed_<N>.json is needed"
        )
    return [_condensed(file) for file in files]


def _condensed(path: Path) -> Domain:
    content = _load(path)
    methods = content.get("methods")
    if not isinstance(methods, dict) or not methods:
        raise InputError(f"{path}: no `methods`; is it one run of a cache folder? Then give the cache folder")
    items = content.get("test_items")
    if items is not None and (not isinstance(items, int) or isinstance(items, bool) or items < 1):
        raise InputError(f"{path}: test_items is {items!r}; a positive whole number is needed")
    sweeps = []
    for idea, rows in methods.items():
        if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
            raise InputError(f"{path}: methods.{idea} is no list of runs")
        models = {k: content.get(k) for k in ("weak_model", "strong_model")}
        runs = (_run(models | row, f"{path}: methods.{idea}[{i}]") for i, row in enumerate(rows))
        sweeps.append(Sweep(idea, "", tuple(runs)))
    return _domain(path.stem, items, sweeps)


def _cached(files: Iterable[Path]) -> list[Domain]:
    """Seed files of one cache folder, grouped by domain, idea and configuration."""
    found: dict[str, dict[tuple[str, str], list[Run]]] = {}
    for file in files:
        content = _load(file)
        match = SEED_FILE.fullmatch(file.name)
        assert match
        run = _run({"seed": int(match.group(1))} | content, str(file))
        domain, idea = _names(file, content)
        found.setdefault(domain, {}).setdefault((idea, file.parent.name), []).append(run)
    return [_domain(name, None, [Sweep(*key, tuple(runs)) for key, runs in s.items()]) for name, s in found.items()]


def _names(file: Path, content: Mapping[str, Any]) -> tuple[str, str]:
    """Domain and idea: from the folder's name, split where the file's own dataset_name ends, else at the first `_`."""
    folder = file.parents[1].name
    domain = content.get("dataset_name")
    if isinstance(domain, str) and folder.startswith(f"{domain}_"):
        return domain, folder.removeprefix(f"{domain}_")
    domain, _, idea = folder.partition("_")
    if not idea:
        raise InputError(f"{file}: its folder {folder!r} is not named <domain>_<idea>")
    return domain, idea


def _domain(name: str, items: int | None, sweeps: Iterable[Sweep]) -> Domain:
    parts: dict[str, list[Sweep]] = {FLOORS: [], CEILINGS: [], "": []}
    notes = []
    for sweep in sweeps:
        if not sweep.runs:
            notes.append(f"{sweep.idea}: no runs")
            continue
        parts[sweep.idea if sweep.idea in parts else ""].append(sweep)
    return Domain(name, items, tuple(parts[FLOORS]), tuple(parts[CEILINGS]), tuple(parts[""]), tuple(notes))


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: cut off or no JSON ({error.msg})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: no text; a JSON file is needed") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: an object is needed, this is a {type(content).__name__}")
    return content


def _run(row: Mapping[str, Any], where: str) -> Run:
    """One run, checked. where: file and place, for the error."""
    numbers = dict(_numbers(row, where))
    for name in FRACTIONS:
        if not 0 <= numbers.get(name, 0.0) <= 1:
            raise InputError(f"{where}: {name} is {numbers[name]}; an accuracy between 0 and 1 is needed")
    seed = numbers.get("seed")
    models = [row.get(k) for k in ("weak_model", "strong_model")]
    return Run(
        seed=None if seed is None else int(seed),
        transfer=numbers.get("transfer_acc"),
        weak=numbers.get("weak_acc"),
        strong=numbers.get("strong_gt_acc", numbers.get("strong_acc")),
        pgr=numbers.get("pgr"),
        fixed_floor=numbers.get("fixed_weak_baseline"),
        fixed_ceiling=numbers.get("fixed_strong_baseline"),
        seconds=numbers.get("total_training_time", numbers.get("training_time")),
        weak_model=str(models[0] or ""),
        strong_model=str(models[1] or ""),
    )


def _numbers(row: Mapping[str, Any], where: str) -> Iterator[tuple[str, float]]:
    """The fields that hold a number; text such as "N/A" counts as missing, NaN is refused."""
    for name in (*FRACTIONS, "seed", "pgr", "training_time", "total_training_time"):
        value = row.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise InputError(f"{where}: {name} is {value}; a finite number is needed")
            yield name, float(value)
