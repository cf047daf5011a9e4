"""The dashboard's web application: addresses, errors, and which page answers where.

Every page exists twice at one address: HTML for people, JSON for programs (`Accept: application/json`, or
`?format=json`); `?format=csv&table=NAME` gives one of its tables.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    StreamingResponse,
)
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from aarlab.dashboard import catalogue, compare, controls, home, metrics, render
from aarlab.dashboard.actions import add_actions
from aarlab.dashboard.charts import Chart, Compiled, compiled, png
from aarlab.dashboard.downloads import as_csv
from aarlab.dashboard.lab import PARTS, Json, Snapshot, WatchedLab
from aarlab.dashboard.labs import Labs
from aarlab.dashboard.live import CHART, Pulse, stream
from aarlab.dashboard.security import Doors, Guard, add_login, who
from aarlab.errors import AarlabError, Infrastructure, InputError, LabBusy, UnknownName

log = logging.getLogger("aarlab.dashboard")

MOST_COMPARED = 8


class Site:
    """What all requests share: the labs, who may enter, compiled charts, and one pulse of live updates a lab."""

    def __init__(self, labs: Labs, doors: Doors) -> None:
        self.labs, self.doors, self.compiled = labs, doors, Compiled()
        self._pulses: dict[str, Pulse] = {}
        labs.changed = self.changed

    def changed(self, name: str) -> None:
        if name in self._pulses:
            self._pulses[name].changed()

    def pulse(self, name: str) -> Pulse:
        if name not in self._pulses:
            self._pulses[name] = Pulse(lambda page: self.parts(name, page))
        return self._pulses[name]

    def parts(self, name: str, page: str) -> dict[str, str]:
        """The live parts of a page (`run`, or `researchers/r1`) as they are now."""
        kind, _, about = page.partition("/")
        view = catalogue.VIEWS.get(kind)
        if view is None:
            return {}
        self.labs.keep(name)
        lab = self.labs.get(name)
        found = lab.snapshot()
        charts = {f"{CHART}{chart}": found.drawn_version for chart in view.charts}
        return charts | render.parts(view.template, context(found, view.make(lab, about, {}), kind))


def context(lab: Snapshot, page: Json, here: str) -> dict[str, Any]:
    """What every template of a lab's page knows; the page's twin in JSON has the notices of its frame too."""
    brief = catalogue.brief(lab)
    return {"lab": brief, "page": {**page, "notices": brief["notices"]}, "here": here}


def create_app(labs: Labs, doors: Doors) -> FastAPI:
    """The application behind its guard."""
    app = FastAPI(title="aarlab dashboard", version="1", docs_url=None, redoc_url=None)
    site = Site(labs, doors)
    app.state.site = site
    _add_errors(app)
    add_login(app, doors)
    app.add_api_route("/static/base.css", lambda: FileResponse(render.STYLE), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=render.HERE / "static"), name="static")
    _add_pages(app, site)
    _add_charts(app, site)
    _add_live(app, site)
    _add_others(app, site)
    add_actions(app, site)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=4)
    app.add_middleware(Guard, doors=doors, page=error_page)
    return app


# Answers


def wants_json(request: Request) -> bool:
    asked = request.query_params.get("format", "")
    accepts = request.headers.get("accept", "")
    return asked == "json" or (asked == "" and "application/json" in accepts and "text/html" not in accepts)


def answer(request: Request, template: str, made: dict[str, Any]) -> Response:
    """A page as HTML, JSON or CSV. made: the template's context; its `page` is the twin."""
    page = made["page"]
    if request.query_params.get("format") == "csv":
        return _csv(request, page)
    if wants_json(request):
        return JSONResponse(page)
    person = who(request)
    live = made.get("live", "")
    return HTMLResponse(
        render.page(template, {"live": live, **made, "person": person, "query": dict(request.query_params),
                               "address": request.url.path})
    )  # fmt: skip


def _csv(request: Request, page: Json) -> Response:
    name = request.query_params.get("table", "")
    table = page.get(name)
    tables = [k for k, v in page.items() if isinstance(v, list) and all(isinstance(row, dict) for row in v)]
    if name not in tables or not isinstance(table, list):
        raise UnknownName(f"this page has no table {name!r}; it has {', '.join(tables) or 'none'}")
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return PlainTextResponse(as_csv(table), media_type="text/csv; charset=utf-8", headers=headers)


