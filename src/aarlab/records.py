"""The rows that travel between the parts of aarlab: frozen dataclasses without behaviour."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Role = Literal["open", "feedback", "record"]
"""`open`: labels visible. `feedback`: answers through the Ladder. `record`: answers nothing until a run ends."""

Status = Literal["queued", "running", "scored", "failed", "timed_out", "refused"]
"""The only words a researcher ever reads about a run on hidden data."""

Purpose = Literal["feedback", "baseline", "audit", "record", "transfer"]
"""Why the lab runs a method: for a Ladder answer, as a shown baseline, to learn what it depends on, for the number of
record, on another domain."""

Phase = Literal["research", "audit", "record", "transfer", "done"]
"""The life of a run, in this order."""

PostKind = Literal["result", "hypothesis", "insight", "error"]

ResearcherKind = Literal["search", "llm", "cli", "scripted", "human"]


@dataclass(frozen=True)
class Estimate:
    """A measured number with its 95 % interval. `seeds` runs over `items` test items went into it."""

    mean: float
    low: float
    high: float
    seeds: int
    items: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """A mean over seeds with its standard error (floor and ceiling of a task)."""

    mean: float
    se: float
    seeds: int


@dataclass(frozen=True)
class Submission:
    """A method and where it came from."""

    id: int
    researcher: str
    name: str
    status: Status
    bundle_hash: str  # SHA-256 of the file; the artifact's address
    normal_hash: str  # SHA-256 of the syntax tree: equal for files that differ in comments and layout only
    created: float  # Unix seconds
    finished: float | None = None
    parent: int | None = None  # the submission this method builds on
    track: str = "inductive"
    claimed_pgr: float | None = None  # what the researcher measured on the open task; never ranks
    answer: str | None = None  # what the Ladder said
    record: float | None = None  # the accuracy the Ladder showed, if it showed one
    reason: str | None = None  # one of MethodError.REASONS, or "infrastructure", where the run failed
    note: str = ""  # the researcher's own words
    repeat_of: int | None = None  # the submission with the same syntax tree whose answer this one repeats
    ranked: bool = True
    remark: str = ""  # the lab's sentence, where a submission is not ranked


@dataclass(frozen=True)
class Evaluation:
    """One method to be run on one task for one purpose."""

    id: int
    submission: int
    problem: str
    task: str
    purpose: Purpose
    status: Status
    created: float
    reason: str | None = None
    lease: str | None = None  # who runs it; the final transaction must still hold it
    failures: int = 0  # infrastructure failures so far
    finished: float | None = None
    outcome: str | None = None  # SHA-256 of the per-item outcomes in the vault


@dataclass(frozen=True)
class Score:
    """What the lab measured when it ran a submission on one task: one row per submission, task and seed."""

    submission: int
    task: str
    seed_index: int
    accuracy: float
    pgr: float
    items: int
    cpu_seconds: float
    wall_seconds: float
    evaluation: int = 0
    problem: str = ""
    purpose: Purpose = "feedback"


@dataclass(frozen=True)
class Answer:
    """What the Ladder lets out about one scored submission."""

    text: str  # "new record 0.745" | "no new record"
    record: float | None
    cached: bool = False


@dataclass(frozen=True)
class PracticeAnswer:
    """What the lab said about one list of predictions; never a score."""

    number: int  # 1, 2, ... in the order they were given
    researcher: str
    list_hash: str  # SHA-256 of `predictions`
    predictions: str  # one digit per test item
    answer: float  # accuracy, rounded to one point
    time: float  # Unix seconds


FindingStatus = Literal["measured", "not applicable", "cannot tell", "failed"]
"""`cannot tell`: the number says nothing (too few items, no skill to lose). `failed`: the method would not run so."""


@dataclass(frozen=True)
class Finding:
    """What one audit reports: a number with its 95 % interval, and a sentence."""

    audit: str  # the audit's name
    channel: str  # what it measures, a word of the policy: "teacher", "student", "test batch", ...
    status: FindingStatus
    sentence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    items: int = 0  # test items behind the number
    details: dict[str, Any] = field(default_factory=dict)  # further numbers and events, ready for JSON

    @property
    def measured(self) -> bool:
        return self.status == "measured" and self.value is not None


ChannelWord = Literal["as declared", "undeclared use", "declared, not used", "cannot tell", "not judged"]


@dataclass(frozen=True)
class ChannelVerdict:
    """One channel of information: what was declared, what was measured, and whether they agree."""

    channel: str
    word: ChannelWord
    sentence: str
    low: float | None = None  # the allowed range; None: no limit on that side
    high: float | None = None


Outcome = Literal["ranked", "ranked with a note", "held", "not ranked"]
"""`held`: a person has to look before it ranks."""


@dataclass(frozen=True)
class Verdict:
    """A policy against what was measured. `track`: on which the submission ranks, not always the declared one."""

    outcome: Outcome
    declared: str
    track: str
    reason: str  # public; empty where nothing is to be said
    row: str  # "teacher 0.67 · student 1.00 · test batch none · ..."
    channels: tuple[ChannelVerdict, ...]


@dataclass(frozen=True)
class Judgement:
    """A verdict as the lab keeps it: on which submission, who spoke, and which audit it rests on."""

    submission: int
    verdict: Verdict
    time: float  # Unix seconds
    by: Literal["lab", "operator"]
    evaluation: int | None = None
    level: str = ""  # of the audit
    cpu_seconds: float = 0.0  # what the audit took


@dataclass(frozen=True)
class Post:
    """A forum entry."""

    id: int
    researcher: str
    kind: PostKind
    title: str
    body: str
    created: float
    parent: int | None = None
    submission: int | None = None


IdeaKind = Literal["submission", "post"]


@dataclass(frozen=True)
class IdeaRow:
    """To which family of methods a submission or a post belongs, in the words of `by`."""

    kind: IdeaKind
    number: int
    family: str
    by: str  # "researcher" (declared with it), "rules" or "llm"


EventKind = Literal["assistant", "tool", "user", "compaction", "note", "retry"]


@dataclass(frozen=True)
class EventRow:
    """One step of a language-model researcher: a message, or something that happened beside the conversation."""

    id: int
    researcher: str
    key: str  # whoever writes the step again under it writes nothing
    session: int
    turn: int
    kind: EventKind
    body: str  # a JSON object, ASCII
    time: float  # Unix seconds
    submission: int | None = None  # that this step made
    post: int | None = None
    log: str = ""  # the transcript file


@dataclass(frozen=True)
class Call:
    """One call to a language model: reserved before it is made, and then settled, released or charged."""

    researcher: str
    key: str
    state: Literal["reserved", "settled", "released", "charged"]  # charged: its process died, the reserved price holds
    dollars: float  # reserved, or once settled what it cost
    tokens: int
    time: float  # Unix seconds of the last change
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0  # of the output tokens
    seconds: float = 0.0


@dataclass(frozen=True)
class Account:
    """What one name of a lab has used. Outstanding reservations are apart; `tokens` are all kinds together."""

    name: str
    llm_dollars: float = 0.0
    compute_dollars: float = 0.0  # as the supervisor last said
    minutes: float = 0.0  # wall time of its own process, as the supervisor last said
    tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    calls: int = 0
    lost_calls: int = 0  # charged as reserved, since their process died
    llm_seconds: float = 0.0
    outstanding_dollars: float = 0.0
    outstanding_tokens: int = 0

    @property
    def dollars(self) -> float:
        return self.llm_dollars + self.compute_dollars


@dataclass(frozen=True)
class LedgerLine:
    """One line of the append-only record. `hash` covers every other field and the hash before it."""

    number: int
    time: float
    kind: str
    body: dict[str, Any]
    previous: str
    hash: str
    mac: str = ""  # HMAC of `hash` with the vault's key


@dataclass(frozen=True)
class ResearcherRow:
    """One researcher of a run."""

    name: str
    kind: ResearcherKind
    direction: str
    status: str = "waiting"
    options: dict[str, Any] = field(default_factory=dict)
    role: Literal["researcher", "operator", "viewer", "fleet", "lab"] = "researcher"
    token_hash: str = ""
    state: str = ""  # the last heartbeat's words
    best_open_pgr: float | None = None  # claimed
    trials: int = 0  # claimed
    heartbeat: float | None = None  # Unix seconds
