"""What a person does to a run: start, stop, restart, tell, overrule, audit, end.

Each control is a ledger line of kind `control`: {"action", "by", and what it is about}. `by` is the way it came, for
example "dashboard" or "command line", or "supervisor" where a spent budget decides; who sends it has the operator's
token, so it is a note and no proof. What a control changes keeps a line of its own beside it (`stop`, `phase`, `asked`,
`overrule`). Asked for again where nothing is left to change, a control leaves no line.

The functions work inside the caller's transaction, so that the command line can use them on a lab that does not run.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Path

from aarlab.audits.base import Level
from aarlab.errors import InputError, NotAllowed, UnknownName
from aarlab.records import Phase, ResearcherRow
from aarlab.server import audits, forum, phases
from aarlab.server.auth import Identity, Who
from aarlab.server.bodies import MAX_ID, Control, NewAudit, NewMessage, NewPhase, Overrule, RunControl
from aarlab.server.lab import Lab
from aarlab.server.submissions import once
from aarlab.store import Rows

RESTARTS = "restarts asked"
"""The key under which the database counts, for each researcher, how often a restart was asked for."""

Json = dict[str, Any]


def note(lab: Lab, rows: Rows, action: str, by: str, **about: Any) -> None:
    """Append the line of a control."""
    lab.ledger.append(rows, "control", {"action": action, "by": by, **about}, lab.now())


def stop(lab: Lab, rows: Rows, name: str, by: str) -> None:
    """Stop one researcher. Raises UnknownName."""
    if _researcher(rows, name).status != "stopped":
        rows.set_researcher(name, status="stopped")
        lab.ledger.append(rows, "stop", {"researcher": name, "by": by}, lab.now())
        note(lab, rows, "stop researcher", by, researcher=name)


def restart(lab: Lab, rows: Rows, name: str, by: str) -> int:
    """Let the supervisor start a researcher's process anew, running or not; how often that was asked for so far.

    The supervisor compares the count with the one that it has obeyed. Raises UnknownName, InputError for a person
    who has no process, and NotAllowed once research is over.
    """
    person = _researcher(rows, name)
    if lab.target(rows) != "research":
        raise NotAllowed(f"the research phase is over, so {name} cannot be started again")
    if person.kind == "human" and person.status != "stopped":
        raise InputError(f"{name} is a person, and there is no process to start again")
    asked = restarts(rows)
    count = asked.get(name, 0) + 1
    rows.set_meta(RESTARTS, {**asked, name: count})
    rows.set_researcher(name, status="waiting")
    note(lab, rows, "restart researcher", by, researcher=name, count=count)
    return count


def restarts(rows: Rows) -> dict[str, int]:
    """Researcher -> how often a restart was asked for; without those for whom none was."""
    found: dict[str, int] = rows.meta(RESTARTS, {})
    return found


def overrule(lab: Lab, rows: Rows, number: int, ranked: bool, reason: str, by: str) -> None:
    """Rank or unrank a submission; where the record tasks are being measured, one that now ranks is opened too."""
    audits.overrule(lab, rows, number, ranked, reason)
    if ranked:
        phases.reopen(lab, rows, number)
    note(lab, rows, "overrule", by, submission=number, ranked=ranked, reason=reason)


def audit(lab: Lab, rows: Rows, number: int, level: Level | None, by: str) -> int:
    """Queue the audit of a submission; the evaluation's number. See `audits.request`."""
    before = rows.last_line()
    evaluation = audits.request(lab, rows, number, level)
    if rows.last_line() != before:  # else it was made already, and is only looked at
        note(lab, rows, "audit", by, submission=number, level=level)
    return evaluation


def end_research(lab: Lab, rows: Rows, phase: Phase, reason: str, by: str) -> None:
    """No more submissions: the lab goes on to `phase` as its work is done."""
    target = lab.target(rows)
    phases.ask_for(lab, rows, phase, reason)
    if phase != target:
        note(lab, rows, "end research", by, phase=phase, reason=reason)


def message(lab: Lab, rows: Rows, name: str, text: str, by: str) -> int:
    """Tell one researcher something, or `everyone`; the number of the message, which is that of its post.

    Raises UnknownName, and NotAllowed once research is over.
    """
    if name != forum.EVERYONE:
        _researcher(rows, name)
    if lab.target(rows) != "research":
        raise NotAllowed("the research phase is over, so nobody would hear a message")
    post = forum.message(lab, rows, name, text)
    note(lab, rows, "message", by, to=name, post=post.id, sha256=forum.fingerprint(text))
    return post.id


