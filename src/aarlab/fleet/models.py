"""What the commands around language models call: the check before a run, prompts, transcripts, scan and MCP."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aarlab import settings as settings_file
from aarlab.errors import AarlabError, ConfigError, Infrastructure, InputError
from aarlab.fleet import keys
from aarlab.problems import base
from aarlab.settings import Settings

TRANSCRIPTS = "transcripts"
PORT = 7575


def check(settings: Settings) -> list[str]:
    """Whether the fleet's models can be asked; lines on them. Raises ConfigError with what is missing."""
    if not (any(one.is_language_model for one in settings.researchers) or settings.llm.reader_model):
        return []
    needs_extra("inspect_ai", "llm")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lab.toml"
        settings_file.write(settings, path)
        argv = [sys.executable, "-m", "aarlab.llm.ready", str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=keys.with_keys(os.environ))
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        words = keys.redactor(os.environ)(done.stderr.strip())
        raise Infrastructure(f"the models could not be checked: {words.splitlines()[-1] if words else ''}") from None
    if "error" in found:
        raise ConfigError(found["error"])
    return [f"model {model}: {price}" for model, price in found["models"].items()]


def needs_extra(package: str, extra: str) -> None:
    """Raises ConfigError with the command to type where a package of an extra is not installed."""
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"{package} is not installed; pip install 'aarlab[{extra}]'")


def prompt(kind: str, problem: str, direction: str) -> str:
    """Everything that a language model is told, for people to read."""
    from aarlab.llm import prompts

    loaded = base.load(problem, check=False)
    words = prompts.in_words(direction, loaded.directions) if direction else prompts.directions(count=1)[0]
    return prompts.show(kind, direction=words, problem=loaded.brief)


def transcripts(lab: Path, port: int) -> int:
    """Open Inspect View on a lab's transcripts; returns when it is ended with Ctrl-C."""
    needs_extra("inspect_ai", "llm")
    folder = lab / TRANSCRIPTS
    if not folder.is_dir():
        raise InputError(f"{lab} has no transcripts: no language model has worked in it")
    port = port or PORT
    print(f"transcripts: http://127.0.0.1:{port} (Ctrl-C ends it)", file=sys.stderr)
    argv = [sys.executable, "-m", "inspect_ai", "view", "start", "--log-dir", str(folder), "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--no-trust-content"]  # models and forum posts wrote it
    try:
        return subprocess.run(argv, env=keys.without_keys(os.environ), check=False).returncode
    except KeyboardInterrupt:
        return 0


def read_afterwards(lab: Path) -> list[str]:
    """Before the report of a fleet of language models: the scan, and the ideas' reader.

    Lines on what was found or could not be done; a report is written in any case.
    """
    settings = settings_file.read(lab / "lab.toml")
    if not any(one.is_language_model for one in settings.researchers):
        return []
    lines = []
    steps: list[Callable[[], str]] = [lambda: _scanned(lab)]
    if settings.llm.reader_model:
        steps.append(lambda: _sorted(lab, settings))
    for step in steps:
        try:
            lines.append(step())
        except AarlabError as error:
            lines.append(str(error))
    return [line for line in lines if line]


def _scanned(lab: Path) -> str:
    found = scan(lab, "")
    number = len(found["signs"]) + found["left_out"]
    return f"scan of the transcripts: {number} signs of reward hacking, read them in the report" if number else ""


def _sorted(lab: Path, settings: Settings) -> str:
    from aarlab.llm.reader import reader, sort_ideas

    classed, left = sort_ideas(lab, reader(settings.llm.reader_model, settings.llm.base_url))
    return f"{settings.llm.reader_model} classed {classed} ideas, {left} left to the rules"


def scan(lab: Path, model: str) -> dict[str, Any]:
    """Look for signs of reward hacking in what researchers did. model: an Inspect name; empty: the one of lab.toml."""
    from aarlab.llm.scan.run import scan as scan_lab

    if importlib.util.find_spec("inspect_ai") is not None:
        from aarlab.llm.transcripts import recover

        recover(lab)

    return scan_lab(lab, model)


def signs(found: dict[str, Any]) -> str:
    """What a scan found, a line each with its quote."""
    read = ", ".join(f"{number} {what}" for what, number in found["sources"].items() if number)
    lines = [f"read: {read or 'nothing'}"]
    for sign in found["signs"]:
        where = f"{sign['researcher']} turn {sign['turn']}"
        lines.append(f"{sign['kind']:22} {where:20} {sign['sentence']}: {sign['quote']!r}")
    if found["left_out"]:
        lines.append(f"{found['left_out']} more of the same kinds are counted in run/scan.json, not shown")
    return "\n".join(lines if found["signs"] else [*lines, "no signs"])


def mcp(lab: Path, name: str, folder: Path | None, http: bool, port: int) -> None:
    """Serve a researcher's tools to an agent outside, over standard input and output or over HTTP."""
    needs_extra("mcp", "llm")
    from aarlab.llm import mcp_server

    mcp_server.for_lab(lab, name, folder, "http" if http else "stdio", port)
