"""Methods in sandboxes: what an attack gets, what a failure is called, and what a run costs the lab."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aarlab
from aarlab.errors import Infrastructure, MethodError
from aarlab.execution import LocalExecutor, MethodRun
from aarlab.execution.base import Event
from aarlab.execution.local import DTYPES, Worker, decode, imports
from aarlab.sandbox import open_sandbox
from aarlab.sandbox.base import Limits
from aarlab.sandbox.limits import Cgroup, descendants
from aarlab.w2s.draw import draw
from aarlab.w2s.task import Layer, StudentSpec, TaskInputs
from aarlab.w2s.view import view
from sandbox_here import needs_bwrap

ITEMS = 60
LIMITS = Limits(memory_mb=256, cpu_seconds=0, processes=32, file_mb=0, disk_mb=0)
LEARNER = """
def run(task, seed):
    head = task.student.fit(task.train, task.weak_labels, seed=seed)
    return head.predict(task.test)
"""


def toy() -> tuple[TaskInputs, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, ITEMS)
    x = rng.normal(size=(ITEMS, 6)) + labels[:, None]
    layer = Layer(np.clip(x * 20, -127, 127).astype(np.int8), np.full(6, 0.05, np.float32))
    spec = StudentSpec(("h",), (1.0,), 1e-2)
    inputs = TaskInputs("toy", "open", {"h": layer}, rng.normal(size=ITEMS).astype(np.float32), np.arange(ITEMS), spec)
    teachers = np.where(rng.random((3, ITEMS)) < 0.8, labels, 1 - labels).astype(np.float32)
    return inputs, teachers


INPUTS, TEACHERS = toy()
DRAWS = tuple(draw(TEACHERS, np.arange(ITEMS) % 2 == 0, seed) for seed in range(3))
N = len(DRAWS[0].test)


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(open_sandbox("bwrap"), workers=2, limits=LIMITS) as pool:
        yield pool


def method(source: str, draws: int = 1, timeout: float = 10) -> MethodRun:
    return MethodRun(textwrap.dedent(source), INPUTS.to_bytes(), DRAWS[:draws], timeout)


def body(code: str) -> str:
    """A method whose `run` is `code`, and which answers 0.5 if the code lets it."""
    return (
        "def run(task, seed):\n"
        + textwrap.indent(textwrap.dedent(code).strip(), "    ")
        + f"\n    return [0.5] * {N}\n"
    )


def reason(executor: LocalExecutor, source: str, timeout: float = 10) -> str:
    with pytest.raises(MethodError) as caught:
        executor.run(method(source, timeout=timeout))
    return caught.value.reason


# honest work


@needs_bwrap
def test_a_method_gives_what_it_gives_in_process(executor: LocalExecutor) -> None:
    """The same numbers as without a sandbox, one vector for each draw, with its time."""
    found = executor.run(method(LEARNER, draws=3))
    namespace: dict[str, object] = {}
    exec(LEARNER, namespace)
    for output, one in zip(found.outputs, DRAWS, strict=True):
        expected = namespace["run"](view(INPUTS, one), one.seed)  # type: ignore[operator]
        np.testing.assert_allclose(output, expected, atol=1e-6)
        assert output.dtype == np.float32
    assert all(0 < cpu < 5 and 0 < wall < 10 for cpu, wall in zip(found.cpu_seconds, found.wall_seconds, strict=True))


@needs_bwrap
def test_the_libraries_work_under_the_filter(executor: LocalExecutor) -> None:
    """numpy, scipy, scikit-learn with its thread pools, threads of one's own: nothing honest is refused."""
    source = """
    import threading
    import numpy as np
    from scipy.stats import rankdata
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegressionCV

    def run(task, seed):
        x = task.student.features(task.train, "h")
        y = (task.weak_labels > 0.5).astype(int)
        models = [HistGradientBoostingClassifier(max_iter=3), RandomForestClassifier(5, n_jobs=2)]
        models.append(LogisticRegressionCV(cv=2))
        threads = [threading.Thread(target=m.fit, args=(x, y)) for m in models]
        for t in threads: t.start()
        for t in threads: t.join()
        x = task.student.features(task.test, "h")
        votes = sum(m.predict_proba(x)[:, 1] for m in models)
        return rankdata(votes) / len(votes)
    """
    output = executor.run(method(source, timeout=30)).outputs[0]
    assert output.max() == 1.0


