"""A sandbox that lives long: what its commands do, what it survives, and what it gives an enemy inside."""

from __future__ import annotations

import io
import json
import os
import signal
import statistics
import struct
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aarlab.errors import InputError, SandboxGone, SandboxUnavailable
from aarlab.sandbox import open_sandbox, session
from aarlab.sandbox.attendant import Tail
from aarlab.sandbox.base import Limits, SandboxSpec
from aarlab.sandbox.library import PYTHON, library_binds
from aarlab.sandbox.session import Done, Line, Session, TooLarge
from aarlab.sandbox.trim import trim
from sandbox_here import WHY_NO_BWRAP

MB = 1 << 20
SMALL = Limits(memory_mb=256, cpu_seconds=0, processes=24, file_mb=16, disk_mb=24, tmp_mb=8, var_tmp_mb=8)
CANARY = f"canary-{uuid.uuid4().hex}"


def describe(workspace: Path, **changes: Any) -> SandboxSpec:
    fields: dict[str, Any] = {
        "argv": (), "workspace": workspace, "read_only": library_binds(), "sockets": (), "env": {}, "limits": SMALL,
        "uid_index": 41,
    }  # fmt: skip
    return SandboxSpec(**{**fields, **changes})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """One sandbox for the tests that leave it as it was."""
    if WHY_NO_BWRAP:
        pytest.skip(f"bwrap cannot work here: {WHY_NO_BWRAP}")
    os.environ["ANTHROPIC_API_KEY"] = CANARY  # what a host's process has and a sandbox must not get
    with Session(describe(tmp_path_factory.mktemp("shared") / "work")) as one:
        yield one
    del os.environ["ANTHROPIC_API_KEY"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Sandboxes of the test's own, ended with it."""
    made: list[Session] = []

    def start(kind: str = "bwrap", **changes: Any) -> Session:
        made.append(Session(describe(tmp_path / "work", **changes), kind))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.close()


@contextmanager
def asleep(one: Session) -> Iterator[Future[Done]]:
    """A command that sleeps in a sandbox, and whoever waits for its end."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.exec, ["sleep", "100"])
        while not one.exec(["pgrep", "sleep"]).out:
            time.sleep(0.01)
        yield waiting


def shell(text: str) -> list[str]:
    return ["sh", "-c", text]


def python(text: str) -> list[str]:
    return [PYTHON, "-c", text]


# what commands get


def test_streams_code_folder_and_input(shared: Session) -> None:
    done = shared.exec(shell("pwd; cat; echo wrong >&2; exit 3"), stdin=b"given \0 bytes\n")
    assert (done.code, done.out, done.err) == (3, b"/work\ngiven \0 bytes\n", b"wrong\n")
    assert not done.timed_out


def test_variables_are_added_for_one_call_only(shared: Session) -> None:
    show = shell('echo "$A $HOME"')
    assert shared.exec(show, env={"A": "1 $B"}).out == b"1 $B /work\n"
    assert shared.exec(show).out == b" /work\n"


def test_working_folder_relative_absolute_and_missing(shared: Session) -> None:
    shared.exec(["mkdir", "-p", "below"])
    assert shared.exec(["pwd"], cwd="below").out == b"/work/below\n"
    assert shared.exec(["pwd"], cwd="/usr").out == b"/usr\n"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        shared.exec(["pwd"], cwd="nowhere")


def test_a_missing_program_ends_as_in_a_shell_and_a_forbidden_one_is_an_error(shared: Session) -> None:
    done = shared.exec(["no-such-program"])
    assert (done.code, done.err) == (127, b"no-such-program: not found\n")
    with pytest.raises(PermissionError, match="/etc/passwd"):
        shared.exec(["/etc/passwd"])


@pytest.mark.parametrize("argv", [[], ["echo", "a\0b"], ["echo", 7]])
def test_what_is_no_command_is_refused(shared: Session, argv: list[Any]) -> None:
    with pytest.raises(InputError, match="no command"):
        shared.exec(argv)


def test_a_signal_is_128_and_its_number(shared: Session) -> None:
    assert shared.exec(shell("kill -TERM $$")).code == 143


def test_timeout_kills_the_whole_tree_even_what_left_the_group(shared: Session) -> None:
    mark = f"1{time.time_ns() % 10**6}"
    started = time.monotonic()
    done = shared.exec(shell(f"echo so far; sleep {mark} & setsid sleep {mark} & sleep {mark}; echo end"), timeout=0.5)
    assert done.timed_out
    assert done.out == b"so far\n"
    assert time.monotonic() - started < 10
    for _ in range(100):
        if mark.encode() not in shared.exec(["ps", "-eo", "args"]).out:
            break
        time.sleep(0.02)
    else:
        pytest.fail("a process of the command outlived its timeout")


def test_what_runs_in_the_background_neither_holds_the_call_nor_dies_with_it(shared: Session) -> None:
    """A server started with & goes on, and may go on talking to a stdout that nobody reads any more."""
    started = time.monotonic()
    talk = "for i in 1 2 3 4 5 6 7 8; do sleep 0.5; echo word; done; touch talked"
    done = shared.exec(shell(f"({talk}) & echo at once"), timeout=30)
    assert done.out == b"at once\n"
    assert time.monotonic() - started < 3.5
    assert shared.exec(shell("until [ -e talked ]; do sleep 0.05; done"), timeout=20).code == 0


def test_of_much_output_the_end_is_kept(shared: Session) -> None:
    program = python("import sys; sys.stdout.write('x' * 10_000_000 + 'the end'); sys.stderr.write('y' * 3000)")
    done = shared.exec(program, limit=1000, timeout=60)
    assert done.out == b"x" * 993 + b"the end"
    assert done.out_total == 10_000_007
    assert done.err == b"y" * 1000
    assert done.err_total == 3000
    whole = shared.exec(program, timeout=60)
    assert len(whole.out) == 10_000_007
    assert len(whole.err) == 3000


def test_a_tail_keeps_exactly_the_last_bytes() -> None:
    tail = Tail(5)
    for piece in (b"abc", b"", b"defg", b"h"):
        tail.add(piece)
    assert tail.content() == b"defgh"
    assert tail.total == 8


def test_a_command_that_reads_none_of_its_input(shared: Session) -> None:
    assert shared.exec(["true"], stdin=b"x" * (4 * MB)).code == 0
    done = shared.exec(["wc", "-c"], stdin=b"x" * (4 * MB))
    assert done.out.split() == [str(4 * MB).encode()]


def test_twenty_calls_at_once(shared: Session) -> None:
    """Each waits for the others: they cannot have run one after the other."""
    meet = "mkdir -p met; touch met/$0; until [ $(ls met | wc -l) -ge 20 ]; do sleep 0.05; done; echo $0"

    bigger = replace(shared.spec, limits=replace(SMALL, processes=128))
    with Session(bigger) as wide, ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda n: wide.exec(["sh", "-c", meet, str(n)], timeout=60).out, range(20)))
    assert found == [f"{n}\n".encode() for n in range(20)]


def test_a_call_costs_little(shared: Session) -> None:
    """Aimed at 10 ms; no wait of ours is in it, which would be longer than the bound."""
    times = []
    for _ in range(40):
        started = time.perf_counter()
        assert shared.exec(["true"]).code == 0
        times.append(time.perf_counter() - started)
    assert statistics.median(times) < 0.5


def test_a_cancelled_call_is_killed(shared: Session) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    done = shared.exec(["sleep", "100"], cancelled=stop)
    assert done.code == 137
    assert time.monotonic() - started < 10


# files


def test_files_are_written_and_read_inside(shared: Session) -> None:
    content = bytes(range(256)) * 5000
    shared.write("new/folder/file", content)
    assert shared.read("/work/new/folder/file") == content
    shared.write("new/folder/file", b"shorter")
    assert shared.read("new/folder/file") == b"shorter"
    shared.write("empty", b"")
    assert shared.read("empty") == b""


def test_errors_of_files(shared: Session) -> None:
    shared.exec(shell("mkdir -p folder; echo x > closed; chmod 000 closed; mkfifo -m 600 pipe"))
    cases: list[tuple[str, type[Exception]]] = [
        ("missing", FileNotFoundError), ("folder", IsADirectoryError), ("closed", PermissionError),
        ("pipe", PermissionError), ("/dev/zero", PermissionError), ("closed/below", FileNotFoundError),
    ]  # fmt: skip
    for path, kind in cases:
        with pytest.raises(kind, match=path):
            shared.read(path, timeout=20)
    for path, kind in [("folder", IsADirectoryError), ("closed", PermissionError), ("/usr/x", PermissionError)]:
        with pytest.raises(kind, match=path):
            shared.write(path, b"x")
    shared.write("large", b"x" * 2000)
    with pytest.raises(TooLarge, match="2000 bytes"):
        shared.read("large", limit=1999)
    assert len(shared.read("large", limit=2000)) == 2000


def test_a_file_without_a_size_is_bounded_too(shared: Session) -> None:
    """/proc says 0 bytes for files that hold some."""
    assert b"Uid" in shared.read("/proc/self/status")
    with pytest.raises(TooLarge):
        shared.read("/proc/self/status", limit=10)


def test_a_link_leads_nowhere_outside(shared: Session, tmp_path: Path) -> None:
    """The host reads and writes through the sandbox, where a link to a host's file finds nothing."""
    secret = tmp_path / "secret"
    secret.write_text(CANARY)
    shared.exec(["ln", "-sf", str(secret), "link"])
    shared.exec(["ln", "-sfn", str(tmp_path), "folder-link"])
    with pytest.raises((FileNotFoundError, PermissionError)):
        shared.read("link")
    for path in ("link", "folder-link/planted"):
        with pytest.raises((FileNotFoundError, PermissionError)):
            shared.write(path, b"overwritten")
    assert secret.read_text() == CANARY
    assert not (tmp_path / "planted").exists()


# what is not there


def test_no_network_but_its_own_loopback(shared: Session) -> None:
    code = """
        import socket
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
            print("loopback")
        for where in (("1.1.1.1", 53), ("169.254.169.254", 80)):
            try:
                socket.create_connection(where, timeout=3)
                print("reached", where)
            except OSError as error:
                print(error.strerror)
    """
    done = shared.exec(python("\n".join(line[8:] for line in code.splitlines())))
    assert done.out == b"loopback\nNetwork is unreachable\nNetwork is unreachable\n", done.err


def test_no_key_of_the_host_anywhere(shared: Session) -> None:
    look = "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; cat /proc/*/cmdline 2>/dev/null"
    found = shared.exec(shell(look)).out
    assert b"HOME=/work" in found
    assert CANARY.encode() not in found
    assert b"API_KEY" not in found
    assert b"AARLAB_TOKEN" not in found
    assert b"AARLAB_ADDRESS" not in found


ENEMY = """
import ctypes, glob, os, signal
boss = int(os.environ["BOSS"])
for path in glob.glob(f"/proc/{boss}/fd/*") + [f"/proc/{boss}/fd/{n}" for n in range(8)] + [
    f"/proc/{boss}/mem", f"/proc/{boss}/environ", f"/proc/{boss}/map_files"]:
    for flags in (os.O_RDONLY, os.O_WRONLY):
        try:
            os.close(os.open(path, flags))
            print("opened", path)
        except OSError:
            pass
libc = ctypes.CDLL(None, use_errno=True)
print("ptrace", libc.ptrace(16, boss, 0, 0), "pidfd_getfd", libc.syscall(438, libc.syscall(434, boss, 0), 1, 0))
"""


def test_the_attendants_descriptors_and_memory_are_closed_to_commands(shared: Session) -> None:
    """Otherwise a command could write answers in its name."""
    done = shared.exec(["sh", "-c", f"BOSS=$PPID exec {PYTHON} -c '{ENEMY}'"])
    assert done.out == b"ptrace -1 pidfd_getfd -1\n", done
    assert shared.exec(["true"]).code == 0


# ends


def test_a_killed_attendant_ends_the_call_and_the_next_one_works(own: Callable[..., Session]) -> None:
    one = own()
    one.exec(shell("echo kept > kept; echo lost > /tmp/lost"))
    with pytest.raises(SandboxGone, match="attendant ended"):
        one.exec(shell("kill -KILL $PPID; sleep 60"), timeout=60)
    assert not one.alive
    done = one.exec(shell("cat kept; ls /tmp"))
    assert done.out == b"kept\n"
    assert one.alive


def test_an_end_between_calls_is_told_once(own: Callable[..., Session]) -> None:
    one = own()
    one.exec(shell("(sleep 0.3; kill -KILL -1) & true"))
    for _ in range(500):
        if not one.alive:
            break
        time.sleep(0.02)
    with pytest.raises(SandboxGone, match="background processes are lost"):
        one.exec(["true"])
    assert one.exec(["true"]).code == 0


def test_a_stopped_attendant_is_found_out(own: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    """By a call with a timeout at its deadline, by one without because nothing answers."""
    one = own()
    monkeypatch.setattr(session, "LATE_SECONDS", 1.0)
    with pytest.raises(SandboxGone, match="did not answer in time"):
        one.exec(shell("kill -STOP $PPID; sleep 60"), timeout=1)
    monkeypatch.setattr(session, "PING_SECONDS", 0.5)
    monkeypatch.setattr(session, "SILENCE_SECONDS", 1.0)
    with pytest.raises(SandboxGone, match="silent"):
        one.exec(shell("kill -STOP $PPID; sleep 60"))
    assert one.exec(["true"]).code == 0


def test_long_silence_alone_ends_nothing(own: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    one = own()
    monkeypatch.setattr(session, "PING_SECONDS", 0.2)
    monkeypatch.setattr(session, "SILENCE_SECONDS", 30.0)
    time.sleep(0.5)
    assert one.exec(["sleep", "2.5"]).code == 0


def test_a_full_workspace_is_told_and_made_to_fit(own: Callable[..., Session], tmp_path: Path) -> None:
    one = own()
    one.write("notebook.md", b"kept")
    fill = "for n in 1 2 3; do dd if=/dev/zero of=big$n bs=1M count=12 status=none; sleep 0.3; done; sleep 60"
    with pytest.raises(SandboxGone, match=r"more than 24 MB of disk.*deleted, newest first.*big\d") as caught:
        one.exec(shell(fill), timeout=60)
    assert "notebook" not in str(caught.value)
    assert one.read("notebook.md") == b"kept"
    assert one.exec(shell("echo small > small; sleep 1; ls big1")).code == 0


def test_a_broken_limit_is_told_though_the_command_ended_first(own: Callable[..., Session]) -> None:
    """A kill reaches the command before the attendant, which may still say how the command ended."""
    one = own()
    one.start()
    assert one.process is not None
    one.process.verdict = "disk"
    with pytest.raises(SandboxGone, match="more than 24 MB of disk"):
        one.exec(shell("echo the end"))
    assert one.exec(shell("echo again")).out == b"again\n"


def test_what_wakes_up_in_a_sandbox_at_rest_is_still_held(own: Callable[..., Session]) -> None:
    """While nothing runs nothing is measured; a process in the background that begins to write is seen."""
    one = own()
    late = "(sleep 2; for n in 1 2 3; do dd if=/dev/zero of=big$n bs=1M count=12 status=none; done; sleep 60) &"
    one.exec(shell(late))
    end = time.monotonic() + 20
    while one.alive:
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(SandboxGone, match="more than 24 MB of disk"):
        one.exec(shell("true"))


def test_too_much_memory_is_told(own: Callable[..., Session]) -> None:
    """By the kernel's count where it holds the memory, else by the watch."""
    one = own()
    said = ""
    try:
        done = one.exec(python("x = bytearray(400 << 20); import time; time.sleep(5)"), timeout=60)
        said = f"{done.note} {done.err.decode()}" if done.code else ""
    except SandboxGone as error:
        said = str(error)
    assert "256 MB" in said or "MemoryError" in said
    assert one.exec(["true"]).code == 0


def test_too_many_processes_end_in_a_sandbox_that_works_again(own: Callable[..., Session]) -> None:
    """A command cannot start when the background fills the limit; then everything is ended, and that is told."""
    one = own()
    bomb = """
import subprocess, time
while True:
    try:
        subprocess.Popen(["sleep", "600"])
    except OSError:
        time.sleep(0.001)
"""
    one.write("bomb.py", bomb.encode())
    one.exec(shell("python bomb.py >/dev/null 2>&1 & sleep 0.5"), timeout=20)

    def fill() -> None:
        for _ in range(100):
            one.exec(["true"], timeout=20)

    with pytest.raises(SandboxGone, match=r"(limit of|more than) 24 processes"):
        fill()
    assert one.exec(["true"]).code == 0


def test_a_closed_session_stays_closed(own: Callable[..., Session]) -> None:
    one = own()
    process = one.process
    assert process is not None
    with asleep(one) as waiting:
        one.close()
        with pytest.raises(SandboxGone, match="closed"):
            waiting.result(20)
    assert process.poll() is not None
    with pytest.raises(SandboxUnavailable, match="closed"):
        one.exec(["true"])


def test_an_end_is_told_though_the_command_ended_first(
    own: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill reaches the command before the attendant, which then says how the command ended."""
    one = own()
    process = one.process
    assert process is not None
    kill = process.kill

    def kill_the_command_first() -> None:
        for pid in process.pids():
            if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
        kill()

    monkeypatch.setattr(process, "kill", kill_the_command_first)
    with asleep(one) as waiting:
        one.close()
        with pytest.raises(SandboxGone, match="closed"):
            waiting.result(20)


def test_a_restart_says_why_to_who_waits(own: Callable[..., Session]) -> None:
    one = own()
    with asleep(one) as waiting:
        one.restart("somebody asked for it")
        with pytest.raises(SandboxGone, match="somebody asked for it"):
            waiting.result(20)
    assert one.exec(["true"]).code == 0


# an attendant that lies


class Liar:
    """A process that says what it is told to, in the attendant's place."""

    def __init__(self, said: bytes) -> None:
        self.stdin, self.stdout, self.stderr = io.BytesIO(), io.BytesIO(said), open(os.devnull, "rb")  # noqa: SIM115
        self.verdict, self.inside_pid = None, 0
        self.killed = threading.Event()

    def kill(self) -> None:
        self.killed.set()

    def close(self) -> None:
        self.stderr.close()


def frame(header: object, body: bytes = b"", claimed: int | None = None) -> bytes:
    said = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">II", len(said) if claimed is None else claimed, len(body)) + said + body


@pytest.mark.parametrize(
    "said",
    [
        frame({}, claimed=1 << 31),
        frame({"id": 1}, b"x" * ((1 << 20) + 1)),
        frame(b"no json"),
        frame(b"[" * 60_000),
        frame(b'{"id":' + b"9" * 60_000 + b"}"),
        frame([1]),
        frame({"id": "1"}),
        frame({"id": 1}),
        frame({"id": 1, "part": "neither"}, b"x"),
        frame({"id": 1, "part": ["out"]}, b"x"),
        frame({"id": 1, "part": "out"}, b"x" * 11),
        frame({"id": 1, "part": "out"}, b"x" * 6) * 2,
        frame({"id": 1, "done": 5}),
        frame({"id": 1, "done": {"code": "0"}}),
        frame({"id": 1, "done": {"code": True}}),
        frame({"id": 1, "done": {"code": -5}}),
        frame({"id": 1, "done": {"timed_out": 1}}),
        frame({"id": 1, "error": "text"}),
    ],
)
def test_nonsense_from_inside_ends_the_sandbox(said: bytes, tmp_path: Path) -> None:
    """Ten bytes are expected of call 1; nothing else may come, and nothing more is kept."""
    liar = Liar(said)
    call = session.Call(1, 10)
    line: Any = Line.__new__(Line)
    gate = threading.Event()
    real = liar.stdout.read
    liar.stdout.read = lambda size=-1: (gate.wait(10), real(size))[1]  # type: ignore[method-assign, assignment]
    line.__init__(liar, describe(tmp_path))
    line.begin(call, {"op": "exec"}, None)
    gate.set()
    assert call.over.wait(10)
    assert liar.killed.wait(10)
    assert call.answer is None
    assert len(call.parts["out"]) <= 10
    assert "nonsense" in line.sentence()


def test_answers_to_calls_that_nobody_made_are_dropped(tmp_path: Path) -> None:
    liar = Liar(frame({"id": 99, "part": "out"}, b"x" * 1000) + frame({"id": 99, "done": {"code": 0}}))
    line = Line(liar, describe(tmp_path))  # type: ignore[arg-type]
    assert liar.killed.wait(10)
    assert "attendant ended" in line.sentence()


# workspaces that are too full, and the other kinds


def test_trim_deletes_large_new_files_first_and_follows_no_link(tmp_path: Path) -> None:
    work, outside = tmp_path / "work", tmp_path / "outside"
    (work / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "precious").write_bytes(b"x" * MB)
    (work / "link").symlink_to(outside)
    for name in ("old", "sub/middle", "new"):
        (work / name).write_bytes(b"x" * (4 * MB))
        time.sleep(0.02)
    (work / "notes").write_text("newest and small")
    os.utime(work / "new", (0, 0))  # a forged date
    assert trim(work, 20 * MB) == ""
    assert trim(work, 10 * MB) == "; deleted, newest first, to make room: new"
    assert sorted(p.name for p in work.iterdir()) == ["link", "notes", "old", "sub"]
    assert (outside / "precious").exists()


def test_trim_deals_with_folders_that_no_file_fills(tmp_path: Path) -> None:
    """Empty folders use disk, and a tree deeper than anybody measures counts as too much."""
    work = tmp_path / "work"
    (work / "kept").mkdir(parents=True)
    (work / "kept" / "file").write_text("x")
    time.sleep(0.02)
    (work / "/".join(["deep"] * 90)).mkdir(parents=True)
    assert trim(work, MB) == "; deleted, newest first, to make room: deep"
    assert [p.name for p in work.iterdir()] == ["kept"]


def test_without_isolation_paths_are_the_hosts(own: Callable[..., Session], tmp_path: Path) -> None:
    one = own("process", limits=replace(SMALL, memory_mb=0))
    one.write("/work/below/file", b"content")
    assert (tmp_path / "work" / "below" / "file").read_bytes() == b"content"
    done = one.exec([PYTHON, "-c", "import os; print(os.getcwd())"], cwd="/work/below")
    assert done.out.decode().strip() == str((tmp_path / "work" / "below").resolve())
    assert one.exec(["sleep", "60"], timeout=0.2).timed_out


@pytest.mark.skipif(sys.platform != "linux", reason="gVisor is for Linux")
def test_on_gvisors_kernel(own: Callable[..., Session]) -> None:
    try:
        open_sandbox("gvisor").check()
    except SandboxUnavailable as error:
        pytest.skip(f"gVisor cannot work here: {error}")
    one = own("gvisor")
    assert one.exec(shell("cat; sleep 300 & exit 4"), stdin=b"given").out == b"given"
    assert one.exec(["sleep", "60"], timeout=0.5).timed_out
    one.write("/var/tmp/file", b"content")
    assert one.read("/var/tmp/file") == b"content"
    with pytest.raises(SandboxGone):
        one.exec(shell("kill -KILL -1; kill -KILL $PPID; sleep 60"), timeout=30)
    assert one.exec(["true"]).code == 0
