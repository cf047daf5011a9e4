"""What happens to a workspace that outgrew its disk: its newest large files go, until it fits again.

Only for a folder on which nothing of its owner runs any more: then nobody can swap what is deleted for a link.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from pathlib import Path

from aarlab.sandbox.limits import BLOCK, DEEPEST, LEAST_FILE, disk_bytes

UNKNOWN = 1 << 62
SPARE = 0.9  # share of the allowance that stays filled
NAMED = 5


def trim(folder: Path, allowed: int) -> str:
    """Delete until `folder` uses at most `SPARE` of `allowed` bytes; what went, as the end of a sentence.

    The newest files go first, by the time of their last change, which cannot be set at will; a file of less than a
    hundredth of the allowance only when no larger ones are left (notes are small). What is too deep to be measured goes
    before everything else, and where deleting files does not help, whole entries at the top.
    """
    goal = int(allowed * SPARE)
    if disk_bytes(folder, goal + 1) <= goal:
        return ""
    gone = [_remove(entry) for entry in _newest(folder) if _used(entry) >= UNKNOWN]
    used = disk_bytes(folder, UNKNOWN)
    small = allowed // 100
    for path, size, _ in sorted(_files(folder), key=lambda f: (f[1] < small, -f[2])):
        if not goal < used < UNKNOWN:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
            used -= size
            gone.append(os.path.relpath(path, folder))
    for entry in _newest(folder):
        if disk_bytes(folder, goal + 1) <= goal:
            break
        gone.append(_remove(entry))
    named = ", ".join(_printable(name) for name in gone[:NAMED])
    more = f" and {len(gone) - NAMED} more" if len(gone) > NAMED else ""
    return f"; deleted, newest first, to make room: {named}{more}" if gone else ""


def _printable(name: str) -> str:
    """A name as one line of text, whatever its owner put into it."""
    return "".join(c if c.isprintable() else "?" for c in name)[:200]


def _newest(folder: Path) -> list[Path]:
    """What lies in the folder itself, newest first."""
    return sorted(folder.iterdir(), key=lambda p: -p.lstat().st_ctime)


def _used(entry: Path) -> int:
    """Disk below it; `UNKNOWN` where nobody can measure it."""
    return disk_bytes(entry, UNKNOWN) if entry.is_dir() and not entry.is_symlink() else 0


def _remove(entry: Path) -> str:
    """Delete it whole, however deep it is; its name."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", str(entry)], capture_output=True, check=False)
    return entry.name


def _files(folder: Path) -> list[tuple[str, int, float]]:
    """(path, bytes on disk, time of the last change) of every file down to `DEEPEST`; links are not followed."""
    found = []
    for where, folders, names in os.walk(folder, followlinks=False):
        if os.path.relpath(where, folder).count("/") >= DEEPEST:
            folders.clear()
        for name in names:
            path = os.path.join(where, name)
            with contextlib.suppress(OSError):
                info = os.lstat(path)
                if stat.S_ISREG(info.st_mode):
                    found.append((path, max(info.st_blocks * BLOCK, LEAST_FILE), info.st_ctime))
    return found
