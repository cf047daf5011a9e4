"""Inside a method's process: an audit hook that writes down what the method does besides computing.

The interpreter tells audit hooks of every file opened, text compiled, program started and so on, before it is done.
What is worth a look is written at once to a descriptor of its own, so that nothing the method does later takes it back.
If it cannot be written, what was about to happen does not happen. Each line is a kind and a detail
(`aarlab.execution.events` lists the kinds): fixed words, module names, or the start of a path in a safe alphabet.

The hook lives in the method's own process, so it is written for a method that would like to change it. Its functions
read no global, no closure and no table that could be changed: `seal` binds all they need as defaults, and the
interpreter tells of whoever replaces a function's defaults or code. A hook cannot be removed.

It is no sandbox: what a method may not do is refused by the kernel (aarlab.sandbox.seccomp), whether it is seen here
or not. And it is blind to a program that a method runs step by step in an interpreter of its own making.
The module stands alone: it is read inside sandboxes.
"""

from __future__ import annotations

import builtins
import dataclasses
import os
import re
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

TRACE = 4
"""The descriptor, in a method's process, to which its trace goes."""
MOST_DETAIL = 100
"""Characters of a path that are kept."""
MOST_SEEN = 60
"""Distinct lines of the kinds that are merely seen; each is written once. The forbidden kinds are written always."""

SEEN = frozenset({"open", "list", "write", "gc", "frame", "import"})

WATCHED = frozenset({
    "open", "os.listdir", "os.scandir", "glob.glob", "import",
    "compile", "marshal.loads", "marshal.load", "code.__new__", "exec", "function.__new__", "object.__setattr__",
    "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile", "pty.spawn",
    "_posixsubprocess.fork_exec", "os.fork", "os.forkpty",
    "sys.addaudithook", "sys.settrace", "sys.setprofile", "sys.remote_exec", "cpython.PyInterpreterState_New",
    "os.kill", "os.killpg", "gc.get_objects", "gc.get_referrers", "gc.get_referents",
    "sys._getframe", "sys._current_frames", "sys._current_exceptions",
})  # fmt: skip

TELLING = frozenset({
    "_posixsubprocess", "_posixshmem", "_multiprocessing", "_socket", "_ctypes", "_cffi_backend", "_interpreters",
    "_xxsubinterpreters", "_testcapi", "_testinternalcapi", "_imp", "ctypes", "multiprocessing", "socket", "subprocess",
    "pty", "code", "codeop", "runpy", "pdb", "bdb", "trace", "timeit", "cffi", "numba", "dis", "opcode", "marshal",
    "importlib.util", "importlib.machinery", "importlib.abc", "zipimport", "pickle", "dill", "cloudpickle", "mmap",
})  # fmt: skip
"""Modules whose first import by a method is shown. Those the libraries had imported before leave no trace."""

SECRET = re.compile(
    r"vault|label|teacher|ledger|secret|canar|credential|workspace|lab\.toml|tokens?\.|\.db$|\.ssh|shadow"
    r"|^/work(/|$)|/proc/(\d+|self|thread-self)/(task/\d+/)?(mem|environ|fd|root|cwd)|/proc/1/",
    re.IGNORECASE,
)
"""Where a method that looks for labels, other processes or the lab would look; all of it is absent or refused."""

OWN_SECRET = ("vault/", "server/", "store/", "problems/", "audits/", "redteam/", "fleet/")
"""Parts of aarlab that no method imports."""

UNSAFE = re.compile(r"[^A-Za-z0-9._/+-]")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

SCIPY_CALLS = re.compile(rb"([\w.\])]+)\s*\(")
SCIPY_NAMES = frozenset({
    b"_parse_args", b"_parse_args_rvs", b"_parse_args_stats", b"return", b"self._argcheck_rvs",
})  # fmt: skip


def install(descriptor: int, library: str, sites: list[str]) -> None:
    """Watch this process from now on. library: the folder that holds aarlab; sites: those of installed packages."""
    stdlib = os.path.dirname(os.__file__)
    folders = {stdlib, library, *sites, *(p for p in sys.path if p), os.path.dirname(os.path.realpath(os.__file__))}
    roots = tuple(sorted(f"{f.rstrip('/')}/" for f in folders))
    _watch_fork_exec()
    sys.addaudithook(_assemble(descriptor, roots, stdlib, library, sites))


def _watch_fork_exec() -> None:
    """Make an event of what CPython does not audit: processes started below `subprocess`."""
    try:
        import _posixsubprocess
    except ImportError:
        return
    real = _posixsubprocess.fork_exec

    def fork_exec(*args: Any) -> int:
        sys.audit("_posixsubprocess.fork_exec")
        return real(*args)

    _posixsubprocess.fork_exec = fork_exec


