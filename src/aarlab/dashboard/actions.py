"""What operators do from the browser: addresses that change something. Each passes the guard and asks for the role."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from aarlab.dashboard import controls, trust
from aarlab.dashboard.security import form, require_operator, who
from aarlab.errors import InputError

if TYPE_CHECKING:
    from aarlab.dashboard.app import Site

Fields = dict[str, str]


def add_actions(app: FastAPI, site: Site) -> None:
    """Every address here is POST, takes a form, and answers a sentence as JSON, or by going back to the page."""
    labs = site.labs

    async def act(request: Request, back: str, do: Callable[[Fields], str]) -> Response:
        require_operator(who(request))
        fields = await form(request)
        said = await run_in_threadpool(do, fields)
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"text": said, "go": back})
        return RedirectResponse(back, 303)

    @app.post("/labs", response_model=None)
    async def start(request: Request) -> Response:
        """Start a run; the form's fields are those of `aarlab run`."""
        require_operator(who(request))
        fields = await form(request)
        lab = await run_in_threadpool(controls.start, labs.root, fields)
        go = f"/labs/{quote(lab.name)}"
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"text": f"{lab.name} is starting", "go": go})
        return RedirectResponse(go, 303)

    def lab_action(path: str, do: Callable[..., str], back: str = "") -> None:
        async def route(request: Request, lab: str) -> Response:
            folder = labs.folder(lab)
            return await act(request, f"/labs/{quote(lab)}{back}", lambda fields: do(folder, fields))

        app.post(f"/labs/{{lab}}{path}", response_model=None, name=f"post {path}")(route)

    lab_action("/stop", lambda lab, fields: controls.stop(lab))
    lab_action("/resume", lambda lab, fields: controls.resume(lab))
    lab_action("/end-research", lambda lab, fields: controls.end_research(lab, fields.get("reason", "")))
    lab_action("/message", lambda lab, f: controls.message(lab, f.get("to", "everyone"), f.get("text", "")), "/forum")

    def verify(lab: Path, fields: Fields) -> str:
        said = str(trust.verify(lab)["text"])
        site.changed(lab.name)  # nothing in the lab has: pages show when it was verified last
        return said

    lab_action("/verify", verify, "/trust")

    @app.post("/labs/{lab}/researchers/{name}/{what}", response_model=None)
    async def researcher(request: Request, lab: str, name: str, what: str) -> Response:
        """stop, restart or message one researcher."""
        folder = labs.folder(lab)
        known: dict[str, Callable[[Fields], str]] = {
            "stop": lambda fields: controls.stop_researcher(folder, name),
            "restart": lambda fields: controls.restart_researcher(folder, name),
            "message": lambda fields: controls.message(folder, name, fields.get("text", "")),
        }
        return await act(request, f"/labs/{quote(lab)}/researchers/{quote(name)}", chosen(known, what))

    @app.post("/labs/{lab}/submissions/{number}/{what}", response_model=None)
    async def submission(request: Request, lab: str, number: int, what: str) -> Response:
        """Overrule the verdict on a submission (ranked: yes or no; reason), or audit it."""
        folder = labs.folder(lab)
        known: dict[str, Callable[[Fields], str]] = {
            "overrule": lambda f: controls.overrule(folder, number, ranked(f), f.get("reason", "")),
            "audit": lambda f: controls.audit(folder, number),
        }
        return await act(request, f"/labs/{quote(lab)}/submissions/{number}", chosen(known, what))


def chosen(known: dict[str, Callable[[Fields], str]], what: str) -> Callable[[Fields], str]:
    if what not in known:
        raise InputError(f"there is no action {what[:40]!r}; there are {', '.join(known)}")
    return known[what]


def ranked(fields: Fields) -> bool:
    if fields.get("ranked") not in ("yes", "no"):
        raise InputError("say whether the submission ranks: ranked is `yes` or `no`")
    return fields["ranked"] == "yes"