def error_page(status: int, sentence: str, again: bool = False) -> bytes:
    """again: it tries again by itself."""
    return render.page("error.html.j2", {"status": status, "sentence": sentence, "live": "", "again": again}).encode()


def refusal(request: Request, status: int, sentence: str, kind: str, again: bool = False) -> Response:
    if wants_json(request) or request.headers.get("x-csrf") or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": sentence, "kind": kind}, status)
    return HTMLResponse(error_page(status, sentence, again and request.method == "GET"), status)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(AarlabError)
    async def known(request: Request, error: AarlabError) -> Response:
        passes = isinstance(error, Infrastructure)
        return refusal(request, error.http_status, str(error), type(error).__name__, passes)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"][1:])
        return refusal(request, 400, f"{where or 'the request'}: {first['msg']}", "InputError")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        missing = error.status_code == 404
        sentence = "There is no such page." if missing else str(error.detail)
        return refusal(request, error.status_code, sentence, "UnknownName" if missing else "InputError")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return refusal(request, 503, "This page failed; the terminal of `aarlab serve` says why.", "Infrastructure")


# Pages


def _add_pages(app: FastAPI, site: Site) -> None:
    for name, view in catalogue.VIEWS.items():
        _add_page(app, site, name, view)

    @app.get("/labs")
    def labs() -> Response:
        return RedirectResponse("/", 308)


def _add_page(app: FastAPI, site: Site, name: str, view: catalogue.View) -> None:
    def show(request: Request, lab: str, about: str = "") -> Response:
        query = {k: v[:500] for k, v in request.query_params.items()}
        try:
            found = site.labs.get(lab)
        except (UnknownName, InputError):
            if waiting := _still_made(site.labs, lab):
                return _wait_for(request, lab, waiting)
            raise
        made = context(found.snapshot(), view.make(found, about, query), name)
        where = f"{name}/{about}" if about else name
        made["live"] = f"/labs/{lab}/live?{urlencode({'page': where})}" if not query else ""
        return answer(request, view.template, made)

    if view.about:

        def route(request: Request, lab: str, about: str) -> Response:
            return show(request, lab, about)
    else:

        def route(request: Request, lab: str) -> Response:  # type: ignore[misc]
            return show(request, lab)

    app.get(f"/labs/{{lab}}{view.path}", name=name, response_model=None, summary=view.title)(route)


def _add_others(app: FastAPI, site: Site) -> None:
    """Pages that are not of one lab."""

    @app.get("/", response_model=None)
    def labs(request: Request) -> Response:
        """Every lab of the folder, and the form that starts one."""
        page = home.page(site.labs, being_made(site.labs))
        return answer(request, "home.html.j2", {"page": page})

    @app.get("/compare", response_model=None)
    def compared(request: Request) -> Response:
        """Labs side by side: ?lab=A&lab=B."""
        labs = _several(site, request)
        said = [{"lab": lab.name, **notice} for lab in labs for notice in catalogue.notices(lab)]
        page = {**compare.page(labs, site.labs.names()), "notices": said}
        return answer(request, "compare.html.j2", {"page": page})

    @app.get("/compare/charts/{name}.{kind}", response_model=None)
    def comparison(request: Request, name: str, kind: str, width: int = 760) -> Response:
        """A chart over several labs: ?lab=A&lab=B."""
        if name not in compare.CHARTS:
            raise UnknownName(f"there is no chart {name!r}; there are {', '.join(compare.CHARTS)}")
        return _together(_several(site, request), name, kind, width)

    @app.get("/metrics", response_model=None)
    def prometheus() -> Response:
        """Numbers for Prometheus."""
        return Response(metrics.metrics(site.labs), media_type=metrics.CONTENT_TYPE)


def being_made(labs: Labs) -> list[Json]:
    """Runs that were started here and have no lab folder yet, or never got one."""
    names = sorted(p.stem for p in labs.root.glob("*.log") if not (labs.root / p.stem / "lab.toml").is_file())
    return [{"name": name, **controls.starting(labs.root, name)} for name in names]


