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
    dollars: float = 0.0  # fleet: calls to language models, and CPU-hours at `prices.cpu_hour`
    tokens: int = 0  # fleet: tokens of language models, in and out, from caches too
    researcher_cpu_hours: float = 0.0  # per researcher
    researcher_dollars: float = 0.0
    researcher_tokens: int = 0
    researcher_minutes: float = 0.0  # wall time of one researcher's own process


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
class ModelPrice:
    """What a model costs, in dollars per million tokens; goes before the shipped table."""

    name: str  # as in `llm.model`, for example "openai-api/ours/big-model"
    input: float
    output: float
    cache_read: float = 0.0
    cache_write: float = 0.0


@dataclass(frozen=True)
class Prices:
    cpu_hour: float = 0.04  # dollars, about what clouds ask for one virtual core
    models: tuple[ModelPrice, ...] = ()


PROMPTS = ("open", "prescribed")


@dataclass(frozen=True)
class Llm:
    """The language model behind researchers of kind `llm` and `cli`. Keys come from the environment only."""

    model: str = ""  # an Inspect name, for example "anthropic/claude-opus-4-6"
    base_url: str = ""  # of a compatible server; empty: the provider's own
    max_output_tokens: int = 8192  # of one answer
    context_tokens: int = 0  # prompt size from which a conversation is summarised; 0: by the model, at most 120,000
    session_turns: int = 200  # turns after which a process takes a fresh transcript file
    command_seconds: int = 300  # wall time of one shell or Python call
    prompt: str = "open"  # or "prescribed": a fixed pipeline, for comparison
    directions: str = ""  # a file of directions; empty: the nine shipped
    reader_model: str = ""  # classifies ideas and reads transcripts afterwards; empty: rules only


LANGUAGE_MODELS = ("llm", "cli")  # kinds whose thoughts are a model's
KINDS = ("search", "scripted", *LANGUAGE_MODELS, "human")
CLIS = ("claude-code", "codex")


@dataclass(frozen=True)
class ResearcherSpec:
    """One line of the fleet. `direction`: a key of the problem's directions, or in words for a language model."""

    name: str
    kind: str = "search"  # search, scripted, llm, cli (an outside agent's program), human (starts nothing)
    direction: str = ""
    file: str = ""  # the actions of a scripted one
    model: str = ""  # of an llm or cli; empty: `llm.model`
    cli: str = ""  # claude-code or codex
    prompt: str = ""  # open or prescribed; empty: `llm.prompt`

    @property
    def is_language_model(self) -> bool:
        return self.kind in LANGUAGE_MODELS


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
    llm: Llm = field(default_factory=Llm)
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
        for name in ("tokens", "researcher_tokens", "researcher_minutes", "dollars", "researcher_dollars"):
            value = getattr(self.budget, name)
            _require(0 <= value < float("inf"), f"budget.{name} is {value}; it is 0 (no limit) or more")
        self._check_llm()
        seen = [r.name for r in self.researchers]
        _require(len(seen) == len(set(seen)), f"two researchers have one name: {sorted(seen)}")

    def _check_llm(self) -> None:
        llm = self.llm
        _require(llm.prompt in PROMPTS, f"llm.prompt is {llm.prompt!r}; it is 'open' or 'prescribed'")
        for name in ("max_output_tokens", "session_turns", "command_seconds"):
            _require(getattr(llm, name) >= 1, f"llm.{name} is {getattr(llm, name)}; at least 1 is needed")
        _require(llm.context_tokens >= 0, f"llm.context_tokens is {llm.context_tokens}; it is 0 (by the model) or more")
        for one in self.researchers:
            who = f"researcher {one.name!r}"
            _require(one.kind in KINDS, f"{who} has kind {one.kind!r}; kinds are {', '.join(KINDS)}")
            _require(one.prompt in ("", *PROMPTS), f"{who} has prompt {one.prompt!r}; it is 'open' or 'prescribed'")
            _require(
                (one.cli in CLIS) if one.kind == "cli" else not one.cli,
                f"{who} has kind {one.kind!r} and cli {one.cli!r}; kind 'cli' goes with one of {', '.join(CLIS)}",
            )
            _require(
                not one.is_language_model or self.isolation.kind != "process",
                f"{who} is a language model, and isolation 'process' isolates nothing: its commands would run on this "
                "machine as yours do; use 'bwrap' or 'gvisor'",
            )
            _require(
                not one.is_language_model or bool(one.model or llm.model),
                f'{who} has no model; set `model` there or [llm] model, for example "anthropic/claude-opus-4-6"',
            )

    def model_of(self, one: ResearcherSpec) -> str:
        """The model of one researcher."""
        return one.model or self.llm.model

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
    sections = {
        "budget": Budget, "scoring": Scoring, "audit": Audit, "isolation": Isolation, "llm": Llm,
    }  # fmt: skip
    for key, value in data.items():
        if key == "prices":
            parts[key] = _prices(value, f"{where}: [prices]")
        elif key in sections:
            parts[key] = _section(sections[key], value, f"{where}: [{key}]")
        elif key == "researchers":
            parts[key] = tuple(_section(ResearcherSpec, r, f"{where}: [[researchers]]") for r in value)
        else:
            parts[key] = value
    settings: Settings = _section(Settings, parts, where)
    return settings


def _prices(values: dict[str, Any], where: str) -> Prices:
    models = values.get("models") if isinstance(values, dict) else None
    if models is not None:
        listed = tuple(_section(ModelPrice, m, f"{where[:-1]}.models]") for m in models)
        values = {**values, "models": listed}
    found: Prices = _section(Prices, values, where)
    return found


def write(settings: Settings, path: Path) -> None:
    data = asdict(settings)
    data["researchers"] = [dict(r) for r in data["researchers"]]
    data["prices"]["models"] = [dict(m) for m in data["prices"]["models"]]
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
