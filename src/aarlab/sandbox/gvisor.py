"""Sandboxes by gVisor inside bubblewrap: the same view and walls, and a kernel of their own.

bwrap sets up namespaces and files as for isolation `bwrap`; in them runs gVisor's `runsc`, and what is untrusted runs
on runsc's kernel, a program in user space. The host's kernel is then asked by runsc alone, by fewer calls and under
runsc's own filter. Everything runsc keeps (its bundle and its state) lies in memory inside bwrap's namespaces, so that
it ends with them, however the end comes. docs/sandboxes.md says what this costs and what is different.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from typing import Any

from aarlab.errors import SandboxUnavailable
from aarlab.sandbox import bwrap
from aarlab.sandbox.base import SandboxSpec
from aarlab.sandbox.bwrap import FIRST_UID, BwrapSandbox, mounts_as_root
from aarlab.sandbox.library import PACKAGE, PYTHON, environment
from aarlab.sandbox.limits import Limits

STATE = "/dev/gvisor"  # outside; inside, gVisor's own /dev covers it
PROGRAM = f"{STATE}/runsc"
FILTERED = "/run/filtered.py"
KEPT = ("/opt/", "/usr/", "/lib")  # interpreter and packages: nobody changes them while a sandbox runs
OWN_THREADS, THREADS_EACH = 256, 32
OWN_MEMORY_MB = 128  # runsc's two processes: its kernel and the one that opens files for it
RLIMITS = {
    "cpu": "RLIMIT_CPU", "file": "RLIMIT_FSIZE", "files": "RLIMIT_NOFILE", "processes": "RLIMIT_NPROC",
    "data": "RLIMIT_DATA", "core": "RLIMIT_CORE",
}  # fmt: skip
WANTED = {
    "network": "none",  # beside bwrap's namespace without one
    "ignore-cgroups": "true",  # the lab makes its own
    "host-uds": "open",  # the lab's socket; nothing else of the kind is in the view
    "overlay2": "none",  # newer versions would otherwise keep what is written at /work
    "directfs": "false",  # files are opened by a process that the guest's kernel cannot become
}


class GvisorSandbox(BwrapSandbox):
    """Isolation by gVisor inside bubblewrap."""

    name = "gvisor"
    isolated = True
    own_processes = 6
    """bwrap's two, `runsc run`, the kernel, the file server, and the tracer's own."""
    holds_log = False

    def check(self) -> None:
        """Start a sandbox once and see that Python runs in it, on gVisor's kernel. Raises SandboxUnavailable."""
        binary()
        super().check()

    def host_limits(self, limits: Limits) -> Limits:
        """Room for runsc itself, and for its threads: each of them may enter each process of the guest."""
        memory = limits.memory_mb + OWN_MEMORY_MB if limits.memory_mb else 0
        return replace(limits, memory_mb=memory, processes=OWN_THREADS + THREADS_EACH * limits.processes)

    def arguments(self, spec: SandboxSpec, files: contextlib.ExitStack, terminal: bool) -> tuple[list[str], list[int]]:
        """bwrap's view without its filter; in it runsc, its bundle, and a place for its state."""
        out, descriptors = bwrap.view(spec, files, terminal)
        descriptors.append(bwrap.memory_file(json.dumps(configuration(spec, terminal)).encode(), files))
        if not _is_root():
            for name in ("--uid", "--gid"):  # the namespace's root, so that runsc may mount in it
                out[out.index(name) + 1] = "0"
        more = ["--cap-add", "ALL", "--perms", "0700", "--tmpfs", STATE, "--ro-bind", binary(), PROGRAM]
        more += ["--perms", "0400", "--file", str(descriptors[-1]), f"{STATE}/bundle/config.json"]
        more += ["--ro-bind", str(PACKAGE / "sandbox" / "filtered.py"), FILTERED]
        last = out.index("/dev", out.index("--dev") + 2) - 1  # at the very end /dev and / become read-only
        return [*out[:last], *more, *out[last:]], descriptors

    def orders(self, spec: SandboxSpec, nice: int, held: bool) -> dict[str, Any]:
        """Become runsc, with the rights it needs to build its own walls; what it runs gets none of them."""
        rootless = [] if _is_root() else ["--rootless"]
        argv = [PROGRAM, *flags(), *rootless, "--root", f"{STATE}/state", "run", "--bundle", f"{STATE}/bundle", "box"]
        return {
            "limits": {"core": 0}, "nice": nice, "uid": None, "folder": "/", "argv": argv,
            "env": {"PATH": "/usr/bin:/bin"},
        }  # fmt: skip


