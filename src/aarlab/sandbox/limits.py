"""Limits of a sandbox, and the ways to measure and hold them on a host with cgroup v2, with v1, or with neither."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
BLOCK = 512
LEAST_FILE = 4096  # bytes an empty file or folder is charged, so that files without content fill the quota too
DEEPEST = 64  # folders inside folders; deeper trees count as an attack on whoever measures them


@dataclass(frozen=True)
class Limits:
    """What one sandbox may use. 0 means no limit for `memory_mb`, `cpu_seconds` and `disk_mb`."""

    memory_mb: int  # all processes together
    cpu_seconds: float  # all processes together
    processes: int  # threads count
    file_mb: int  # largest single file; 0: nothing can be written
    disk_mb: int  # the workspace: blocks in use, each file and folder at least 4 kB
    open_files: int = 256
    tmp_mb: int = 64  # size of /tmp; it lives in memory
    var_tmp_mb: int = 0  # size of /var/tmp, which lives in memory, too; 0: nothing can be written there


class Cgroup:
    """One sandbox's control group: v2 with memory and cpu, or v1's memory, cpuacct and pids as far as they are ours."""

    _numbers = itertools.count()

    def __init__(self, folders: dict[str, Path], version: int) -> None:
        self.folders, self.version = folders, version

    @classmethod
    def create(cls, limits: Limits) -> Cgroup | None:
        """A new group below our own; None where the host lends no memory controller."""
        name = f"aarlab-{os.getpid()}-{next(cls._numbers)}"
        for version, parents in ((2, _parents_v2()), (1, _parents_v1())):
            folders = {kind: folder for kind, parent in parents.items() if (folder := _make(parent / name))}
            group = cls(folders, version)
            if "memory" in folders and group._limit(limits):
                return group
            group.remove()
        return None

    def _limit(self, limits: Limits) -> bool:
        """Write the limits; False if the memory limit could not be written."""
        memory, names = self.folders["memory"], ("memory.max", "memory.limit_in_bytes")
        if limits.memory_mb and not _write(memory / names[self.version == 1], str(limits.memory_mb << 20)):
            return False
        if self.version == 2:
            _write(memory / "memory.swap.max", "0")
            _write(memory / "memory.oom.group", "0")
        pids = self.folders.get("pids")
        if pids is not None:
            _write(pids / "pids.max", str(limits.processes + 4))  # + bwrap's two and the first program
        return True

    def add(self, pids: list[int]) -> bool:
        """Move processes in; what they fork later is in too. False if the memory controller refuses one."""
        refused = set()
        for kind, folder in self.folders.items():
            for pid in pids:
                if not _write(folder / "cgroup.procs", str(pid)):
                    refused.add(kind)
        return "memory" not in refused

    def memory_bytes(self) -> int | None:
        """Memory in use without the page cache of files that exist anyway."""
        folder = self.folders["memory"]
        total = _number(folder / ("memory.current" if self.version == 2 else "memory.usage_in_bytes"))
        if total is None:
            return None
        cache = _field(folder / "memory.stat", "inactive_file" if self.version == 2 else "total_inactive_file")
        return max(0, total - (cache or 0))

    def cpu_seconds(self) -> float | None:
        if self.version == 2:
            used = _field(self.folders["memory"] / "cpu.stat", "usage_usec")
            return None if used is None else used / 1e6
        folder = self.folders.get("cpuacct")
        used = None if folder is None else _number(folder / "cpuacct.usage")
        return None if used is None else used / 1e9

    def oom_kills(self) -> int | None:
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return _field(self.folders["memory"] / name, "oom_kill")

    def remove(self) -> None:
        """Remove the group; processes that are still dying are waited for, briefly."""
        for folder in self.folders.values():
            for _ in range(50):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.01)
                else:
                    break


def remove_stale_groups() -> None:
    """Remove the empty groups that processes of ours left when they were killed."""
    for parent in {*_parents_v2().values(), *_parents_v1().values()}:
        with contextlib.suppress(OSError):
            for folder in parent.glob("aarlab-*-*"):
                owner = folder.name.split("-")[1]
                if owner.isdigit() and not Path(f"/proc/{owner}").exists():
                    with contextlib.suppress(OSError):
                        folder.rmdir()


def _parents_v2() -> dict[str, Path]:
    """{"memory": folder, "pids": folder} below which a group with the memory controller can be made."""
    own = _own_group("")
    if own is None:
        return {}
    for parent in (own, own.parent):
        enabled = _read(parent / "cgroup.subtree_control").split()
        if "memory" in enabled and os.access(parent, os.W_OK):
            return {"memory": parent, **({"pids": parent} if "pids" in enabled else {})}
    return {}


def _parents_v1() -> dict[str, Path]:
    found = {kind: _own_group(kind) for kind in ("memory", "cpuacct", "pids")}
    return {kind: folder for kind, folder in found.items() if folder is not None}


def _own_group(controller: str) -> Path | None:
    """Our own group's folder in the hierarchy of a v1 controller ("" for v2)."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            for mount in _mounts(controller):
                folder = Path(mount) / path.lstrip("/")
                if folder.is_dir():
                    return folder
    return None


