"""Isolation `gvisor`: the same view and walls as under bwrap, on a kernel of its own. Needs `runsc` on the machine."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toy
from aarlab.errors import MethodError, SandboxUnavailable
from aarlab.execution import LocalExecutor, MethodRun
from aarlab.sandbox import bwrap, gvisor, limits, open_sandbox
from aarlab.sandbox.base import Limits, Sandbox, SandboxProcess, SandboxSpec
from aarlab.sandbox.library import PACKAGE, PYTHON, library_binds
from aarlab.sandbox.limits import Cgroup
from aarlab.server.creation import create_lab
from aarlab.settings import Audit, Budget, Isolation, Scoring
from aarlab.w2s.task import Draw, Layer, StudentSpec, TaskInputs
from sandbox_here import needs_runsc

SMALL = Limits(memory_mb=256, cpu_seconds=0, processes=24, file_mb=8, disk_mb=24, open_files=64, tmp_mb=8)
CANARY = f"canary-{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return open_sandbox("gvisor")


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., SandboxSpec]:
    """A researcher-like sandbox that runs Python code; keywords replace fields."""

    def make(code: str, **changes: Any) -> SandboxSpec:
        fields: dict[str, Any] = {
            "argv": (PYTHON, "-I", "-c", textwrap.dedent(code)),
            "workspace": tmp_path / "workspaces" / "ada",
            "read_only": library_binds(),
            "sockets": (),
            "env": {},
            "limits": SMALL,
            "uid_index": 0,
        }
        return SandboxSpec(**{**fields, **changes})

    return make


def finish(process: SandboxProcess, seconds: float = 60) -> tuple[int, str, str]:
    """Exit code, stdout, stderr; the sandbox is gone afterwards."""
    try:
        out, err = process._popen.communicate(timeout=seconds)
        return process.wait(5), out.decode(), err.decode()
    finally:
        process.close()


def alive(pids: list[int]) -> list[int]:
    """Those of some processes that still run; zombies do not."""
    found = []
    for pid in pids:
        fields = limits._stat(pid)
        if fields and fields[0] != "Z":
            found.append(pid)
    return found


def gone(pids: list[int], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def own_uid(index: int) -> int:
    return bwrap.FIRST_UID + index if os.geteuid() == 0 else 0


# one hostile script, run once; the tests below read its findings

HOSTILE = r"""
import ctypes, json, os, socket, sys
sys.path.insert(0, "/opt/aarlab")
from aarlab.sandbox import seccomp

libc = ctypes.CDLL(None, use_errno=True)
found = {}

def attempt(name, action):
    try:
        found[name] = repr(action())
    except BaseException as error:
        found[name] = f"{type(error).__name__} {getattr(error, 'errno', '')}"

def call(name, *arguments):
    number = seccomp.CALLS[name][seccomp.machine().column]
    if number is not None:
        ctypes.set_errno(0)
        answer = libc.syscall(number, *[ctypes.c_long(a) for a in arguments])
        found["call " + name] = "done" if answer >= 0 else ctypes.get_errno()

targets = json.loads(os.environ["TARGETS"])
names, texts, writable = [], [], []
for where, folders, files in os.walk("/"):
    skipped = ("/proc", "/sys", "/usr", "/opt/env", "/opt/site", targets["prefix"])
    folders[:] = [f for f in folders if os.path.join(where, f) not in skipped]
    if os.access(where, os.W_OK):
        writable.append(where)
    for name in files:
        path = os.path.join(where, name)
        names.append(path)
        if not where.startswith("/dev"):
            try:
                if targets["canary"] in open(path, errors="replace").read(1 << 20):
                    texts.append(path)
            except OSError:
                pass
found["canary files"] = texts
found["secret names"] = [n for n in names if n.endswith((".labels.npz", ".teachers.npz", "lab.db", "secret.json"))]
found["aarlab files"] = [n for n in names if "/aarlab/" in n]
found["writable"] = [w for w in writable if not w.startswith("/dev/fd")]
found["host paths"] = [p for p in targets["paths"] if os.path.exists(p)]
found["environment"] = dict(os.environ)
found["processes"] = [p for p in os.listdir("/proc") if p.isdigit()]
found["status"] = {k: v.strip() for k, _, v in (l.partition(":") for l in open("/proc/self/status"))}
found["no new privileges"] = libc.prctl(39, 0, 0, 0, 0)
found["kernel"] = [os.uname().release, os.path.exists("/proc/sentry-meminfo"), os.uname().nodename]
found["interfaces"] = [l.split(":")[0].strip() for l in open("/proc/net/dev").read().splitlines()[2:]]