def configuration(spec: SandboxSpec, terminal: bool) -> dict[str, Any]:
    """The bundle's config.json: the program, its user, limits and mounts, as the OCI runtime specification has it."""
    uid = FIRST_UID + spec.uid_index if _is_root() else 0
    kinds = ("bounding", "effective", "inheritable", "permitted", "ambient")
    variables = {**environment(spec.workspace is not None), **spec.env}
    # a cgroup may refuse us, so that each process is limited in any case
    wanted = {RLIMITS[k]: v for k, v in bwrap.rlimits(spec.limits, held=False).items()} | {"RLIMIT_MSGQUEUE": 0}
    return {
        "ociVersion": "1.0.0",
        "hostname": "sandbox",
        "root": {"path": "/", "readonly": True},
        "process": {
            "terminal": terminal and os.isatty(0),
            "user": {"uid": uid, "gid": uid},
            "args": [PYTHON, "-I", "-S", FILTERED, *spec.argv],
            "env": [f"{name}={value}" for name, value in variables.items()],
            "cwd": "/work" if spec.workspace is not None else "/",
            "noNewPrivileges": True,
            "capabilities": {kind: [] for kind in kinds},
            "rlimits": [{"type": name, "hard": value, "soft": value} for name, value in wanted.items()],
        },
        "mounts": _mounts(spec),
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
    }


def _mounts(spec: SandboxSpec) -> list[dict[str, Any]]:
    """What is not served from the root: gVisor's own file systems, and folders that the host changes meanwhile.

    The root is cached, since nothing in it changes; a mount is looked up again at every use.
    Binds are recursive: what covers a hidden folder is a mount of its own, and must come along.
    """
    own = (("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "tmpfs"))
    out: list[dict[str, Any]] = [{"destination": place, "type": kind, "source": kind} for place, kind in own]
    if spec.workspace is not None:
        size = f"size={max(1, spec.limits.tmp_mb)}m"
        for folder in ("/tmp", "/dev/shm"):
            out.append({"destination": folder, "type": "tmpfs", "source": "tmpfs", "options": [size, "mode=1777"]})
        if spec.limits.var_tmp_mb:
            size = f"size={spec.limits.var_tmp_mb}m"
            out.append({"destination": "/var/tmp", "type": "tmpfs", "source": "tmpfs", "options": [size, "mode=1777"]})
        out.append({"destination": "/work", "type": "bind", "source": "/work", "options": ["rbind", "rw"]})
    else:  # where nothing is mounted gVisor would mount a writable one of its own accord
        out.append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "mode=0555"]})
    changing = [inside for host, inside in spec.read_only if host.is_dir() and not inside.startswith(KEPT)]
    sockets = [f"/run/sockets/{number}" for number, _ in enumerate(spec.sockets)]
    for folder in [*changing, *sockets]:
        out.append({"destination": folder, "type": "bind", "source": folder, "options": ["rbind", "ro"]})
    return out


def _is_root() -> bool:
    return os.geteuid() == 0 and mounts_as_root()


@cache
def binary() -> str:
    """The host's runsc. Raises SandboxUnavailable."""
    found = shutil.which("runsc", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise SandboxUnavailable(
            "no runsc here, which isolation `gvisor` needs: on Debian and Ubuntu `apt-get install runsc`, "
            "else https://gvisor.dev/docs/user_guide/install; or use isolation bwrap"
        )
    return os.path.realpath(found)


@cache
def flags() -> tuple[str, ...]:
    """`WANTED` as far as this version has it. Raises SandboxUnavailable for a version without what is indispensable."""
    said = subprocess.run([binary(), "flags"], capture_output=True, text=True, timeout=20, check=False)
    known = set(re.findall(r"^\s*-([a-z0-9-]+)", said.stdout + said.stderr, re.MULTILINE))
    missing = {"network", "ignore-cgroups", "host-uds"} - known
    if missing:
        raise SandboxUnavailable(
            f"{binary()} is too old for isolation `gvisor`: it lacks {', '.join(sorted(missing))}; "
            "versions from December 2022 on have it"
        )
    return tuple(f"--{name}={value}" for name, value in WANTED.items() if name in known)