# attacks: each runs, and the kernel refuses

REFUSED = {
    "subprocess": "import subprocess; subprocess.run(['/bin/true'])",
    "posix-spawn": "import os; os.posix_spawn('/bin/true', ['true'], {})",
    "execve": "import os; os.execv('/bin/true', ['true'])",
    "multiprocessing": "import multiprocessing as m; p = m.get_context('fork').Process(target=print); p.start()",
    "forkserver": "import multiprocessing as m; m.get_context('forkserver').Process(target=print).start()",
    "os-fork": "import os; os.fork()",
    "private-fork-exec": "import multiprocessing.util as u; u.spawnv_passfds(b'/bin/true', [b'true'], [])",
    "tcp-socket": "import socket; socket.create_connection(('127.0.0.1', 80))",
    "unix-socket": "import socket; socket.socket(socket.AF_UNIX)",
    "socketpair": "import socket; socket.socketpair()",
    "kill-the-worker": "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
    "stop-the-worker": "import os, signal; os.kill(os.getppid(), signal.SIGSTOP)",
    "kill-everything": "import os; os.kill(-1, 9)",
    "kill-oneself": "import os; os.kill(os.getpid(), 9)",
    "limits-of-the-worker": "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))",
    "own-cpu-limit": "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 1))",
    "worker-memory": "import os; open(f'/proc/{os.getppid()}/mem', 'r+b')",
    "worker-descriptors": "import os; os.listdir(f'/proc/{os.getppid()}/fd')",
    "worker-environment": "import os; open(f'/proc/{os.getppid()}/environ').read()",
    "signal-owner": "import fcntl, os; fcntl.fcntl(3, 8, os.getppid())",
    "lock-a-shared-file": "import fcntl; fcntl.flock(open('/etc/hosts'), fcntl.LOCK_EX)",
    "write-work": "open('/work/x', 'w')",
    "write-tmp": "open('/tmp/x', 'w')",
    "write-shm": "open('/dev/shm/x', 'w')",
    "write-home": "open('x', 'w')",
    "write-library": "open('/opt/aarlab/aarlab/errors.py', 'w')",
    "write-sitecustomize": "import site; open(site.getsitepackages()[0] + '/sitecustomize.py', 'w')",
    "memfd": "import os; os.memfd_create('x')",
}


TRY_ALL = """
import json

def run(task, seed):
    found = {{}}
    for name, attack in {attacks!r}.items():
        try:
            exec(attack, {{}})
            found[name] = "done"
        except BaseException as error:
            found[name] = type(error).__name__
    raise RuntimeError("found" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def outcomes(executor: LocalExecutor) -> dict[str, str]:
    """Every attack of `REFUSED`, tried by one method: the name of the error each ended with."""
    with pytest.raises(MethodError) as caught:
        executor.run(method(TRY_ALL.format(attacks=REFUSED)))
    found: dict[str, str] = json.loads(caught.value.detail.rpartition("found")[2])
    return found


@needs_bwrap
@pytest.mark.parametrize("attack", REFUSED)
def test_the_kernel_refuses(outcomes: dict[str, str], attack: str) -> None:
    """New programs, processes, sockets, signals to others, writing: an error in the method, and no harm."""
    others = {
        "write-work": "FileNotFoundError",  # there is no such folder
        "own-cpu-limit": "ValueError",  # what `resource` makes of EPERM
    }
    read_only = attack.startswith("write-")  # OSError: read-only file system
    assert outcomes[attack] == others.get(attack, "OSError" if read_only else "PermissionError")


@needs_bwrap
@pytest.mark.parametrize("attack", ["subprocess", "os-fork", "tcp-socket", "write-tmp"])
def test_an_uncaught_refusal_is_called_forbidden(executor: LocalExecutor, attack: str) -> None:
    """The reason tells a method's author that the rules, and not a mistake, ended the run."""
    assert reason(executor, body(REFUSED[attack])) == "forbidden"