attempt("tcp", lambda: socket.create_connection(("127.0.0.1", targets["port"]), 1))
attempt("tcp out", lambda: socket.create_connection(("1.1.1.1", 53), 1))
attempt("udp out", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53)))
attempt("dns", lambda: socket.getaddrinfo("example.org", 80))
attempt("abstract socket", lambda: socket.socket(socket.AF_UNIX).connect("\0" + targets["canary"]))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
attempt("packet", lambda: socket.socket(17, socket.SOCK_RAW, 0))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))

for path in ("/x", "/usr/x", "/etc/passwd", "/opt/aarlab/aarlab/x", "/opt/aarlab/aarlab/errors.py", "/run/x", "/dev/x",
             "/work/x", "/tmp/x", "/dev/shm/x"):
    attempt("write " + path, lambda: open(path, "a").write("x"))
attempt("setuid", lambda: os.setuid(targets["uid"] + 1))
attempt("setgroups", lambda: os.setgroups([0]))
attempt("chroot", lambda: os.chroot("/work"))
attempt("mknod", lambda: os.mknod("/work/disk", 0o60600, os.makedev(254, 0)))
attempt("chown", lambda: os.chown("/work", targets["uid"] + 1, 0))
for name in seccomp.SANDBOX_REFUSED:
    call(name, 0, 0, 0, 0, 0)
call("clone", 0x10000000 | 17, 0, 0, 0, 0)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the hostile script found, from a sandbox in a lab folder full of secrets, on a host that listens."""
    lab = tmp_path_factory.mktemp("lab")
    for name in ("vault/w2s.labels.npz", "vault/secret.json", "lab.db", "run/tokens.json", "workspaces/eve/notes.txt"):
        (lab / name).parent.mkdir(parents=True, exist_ok=True)
        (lab / name).write_text(CANARY)
    os.environ["AARLAB_HOST_SECRET"] = CANARY
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0" + CANARY)
        abstract.listen()
        targets = {
            "canary": CANARY,
            "port": server.getsockname()[1],
            "paths": [str(lab), str(PACKAGE), str(PACKAGE / "vault"), "/home", "/var", "/dev/gvisor", "/etc/shadow"],
            "prefix": sys.base_prefix,
            "uid": own_uid(1),
        }
        one = SandboxSpec(
            (PYTHON, "-I", "-c", HOSTILE), lab / "workspaces" / "ada", library_binds(), (),
            {"TARGETS": json.dumps(targets)}, SMALL, 1,
        )  # fmt: skip
        code, out, err = finish(sandbox.start(one))
    del os.environ["AARLAB_HOST_SECRET"]
    assert code == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


@needs_runsc
def test_the_kernel_inside_is_gvisors(found: dict[str, Any]) -> None:
    """What runs inside sees gVisor's release and its files in /proc, not the host's kernel."""
    release, has_sentry, name = found["kernel"]
    assert release != os.uname().release
    assert has_sentry
    assert name == "sandbox"


@needs_runsc
def test_no_secret_is_in_sight(found: dict[str, Any]) -> None:
    """No label, database, token or other workspace, by name, content or known path; of aarlab only the whitelist."""
    assert found["canary files"] == []
    assert found["secret names"] == []
    assert found["host paths"] == []
    tops = {Path(name).relative_to("/opt/aarlab/aarlab").parts[0] for name in found["aarlab files"]}
    assert "errors.py" in tops
    assert not tops & {"vault", "problems", "server", "store", "fleet", "audits", "redteam", "settings.py", "cli.py"}
    assert "AARLAB_HOST_SECRET" not in found["environment"]


@needs_runsc
def test_there_is_no_network_and_no_host_process(found: dict[str, Any]) -> None:
    """TCP, UDP, DNS, abstract and special sockets fail; the only process is the sandbox's own."""
    assert found["interfaces"] == ["lo"]
    names = ("tcp", "tcp out", "udp out", "dns", "abstract socket", "netlink", "packet", "raw")
    outcomes = {name: found[name].split()[0] for name in names}
    assert set(outcomes.values()) <= {"ConnectionRefusedError", "OSError", "gaierror", "PermissionError"}, outcomes
    assert found["processes"] == ["1"]


