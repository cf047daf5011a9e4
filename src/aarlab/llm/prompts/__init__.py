"""What researchers are told: plain text templates beside this file, filled in, shown and kept with a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined

from aarlab.errors import ConfigError, InputError

KINDS = ("open", "prescribed")
"""`open`: an aim and a place to work, the way is the researcher's. `prescribed`: a fixed pipeline, for comparison."""

MOST_DIRECTION = 2000  # characters: a direction is a hint, not a paper

WORKSPACE, DATA, SHARED = "/work", "/data", "/shared"


@cache
def template(name: str) -> str:
    """A template as it is shipped. Raises InputError naming those that there are."""
    if name not in names():
        raise InputError(f"there is no template {name!r}; the templates are {', '.join(names())}")
    return resources.files(__name__).joinpath(name).read_text("utf-8")


@cache
def names() -> tuple[str, ...]:
    """The templates' file names."""
    return tuple(sorted(p.name for p in resources.files(__name__).iterdir() if p.name.endswith(".txt")))


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(template), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=False, autoescape=False,
    )  # fmt: skip


def _filled(file: str, /, **values: object) -> str:
    places = {"workspace": WORKSPACE, "data": DATA, "shared": SHARED}
    return _environment().get_template(file).render(**{**places, **values}).strip()


NO_ACTION = template("no_action.txt").strip()
REPEATED = template("repeated.txt").strip()  # with {times}
SUMMARY = template("summary.txt").strip()
WITHOUT_SUMMARY = template("without_summary.txt").strip()
RESTARTED = _filled("restarted.txt")
TOLD = template("told.txt").strip()


def system_prompt(
    kind: str = "open", name: str = "ada", direction: str = "", problem: str = "", researchers: int = 1,
    command_seconds: int = 300,
) -> str:  # fmt: skip
    """What a researcher is told before anything else.

    direction: in words; empty: none. problem: a few sentences; brief() has the rest. Raises ConfigError for a kind
    that there is not.
    """
    if kind not in KINDS:
        raise ConfigError(f"there is no prompt {kind!r}; it is 'open' or 'prescribed'")
    return _filled(
        f"system_{kind}.txt", name=name, direction=direction.strip(), problem=problem.strip(),
        researchers=researchers, command_seconds=command_seconds,
    )  # fmt: skip


def opening(restarted: bool = False) -> str:
    """The first message of a conversation. restarted: an earlier one was lost."""
    return _filled("opening.txt", restarted=restarted)


def message(number: int, text: str) -> str:
    """What the operator wrote, each line behind "> ", so that no line of it can pass for another message's head."""
    quoted = "\n".join(f"> {line}" for line in text.splitlines())
    return _filled("message.txt", number=number, quoted=quoted)


def outside(name: str) -> str:
    """What an agent that joins from outside is told about its tools."""
    return _filled("outside.txt", name=name)


def directions(file: str | Path | None = None, undirected: bool = False, count: int = 9) -> list[str]:
    """`count` directions, in turn from the file or from the nine shipped; all empty where `undirected`.

    A file is plain text: paragraphs with blank lines between them, or, where it has no blank line, one direction a
    line. Raises ConfigError for a file that cannot be used.
    """
    if file and undirected:
        raise ConfigError(f"directions come from {file}, and undirected was asked for; choose one of the two")
    if undirected:
        return [""] * count
    found = _read(Path(file)) if file else parsed(template("directions.txt"))
    return [found[i % len(found)] for i in range(count)]


def parsed(text: str) -> list[str]:
    """The directions in a text; lines that begin with # are comments."""
    lines = ["" if not line.strip() else line.strip() for line in text.splitlines() if not line.startswith("#")]
    body = "\n".join(lines).strip("\n")
    parts = body.split("\n\n") if "\n\n" in body else body.split("\n")
    return [" ".join(part.split()) for part in parts if part.strip()]


def _read(path: Path) -> list[str]:
    try:
        found = parsed(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"directions {path}: {error}") from None
    if not found:
        raise ConfigError(f"directions {path}: there is none in it; write one a line, or paragraphs")
    for number, direction in enumerate(found, 1):
        if len(direction) > MOST_DIRECTION:
            raise ConfigError(
                f"directions {path}: number {number} has {len(direction)} characters; a direction has at most "
                f"{MOST_DIRECTION} (put blank lines between directions)"
            )
        if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in direction):
            raise ConfigError(f"directions {path}: number {number} holds control characters")
    return found


def in_words(direction: str, known: Mapping[str, str]) -> str:
    """A researcher's direction as words: a key of the problem's directions stands for its sentence."""
    return known.get(direction, direction)


def versions() -> dict[str, str]:
    """SHA-256 of every template."""
    return {name: hashlib.sha256(template(name).encode()).hexdigest() for name in names()}


def version() -> str:
    """One short name for all templates as they are."""
    return hashlib.sha256(json.dumps(versions(), sort_keys=True).encode()).hexdigest()[:12]


def write_into(folder: Path) -> str:
    """Keep the templates with a run, in a folder named by their version; that version.

    A run that is resumed with other templates keeps both.
    """
    place = folder / version()
    place.mkdir(parents=True, exist_ok=True)
    for name in names():
        (place / name).write_text(template(name), "utf-8")
    (place / "versions.json").write_text(json.dumps(versions(), indent=2) + "\n", "utf-8")
    return version()


def show(
    kind: str = "open", name: str = "ada", direction: str = "", problem: str = "", researchers: int = 9,
    command_seconds: int = 300,
) -> str:  # fmt: skip
    """Everything that a researcher may be told, for people to read."""
    parts = {
        f"system ({kind})": system_prompt(kind, name, direction, problem, researchers, command_seconds),
        "opening": opening(),
        "after an answer without a tool call": NO_ACTION,
        "after the same call with the same result again and again": REPEATED,
        "for the summary of a long conversation": SUMMARY,
        "where no summary could be made": WITHOUT_SUMMARY,
        "after a restart that lost the conversation": RESTARTED,
        "when the operator writes": f"{message(12, 'Look at post 7.')}\n\n{TOLD}",
    }
    shown = "\n\n".join(f"=== {title} ===\n\n{text}" for title, text in parts.items())
    return f"{shown}\n\nversion {version()}"
