"""Attacks from inside a researcher's sandbox, and what it must not see, reach, fill or outlive."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aarlab.errors import ConfigError, InputError, SandboxUnavailable
from aarlab.sandbox import bwrap, limits, open_sandbox
from aarlab.sandbox.base import Limits, Sandbox, SandboxProcess, SandboxSpec
from aarlab.sandbox.library import PACKAGE, PYTHON, library_binds, masks
from aarlab.sandbox.limits import Cgroup, disk_bytes
from sandbox_here import needs_bwrap

SMALL = Limits(memory_mb=256, cpu_seconds=0, processes=24, file_mb=8, disk_mb=24, open_files=64, tmp_mb=8)
CANARY = f"canary-{uuid.uuid4().hex}"


pytestmark = needs_bwrap


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return open_sandbox("bwrap")


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., SandboxSpec]:
    """A researcher-like sandbox that runs Python code; keywords replace fields."""

    def make(code: str, **changes: Any) -> SandboxSpec:
        fields: dict[str, Any] = {
            "argv": (PYTHON, "-c", textwrap.dedent(code)),
            "workspace": tmp_path / "workspaces" / "ada",
            "read_only": library_binds(),
            "sockets": (),
            "env": {},
            "limits": SMALL,
            "uid_index": 0,
        }
        return SandboxSpec(**{**fields, **changes})

    return make


def finish(process: SandboxProcess, seconds: float = 30) -> tuple[int, str, str]:
    """Exit code, stdout, stderr; the sandbox is gone afterwards."""
    try:
        out, err = process._popen.communicate(timeout=seconds)
        return process.wait(1), out.decode(), err.decode()
    finally:
        process.close()


def await_end(process: SandboxProcess, seconds: float = 20) -> int:
    try:
        return process.wait(seconds)
    finally:
        process.close()


def processes_with(text: str) -> list[int]:
    """Host processes whose command line holds `text`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if text.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found


