"""The vault folder: data packs with hidden labels, secret seeds, per-item outcomes. Mode 700.

packs/<problem>/      the problem's pack and its problem.toml as they were when the lab was made
secret.json           one independent secret per purpose and for audits, the number of seeds, the ledger's key
outcomes/<n>.npz      evaluation n: `correct` bool (seeds, items), `items` row numbers, `groups`
ledger.head           number and hash of the newest ledger line
canaries.json         words planted to be watched for, and labels-<word>.csv, which holds made-up labels
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import InputError, PackError
from aarlab.problems.audit_task import AuditTask
from aarlab.problems.audit_task import load as load_audit
from aarlab.problems.base import CARD, Problem, TaskCard, load
from aarlab.records import Purpose
from aarlab.settings import Settings
from aarlab.vault import grader
from aarlab.w2s.draw import draw
from aarlab.w2s.task import Draw, Ints

SECRETS: Mapping[Purpose, str] = {
    "feedback": "feedback", "baseline": "feedback", "record": "record", "transfer": "transfer",
}  # fmt: skip
"""Baselines share the seeds of feedback, so that a method and a baseline are compared on the same draws."""


def create(lab: Path, problems: Sequence[Problem], settings: Settings) -> Vault:
    """Make LAB/vault: copy the packs and draw the secrets."""
    folder = lab / "vault"
    folder.mkdir(mode=0o700)
    (folder / "outcomes").mkdir()
    for problem in problems:
        pack = shutil.copytree(problem.folder, folder / "packs" / problem.name)
        pack.chmod(0o700)  # an installed package may be read-only
        shutil.copyfile(problem.home / CARD, pack / CARD)
    _close(folder)
    seeds = {
        "feedback": settings.scoring.seeds,
        "record": settings.scoring.record_seeds,
        "transfer": settings.scoring.record_seeds,
    }
    secret = {
        "key": secrets.token_hex(32),
        "audit": secrets.token_hex(32),
        "purposes": {name: {"secret": secrets.token_hex(32), "seeds": count} for name, count in seeds.items()},
    }
    write_new(folder / "secret.json", json.dumps(secret).encode(), 0o600)
    return Vault(folder)


class Vault:
    """What the lab may know and nobody else. Opens each file when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._arrays = lru_cache(maxsize=32)(self._read_arrays)
        self._audit_tasks = lru_cache(maxsize=8)(lambda problem, task: load_audit(self.problems[problem], task))
        self._groups = lru_cache(maxsize=32)(lambda problem, task: self.problems[problem].inputs(task).groups)

    @cached_property
    def _secret(self) -> dict[str, Any]:
        path = self.folder / "secret.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: the vault's secrets cannot be read ({error}); the lab cannot score") from None
        return found

    @property
    def key(self) -> bytes:
        """The ledger's HMAC key."""
        return bytes.fromhex(self._secret["key"])

    @cached_property
    def problems(self) -> dict[str, Problem]:
        """The lab's problems by name, their packs checked against the checksums."""
        names = sorted(p.name for p in (self.folder / "packs").iterdir())
        return {name: load(name, folder=self.folder / "packs" / name) for name in names}

    def inputs(self, problem: str, task: str) -> bytes:
        """What may enter a sandbox, as the pack stores it."""
        return self.problems[problem].path(task, "inputs").read_bytes()

    def draws(self, problem: str, task: str, purpose: Purpose) -> tuple[Draw, ...]:
        """The lab's own draws: the same for all submissions of a purpose, unknown outside."""
        weak, is_test = self._arrays(problem, task, "weak"), self._arrays(problem, task, "is_test")
        return tuple(draw(weak, is_test, seed) for seed in self.seeds(problem, task, purpose))

    def seeds(self, problem: str, task: str, purpose: Purpose) -> tuple[int, ...]:
        part = self._secret["purposes"][SECRETS[purpose]]
        return tuple(_seed(part["secret"], f"{problem}/{task}/{i}") for i in range(part["seeds"]))

    def practice_order(self, problem: str, task: str) -> Ints:
        """Row numbers of the test items, in the order in which lists of predictions name them; the same for ever."""
        rng = np.random.default_rng(_seed(self._secret["key"], f"practice order of {problem}/{task}"))
        return rng.permutation(np.flatnonzero(self._arrays(problem, task, "is_test")))

    def practice_labels(self, problem: str, task: str) -> NDArray[np.int8]:
        """The hidden labels in that order."""
        labels: NDArray[np.int8] = self._arrays(problem, task, "labels")[self.practice_order(problem, task)]
        return labels

    def audit_task(self, problem: str, task: str) -> AuditTask:
        """A task with everything an audit may know of it, labels and all its teachers among that; kept once read."""
        return self._audit_tasks(problem, task)

    def rng(self, what: str) -> np.random.Generator:
        """The lab's own chance for an audit, the same whenever it is asked for `what` and unknown outside.

        Labs made before there were audits have no secret for it; theirs follows from the ledger's key.
        """
        kept = self._secret.get("audit")
        secret = kept or hmac.new(self.key, b"aarlab audits", hashlib.sha256).hexdigest()
        return np.random.default_rng(_seed(secret, what))

    def grade(
        self, problem: str, task: str, purpose: Purpose, outputs: Sequence[NDArray[np.floating]]
    ) -> NDArray[np.bool_]:
        """Right or wrong per seed and test item, (seeds, items), items in ascending row number."""
        return grader.grade(outputs, self.draws(problem, task, purpose), self._arrays(problem, task, "labels"))

    def save_outcomes(self, evaluation: int, problem: str, task: str, correct: NDArray[np.bool_]) -> str:
        """Keep the per-item outcomes of one evaluation; returns the file's SHA-256."""
        items = np.flatnonzero(self._arrays(problem, task, "is_test"))
        groups = self._groups(problem, task)[items]
        out = io.BytesIO()
        np.savez_compressed(out, correct=correct, items=items, groups=groups)
        path = self.outcome_path(evaluation)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)  # left by a server that was killed
        write_new(fresh, out.getvalue(), 0o600)
        os.replace(fresh, path)
        return hashlib.sha256(out.getvalue()).hexdigest()

    def outcome_path(self, evaluation: int) -> Path:
        return self.folder / "outcomes" / f"{evaluation}.npz"

    def outcomes(self, evaluation: int) -> NDArray[np.bool_]:
        """correct, bool (seeds, items), as saved."""
        with np.load(self.outcome_path(evaluation), allow_pickle=False) as z:
            correct: NDArray[np.bool_] = z["correct"]
            return correct

    def _read_arrays(self, problem: str, task: str, name: str) -> NDArray[Any]:
        part = "teachers" if name == "weak" else "labels"
        path = self.problems[problem].path(task, part)
        try:
            with np.load(path, allow_pickle=False) as z:
                found: NDArray[Any] = z[name]
                return found
        except (OSError, ValueError, KeyError) as error:
            raise PackError(f"{path}: {error}; the pack is corrupt, restore the lab folder from a copy") from None


def _close(folder: Path) -> None:
    """Take every right from others, also inside a folder that is closed to them already."""
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


def export_public(lab: Path, problem: Problem) -> None:
    """Make LAB/public: the open tasks with their labels, and card.json with what everybody may know of every task."""
    folder = lab / "public"
    folder.mkdir()
    for card in problem.of_role("open"):
        for part in ("inputs", "teachers", "labels"):
            path = problem.path(card.name, part)
            shutil.copyfile(path, folder / path.name)
    (folder / "card.json").write_text(json.dumps(public_card(problem), indent=1), "utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)


def public_card(problem: Problem) -> dict[str, Any]:
    """The published numbers of a problem and its tasks; nothing measured in a lab is in here."""
    return {
        "problem": problem.name,
        "title": problem.title,
        "brief": problem.brief,
        "directions": problem.directions,
        "tasks": [task_card(card) for card in problem.tasks.values()],
    }


def task_card(card: TaskCard) -> dict[str, Any]:
    return asdict(card)


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet, never readable by others even for a moment."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def _seed(secret: str, what: str) -> int:
    digest = hmac.new(bytes.fromhex(secret), what.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:7], "big")