@needs_runsc
def test_nothing_is_written_outside_the_workspace(found: dict[str, Any]) -> None:
    """Only /work, /tmp and /dev/shm take files; library, configuration and devices are read-only."""
    assert set(found["writable"]) == {"/work", "/tmp", "/dev/shm"}
    done = {name for name, outcome in found.items() if name.startswith("write ") and outcome == "1"}
    assert done == {"write /work/x", "write /tmp/x", "write /dev/shm/x"}


@needs_runsc
def test_no_right_is_left_to_gain(found: dict[str, Any]) -> None:
    """A user of its own without capabilities and with no_new_privs; as an ordinary host user it is a powerless 0."""
    status = found["status"]
    assert all(int(value, 16) == 0 for name, value in status.items() if name.startswith("Cap"))
    assert found["no new privileges"] == 1
    assert status["Seccomp"] == "2"
    assert set(status["Uid"].split()) == {str(own_uid(1))}
    for name in ("setuid", "setgroups", "chroot", "mknod", "chown"):
        assert found[name].startswith(("PermissionError", "OSError")), (name, found[name])


@needs_runsc
def test_the_filter_holds_inside(found: dict[str, Any]) -> None:
    """The calls that bwrap's filter refuses are refused by gVisor's kernel too, with the same error."""
    refused = {name: outcome for name, outcome in found.items() if name.startswith("call ")}
    assert len(refused) > 40
    assert set(refused.values()) == {1}, refused


# what a sandbox is given


@needs_runsc
def test_the_workspace_survives_and_is_private(sandbox: Sandbox, spec: Callable[..., SandboxSpec]) -> None:
    """What one run leaves in /work the next run finds, under another host user too."""
    what = spec("open('note', 'w').write('kept')")
    code, _, err = finish(sandbox.start(what))
    assert code == 0, err
    assert what.workspace is not None
    assert (what.workspace / "note").read_text() == "kept"
    assert finish(sandbox.start(spec("print(open('note').read())", uid_index=5)))[1] == "kept\n"
    if os.geteuid() == 0:
        assert (what.workspace / "note").stat().st_uid == bwrap.FIRST_UID + 5


@needs_runsc
def test_read_only_folders_stay_so_and_hidden_ones_are_empty(
    sandbox: Sandbox, spec: Callable[..., SandboxSpec], tmp_path: Path
) -> None:
    """`read_only` appears at its place, changes of the host in it are seen, and a hidden folder below it is covered."""
    public, secret = tmp_path / "public", tmp_path / "public" / "vault"
    secret.mkdir(parents=True)
    (public / "card.json").write_text("{}")
    (secret / "labels").write_text(CANARY)
    code = """
        import os
        print(sorted(os.listdir("/data")), os.listdir("/data/vault"), flush=True)
        for name in ("/data/new", "/data/card.json", "/data/vault/x"):
            try:
                open(name, "w")
            except OSError as error:
                print(error.errno)
        input()
        print(open("/data/later").read())
    """
    what = spec(code, read_only=(*library_binds(), (public, "/data")), hidden=(secret,))
    process = sandbox.start(what)
    assert process.stdin is not None
    assert process.stdout is not None
    first = process.stdout.readline()
    (public / "later").write_text("later")
    process.stdin.write(b"\n")
    process.stdin.close()
    rest = process.stdout.read().decode().split()
    process.close()
    assert first == b"['card.json', 'vault'] []\n"
    assert set(rest[:3]) <= {"13", "30"}  # the host's permissions come first
    assert rest[3:] == ["later"]


