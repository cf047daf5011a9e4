"""A run as data: which researchers, with which directions, on which problem, within which budget."""

from __future__ import annotations

import secrets
from collections import Counter
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


def language_models(count: int, cli: str, file: str, undirected: bool) -> tuple[ResearcherSpec, ...]:
    """`count` researchers that are language models, or the outside program `cli`; directions in words, in turn.

    file: directions of one's own; empty: the nine shipped. Raises ConfigError for a file that cannot be used.
    """
    from aarlab.llm import prompts

    if not 1 <= count <= 100:
        raise ConfigError(f"{count} researchers were asked for; a fleet of language models has 1 to 100")
    words = prompts.directions(file, undirected, count)
    kind = "cli" if cli else "llm"
    return tuple(ResearcherSpec(_name(i), kind, direction, cli=cli) for i, direction in enumerate(words))


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
        f"{crew(settings)} on {settings.problem}: {hours(b.minutes)} of research, "
        f"{b.answers} answers, {settings.scoring.seeds} seeds a score, isolation {settings.isolation.kind}"
    )


def crew(settings: Settings) -> str:
    """Who is in the fleet, for example `6 llm, 2 search and 1 human researchers`."""
    counts = Counter(one.kind for one in settings.researchers)
    if set(counts) <= {"search"}:
        return f"{len(settings.researchers)} researchers"
    parts = [f"{number} {kind}" for kind, number in counts.items()]
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"{listed} researchers"


def hours(minutes: float) -> str:
    return f"{minutes:g} minutes" if minutes < 120 else f"{minutes / 60:g} hours"


def limits(settings: Settings) -> str:
    """What language models may spend, in one line; a warning where nothing limits it but time."""
    b = settings.budget
    limits = {
        f"${b.dollars:g} in all": b.dollars,
        f"${b.researcher_dollars:g} each": b.researcher_dollars,
        f"{b.tokens:,} tokens in all": b.tokens,
        f"{b.researcher_tokens:,} tokens each": b.researcher_tokens,
        f"{b.researcher_minutes:g} minutes each": b.researcher_minutes,
    }
    given = [words for words, value in limits.items() if value]
    if not b.dollars and not b.tokens:
        given.append("the fleet's dollars and tokens are not limited (--dollars, --tokens)")
    return f"budget: {', '.join(given)}"
