"""Where the programs of outside researchers lie: the native executables of Claude Code and Codex.

aarlab downloads neither. It takes, in this order, what the environment variable names, what is on PATH, and for Claude
Code the executable inside the installed `claude-agent-sdk` wheel. A sandbox sees the executable read-only.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from aarlab.errors import ConfigError

FOLDER = "/opt/env/bin"
"""Where a sandbox sees the executable; it must be on the sandbox's PATH."""

ELF = b"\x7fELF"


@dataclass(frozen=True)
class Program:
    """One known program. `beside`: where its npm packages keep the native executable, seen from their folder."""

    command: str
    variable: str
    beside: tuple[str, ...]
    remedy: str


PROGRAMS = {
    "claude-code": Program(
        "claude",
        "AARLAB_CLAUDE",
        ("../claude-code-linux-*/claude", "node_modules/@anthropic-ai/claude-code-linux-*/claude"),
        "pip install claude-agent-sdk, which carries it,",
    ),
    "codex": Program(
        "codex",
        "AARLAB_CODEX",
        (
            "vendor/*/bin/codex", "vendor/*/codex/codex", "../codex-linux-*/vendor/*/bin/codex",
            "node_modules/@openai/codex-linux-*/vendor/*/bin/codex",
        ),
        "npm install -g @openai/codex",
    ),
}  # fmt: skip


def program(which: str) -> Program:
    """Raises ConfigError for a program that nobody knows here."""
    if which not in PROGRAMS:
        raise ConfigError(f"no outside program {which!r}; there are {', '.join(PROGRAMS)}")
    return PROGRAMS[which]


def find(which: str) -> Path:
    """The native executable of `claude-code` or `codex`. Raises ConfigError with the remedy where there is none."""
    known = program(which)
    if named := os.environ.get(known.variable):
        found = native(Path(named), known)
        if found is None:
            raise ConfigError(f"{known.variable}={named} is no native executable of {which}")
        return found
    on_path = shutil.which(known.command)
    for place in (Path(on_path) if on_path else None, _bundled() if which == "claude-code" else None):
        if place is not None and (found := native(place, known)) is not None:
            return found
    seen = f" ({on_path} is a script, and no native executable lies beside it)" if on_path else ""
    raise ConfigError(f"{which} is not on this machine{seen}: {known.remedy} or set {known.variable} to its executable")


def native(place: Path, known: Program) -> Path | None:
    """The executable that this path is or, where it is a script of an npm package, stands for."""
    place = place.resolve()
    if _runs(place):
        return place
    for package in place.parents[:3]:
        for pattern in known.beside:
            if found := next((f for f in sorted(package.glob(pattern)) if _runs(f)), None):
                return found.resolve()
    return None


def binds(which: str) -> tuple[tuple[str, str], ...]:
    """(host path, path inside) of what a sandbox must see of the program, read-only."""
    known, found = program(which), find(which)
    return ((str(found), f"{FOLDER}/{known.command}"),)


def _bundled() -> Path | None:
    spec = importlib.util.find_spec("claude_agent_sdk")
    if spec is None or not spec.origin:
        return None
    return Path(spec.origin).parent / "_bundled" / "claude"


def _runs(place: Path) -> bool:
    """Whether it is a file for this operating system's loader, and we may run it."""
    if not (place.is_file() and os.access(place, os.X_OK)):
        return False
    with open(place, "rb") as file:
        return file.read(4) == ELF