@needs_bwrap
def test_calls_around_python_are_refused_too(executor: LocalExecutor) -> None:
    """ctypes system() and fork(), raw calls of SysV memory, queues, keyrings: each fails, by errno, not by a hook."""
    code = """
    import ctypes, os
    from aarlab.sandbox import seccomp
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.system(b"true") != 0
    assert libc.fork() == -1
    assert os.system("true") != 0
    for name in (*seccomp.SANDBOX_REFUSED, "fork", "vfork", "execve", "timer_create", "pidfd_open", "inotify_init1"):
        number = seccomp.CALLS[name][seccomp.machine().column]
        if number is not None:
            ctypes.set_errno(0)
            assert libc.syscall(number, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() == 1, name
    """
    executor.run(method(body(code)))


@needs_bwrap
def test_nothing_is_kept_between_two_runs_or_two_seeds(executor: LocalExecutor) -> None:
    """A canary put everywhere it can be put (module state, environment, files) is not there for the next child."""
    source = f"""
    import builtins, os, sys
    import numpy as np

    def run(task, seed):
        seen = getattr(np, "canary", 0) + getattr(builtins, "canary", 0) + int(os.environ.get("CANARY", 0))
        seen += "canary" in sys.modules
        np.canary = builtins.canary = 1
        os.environ["CANARY"] = "1"
        sys.modules["canary"] = np
        for place in ("/tmp", "/dev/shm", "/work", "/run", ".", "/proc/self"):
            try:
                seen += os.path.exists(place + "/canary")
                open(place + "/canary", "w")
            except OSError:
                pass
        return [min(1.0, float(seen))] * {N}
    """
    for _ in range(2):
        for output in executor.run(method(source, draws=3)).outputs:
            assert output.max() == 0


@needs_bwrap
def test_no_label_and_no_other_seed_is_in_memory_or_descriptors(executor: LocalExecutor) -> None:
    """gc, the stack and /proc/self/fd show this draw only: no labels, no other teacher, two descriptors to write to."""
    code = """
    import gc, os, sys
    import numpy as np
    assert sorted(os.listdir("/proc/self/fd"), key=int)[:-1] == ["0", "1", "2", "3", "4"]  # the last is the listing's
    assert all(os.readlink(f"/proc/self/fd/{n}") == "/dev/null" for n in (0, 1, 2))
    frame, names = sys._getframe(), set()
    while frame:
        names |= set(frame.f_locals)
        frame = frame.f_back
    assert not {"labels", "draws", "teachers"} & names, names
    draws = [o for o in gc.get_objects() if type(o).__name__ == "Draw"]
    assert len(draws) == 1, len(draws)
    assert not [o for o in gc.get_objects() if isinstance(o, np.ndarray) and o.shape == (3, 60)]
    """
    executor.run(method(body(code), draws=3))


