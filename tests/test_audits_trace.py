"""What a method's process did besides computing: seen as it happens, in real sandboxes; honest code is never blamed."""

from __future__ import annotations

import dis
import json
import mmap
import os
import socket
import textwrap
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy
from aarlab.audits.base import BASE, Results, Run, Setting
from aarlab.audits.execution_trace import ExecutionTrace
from aarlab.errors import MethodError
from aarlab.execution import LocalExecutor, MethodRun, trace, worker
from aarlab.execution.base import Event, RunResult
from aarlab.execution.events import FLOODED, FORBIDDEN, GARBLED, MOST_KINDS, SEEN, added, forbidden, parse
from aarlab.execution.local import Worker
from aarlab.problems import audit_task
from aarlab.problems import base as problems
from aarlab.sandbox import open_sandbox
from aarlab.w2s import methods
from aarlab.w2s.task import Draw
from test_execution import DRAWS, INPUTS, LIMITS, N, body, method, needs_bwrap
from toy_lab import ToyLab


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(open_sandbox("bwrap"), workers=2, limits=replace(LIMITS, memory_mb=512)) as pool:
        yield pool


def ran(executor: LocalExecutor, source: str, draws: int = 1) -> tuple[Event, ...]:
    """The events of a method, whether or not it got through."""
    try:
        return executor.run(method(source, draws)).events
    except MethodError as error:
        found: tuple[Event, ...] = error.events
        return found


def kinds(events: tuple[Event, ...]) -> set[str]:
    return {e.kind for e in events if forbidden(e)}


# every way to run something else


RUNS = """
class Walker:
    def visit(self, node):
        import ast
        if isinstance(node, ast.Expression): return self.visit(node.body)
        if isinstance(node, ast.BinOp): return self.visit(node.left) + self.visit(node.right)
        return node.value
"""

