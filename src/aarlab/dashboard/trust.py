"""What the numbers rest on: ledger, bits, isolation, audits, attacks, alarms, what people did, and what is left open.

`verify` checks a lab's ledger when somebody asks for it; its last result is kept as long as the dashboard runs.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from math import log2
from pathlib import Path
from typing import Any

from aarlab.dashboard.charts import Chart
from aarlab.dashboard.kept import Kept
from aarlab.dashboard.lab import Json, Snapshot, in_shell
from aarlab.dashboard.lines import KINDS, did, words
from aarlab.dashboard.protection import isolation, not_protected
from aarlab.errors import Infrastructure, InputError
from aarlab.records import Estimate, Judgement, LedgerLine
from aarlab.reports import bits, sentences
from aarlab.store import Rows, Store
from aarlab.store.registry import Earlier, Registry, state_file
from aarlab.vault import practice
from aarlab.vault import verify as ledger_check
from aarlab.vault.feedback import HARD_TOP, Budget, Ladder

LINES = 50  # of the ledger on a page
LISTED = 50  # alarms, controls, audits
FAULTS = 50
EARLIER_SECONDS = 30.0  # for which the machine's count of answers is not read again
MOST_BYTES = 20_000_000  # of a file of attacks

CHECKED: Kept[str, Json] = Kept(200)
EARLIER: Kept[tuple[str, str], tuple[float, Earlier | None]] = Kept(200)
ATTACKS: Kept[tuple[str, int, int], list[Json]] = Kept(8)

MATRIX = "redteam.json"


# Verifying


def verify(folder: Path) -> Json:
    """Check the whole ledger of a lab now and keep the result; takes seconds for a large lab.

    time: Unix seconds. text: the result in a sentence. Raises UnknownName where there is no lab.
    """
    began = time.time()
    found = ledger_check.verify(folder)
    result = {
        "time": began, "seconds": round(time.time() - began, 2), "ok": bool(found), "lines": found.lines,
        "head": found.head, "signed": found.signed, "answers": found.answers, "bits": round(found.bits, 1),
        "faults": found.faults[:FAULTS], "more_faults": max(0, len(found.faults) - FAULTS), "notes": found.notes,
        "text": _result(found),
    }  # fmt: skip
    return CHECKED.put(str(folder.resolve()), result)


def checked(folder: Path) -> Json | None:
    """The last result of `verify`; None where nobody asked since the dashboard was started."""
    return CHECKED.get(str(folder.resolve()))


def _result(found: ledger_check.Report) -> str:
    if found.faults:
        return f"The ledger does not verify: {sentences.count(len(found.faults), 'fault')}. First: {found.faults[0]}"
    signed = "signed with the vault's key" if found.signed else "without its signatures, since the vault is not here"
    return (
        f"All {found.lines:,} lines verify, {signed}: chain, rows, method files, per-item outcomes, scores and answers "
        "fit together."
    )


# The page


def page(lab: Snapshot, store: Store, query: Mapping[str, str]) -> Json:
    before = _number(query.get("before", ""))
    with store.read() as rows:
        lines = rows.line_page(before, LINES)
        alarms, controls = _of_kind(rows, "alarm"), _of_kind(rows, "control")
        counts, taken, practised = rows.line_counts(), rows.answers_taken(), rows.count_practice()
        names = _baselines(rows, lines)
    attacks = redteam(lab)
    return {
        "headline": headline(lab, counts),
        "advice": advice(lab, counts, attacks["about"]),
        "check": checked(lab.folder),
        "answers": answers(lab),
        "practice": practised_so_far(lab, practised),
        "researchers": budgets(lab, taken),
        "isolation": isolation(lab),
        "audits": audits(lab),
        "audit_settings": audit_settings(lab),
        "alarms": [_line(lab, x, names) for x in alarms],
        "controls": [_control(lab, x) for x in controls],
        "redteam": attacks["about"],
        "attacks": attacks["rows"],
        "not_protected": not_protected(lab),
        "commands": commands(lab),
        "ledger": [_line(lab, x, names) for x in lines],
        "kinds": [{"kind": k, "lines": n, "meaning": KINDS.get(k, "")} for k, n in counts.items()],
        "pages": _pages(lab, lines),
    }  # fmt: skip


def _number(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 15:
        raise InputError(f"before is {text[:40]!r}; it is the number of a ledger line")
    return int(text)


def _of_kind(rows: Rows, kind: str) -> list[LedgerLine]:
    return rows.line_page(limit=LISTED, kinds=(kind,))


def _baselines(rows: Rows, lines: Sequence[LedgerLine]) -> dict[int, str]:
    """Names of the lab's own submissions, which have no page."""
    return {s.id: s.name for s in rows.submissions("lab")} if lines else {}