def _assemble(
    descriptor: int, roots: tuple[str, ...], stdlib: str, library: str, sites: list[str]
) -> Callable[[str, tuple[Any, ...]], None]:
    names: dict[str, Any] = {
        "descriptor": descriptor, "roots": roots, "watched": WATCHED, "telling": TELLING, "seen": SEEN, "sent": set(),
        "most_seen": MOST_SEEN, "most_detail": MOST_DETAIL,
        "secret": SECRET, "unsafe": UNSAFE, "writing": WRITING, "scipy_calls": SCIPY_CALLS, "scipy_names": SCIPY_NAMES,
        "own": tuple(f"{library}/aarlab/{part}" for part in OWN_SECRET),
        "generators": _generators(stdlib, sites), "probes": _probes(stdlib, sites), "ctypes_users": _ctypes(sites),
        "ast_file": f"{stdlib}/ast.py", "dataclass_file": f"{stdlib}/dataclasses.py",
        "typing_files": (f"{stdlib}/typing.py", f"{stdlib}/annotationlib.py"),
        "starters": (f"{stdlib}/subprocess.py", f"{stdlib}/os.py", "<frozen os>", f"{stdlib}/multiprocessing/"),
        "ctypes_files": f"{stdlib}/ctypes/", "field_type": dataclasses.Field,
        "os_open": os.open, "os_read": os.read, "os_close": os.close, "os_write": os.write,
    }  # fmt: skip
    for function in (
        safe, kind_of, in_library, brought_in, contents, quoted, genuine, plain_fields, generated, caller, path_event,
        import_event, text_event, act_event, notable, here, hook,
    ):  # fmt: skip
        names[function.__name__] = seal(function, names)
    found: Callable[[str, tuple[Any, ...]], None] = names["hook"]
    return found


def seal(function: Callable[..., Any], names: dict[str, Any]) -> Callable[..., Any]:
    """The function without globals, and with every parameter that is in `names` or is a builtin bound as a default."""
    assert isinstance(function, FunctionType)
    code = function.__code__
    wanted = code.co_varnames[: code.co_argcount]
    known = {**vars(builtins), **names}
    first = next((i for i, name in enumerate(wanted) if name in known), len(wanted))
    return FunctionType(code, {}, code.co_name, tuple(known[name] for name in wanted[first:]))


def _generators(stdlib: str, sites: list[str]) -> frozenset[tuple[str, str]]:
    """(file, function) of library functions that honestly compile text they made themselves, or only parse it."""
    own = (
        ("collections/__init__.py", "namedtuple"), ("inspect.py", "_signature_fromstr"),
        ("traceback.py", "_extract_caret_anchors_from_line_segment"),
    )  # fmt: skip
    others = (
        ("scipy/_lib/_bunch.py", "_make_tuple_bunch"), ("numpy/lib/_format_impl.py", "_read_array_header"),
        ("numpy/lib/format.py", "_read_array_header"), ("numpy/lib/_utils_impl.py", "safe_eval"),
        ("scipy/stats/_distn_infrastructure.py", "_attach_argparser_methods"),
    )  # fmt: skip
    return frozenset(
        [(f"{stdlib}/{file}", name) for file, name in own]
        + [(f"{site}/{file}", name) for site in sites for file, name in others]
    )


def _probes(stdlib: str, sites: list[str]) -> frozenset[str]:
    """Library files that start a fixed program to learn about the machine, and go on where that is refused."""
    own = [f"{stdlib}/{name}" for name in ("platform.py", "uuid.py", "ctypes/util.py")]
    return frozenset(own + [f"{site}/joblib/externals/loky/backend/context.py" for site in sites])


def _ctypes(sites: list[str]) -> frozenset[str]:
    """Library files that reach C functions by ctypes while they work."""
    return frozenset(f"{site}/{name}" for site in sites for name in ("threadpoolctl.py", "numpy/_core/_internal.py"))


# What follows runs in the hook. Every name is a parameter, bound by `seal`.


def hook(
    event: str, args: tuple[Any, ...],
    watched: frozenset[str], notable: Any, here: Any, seen: frozenset[str], sent: set[str], most_seen: int,
    len: Any, os_write: Any, descriptor: int,
) -> None:  # fmt: skip
    """Told of every event before it happens. Raises OSError where a line cannot be written: then it does not happen."""
    if event not in watched and not event.startswith(("socket.", "ctypes.")):
        return
    found = notable(event, args, here())
    if found is None:
        return
    line = f"\n{found[0]} {found[1]}\n"  # a line of its own, whatever was written before it
    if found[0] in seen:
        if line in sent or len(sent) >= most_seen:
            return
        sent.add(line)
    os_write(descriptor, line.encode())