def gone(text: str, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while processes_with(text):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# one hostile script, run once; every test below reads one of its findings

HOSTILE = r"""
import ctypes, json, os, socket, sys
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
    if number is None:
        return
    ctypes.set_errno(0)
    answer = libc.syscall(number, *[ctypes.c_long(a) for a in arguments])
    found["call " + name] = "done" if answer >= 0 else ctypes.get_errno()

targets = json.loads(os.environ["TARGETS"])
canary = targets["canary"]

# what can be seen
names, texts, writable = [], [], []
for where, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(where, f) not in ("/proc", "/usr/share/doc")]
    if os.access(where, os.W_OK):
        writable.append(where)
    for name in files:
        path = os.path.join(where, name)
        names.append(path)
        if not where.startswith(("/usr", "/dev", "/opt/env", "/opt/site", targets["prefix"])):
            try:
                if canary in open(path, errors="replace").read(1 << 20):
                    texts.append(path)
            except OSError:
                pass
found["canary files"] = texts
found["secret names"] = [n for n in names if n.endswith((".labels.npz", ".teachers.npz", "lab.db", "secret.json"))
                         or "/aarlab/problems" in n or "/aarlab/vault" in n or "/aarlab/server" in n]
found["aarlab files"] = [n for n in names if "/aarlab/" in n]
found["writable"] = [w for w in writable if not w.startswith("/dev/fd")]
found["host paths"] = [p for p in targets["paths"] if os.path.exists(p)]
found["environment"] = dict(os.environ)
found["processes"] = {p: open(f"/proc/{p}/cmdline").read() for p in os.listdir("/proc") if p.isdigit()}
found["status"] = {k: v.strip() for k, _, v in (l.partition(":") for l in open("/proc/self/status"))}
found["hostname"] = socket.gethostname()
found["interfaces"] = [l.split(":")[0].strip() for l in open("/proc/net/dev").read().splitlines()[2:]]
attempt("pid 1 memory", lambda: open("/proc/1/mem", "r+b"))
attempt("pid 1 environment", lambda: open("/proc/1/environ").read())

# network
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", targets["port"]), 1))
attempt("tcp out", lambda: socket.create_connection(("1.1.1.1", 53), 1))
attempt("udp out", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53)))
attempt("dns", lambda: socket.getaddrinfo("example.org", 80))
def abstract():
    s = socket.socket(socket.AF_UNIX)
    s.connect("\0" + canary)
    return "connected"
attempt("abstract socket", abstract)
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
attempt("packet", lambda: socket.socket(17, socket.SOCK_RAW, 0))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM, 0))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
def pass_descriptor():
    a, b = socket.socketpair()
    return socket.send_fds(a, [b"x"], [0])
attempt("descriptor in flight", pass_descriptor)

# writing
for path in ("/x", "/usr/x", "/etc/x", "/etc/passwd", "/opt/x", "/opt/aarlab/aarlab/x", "/opt/aarlab/aarlab/errors.py",
             "/run/x", "/dev/x", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/1/oom_score_adj",
             "/work/x", "/tmp/x"):
    attempt("write " + path, lambda: open(path, "a").write("x"))

# rights
attempt("setuid", lambda: os.setuid(0))
attempt("setgroups", lambda: os.setgroups([0]))
attempt("chroot", lambda: os.chroot("/work"))
attempt("mknod", lambda: os.mknod("/work/disk", 0o60600, os.makedev(254, 0)))
attempt("chown", lambda: os.chown("/work", 0, 0))
attempt("su", lambda: os.system("su -c id >/work/su 2>&1"))
attempt("unshare user", lambda: libc.unshare(0x10000000))
for name in seccomp.SANDBOX_REFUSED:
    call(name, 0, 0, 0, 0, 0)
call("clone", 0x10000000 | 17, 0, 0, 0, 0)
call("clone3", 0, 0)
import fcntl
attempt("tiocsti", lambda: fcntl.ioctl(0, 0x5412, b"x"))
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
            "paths": [
                str(lab),
                str(PACKAGE),
                str(PACKAGE / "problems"),
                os.path.expanduser("~/.bashrc"),
                "/home",
                "/sys",
                "/var",
            ],
            "prefix": sys.base_prefix,
        }
        process = sandbox.start(
            SandboxSpec(
                argv=(PYTHON, "-c", HOSTILE),
                workspace=lab / "workspaces" / "ada",
                read_only=library_binds(),
                sockets=(),
                env={"TARGETS": json.dumps(targets)},
                limits=SMALL,
                uid_index=1,
            )
        )
        code, out, err = finish(process)
    del os.environ["AARLAB_HOST_SECRET"]
    assert code == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


def test_no_secret_is_in_sight(found: dict[str, Any]) -> None:
    """No label, pack, database, token or other workspace: not by name, not by content, not by a known path."""
    assert found["canary files"] == []
    assert found["secret names"] == []
    assert found["host paths"] == []


def test_only_the_whitelist_of_the_package_exists(found: dict[str, Any]) -> None:
    """Of aarlab a researcher sees the library and the client; builders, vault and server are absent."""
    tops = {Path(name).relative_to("/opt/aarlab/aarlab").parts[0] for name in found["aarlab files"]}
    assert tops <= {
        "__init__.py",
        "errors.py",
        "records.py",
        "statistics",
        "client.py",
        "w2s",
        "researchers",
        "execution",
        "sandbox",
    }
    assert "/opt/aarlab/aarlab/errors.py" in found["aarlab files"]


def test_nothing_of_the_host_environment_comes_in(found: dict[str, Any]) -> None:
    """Variables are the sandbox's own and those of the specification."""
    assert "AARLAB_HOST_SECRET" not in found["environment"]
    assert set(found["environment"]) - {"TARGETS", "LC_CTYPE"} == set(bwrap.environment(True))


def test_no_host_process_is_in_sight(found: dict[str, Any]) -> None:
    """Only bwrap's first process and the program itself, and no secret in a command line."""
    assert len(found["processes"]) == 2
    assert not any(CANARY in line for pid, line in found["processes"].items() if pid == "1")
    assert found["hostname"] == "sandbox"


def test_there_is_no_network(found: dict[str, Any]) -> None:
    """TCP and UDP, to this host and out; DNS; abstract sockets; netlink, packet, vsock and raw sockets."""
    assert found["interfaces"] == ["lo"]
    names = ("tcp", "tcp out", "udp out", "dns", "abstract socket", "netlink", "packet", "vsock", "raw")
    outcomes = {name: found[name].split()[0] for name in names}
    allowed = {"ConnectionRefusedError", "OSError", "gaierror", "PermissionError"}
    assert set(outcomes.values()) <= allowed, outcomes


def test_nothing_is_written_outside_the_workspace(found: dict[str, Any]) -> None:
    """Only /work, /tmp and /dev/shm take files; the last two live in memory and have a size."""
    assert set(found["writable"]) == {"/work", "/tmp", "/dev/shm"}
    done = {name for name, outcome in found.items() if name.startswith("write ") and outcome == "1"}
    assert done == {"write /work/x", "write /tmp/x"}


def test_no_right_is_left_to_gain(found: dict[str, Any]) -> None:
    """Unprivileged, without capabilities, no_new_privs; setuid programs and device files give nothing."""
    status = found["status"]
    assert all(int(status[f"Cap{kind}"], 16) == 0 for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert set(status["Uid"].split()) == {str(bwrap.FIRST_UID + 1 if os.geteuid() == 0 else bwrap.INNER_UID)}
    for name in ("setuid", "setgroups", "chroot", "mknod", "chown"):
        assert found[name].startswith(("PermissionError", "OSError")), name
    assert found["su"] != "0"
    assert found["tiocsti"].startswith("PermissionError")


def test_dangerous_system_calls_are_refused(found: dict[str, Any]) -> None:
    """Mounts, namespaces, other processes' memory, kernel interfaces, and storage no limit counts: all EPERM."""
    refused = {name: outcome for name, outcome in found.items() if name.startswith("call ")}
    assert refused.pop("call clone3") == 38  # ENOSYS: libc falls back to clone
    assert set(refused.values()) == {1}, refused
    assert found["unshare user"] == "-1"
    assert found["descriptor in flight"].startswith("PermissionError")


def test_the_first_process_cannot_be_read(found: dict[str, Any]) -> None:
    """As root bwrap's own process belongs to another user; its environment is empty anyway."""
    if os.geteuid() == 0:
        assert found["pid 1 memory"].startswith("PermissionError")
        assert found["pid 1 environment"].startswith("PermissionError")
    assert CANARY not in found["pid 1 environment"]


# filling things up


def test_one_big_file_is_cut_off(sandbox: Sandbox, spec: Callable[..., SandboxSpec]) -> None:
    """A file cannot grow beyond file_mb, dense or sparse."""
    code = """
        f = open("big", "wb")
        for action in (lambda: f.truncate(1 << 40), lambda: [f.write(bytes(1 << 20)) for _ in range(100)]):
            try:
                action()
                print("done")
            except OSError as error:
                print(error.errno)
    """
    code, out, _ = finish(sandbox.start(spec(code)))
    assert out.split() == ["27", "27"]
    assert code in (0, 1)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("while True:\n    n += 1\n    open(str(n), 'wb').write(bytes(4 << 20))", id="many-files"),
        pytest.param("while True:\n    n += 1\n    open(str(n), 'wb').close()", id="empty-files"),
        pytest.param("while True:\n    n += 1\n    os.makedirs(f'{n}/a/b/c/d')", id="folders"),
        pytest.param("while True:\n    os.mkdir('d'); os.chdir('d'); time.sleep(0.001)", id="deep-folders"),
        pytest.param(
            "while True:\n    f = open('x', 'wb', 0); f.write(bytes(4 << 20)); os.unlink('x'); kept.append(f)",
            id="deleted-open-files",
        ),
        pytest.param(
            "while True:\n    f = open('x', 'w+b', 0); f.write(bytes(4 << 20)); os.unlink('x')\n"
            "    kept.append(mmap.mmap(f.fileno(), 4 << 20)); f.close()",
            id="deleted-mapped-files",
        ),
        pytest.param("while True:\n    n += 1\n    open(f'/tmp/{n}', 'wb').close()", id="empty-files-in-memory"),
    ],
)
def test_the_disk_cannot_be_filled(sandbox: Sandbox, spec: Callable[..., SandboxSpec], body: str) -> None:
    """Files of any shape end the sandbox with the verdict `disk`, at little over the allowance."""
    what = spec(f"import mmap, os, time\nn, kept = 0, []\n{body}", limits=SMALL)
    process = sandbox.start(what)
    await_end(process)
    assert process.verdict == "disk"
    assert what.workspace is not None
    blocks = sum(p.lstat().st_blocks for p in what.workspace.rglob("*") if len(p.parts) < 60) * limits.BLOCK
    assert blocks < 400 << 20