def _several(site: Site, request: Request) -> list[Snapshot]:
    names = list(dict.fromkeys(request.query_params.getlist("lab")))
    if len(names) > MOST_COMPARED:
        raise InputError(f"{len(names)} labs are too many to compare; choose up to {MOST_COMPARED}")
    return [_made(site.labs, name).snapshot() for name in names]


def _made(labs: Labs, name: str) -> WatchedLab:
    """A lab to compare. Raises LabBusy where it is still being made."""
    try:
        return labs.get(name)
    except (UnknownName, InputError):
        if waiting := _still_made(labs, name):
            raise LabBusy(f"{waiting['sentence']} It can be compared once it has pages of its own.") from None
        raise


def _together(labs: list[Snapshot], name: str, kind: str, width: int) -> Response:
    chart = compare.CHARTS[name]
    drawn = chart.draw(labs, width if kind == "json" else 1020) if kind != "csv" else None
    if kind == "csv":
        return PlainTextResponse(as_csv(chart.rows(labs)), media_type="text/csv; charset=utf-8",
                                 headers={"Content-Disposition": f'attachment; filename="{name}.csv"'})  # fmt: skip
    if drawn is None:
        return Response(status_code=204)
    if kind == "json":
        return Response(compiled(drawn), media_type="application/json")
    if kind != "png":
        raise InputError(f"a chart has no form {kind!r}; it has json, png and csv")
    return Response(png(drawn), media_type="image/png")


def _still_made(labs: Labs, name: str) -> Json | None:
    """How a start goes, of a lab whose folder is not whole yet, with a `sentence`; None where there is none."""
    if all((labs.root / name / part).is_file() for part in ("lab.toml", *PARTS)):
        return None
    try:
        found = controls.starting(labs.root, name)
    except UnknownName:
        return None
    sentence = f"{name} is being made: data is copied and the baselines run first. Wait; nothing is to be done."
    if found["state"] == "failed":
        sentence = (
            f"{name} did not start: {found['text'] or 'it said nothing'}. Nothing was lost; mend it, start again."
        )
    return {"name": name, **found, "sentence": sentence}


def _wait_for(request: Request, name: str, waiting: Json) -> Response:
    if wants_json(request):
        return JSONResponse(waiting, 202)
    page = {"page": waiting, "live": "", "person": who(request)}
    return HTMLResponse(render.page("starting.html.j2", page), 202)


def _add_charts(app: FastAPI, site: Site) -> None:
    @app.get("/labs/{lab}/charts/{name}.{kind}", response_model=None)
    def chart(request: Request, lab: str, name: str, kind: str, width: int = 760, about: str = "") -> Response:
        """A chart: json for the browser (Vega), png for slides, csv for its numbers."""
        found = catalogue.CHARTS.get(name)
        if found is None:
            raise UnknownName(f"there is no chart {name!r}; there are {', '.join(sorted(catalogue.CHARTS))}")
        return drawn(site, site.labs.get(lab).snapshot(), name, found, kind, width, about[:100])


def drawn(site: Site, lab: Snapshot, name: str, chart: Chart, kind: str, width: int, about: str) -> Response:
    if kind == "json":
        made = site.compiled.vega(lab, name, chart, width, about)
        return Response(status_code=204) if made is None else Response(made, media_type="application/json")
    file = f'attachment; filename="{lab.name}-{name}.{kind}"'
    if kind == "csv":
        return PlainTextResponse(as_csv(chart.rows(lab, about)), media_type="text/csv; charset=utf-8",
                                 headers={"Content-Disposition": file})  # fmt: skip
    if kind != "png":
        raise InputError(f"a chart has no form {kind!r}; it has json, png and csv")
    picture = chart.draw(lab, 1020, about)
    if picture is None:
        raise UnknownName(f"the chart {name!r} has nothing to draw yet")
    return Response(png(picture), media_type="image/png", headers={"Content-Disposition": file})


def _add_live(app: FastAPI, site: Site) -> None:
    @app.get("/labs/{lab}/live", response_model=None)
    async def live(request: Request, lab: str, page: str = "run") -> Response:
        """Server-sent events: parts of a page whenever they have changed."""
        await run_in_threadpool(site.labs.get, lab)  # refuse what is no lab before the stream begins
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        found = stream(site.pulse(lab), page[:200], request.is_disconnected)
        return StreamingResponse(found, media_type="text/event-stream", headers=headers)