def here(ValueError: type[Exception]) -> Any:
    """The frame in which the event arises, found without `sys._getframe`, which is an event itself."""
    try:
        raise ValueError
    except ValueError as error:
        return error.__traceback__.tb_frame.f_back.f_back  # type: ignore[union-attr]


def notable(
    event: str, args: tuple[Any, ...], frame: Any,
    path_event: Any, import_event: Any, text_event: Any, act_event: Any,
) -> tuple[str, str] | None:  # fmt: skip
    """(kind, detail) of an event worth a line."""
    match event:
        case "open" | "os.listdir" | "os.scandir" | "glob.glob":
            found: tuple[str, str] | None = path_event(event, args, frame)
        case "import":
            found = import_event(args, frame)
        case "compile" | "marshal.loads" | "marshal.load" | "code.__new__" | "exec" | "function.__new__":
            found = text_event(event, args, frame)
        case _:
            found = act_event(event, args, frame)
    return found


def path_event(
    event: str, args: tuple[Any, ...], frame: Any,
    isinstance: Any, str: Any, bytes: Any, int: Any, len: Any,
    roots: tuple[str, ...], own: tuple[str, ...], secret: Any, writing: int, safe: Any, brought_in: Any,
) -> tuple[str, str] | None:  # fmt: skip
    """A file or folder outside the libraries, or one where secrets would lie."""
    path = args[0]
    if path is None or isinstance(path, int):
        return None
    if isinstance(path, bytes):
        path = bytes.decode(path, "utf-8", "replace")
    if not isinstance(path, str):
        return ("open", "unnamed")
    path = str.__str__(path)
    folder = path + "/"
    if folder.startswith(roots) and "/../" not in folder and not folder.startswith(own):
        return None
    if folder.startswith(own) or secret.search(path) is not None:
        return ("secret", safe(path))
    if brought_in(frame):
        return None
    if event != "open":
        return ("list", safe(path))
    flags = args[2] if len(args) > 2 and isinstance(args[2], int) else 0
    return ("write" if flags & writing else "open", safe(path))


def import_event(args: tuple[Any, ...], frame: Any, telling: frozenset[str], in_library: Any) -> tuple[str, str] | None:
    """A telling module imported by the method's own file."""
    if args[0] not in telling:
        return None
    while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    if frame is None or in_library(frame):
        return None
    return ("import", args[0])


def text_event(
    event: str, args: tuple[Any, ...], frame: Any,
    in_library: Any, brought_in: Any, genuine: Any, generated: Any, quoted: Any, caller: Any,
) -> tuple[str, str] | None:  # fmt: skip
    """Code made from something else than the file of a library's module.

    Judged where code is made. To run it is an event only in the method's own file: what a library runs was made before.
    """
    if event == "exec" or event == "function.__new__":
        return None if in_library(frame) else ("exec" if event == "exec" else "code", caller(frame))
    if frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        fine = genuine(event, args, frame)
    else:
        fine = brought_in(frame) or (event == "compile" and (generated(args[0], frame) or quoted(*args[:2])))
    return None if fine else ("compile" if event == "compile" else "code", caller(frame))


def act_event(
    event: str, args: tuple[Any, ...], frame: Any,
    isinstance: Any, str: Any, kind_of: Any, in_library: Any, brought_in: Any, caller: Any, safe: Any,
    starters: tuple[str, ...], probes: frozenset[str], ctypes_files: str, ctypes_users: frozenset[str],
) -> tuple[str, str] | None:  # fmt: skip
    """Programs, processes, sockets, C functions, hooks, other processes, the interpreter's insides."""
    if event == "object.__setattr__":
        changed = args[1] in ("__code__", "__defaults__", "__kwdefaults__") and not in_library(frame)
        return ("code", args[1]) if changed else None
    kind = kind_of(event)
    if kind is None or brought_in(frame) or (kind == "frame" and in_library(frame)):
        return None
    asker = frame
    if kind == "program":
        while asker is not None and asker.f_code.co_filename.startswith(starters):
            asker = asker.f_back
        if asker is not None and asker.f_code.co_filename in probes:
            return None
        if args and isinstance(args[0], str):
            return ("program", safe(str.__str__(args[0])) if event != "os.system" else event)
    if kind == "ctypes":
        while asker is not None and asker.f_code.co_filename.startswith(ctypes_files):
            asker = asker.f_back
        if asker is not None and asker.f_code.co_filename in ctypes_users:
            return None
    return (kind, event)


def kind_of(event: str) -> str | None:
    match event:
        case "os.fork" | "os.forkpty":
            return "fork"
        case "sys.addaudithook" | "sys.settrace" | "sys.setprofile":
            return "hook"
        case "cpython.PyInterpreterState_New" | "sys.remote_exec":
            return "interpreter"
        case "os.kill" | "os.killpg":
            return "signal"
        case "gc.get_objects" | "gc.get_referrers" | "gc.get_referents":
            return "gc"
        case "sys._getframe" | "sys._current_frames" | "sys._current_exceptions":
            return "frame"
        case "socket.gethostname":
            return None
    if event.startswith("socket."):
        return "socket"
    return "ctypes" if event.startswith("ctypes.") else "program"