TRICKS: dict[str, tuple[str, set[str]]] = {
    # programs and processes
    "subprocess": ("import subprocess; subprocess.run(['/bin/true'])", {"program"}),
    "os-system": ("import os; os.system('true')", {"program"}),
    "os-popen": ("import os; os.popen('true')", {"program"}),
    "posix-spawn": ("import os; os.posix_spawn('/bin/true', ['true'], {})", {"program"}),
    "execve": ("import os; os.execv('/bin/true', ['true'])", {"program"}),
    "pty": ("import pty; pty.spawn(['/bin/true'])", {"program", "fork"}),
    "private-fork-exec": (
        "import multiprocessing.util as u; u.spawnv_passfds(b'/bin/true', [b'true'], [])",
        {"program"},
    ),
    "fork": ("import os; os.fork()", {"fork"}),
    "multiprocessing": (
        "import multiprocessing as m; m.get_context('fork').Process(target=print).start()",
        {"fork"},
    ),
    "ctypes-system": ("import ctypes; ctypes.CDLL(None).system(b'true')", {"ctypes"}),
    "ctypes-of-a-library": (
        "import threadpoolctl as t\nt.LibController.__abstractmethods__ = frozenset()\n"
        "t.LibController(filepath='libc.so.6').dynlib.system(b'true')",
        {"ctypes"},
    ),
    "numpy-ctypeslib": (
        "import numpy as np, os, numpy._core._multiarray_umath as m\n"
        "np.ctypeslib.load_library(os.path.basename(m.__file__), os.path.dirname(m.__file__)).system(b'true')",
        {"ctypes"},
    ),
    "ctypes-memory": ("import ctypes; ctypes.string_at(id(1), 8)", {"ctypes"}),
    # connections
    "socket": ("import socket; socket.create_connection(('127.0.0.1', 80))", {"socket"}),
    "raw-socket": ("import _socket; _socket.socket()", {"socket"}),
    "socketpair": ("import socket; socket.socketpair()", set()),  # Python tells nobody; the kernel refuses
    "name-lookup": ("import socket; socket.getaddrinfo('example.org', 80)", {"socket"}),
    # code from text
    "exec": ("exec('x = 1')", {"compile", "exec"}),
    "eval": ("eval('1 + 1')", {"compile", "exec"}),
    "compile": ("compile('x', 'x.py', 'exec')", {"compile"}),
    "exec-in-a-thread": (
        "import threading; t = threading.Thread(target=exec, args=('x = 1',)); t.start(); t.join()",
        {"compile"},
    ),
    "exec-by-map": ("list(map(exec, ['x = 1']))", {"compile", "exec"}),
    "exec-by-numpy": ("import numpy.testing as t; t.runstring('x = 1', {})", {"compile"}),
    "exec-by-the-importer": (
        "import importlib._bootstrap as b; b._call_with_frames_removed(exec, 'x = 1')",
        {"compile"},
    ),
    "exec-by-numpy-by-the-importer": (
        "import importlib._bootstrap as b, numpy.testing as t\nb._call_with_frames_removed(t.runstring, 'x = 1', {})",
        {"compile"},
    ),
    "exec-by-the-worker": ("import sys; sys.modules['__main__'].compiled('x = 1')", {"compile"}),
    "exec-by-code": ("import code; code.InteractiveInterpreter().runsource('x = 1')", {"compile"}),
    "exec-by-timeit": ("import timeit; timeit.timeit('1', number=1)", {"compile"}),
    "exec-by-doctest": ("import doctest; doctest.run_docstring_examples('>>> 1\\n1', {})", {"compile", "hook"}),
    "runpy": ("import runpy; runpy._run_code(compile('x = 1', 'x', 'exec'), {})", {"compile"}),
    "module-from-text": (
        """
        import importlib.abc, importlib.util
        class Loader(importlib.abc.SourceLoader):
            def get_filename(self, name): return '/usr/lib/text.py'
            def get_data(self, path): return b'x = 1'
        spec = importlib.util.spec_from_loader('text', Loader())
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.x == 1
        """,
        {"compile"},
    ),
    "module-that-pretends": (
        """
        import importlib.machinery, importlib.util, os
        path = os.__file__.replace('os.py', 'this.py')
        loader = importlib.machinery.SourceFileLoader('text', path)
        loader.get_data = lambda path: b'x = 1'
        loader.path_stats = lambda path: 1 / 0
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader('text', loader))
        try:
            loader.exec_module(module)
        except ZeroDivisionError:
            exec(loader.source_to_code(b'x = 1', path), module.__dict__)
        assert module.x == 1
        """,
        {"compile", "exec"},
    ),
    "module-from-a-pipe": (
        """
        import importlib.machinery, os
        reading, writing = os.pipe()
        os.write(writing, b'x = 1')
        os.close(writing)
        loader = importlib.machinery.SourceFileLoader('text', f'/dev/fd/{reading}')
        loader.source_to_code(b'x = 1', loader.path)
        """,
        {"compile"},
    ),
    "code-object": (
        "import types\ndef f(): return 1\ng = types.FunctionType(f.__code__.replace(co_consts=(None, 2)), {})\n"
        "assert g() == 2",
        {"code"},
    ),
    "code-from-marshal": (
        "import marshal; marshal.loads(marshal.dumps((lambda: 1).__code__))",
        {"code"},
    ),
    "code-from-a-pyc-of-its-own": (
        "import marshal, importlib._bootstrap_external as b\n"
        "b._compile_bytecode(marshal.dumps((lambda: 1).__code__), 'x', b.__file__ if hasattr(b, '__file__') else 'x')",
        {"code"},
    ),
    "code-swapped": ("f, g = (lambda: 1), (lambda: 2)\nf.__code__ = g.__code__", {"code"}),
    "ast-walker": (
        "import ast\nfrom method import Walker\nassert Walker().visit(ast.parse('1 + 2', mode='eval')) == 3",
        {"compile"},
    ),
    "data-class-with-code-for-a-name": (
        "import dataclasses\nclass C: pass\nC.__annotations__ = {'x=print()': int}\n"
        "try: dataclasses.dataclass(C)\nexcept Exception: pass",
        {"compile"},
    ),
    "data-class-machinery": ("import dataclasses; dataclasses._create_fn('f', [], ['print()'])", {"compile"}),
    "annotation-that-calls": ("import typing; typing.ForwardRef('print(1)')", {"compile"}),
    "distribution-with-code-for-a-template": (
        "import scipy.stats as s\ns.norm._parse_arg_template = 'print()'\n"
        "try: s.norm._attach_argparser_methods()\nexcept KeyError: pass",
        {"compile"},
    ),
    "second-interpreter": (
        "import _xxsubinterpreters as s; s.run_string(s.create(), 'x = 1')",
        {"interpreter"},
    ),
    # against the trace
    "own-hook": ("import sys; sys.addaudithook(lambda *a: None)", {"hook"}),
    "own-hook-that-stops-others": (
        """
        import os, sys
        def stop(event, args):
            if event == 'os.fork': raise RuntimeError
        sys.addaudithook(stop)
        try: os.fork()
        except RuntimeError: pass
        """,
        {"hook", "fork"},
    ),
    "settrace": ("import sys; sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)", {"hook"}),
    "emptied-module": (
        """
        import builtins, os, sys
        t = sys.modules['aarlab.execution.trace']
        for name in list(vars(t)): setattr(t, name, None)
        os.write = builtins.isinstance = builtins.len = builtins.str = lambda *a: None
        try: os.fork()
        except OSError: pass
        """,
        {"fork"},
    ),
    "hook-found-by-gc": (
        """
        import gc, os
        found = [o for o in gc.get_objects() if getattr(o, '__name__', '') == 'hook']
        assert len(found) >= 1
        for f in found: f.__code__ = (lambda event, args: None).__code__
        """,
        {"code"},
    ),
    "defaults-of-the-hook": (
        """
        import gc, os
        found = [o for o in gc.get_objects() if type(o).__name__ == 'function' and o.__name__ == 'hook']
        for f in found: f.__defaults__ = (frozenset(),) * len(f.__defaults__)
        """,
        {"code"},
    ),
    "shut-for-writing": (
        "import socket\ns = socket.socket(fileno=4)\ns.shutdown(socket.SHUT_WR)",
        {"socket", "call"},  # refused; and that it closes the socket at the end ends it
    ),
    "close": ("import os; os.close(4)", {"call"}),
    "replace": ("import os; os.dup2(0, 4)", {"call"}),
    "close-many": ("import os; os.closerange(3, 64)", {"call"}),
    "garbage": ("import os; os.write(4, b'no such thing')", {"trace"}),
    "half-a-line": ("import os; os.write(4, b'op')\ntry: os.fork()\nexcept OSError: pass", {"trace", "fork"}),
    "flood": ("import os\nfor _ in range(40): os.write(4, b'x' * 5000)", {"trace"}),
    # where secrets would be
    "vault": ("import os; os.path.exists('/')\nopen('/lab/vault/labels.npz')", {"secret"}),
    "source-of-the-server": ("open('/opt/aarlab/aarlab/vault/store.py')", {"secret"}),
    "memory": ("open('/proc/self/mem', 'rb')", {"secret"}),
    "environment-of-others": ("import os; open(f'/proc/{os.getppid()}/environ')", {"secret"}),
    "dots": ("import os; open(os.path.dirname(os.__file__) + '/../../../../vault/key')", {"secret"}),
    "workspaces": ("import os; os.listdir('/work')", {"secret"}),
    "kill": ("import os; os.kill(os.getppid(), 9)", {"signal"}),
}  # fmt: skip


