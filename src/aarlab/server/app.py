"""The lab's HTTP interface. JSON in and out; errors are {"error": sentence, "kind": class name}."""

from __future__ import annotations

import functools
import logging
import time
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from aarlab.errors import AarlabError, MethodError, UnknownName
from aarlab.records import PostKind, Submission
from aarlab.server import audits, controls, fleet_api, forum, practice, views
from aarlab.server import heartbeat as heartbeats
from aarlab.server.auth import Door, Identity, Who
from aarlab.server.board import Bell, Board
from aarlab.server.bodies import MAX_ID, Heartbeat, NewPost, NewSubmission
from aarlab.server.lab import LAB, Lab
from aarlab.server.limits import BodyLimit
from aarlab.server.submissions import submit
from aarlab.store import Rows

log = logging.getLogger("aarlab.server")

WAIT_MOST = 60.0
FINAL = ("scored", "failed", "timed_out", "refused")

Number = Annotated[int, Path(ge=1, le=MAX_ID)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


def create_app(lab: Lab) -> FastAPI:
    """The service of one open lab. It starts no threads; the scorer is started beside it."""
    app = FastAPI(title="aarlab", version="1", docs_url=None, redoc_url=None)
    board = Board()
    lab.watchers.append(board.changed)
    app.state.lab, app.state.board, app.state.door = lab, board, Door(lab)
    app.add_middleware(BodyLimit, limit=functools.partial(fleet_api.body_limit, app.state.door))
    _add_errors(app)
    _add_reading(app)
    _add_submissions(app)
    _add_practice(app)
    _add_forum(app)
    _add_operator(app)
    controls.add_controls(app)
    fleet_api.add_accounts(app)
    fleet_api.add_transcripts(app)
    fleet_api.add_turns(app)
    return app


def _ready(data: bytes) -> Response:
    return Response(data, media_type="application/json")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(AarlabError)
    async def known(_: Request, error: AarlabError) -> JSONResponse:
        body = {"error": str(error), "kind": type(error).__name__}
        if isinstance(error, MethodError):
            body["reason"] = error.reason
        return JSONResponse(body, error.http_status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"][1:])  # the first word says only in which part of the request
        sentence = f"{where or 'the request'}: {first['msg']}"
        return JSONResponse({"error": sentence, "kind": "InputError"}, 400)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        kind = "UnknownName" if error.status_code == 404 else "InputError"
        sentence = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse({"error": sentence, "kind": kind}, error.status_code)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse({"error": "the lab failed to answer; its log says why", "kind": "Infrastructure"}, 503)


def _add_reading(app: FastAPI) -> None:
    lab: Lab = app.state.lab
    board: Board = app.state.board

    @app.get("/v1/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "lab": lab.id}

    @app.get("/v1/brief")
    def brief(who: Who) -> dict[str, Any]:
        with lab.store.read() as rows:
            return {**views.brief(lab, rows.researcher(who.name)), "ladder": views.ladder_view(lab, rows)}

    @app.get("/v1/budget")
    def budget(who: Who) -> dict[str, Any]:
        with lab.store.read() as rows:
            return views.budget(lab, rows, who.name)

    def make_leaderboard() -> tuple[str, Any]:
        with lab.store.read() as rows:
            return "", views.leaderboard(lab, rows)

    @app.get("/v1/leaderboard")
    async def leaderboard(who: Who) -> Response:
        return _ready(board.get("leaderboard", "", make_leaderboard)[1])

    def make_methods() -> tuple[str, Any]:
        with lab.store.read() as rows:
            found = [s for s in rows.submissions() if s.status == "scored" and s.researcher != LAB]
        return "", {"methods": [views.method_view(s, lab.feedback) for s in found]}

    @app.get("/v1/methods")
    async def methods(who: Who) -> Response:
        return _ready(board.get("methods", "", make_methods)[1])

    @app.get("/v1/methods/{number}")
    def method(number: Number, who: Who) -> dict[str, Any]:
        with lab.store.read() as rows:
            found = _visible(rows, number, who, scored_for_all=True)
        return {**views.method_view(found, lab.feedback), "source": lab.source(found.bundle_hash)}

    @app.post("/v1/heartbeat")
    def heartbeat(body: Heartbeat, who: Who) -> dict[str, Any]:
        who.require_writer()
        with lab.store.write() as rows:
            answer = heartbeats.hear(lab, rows, who.name, body)
        heartbeats.heard(lab, who.name, body)
        return answer


def _visible(rows: Rows, number: int, who: Identity, scored_for_all: bool) -> Submission:
    """A submission that `who` may see: their own, or once scored anybody's; the operator sees all."""
    found = rows.submission(number)
    mine = found is not None and (found.researcher == who.name or who.role == "operator")
    if found is None or not (mine or (scored_for_all and found.status == "scored" and found.researcher != LAB)):
        raise UnknownName(f"there is no submission {number} that you may see")
    return found


def _add_submissions(app: FastAPI) -> None:
    lab: Lab = app.state.lab
    board: Board = app.state.board

    @app.post("/v1/submissions", status_code=201)
    def new_submission(body: NewSubmission, who: Who, key: Key = None) -> dict[str, Any]:
        who.require_writer()
        return submit(lab, who, body, key)

    @app.get("/v1/submissions")
    def own_submissions(who: Who) -> dict[str, Any]:
        with lab.store.read() as rows:
            found = rows.submissions(None if who.role == "operator" else who.name)
            return {"submissions": views.submission_views(lab, rows, found, who.role == "operator")}

    def make_status(number: int, operator: bool) -> tuple[str, Any]:
        with lab.store.read() as rows:
            found = rows.submission(number)
            if found is None:
                raise UnknownName(f"there is no submission {number} that you may see")
            [view] = views.submission_views(lab, rows, [found], operator)
            if operator:
                view |= {"audit": audits.view(lab, rows, number)}
        return f"{found.researcher}:{found.status}", view

    @app.get("/v1/submissions/{number}")
    async def status(
        number: Number, who: Who, wait: Annotated[float, Query(ge=0, le=3600, allow_inf_nan=False)] = 0.0
    ) -> Response:
        end, operator = time.monotonic() + min(wait, WAIT_MOST), who.role == "operator"
        while True:
            with Bell(board) as bell:  # taken before looking, so that no change slips between
                about, data = board.get("status", f"{number}:{operator}", lambda: make_status(number, operator))
                owner, _, state = about.rpartition(":")
                if owner != who.name and not operator:
                    raise UnknownName(f"there is no submission {number} that you may see")
                left = end - time.monotonic()
                if state in FINAL or left <= 0:
                    return _ready(data)
                await bell.wait(left)


def _add_practice(app: FastAPI) -> None:
    lab: Lab = app.state.lab

    @app.get("/v1/practice")
    def practice_rules(who: Who) -> dict[str, Any]:
        with lab.store.read() as rows:
            return practice.rules(lab, rows)

    @app.post("/v1/practice")
    async def practice_answer(request: Request, who: Who) -> dict[str, Any]:
        who.require_writer()
        body = await request.body()
        return await run_in_threadpool(practice.answer, lab, who, body)


def _add_forum(app: FastAPI) -> None:
    lab: Lab = app.state.lab
    pace = forum.Pace()

    @app.get("/v1/posts")
    def posts(
        who: Who,
        search: Annotated[str, Query(max_length=200)] = "",
        kind: PostKind | None = None,
        since: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        """The newest `limit` posts that match, oldest first. `since`: the number of the last post you know."""
        with lab.store.read() as rows:
            found = rows.posts(search, kind, since, limit)
            return {"posts": [views.post_view(lab, rows, p) for p in found]}

    @app.get("/v1/posts/{number}")
    def post(number: Number, who: Who) -> dict[str, Any]:
        with lab.store.read() as rows:
            found = rows.post(number)
            if found is None:
                raise UnknownName(f"there is no post {number}")
            replies = rows.posts(parent=number)
            return {
                **views.post_view(lab, rows, found),
                "replies": [views.post_view(lab, rows, p) for p in replies],
            }

    @app.post("/v1/posts", status_code=201)
    def new_post(body: NewPost, who: Who, key: Key = None) -> dict[str, Any]:
        who.require_writer()
        return forum.post(lab, pace, who, body, key)


def _add_operator(app: FastAPI) -> None:
    lab: Lab = app.state.lab

    @app.get("/v1/run")
    def run(who: Who) -> dict[str, Any]:
        who.require_operator()
        with lab.store.read() as rows:
            return {**views.run_view(lab, rows), "restarts_asked": controls.restarts(rows)}

    @app.get("/v1/ledger")
    def ledger(who: Who, since: Annotated[int, Query(ge=0, le=MAX_ID)] = 0) -> dict[str, Any]:
        who.require_operator()
        with lab.store.read() as rows:
            return {"lines": [vars(line) for line in rows.lines() if line.number > since]}
