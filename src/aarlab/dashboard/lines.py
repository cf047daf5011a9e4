"""The ledger's lines in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aarlab.dashboard.lab import Json
from aarlab.records import LedgerLine
from aarlab.reports import audited
from aarlab.reports.data import LAB

KINDS = {
    "lab": "the lab was made: problem, cards, Ladder, budget",
    "submission": "a method came in",
    "answer": "a method was scored, and the Ladder answered",
    "score": "a run on another task or for another purpose was measured",
    "failed": "a run ended without a score",
    "repeat": "a method that was known already got its answer again",
    "practice": "a list of predictions was answered",
    "asked": "an audit was asked for",
    "audit": "an audit ended in a verdict",
    "settled": "a verdict made during research took effect",
    "overrule": "the operator went against a verdict",
    "alarm": "something was tried that nobody may do",
    "stop": "a researcher was stopped",
    "control": "a person did something to the run",
    "phase": "the lab was asked to go on, or went on",
}
"""Kind of line -> what it means."""


def words(x: LedgerLine, names: Mapping[int, str] | None = None) -> str:
    """One line of the ledger as a sentence. names: baselines by the number of their submission."""
    b = x.body
    about = b.get("submission")
    what = (names or {}).get(about, f"#{about}") if isinstance(about, int) else ""
    if x.kind in SAYINGS:
        return SAYINGS[x.kind](b, what)
    return ", ".join(f"{k} {v}" for k, v in b.items() if isinstance(v, str | int | float))


def _made(b: Json, what: str) -> str:
    return (
        f"for {b.get('problem')}: {b.get('answers')} answers on steps of {b.get('step')}, "
        f"{len(b.get('researchers', ()))} researchers"
    )


def _came(b: Json, what: str) -> str:
    if b.get("researcher") == LAB:
        return f"the lab's own baseline {b.get('name')}"
    parent = f", builds on #{b['parent']}" if b.get("parent") else ""
    return f"{b.get('researcher')} handed in {b.get('name')} as #{b.get('id')}{parent}"


def _answered(b: Json, what: str) -> str:
    told = f", at most {b['bits_at_most']:.1f} bits so far" if isinstance(b.get("bits_at_most"), int | float) else ""
    return f"number {b.get('number')}, to {what}: {b.get('answer')}{told}"


def _measured(b: Json, what: str) -> str:
    return f"{what} was measured on {b.get('task')} of {b.get('problem')} ({b.get('purpose')})"


def _failed(b: Json, what: str) -> str:
    ended = str(b.get("status")).replace("_", " ")
    return f"{what} on {b.get('task')} ({b.get('purpose')}): {ended}, {b.get('reason')}"


def _moved(b: Json, what: str) -> str:
    why = f": {b['reason']}" if b.get("reason") else ""
    more = "".join(
        f"; {key} {', '.join(f'#{n}' for n in b[key]) if isinstance(b[key], list) else f'#{b[key]}'}"
        for key in ("finalists", "winner")
        if b.get(key)
    )
    if "asked" in b:
        return f"asked to go on to {b['asked']}{why}"
    return f"from {b.get('from')} to {b.get('to')}{why}{more}"


def _judged(b: Json, what: str) -> str:
    v = b.get("verdict") or {}
    why = f": {v['reason']}" if v.get("reason") else ""
    return f"{what} is {v.get('outcome')} on track {v.get('track')}{why}"


def _ranks(b: Json, what: str) -> str:
    why = f": {b['remark']}" if b.get("remark") else ""
    return f"{what} {'ranks' if b.get('ranked') else 'does not rank'}{why}"


def did(b: Json, what: str) -> str:
    more = [f"{k} {v}" for k, v in b.items() if k not in ("action", "by", "sha256") and v not in (None, "")]
    return f"{b.get('action')}, by way of the {b.get('by')}" + (f" ({', '.join(more)})" if more else "")


def alarm(b: Json, what: str = "") -> str:
    """What was noticed: a method's denied attempts, a canary, or a researcher at a door that is not its own."""
    if b.get("what") == "denied" and isinstance(b.get("events"), list):
        tried = ", ".join(_attempt(e) for e in b["events"] if isinstance(e, dict))
        return f"{what or 'a method'} tried what no method may: {tried} ({b.get('purpose')} run)"
    if b.get("what") == "canary":
        number = next((f" {k} {b[k]}" for k in ("submission", "post") if b.get(k)), "")
        return f"{b.get('who')} sent the canary of the {b.get('where')} in a {b.get('in')}{number}: it got out"
    return audited.alarm(b)


def _attempt(event: Json) -> str:
    detail = f" {event['detail']}" if event.get("detail") else ""
    return f"{event.get('kind')}{detail}" + (f" ({event['count']} times)" if event.get("count", 1) != 1 else "")


SAYINGS: dict[str, Callable[[Json, str], str]] = {
    "lab": _made,
    "submission": _came,
    "answer": _answered,
    "score": _measured,
    "failed": _failed,
    "repeat": lambda b, what: f"{what} is the method #{b.get('of')} and gets its answer",
    "practice": lambda b, what: f"list {b.get('number')} by {b.get('researcher')}: {b.get('answer')}, at most "
    f"{b.get('bits')} bits so far",
    "asked": lambda b, what: f"audit of {what}, level {b.get('level')}, asked for by the {b.get('by')}",
    "audit": _judged,
    "settled": _ranks,
    "overrule": _ranks,
    "alarm": alarm,
    "stop": lambda b, what: str(b.get("researcher")),
    "control": did,
    "phase": _moved,
}  # fmt: skip
"""How the lines of each kind are said: (body, the submission it is about) -> words."""
