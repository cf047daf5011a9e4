"""One submission: its state, what was measured, what it depends on, its code and what changed, who spoke of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from aarlab.audits.policy import ROW, deciding
from aarlab.dashboard import lines
from aarlab.dashboard.changes import Code, changes
from aarlab.dashboard.charts import Chart
from aarlab.dashboard.lab import Entry, Json, Snapshot, sealed, source
from aarlab.dashboard.leaderboard import claim, ranking
from aarlab.dashboard.run import estimate
from aarlab.errors import InputError, UnknownName
from aarlab.execution.check import MOST_BYTES
from aarlab.records import ChannelVerdict, Estimate, Evaluation, Finding, Judgement, LedgerLine, Submission
from aarlab.reports import board, figures
from aarlab.reports.data import LAB, method
from aarlab.reports.transcripts import Place
from aarlab.store import Rows, Store

RELATIVES, POSTS, LINES = 40, 50, 100
"""How many of each one page shows."""

SEALED = "sealed until the run ends"

REASONS = {
    "syntax": ("the file cannot be read as Python", "Correct the file."),
    "no-run": ("the file has no function run(task, seed)", "Add `def run(task, seed)` at the top of the file."),
    "too-large": (f"the file has more than {MOST_BYTES // 1024} KB", "Make the file smaller."),
    "payload": ("the file carries more data than a method may", "Take out stored numbers and tables."),
    "shape": ("run() did not return one number for each test item", "Return an array with one P(label = 1) per item."),
    "dtype": ("run() did not return floats", "Return floats between 0 and 1."),
    "nan": ("run() returned values that are not finite", "Look for divisions by 0 and logarithms of 0."),
    "range": ("run() returned values outside 0 to 1", "Return probabilities."),
    "timed-out": (
        "one seed took longer than the lab allows",
        "Make it faster, or raise `scoring.timeout` in lab.toml.",
    ),
    "out-of-memory": ("it needed more memory than a method may use", "Work on fewer items at a time."),
    "crashed": ("it raised an error, or its process ended", "Run it on the open task, where the traceback is shown."),
    "forbidden": ("it tried what no method may do", "Look at the alarms among the ledger lines below."),
    "infrastructure": ("the lab itself failed, again and again", "See run/server.log, then hand the file in again."),
}
"""Reason of a run without a score -> what happened, and what to do."""


def page(lab: Snapshot, store: Store, number: int, query: Mapping[str, str]) -> Json:
    """query: `against`, the submission whose code this one's is compared with (its parent unless another is named).

    Raises UnknownName for a number that is no submission of the fleet, here or in `against`.
    """
    s = _submission(lab, store, number)
    with store.read() as rows:
        measured = _measured(lab, rows, s)
        history = [_judgement(j) for j in rows.judgements(number)]
        about = [_line(lab, x) for x in rows.lines_about(number, LINES)]
        posts = [
            {"post": p.id, "kind": p.kind, "title": p.title, "researcher": p.researcher, "created": p.created}
            for p in rows.citing(number, POSTS)
        ]
        place = _place(rows, number)
        parent = _parent(lab, rows, s)
        asked = rows.evaluation_of(s.repeat_of or number, "audit")
    code, trouble = _source(lab, number)
    return {
        **_head(lab, s),
        "transcript": None if place is None else {"text": place.text(), "turn": place.turn, "link": place.link()},
        "state": state(lab, s),
        **measured,
        "audit": _audit(lab, s, asked),
        "verdicts": history,
        "findings": _findings(lab, number),
        "source": Code(code),
        "trouble": trouble,
        **_compared(lab, s, code, query.get("against", "")),
        "ledger": about,
        "posts": posts,
        "parent": parent,
        **_relatives(lab, s),
    }


def _submission(lab: Snapshot, store: Store, number: int) -> Submission:
    found = lab.submissions.get(number)
    if found is not None:
        return found
    with store.read() as rows:
        row = rows.submission(number)
    if row is not None and row.researcher == LAB:
        raise UnknownName(f"#{number} is the lab's own baseline {row.name}; its numbers are on the leaderboard")
    last = max(lab.submissions, default=0)
    raise UnknownName(
        f"{lab.name} has no submission {number}; " + (f"the newest is {last}" if last else "nothing was handed in yet")
    )


def _head(lab: Snapshot, s: Submission) -> Json:
    """What it is, and its numbers; one that repeats another's method shows that one's."""
    entry = lab.entry(s.repeat_of or s.id)
    record = None if entry is None or sealed(lab) else entry.record
    return {
        "submission": s.id, "name": s.name, "researcher": s.researcher, "status": s.status, "reason": s.reason or "",
        "answer": s.answer or "", "note": s.note, "family": lab.families.get(s.id, ""), "created": s.created,
        "finished": s.finished, "declared": s.track, "track": _track(lab, s), "ranked": lab.ranked and s.ranked,
        "remark": s.remark, "rank": ranking(lab).get(s.id), "finalist": s.id in lab.finalists,
        "winner": not sealed(lab) and s.id == lab.winner, "repeat_of": s.repeat_of, "bundle_hash": s.bundle_hash,
        "claimed": s.claimed_pgr, "claim": _claim(s, entry), "pgr": entry and estimate(entry.pgr, entry.drawn),
        "lead": entry and entry.lead and entry.lead.as_dict(), "baseline": lab.best_baseline,
        "record": record and record.as_dict(), "record_is": _record_is(lab, s, record),
    }  # fmt: skip


def _track(lab: Snapshot, s: Submission) -> str:
    known = lab.judgements.get(s.id)
    return known.verdict.track if known else s.track


def _claim(s: Submission, entry: Entry | None) -> str:
    """As on the leaderboard: `above`, `inside` or `below` the measured interval; a repeat's own claim counts."""
    return claim(s.claimed_pgr, entry) if entry is not None else ""