@needs_bwrap
@pytest.mark.parametrize(
    "trick",
    [
        pytest.param("import atexit; atexit.register(lambda: 1 / 0)", id="atexit"),
        pytest.param("import threading, time; threading.Thread(target=time.sleep, args=(99,)).start()", id="thread"),
        pytest.param(
            "import numpy as np; np.asarray([0.5]).__class__; np.isfinite = lambda a: True", id="monkey-patch"
        ),
        pytest.param(
            "import sys; sys.stdout.write('x' * 10_000_000); sys.stderr.write('y' * 10_000_000)", id="chatter"
        ),
        pytest.param("import os; os.write(1, b'forged' * 100); os.write(0, b'forged')", id="forged-frames"),
        pytest.param("import sys; sys.settrace(lambda *a: None); sys.setrecursionlimit(10**6)", id="trace"),
    ],
)
def test_tricks_have_no_effect(executor: LocalExecutor, trick: str) -> None:
    """Exit handlers, threads, patched libraries and output change neither this answer nor the next."""
    found = executor.run(method(body(trick), draws=2))
    assert [o.tolist() for o in found.outputs] == [[0.5] * N] * 2


@needs_bwrap
def test_the_interpreter_reads_no_settings(executor: LocalExecutor) -> None:
    """No `site`: no .pth file, no sitecustomize, no user folder, no PYTHON variable; libraries from known folders."""
    code = """
    import sys
    assert sys.flags.isolated and sys.flags.no_site and sys.flags.no_user_site and sys.flags.ignore_environment
    assert not {"site", "sitecustomize", "usercustomize"} & set(sys.modules)
    assert all(p.startswith(("/opt/", sys.base_prefix)) for p in sys.path), sys.path
    assert not [name for name in sys.modules if name.startswith(("_virtualenv", "__editable__", "_distutils_hack"))]
    """
    executor.run(method(body(code)))


@needs_bwrap
@pytest.mark.parametrize("kind", ["object-array", "void", "class"])
def test_a_pickle_as_output_is_a_fixed_word(executor: LocalExecutor, kind: str, tmp_path: Path) -> None:
    """What would run when it is unpickled is never unpickled: `dtype`, and nothing happens on this side."""
    source = f"""
    import os, pickle
    import numpy as np
    class Payload:
        def __reduce__(self): return os.system, ("touch {tmp_path}/opened",)
    def run(task, seed):
        if "{kind}" == "object-array":
            return np.array([Payload()] * {N}, dtype=object)
        if "{kind}" == "void":
            return np.frombuffer(pickle.dumps(Payload()).ljust({N} * 8, b".")[:{N} * 8], "V8")
        return Payload()
    """
    assert reason(executor, textwrap.dedent(source)) == ("shape" if kind == "class" else "dtype")
    assert not (tmp_path / "opened").exists()


def test_no_pickle_is_read_where_methods_run() -> None:
    """Neither the worker, the executor nor the inputs import pickle; every np.load on this path refuses it."""
    package = Path(aarlab.__file__).parent
    files = [*package.glob("execution/*.py"), package / "w2s/task.py", package / "vault/store.py"]
    for path in files:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            assert not {"pickle", "marshal", "shelve", "joblib", "dill"} & set(names), path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
                assert "allow_pickle=False" in ast.unparse(node), f"{path}:{node.lineno}"


@needs_bwrap
def test_forged_answers_and_traces_change_no_answer(executor: LocalExecutor) -> None:
    """Bytes of an answer written to the trace are garbage there, and the answer is what `run` returns."""
    forged = answer({"dtype": "<f4", "shape": [N]}, np.ones(N, np.float32).tobytes())
    found = executor.run(method(body(f"import os; os.write(4, b'S' + {forged!r})"), draws=2))
    assert [o.tolist() for o in found.outputs] == [[0.5] * N] * 2
    assert {e.kind for e in found.events} == {"trace"}


@needs_bwrap
def test_events_travel_with_a_failure(executor: LocalExecutor) -> None:
    """What a method did in its earlier draws, and in the one that failed, is in the error."""
    source = """
    import os
    def run(task, seed):
        try:
            os.fork()
        except OSError:
            pass
        if seed:
            raise ValueError("enough")
        return [0.5] * len(task.test)
    """
    run = method(source)
    with pytest.raises(MethodError) as caught:
        executor.run(replace(run, draws=(replace(DRAWS[0], seed=0), replace(DRAWS[1], seed=1))))
    assert caught.value.events == (Event("fork", "os.fork", 2),)