def headline(lab: Snapshot, counts: Mapping[str, int]) -> str:
    """Whether the numbers can be believed, as far as one sentence can say."""
    told, used = lab.budget["bits"], lab.budget["answers"]
    text = (
        f"{sentences.count(used['used'], 'answer')} told all researchers together at most {told['used']:.0f} bits "
        f"about the hidden labels, of {told['limit']:.0f} that the whole budget can tell"
    )
    alarms = counts.get("alarm", 0)
    text += f"; {sentences.count(alarms, 'alarm')}." if alarms else "; no alarm."
    return text if lab.ranked else f"Nothing here is isolated, so no score ranks. {text}"


def advice(lab: Snapshot, counts: Mapping[str, int], attacks: Json) -> list[Json]:
    """What to look at before believing. level: "act", "look" or "fine"; time: of what the text is about, or None."""
    found = [_about_ledger(lab)]
    if not lab.ranked:
        found.append(("act", "Isolation is `process`: methods and researchers could read the labels. Run again with "
                      "`--isolation bwrap` before you believe a number.", None))  # fmt: skip
    if alarms := counts.get("alarm", 0):
        found.append(("act", f"{sentences.count(alarms, 'alarm')}: read below what was tried.", None))
    if lab.phase == "done" and lab.winner is not None and lab.winner not in lab.judgements:
        found.append(("look", f"The winner #{lab.winner} was not audited: `aarlab audit {lab.winner}`.", None))
    if not attacks["found"]:
        found.append(("look", f"No attacks on {lab.problem.name} are on file. {attacks['sentence']}", None))
    return [{"level": level, "text": text, "time": time} for level, text, time in found]


def _about_ledger(lab: Snapshot) -> tuple[str, str, float | None]:
    known = checked(lab.folder)
    if known is None:
        return "look", "The ledger has not been verified since this dashboard was started.", None
    if not known["ok"]:
        return "act", known["text"], known["time"]
    behind = lab.ledger["lines"] - known["lines"]
    since = f" {sentences.count(behind, 'line')} came since." if behind > 0 else ""
    return "fine", known["text"] + since, known["time"]


# Answers and bits


def _rungs(lab: Snapshot) -> int:
    step = float(lab.ladder["step"])
    start = round(float(lab.ladder["start"]) / step)
    return Ladder(step, start, start).rungs


def answers(lab: Snapshot) -> Json:
    """The Ladder's answers and the most they can have told, here and in earlier runs on the same labels."""
    earlier = earlier_runs(lab)
    return {
        "given": lab.budget["answers"]["used"], "limit": lab.budget["answers"]["limit"],
        "bits": lab.budget["bits"]["used"], "bound": lab.budget["bits"]["limit"], "step": lab.ladder["step"],
        "start": lab.ladder["start"], "best": lab.ladder["best"], "rungs": _rungs(lab),
        "earlier": None if earlier is None else vars(earlier), "top": HARD_TOP,
    }  # fmt: skip


def earlier_runs(lab: Snapshot) -> Earlier | None:
    """What other labs of this machine were told about the same labels; None where the count cannot be read."""
    key = (lab.problem.data_hash, lab.lab_id)
    known = EARLIER.get(key)
    if known is not None and time.monotonic() - known[0] < EARLIER_SECONDS:
        return known[1]
    return EARLIER.put(key, (time.monotonic(), _earlier(*key)))[1]


def _earlier(data_hash: str, lab: str) -> Earlier | None:
    path = state_file()
    if not path.is_file():
        return Earlier(0, 0, 0.0)
    try:
        registry = Registry(path)
    except (Infrastructure, OSError):
        return None
    try:
        return registry.earlier(data_hash, lab)
    finally:
        registry.close()