def _record_is(lab: Snapshot, s: Submission, record: Estimate | None) -> str:
    """Why there is no number of record; empty where there is one."""
    if record is not None:
        return ""
    if sealed(lab):
        return SEALED
    return "being measured" if s.id in lab.finalists and lab.report is None else "not opened: no finalist"


# State


def state(lab: Snapshot, s: Submission) -> Json:
    """A status in words: what it means, and what to do. level: `act` (something is wrong), `look` or `fine`."""
    if s.status == "scored":
        same = f"It is the method of #{s.repeat_of}, so nothing was run again; its numbers are that one's."
        means = same if s.repeat_of else "The lab ran it on hidden data and measured it."
        return {"level": "fine", "means": means, "todo": ""}
    if s.status in ("queued", "running"):
        return _open_state(lab, s)
    what, todo = REASONS.get(s.reason or "", ("it ended without a score", "Look at the ledger lines below."))
    begin = {"timed_out": "Stopped", "refused": "Refused"}.get(s.status, "Failed")
    means = f"{begin}: {what}. It has no score, and the answer it would have cost went back to the budget."
    own = " `aarlab try FILE` runs a method on the open task with full tracebacks." if s.reason == "crashed" else ""
    return {"level": "act", "means": means, "todo": todo + own}


def _open_state(lab: Snapshot, s: Submission) -> Json:
    if s.status == "running":
        limit = lab.settings.scoring.timeout
        means = f"The lab is running it on hidden data, {lab.settings.scoring.seeds} seeds of at most {limit:g} s each."
    else:
        others = sum(o.status in ("queued", "running") for o in lab.submissions.values()) - 1
        means = f"It waits to be run; {others} others wait or run. Everybody's first comes before anybody's second."
    stopped = lab.state in ("stopped", "done")
    todo = "The lab does not run: resume it, and this goes on." if stopped else "Nothing to do; look again in a moment."
    return {"level": "act" if stopped else "look", "means": means, "todo": todo}


# Scores


def _measured(lab: Snapshot, rows: Rows, s: Submission) -> Json:
    """`tasks`: one line for each task it ran on; `scores`: one for each seed. Record and transfer tasks stay sealed."""
    tasks, scores = [], []
    for e in rows.evaluations_of(s.repeat_of or s.id):
        if e.purpose == "audit":
            continue
        hidden = sealed(lab) and e.purpose in ("record", "transfer")
        found = [] if hidden else rows.scores(e.id)
        key = f"{e.problem}/{e.task}"
        mean = {"mean": fmean(x.pgr for x in found), "low": None, "high": None} if found else None
        tasks.append({
            "key": key, "title": _title(lab, e), "purpose": e.purpose, "status": SEALED if hidden else e.status,
            "pgr": _pgr_of(lab, e) or mean,
        })  # fmt: skip
        scores += [
            {"task": key, "seed": x.seed_index + 1, "accuracy": x.accuracy, "pgr": x.pgr, "items": x.items,
             "cpu_seconds": x.cpu_seconds, "wall_seconds": x.wall_seconds}
            for x in found
        ]  # fmt: skip
    return {"tasks": tasks, "scores": scores}


