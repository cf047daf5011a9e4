"""An open lab folder: settings, store, vault, Ladder, and the notice board of what changed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from aarlab import settings as settings_file
from aarlab.audits.policy import Policy
from aarlab.errors import Infrastructure, InputError
from aarlab.problems.base import Problem, TaskCard
from aarlab.records import Phase
from aarlab.server.canaries import Canaries
from aarlab.store import Rows, Store
from aarlab.store.registry import Earlier, Registry, state_file
from aarlab.vault import practice
from aarlab.vault.feedback import Budget, Ladder, released_bits
from aarlab.vault.ledger import Ledger
from aarlab.vault.store import Vault

log = logging.getLogger("aarlab.server")

PHASES: tuple[Phase, ...] = ("research", "audit", "record", "transfer", "done")
LAB = "lab"
"""The name under which the lab itself submits the baselines."""

OPERATOR = "operator"
VIEWER = "viewer"
FLEET = "fleet"
"""The name under which the processes of language-model researchers keep accounts and transcripts."""


class Lab:
    """Everything of one lab that the endpoints and the scorer threads share."""

    def __init__(self, folder: Path, registry: Path | None = None) -> None:
        self.folder = folder
        self.settings = settings_file.read(folder / "lab.toml")
        if not (folder / "lab.db").is_file():
            raise InputError(f"{folder} has no lab.db; it is no lab folder, or its creation was cut short")
        self.store = Store(folder / "lab.db")
        self.vault = Vault(folder / "vault")
        self.ledger = Ledger(self.vault.key)
        self.incarnation = secrets.token_hex(8)
        self.research_ends: float | None = None  # on the monotonic clock; None until the supervisor says
        self.watchers: list[Callable[[str], None]] = []
        self._registry_path = registry or state_file()
        self._head_lock = threading.Lock()
        with self.store.read() as rows:
            self.id = str(rows.meta("lab")["id"])
            ladder = rows.meta("ladder")
        self._ladder = Ladder(float(ladder["step"]), int(ladder["start"]), int(ladder["start"]))

    @cached_property
    def problem(self) -> Problem:
        return self.vault.problems[self.settings.problem]

    @cached_property
    def feedback(self) -> TaskCard:
        return self.problem.of_role("feedback")[0]

    @cached_property
    def policy(self) -> Policy:
        """The channels that each track may use."""
        return Policy.of(self.problem.settings)

    @cached_property
    def canaries(self) -> Canaries:
        """The words nobody but the lab may know."""
        return Canaries.of(self.vault.folder)

    @cached_property
    def ranks(self) -> bool:
        """Whether method runs are isolated, so that scores count."""
        return self.settings.isolation.kind != "process"

    def now(self) -> float:
        return time.time()

    def seconds_left(self) -> float | None:
        """Seconds of research left, or None where no supervisor keeps the time."""
        return None if self.research_ends is None else round(max(0.0, self.research_ends - time.monotonic()), 1)

    def ladder(self, rows: Rows) -> Ladder:
        """The Ladder as the answers given so far have left it."""
        return self._ladder.resumed(rows.ladder_state()[1])

    def budget(self, rows: Rows) -> Budget:
        members = [r.name for r in rows.researchers() if r.role == "researcher" and r.status != "stopped"]
        return Budget(self.settings.budget.answers, tuple(members))

    def phase(self, rows: Rows) -> Phase:
        found: Phase = rows.meta("phase", "research")
        return found

    def target(self, rows: Rows) -> Phase:
        """The phase the operator asked for; the lab moves there as its work is done."""
        found: Phase = rows.meta("target", "research")
        return found

    # Method files

    def artifact(self, bundle_hash: str) -> Path:
        return self.folder / "artifacts" / f"{bundle_hash}.py"

    def keep_artifact(self, source: str) -> str:
        """Store a method file under its SHA-256; writing the same file twice is harmless."""
        data = source.encode()
        bundle_hash = hashlib.sha256(data).hexdigest()
        path = self.artifact(bundle_hash)
        if not path.exists():
            fresh = path.with_suffix(f".{secrets.token_hex(4)}.new")
            try:
                fresh.write_bytes(data)
                os.replace(fresh, path)
            except OSError as error:
                fresh.unlink(missing_ok=True)
                raise Infrastructure(f"{path.parent}: {error.strerror}; free space, then send it again") from None
        return bundle_hash

    def source(self, bundle_hash: str) -> str:
        """The method file, unless somebody changed it on disk."""
        path = self.artifact(bundle_hash)
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != bundle_hash:
            raise Infrastructure(f"{path} was changed after it was submitted; restore it from a copy")
        return data.decode()

    # After a commit

    def changed(self, topic: str) -> None:
        """Tell everybody who waits or caches: `scores`, `posts` or `people`."""
        if topic == "scores":
            self._keep_head()
        for watcher in self.watchers:
            watcher(topic)

    def _keep_head(self) -> None:
        """Remember the ledger's newest line outside the database, so that a cut-off end shows."""
        try:
            with self._head_lock, self.store.read() as rows:
                last = rows.last_line()
                if last is not None:
                    write_json(self.vault.folder / "ledger.head", {"number": last.number, "hash": last.hash})
        except (OSError, Infrastructure) as error:
            log.warning("the ledger's head could not be saved: %s", error)

    # The machine's count of answers

    @cached_property
    def _registry(self) -> Registry:
        return Registry(self._registry_path)

    def earlier(self) -> Earlier | None:
        """What other labs of this machine were told about these labels; None when the count cannot be read."""
        try:
            return self._registry.earlier(self.problem.data_hash, self.id)
        except (Infrastructure, OSError) as error:
            log.warning("the machine's count of answers cannot be read: %s", error)
            return None

    def report_answers(self) -> None:
        """Put this lab's totals into the machine's count."""
        with self.store.read() as rows:
            given, _ = rows.ladder_state()
            practised = rows.count_practice()
        bits = released_bits(given, self._ladder.rungs) + practice.released_bits(practised, self.feedback.test_items)
        given += practised
        try:
            self._registry.put(self.problem.data_hash, self.id, str(self.folder), given, bits)
        except (Infrastructure, OSError) as error:
            log.warning("the machine's count of answers cannot be written: %s", error)

    def close(self) -> None:
        self.store.close()
        if "_registry" in self.__dict__:
            self._registry.close()


def write_json(path: Path, value: object) -> None:
    """Replace a small file in one step."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(value), "utf-8")
    os.replace(fresh, path)