def safe(text: str, unsafe: Any, most_detail: int) -> str:
    """The start of a path, with the characters outside the safe alphabet replaced."""
    kept: str = unsafe.sub("_", text[:most_detail])
    return kept or "_"


def in_library(frame: Any, roots: tuple[str, ...]) -> bool:
    """Whether a frame's code comes from a library's file."""
    if frame is None:
        return False
    found: bool = frame.f_code.co_filename.startswith(("<frozen ", *roots))
    return found


def caller(frame: Any, in_library: Any, safe: Any) -> str:
    """A word for where an event comes from: "method", or a library file's name."""
    if not in_library(frame):
        return "method"
    name: str = safe(frame.f_code.co_filename.rpartition("/")[2].strip("<>"))
    return name


def brought_in(frame: Any, in_library: Any) -> bool:
    """Whether the import of a library's module is going on: its body lies right above the importing machinery."""
    above = None
    while frame is not None:
        importing = frame.f_code.co_filename.startswith("<frozen importlib")
        if importing and above is not None and above.f_code.co_name == "<module>" and in_library(above):
            return True
        above, frame = frame, frame.f_back
    return False


def genuine(
    event: str, args: tuple[Any, ...], frame: Any, isinstance: Any, str: Any, bytes: Any, roots: Any, contents: Any
) -> bool:
    """Whether the import machinery compiles or loads what truly lies in a library's file."""
    name = frame.f_code.co_name
    if event == "code.__new__":  # extension modules make code objects while they are set up
        return name == "_call_with_frames_removed" and frame.f_back.f_code.co_name in ("create_module", "exec_module")
    data = args[0]
    path = args[1] if event == "compile" else frame.f_locals.get("bytecode_path")
    if not (isinstance(path, str) and isinstance(data, bytes) and path.startswith(roots) and "/../" not in path):
        return False
    found: bool = contents(path)[0 if event == "compile" else 16 :] == data
    return found


def quoted(
    data: Any, path: Any, isinstance: Any, str: Any, bytes: Any, roots: tuple[str, ...], contents: Any
) -> bool:  # fmt: skip
    """Whether a piece of a line of a library's file is parsed: so the interpreter finds what to mark in a traceback."""
    if not (isinstance(path, str) and isinstance(data, bytes) and path.startswith(roots)):
        return False
    found: bool = b"\n" not in data and "/../" not in path and data in contents(path)
    return found


def contents(path: str, os_open: Any, os_read: Any, os_close: Any, OSError: type[Exception]) -> bytes:
    """All of a file; nothing where it cannot be read."""
    found = b""
    try:
        descriptor = os_open(path, 0)
        try:
            while chunk := os_read(descriptor, 16 << 20):
                found += chunk
        finally:
            os_close(descriptor)
    except OSError:
        return b""
    return found


def generated(
    source: Any, frame: Any,
    isinstance: Any, bytes: Any, str: Any, ast_file: str, dataclass_file: str, typing_files: tuple[str, ...],
    generators: frozenset[tuple[str, str]], scipy_calls: Any, scipy_names: frozenset[bytes], plain_fields: Any,
) -> bool:  # fmt: skip
    """Whether a library compiles text of its own making: named tuples, data classes, annotations, distributions."""
    while frame is not None and frame.f_code.co_filename == ast_file:
        frame = frame.f_back
    if frame is None:
        return False
    text = str.encode(source, "utf-8", "replace") if isinstance(source, str) else source
    file, name = frame.f_code.co_filename, frame.f_code.co_name
    if not isinstance(text, bytes):
        return False
    if file == dataclass_file:
        found: bool = plain_fields(frame)
        return found
    if file in typing_files:
        return b"(" not in text
    if name == "_attach_argparser_methods" and not scipy_names.issuperset(scipy_calls.findall(text)):
        return False
    return (file, name) in generators


def plain_fields(frame: Any, dataclass_file: str, field_type: Any, type: Any, str: Any) -> bool:
    """Whether a data class is being made the ordinary way, all of whose fields have names that are names."""
    while frame is not None and frame.f_code.co_filename == dataclass_file:
        if frame.f_code.co_name == "_process_class":
            for name, field in frame.f_locals.get("fields", {}).items():
                if type(name) is not str or not name.isidentifier() or type(field) is not field_type:
                    return False
                if type(field.name) is not str or not field.name.isidentifier():
                    return False
            return True
        frame = frame.f_back
    return False
