"""The system-call filters, run by a small BPF interpreter (so both architectures are tested) and by the kernel."""

from __future__ import annotations

import errno
import os
import platform
import re
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.sandbox import seccomp
from aarlab.sandbox.seccomp import ALLOW, CALLS, ERRNO, KILL, MACHINES, METHOD_REFUSED, SANDBOX_REFUSED

BOTH = pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
REFUSE = ERRNO | errno.EPERM
PID = 4321
STRICT = {name: seccomp.method_filter(PID, name) for name in MACHINES}


def judge(program: bytes, audit: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would answer: the classic BPF machine on struct seccomp_data."""
    data = struct.pack("<IIQ6Q", number, audit, 0, *(a & (1 << 64) - 1 for a in (*arguments, *[0] * 6)[:6]))
    code = [struct.unpack("=HBBI", program[i : i + 8]) for i in range(0, len(program), 8)]
    accumulator = at = 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif operation == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[operation]
            at += if_true if holds else if_false


def ask(program: bytes, architecture: str, name: str, *arguments: int) -> int:
    on = MACHINES[architecture]
    number = CALLS[name][on.column]
    assert number is not None
    return judge(program, on.audit, number, arguments)


def known(names: tuple[str, ...], architecture: str) -> list[str]:
    return [n for n in names if CALLS[n][MACHINES[architecture].column] is not None]


@BOTH
def test_every_listed_call_is_refused_in_a_sandbox(architecture: str) -> None:
    """Each name of SANDBOX_REFUSED ends with EPERM, under both filters."""
    for program in (seccomp.sandbox_filter(architecture), seccomp.method_filter(PID, architecture)):
        for name in known(SANDBOX_REFUSED, architecture):
            assert ask(program, architecture, name) == REFUSE, name


@BOTH
def test_methods_start_no_programs_and_open_no_sockets(architecture: str) -> None:
    """Each name of METHOD_REFUSED is refused to a method, and the sandbox's own filter allows most of them."""
    strict, loose = seccomp.method_filter(PID, architecture), seccomp.sandbox_filter(architecture)
    for name in known(METHOD_REFUSED, architecture):
        assert ask(strict, architecture, name, 1) == REFUSE, name
        assert ask(loose, architecture, name, 1) == ALLOW, name


@BOTH
def test_other_architectures_are_killed(architecture: str) -> None:
    """A call of another architecture, or of x32, has other numbers: it must not be looked up in this table."""
    program = seccomp.sandbox_filter(architecture)
    assert judge(program, 0x40000003, 1) == KILL
    if architecture == "x86_64":
        assert judge(program, MACHINES[architecture].audit, 0x40000000 | 59) == KILL


@BOTH
def test_clone_makes_threads_but_no_namespaces(architecture: str) -> None:
    """clone3 looks missing, clone with any CLONE_NEW flag is refused, and a method may only make threads."""
    loose, strict = seccomp.sandbox_filter(architecture), seccomp.method_filter(PID, architecture)
    thread, fork = 0x3D0F00, 0x01200011
    assert ask(loose, architecture, "clone3") == ERRNO | errno.ENOSYS
    assert ask(loose, architecture, "clone", fork) == ALLOW
    for bit in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert ask(loose, architecture, "clone", fork | bit) == REFUSE
    assert ask(strict, architecture, "clone", thread) == ALLOW
    assert ask(strict, architecture, "clone", fork) == REFUSE
    assert ask(strict, architecture, "clone3") == ERRNO | errno.ENOSYS


@BOTH
def test_a_kept_descriptor_stays_open(architecture: str) -> None:
    """Whoever closes or replaces it, alone or in a range, is ended; every other descriptor may be closed."""
    program = seccomp.method_filter(PID, architecture, kept=4)
    assert [ask(program, architecture, "close", n) for n in (3, 4, 5)] == [ALLOW, KILL, ALLOW]
    assert [ask(program, architecture, "dup3", 9, n) for n in (3, 4, 5)] == [ALLOW, KILL, ALLOW]
    assert ask(program, architecture, "dup3", 4, 9) == ALLOW
    if architecture == "x86_64":
        assert [ask(program, architecture, "dup2", 9, n) for n in (3, 4, 5)] == [ALLOW, KILL, ALLOW]
    ranges = {(0, 3): ALLOW, (5, 9): ALLOW, (4, 4): KILL, (0, 4): KILL, (3, 0xFFFFFFFF): KILL, (4, 9): KILL}
    for (first, last), expected in ranges.items():
        assert ask(program, architecture, "close_range", first, last) == expected, (first, last)
    assert ask(STRICT[architecture], architecture, "close", 4) == ALLOW


@BOTH
def test_nobody_types_into_the_terminal(architecture: str) -> None:
    """TIOCSTI and TIOCLINUX are refused, other ioctls pass; high bits of the argument do not help."""
    for program in (seccomp.sandbox_filter(architecture), seccomp.method_filter(PID, architecture)):
        assert ask(program, architecture, "ioctl", 0, 0x5412) == REFUSE
        assert ask(program, architecture, "ioctl", 0, 0x5412 | 1 << 40) == REFUSE
        assert ask(program, architecture, "ioctl", 0, 0x541C) == REFUSE
        assert ask(program, architecture, "ioctl", 0, 0x5401) == ALLOW


@BOTH
def test_only_unix_and_internet_sockets_exist(architecture: str) -> None:
    """vsock reaches the machine's host past every namespace; netlink and packet sockets have no use."""
    program = seccomp.sandbox_filter(architecture)
    assert [ask(program, architecture, "socket", f) for f in (1, 2, 10)] == [ALLOW] * 3
    for family in (16, 17, 38, 40):
        assert ask(program, architecture, "socket", family) == ERRNO | errno.EAFNOSUPPORT


@BOTH
def test_a_method_signals_only_itself_and_never_by_sigkill(architecture: str) -> None:
    """So a method cannot stop its worker, and a killed method was killed by somebody else."""
    program = seccomp.method_filter(PID, architecture)
    assert ask(program, architecture, "kill", PID, 6) == ALLOW
    assert ask(program, architecture, "tgkill", PID, PID + 1, 6) == ALLOW
    for pid in (PID - 1, 0, -1, 1, -PID):
        assert ask(program, architecture, "kill", pid, 15) == REFUSE
        assert ask(program, architecture, "tgkill", pid, pid, 15) == REFUSE
    for number in (9, 19):
        assert ask(program, architecture, "kill", PID, number) == REFUSE
        assert ask(program, architecture, "tgkill", PID, PID, number) == REFUSE


@BOTH
def test_a_method_reads_limits_and_changes_none(architecture: str) -> None:
    """prlimit64 with a new limit is refused, whichever half of the pointer is set; without, it passes."""
    program = seccomp.method_filter(PID, architecture)
    assert ask(program, architecture, "prlimit64", 0, 7, 0, 0x7FFF0000) == ALLOW
    assert ask(program, architecture, "prlimit64", 0, 7, 0x7FFF0000, 0) == REFUSE
    assert ask(program, architecture, "prlimit64", 0, 7, 1 << 40, 0) == REFUSE


@BOTH
def test_a_method_takes_no_locks_and_sets_no_signal_owners(architecture: str) -> None:
    """fcntl duplicates descriptors and reads flags; locks on shared files would carry bits to other sandboxes."""
    program = seccomp.method_filter(PID, architecture)
    for command in (0, 1, 2, 3, 4, 1030):
        assert ask(program, architecture, "fcntl", 0, command) == ALLOW
    for command in (6, 7, 8, 10, 15, 37, 1024, 1026):  # locks, owners, signals, leases, notifications
        assert ask(program, architecture, "fcntl", 0, command) == REFUSE


@given(number=st.integers(0, 0x3FFFFFFF), arguments=st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_calls_outside_the_table_pass(number: int, arguments: list[int]) -> None:
    """The filters name what they refuse; everything else of the same architecture is allowed."""
    for architecture, on in MACHINES.items():
        if number not in {pair[on.column] for pair in CALLS.values()}:
            assert judge(STRICT[architecture], on.audit, number, tuple(arguments)) == ALLOW


@pytest.mark.parametrize(
    ("header", "column"),
    [("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", 0), ("/usr/include/asm-generic/unistd.h", 1)],
)
def test_numbers_agree_with_the_kernel_headers(header: str, column: int) -> None:
    """Where the kernel's headers are installed, every number they give is the number of the table."""
    if not Path(header).is_file():
        pytest.skip(f"{header} is not installed")
    text = Path(header).read_text()
    numbers = {m[1]: int(m[2]) for m in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    assert len(numbers) > 250
    for name, pair in CALLS.items():
        if name in numbers:
            assert pair[column] == numbers[name], name


def test_an_unknown_architecture_is_named() -> None:
    """There is no silent run without a filter."""
    with pytest.raises(OSError, match="riscv64"):
        seccomp.machine("riscv64")


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in MACHINES, reason="needs Linux and a table")
def test_the_kernel_takes_the_method_filter() -> None:
    """After `install` the kernel refuses fork, exec and sockets, and ordinary work goes on."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        found = []
        seccomp.install(seccomp.method_filter(os.getpid()))
        import socket

        for attempt in (os.fork, lambda: os.execv("/bin/true", ["true"]), socket.socket):
            try:
                attempt()
                found.append("done")
            except PermissionError:
                found.append("refused")
        os.write(writing, " ".join([*found, str(sum(range(10)))]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 100) == b"refused refused refused 45"
    os.close(reading)
    os.close(writing)
