"""All labs that the dashboard shows: the folders below one folder, opened when somebody looks at them."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from aarlab.dashboard.lab import Snapshot, WatchedLab, check_free
from aarlab.errors import AarlabError, UnknownName

log = logging.getLogger("aarlab.dashboard")

LOOK_SECONDS = 1.0
WORK_SECONDS = 0.5  # of each look, for what is dear
IDLE_SECONDS = 900.0  # after which a lab nobody looks at is closed
PATIENCE = 2.0  # seconds for which a page waits for whoever keeps a database to himself


class Labs:
    """The lab folders directly below `root`. changed: called with a lab's name when its snapshot is newer.

    `start` begins the thread that reads changed labs again; without it a lab is read when a page asks for it.
    """

    def __init__(self, root: Path, changed: Callable[[str], None] = lambda name: None) -> None:
        self.root, self.changed = root.resolve(), changed
        self._open: dict[str, WatchedLab] = {}
        self._asked: dict[str, float] = {}
        self._opening: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def names(self) -> list[str]:
        """Every lab, newest first."""
        try:
            folders = [p for p in self.root.iterdir() if not p.is_symlink() and (p / "lab.toml").is_file()]
        except OSError:
            return []
        return [p.name for p in sorted(folders, key=lambda p: (p / "lab.toml").stat().st_mtime, reverse=True)]

    def folder(self, name: str) -> Path:
        """Raises UnknownName where there is no such lab."""
        path = self.root / name
        if "/" in name or name.startswith(".") or path.is_symlink() or not (path / "lab.toml").is_file():
            raise UnknownName(
                f"there is no lab {name!r} in {self.root}; look at the list of all labs, or start one with `aarlab run`"
            )
        return path

    def get(self, name: str) -> WatchedLab:
        """The lab of that name.

        Raises UnknownName, InputError where it is not whole (yet), and Infrastructure where its database is locked.
        """
        folder = self.folder(name)
        self._asked[name] = time.monotonic()
        if name not in self._open:
            check_free(folder / "lab.db", PATIENCE)
        with self._lock:
            opening = self._opening.setdefault(name, threading.Lock())
        with opening:  # one for each lab: what takes long to open keeps nobody from the others
            found = self._open.get(name)
            if found is None:
                found = WatchedLab(folder, lambda: self.changed(name))
                with self._lock:
                    self._open[name] = found
            return found

    def seen(self, name: str) -> Snapshot | None:
        """What was last read of a lab that is open; None for others, which stay closed."""
        with self._lock:
            found = self._open.get(name)
        return None if found is None else found.seen

    def opened(self) -> dict[str, WatchedLab]:
        """The labs that are open; asking for them keeps none open for longer."""
        with self._lock:
            return dict(self._open)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="labs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join(10)
        for lab in self._open.values():
            lab.close()
        self._open.clear()

    def _run(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            for name, lab in self.opened().items():
                try:
                    self._tend(name, lab)
                except AarlabError as error:
                    log.warning("%s cannot be read: %s", name, error)
                except Exception:
                    log.exception("%s cannot be read", name)

    def _tend(self, name: str, lab: WatchedLab) -> None:
        if time.monotonic() - self._asked.get(name, 0.0) > IDLE_SECONDS:
            with self._lock:
                self._open.pop(name, None)
            lab.close()
            return
        lab.look()
        end = time.monotonic() + WORK_SECONDS
        while lab.work() and time.monotonic() < end:
            pass
        with contextlib.suppress(AarlabError):
            lab.look()

    def keep(self, name: str) -> None:
        """Somebody still looks at it."""
        self._asked[name] = time.monotonic()