@needs_runsc
def test_a_socket_of_the_host_is_reached_and_found_again(sandbox: Sandbox, spec: Callable[..., SandboxSpec]) -> None:
    """The lab's service answers inside, also after it has made its socket anew."""
    folder = Path(tempfile.mkdtemp(prefix="aarlab-"))  # a unix socket's path is at most 107 bytes
    folder.chmod(0o755)
    (folder / "api").mkdir()
    place = folder / "api" / "lab.sock"
    code = """
        import socket, time
        for _ in range(2):
            for _ in range(200):
                s = socket.socket(socket.AF_UNIX)
                try:
                    s.connect("/run/aarlab.sock")
                    break
                except OSError:
                    time.sleep(0.05)
            s.sendall(b"hello")
            print(s.recv(10).decode(), flush=True)
    """
    process = None
    try:
        for word in (b"one", b"two"):
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(place))
                place.chmod(0o666)
                server.listen()
                server.settimeout(20)
                process = process or sandbox.start(spec(code, sockets=((place, "/run/aarlab.sock"),)))
                connection, _ = server.accept()
            place.unlink()
            with connection:
                assert connection.recv(10) == b"hello"
                connection.sendall(word)
        assert process is not None
        assert finish(process)[1].split() == ["one", "two"]
    finally:
        shutil.rmtree(folder)


@needs_runsc
@pytest.mark.slow
def test_output_goes_to_the_log_which_has_a_size(
    sandbox: Sandbox, spec: Callable[..., SandboxSpec], tmp_path: Path
) -> None:
    """Both streams are appended to `log`, a missing program is named there, and a flood of output is cut off."""
    log = tmp_path / "log"
    code = "import sys; print('out'); print('err', file=sys.stderr)"
    sandbox.start(spec(code), log=log, nice=5).wait(30)
    sandbox.start(spec("", argv=("no-such-program",)), log=log).wait(30)
    assert {"out", "err", "no-such-program: No such file or directory"} <= set(log.read_text().splitlines())
    process = sandbox.start(spec("import os\nwhile True: os.write(1, bytes(1 << 20))"), log=log)
    assert verdict_of(process) == "disk"
    deadline = time.monotonic() + 5
    while log.stat().st_size > SMALL.file_mb << 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert log.stat().st_size == SMALL.file_mb << 19


# filling things up


def verdict_of(process: SandboxProcess, seconds: float = 60) -> str | None:
    try:
        process.wait(seconds)
    finally:
        process.close()
    return process.verdict


