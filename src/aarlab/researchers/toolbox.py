"""What a language model may ask of the lab, as text: short, whole, and with what to do next in every error.

One toolbox is one researcher's token. Both ways to it, `llm/tools.py` (Inspect) and `llm/mcp_server.py` (MCP), show
what is returned here and turn an `AarlabError` into the sentence of `advice`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from aarlab import errors
from aarlab.client import LabClient
from aarlab.researchers import told
from aarlab.researchers.quoting import WARNING, clean, cut, fingerprint, one_line, quoted
from aarlab.researchers.told import LISTED, MOST, PENDING
from aarlab.w2s import methods

Json = dict[str, Any]

WAIT_SECONDS = 120.0
MOST_WAIT = 600.0


@dataclass(frozen=True)
class Made:
    """What the lab made of a submission or a post: its number, and the text for the model."""

    number: int
    text: str


@dataclass(frozen=True)
class Method:
    """A scored method of some researcher: the text for the model, its file, and a name for it."""

    number: int
    text: str
    source: str
    file: str


class Toolbox:
    """The lab as one researcher sees it. All methods block; all raise AarlabError."""

    def __init__(self, lab: LabClient, name: str) -> None:
        self.lab, self.name = lab, name

    # Reading

    def brief(self) -> str:
        """The problem, its tasks, the rules of scoring and of honesty."""
        return cut(told.brief(self.lab.brief()), MOST, "nothing else of it is public")

    def budget(self) -> str:
        """What is left, of the fleet's and of one's own."""
        return told.budget(self.lab.budget())

    def leaderboard(self) -> str:
        """Records, baselines, and how much everybody has submitted."""
        return cut(told.leaderboard(self.lab.leaderboard()), MOST, "get_method(NUMBER) shows one method")

    def submission(self, number: int = 0) -> str:
        """One of one's own submissions; without a number, the newest of them."""
        if number:
            return told.submission(self.lab.submission(number))
        rows = self.lab.submissions()
        if not rows:
            return "You have not submitted anything yet."
        left_out = len(rows) - LISTED
        lines = [told.submission_line(row) for row in rows[-LISTED:]]
        return "\n".join([f"Your submissions{told.older(left_out)}:", *lines])

    def get_method(self, number: int) -> Method:
        """A scored method with its source."""
        row = self.lab.method(number)
        source: str = row["source"]
        text = "\n".join(
            [
                f"Method {row['id']} {one_line(row['name'])} by {row['researcher']}, track {row['track']}: "
                f"{told.outcome(row)}.",
                *([f"Builds on submission {row['parent']}."] if row["parent"] else []),
                *([WARNING, quoted(row["note"])] if row["note"] else []),
            ]
        )
        return Method(number, text, source, f"{number:05d}-{told.slug(row['name'])}.py")

    def forum_read(self, number: int = 0, since: int = 0) -> str:
        """One post with its replies; without a number, the newest posts after post `since`."""
        if not number:
            return told.posts(self.lab.posts(since=since), f"after post {since}" if since else "")
        post = self.lab.read_post(number)
        parts = [told.post(post), *(told.post(reply) for reply in post["replies"])]
        text = "\n\n".join([WARNING, *parts])
        return cut(text, MOST, "each post is also a whole file under findings/ of the shared folder")

    def forum_search(self, text: str) -> str:
        """The newest posts in whose title or body `text` occurs."""
        if not text.strip():
            raise errors.InputError("text is empty; give a word or two to look for, or use forum_read()")
        return told.posts(self.lab.posts(search=text[:200]), f"with {one_line(text)}")

    # Writing

    def submit(
        self, source: str, name: str, track: str = "", family: str = "", parent: int = 0,
        claimed_pgr: float | None = None, note: str = "", wait_seconds: float = WAIT_SECONDS, key: str | None = None,
    ) -> Made:  # fmt: skip
        """Hand a method in and wait for its score. Empty track and family: those of the file's header.

        Raises what the lab refuses, with nothing charged. A lab that goes away after it took the submission is no
        error: the text says how to ask for the score.
        """
        family = _family(family or _header_family(source))
        for what, text in (("name", name), ("note", note), ("the file", source)):
            _sendable(what, text)
        if claimed_pgr is not None and not math.isfinite(claimed_pgr):
            raise errors.InputError(f"claimed_pgr is {claimed_pgr}; give the number that you measured, or leave it out")
        row = self.lab.submit(
            name.strip() or "method", source, parent=parent or None, claimed_pgr=claimed_pgr, note=note, key=key,
            track=track or methods.track(source), family=family,
        )  # fmt: skip
        return Made(row["id"], self._verdict(row, wait_seconds))

    def _verdict(self, row: Json, wait_seconds: float) -> str:
        """The score if it comes in time, else how to ask for it."""
        number = row["id"]
        if row["status"] in PENDING and wait_seconds > 0:
            try:
                row = self.lab.wait(number, min(wait_seconds, MOST_WAIT))
            except errors.Infrastructure as error:
                return f"Submission {number} is in, but {error}. Ask submission({number}) for its score later."
        return told.submission(row)

    def forum_post(
        self, kind: str, title: str, body: str, parent: int = 0, submission: int = 0, family: str = "",
        key: str | None = None,
    ) -> Made:  # fmt: skip
        """Write to the forum: kind result, hypothesis, insight or error."""
        for what, text in (("title", title), ("body", body)):
            _sendable(what, text)
        row = self.lab.post(
            kind, title, body, parent=parent or None, submission=submission or None, key=key, family=_family(family)
        )
        about = f" in reply to post {parent}" if parent else ""
        return Made(row["id"], f"Post {row['id']} is in the forum{about} (sha256 {fingerprint(body)}).")


