"""What the execution trace costs a method's process: CPU of forked children with and without the hook.

    python benchmarks/trace_cost.py [--repeats 15] [--json]

`nothing`: the hook's own set-up. `fit`: one head on 3,000 items of 256 features. `imports`: fourteen modules of the
standard library that were not loaded. `events`: 20,000 files opened outside the libraries, the worst honest case.
Figures are medians; children with and without the hook alternate, so that other load meets both.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import socket
import statistics
import sys
from collections.abc import Callable

from aarlab.execution import trace
from aarlab.sandbox.library import PACKAGE, site_folders
from aarlab.w2s.task import TaskInputs
from aarlab.w2s.view import view
from method_run import METHOD, make_task  # one thread: it starts itself again with the variables set

LATE = (
    "xml.dom.minidom", "unittest.mock", "email.message", "http.client", "sqlite3", "asyncio", "xmlrpc.client", "pydoc",
    "difflib", "tkinter", "curses", "csv", "wave", "mailbox",
)  # fmt: skip


def imports() -> None:
    for name in LATE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def events() -> None:
    for _ in range(20_000):
        os.close(os.open(os.devnull, os.O_RDONLY))


SITES = [str(folder) for folder in site_folders()]


def cpu_seconds(work: Callable[[], object], hooked: bool) -> float:
    """CPU of one forked child that does the work."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            if hooked:
                trace.install(theirs.fileno(), str(PACKAGE.parent), SITES)
            work()
            os._exit(0)
        usage = os.wait4(pid, 0)[2]
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    packed, (one,) = make_task(6000, 256, 1)
    inputs = TaskInputs.from_bytes(packed)
    namespace: dict[str, Callable[..., object]] = {}
    exec(METHOD, namespace)

    def fit() -> None:
        namespace["run"](view(inputs, one), one.seed)

    fit()  # libraries set themselves up
    found = {}
    for name, work in {"nothing": lambda: None, "fit": fit, "imports": imports, "events": events}.items():
        pairs = [(cpu_seconds(work, False), cpu_seconds(work, True)) for _ in range(args.repeats)]
        found[name] = [statistics.median(column) for column in zip(*pairs, strict=True)]
    if args.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    print(f"{'':10}{'without, ms':>12}{'with, ms':>10}{'more, ms':>10}")
    for name, (plain, hooked) in found.items():
        print(f"{name:10}{1e3 * plain:12.2f}{1e3 * hooked:10.2f}{1e3 * (hooked - plain):10.2f}")


if __name__ == "__main__":
    main()
