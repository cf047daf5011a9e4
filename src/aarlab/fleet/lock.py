"""One live supervisor per lab folder, and its process id for `stop`."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from aarlab.errors import LabBusy

FILE = "lab.lock"
PATIENCE = 0.3
"""Seconds: whoever looks whether a lab is in use (`holder`) holds its lock for a moment."""


class LabLock:
    """An flock on lab.lock: the kernel lets go of it however the process ends."""

    def __init__(self, lab: Path) -> None:
        self.path = lab / FILE

    def __enter__(self) -> LabLock:
        self._file = open(self.path, "a+")
        end = time.monotonic() + PATIENCE
        while not self._taken() and time.monotonic() < end:
            time.sleep(0.02)
        if not self._held:
            pid = holder(self.path.parent)
            self._file.close()
            raise LabBusy(
                f"{self.path.parent} is in use by process {pid}; watch with `aarlab status`, end with `aarlab stop`"
            )
        self._file.seek(0)
        self._file.truncate()
        self._file.write(str(os.getpid()))
        self._file.flush()
        return self

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._held = False
        else:
            self._held = True
        return self._held

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.close()


def holder(lab: Path) -> int | None:
    """The process id of the lab's live supervisor, or None."""
    path = lab / FILE
    try:
        with open(path, "r+") as file:
            text = file.read().strip()
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
    except FileNotFoundError:
        return None
    except OSError:
        return int(text) if text.isdigit() else None