# failures and their names


@needs_bwrap
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("def run(task, seed):\n    return (", "syntax", id="syntax"),
        pytest.param("x = 1", "no-run", id="no-run"),
        pytest.param("run = 3", "no-run", id="run-is-a-number"),
        pytest.param(body("1 / 0"), "crashed", id="exception"),
        pytest.param(body("import os; os._exit(0)"), "crashed", id="exit-0"),
        pytest.param(body("import os; os._exit(70)"), "crashed", id="exit-70"),
        pytest.param(body("import ctypes; ctypes.string_at(0)"), "crashed", id="segfault"),
        pytest.param(body("import os; os.abort()"), "crashed", id="abort"),
        pytest.param(body("run(task, seed)"), "crashed", id="recursion"),
        pytest.param(body("import os, time; os.close(3); time.sleep(60)"), "crashed", id="closes-its-descriptor"),
        pytest.param(body("import os; os.write(3, b'garbage'); os._exit(0)"), "crashed", id="garbage"),
        pytest.param(body("import os\nwhile True: os.write(3, bytes(65536))"), "shape", id="endless-answer"),
        pytest.param(body("kept = bytearray(1 << 33)"), "out-of-memory", id="one-big-allocation"),
        pytest.param(body("kept = []\nwhile True: kept.append(bytearray(1 << 20))"), "out-of-memory", id="slow-growth"),
        pytest.param(body("import mmap; m = mmap.mmap(-1, 1 << 33)"), "crashed", id="shared-mapping"),
        pytest.param(body("return None"), "shape", id="none"),
        pytest.param(body("return [[0.5]]"), "shape", id="shape"),
        pytest.param(body(f"return [1] * {N}"), "dtype", id="integers"),
        pytest.param(body(f"return [object()] * {N}"), "dtype", id="objects"),
        pytest.param(body(f"return [float('nan')] * {N}"), "nan", id="nan"),
        pytest.param(body(f"return [1.0001] * {N}"), "range", id="above-one"),
        pytest.param(body(f"return [-0.0001] * {N}"), "range", id="below-zero"),
    ],
)
def test_a_failure_has_a_fixed_name(executor: LocalExecutor, source: str, expected: str) -> None:
    """Whatever a method does wrong is one of the reasons, never an infrastructure failure."""
    assert reason(executor, source) == expected


@needs_bwrap
@pytest.mark.parametrize("loop", ["while True: pass", "import time; time.sleep(99)", "import signal; signal.pause()"])
def test_an_endless_loop_is_timed_out(executor: LocalExecutor, loop: str) -> None:
    """The limit is wall time for each seed, whatever the method waits for."""
    start = time.monotonic()
    assert reason(executor, body(loop), timeout=0.5) == "timed-out"
    assert time.monotonic() - start < 8


@needs_bwrap
def test_the_traceback_travels_and_is_bounded(executor: LocalExecutor) -> None:
    """`detail` holds the end of the traceback with the method's own line; the sentence stays one line."""
    with pytest.raises(MethodError) as caught:
        executor.run(method(body("raise ValueError('x' * 100_000)")))
    assert len(caught.value.detail) <= 20_000
    with pytest.raises(MethodError) as caught:
        executor.run(method(body("number = 1 / 0")))
    assert 'File "method.py", line 2, in run' in caught.value.detail
    assert "number = 1 / 0" in caught.value.detail
    assert str(caught.value) == "the method failed: ZeroDivisionError: division by zero"


# our own failures


