"""The lab's answers as text for a language model: short, whole, other researchers' words marked as theirs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aarlab.researchers.quoting import MARK, WARNING, clean, fingerprint, one_line, quoted
from aarlab.w2s import methods

Json = dict[str, Any]

MOST = 12_000
"""Characters of one reply; Inspect cuts out the middle of what is longer than 16 KiB."""

LISTED = 40  # posts, records or submissions of one list
PREVIEW = 240  # characters of a post in a list
PENDING = ("queued", "running")


def brief(card: Json) -> str:
    scoring = card["scoring"]
    open_tasks = [t for t in card["tasks"] if t["role"] == "open"]
    others = [t for t in card["tasks"] if t["role"] != "open"]
    lines = [
        card["title"],
        "",
        card["brief"].strip(),
        "",
        "Tasks:",
        *(_task(t) for t in [*open_tasks, *others]),
        "",
        f"Scoring: each method runs on {scoring['seeds']} seeds drawn by the lab, at most "
        f"{scoring['timeout_per_seed']:g} s and {scoring['memory_mb']} MB each, without network; a method file has at "
        f"most {scoring['method_bytes']} bytes and defines run(task, seed).",
        *([f"Written-out data in a file is limited: {_pairs(scoring['payload'])}."] if scoring["payload"] else []),
        *([f"Practice: {scoring['practice']}."] if scoring["practice"] != "off" else []),
        "",
        "Tracks (say on which one a method is):",
        *(f"- {name}: {meaning}" for name, meaning in card["tracks"].items()),
        "",
        f"Families of ideas: {', '.join(methods.FAMILIES)}.",
        f"Baselines shown: {', '.join(card['baselines'])}.",
        "",
        f"Audits: {card['audits']}",
    ]
    if you := card["you"]:
        lines += ["", f"You are {you['name']}" + (f"; your direction: {you['direction']}" if you["direction"] else "")]
    return "\n".join(lines)


def _task(card: Json) -> str:
    what = {"open": "labels shown, in /data", "feedback": "answers through submit"}.get(
        card["role"], "opens at the end"
    )
    return (
        f"- {card['name']} ({card['role']}: {what}): {card['train_items']} train and {card['test_items']} test items, "
        f"floor {card['floor']['mean']:.3f}, ceiling {card['ceiling']['mean']:.3f}"
    )


def budget(found: Json) -> str:
    answers, subs = found["answers"], found["submissions"]
    lines = [
        f"Submissions: you have made {subs['used']} of {subs['limit']}; {subs['left']} left.",
        f"Ladder answers: {answers['left_for_you']} left for you ({answers['yours']} taken; the fleet has taken "
        f"{answers['taken']} of {answers['total']}). A file that was scored before costs none.",
    ]
    lines += _spendings(found)
    if found.get("seconds_left") is not None:
        lines.append(f"Time: {_duration(found['seconds_left'])} of research left.")
    practice = found.get("practice") or {}
    if practice.get("total"):
        lines.append(f"Practice answers: {practice['left']} of {practice['total']} left.")
    lines.append(f"Phase: {found['phase']}.")
    return "\n".join(lines)


def _spendings(found: Json) -> Iterable[str]:
    """Dollars, tokens and own minutes, where there is a limit or something was spent."""
    for what in ("dollars", "tokens", "minutes"):
        pots = found.get(what) or {}
        yours, fleet = pots.get("yours"), pots.get("fleet") if what != "minutes" else None  # the fleet's are the time
        parts = [_pot("you", yours, what)] if yours and (yours["limit"] or yours["spent"]) else []
        parts += [_pot("the team", fleet, what)] if fleet and (fleet["limit"] or fleet["spent"]) else []
        if parts:
            yield f"{what.capitalize()}: {'; '.join(parts)}."


def _pot(whose: str, pot: Json, what: str) -> str:
    shown = ("${:,.2f}" if what == "dollars" else "{:,.0f}").format
    spent = f"{whose} used {shown(pot['spent'] or 0)}"
    return spent if not pot["limit"] else f"{spent} of {shown(pot['limit'])}, {shown(pot['left'] or 0)} left"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def leaderboard(found: Json) -> str:
    ladder = found["ladder"]
    lines = [
        f"{found['problem']}, task {found['task']}, phase {found['phase']}. The Ladder stands at accuracy "
        f"{ladder['best']:.4f}; a new record needs {ladder['next']:.4f}.",
        "",
        "Baselines (PGR, accuracy): "
        + ", ".join(f"{n} {b['pgr']:.3f} ({b['accuracy']:.4f})" for n, b in found["baselines"].items()),
        "",
    ]
    records = found["records"]
    if not records:
        lines.append("No record yet: nobody's method has reached the next rung.")
    else:
        lines.append("Records, best first (names are their researchers' words):")
        lines += [_record(r) for r in records[:LISTED]]
        if len(records) > LISTED:
            lines.append(f"[{len(records) - LISTED} lower records are left out]")
    lines += ["", f"Scored without a new record: {found['no_new_record']}.", "Submissions by researcher:"]
    lines += [
        f"- {name}: {c['submissions']} ({c['records']} records, {c['pending']} pending, {c['failed']} failed)"
        for name, c in found["counts"].items()
    ]
    return "\n".join(lines)


def _record(row: Json) -> str:
    verdict = row.get("verdict") or {}
    said = f"; audit: {verdict['outcome']}" if verdict.get("outcome") else ""
    ranked = "" if row["ranked"] else "; not ranked"
    return (
        f"- {row['id']} {one_line(row['name'])} by {row['researcher']}: PGR {row['pgr']:.3f}, accuracy "
        f"{row['accuracy']:.4f}, track {row['track']}{ranked}{said}"
    )


def submission(row: Json) -> str:
    head = f"Submission {row['id']} {one_line(row['name'])}"
    if row["status"] in PENDING:
        return f"{head} is {row['status']}. Ask submission({row['id']}) for its score, and go on working meanwhile."
    lines = [f"{head}: {outcome(row)}."]
    if row["repeat_of"]:
        lines.append(f"It is the same method as submission {row['repeat_of']}, so that it cost no answer.")
    if not row["ranked"] and row["remark"]:
        lines.append(f"{clean(row['remark'])[:1].upper()}{clean(row['remark'])[1:]}.")
    if row["status"] not in ("scored", *PENDING):
        lines.append(_why_failed(row["reason"]))
    return "\n".join(lines)


def submission_line(row: Json) -> str:
    parent = f", builds on {row['parent']}" if row["parent"] else ""
    claim = f", you claimed {row['claimed_pgr']:.3f}" if row["claimed_pgr"] is not None else ""
    return f"- {row['id']} {one_line(row['name'])}: {outcome(row)}{claim}{parent}"


def outcome(row: Json) -> str:
    """Status and, where the Ladder announced one, the record."""
    status = str(row.get("status", "scored"))  # a method that everybody sees has none
    if status in PENDING:
        return status
    if status != "scored":
        return status.replace("_", " ") + (f" ({row['reason']})" if row.get("reason") else "")
    pgr = "" if row.get("record_pgr") is None else f", PGR {row['record_pgr']:.3f}"
    return f"scored, {row['answer'] or 'no answer'}{pgr}"


def _why_failed(reason: str | None) -> str:
    known = {
        "timed-out": "It took too long on one seed; try it on the open task with a clock beside it.",
        "out-of-memory": "It took more memory than the lab allows; keep fewer copies of the features.",
        "shape": "run must return one number for each test item: shape (len(task.test),).",
        "dtype": "run must return floats.",
        "nan": "run returned a number that is not finite.",
        "range": "run must return probabilities, from 0 to 1.",
        "crashed": "It raised an error on the hidden task, and nothing more is told; try other seeds, and the open "
        "task with its halves exchanged (OpenTask.swapped()).",
        "forbidden": "It tried what a method may not do: files, programs, network, other processes.",
        "infrastructure": "The lab failed, not the method; submit it again.",
    }
    return known.get(reason or "", "Look at it on the open task first.")


def posts(posts: list[Json], which: str) -> str:
    """A list: newest last, so that its end says where to go on."""
    if not posts:
        return f"No posts {which}.".replace(" .", ".")
    shown = posts[-LISTED:]
    while len(text := "\n\n".join(_preview(p) for p in shown)) > MOST - 400 and len(shown) > 1:
        shown = shown[1:]
    left_out = len(posts) - len(shown)
    older = f" ({left_out} older ones are left out)" if left_out else ""
    last = posts[-1]["id"]
    return "\n\n".join(
        [
            f"{len(shown)} posts {which}".rstrip() + f"{older}, newest last. {WARNING}",
            text,
            f"forum_read(NUMBER) shows a whole post with its replies; forum_read(since={last}) what comes next.",
        ]
    )


def _preview(post: Json) -> str:
    body = post["body"]
    more = len(body) - PREVIEW
    shown = quoted(body[:PREVIEW] if more > 0 else body)
    return f"{_heading(post)}\n{shown}" + (f"\n[{more} more characters]" if more > 0 else "")


def post(post: Json) -> str:
    return f"{_heading(post)}\n{quoted(post['body'])}"


def _heading(post: Json) -> str:
    """Number, kind, author and hash, then the title as quoted text, then what the lab itself knows of what is cited."""
    reply = f", reply to post {post['parent']}" if post["parent"] else ""
    lines = [
        f"Post {post['id']} ({post['kind']}) by {post['researcher']}{reply}, sha256 {fingerprint(post['body'])}",
        MARK + one_line(post["title"], 200),
    ]
    if cited := post["verified"]:
        lines.append(f"The lab on submission {cited['id']} by {cited['researcher']}, which it cites: {outcome(cited)}")
    return "\n".join(lines)


def older(left_out: int) -> str:
    return f", newest last ({left_out} older ones are left out)" if left_out > 0 else ", newest last"


def _pairs(values: Json) -> str:
    return ", ".join(f"{k} {v:g}" if isinstance(v, int | float) else f"{k} {v}" for k, v in values.items())


def slug(name: str) -> str:
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    return "-".join(filter(None, kept.split("-")))[:48] or "method"