def _researcher(rows: Rows, name: str) -> ResearcherRow:
    found = rows.researcher(name)
    if found is None or found.role != "researcher":
        raise UnknownName(f"there is no researcher {name!r}")
    return found


# Over HTTP


async def operator(who: Who) -> Identity:
    """Checked before the body is, so that nobody learns from a refusal how a body must look."""
    who.require_operator()
    return who


Operator = Annotated[Identity, Depends(operator)]
Number = Annotated[int, Path(ge=1, le=MAX_ID)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
UNSAID = Control()


def add_controls(app: FastAPI) -> None:
    _add_run(app)
    _add_researchers(app)
    _add_submissions(app)


def _add_run(app: FastAPI) -> None:
    lab: Lab = app.state.lab

    @app.post("/v1/controls", status_code=201)
    def run_control(who: Operator, body: RunControl, key: Key = None) -> Json:
        """Keep that the run was started, resumed or stopped; the supervisor says so, this changes nothing."""

        def work(rows: Rows) -> Json:
            reason = {"reason": body.reason} if body.reason else {}
            note(lab, rows, body.action, body.by, **reason)
            return {"action": body.action}

        reply = once(lab, who, key, {"control": "run", **body.model_dump()}, work)
        lab.changed("scores")
        return reply

    @app.post("/v1/phase")
    def phase(who: Operator, body: NewPhase) -> Json:
        with lab.store.write() as rows:
            end_research(lab, rows, body.phase, body.reason, body.by)
        lab.changed("scores")
        with lab.store.read() as rows:
            return {"phase": lab.phase(rows), "target": lab.target(rows)}


def _add_researchers(app: FastAPI) -> None:
    lab: Lab = app.state.lab

    @app.post("/v1/researchers/{name}/stop")
    def stop_one(name: str, who: Operator, body: Control = UNSAID) -> Json:
        with lab.store.write() as rows:
            stop(lab, rows, name, body.by)
        lab.changed("scores")
        return {"name": name, "status": "stopped"}

    @app.post("/v1/researchers/{name}/restart")
    def restart_one(name: str, who: Operator, body: Control = UNSAID, key: Key = None) -> Json:
        """Its process ends and starts anew; one that was stopped, has finished or failed is started again."""

        def work(rows: Rows) -> Json:
            return {"name": name, "status": "waiting", "restarts": restart(lab, rows, name, body.by)}

        reply = once(lab, who, key, {"control": "restart", "name": name, **body.model_dump()}, work)
        lab.changed("scores")
        return reply

    @app.post("/v1/researchers/{name}/message", status_code=201)
    def tell(name: str, who: Operator, body: NewMessage, key: Key = None) -> Json:
        """A post that all can read, which language models are also told of. name: one of them, or `everyone`."""

        def work(rows: Rows) -> Json:
            return {"id": message(lab, rows, name, body.text, body.by), "to": name}

        reply = once(lab, who, key, {"control": "message", "name": name, **body.model_dump()}, work)
        lab.changed("posts")
        lab.changed("scores")
        return reply


def _add_submissions(app: FastAPI) -> None:
    lab: Lab = app.state.lab

    @app.post("/v1/submissions/{number}/rank")
    def rank(number: Number, who: Operator, body: Overrule, key: Key = None) -> Json:
        """The operator ranks or unranks a submission; the ledger keeps who was overruled and why."""

        def work(rows: Rows) -> Json:
            overrule(lab, rows, number, body.ranked, body.reason, body.by)
            return {"id": number, "ranked": body.ranked, "remark": body.reason}

        reply = once(lab, who, key, {"control": "overrule", "number": number, **body.model_dump()}, work)
        lab.changed("scores")
        return reply

    @app.post("/v1/submissions/{number}/audit")
    def new_audit(number: Number, who: Operator, body: NewAudit) -> Json:
        """Queue an audit, in any phase; one that was made as thoroughly already is only shown."""
        with lab.store.write() as rows:
            audit(lab, rows, number, body.level, body.by)
            found = audits.view(lab, rows, number)
        lab.changed("scores")
        return found

    @app.get("/v1/submissions/{number}/audit")
    def audited(number: Number, who: Operator) -> Json:
        with lab.store.read() as rows:
            return audits.view(lab, rows, number)
