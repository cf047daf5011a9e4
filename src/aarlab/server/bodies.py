"""What may be sent. Unknown fields are refused, so a score or a name in a body is an error and never believed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from aarlab.errors import InputError
from aarlab.execution.check import MOST_BYTES
from aarlab.ideas.families import known
from aarlab.records import EventKind, IdeaKind, PostKind

MAX_ID = 2**53
POST_BYTES = 100_000
MESSAGE_CHARACTERS = 4000


def _text(value: str) -> str:
    """Unicode that can be stored: no lone surrogates, no NUL."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair, which is no character") from None
    if "\x00" in value:
        raise ValueError("it holds a NUL character")
    return value


def _said(value: str) -> str:
    if not value.strip():
        raise ValueError("it holds only blanks; write what they are to know")
    return value


def _family(value: str) -> str:
    """One of the families of ideas, as it is written; empty where none is named."""
    if not value:
        return ""
    try:
        return known(value)
    except InputError as error:
        raise ValueError(str(error)) from None


Text = Annotated[str, AfterValidator(_text)]
Family = Annotated[str, Field(max_length=100), AfterValidator(_family)]
Word = Annotated[Text, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Dollars = Annotated[FiniteFloat, Field(ge=0, le=1e7)]
Minutes = Annotated[FiniteFloat, Field(ge=0, le=1e8)]
Claim = Annotated[FiniteFloat, Field(ge=-1e3, le=1e3)]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    def asked(self) -> dict[str, Any]:
        """What an idempotency key stands for. Fields that came later are left out where nobody used them."""
        values = self.model_dump()
        if not values.get("family", True):
            del values["family"]
        return values


class NewSubmission(Body):
    """A method file and what its researcher says of it."""

    name: Annotated[Text, Field(min_length=1, max_length=200)]
    source: Annotated[str, Field(max_length=8 * MOST_BYTES)]  # the door check states the true limit in bytes
    parent: Id | None = None
    claimed_pgr: Claim | None = None
    track: Annotated[Text, Field(max_length=40)] = "inductive"
    note: Annotated[Text, Field(max_length=2000)] = ""
    family: Family = ""


class NewPost(Body):
    kind: PostKind
    title: Annotated[Text, Field(min_length=1, max_length=300)]
    body: Annotated[Text, Field(max_length=POST_BYTES)]
    parent: Id | None = None
    submission: Id | None = None
    family: Family = ""


class Heartbeat(Body):
    """heard: the newest message of the operator that is known, 0 for none; None does not ask for messages."""

    state: Annotated[Text, Field(max_length=500)] = ""
    best_open_pgr: Claim | None = None
    trials: Annotated[int, Field(ge=0, le=10**9)] = 0
    heard: Annotated[int, Field(ge=0, le=MAX_ID)] | None = None


class Control(Body):
    """What a person does to a run. by: the way it came, as the ledger keeps it."""

    by: Annotated[Text, Field(min_length=1, max_length=40)] = "operator"


class RunControl(Control):
    """What was done to the run as a whole."""

    action: Literal["start", "resume", "stop"]
    reason: Annotated[Text, Field(max_length=500)] = ""


class NewMessage(Control):
    """What the operator tells a researcher, or all."""

    text: Annotated[Text, Field(min_length=1, max_length=MESSAGE_CHARACTERS), AfterValidator(_said)]


class NewPhase(Control):
    phase: Literal["audit", "record", "transfer", "done"]
    reason: Annotated[Text, Field(max_length=500)] = ""


class Clock(Body):
    """What the supervisor reckons: how long research still lasts, and what each name's computing cost so far."""

    seconds_left: Annotated[FiniteFloat, Field(ge=0, le=1e9)]
    compute: dict[str, Dollars] = {}  # name -> dollars of its own process and its method runs
    minutes: dict[str, Minutes] = {}  # name -> wall time of its own process


class Reserve(Body):
    """What a call to a language model will probably take."""

    researcher: Word
    key: Word
    dollars: Dollars
    tokens: Count


class Usage(Body):
    """What a call took, as its provider counted. Input tokens are those that no cache held."""

    model: Annotated[Text, Field(max_length=200)] = ""
    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_tokens: Count = 0
    cache_write_tokens: Count = 0
    reasoning_tokens: Count = 0  # of the output tokens
    seconds: Annotated[FiniteFloat, Field(ge=0, le=1e9)] = 0.0


class Settle(Body):
    researcher: Word
    key: Word
    usage: Usage
    dollars: Dollars


class Release(Body):
    """key: one reservation; None for all that a dead process left."""

    researcher: Word
    key: Word | None = None


class Event(Body):
    """One step of a researcher."""

    key: Word
    session: Count = 0
    turn: Count = 0
    kind: EventKind
    body: dict[str, Any]
    submission: Id | None = None
    post: Id | None = None
    log: Annotated[Text, Field(max_length=500)] = ""


class NewEvents(Body):
    researcher: Word
    events: Annotated[list[Event], Field(max_length=1000)]


class Settled(Body):
    """One call of a turn, at what it cost."""

    key: Word
    usage: Usage
    dollars: Dollars


class Reserved(Body):
    """The call that follows a turn."""

    key: Word
    dollars: Dollars
    tokens: Count


class Turn(Body):
    """What one researcher's process has to say at a time."""

    researcher: Word
    events: Annotated[list[Event], Field(max_length=1000)] = []
    settled: Annotated[list[Settled], Field(max_length=100)] = []
    says: Heartbeat | None = None
    reserve: Reserved | None = None


class Idea(Body):
    """A submission or post of a family, in the words of rules or of a model that read it."""

    kind: IdeaKind
    number: Id
    family: Annotated[Family, Field(min_length=1)]
    by: Literal["rules", "llm"]


class NewIdeas(Body):
    ideas: Annotated[list[Idea], Field(max_length=10_000)]


class NewAudit(Control):
    """Ask for an audit. `level`: None for the run's own."""

    level: Literal["quick", "full"] | None = None


class Overrule(Control):
    """The operator ranks or unranks a submission, with a reason that the ledger keeps."""

    ranked: bool
    reason: Annotated[Text, Field(min_length=1, max_length=2000)]