def _title(lab: Snapshot, e: Evaluation) -> str:
    if e.problem == lab.problem.name:
        return lab.problem.task(e.task).title
    return f"{e.problem}: {e.task}"


def _pgr_of(lab: Snapshot, e: Evaluation) -> Json | None:
    """PGR of one run with its interval, where that is drawn."""
    entry = lab.entry(e.submission)
    if e.purpose == "feedback":
        return None if entry is None else estimate(entry.pgr, entry.drawn)
    if lab.report is None or sealed(lab):
        return None
    for family in lab.report[1].families():
        for task in family.tasks:
            if task.outcomes.key == f"{e.problem}/{e.task}" and method(e.submission) in task.pgr:
                return task.pgr[method(e.submission)].as_dict()
    return None


# Audits


def _audit(lab: Snapshot, s: Submission, asked: Evaluation | None) -> Json:
    """How far its audit is: {"status", "text"}."""
    if s.status != "scored":
        return {"status": "none", "text": "Only a scored submission can be audited."}
    if asked is None:
        return {"status": "none", "text": "Nobody audited it. The best are audited by themselves when research ends."}
    if asked.status in ("queued", "running"):
        word = "waits to be run" if asked.status == "queued" else "is being made"
        return {"status": asked.status, "text": f"An audit {word}; its verdict appears here."}
    early = " Its verdict counts from the end of research on." if lab.phase == "research" else ""
    trouble = f" The method did not run in it ({asked.reason})." if asked.reason else ""
    return {"status": asked.status, "text": f"Audited.{trouble}{early}"}


def _judgement(j: Judgement) -> Json:
    v = j.verdict
    return {
        "time": j.time, "by": j.by, "outcome": v.outcome, "declared": v.declared, "track": v.track, "reason": v.reason,
        "measured": v.row, "level": j.level, "evaluation": j.evaluation,
    }  # fmt: skip


def _findings(lab: Snapshot, number: int) -> list[Json]:
    """What audits found, with the range that the track allows (`least`, `most`; None: no limit) and the word on it."""
    standing = lab.judgements.get(number)
    limits = {c.channel: c for c in standing.verdict.channels} if standing else {}
    found = lab.findings(number)
    counts = deciding(found)
    return [_finding(f, limits if counts.get(f.channel) is f else None) for f in found]


def _finding(f: Finding, limits: Mapping[str, ChannelVerdict] | None) -> Json:
    """limits: by channel; None where another audit's number counts on this channel."""
    limit = (limits or {}).get(f.channel) or ChannelVerdict(f.channel, "not judged", "")
    return {
        "audit": f.audit, "channel": f.channel, "status": f.status, "value": f.value, "low": f.low, "high": f.high,
        "items": f.items, "least": limit.low, "most": limit.high, "word": limit.word,
        "counts": limits is not None,
        "sentence": f.sentence,
    }  # fmt: skip


# Code


def _source(lab: Snapshot, number: int) -> tuple[str, str]:
    """(the method file, what is wrong with it)."""
    try:
        return source(lab, number), ""
    except InputError as error:
        return "", str(error)


def _compared(lab: Snapshot, s: Submission, code: str, against: str) -> Json:
    """`compared`: with which submission, or why with none; `diff`: the lines (a table of its own)."""
    base = _base(lab, s, against)
    if base is None:
        text = "It names no parent." if s.parent is None else f"Its parent #{s.parent} is a baseline of the lab's own."
        return {"compared": {"base": None, "name": "", "text": text}, "diff": []}
    other, trouble = _source(lab, base)
    found = None if trouble or not code else changes(other, code)
    about = {"base": base, "name": lab.submissions[base].name, "text": trouble}
    if found is None:
        why = trouble or ("The file is gone." if not code else "These files are too repetitive to compare.")
        return {"compared": {**about, "text": why}, "diff": []}
    added, removed = (sum(x["kind"] == kind for x in found) for kind in ("add", "del"))
    text = f"{added} lines added, {removed} removed." if found else "The files are alike."
    return {"compared": {**about, "text": text, "added": added, "removed": removed}, "diff": list(found)}


def _base(lab: Snapshot, s: Submission, against: str) -> int | None:
    text = against.strip().removeprefix("#")
    if not text:
        return s.parent if s.parent in lab.submissions else None
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) in lab.submissions):
        raise UnknownName(f"{lab.name} has no submission {text[:40]!r} to compare with; give another number")
    return int(text)


# Others