Outcomes = dict[str, tuple[tuple[Event, ...], str]]


def each_apart(source: str, names: Iterable[str], inputs: bytes, one: Draw, timeout: float, memory: int) -> Outcomes:
    """The draws of one method whose seeds are 0, 1, ...: the events of each, by name, and how it ended."""
    draws = {name: replace(one, seed=i) for i, name in enumerate(names)}
    found: Outcomes = {}
    process = Worker.start(open_sandbox("bwrap"), replace(LIMITS, memory_mb=memory), 401)
    try:
        process._begin(MethodRun(source, inputs, tuple(draws.values()), timeout), memory)
        for name, draw in draws.items():
            seen: list[Event] = []
            try:
                process._one(draw, timeout, seen)
                ended = "done"
            except MethodError as error:
                ended = f"{error.reason}: {error}"
            found[name] = added(seen), ended
    finally:
        process.process.close()
    return found


@pytest.fixture(scope="module")
def traces() -> Outcomes:
    """Every trick in a process of its own."""
    tricks = [
        f"def trick_{i}(task, seed):\n{textwrap.indent(textwrap.dedent(code).strip(), '    ')}\n"
        for i, (code, _) in enumerate(TRICKS.values())
    ]
    run = f"def run(task, seed):\n    globals()[f'trick_{{seed}}'](task, seed)\n    return [0.5] * {N}\n"
    return each_apart("\n".join([RUNS, *tricks, run]), TRICKS, INPUTS.to_bytes(), DRAWS[0], 20, 256)


