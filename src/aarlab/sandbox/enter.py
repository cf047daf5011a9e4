"""The first program inside every sandbox: take the limits, become the unprivileged user, run the program.

Run as `python -I -S enter.py FD` with one end of a socket pair. It reports `ready`, waits for its orders (JSON up to
end of file) and replaces itself. If the lab dies before it has given orders, the socket closes and nothing runs.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from typing import Any

LIMITS = {
    "cpu": resource.RLIMIT_CPU,
    "file": resource.RLIMIT_FSIZE,
    "files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "data": resource.RLIMIT_DATA,
    "core": resource.RLIMIT_CORE,
}
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, CAPABILITY_VERSION_3, SIGKILL = 1, 24, 0x20080522, 9


def main(descriptor: int) -> None:
    os.write(descriptor, b"ready\n")
    orders = _read(descriptor)
    os.close(descriptor)
    if not orders:
        sys.exit(1)
    obey(json.loads(orders))


def obey(orders: dict[str, Any]) -> None:
    """Carry the orders out; does not return."""
    for name, value in orders["limits"].items():
        lower(LIMITS[name], int(value))
    if hasattr(resource, "RLIMIT_MSGQUEUE"):
        lower(resource.RLIMIT_MSGQUEUE, 0)
    if orders.get("nice"):
        os.nice(orders["nice"])
    if orders.get("uid") is not None:
        become(orders["uid"])
    if orders.get("parent") is not None:
        die_with(orders["parent"])
    os.umask(0o022)
    os.chdir(orders["folder"])
    try:
        os.execvpe(orders["argv"][0], orders["argv"], orders["env"])
    except OSError as error:
        sys.stderr.write(f"{orders['argv'][0]}: {error.strerror}\n")
        sys.exit(127)


def lower(which: int, value: int) -> None:
    """Set a limit, or keep the one the machine already has where that is lower."""
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def become(uid: int) -> None:
    """Leave root for good: groups, user, and every capability, the bounding and inheritable ones too."""
    libc = ctypes.CDLL(None)
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError("capset failed")


def die_with(parent: int) -> None:
    """Be killed when the lab's process ends (only where no namespace does that)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def _read(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
    return b"".join(parts)


if __name__ == "__main__":
    main(int(sys.argv[1]))