def _mounts(controller: str) -> list[str]:
    found = []
    for line in _read(Path("/proc/self/mounts")).splitlines():
        _, where, kind, options, *_ = line.split()
        if (kind == "cgroup2" and not controller) or (kind == "cgroup" and controller in options.split(",")):
            found.append(where)
    return found


def _make(folder: Path) -> Path | None:
    try:
        folder.mkdir()
    except OSError:
        return folder if folder.is_dir() else None  # v2: one folder serves several controllers
    return folder


def _write(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _field(path: Path, name: str) -> int | None:
    found = re.search(rf"^{name} (\d+)$", _read(path), re.MULTILINE)
    return int(found.group(1)) if found else None


def descendants(pid: int) -> list[int]:
    """`pid` and everything below it, parents first. Inside a pid namespace nothing can leave this tree."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):
                waiting += [int(c) for c in _read(Path(f"/proc/{one}/task/{thread}/children")).split()]
    return found


def signal_process(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def cpu_seconds(pids: list[int]) -> float:
    """CPU time of processes and of the children they have reaped."""
    return sum(sum(int(v) for v in fields[11:15]) for p in pids if (fields := _stat(p))) / TICKS


def memory_bytes(pids: list[int]) -> int:
    """Memory of processes, shared pages counted once where the kernel tells."""
    rough = sum(int(f[21]) for p in pids if (f := _stat(p))) * PAGE
    if rough < 64 << 20:
        return rough
    return min(rough, sum(_share(p) for p in pids))


def _share(pid: int) -> int:
    """A process's memory with each shared page divided among its users; its whole memory where that is closed to us."""
    found = re.search(r"^Pss:\s+(\d+) kB", _read(Path(f"/proc/{pid}/smaps_rollup")), re.MULTILINE)
    if found:
        return int(found.group(1)) << 10
    fields = _stat(pid)
    return int(fields[21]) * PAGE if fields else 0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; a process name may hold spaces and brackets."""
    text = _read(Path(f"/proc/{pid}/stat"))
    return text.rpartition(")")[2].split() if text else []


def disk_bytes(folder: Path, enough: int) -> int:
    """Disk a folder uses: blocks, each file and folder at least 4 kB, hard links once. Stops counting at `enough`.

    The tree belongs to whoever is measured: links are never followed, and a tree deeper than `DEEPEST` or closed to
    us counts as `enough`.
    """
    seen: set[int] = set()
    total = 0
    stack = [(str(folder), 0)]
    try:
        while stack:
            name, depth = stack.pop()
            if depth > DEEPEST:
                return enough
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), _scan(name) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        info = entry.stat(follow_symlinks=False)
                        if info.st_ino in seen:
                            continue
                        seen.add(info.st_ino)
                        total += max(info.st_blocks * BLOCK, LEAST_FILE)
                        if total >= enough:
                            return total
                        if stat.S_ISDIR(info.st_mode):
                            stack.append((f"{name}/{entry.name}", depth + 1))
    except OSError:
        return enough
    return total


@contextlib.contextmanager
def _scan(name: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """List one folder without following a link in its last component, whatever it was turned into meanwhile."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with os.scandir(descriptor) as entries:
            yield entries
    finally:
        os.close(descriptor)


def deleted_bytes(pids: list[int], device: int) -> int:
    """Disk that deleted files still use because a process holds them, open or mapped."""
    sizes: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    info = os.stat(f"/proc/{pid}/fd/{name}")
                    if info.st_nlink == 0 and info.st_dev == device and stat.S_ISREG(info.st_mode):
                        sizes[info.st_ino] = max(info.st_blocks * BLOCK, LEAST_FILE)
        wanted = f"{os.major(device):02x}:{os.minor(device):02x}"
        for line in _read(Path(f"/proc/{pid}/maps")).splitlines():
            if line.endswith("(deleted)"):
                span, _, _, where, inode, *_ = line.split()
                low, high = (int(v, 16) for v in span.split("-"))
                if where == wanted:
                    sizes[int(inode)] = max(sizes.get(int(inode), 0), high - low)
    return sum(sizes.values())