@needs_bwrap
@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_is_seen(traces: Outcomes, trick: str) -> None:
    """Whatever runs something else, or reaches for the trace or for secrets, leaves its kind in the trace."""
    events, ended = traces[trick]
    assert kinds(events) == TRICKS[trick][1], (events, ended)
    assert "Error" not in ended or "PermissionError" in ended or "FileNotFoundError" in ended, ended


@needs_bwrap
def test_a_handwritten_interpreter_leaves_no_trace(executor: LocalExecutor) -> None:
    """The limit of every trace: a machine that a method brings with it computes, and computing is no event."""
    code = """
    program, stack, pc = "2 3 + 4 *".split(), [], 0
    while pc < len(program):
        word = program[pc]
        if word in "+*":
            b, a = stack.pop(), stack.pop()
            stack.append(a + b if word == "+" else a * b)
        else:
            stack.append(int(word))
        pc += 1
    assert stack == [20]
    """
    assert executor.run(method(body(code))).events == ()


@needs_bwrap
def test_the_trace_of_a_signal_handler_changes_nothing(executor: LocalExecutor) -> None:
    """A handler that runs inside the hook sees its frame, and finds no table there that it could change."""
    code = """
    import signal, os
    met = []
    def handler(number, frame):
        while frame is not None:
            if frame.f_code.co_filename.endswith("execution/trace.py"):
                met.append(frame.f_code.co_name)
                frame.f_globals.clear()
                for value in frame.f_locals.values():
                    if isinstance(value, (dict, list)):
                        value.clear()
            frame = frame.f_back
    signal.signal(signal.SIGALRM, handler)
    for wait in range(60_000):  # one alarm at a time: handlers that met each other would end the method
        signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + wait % 200))
        try: open("/nowhere/file")
        except OSError: pass
        if len(met) >= 20: break
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert met
    try: os.fork()
    except OSError: pass
    """
    assert Event("fork", "os.fork") in executor.run(method(body(code))).events


def test_the_hook_reads_nothing_that_can_be_changed() -> None:
    """No function of the hook reads a global, a builtin or a closure, and its defaults hold no list and no dict."""
    hook = trace._assemble(99, ("/x/",), "/x", "/x", ["/x"])
    functions, done = [hook], set()
    while functions:
        function = functions.pop()
        assert isinstance(function, FunctionType)
        if function.__name__ in done:
            continue
        done.add(function.__name__)
        operations = {i.opname for i in dis.get_instructions(function)}
        assert not operations & {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "MAKE_FUNCTION"}, function.__name__
        assert function.__kwdefaults__ is None
        for value in function.__defaults__ or ():
            assert not isinstance(value, (list, dict)), function.__name__
            assert not isinstance(value, set) or function.__name__ == "hook"  # `sent`: of what is merely seen
            functions += [value] if isinstance(value, FunctionType) else []
    assert done >= {"hook", "notable", "here", "text_event", "path_event", "act_event", "genuine"}


# honest code