def practised_so_far(lab: Snapshot, given: int) -> Json | None:
    """Answers to lists of predictions; None where practice is off and none was given."""
    limit = lab.settings.scoring.practice
    if not limit and not given:
        return None
    items = lab.feedback.test_items
    return {
        "given": given, "limit": limit, "bits": round(practice.released_bits(given, items), 1),
        "bound": round(practice.released_bits(max(limit, given), items), 1),
        "warning": practice.warning(lab.feedback, max(limit, given)),
    }  # fmt: skip


def budgets(lab: Snapshot, taken: Mapping[str, int]) -> list[Json]:
    """Answers that each researcher took, reserved ones too, and how many it may still take now."""
    members = tuple(r.name for r in lab.people if r.role == "researcher" and r.status != "stopped")
    budget = Budget(lab.settings.budget.answers, members)
    names = list(dict.fromkeys([*(r.name for r in lab.people if r.role == "researcher"), *taken]))
    return [{"researcher": n, "answers": taken.get(n, 0), "left": budget.left(taken, n)} for n in names]


def told(lab: Snapshot) -> list[bits.Told]:
    """Every answer in the order in which it was given."""
    given = [s for s in lab.submissions.values() if s.answer is not None and s.repeat_of is None]
    given = sorted(given, key=lambda s: (s.finished or s.created, s.id))
    rungs, released, found = _rungs(lab), 0.0, []
    for number, s in enumerate(given, 1):
        released += log2((number + rungs) / number)  # what `released_bits` grows by, without its large numbers
        minutes = max(0.0, ((s.finished or s.created) - lab.started) / 60)
        href = f"/labs/{lab.name}/submissions/{s.id}"
        found.append(bits.Told(number, minutes, released, s.record is not None, s.id, href))
    return found


# Audits


def audit_settings(lab: Snapshot) -> Json:
    a = lab.settings.audit
    levels = Counter(j.level for j in lab.judgements.values() if j.level)
    return {"finalists": a.finalists, "level": a.level, "reader": bool(a.reader), "judged": len(lab.judgements),
            "levels": dict(levels)}  # fmt: skip


def audits(lab: Snapshot) -> list[Json]:
    """Verdicts that hold: the winner's, those of finalists, then the newest others."""
    order = sorted(
        lab.judgements.items(), key=lambda kv: (kv[0] != lab.winner, kv[0] not in lab.finalists, -kv[1].time)
    )
    return [_audit(lab, n, j) for n, j in order[:LISTED] if n in lab.submissions]


def _audit(lab: Snapshot, number: int, j: Judgement) -> Json:
    s = lab.submissions[number]
    return {
        "submission": number, "name": s.name, "researcher": s.researcher, "outcome": j.verdict.outcome,
        "winner": number == lab.winner, "finalist": number in lab.finalists, "level": j.level, "by": j.by,
        "time": j.time, "track": j.verdict.track, "declared": j.verdict.declared, "reason": j.verdict.reason,
        "uses": j.verdict.row,
    }  # fmt: skip


# Attacks


def redteam(lab: Snapshot) -> Json:
    """The matrix of the attacks that were made last, as `aarlab redteam` wrote it: {"about", "rows"}."""
    command = f"aarlab redteam {lab.problem.name} --out {in_shell(lab.folder.parent)}"
    about: Json = {"found": False, "command": command, "sentence": f"`{command}` makes them, in about twenty minutes."}
    for path in _places(lab.folder):
        try:
            found = _on_file(path, lab.problem.name)
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            continue  # not there, or no such matrix
        if found is not None:
            return {"about": {**about, **found["about"]}, "rows": found["rows"]}
    return {"about": about, "rows": []}


def _on_file(path: Path, problem: str) -> Json | None:
    """What a file says of attacks on a problem; None where it says nothing of this one."""
    matrices = _matrices(path)
    mine = next((m for m in matrices if m["problem"] == problem), None)
    if mine is None:
        return None
    return {"about": _about(path, mine, matrices), "rows": [_attack(row) for row in mine["attacks"]]}


def _places(folder: Path) -> list[Path]:
    """In the lab, beside it, beside the folder of labs, and where the documentation is kept."""
    labs = folder.parent
    return [folder / MATRIX, labs / MATRIX, labs.parent / MATRIX, labs.parent / "docs" / MATRIX]


def _matrices(path: Path) -> list[Json]:
    about = path.stat()
    if about.st_size > MOST_BYTES:
        raise ValueError(f"{path} is too large")
    key = (str(path), about.st_mtime_ns, about.st_size)
    found = ATTACKS.get(key)
    if found is None:
        found = ATTACKS.put(key, [dict(m) for m in json.loads(path.read_text("utf-8"))])
    return found


