"""System-call filters, assembled by hand so that nothing needs to be installed.

Two filters, for x86_64 and aarch64:

- `sandbox_filter()` holds for everything in a sandbox. It refuses what has no use there and has been a way out of
  sandboxes, or a way to keep things where no limit counts them.
- `method_filter(pid)` is put on top for the process that runs a method: no new programs or processes, no sockets,
  no signals to others, no locks or watches on shared files, and its trace stays open.

A refused call fails with EPERM, as if the user lacked a right, so that libraries that probe for a program go on
without it. Calls of another architecture kill the process. The module stands alone: it is read inside sandboxes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER_MODE = 4, 22, 38, 2

# BPF instructions: load a word of struct seccomp_data; conditional jumps; return
LOAD, AND, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCH, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

CLONE_THREAD = 0x00010000
NEW_NAMESPACE = 0x7E020000  # every CLONE_NEW* flag that fits clone
TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: type into the terminal of whoever looks
FAMILIES = (1, 2, 10)  # unix, IPv4, IPv6: the others (netlink, vsock, packet, ...) are not all cut off by a namespace
FCNTL = (0, 1, 2, 3, 4, 1030)  # duplicate and flags; no locks, leases, signals or notifications
SIGKILL, SIGSTOP = 9, 19

# name: (x86_64, aarch64); None where the architecture lacks the call
CALLS: dict[str, tuple[int | None, int | None]] = {
    "accept": (43, 202), "accept4": (288, 242), "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171),
    "bind": (49, 200), "bpf": (321, 280), "chroot": (161, 51), "clock_adjtime": (305, 266), "clock_settime": (227, 112),
    "clone": (56, 220), "clone3": (435, 435), "close": (3, 57), "close_range": (436, 436),
    "connect": (42, 203), "delete_module": (176, 106), "dup2": (33, None), "dup3": (292, 24), "execve": (59, 221),
    "execveat": (322, 281), "fanotify_init": (300, 262), "fcntl": (72, 25), "finit_module": (313, 273),
    "flock": (73, 32), "fork": (57, None), "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430),
    "fspick": (433, 433), "init_module": (175, 105), "inotify_init": (253, None), "inotify_init1": (294, 26),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioctl": (16, 29),
    "ioperm": (173, None), "iopl": (172, None), "ioprio_set": (251, 30), "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "kill": (62, 129), "listen": (50, 201), "lookup_dcookie": (212, 18),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "migrate_pages": (256, 238), "modify_ldt": (154, None),
    "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239),
    "mq_getsetattr": (245, 185), "mq_notify": (244, 184), "mq_open": (240, 180), "mq_timedreceive": (243, 183),
    "mq_timedsend": (242, 182), "mq_unlink": (241, 181), "msgctl": (71, 187), "msgget": (68, 186), "msgrcv": (70, 188),
    "msgsnd": (69, 189), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "open_tree_attr": (467, 467), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pivot_root": (155, 41), "prlimit64": (302, 261), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "ptrace": (101, 117), "quotactl": (179, 60), "quotactl_fd": (443, 443), "reboot": (169, 142),
    "request_key": (249, 218), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "sched_setaffinity": (203, 122), "sched_setattr": (314, 274), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "semctl": (66, 191), "semget": (64, 190), "semop": (65, 193),
    "semtimedop": (220, 192), "sendmmsg": (307, 269), "sendmsg": (46, 211), "sendto": (44, 206),
    "setdomainname": (171, 162),
    "sethostname": (170, 161), "setns": (308, 268), "setpgid": (109, 154), "setpriority": (141, 140),
    "setrlimit": (160, 164), "setsid": (112, 157), "setsockopt": (54, 208), "settimeofday": (164, 170),
    "shmat": (30, 196), "shmctl": (31, 195), "shutdown": (48, 210),
    "shmdt": (67, 197), "shmget": (29, 194), "socket": (41, 198), "socketpair": (53, 199), "swapoff": (168, 225),
    "swapon": (167, 224), "syslog": (103, 116), "tgkill": (234, 131), "timer_create": (222, 107), "tkill": (200, 130),
    "umount2": (166, 39), "unshare": (272, 97), "uselib": (134, None), "userfaultfd": (323, 282), "vfork": (58, None),
    "vhangup": (153, 58),
}  # fmt: skip

SANDBOX_REFUSED = (
    # other roots, mounts and namespaces
    "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "open_tree",
    "open_tree_attr",
    "move_mount", "mount_setattr", "unshare", "setns", "name_to_handle_at", "open_by_handle_at", "fanotify_init",
    # other processes' memory and files
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd", "kcmp",
    "move_pages", "migrate_pages",
    # wide kernel interfaces
    "bpf", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "modify_ldt",
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "lookup_dcookie", "uselib",
    # the machine
    "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "sethostname", "setdomainname",
    "vhangup",
    "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl", "ioperm",
    # storage that outlives a process or that no limit counts; files in flight over a socket are such storage
    "keyctl", "add_key", "request_key", "shmget", "shmat", "shmctl", "shmdt", "msgget", "msgsnd", "msgrcv", "msgctl",
    "semget", "semop", "semctl", "semtimedop", "mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify",
    "mq_getsetattr", "memfd_create", "memfd_secret", "sendmsg", "sendmmsg",
)  # fmt: skip

METHOD_REFUSED = (
    "execve", "execveat", "fork", "vfork",
    "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendto", "shutdown", "setsockopt",
    "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_send_signal", "timer_create",
    "setrlimit", "setpriority", "ioprio_set", "sched_setscheduler", "sched_setparam", "sched_setattr",
    "sched_setaffinity", "setpgid", "setsid",
    "flock", "inotify_init", "inotify_init1",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """What a filter needs to know of an architecture."""

    audit: int
    column: int  # in CALLS
    x32: bool  # calls with bit 30 set are another ABI


MACHINES = {"x86_64": Machine(0xC000003E, 0, True), "aarch64": Machine(0xC00000B7, 1, False)}


def machine(name: str | None = None) -> Machine:
    """Raises OSError for an architecture without a table."""
    name = name or platform.machine()
    if name not in MACHINES:
        raise OSError(errno.ENOSYS, f"no system-call table for {name}; filters exist for {', '.join(MACHINES)}")
    return MACHINES[name]


class Filter:
    """A BPF program under construction. Every rule starts with the call's number in the accumulator."""

    def __init__(self, on: Machine) -> None:
        self.on = on
        self.code = [
            _op(LOAD, ARCH), _op(EQUAL, on.audit, 1, 0), _op(RETURN, KILL), _op(LOAD, NUMBER),
        ]  # fmt: skip
        if on.x32:
            self.code += [_op(AT_LEAST, 0x40000000, 0, 1), _op(RETURN, KILL)]

    def refuse(self, name: str, error: int = errno.EPERM) -> None:
        """The call always fails with `error`."""
        self._rule(name, [_op(RETURN, ERRNO | error)])

    def refuse_bits(self, name: str, argument: int, bits: int) -> None:
        """The call fails if any of `bits` is set in the argument."""
        self._rule(
            name, [_arg(argument), _op(ANY_BIT, bits, 1, 0), _op(RETURN, ALLOW), _op(RETURN, ERRNO | errno.EPERM)]
        )

    def need_bits(self, name: str, argument: int, bits: int) -> None:
        """The call fails unless any of `bits` is set in the argument."""
        self._rule(
            name, [_arg(argument), _op(ANY_BIT, bits, 0, 1), _op(RETURN, ALLOW), _op(RETURN, ERRNO | errno.EPERM)]
        )

    def refuse_values(self, name: str, argument: int, values: tuple[int, ...]) -> None:
        """The call fails if the argument's low word is one of `values`."""
        body = [_arg(argument)]
        for value in values:
            body += [_op(EQUAL, value, 0, 1), _op(RETURN, ERRNO | errno.EPERM)]
        self._rule(name, [*body, _op(RETURN, ALLOW)])

    def only_values(self, name: str, argument: int, values: tuple[int, ...], error: int = errno.EPERM) -> None:
        """The call fails unless the argument's low word is one of `values`."""
        body = [_arg(argument)]
        for value in values:
            body += [_op(EQUAL, value, 0, 1), _op(RETURN, ALLOW)]
        self._rule(name, [*body, _op(RETURN, ERRNO | error)])

    def only_reading_limits(self) -> None:
        """prlimit64 may read limits: its third argument, the new limit, must be null."""
        refused = _op(RETURN, ERRNO | errno.EPERM)
        high = _op(LOAD, ARGUMENTS + 8 * 2 + 4)
        body = [_arg(2), _op(EQUAL, 0, 1, 0), refused, high, _op(EQUAL, 0, 1, 0), refused, _op(RETURN, ALLOW)]
        self._rule("prlimit64", body)

    def only_own_signals(self, name: str, signal_argument: int, pid: int) -> None:
        """A process may signal itself, and not by SIGKILL: a killed process must have been killed by somebody else."""
        refused = _op(RETURN, ERRNO | errno.EPERM)
        body = [_arg(0), _op(EQUAL, pid, 1, 0), refused, _arg(signal_argument)]
        for number in (SIGKILL, SIGSTOP):
            body += [_op(EQUAL, number, 0, 1), refused]
        self._rule(name, [*body, _op(RETURN, ALLOW)])

    def _rule(self, name: str, body: list[bytes]) -> None:
        number = CALLS[name][self.on.column]
        if number is not None:
            self.code += [_op(EQUAL, number, 0, len(body)), *body]

    def keep_open(self, descriptor: int) -> None:
        """A process that closes or replaces the descriptor ends (SIGSYS)."""
        end = _op(RETURN, KILL)
        for name, argument in (("close", 0), ("dup2", 1), ("dup3", 1)):
            self._rule(name, [_arg(argument), _op(EQUAL, descriptor, 0, 1), end, _op(RETURN, ALLOW)])
        outside = _op(RETURN, ALLOW)
        body = [_arg(0), _op(AT_LEAST, descriptor + 1, 0, 1), outside, _arg(1), _op(AT_LEAST, descriptor, 0, 1)]
        self._rule("close_range", [*body, end, outside])

    def program(self) -> bytes:
        """The finished program, as `bwrap --seccomp` and the kernel take it."""
        return b"".join([*self.code, _op(RETURN, ALLOW)])


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _arg(number: int) -> bytes:
    return _op(LOAD, ARGUMENTS + 8 * number)  # the low word: both architectures are little-endian


