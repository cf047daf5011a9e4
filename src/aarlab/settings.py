"""All settings of a run, read once at the edge (flags over lab.toml over defaults) and handed down."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from aarlab.errors import ConfigError

MOST_PRACTICE = 10
"""Practice answers of a fleet: on 1,300 items ten rounded ones steal 0.01 to 0.02 PGR, fifty 0.1, 450 the whole gap."""


@dataclass(frozen=True)
class Budget:
    """What a run may use. 0 means no limit, where a limit is optional."""

    minutes: float = 3.5  # wall time of the research phase
    answers: int = 45  # Ladder answers of the whole fleet
    submissions: int = 40  # submissions per researcher, scored or not
    cpu_hours: float = 0.0  # fleet: researchers and method runs together
    dollars: float = 0.0  # fleet: CPU-hours at `prices.cpu_hour`
    researcher_cpu_hours: float = 0.0  # per researcher
    researcher_dollars: float = 0.0


@dataclass(frozen=True)
class Scoring:
    """How the lab measures."""

    seeds: int = 5  # seeds of a feedback score
    record_seeds: int = 16  # fresh seeds of a record or transfer score
    finalists: int = 10  # submissions opened on the record tasks, at most 10
    workers: int = 2  # method runs at a time
    step: float = 0.005  # least accuracy gain the Ladder calls a new record
    timeout: float = 60.0  # seconds of wall time for one method on one seed
    practice: int = 0  # answers to lists of predictions, of the whole fleet; 0 switches practice mode off


@dataclass(frozen=True)
class Audit:
    """What is measured of the finalists before the record tasks open."""

    finalists: bool = True  # audit them by itself
    level: str = "full"  # "quick": the cheap audits only
    reader: str = ""  # a command that reads the code, prompt on stdin and JSON on stdout; empty: none


@dataclass(frozen=True)
class Isolation:
    """Where untrusted code runs: `bwrap`, `gvisor`, or `process`, which isolates nothing: its scores are unranked."""

    kind: str = "bwrap"
    memory_mb: int = 1024  # of one method run
    researcher_memory_mb: int = 1536
    researcher_processes: int = 64
    workspace_mb: int = 256
    file_mb: int = 64


@dataclass(frozen=True)
class Prices:
    cpu_hour: float = 0.04  # dollars, about what clouds ask for one virtual core


@dataclass(frozen=True)
class ResearcherSpec:
    """One line of the fleet. `direction` is a key of the problem's directions; `file` the actions of a scripted one."""

    name: str
    kind: str = "search"
    direction: str = ""
    file: str = ""


@dataclass(frozen=True)
class Settings:
    """One run as data; `lab.toml` holds exactly this."""

    problem: str = "w2s-math"
    fresh: bool = False
    port: int = 0  # loopback port for people; 0 picks a free one
    budget: Budget = field(default_factory=Budget)
    scoring: Scoring = field(default_factory=Scoring)
    audit: Audit = field(default_factory=Audit)
    isolation: Isolation = field(default_factory=Isolation)
    prices: Prices = field(default_factory=Prices)
    researchers: tuple[ResearcherSpec, ...] = ()

    def __post_init__(self) -> None:
        _require(self.scoring.seeds >= 1, f"scoring.seeds is {self.scoring.seeds}; at least 1 is needed")
        _require(
            1 <= self.scoring.finalists <= 10,
            f"scoring.finalists is {self.scoring.finalists}; 1 to 10 may be opened on the record tasks",
        )
        _require(self.budget.answers >= 1, f"budget.answers is {self.budget.answers}; at least 1 is needed")
        _require(self.budget.minutes > 0, f"budget.minutes is {self.budget.minutes}; it must be above 0")
        _require(
            0 < self.scoring.step < 0.5, f"scoring.step is {self.scoring.step}; it is an accuracy between 0 and 0.5"
        )
        _require(
            0 <= self.scoring.practice <= MOST_PRACTICE,
            f"scoring.practice is {self.scoring.practice}; 0 (off) to {MOST_PRACTICE} answers can be given: ten "
            "rounded ones are worth 0.01 to 0.02 PGR to who picks predictions item by item, more are worth far more",
        )
        _require(
            self.isolation.kind in ("bwrap", "gvisor", "process"),
            f"isolation.kind is {self.isolation.kind!r}; it is 'bwrap', 'gvisor' or 'process'",
        )
        _require(self.audit.level in ("quick", "full"), f"audit.level is {self.audit.level!r}; it is 'quick' or 'full'")
        _require(0 <= self.port < 65536, f"port is {self.port}; it is 0 (any free one) to 65535")
        seen = [r.name for r in self.researchers]
        _require(len(seen) == len(set(seen)), f"two researchers have one name: {sorted(seen)}")

    def with_(self, **changes: Any) -> Settings:
        return replace(self, **changes)


def read(path: Path) -> Settings:
    """Read lab.toml. Raises ConfigError with file and key."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: not found; is this a lab folder?") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return parse(data, str(path))


def parse(data: dict[str, Any], where: str) -> Settings:
    """Settings from nested tables; `where` names the source in errors."""
    parts: dict[str, Any] = {}
    sections = {"budget": Budget, "scoring": Scoring, "audit": Audit, "isolation": Isolation, "prices": Prices}
    for key, value in data.items():
        if key in sections:
            parts[key] = _section(sections[key], value, f"{where}: [{key}]")
        elif key == "researchers":
            parts[key] = tuple(_section(ResearcherSpec, r, f"{where}: [[researchers]]") for r in value)
        else:
            parts[key] = value
    settings: Settings = _section(Settings, parts, where)
    return settings


def write(settings: Settings, path: Path) -> None:
    data = asdict(settings)
    data["researchers"] = [dict(r) for r in data["researchers"]]
    path.write_text(tomli_w.dumps(data), "utf-8")


def _section(kind: Any, values: dict[str, Any], where: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigError(f"{where} must be a table of keys and values, not {values!r}")
    known = {f.name: f for f in fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; known keys: {', '.join(known)}")
        types: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
        wanted = types.get(str(known[key].type))
        if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
            raise ConfigError(f"{where}: {key} is {value!r}; a value of type {known[key].type} is needed")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from None


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ConfigError(sentence)
