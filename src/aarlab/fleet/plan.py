"""A run as data: which researchers, with which directions, on which problem, within which budget."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path

from aarlab.errors import ConfigError, UnknownName
from aarlab.problems.base import Problem
from aarlab.settings import ResearcherSpec, Settings

LABS = Path("labs")
LATEST = "latest"
NAMES = ("ada", "bea", "cleo", "dana", "eve", "finn", "gus", "hana", "ivo", "jun", "kit", "lou")


def researchers(problem: Problem, count: int, undirected: bool) -> tuple[ResearcherSpec, ...]:
    """`count` search researchers, each with its own direction in turn, or all without one."""
    if not 1 <= count <= 64:
        raise ConfigError(f"{count} researchers were asked for; a fleet has 1 to 64")
    keys = [] if undirected else list(problem.directions)
    return tuple(
        ResearcherSpec(name=_name(i), kind="search", direction=keys[i % len(keys)] if keys else "")
        for i in range(count)
    )


def _name(index: int) -> str:
    first = NAMES[index % len(NAMES)]
    return first if index < len(NAMES) else f"{first}-{index // len(NAMES) + 1}"


def new_folder(problem: str) -> Path:
    """A fresh name under ./labs: problem, local time, and two random bytes against runs started together."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return LABS / f"{problem}-{stamp}-{secrets.token_hex(2)}"


def mark_latest(folder: Path) -> None:
    """Let ./labs/latest point to `folder` when it lies in ./labs; commands without a LAB use it."""
    if folder.parent.resolve() != LABS.resolve():
        return
    link = LABS / LATEST
    fresh = LABS / f".{LATEST}-{secrets.token_hex(4)}"
    fresh.symlink_to(folder.name)
    fresh.replace(link)


def find(folder: Path | None) -> Path:
    """The lab a command means: the one named, else ./labs/latest. Raises UnknownName when there is none."""
    lab = folder or LABS / LATEST
    if not (lab / "lab.toml").is_file():
        if folder is None:
            raise UnknownName("there is no lab under ./labs yet; start one with `aarlab run` or name its folder")
        raise UnknownName(f"{lab} is no lab folder: it has no lab.toml")
    return lab.resolve()


def describe(settings: Settings) -> str:
    """One line for the terminal: what is about to run."""
    b = settings.budget
    return (
        f"{len(settings.researchers)} researchers on {settings.problem}: {b.minutes:g} minutes of research, "
        f"{b.answers} answers, {settings.scoring.seeds} seeds a score, isolation {settings.isolation.kind}"
    )