def sandbox_filter(architecture: str | None = None) -> bytes:
    """The filter of every sandbox."""
    made = Filter(machine(architecture))
    for name in SANDBOX_REFUSED:
        made.refuse(name)
    made.refuse("clone3", errno.ENOSYS)  # its flags lie in memory a filter cannot read; libc falls back to clone
    made.refuse_bits("clone", 0, NEW_NAMESPACE)
    made.refuse_values("ioctl", 1, TERMINAL_INPUT)
    made.only_values("socket", 0, FAMILIES, errno.EAFNOSUPPORT)
    return made.program()


def method_filter(pid: int, architecture: str | None = None, kept: int | None = None) -> bytes:
    """The filter of the process `pid` that runs a method; complete in itself, for hosts without a sandbox filter.

    kept: a descriptor that the process cannot close or replace and live.
    """
    made = Filter(machine(architecture))
    for name in dict.fromkeys(SANDBOX_REFUSED + METHOD_REFUSED):
        made.refuse(name)
    made.refuse("clone3", errno.ENOSYS)
    made.need_bits("clone", 0, CLONE_THREAD)
    made.refuse_values("ioctl", 1, TERMINAL_INPUT)
    made.only_values("fcntl", 1, FCNTL)
    made.only_reading_limits()
    made.only_own_signals("kill", 1, pid)
    made.only_own_signals("tgkill", 2, pid)
    if kept is not None:
        made.keep_open(kept)
    return made.program()


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def prctl(option: int, value: int, more: object = 0) -> None:
    """Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), more, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def install(program: bytes) -> None:
    """Put a filter on the calling process, for good. Call it before any thread exists. Raises OSError."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    code = _Program(len(program) // 8, program)
    prctl(PR_SET_SECCOMP, FILTER_MODE, ctypes.byref(code))