@needs_runsc
@pytest.mark.parametrize("cgroup", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_memory_bomb_ends_inside(
    sandbox: Sandbox, spec: Callable[..., SandboxSpec], monkeypatch: pytest.MonkeyPatch, cgroup: bool
) -> None:
    """With a cgroup the kernel ends it, without one the watch does; several processes count together."""
    if not cgroup:
        monkeypatch.setattr(Cgroup, "create", classmethod(lambda cls, limits: None))
    code = """
        import os, time
        for _ in range(3):
            if os.fork() == 0:
                break
        kept = [bytearray(os.urandom(1 << 20)) for _ in range(150)]
        time.sleep(5)
        print("survived")
    """
    process = sandbox.start(spec(code))
    _, out, _ = finish(process)
    assert process.verdict == "memory" or (process.oom_kills() or 0) > 0
    assert out.count("survived") < 4


@needs_runsc
@pytest.mark.slow
def test_files_in_memory_have_a_size_and_files_on_disk_too(sandbox: Sandbox, spec: Callable[..., SandboxSpec]) -> None:
    """/tmp and /dev/shm take tmp_mb each; one file in /work takes file_mb, dense or sparse."""
    code = """
        def fill(folder):
            n = 0
            try:
                while True:
                    open(f"{folder}/{n}", "wb", 0).write(bytes(1 << 20))
                    n += 1
            except OSError as error:
                return n, error.errno
        print(*fill("/tmp"), *fill("/dev/shm"))
        f = open("big", "wb", 0)
        for action in (lambda: f.truncate(1 << 40), lambda: [f.write(bytes(1 << 20)) for _ in range(100)]):
            try:
                action()
                print("done")
            except OSError as error:
                print(error.errno)
    """
    _, out, err = finish(sandbox.start(spec(code)))
    first, *rest = out.splitlines()
    assert first.split()[1::2] == ["28", "28"], err
    assert all(int(n) <= SMALL.tmp_mb for n in first.split()[::2])
    assert rest == ["27", "27"]


@needs_runsc
@pytest.mark.slow
@pytest.mark.parametrize(
    ("verdict", "body"),
    [
        pytest.param("disk", "while True:\n    n += 1\n    open(str(n), 'wb').write(bytes(4 << 20))", id="many-files"),
        pytest.param("disk", "while True:\n    n += 1\n    open(str(n), 'wb').close()", id="empty-files"),
        pytest.param(
            "disk",
            "while True:\n    f = open('x', 'wb', 0); f.write(bytes(4 << 20)); os.unlink('x'); kept.append(f)",
            id="deleted-open-files",
        ),
        pytest.param("cpu", "os.fork()\nwhile True: pass", id="cpu"),
        pytest.param("processes", "while os.fork(): time.sleep(0.02)\ntime.sleep(60)", id="processes"),
    ],
)
def test_limits_end_the_sandbox(
    sandbox: Sandbox, spec: Callable[..., SandboxSpec], monkeypatch: pytest.MonkeyPatch, verdict: str, body: str
) -> None:
    """The watch names what was broken and leaves nothing running, also where gVisor did not count processes."""
    rlimits = bwrap.rlimits
    monkeypatch.setattr(bwrap, "rlimits", lambda *a, **k: {n: v for n, v in rlimits(*a, **k).items() if n != verdict})
    bounded = replace(SMALL, cpu_seconds=3.0 if verdict == "cpu" else 0)
    process = sandbox.start(spec(f"import os, time\nn, kept = 0, []\n{body}", limits=bounded))
    time.sleep(0.3)
    pids = process.pids()
    assert verdict_of(process) == verdict
    assert gone(pids)


@needs_runsc
@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_a_bomb_stays_in_its_box(sandbox: Sandbox, spec: Callable[..., SandboxSpec], kind: str) -> None:
    """No more than `processes` processes and threads exist: gVisor's kernel holds the limit."""
    code = f"""
        import os, threading, time
        threading.stack_size(1 << 15)
        made = 0
        for _ in range(200):
            try:
                if {kind == "threads"}:
                    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
                elif os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
                made += 1
            except (OSError, RuntimeError):
                pass
        print(made, flush=True)
        os._exit(0)
    """
    code_, out, err = finish(sandbox.start(spec(code)))
    assert code_ == 0, err
    assert 4 < int(out) <= SMALL.processes


# ends


@needs_runsc
def test_kill_leaves_nothing(sandbox: Sandbox, spec: Callable[..., SandboxSpec]) -> None:
    """Kernel, file server, tracer and everything inside are gone after kill(), and so is the control group."""
    code = """
        import os, time
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                time.sleep(60)
        print("up", flush=True)
        time.sleep(60)
    """
    before = set(os.listdir("/tmp")) | set(os.listdir("/run"))
    process = sandbox.start(spec(code))
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    pids, group = process.pids(), process._cgroup
    assert len(pids) >= gvisor.GvisorSandbox.own_processes + 4
    made = {n for n in set(os.listdir("/tmp")) | set(os.listdir("/run")) if "runsc" in n or "gvisor" in n}
    process.kill()
    assert gone(pids)
    assert made <= before  # its state was never on the host's disk
    assert group is None or not any(folder.exists() for folder in group.folders.values())
    process.close()


@needs_runsc
def test_a_sandbox_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """kill -9 of the lab leaves no process behind."""
    code = f"""
        import json, time
        from pathlib import Path
        from aarlab.sandbox import open_sandbox
        from aarlab.sandbox.base import Limits, SandboxSpec
        from aarlab.sandbox.library import PYTHON, library_binds
        one = SandboxSpec((PYTHON, "-c", "import time; print(1, flush=True); time.sleep(60)"),
                          Path({str(tmp_path / "w")!r}), library_binds(), (), {{}}, Limits(256, 0, 24, 8, 24), 2)
        process = open_sandbox("gvisor").start(one)
        process.stdout.readline()
        print(json.dumps(process.pids()), flush=True)
        time.sleep(60)
    """
    lab = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert lab.stdout is not None
    pids = json.loads(lab.stdout.readline())
    assert alive(pids)
    lab.send_signal(signal.SIGKILL)
    lab.wait()
    lab.stdout.close()
    assert gone(pids)


@needs_runsc
@pytest.mark.slow
def test_a_person_can_sit_in_a_sandbox(tmp_path: Path) -> None:
    """`attach` runs a program on the caller's terminal, which is one inside too, and answers with its exit code."""
    code = f"""
        from pathlib import Path
        from aarlab.sandbox import open_sandbox
        from aarlab.sandbox.base import Limits, SandboxSpec
        from aarlab.sandbox.library import library_binds
        one = SandboxSpec(("/bin/sh",), Path({str(tmp_path / "w")!r}), library_binds(), (), {{}},
                          Limits(256, 0, 24, 8, 24), 3)
        raise SystemExit(open_sandbox("gvisor").attach(one))
    """
    start = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(start, input="pwd; hostname; exit 9\n", capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (9, ["/work", "sandbox"]), done.stderr
    ours, theirs = pty.openpty()
    popen = subprocess.Popen(start, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.write(ours, b"test -t 0 && echo term''inal; exit 7\n")
    said = b""
    try:
        while part := os.read(ours, 4096):
            said += part
    except OSError:
        pass  # the other end is closed
    assert popen.wait(60) == 7, said
    assert b"terminal" in said
    os.close(ours)


# methods

METHOD = """
def run(task, seed):
    head = task.student.fit(task.train, task.weak_labels, seed=seed)
    return head.predict(task.test)
"""


@pytest.fixture(scope="module")
def task() -> tuple[bytes, tuple[Draw, ...]]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    values = np.clip(rng.normal(size=(400, 16)) * 30 + labels[:, None] * 9, -127, 127).astype(np.int8)
    layer = Layer(values, np.full(16, 0.03, np.float32))
    zero_shot = rng.normal(size=400).astype(np.float32)
    student = StudentSpec(("hidden",), (1.0,), 1e-3)
    inputs = TaskInputs("toy", "feedback", {"hidden": layer}, zero_shot, np.arange(400), student)
    weak = np.where(rng.random(200) < 0.8, labels[:200], 1 - labels[:200]).astype(np.float32)
    return inputs.to_bytes(), tuple(Draw(np.arange(200), np.arange(200, 400), weak, seed) for seed in (1, 2))


@pytest.fixture(scope="module")
def executor(sandbox: Sandbox) -> Iterator[LocalExecutor]:
    with LocalExecutor(sandbox, workers=1) as one:
        yield one


@needs_runsc
def test_a_method_gives_what_it_gives_under_bwrap(executor: LocalExecutor, task: Any) -> None:
    """The same method on the same task and seeds answers with the same bits on either kernel."""
    what = MethodRun(METHOD, *task, 60)
    here = executor.run(what)
    with LocalExecutor(open_sandbox("bwrap"), workers=1) as other:
        there = other.run(what)
    assert len(here.outputs) == 2
    for ours, theirs in zip(here.outputs, there.outputs, strict=True):
        np.testing.assert_array_equal(ours, theirs)


REFUSED = """
import os, socket, subprocess, numpy as np

def outcome(action):
    try:
        action()
    except OSError as error:
        return error.errno / 100
    return 0.9

def run(task, seed):
    actions = [
        lambda: os.execv("/bin/true", ["true"]), os.fork, lambda: subprocess.run(["/bin/true"]), socket.socket,
        lambda: os.kill(1, 9), lambda: os.kill(os.getpid(), 9), os.setsid,
    ]
    found = [outcome(action) for action in actions]
    writable = 0
    for folder in ("", *os.listdir("/"), "dev/shm", "opt/aarlab/aarlab", "run/sockets", "var/tmp"):
        try:
            open(f"/{folder}/x", "w").close()
            writable += 1
        except OSError:
            pass
    found.append(writable / 100)
    return np.array(found + [0.5] * (len(task.test) - len(found)))
"""


@needs_runsc
def test_the_method_filter_holds_on_gvisors_kernel(executor: LocalExecutor, task: Any) -> None:
    """execve, fork, sockets, signals and sessions fail with EPERM, and there is nowhere to write."""
    inputs, draws = task
    outcomes = executor.run(MethodRun(REFUSED, inputs, draws[:1], 20)).outputs[0][:8]
    assert [round(float(v) * 100) for v in outcomes] == [1] * 7 + [0]


@needs_runsc
@pytest.mark.slow
@pytest.mark.parametrize(
    ("reason", "body"),
    [
        pytest.param("forbidden", "import os; os.fork()", id="fork"),
        pytest.param("out-of-memory", "import numpy; numpy.ones(1 << 31)", id="memory"),
        pytest.param("timed-out", "while True: pass", id="time"),
        pytest.param("crashed", "import os; os.abort()", id="abort"),
    ],
)
def test_faults_of_a_method_have_the_same_names(executor: LocalExecutor, task: Any, reason: str, body: str) -> None:
    """Whose fault it was is told as under bwrap."""
    inputs, draws = task
    with pytest.raises(MethodError) as caught:
        executor.run(MethodRun(f"def run(task, seed):\n    {body}\n", inputs, draws[:1], 3))
    assert caught.value.reason == reason


# hosts


def test_a_machine_without_runsc_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """No silent fallback: SandboxUnavailable names runsc and how to get it."""
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    gvisor.binary.cache_clear()
    try:
        with pytest.raises(SandboxUnavailable, match=r"no runsc here.*apt-get install runsc"):
            open_sandbox("gvisor").check()
    finally:
        gvisor.binary.cache_clear()


@needs_runsc
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_can_do_all_this(tmp_path: Path) -> None:
    """Sandboxes and method runs work without root, as a user 0 inside that has no capabilities."""
    python = next((p for p in (sys._base_executable, "/usr/bin/python3") if usable(p)), None)
    if python is None:
        pytest.skip("no interpreter of this version that other users may run")
    copy = Path(tempfile.mkdtemp(prefix="aarlab-"))
    try:
        copy.chmod(0o777)
        shutil.copytree(PACKAGE, copy / "aarlab", ignore=shutil.ignore_patterns("problems", "__pycache__"))
        path = f"{copy}:{next(p for p in sys.path if p.endswith('site-packages'))}"
        script = Path(__file__).with_name("ordinary_user.py")
        shutil.copy(script, copy)
        done = subprocess.run(
            [python, str(copy / script.name), str(copy), "gvisor"],
            env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=copy, user=65534, group=65534, extra_groups=[], capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"uid": 0, "capabilities": 0, "output": [0.25, 0.25], "refused": "forbidden"}
    finally:
        shutil.rmtree(copy)


def usable(python: str) -> bool:
    """Whether a user without rights can run this interpreter, and it takes our packages."""
    question = "import sys; print(sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python, "-c", question], user=65534, group=65534, extra_groups=[], capture_output=True, text=True
        )
    except OSError:
        return False
    return done.stdout.strip() == str(sys.version_info[:2])


@needs_runsc
@pytest.mark.slow
def test_a_whole_run_lives_in_gvisor(monkeypatch: pytest.MonkeyPatch) -> None:
    """One researcher and the methods it hands in, both in gVisor: submitted, scored, recorded, ranked, reported."""
    folder = Path(tempfile.mkdtemp(prefix="aarlab-"))
    folder.chmod(0o755)
    monkeypatch.setenv("AARLAB_STATE", str(folder / "state"))
    settings = toy.settings(
        researchers=1,
        budget=Budget(minutes=0.5, answers=3),
        scoring=Scoring(seeds=2, record_seeds=2, finalists=1, timeout=20.0),
        isolation=Isolation(kind="gvisor"),
        audit=Audit(finalists=False),  # dozens of method runs, which here start slowly
    )
    lab = folder / "lab"
    try:
        create_lab(lab, settings, [toy.make_pack(folder / "pack")])
        start = [sys.executable, "-m", "aarlab", "resume", str(lab)]
        done = subprocess.run(start, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        report = json.loads(next(lab.rglob("report.json")).read_text())
        assert report["run"]["isolation"] == {"kind": "gvisor", "ranked": True}
        assert report["winner"] is not None, done.stderr
    finally:
        shutil.rmtree(folder)