def test_memory_file_systems_have_a_size(sandbox: Sandbox, spec: Callable[..., SandboxSpec]) -> None:
    """/tmp and /dev/shm take tmp_mb each and then are full."""
    code = """
        for folder in ("/tmp", "/dev/shm"):
            n = 0
            try:
                while True:
                    open(f"{folder}/{n}", "wb", 0).write(bytes(1 << 20))
                    n += 1
            except OSError as error:
                print(n, error.errno)
    """
    _, out, _ = finish(sandbox.start(spec(code)))
    assert [line.split()[1] for line in out.splitlines()] == ["28", "28"]
    assert all(int(line.split()[0]) <= SMALL.tmp_mb for line in out.splitlines())


def test_a_full_workspace_is_measured_without_following_links(tmp_path: Path) -> None:
    """A link out of the workspace counts as a link; hard links count once; a deep tree counts as full."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "big").write_bytes(bytes(1 << 20))
    work = tmp_path / "work"
    work.mkdir()
    (work / "link").symlink_to(outside)
    (work / "file").write_bytes(bytes(8192))
    os.link(work / "file", work / "same")
    assert 8192 <= disk_bytes(work, 1 << 30) <= 8192 + 2 * 4096
    assert disk_bytes(work, 1) >= 1
    deep = work
    for _ in range(limits.DEEPEST + 2):
        deep /= "d"
    deep.mkdir(parents=True)
    assert disk_bytes(work, 1 << 30) == 1 << 30


def test_a_fork_bomb_stays_in_its_box(sandbox: Sandbox, spec: Callable[..., SandboxSpec]) -> None:
    """No more than `processes` exist, and the end of the sandbox ends them all."""
    token = uuid.uuid4().hex
    code = f"""
        import os, time
        token = "{token}"
        made = 0
        for _ in range(200):
            try:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
                made += 1
            except OSError:
                pass
        print(made, flush=True)
        time.sleep(60)
    """
    process = sandbox.start(spec(code))
    assert process.stdout is not None
    made = int(process.stdout.readline())
    assert 4 < made <= SMALL.processes + 2
    process.close()
    assert gone(token)


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_nothing_outlives_its_sandbox(sandbox: Sandbox, spec: Callable[..., SandboxSpec], how: str) -> None:
    """setsid, a double fork, nohup and ignored signals: gone when the program ends, and when it is killed."""
    token = uuid.uuid4().hex
    code = f"""
        import os, signal, subprocess, sys, time
        sleep = [sys.executable, "-c", "import time; time.sleep(60) # {token}"]
        subprocess.Popen(sleep, start_new_session=True)
        subprocess.Popen(["nohup", *sleep], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in range(1, 32):
                    try:
                        signal.signal(number, signal.SIG_IGN)
                    except (OSError, ValueError):
                        pass
                time.sleep(60)
            os._exit(0)
        print("started", flush=True)
        {"time.sleep(60)" if how == "kill" else ""}
    """
    process = sandbox.start(spec(code))
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    if how == "kill":
        assert len(processes_with(token)) >= 3
        process.kill()
    else:
        process.wait(10)
    assert gone(token)
    process.close()


def test_a_sandbox_dies_with_the_process_that_started_it(spec: Callable[..., SandboxSpec], tmp_path: Path) -> None:
    """kill -9 of the lab leaves no sandbox behind."""
    token = uuid.uuid4().hex
    code = f"""
        import time
        from pathlib import Path
        from aarlab.sandbox import open_sandbox
        from aarlab.sandbox.base import Limits, SandboxSpec
        from aarlab.sandbox.library import PYTHON, library_binds
        one = SandboxSpec((PYTHON, "-c", "import time; time.sleep(60) # {token}"), Path({str(tmp_path / "w")!r}),
                          library_binds(), (), {{}}, Limits(256, 0, 24, 8, 24), 2)
        open_sandbox("bwrap").start(one)
        print("up", flush=True)
        time.sleep(60)
    """
    lab = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert lab.stdout is not None
    assert lab.stdout.readline() == b"up\n"
    lab.send_signal(signal.SIGKILL)
    lab.wait()
    lab.stdout.close()
    assert gone(f"# {token}\0") or gone(token)


def test_a_sandbox_outlives_the_thread_that_started_it(sandbox: Sandbox, spec: Callable[..., SandboxSpec]) -> None:
    """The kernel ties a sandbox to a thread; it must be one that lives as long as the lab."""
    started: list[SandboxProcess] = []
    what = spec("import time; time.sleep(60)")
    thread = threading.Thread(target=lambda: started.append(sandbox.start(what)))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert started[0].poll() is None
    started[0].close()


@pytest.mark.parametrize("cgroup", [True, False])
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
    code, out, _ = finish(process)
    ended_by_watch = process.verdict == "memory"
    assert ended_by_watch or (process.oom_kills() or 0) > 0
    assert out.count("survived") < 4


def test_cpu_time_is_counted_and_limited(sandbox: Sandbox, spec: Callable[..., SandboxSpec]) -> None:
    """Processes count together, and the sandbox ends at the limit."""
    bounded = Limits(memory_mb=256, cpu_seconds=1.0, processes=24, file_mb=8, disk_mb=24)
    process = sandbox.start(spec("import os\nos.fork()\nwhile True: pass", limits=bounded))
    await_end(process)
    assert process.verdict == "cpu"
    assert 0.9 < process.cpu_seconds() < 3


# what a sandbox is given


def test_the_workspace_survives_and_is_private(sandbox: Sandbox, spec: Callable[..., SandboxSpec]) -> None:
    """What one run leaves in /work the next run finds; as root each sandbox is a host user of its own."""
    write = "open('note', 'w').write('kept'); import os; print(os.stat('note').st_uid)"
    code, _, err = finish(sandbox.start(spec(write)))
    assert code == 0, err
    assert finish(sandbox.start(spec("print(open('note').read())")))[1] == "kept\n"
    what = spec("print(open('note').read())", uid_index=5)
    assert finish(sandbox.start(what))[1] == "kept\n"
    assert what.workspace is not None
    if os.geteuid() == 0:
        assert (what.workspace / "note").stat().st_uid == bwrap.FIRST_UID + 5


def test_read_only_folders_stay_so_and_hidden_ones_are_empty(
    sandbox: Sandbox, spec: Callable[..., SandboxSpec], tmp_path: Path
) -> None:
    """`read_only` appears at its place; a hidden folder below it is covered."""
    public, secret = tmp_path / "public", tmp_path / "public" / "vault"
    secret.mkdir(parents=True)
    (public / "card.json").write_text("{}")
    (secret / "labels").write_text(CANARY)
    code = """
        import os
        print(sorted(os.listdir("/data")), os.listdir("/data/vault"))
        for name in ("/data/new", "/data/card.json", "/data/vault/x"):
            try:
                open(name, "w")
            except OSError as error:
                print(error.errno)
    """
    what = spec(code, read_only=(*library_binds(), (public, "/data")), hidden=(secret,))
    _, out, err = finish(sandbox.start(what))
    assert out.splitlines() == ["['card.json', 'vault'] []", "30", "30", "30"], err


def test_a_socket_is_found_again_after_its_server_restarts(
    sandbox: Sandbox, spec: Callable[..., SandboxSpec], tmp_path: Path
) -> None:
    """A socket in a folder of its own is reached inside, also through a link, also when the server has made it anew."""
    folder = Path(tempfile.mkdtemp(prefix="aarlab-"))  # a unix socket's path is at most 107 bytes
    folder.chmod(0o755)
    (folder / "api").mkdir()
    place = folder / "api" / "lab.sock"
    (folder / "lab.sock").symlink_to(place)  # beside other files; only what it leads to must be alone
    (folder / "token").write_text(CANARY)
    code = """
        import socket, time
        for _ in range(2):
            for _ in range(100):
                s = socket.socket(socket.AF_UNIX)
                try:
                    s.connect("/run/aarlab.sock")
                    break
                except OSError:
                    time.sleep(0.05)
            print(s.recv(10).decode(), flush=True)
    """
    try:
        process = None
        for word in (b"one", b"two"):
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(place))
                place.chmod(0o666)
                server.listen()
                server.settimeout(10)
                process = process or sandbox.start(spec(code, sockets=((folder / "lab.sock", "/run/aarlab.sock"),)))
                connection, _ = server.accept()
            place.unlink()  # gone before the client hears a word, so that it meets the next server
            with connection:
                connection.sendall(word)
        assert process is not None
        assert finish(process)[1].split() == ["one", "two"]
    finally:
        shutil.rmtree(folder)


def test_output_goes_to_the_log(sandbox: Sandbox, spec: Callable[..., SandboxSpec], tmp_path: Path) -> None:
    """With `log` both streams are appended to it, and a program that is missing says so there."""
    log = tmp_path / "log"
    sandbox.start(spec("import sys; print('out'); print('err', file=sys.stderr)"), log=log, nice=5).wait(10)
    sandbox.start(spec("", argv=("no-such-program",)), log=log).wait(10)
    assert {"out", "err", "no-such-program: No such file or directory"} <= set(log.read_text().splitlines())


def test_a_log_cannot_fill_the_disk(sandbox: Sandbox, spec: Callable[..., SandboxSpec], tmp_path: Path) -> None:
    """The limit on one file's size holds for the log, too."""
    log = tmp_path / "log"
    process = sandbox.start(spec("import os\nwhile True: os.write(1, bytes(1 << 20))"), log=log)
    await_end(process)
    assert log.stat().st_size <= (SMALL.file_mb << 20) + 4096


def test_cgroups_are_removed(sandbox: Sandbox, spec: Callable[..., SandboxSpec]) -> None:
    """A sandbox that ended leaves no control group."""
    process = sandbox.start(spec("print(1)"))
    group = process._cgroup
    finish(process)
    if group is None:
        pytest.skip("this host lends no cgroup")
    assert not any(folder.exists() for folder in group.folders.values())


# wrong input, other kinds


def test_what_does_not_exist_is_named(sandbox: Sandbox, spec: Callable[..., SandboxSpec], tmp_path: Path) -> None:
    """A missing host path, a relative inner path, and as root a folder closed to others: one sentence each."""
    with pytest.raises(InputError, match="nowhere: does not exist"):
        sandbox.start(spec("", read_only=((tmp_path / "nowhere", "/data"),)))
    with pytest.raises(InputError, match="must be absolute"):
        sandbox.start(spec("", read_only=((tmp_path, "data"),)))
    if os.geteuid() == 0:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        with pytest.raises(InputError, match="chmod o"):
            sandbox.start(spec("", read_only=((closed, "/data"),)))


def test_a_bwrap_that_cannot_work_says_why(spec: Callable[..., SandboxSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    """No sandbox is no silent fallback: SandboxUnavailable with bwrap's own words."""
    false = shutil.which("false")
    assert false is not None
    monkeypatch.setattr(bwrap, "binary", lambda: false)
    with pytest.raises(SandboxUnavailable, match="could not set up a sandbox"):
        open_sandbox("bwrap").start(spec(""))


def test_an_installed_copy_of_the_package_is_covered(tmp_path: Path) -> None:
    """Where site-packages holds aarlab itself, the copy inside is masked and only the whitelist is left."""
    site = tmp_path / "lib" / "site-packages"
    (site / "aarlab" / "problems").mkdir(parents=True)
    assert masks(((site, "/opt/env/lib/site-packages"),)) == ["/opt/env/lib/site-packages/aarlab"]
    inside = masks(((PACKAGE.parent, "/opt/site/1"),))
    assert f"/opt/site/1/{PACKAGE.name}" in inside


def test_process_is_no_sandbox_and_says_so(spec: Callable[..., SandboxSpec], tmp_path: Path) -> None:
    """`process` runs in the workspace with host paths, kills what it started, and is not called isolated."""
    plain = open_sandbox("process")
    assert not plain.isolated
    data = tmp_path / "data"
    data.mkdir()
    (data / "x").write_text("text")
    code = "import os, sys; print(os.getcwd(), open(os.environ['DATA'] + '/x').read(), 'HOSTVAR' in os.environ)"
    what = spec(code, read_only=(*library_binds(), (data, "/data")), env={"DATA": "/data"})
    _, out, err = finish(plain.start(what))
    assert out.split() == [str(what.workspace), "text", "False"], err
    token = uuid.uuid4().hex
    loop = f"""
        import subprocess, sys, time
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60) # {token}"])
        print(1, flush=True)
        time.sleep(60)
    """
    process = plain.start(spec(loop))
    assert process.stdout is not None
    process.stdout.readline()
    process.close()
    assert gone(token)


def test_an_unknown_sandbox_is_refused() -> None:
    """The kind is `bwrap` or `process`."""
    with pytest.raises(ConfigError, match="docker"):
        open_sandbox("docker")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_can_do_all_this(tmp_path: Path) -> None:
    """Sandboxes and method runs work without root, in a user namespace, as uid 1000 inside."""
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
            [python, str(copy / script.name), str(copy)],
            env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=copy, user=65534, group=65534, extra_groups=[], capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {
            "uid": 1000,
            "capabilities": 0,
            "output": [0.25, 0.25],
            "refused": "forbidden",
        }
    finally:
        shutil.rmtree(copy)


def usable(python: str) -> bool:
    """Whether a user without rights can run this interpreter, and it takes our packages."""
    question = "import sys; print(sys.version_info[:2])"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [python, "-c", question], user=65534, group=65534, extra_groups=[], capture_output=True, text=True
        )
        return done.stdout.strip() == str(sys.version_info[:2])
    return False


def test_a_person_can_sit_in_a_sandbox(tmp_path: Path) -> None:
    """`attach` runs a program on the caller's own streams and answers with its exit code."""
    code = f"""
        from pathlib import Path
        from aarlab.sandbox import open_sandbox
        from aarlab.sandbox.base import Limits, SandboxSpec
        from aarlab.sandbox.library import library_binds
        one = SandboxSpec(("/bin/sh",), Path({str(tmp_path / "w")!r}), library_binds(), (), {{}},
                          Limits(256, 0, 24, 8, 24), 3)
        raise SystemExit(open_sandbox("bwrap").attach(one))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], input="pwd; hostname; exit 9\n", capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()) == (9, ["/work", "sandbox"]), done.stderr