def advice(error: errors.AarlabError) -> str:
    """An error as a sentence that says what to do about it."""
    words = clean(str(error)).rstrip(".")
    if isinstance(error, errors.MethodError):
        return f"The file was not accepted ({error.reason}): {words}. Nothing was charged; mend it and submit again."
    if "Idempotency-Key" in words:
        return "This call was carried out already, before a restart; submission() and forum_read() show what it made."
    return f"{words}{_remedy(error)}"


def _remedy(error: errors.AarlabError) -> str:
    match type(error).__name__:
        case "BudgetSpent":
            return ". budget() says what is left; what you measure on the open task costs none of it."
        case "RateLimited":
            return ". Do something else first and try again then."
        case "UnknownName":
            return ". leaderboard(), submission() and forum_read() list the numbers that there are."
        case "Infrastructure" | "SandboxUnavailable":
            return ". This is not your fault: your files are kept; try again in a minute."
        case "Unauthorised":
            return ". The lab does not know this token; tell whoever started you."
        case "NotAllowed":
            return ". That will not change by asking again."
        case _:
            return "."


# What is sent


def _sendable(what: str, text: str) -> None:
    """Raises InputError for text that cannot be stored."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise errors.InputError(f"{what}: character {error.start} is half of a surrogate pair; leave it out") from None
    if "\x00" in text:
        raise errors.InputError(f"{what}: there is a NUL character at {text.index(chr(0))}; leave it out")


def _family(given: str) -> str:
    """One of the families, however it is written; empty where none is given. Raises InputError."""
    if not given.strip():
        return ""
    words = _words(given)
    for family in methods.FAMILIES:
        if _words(family) == words:
            return family
    raise errors.InputError(f"there is no family {given[:80]!r}; the families are {', '.join(methods.FAMILIES)}")


def _words(text: str) -> str:
    return " ".join(text.lower().replace("-", " ").replace("_", " ").split())


def _header_family(source: str) -> str:
    """The family in the file's header; empty where there is none or none that is known."""
    for line in source[:4000].splitlines():
        if line.startswith("# family:"):
            try:
                return _family(line.removeprefix("# family:").strip())
            except errors.InputError:
                return ""
    return ""
