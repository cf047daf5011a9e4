"""A problem: what is to be solved, on which tasks, and how much the lab may answer.

A problem is a folder of this package with `problem.toml` (title, brief, directions, policy), a builder, and a
data pack. The pack holds three files per task, so that each side can be handed exactly its own part (and, for some
tasks, `<task>.renamed.npz`: items in other words, for audits):

    <task>.inputs.npz     what may enter a sandbox (`TaskInputs`)
    <task>.teachers.npz   weak labels of several teachers; the lab draws one per seed
    <task>.labels.npz     true labels; only the vault opens it (open tasks: researchers too)
    manifest.json         sizes, floor, ceiling, licences, recipe, SHA-256 of every file

A problem may also be a folder of the user's own, with `problem.toml` and such a pack in `pack/`: `aarlab problem new`
makes one, and every command that takes a problem's name takes its path too.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from aarlab.errors import InputError, PackError, UnknownName
from aarlab.records import Measured, Role
from aarlab.w2s.task import TaskInputs

PARTS = ("inputs", "teachers", "labels")
CARD = "problem.toml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
"""What the folder of a problem may be called: the name becomes a folder of every lab."""


@dataclass(frozen=True)
class TaskCard:
    """What everybody may know of a task."""

    name: str
    role: Role
    title: str
    train_items: int
    test_items: int
    floor: Measured  # the teachers' accuracy on the test items
    ceiling: Measured  # the student trained on true labels
    baselines: dict[str, float]  # accuracy of each shown baseline, mean over the same seeds
    licence: str

    @property
    def gap(self) -> float:
        return self.ceiling.mean - self.floor.mean

    def pgr(self, accuracy: float) -> float:
        """(transfer - floor) / (ceiling - floor), Burns et al. 2023, with the task's fixed floor and ceiling."""
        return (accuracy - self.floor.mean) / self.gap


@dataclass(frozen=True)
class Problem:
    """A loaded problem. `folder` holds the pack; paths only, nothing hidden is opened here."""

    name: str
    title: str
    brief: str
    directions: dict[str, str]
    tasks: dict[str, TaskCard]
    folder: Path
    home: Path  # the folder with problem.toml
    data_hash: str  # SHA-256 over the label files' checksums: two labs with one label set share a budget
    settings: dict[str, Any]  # the rest of problem.toml (policy, ladder step)

    def task(self, name: str) -> TaskCard:
        if name not in self.tasks:
            raise UnknownName(f"problem {self.name} has no task {name!r}; it has {', '.join(self.tasks)}")
        return self.tasks[name]

    def of_role(self, role: Role) -> list[TaskCard]:
        return [t for t in self.tasks.values() if t.role == role]

    def path(self, task: str, part: str) -> Path:
        return self.folder / f"{self.task(task).name}.{part}.npz"

    def check_gaps(self) -> None:
        """Raises InputError where a ceiling is not above its floor: the performance gap recovered is then undefined."""
        flat = [t for t in self.tasks.values() if t.gap <= 0]
        if flat:
            numbers = ", ".join(f"{t.name}: floor {t.floor.mean:.3f}, ceiling {t.ceiling.mean:.3f}" for t in flat)
            raise InputError(
                f"{self.name}: PGR is undefined where the student trained on true labels does not beat the teacher "
                f"({numbers}); take a weaker teacher or more items"
            )

    def inputs(self, task: str) -> TaskInputs:
        return TaskInputs.from_bytes(self.path(task, "inputs").read_bytes())


def names() -> list[str]:
    """The problems this package knows."""
    root = resources.files("aarlab.problems")
    return sorted(
        p.name.replace("_", "-") for p in root.iterdir() if p.is_dir() and p.joinpath("problem.toml").is_file()
    )


def load(name: str, folder: Path | None = None, check: bool = True) -> Problem:
    """Load a problem by name or by the path of its folder; `folder` is a pack other than its own (a fresh draw, a
    lab's vault), with a problem.toml of its own or without.

    Raises UnknownName for an unknown problem, PackError for a missing or altered file.
    """
    home = folder if folder and (folder / CARD).is_file() else _home(name)
    text = _read_card(home / CARD)
    pack = folder or home / "pack"
    manifest = read_manifest(pack, check)
    cards = {t["name"]: _card(t) for t in manifest["tasks"]}
    return Problem(
        name=name if folder or name in names() else check_name(home),
        title=text.pop("title"),
        brief=text.pop("brief"),
        directions=text.pop("directions", {}),
        tasks=cards,
        folder=pack,
        home=home,
        data_hash=_data_hash(manifest),
        settings=text,
    )


def _home(name: str) -> Path:
    """The folder with problem.toml: of this package's problem, else of the folder `name`."""
    if name in names():
        return Path(str(resources.files("aarlab.problems"))) / name.replace("-", "_")
    if (Path(name) / CARD).is_file():
        return Path(name).resolve()
    raise UnknownName(
        f"there is no problem {name!r}; known problems: {', '.join(names())}, or the path of a folder with {CARD}"
    )


def check_name(home: Path) -> str:
    """The name of a problem in a folder of the user's own. Raises InputError for one that cannot be used."""
    if home.name in names():
        raise InputError(f"{home}: {home.name} is a problem of this package; give the folder another name")
    if not NAME.fullmatch(home.name):
        raise InputError(f"{home}: a problem's folder has a name of up to 40 letters, digits, dots, - and _")
    return home.name


def _read_card(path: Path) -> dict[str, Any]:
    """problem.toml, which has at least a title and a brief."""
    try:
        text = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PackError(f"{path}: cannot be read ({error})") from None
    for key in ("title", "brief"):
        if not isinstance(text.get(key), str):
            raise PackError(f"{path}: {key} is {text.get(key)!r}; a text is needed")
    return text


def read_manifest(pack: Path, check: bool = True) -> dict[str, Any]:
    """The pack's manifest; with `check`, every listed file's SHA-256 is compared first."""
    path = pack / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PackError(f"{path}: the pack's manifest cannot be read ({error}); rebuild with --from-scratch") from None
    for file, digest in manifest["files"].items() if check else ():
        data = pack / file
        if not data.is_file():
            raise PackError(f"{data}: missing; reinstall aarlab or run `aarlab problem build {manifest['problem']}`")
        found = hashlib.sha256(data.read_bytes()).hexdigest()
        if found != digest:
            raise PackError(
                f"{data}: SHA-256 is {found[:12]}..., the manifest says {digest[:12]}...; the pack is corrupt"
            )
    return manifest


def _card(row: dict[str, Any]) -> TaskCard:
    floor, ceiling = Measured(**row["floor"]), Measured(**row["ceiling"])
    return TaskCard(**{**row, "floor": floor, "ceiling": ceiling})


def _data_hash(manifest: dict[str, Any]) -> str:
    labels = sorted(d for f, d in manifest["files"].items() if f.endswith(".labels.npz"))
    return hashlib.sha256("".join(labels).encode()).hexdigest()
