"""Where LLM researchers' processes come from: one process that has imported everything, and forks.

Importing an agent framework and two providers' clients costs six seconds of CPU; nine researchers would pay it nine
times, and hold nine copies of the same code in memory. The supervisor (`aarlab.fleet.host`) talks to the nursery in
lines of JSON:

    in    {"start": NAME}                       fork a researcher
    out   {"name": NAME, "pid": PID}            it runs; a process group of its own
          {"name": NAME, "pid": PID, "code": N}  it has ended; -N after signal N

It ends with its standard input, and its children end with it. What a library prints goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO, cast

from aarlab import settings as settings_file
from aarlab.fleet import keys
from aarlab.llm import thrift
from aarlab.llm.prices import price_of
from aarlab.sandbox.enter import die_with
from aarlab.settings import Settings

LOOK_SECONDS = 0.1
NICE = 10

CLIENTS = {
    "anthropic": "anthropic", "openai": "openai", "openai-api": "openai", "azureai": "openai", "google": "google.genai",
    "mistral": "mistralai", "groq": "groq", "vllm": "openai", "together": "openai",
}  # fmt: skip
"""Provider -> the package its calls need."""

WARM = (
    "aarlab.llm.registry", "aarlab.llm.seat", "aarlab.llm.session", "anyio._backends._asyncio",
    "inspect_ai.agent._acp", "inspect_ai.agent._acp.server", "inspect_ai.model._providers.providers",
    "inspect_ai._util.entrypoints", "fastapi", "uvicorn.protocols.http.auto", "requests",
    "inspect_ai.model._openai_responses", "inspect_ai.model._providers.anthropic",
)  # fmt: skip
"""What a first session imports late; a name that a newer framework lacks only costs time. The last two are imported
for every sample, whichever provider it uses, if their clients are installed."""

IN_THE_TABLE = "openai/gpt-4o"
"""A model that the framework finds without making a provider, which is the children's to do."""


class Redacting:
    """A text stream that writes everything on without keys."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.clean = stream, keys.redactor(os.environ)

    def write(self, text: str) -> int:
        return self.stream.write(self.clean(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def main(argv: list[str] | None = None) -> int:
    """Import, then fork on demand. In a forked child: the researcher's own exit code."""
    parser = argparse.ArgumentParser(prog="python -m aarlab.llm.nursery", description=__doc__)
    parser.add_argument("--lab", type=Path, required=True, help="the lab's folder")
    parser.add_argument("--parent", type=int, required=True, help="end when this process does")
    asked = parser.parse_args(argv)
    die_with(asked.parent)
    lab, answers = asked.lab.resolve(), os.dup(1)
    os.dup2(2, 1)
    warm(settings_file.read(lab / "lab.toml"))
    return Nursery(lab, answers).run()


def warm(settings: Settings) -> None:
    """Import what the lab's researchers will use."""
    vendors = {settings.model_of(one).partition("/")[0] for one in settings.researchers if one.is_language_model}
    for name in (*WARM, *sorted({CLIENTS[v] for v in vendors if v in CLIENTS})):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    read_tables({settings.model_of(one) for one in settings.researchers if one.is_language_model})
    thrift.save()
    gc.collect()
    gc.freeze()  # so that a child's collector does not copy what it only looks at


def read_tables(models: Iterable[str]) -> None:
    """The tables of models and of prices, so that no child reads them."""
    from inspect_ai.model import get_model_info

    get_model_info(IN_THE_TABLE)
    for name in models:
        price_of(name)


class Nursery:
    """The forking loop, on standard input. answers: the descriptor that it answers on."""

    def __init__(self, lab: Path, answers: int) -> None:
        self.lab, self.answers = lab, answers
        self.names: dict[int, str] = {}  # of the living, by process id

    def run(self) -> int:
        rest, own = b"", os.getpid()
        while True:
            self.reap()
            if not select.select([0], [], [], LOOK_SECONDS)[0]:
                continue
            got = os.read(0, 65536)
            if not got:
                return 0
            *orders, rest = (rest + got).split(b"\n")
            for order in orders:
                name = json.loads(order)["start"]
                pid = os.fork()
                if pid == 0:
                    return self.child(name, own)
                self.names[pid] = name
                self.tell({"name": name, "pid": pid})

    def reap(self) -> None:
        while self.names:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self.tell({"name": self.names.pop(pid), "pid": pid, "code": os.waitstatus_to_exitcode(status)})

    def child(self, name: str, nursery: int) -> int:
        """Become the researcher."""
        from aarlab.llm.__main__ import run

        os.setsid()
        die_with(nursery)
        os.nice(NICE)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(self.lab / "run" / f"{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        for used in (log, nothing, self.answers):
            os.close(used)
        sys.stdout = cast(TextIO, Redacting(sys.stdout))
        sys.stderr = cast(TextIO, Redacting(sys.stderr))
        return run(self.lab, name)

    def tell(self, message: dict[str, Any]) -> None:
        os.write(self.answers, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