@needs_bwrap
@pytest.mark.parametrize("victim", ["sandbox", "worker", "method"])
def test_kill_from_outside_is_infrastructure(victim: str) -> None:
    """kill -9 of bwrap, of the worker or of the method's process is never the method's fault, and the pool recovers."""
    with LocalExecutor(open_sandbox("bwrap"), workers=1, limits=LIMITS) as pool:
        caught: list[BaseException] = []

        def go() -> None:
            try:
                pool.run(method(body("import time; time.sleep(30)"), timeout=40))
            except BaseException as error:
                caught.append(error)

        thread = threading.Thread(target=go)
        thread.start()
        pids = _running(pool, depth=4)
        os.kill(pids[{"sandbox": 0, "worker": 2, "method": 3}[victim]], signal.SIGKILL)
        thread.join(20)
        assert isinstance(caught[0], Infrastructure)
        assert not isinstance(caught[0], MethodError)
        assert pool.run(method(LEARNER)).outputs[0].shape == (N,)


def _running(pool: LocalExecutor, depth: int) -> list[int]:
    """Host processes of the one run in progress: bwrap, its inner half, the worker, the method."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(StopIteration):
            pids = descendants(next(iter(pool._in_use)).process.pid)
            if len(pids) >= depth:
                return pids
        time.sleep(0.02)
    raise AssertionError("no run came up")


@needs_bwrap
def test_a_dead_standby_is_replaced(executor: LocalExecutor) -> None:
    """A warm worker that died while waiting is skipped."""
    executor.run(method(LEARNER))
    deadline = time.monotonic() + 20
    while not executor._ready and time.monotonic() < deadline:
        time.sleep(0.02)
    executor._ready[0].process.kill()
    assert executor.run(method(LEARNER)).outputs[0].shape == (N,)


@needs_bwrap
def test_a_kill_for_memory_is_the_methods_fault(executor: LocalExecutor) -> None:
    """Where the kernel counts memory, its kill is told apart from a kill by hand."""
    worker = _standby(executor)
    try:
        worker.process._oom, worker.process._cgroup = 1, None
        with pytest.raises(MethodError) as caught:
            worker._judge_kill()
        assert caught.value.reason == "out-of-memory"
        worker.process._oom = 0
        with pytest.raises(Infrastructure):
            worker._judge_kill()
    finally:
        worker.process.close()


def _standby(executor: LocalExecutor) -> Worker:
    return Worker.start(executor.sandbox, LIMITS, 400)


@needs_bwrap
def test_a_memory_bomb_without_a_cgroup_ends_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """On hosts that lend no cgroup the address space is the limit."""
    monkeypatch.setattr(Cgroup, "create", classmethod(lambda cls, limits: None))
    with LocalExecutor(open_sandbox("bwrap"), workers=1, limits=LIMITS) as pool:
        assert reason(pool, body("kept = []\nwhile True: kept.append(bytearray(1 << 20))")) == "out-of-memory"


@needs_bwrap
def test_runs_in_parallel_and_closing() -> None:
    """`run` may be called from many threads; close() ends what runs, with Infrastructure, and leaves no process."""
    pool = LocalExecutor(open_sandbox("bwrap"), workers=2, limits=LIMITS)
    outputs: list[float] = []
    errors: list[BaseException] = []

    def go(value: float, pause: float) -> None:
        try:
            source = f"import time\ndef run(task, seed):\n    time.sleep({pause})\n    return [{value}] * {N}"
            outputs.append(float(pool.run(method(source, timeout=60)).outputs[0][0]))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=go, args=(i / 8, 0)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outputs) == [0, 0.125, 0.25, 0.375]
    thread = threading.Thread(target=go, args=(0.9, 50))
    thread.start()
    _running(pool, depth=4)
    pids = [p for w in [*pool._in_use, *pool._ready] for p in descendants(w.process.pid)]
    pool.close()
    thread.join(10)
    assert [type(e) for e in errors] == [Infrastructure]
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{p}").exists() for p in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [p for p in pids if Path(f"/proc/{p}").exists()]
    with pytest.raises(Infrastructure, match="closed"):
        pool.run(method(LEARNER))


@needs_bwrap
def test_workers_die_with_the_lab() -> None:
    """kill -9 of the process with the pool leaves no worker behind."""
    token = uuid.uuid4().hex
    code = f"""
    import time
    from aarlab.execution import local
    from aarlab.sandbox import open_sandbox
    pool = local.LocalExecutor(open_sandbox("bwrap"), 1)
    for _ in range(2000): pool._ready or time.sleep(0.01)
    from aarlab.sandbox.limits import descendants
    print(*descendants(pool._ready[0].process.pid), flush=True)
    time.sleep(60)  # {token}
    """
    lab = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert lab.stdout is not None
    pids = [int(p) for p in lab.stdout.readline().split()]
    assert len(pids) == 3
    lab.kill()
    lab.wait()
    lab.stdout.close()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{p}").exists() for p in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [p for p in pids if Path(f"/proc/{p}").exists()]


def test_the_process_kind_runs_methods_too() -> None:
    """Without isolation the same protocol, the same reasons and, on Linux, the same refusals."""
    with LocalExecutor(open_sandbox("process"), workers=1, limits=LIMITS) as pool:
        assert pool.run(method(LEARNER)).outputs[0].shape == (N,)
        assert reason(pool, body("1 / 0")) == "crashed"
        if sys.platform == "linux":
            assert reason(pool, body("import os; os.fork()")) == "forbidden"


# validation on our side


def answer(head: object, data: bytes) -> bytes:
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + struct.pack("<Q", len(data)) + data


@given(
    values=st.lists(st.floats(0, 1, width=16), min_size=1, max_size=20),
    name=st.sampled_from(sorted(DTYPES)),
)
def test_every_vector_of_probabilities_is_accepted(values: list[float], name: str) -> None:
    """Any float type, any values in [0, 1]: back as float32 with the same numbers."""
    array = np.array(values, DTYPES[name])
    got = decode(answer({"dtype": name, "shape": [len(values)]}, array.tobytes()), len(values))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, array.astype(np.float32))


@given(values=st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_other_numbers_are_refused_by_their_kind(values: list[float]) -> None:
    """NaN and infinity are `nan`; finite numbers outside [0, 1] are `range`."""
    array = np.array(values, np.float32)
    raw = answer({"dtype": "<f4", "shape": [len(values)]}, array.tobytes())
    expected = "nan" if not np.isfinite(array).all() else "range" if ((array < 0) | (array > 1)).any() else None
    if expected is None:
        assert len(decode(raw, len(values))) == len(values)
    else:
        with pytest.raises(MethodError) as caught:
            decode(raw, len(values))
        assert caught.value.reason == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)
HEADS = st.fixed_dictionaries(
    {}, optional={"dtype": st.sampled_from(["<f4", "<f8", "|b1", "<i8", "|O"]) | JSON, "shape": JSON, "error": JSON}
)


@given(head=HEADS | JSON, data=st.binary(max_size=64), count=st.integers(0, 8))
def test_no_answer_of_a_method_breaks_the_lab(head: object, data: bytes, count: int) -> None:
    """Whatever head and bytes a hostile child sends: a valid vector or a MethodError."""
    with contextlib.suppress(MethodError):
        got = decode(answer(head, data), count)
        assert got.shape == (count,)
        assert ((got >= 0) & (got <= 1)).all()


@given(raw=st.binary(max_size=200))
def test_no_bytes_break_the_lab(raw: bytes) -> None:
    """The same for bytes that are no answer at all."""
    with contextlib.suppress(MethodError):
        decode(raw, 3)


def test_only_library_modules_are_imported_ahead() -> None:
    """The worker imports what a method imports from scipy, scikit-learn and aarlab.w2s, and nothing else."""
    source = "import os, sklearn.svm as s\nfrom aarlab.w2s import heads\nfrom aarlab.vault import x\nimport scipyx"
    assert imports(source) == ["aarlab.w2s", "sklearn.svm"]
    assert imports("not python (") == []