HONEST = """
from __future__ import annotations
import dataclasses, enum, functools, inspect, platform, threading, traceback, typing, warnings
from collections import namedtuple
import numpy as np
import threadpoolctl

Pair = namedtuple("Pair", "first second")

@dataclasses.dataclass(frozen=True, order=True)
class Setting:
    width: int
    rate: float = 0.1
    layers: list = dataclasses.field(default_factory=list)

class Row(typing.NamedTuple):
    first: int
    second: typing.Optional["Setting"] = None

class Colour(enum.Enum):
    RED = enum.auto()

@functools.singledispatch
def size(x): return 0

@size.register
def _(x: int): return 1

def run(task, seed):
    import joblib, scipy.stats, scipy.optimize
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.cluster import KMeans
    Setting(3), Pair(1, 2), Row(1), Colour.RED, size(2), enum.Enum("Size", "small large")
    dataclasses.make_dataclass("Made", ["a", "b"])(1, 2), dataclasses.replace(Setting(1), width=2)
    typing.get_type_hints(Row)
    warnings.warn("an honest warning")
    try: 1 / 0
    except ZeroDivisionError: traceback.format_exc()
    platform.processor(), platform.platform(), joblib.cpu_count(only_physical_cores=True)
    scipy.stats.norm(0, 1).cdf(0.3), scipy.stats.beta.fit(np.array([0.1, 0.2, 0.5]))
    scipy.optimize.minimize(lambda w: (w ** 2).sum(), np.ones(2))
    x = task.student.features(task.train, "h").astype(float)
    y = (task.weak_labels > 0.5).astype(int)
    with threadpoolctl.threadpool_limits(1):
        KMeans(2, n_init=1).fit(x)
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, n_jobs=2, cv=2).fit(x, y)
    inspect.signature(np.zeros_like), x.ctypes.data
    threads = [threading.Thread(target=np.linalg.inv, args=("no matrix",)) for _ in range(2)]
    for t in threads: t.start(); t.join()
    __import__("xml.dom.minidom"), __import__("sklearn.manifold"), __import__("scipy.signal")
    return [0.5] * len(task.test)
"""


@needs_bwrap
@pytest.mark.parametrize("kind", ["bwrap", "process"])
def test_honest_libraries_are_no_events(kind: str) -> None:
    """Data classes, named tuples, enums, frozen distributions, warnings, probes, n_jobs, errors in threads, imports."""
    with LocalExecutor(open_sandbox(kind), workers=1, limits=replace(LIMITS, memory_mb=512)) as pool:
        found = pool.run(method(HONEST, draws=2, timeout=60)).events
    assert not kinds(found), found
    assert {e.kind for e in found} <= {"open", "write"}, found


@needs_bwrap
def test_the_methods_of_the_library_have_clean_traces() -> None:
    """Every method that runs on the probe student, on items of a real task: no forbidden event, whatever it fits."""
    problem = problems.load(problems.names()[0], check=False)
    task = audit_task.load(problem, problem.of_role("open")[0].name)
    one = task.draw(0, np.random.default_rng(0))
    one = replace(one, train=one.train[:200], test=one.test[:100], weak_labels=one.weak_labels[:200])
    names = methods.names()
    sources = [methods.source(name).replace("from __future__ import annotations", "") for name in names]
    parts = [f"def method_{i}():\n{textwrap.indent(text, '    ')}\n    return run\n" for i, text in enumerate(sources)]
    run = "def run(task, seed):\n    return globals()[f'method_{seed}']()(task, seed)\n"
    found = each_apart("\n".join([*parts, run]), names, task.inputs.to_bytes(), one, 60, 1024)
    assert {name: events for name, (events, _) in found.items() if kinds(events)} == {}
    assert sum(ended == "done" for _, ended in found.values()) >= 15, found


# what the lab makes of it


def test_a_trace_is_read_line_by_line() -> None:
    """Known kinds in a safe alphabet are events, added up, forbidden ones first; all else is garbage."""
    raw = b"\nopen /a\n\n\nfork os.fork\n\nfork os.fork\n\nno such\n\nopen a b\n\nopen \xff\n"
    expected = (Event("fork", "os.fork", 2), replace(GARBLED, count=3), Event("open", "/a"))
    assert parse(raw) == expected
    assert parse(b"", cut=True) == (Event("trace", "cut"),)
    assert parse(b"\nopen /a\n\nfo", flooded=True) == (FLOODED, Event("open", "/a"))
    assert not set(FORBIDDEN) & set(SEEN)


@given(raw=st.binary(max_size=400) | st.lists(st.sampled_from([*FORBIDDEN, *SEEN, "x"])).map(lambda k: "\n".join(
    f"{kind} {i}" for i, kind in enumerate(k)).encode()), flooded=st.booleans(), cut=st.booleans())  # fmt: skip
def test_no_bytes_of_a_method_break_the_reading(raw: bytes, flooded: bool, cut: bool) -> None:
    """Whatever is written to the trace: known kinds, short details in the safe alphabet, nothing else."""
    for event in parse(raw, flooded, cut):
        assert event.kind in {**FORBIDDEN, **SEEN}
        assert 1 <= len(event.detail) <= 100
        assert trace.UNSAFE.search(event.detail) is None
        assert event.count >= 1


