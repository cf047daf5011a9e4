"""One researcher: how it does, what it cost, what it did step by step, and its notebook."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from aarlab.dashboard import steps
from aarlab.dashboard.charts import Chart
from aarlab.dashboard.forum import cited, page_number, paged
from aarlab.dashboard.lab import Entry, Json, Snapshot
from aarlab.dashboard.run import card, estimate
from aarlab.errors import InputError, UnknownName
from aarlab.records import LedgerLine, Post, ResearcherRow, Submission
from aarlab.reports import figures
from aarlab.store import Rows, Store

SUBMISSIONS = 12  # a page
POSTS = 8
STEPS = 30
STEP_SHOWN = 900  # characters behind a line that the page holds; a step looked at by itself: WHOLE_STEP
WHOLE_STEP = 100_000
NOTEBOOK = "notebook.md"
"""The file in which researchers are asked to keep what must not be forgotten (llm/prompts/place.txt, search.py)."""
NOTEBOOK_BYTES = 200_000  # read, from its end
NOTEBOOK_SHOWN = 8000  # characters on the page, from its end
FILES, FILES_SHOWN = 100, 12  # newest transcript files, and those of them that the page names


def page(lab: Snapshot, store: Store, name: str, query: dict[str, str]) -> Json:
    """query: page (of submissions, from 1); before (an id of the timeline), or step (one step, and those before it).

    Raises UnknownName for a name or step that this lab does not have, InputError for what is no number.
    """
    person = _person(lab, name)
    mine = [s for s in lab.submissions.values() if s.researcher == name]
    part, shown = paged(sorted(mine, key=lambda s: -s.id), page_number(query), SUBMISSIONS)
    about = card(lab, person)
    with store.read() as rows:
        posts = rows.matching_posts(by=name)
        heads = rows.post_heads(posts[:POSTS], 0)
        session, turn = rows.last_turn(name)
        found = _timeline(lab, rows, person, mine, query)
    return {
        **about, "best_ranked": about["best"] is not None and lab.submissions[about["best"]["submission"]].ranked,
        "status": person.status, "human": person.kind == "human",
        "employed": person.role == "researcher", "model": model(lab, person), "session": session, "turn": turn,
        "minutes": lab.usage.wall.get(name, 0.0) / 60, "restarts": lab.usage.restarts.get(name, 0),
        "waiting": sum(s.status in ("queued", "running") for s in mine), "all_posts": len(posts),
        "costs": costs(lab, name), "handed_in": [_row(lab, s) for s in shown], **part,
        "posts": [_post(lab, heads[n][0]) for n in posts[:POSTS]], **found, "notebook": notebook(lab, name),
        "transcripts": transcripts(lab, name),
        "shown": {"step": STEP_SHOWN, "whole_step": WHOLE_STEP, "files": FILES_SHOWN},
    }  # fmt: skip


def _person(lab: Snapshot, name: str) -> ResearcherRow:
    for row in lab.people:
        if row.name == name:
            return row
    known = ", ".join(r.name for r in lab.people) or "nobody"
    raise UnknownName(f"there is no researcher {name[:60]!r} in this lab; it has {known[:300]}")


def model(lab: Snapshot, person: ResearcherRow) -> str:
    """The language model behind a researcher, with the program around it; empty where there is none."""
    for one in lab.settings.researchers:
        if one.name == person.name and one.is_language_model:
            known = lab.settings.model_of(one)
            return f"{one.cli} with {known}" if one.cli else known
    return ""


def costs(lab: Snapshot, name: str) -> Json:
    """Dollars, calls, tokens and CPU time, and the limits of its own; {} where nothing was used.

    `outstanding_dollars` are set aside for calls under way.
    """
    used = lab.costs["researchers"].get(name)
    if used is None:
        return {}
    account, budget = lab.accounts.get(name), lab.settings.budget
    limits = {
        "dollars": budget.researcher_dollars, "tokens": budget.researcher_tokens,
        "minutes": budget.researcher_minutes, "cpu_hours": budget.researcher_cpu_hours,
    }  # fmt: skip
    aside = account.outstanding_dollars if account else 0.0
    return {**used, "outstanding_dollars": aside, "limits": {k: v for k, v in limits.items() if v}}


# Submissions and posts


def _row(lab: Snapshot, s: Submission) -> Json:
    entry = lab.entry(s.id) or lab.entry(s.repeat_of or 0)
    return {
        "id": s.id, "name": s.name, "created": s.created, "status": s.status.replace("_", " "), "reason": s.reason,
        "pgr": None if entry is None else estimate(entry.pgr, entry.drawn),
        "lead": None if entry is None or entry.lead is None else entry.lead.as_dict(), "claimed": s.claimed_pgr,
        "answer": s.answer, "ranked": s.ranked, "parent": s.parent, "repeat_of": s.repeat_of, "track": s.track,
    }  # fmt: skip


def _post(lab: Snapshot, p: Post) -> Json:
    cites = None if p.submission is None else cited(lab, p.submission)
    return {"id": p.id, "title": p.title, "kind": p.kind, "time": p.created, "parent": p.parent, "cites": cites}


# Timeline


def _timeline(
    lab: Snapshot, rows: Rows, person: ResearcherRow, mine: Sequence[Submission], query: dict[str, str]
) -> Json:
    """{"timeline", "steps": whether these are steps of a conversation, "newest", "older": `before` of the next page,
    "step": the one that is looked at}."""
    at, before = _number(query, "step"), _number(query, "before")
    if not rows.event_heads(person.name, 1, 0):
        actions, older = _actions(lab, rows, person, mine, before)
        return {"timeline": actions, "steps": False, "newest": before is None, "older": older, "step": None}
    found = rows.event_heads(person.name, STEPS + 1, steps.READ, before if at is None else at + 1)
    if at is not None and (not found or found[0][0].id != at):
        raise UnknownName(f"{person.name} has no step {at}")
    lines = [steps.step(r, whole, WHOLE_STEP if r.id == at else steps.DETAIL) for r, whole in found[:STEPS]]
    older = lines[-1]["id"] if len(found) > STEPS else None
    return {"timeline": lines, "steps": True, "newest": before is None and at is None, "older": older, "step": at}


def _number(query: dict[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise InputError(f"{name} is {text[:40]!r}; it is the number of a step")
    return int(text)


def _actions(
    lab: Snapshot, rows: Rows, person: ResearcherRow, mine: Sequence[Submission], before: int | None
) -> tuple[list[Json], int | None]:
    """What somebody did who has no conversation, newest first, and the `before` of the next page.

    Here `before` counts what is left: pages stay as they are while new actions come in.
    """
    lines = [x for kind in ("control", "stop") for x in rows.lines_of(kind)]
    lines = [x for x in lines if person.name in (x.body.get("researcher"), x.body.get("to"))]
    moments: list[tuple[float, int, Submission | LedgerLine | int]] = [(s.created, s.id, s) for s in mine]
    moments += [(x.time, x.number, x) for x in lines]
    moments += [(time, number, number) for number, time in rows.post_times(person.name).items()]
    moments.sort(key=lambda m: m[:2])
    left = len(moments) if before is None else min(before, len(moments))
    first = max(0, left - STEPS)
    part = [what for _, _, what in moments[first:left]]
    posts = rows.post_heads([n for n in part if isinstance(n, int)], 0)
    shown = [{"id": first + i + 1, **_action(lab, what, posts)} for i, what in enumerate(part)][::-1]
    if before is None and person.heartbeat is not None and person.state:
        said = {"time": person.heartbeat, "kind": "heartbeat", "line": person.state, "submission": None, "post": None}
        shown.insert(0, {"id": len(moments) + 1, **said})
    return shown, first or None


def _action(lab: Snapshot, what: Submission | LedgerLine | int, posts: Mapping[int, tuple[Post, int]]) -> Json:
    if isinstance(what, Submission):
        return _handed_in(lab, what)
    return _told(what) if isinstance(what, LedgerLine) else _posted(posts[what][0])


def _handed_in(lab: Snapshot, s: Submission) -> Json:
    entry = lab.entry(s.id)
    said = f"verified at {entry.pgr.mean:.2f}" if entry else s.status.replace("_", " ")
    more = s.answer or s.reason or ""
    kind = "record" if s.record is not None and s.repeat_of is None else "submission"
    return {"time": s.created, "kind": kind, "line": f"{s.name}: {said}{f', {more}' if more else ''}",
            "submission": s.id, "post": None}  # fmt: skip


def _posted(p: Post) -> Json:
    return {"time": p.created, "kind": p.kind, "line": p.title, "submission": p.submission, "post": p.id}


def _told(x: LedgerLine) -> Json:
    line = f"{x.body.get('action') or 'stopped'}, by {x.body.get('by') or 'the operator'}"
    return {"time": x.time, "kind": x.kind, "line": line, "submission": None, "post": x.body.get("post")}


# Files


def notebook(lab: Snapshot, name: str) -> Json:
    """{"text", "end", "bytes", "cut", "why"}: a researcher's notebook, or no more than its end.

    end: whole lines from the end of the text, for the page. why: a sentence where there is no text.

    The workspace is the researcher's own: links are not followed, and only a plain file is read.
    """
    nothing = {"text": "", "end": "", "bytes": 0, "cut": False}
    try:
        with _opened(lab, name) as file:
            about = os.fstat(file)
            if not stat.S_ISREG(about.st_mode):
                return {**nothing, "why": f"{NOTEBOOK} is no plain file, so it is not read."}
            start = max(0, about.st_size - NOTEBOOK_BYTES)
            text = os.pread(file, NOTEBOOK_BYTES, start).decode("utf-8", "replace")
    except FileNotFoundError:
        return {**nothing, "why": f"There is no {NOTEBOOK} in its workspace."}
    except OSError as error:
        return {**nothing, "why": f"{NOTEBOOK} is not read: {error.strerror}. Links are not followed."}
    end = text if len(text) <= NOTEBOOK_SHOWN else text[-NOTEBOOK_SHOWN:].partition("\n")[2] or text[-NOTEBOOK_SHOWN:]
    return {"text": text, "end": end, "bytes": about.st_size, "cut": start > 0,
            "why": "" if text else f"{NOTEBOOK} is empty."}  # fmt: skip


@contextmanager
def _opened(lab: Snapshot, name: str) -> Iterator[int]:
    """The notebook as a file descriptor; no link is followed on the way, and no pipe waited for."""
    if "/" in name or name in ("", ".", ".."):
        raise FileNotFoundError
    safe = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(lab.folder / "workspaces" / name, safe | os.O_DIRECTORY)
    try:
        file = os.open(NOTEBOOK, safe | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        yield file
    finally:
        os.close(file)


def transcripts(lab: Snapshot, name: str) -> list[Json]:
    """The Inspect logs of a researcher, newest first: {"file", "bytes", "changed"}."""
    cleaned = re.sub("[_/:+]", "-", name)  # as Inspect writes it between the time and an id
    found = []
    try:
        with os.scandir(lab.folder / "transcripts") as files:
            for file in files:
                if file.name.endswith(".eval") and "_".join(file.name.split("_")[1:-1]) in (name, cleaned):
                    about = file.stat(follow_symlinks=False)
                    found.append({"file": file.name, "bytes": about.st_size, "changed": about.st_mtime})
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda f: str(f["file"]), reverse=True)[:FILES]


# Chart


def draw(lab: Snapshot, width: int, about: str) -> Any:
    """Its verified scores and the fleet's highest; the line is the fleet's best at those times."""
    best = lab.best
    entries = [e for e in lab.entries if e.submission.researcher == about or e is best]
    if not any(e.submission.researcher == about for e in entries):
        return None
    scores = [
        figures.Scored(e.submission.id, e.submission.researcher, e.minutes, e.pgr, e.best, e.submission.name)
        for e in entries
    ]
    return figures.pgr_over_time(scores, lab.baselines, max(lab.research_seconds / 60, 0.1), width)


def rows(lab: Snapshot, about: str) -> list[Json]:
    return [_point(e) for e in lab.entries if e.submission.researcher == about]


def _point(e: Entry) -> Json:
    return {
        "submission": e.submission.id, "name": e.submission.name, "minutes": round(e.minutes, 3), "pgr": e.pgr.mean,
        "low": e.pgr.low if e.drawn else None, "high": e.pgr.high if e.drawn else None, "fleet_best": e.best,
    }  # fmt: skip


CHARTS = {"researcher": Chart("One researcher's PGR over time", draw, rows)}
