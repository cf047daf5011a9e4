"""What may be sent. Unknown fields are refused, so a score or a name in a body is an error and never believed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from aarlab.execution.check import MOST_BYTES
from aarlab.records import PostKind

MAX_ID = 2**53
POST_BYTES = 100_000


def _text(value: str) -> str:
    """Unicode that can be stored: no lone surrogates, no NUL."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair, which is no character") from None
    if "\x00" in value:
        raise ValueError("it holds a NUL character")
    return value


Text = Annotated[str, AfterValidator(_text)]
Claim = Annotated[FiniteFloat, Field(ge=-1e3, le=1e3)]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewSubmission(Body):
    """A method file and what its researcher says of it."""

    name: Annotated[Text, Field(min_length=1, max_length=200)]
    source: Annotated[str, Field(max_length=8 * MOST_BYTES)]  # the door check states the true limit in bytes
    parent: Id | None = None
    claimed_pgr: Claim | None = None
    track: Annotated[Text, Field(max_length=40)] = "inductive"
    note: Annotated[Text, Field(max_length=2000)] = ""


class NewPost(Body):
    kind: PostKind
    title: Annotated[Text, Field(min_length=1, max_length=300)]
    body: Annotated[Text, Field(max_length=POST_BYTES)]
    parent: Id | None = None
    submission: Id | None = None


class Heartbeat(Body):
    state: Annotated[Text, Field(max_length=500)] = ""
    best_open_pgr: Claim | None = None
    trials: Annotated[int, Field(ge=0, le=10**9)] = 0


class NewPhase(Body):
    phase: Literal["audit", "record", "transfer", "done"]
    reason: Annotated[Text, Field(max_length=500)] = ""


class Clock(Body):
    """How long the research phase still lasts, as its supervisor reckons."""

    seconds_left: Annotated[FiniteFloat, Field(ge=0, le=1e9)]


class NewAudit(Body):
    """Ask for an audit. `level`: None for the run's own."""

    level: Literal["quick", "full"] | None = None


class Overrule(Body):
    """The operator ranks or unranks a submission, with a reason that the ledger keeps."""

    ranked: bool
    reason: Annotated[Text, Field(min_length=1, max_length=2000)]