def test_a_trace_has_a_bounded_number_of_events() -> None:
    """Thousands of different lines become a bounded list and a flood."""
    found = parse(b"".join(b"\nopen /%d\n" % i for i in range(5000)))
    assert len(found) == MOST_KINDS
    assert FLOODED in found


@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_details_are_paths_in_a_safe_alphabet(text: str) -> None:
    """Any path becomes one word that the reading accepts."""
    found = parse(f"\nopen {trace.safe(text, trace.UNSAFE, trace.MOST_DETAIL)}\n".encode())
    assert len(found) == 1
    assert found[0].kind == "open"


@pytest.mark.parametrize("cut", [True, False])
def test_a_trace_that_is_closed_alone_is_cut(cut: bool) -> None:
    """Where no filter holds it open: a process that closes its trace and goes on has cut it; one that ends has not."""
    traced, tracing = socket.socketpair()
    reading, writing = os.pipe()
    with mmap.mmap(-1, 100) as answer, mmap.mmap(-1, 100) as lines, traced:
        log = worker.Log(traced, lines)
        tracing.send(b"\nfork os.fork\n")
        tracing.close()
        if not cut:
            os.write(writing, b"answer")
            os.close(writing)
        size, ended = worker.collect(reading, answer, time.monotonic() + 0.7, log)
        log.read_all()
        assert (log.cut, ended, size) == ((True, "timeout", 0) if cut else (False, "closed", 6))
        assert lines[: log.size] == b"\nfork os.fork\n"
    os.close(reading)
    if cut:
        os.close(writing)


def results(events: tuple[Event, ...]) -> Results:
    says = np.zeros(10, bool)
    setting: Setting = None  # type: ignore[assignment]  # this audit reads events alone
    return Results(setting, {BASE: (Run(np.arange(10), says),)}, {}, events)


def test_the_audit_counts_what_is_forbidden_and_lists_what_is_odd() -> None:
    """Its number is the number of forbidden events; opens and imports are shown beside it."""
    events = (Event("compile", "method", 3), Event("fork", "os.fork"), Event("open", "/etc/hosts", 2))
    found = ExecutionTrace().measure(results(events))
    assert (found.value, found.low, found.high, found.items) == (4, 4, 4, 10)
    assert "compiled text" in found.sentence
    assert "started a process" in found.sentence
    assert [e["kind"] for e in found.details["forbidden"]] == ["compile", "fork"]
    assert [e["detail"] for e in found.details["seen"]] == ["/etc/hosts"]
    clean = ExecutionTrace().measure(results(events[2:]))
    assert clean.value == 0
    assert "no trace" in clean.sentence
    json.dumps(found.details)


class Tries(toy.InProcess):
    """Answers like any executor and reports what a method tried."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails

    def run(self, run: MethodRun) -> RunResult:
        events = (Event("fork", "os.fork", 2), Event("open", "/etc/hosts"))
        if "tries" not in run.source:
            return super().run(run)
        if self.fails:
            raise MethodError("forbidden", "no", events=events)
        return replace(super().run(run), events=events)


@pytest.mark.parametrize("fails", [True, False])
def test_the_ledger_notes_what_was_tried_and_the_researcher_hears_nothing(tmp_path: Path, fails: bool) -> None:
    """An alarm in the operator's ledger beside the result or the failure; the verdict has its words and no others."""
    with ToyLab(tmp_path / "lab", executor=Tries(fails)) as lab:
        lab.score(toy.LEARNER)
        verdict = lab.score(toy.LEARNER + "\ntries = 1\n")
        alarms = [x for x in lab.get("/ledger", "operator")["lines"] if x["kind"] == "alarm"]
        body = {"what": "denied", "submission": verdict["id"], "purpose": "feedback"}
        assert [x["body"] for x in alarms] == [{**body, "events": [{"kind": "fork", "detail": "os.fork", "count": 2}]}]
        assert verdict["status"] == ("refused" if fails else "scored")
        assert "fork" not in json.dumps(verdict)
        assert lab.verify()