def _relatives(lab: Snapshot, s: Submission) -> Json:
    """`ancestors`, oldest first; `children`; how many `descendants` there are in all; `repeats` of the same method."""
    children: dict[int, list[int]] = {}
    for one in lab.submissions.values():
        if one.parent is not None:
            children.setdefault(one.parent, []).append(one.id)
    original = s.repeat_of or s.id
    same = [one for one in lab.submissions.values() if original in (one.repeat_of, one.id) and one.id != s.id]
    return {
        "ancestors": [_relative(lab, one) for one in _ancestors(lab, s)],
        "children": [_relative(lab, lab.submissions[n]) for n in children.get(s.id, ())[:RELATIVES]],
        "descendants": len(_below(s.id, children)),
        "repeats": [_relative(lab, one) for one in same[:RELATIVES]],
    }


def _ancestors(lab: Snapshot, s: Submission) -> list[Submission]:
    found: list[Submission] = []
    seen, parent = {s.id}, s.parent
    while parent is not None and parent not in seen and parent in lab.submissions and len(found) < RELATIVES:
        seen.add(parent)
        found.append(lab.submissions[parent])
        parent = found[-1].parent
    return found[::-1]


def _below(number: int, children: Mapping[int, list[int]]) -> set[int]:
    found: set[int] = set()
    left = list(children.get(number, ()))
    while left:
        one = left.pop()
        if one not in found and one != number:
            found.add(one)
            left += children.get(one, ())
    return found


def _parent(lab: Snapshot, rows: Rows, s: Submission) -> Json | None:
    """What it says it builds on; `page` is False for a baseline, which has none."""
    row = None if s.parent is None else lab.submissions.get(s.parent) or rows.submission(s.parent)
    return None if row is None else {"submission": row.id, "name": row.name, "page": row.researcher != LAB}


def _relative(lab: Snapshot, s: Submission) -> Json:
    entry = lab.entry(s.repeat_of or s.id)
    return {
        "submission": s.id, "name": s.name, "researcher": s.researcher, "status": s.status,
        "pgr": entry and estimate(entry.pgr, entry.drawn),
    }  # fmt: skip


def _line(lab: Snapshot, x: LedgerLine) -> Json:
    body = {k: v for k, v in x.body.items() if k != "winner"} if sealed(lab) and x.kind == "phase" else x.body
    return {"line": x.number, "time": x.time, "kind": x.kind, "text": lines.words(x), "hash": x.hash, "body": body}


def _place(rows: Rows, number: int) -> Place | None:
    """The step of a conversation that made it."""
    step = rows.makers(number).get(number)
    if step is None:
        return None
    whole = next(rows.events(step.researcher, step.id - 1, 1))
    message = str((json.loads(whole.body).get("message") or {}).get("id") or "")
    return Place(step.researcher, step.log, step.session, step.turn, step.id, message)


# Charts


def _number(lab: Snapshot, about: str) -> int:
    """Raises UnknownName for what is no submission of the fleet."""
    if not (about.isascii() and about.isdigit() and len(about) < 12 and int(about) in lab.submissions):
        raise UnknownName(f"{lab.name} has no submission {about[:40]!r}; a chart is of one that it has")
    return int(about)


def _entry(lab: Snapshot, about: str) -> Entry | None:
    number = _number(lab, about)
    return lab.entry(lab.submissions[number].repeat_of or number)


def _draw_seeds(lab: Snapshot, width: int, about: str) -> Any:
    entry = _entry(lab, about)
    rival = {n: e for n, e in lab.baselines.items() if n == lab.best_baseline}
    return None if entry is None else board.seeds(entry.seeds, entry.pgr, rival, width)


def _seed_rows(lab: Snapshot, about: str) -> list[Json]:
    entry = _entry(lab, about)
    return [] if entry is None else [{"seed": i, "pgr": value} for i, value in enumerate(entry.seeds, 1)]


def _draw_audit(lab: Snapshot, width: int, about: str) -> Any:
    found = {f["channel"]: f for f in _findings(lab, _number(lab, about)) if f["counts"] and f["value"] is not None}
    marks = [
        figures.Measured(n, f["value"], f["low"], f["high"], f["least"], f["most"], f["word"])
        for n in ROW
        if (f := found.get(n)) is not None
    ]
    return board.profile(marks, width) if marks else None


def _audit_rows(lab: Snapshot, about: str) -> list[Json]:
    return _findings(lab, _number(lab, about))


CHARTS: dict[str, Chart] = {
    "seeds": Chart("PGR of each seed", _draw_seeds, _seed_rows),
    "audit": Chart("What the method depends on", _draw_audit, _audit_rows),
}