def _about(path: Path, mine: Json, matrices: Sequence[Json]) -> Json:
    made = [row for row in mine["attacks"] if "not_applicable" not in row]
    return {
        "found": True, "path": str(path), "time": path.stat().st_mtime, "summary": str(mine["summary"]),
        "made": len(made), "as_expected": sum(bool(row["as_expected"]) for row in made),
        "residual": sum("residual" in row["endings"] for row in made),
        "others": [str(m["summary"]) for m in matrices if m is not mine],
    }  # fmt: skip


def _attack(row: Json) -> Json:
    if "not_applicable" in row:
        return {"number": row["number"], "attack": row["attack"], "tried": f"not applicable: {row['not_applicable']}",
                "why": "", "ended": [], "fired": [], "ranked": None, "record": None, "as_expected": True}  # fmt: skip
    gained = row["gains"]["record"]
    return {
        "number": row["number"], "attack": row["attack"], "tried": row["tried"], "why": row["why"],
        "ended": row["endings"], "fired": row["fired"], "ranked": row["ranked"],
        "record": None if gained is None else Estimate(**gained).as_dict(), "as_expected": row["as_expected"],
    }  # fmt: skip


# The ledger


def _line(lab: Snapshot, x: LedgerLine, names: Mapping[int, str]) -> Json:
    number = x.body.get("id") if x.kind == "submission" else x.body.get("submission")
    return {
        "number": x.number, "time": x.time, "kind": x.kind, "text": words(x, names), "hash": x.hash,
        "previous": x.previous, "submission": number if number in lab.submissions else None, "body": x.body,
    }  # fmt: skip


def _control(lab: Snapshot, x: LedgerLine) -> Json:
    about = x.body.get("submission")
    return {
        "line": x.number, "time": x.time, "action": x.body.get("action"), "by": x.body.get("by"),
        "text": did(x.body, ""), "submission": about if about in lab.submissions else None,
        "researcher": x.body.get("researcher"),
    }  # fmt: skip


def _pages(lab: Snapshot, lines: Sequence[LedgerLine]) -> Json:
    """Where older and newer lines are: values for `before`, None where there are none."""
    total = lab.ledger["lines"]
    first, last = (lines[-1].number, lines[0].number) if lines else (0, 0)
    newer = last + LINES + 1
    return {
        "first": first, "last": last, "total": max(total, last), "older": first if first > 1 else None,
        "newer": None if last >= total or not lines else newer if newer <= total else 0,
    }  # fmt: skip


# Checking it oneself


def commands(lab: Snapshot) -> list[Json]:
    """What to type, and what it shows."""
    folder = str(lab.folder)
    number = lab.winner if lab.winner is not None else lab.best.submission.id if lab.best else 1
    return [
        {"command": f"aarlab ledger verify {folder}",
         "shows": "chain, signatures, every row, method file and outcome; the Ladder's answers are computed again"},
        {"command": f"aarlab report {folder}", "shows": "every number, measured again from per-item outcomes"},
        {"command": f"aarlab audit {number} --lab {folder} --level full",
         "shows": "what that method depends on, by running it again under changed conditions"},
        {"command": f"aarlab sandbox --lab {folder}", "shows": "a shell as a researcher has it: look around"},
        {"command": f"aarlab redteam {lab.problem.name}", "shows": "what known attacks come to on this machine"},
        {"command": f"aarlab problem check {lab.problem.name}", "shows": "the data against its checksums"},
    ]  # fmt: skip


# The chart


def _bits_chart(lab: Snapshot, width: int, about: str) -> Any:
    limits = lab.budget
    return bits.chart(told(lab), limits["answers"]["limit"], limits["bits"]["limit"], lab.research_seconds / 60, width)


def _bits_rows(lab: Snapshot, about: str) -> list[Json]:
    return [
        {"answer": t.number, "minutes": round(t.minutes, 3), "submission": t.submission, "new_record": t.record,
         "bits_at_most": round(t.bits, 3), "bound": lab.budget["bits"]["limit"]}
        for t in told(lab)
    ]  # fmt: skip


CHARTS = {"bits": Chart("Answers and bits released", _bits_chart, _bits_rows)}
