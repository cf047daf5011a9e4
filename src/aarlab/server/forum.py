"""A post's way into the forum, and the operator's messages, which are posts that somebody is told of."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from typing import Any

from aarlab.errors import BudgetSpent, RateLimited, UnknownName
from aarlab.records import IdeaRow, Post
from aarlab.server import canaries
from aarlab.server.auth import Identity
from aarlab.server.bodies import NewPost
from aarlab.server.lab import LAB, OPERATOR, Lab
from aarlab.server.submissions import once
from aarlab.server.views import post_view
from aarlab.store import Rows

POSTS_EACH = 1000
POSTS_A_MINUTE = 10
MINUTE = 60.0

EVERYONE = "everyone"
"""The name under which a message goes to all researchers."""

MESSAGES = "messages"
"""The key under which the database keeps which posts are messages: [[number, name], ...], oldest first."""


class Pace:
    """When each researcher posted in the last minute. Used inside the write transaction, so by one at a time."""

    def __init__(self) -> None:
        self.times: dict[str, deque[float]] = {}

    def check(self, name: str) -> None:
        """Raises RateLimited where one more is too soon."""
        now, times = time.monotonic(), self.times.setdefault(name, deque())
        while times and now - times[0] >= MINUTE:
            times.popleft()
        if len(times) >= POSTS_A_MINUTE:
            wait = math.ceil(MINUTE - (now - times[0]))
            raise RateLimited(
                f"you have made {POSTS_A_MINUTE} posts within a minute, the most the forum takes; "
                f"wait {wait} s, and put what belongs together into one post"
            )

    def add(self, name: str) -> None:
        self.times[name].append(time.monotonic())


def post(lab: Lab, pace: Pace, who: Identity, body: NewPost, key: str | None) -> dict[str, Any]:
    """Take one post in. Raises BudgetSpent, RateLimited or UnknownName with nothing written."""

    def work(rows: Rows) -> dict[str, Any]:
        _check_right(rows, who, body)
        if who.role == "researcher":
            pace.check(who.name)
            pace.add(who.name)
        row = Post(0, who.name, body.kind, body.title, body.body, lab.now(), body.parent, body.submission)
        row = rows.add_post(row)
        if body.family:
            rows.set_idea(IdeaRow("post", row.id, body.family, "researcher"))
        canaries.alarm(lab, rows, who.name, "post", heard, post=row.id)
        return post_view(lab, rows, row)

    with canaries.watching(lab, who.name, "post", body.title, body.body, key or "") as heard:
        reply = once(lab, who, key, body.asked(), work)
    lab.changed("posts")
    return reply


def _check_right(rows: Rows, who: Identity, body: NewPost) -> None:
    if rows.count_posts(who.name) >= POSTS_EACH:
        raise BudgetSpent(f"you have made all your {POSTS_EACH} posts of this run")
    if body.parent is not None and rows.post(body.parent) is None:
        raise UnknownName(f"there is no post {body.parent} to reply to")
    if body.submission is not None:
        cited = rows.submission(body.submission)
        mine = cited is not None and (cited.researcher == who.name or who.role == "operator")
        if cited is None or not (mine or (cited.status == "scored" and cited.researcher != LAB)):
            raise UnknownName(f"there is no submission {body.submission} that you may see")


def message(lab: Lab, rows: Rows, to: str, text: str) -> Post:
    """Post what the operator tells a researcher, or EVERYONE, in the caller's transaction.

    Everybody can read the post, as one of people's. Language models are told of it besides, in the reply to a
    heartbeat that asks (`messages`); a search researcher only finds the post.
    """
    row = Post(0, OPERATOR, "insight", f"Message to {to}", text, lab.now())
    row = rows.add_post(row)
    rows.set_meta(MESSAGES, [*rows.meta(MESSAGES, []), [row.id, to]])
    canaries.alarm(lab, rows, OPERATOR, "message", lab.canaries.watch(text), post=row.id)
    return row


def messages(rows: Rows, name: str, heard: int) -> list[dict[str, Any]]:
    """What the operator told a researcher after message number `heard`, oldest first: {id, text, time}."""
    new = [rows.post(number) for number, to in rows.meta(MESSAGES, []) if number > heard and to in (name, EVERYONE)]
    return [{"id": p.id, "text": p.body, "time": round(p.created)} for p in new if p is not None]


def fingerprint(text: str) -> str:
    """SHA-256 of a message, as the ledger keeps it."""
    return hashlib.sha256(text.encode()).hexdigest()
