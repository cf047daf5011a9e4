"""The dashboard's doors and guard: a small application behind them, served by uvicorn on loopback."""

from __future__ import annotations

import asyncio
import html
import http.client
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aarlab.dashboard import render, security
from aarlab.dashboard.security import Doors, Guard, Person, add_login, form, require_operator, who
from aarlab.errors import AarlabError, InputError, NotAllowed, RateLimited, Unauthorised

TOKENS = [("op-token", "operator"), ("look-token", "viewer"), ("r1-token", "researcher"), ("f-token", "fleet")]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HTML = {"Accept": "text/html"}
BY_HAND = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def error_page(status: int, sentence: str) -> bytes:
    return f"<!doctype html><html lang=en><title>{status}</title><h1>{sentence}</h1></html>".encode()


def small_app(doors: Doors) -> FastAPI:
    app = FastAPI()
    add_login(app, doors)
    app.mount("/static", StaticFiles(directory=render.HERE / "static"))

    @app.exception_handler(AarlabError)
    async def known(_: Request, error: AarlabError) -> JSONResponse:
        return JSONResponse({"error": str(error), "kind": type(error).__name__}, error.http_status)

    @app.get("/")
    async def home(request: Request) -> Response:
        person = who(request)
        return HTMLResponse(
            f"<!doctype html><html lang=en><title>Labs</title><h1>Labs for a {person.role}</h1>"
            f"<form method=post action=/stop><input type=hidden name=csrf value='{person.csrf}'>"
            "<button>Stop</button></form>"
            f"<form method=post action=/logout><input type=hidden name=csrf value='{person.csrf}'>"
            "<button>Log out</button></form></html>"
        )

    @app.get("/me")
    async def me(request: Request) -> dict[str, str]:
        person = who(request)
        return {"role": person.role, "by": person.by, "csrf": person.csrf}

    @app.api_route("/stop", methods=["POST", "PUT", "DELETE"])
    async def stop(request: Request) -> dict[str, Any]:
        require_operator(who(request))
        return {"stopped": True, "fields": await form(request)}

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("broken on purpose")

    @app.get("/favicon.ico")
    async def icon() -> Response:
        return Response(status_code=204)

    return app


def listening() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited; else each answer waits 40 ms for an ACK
    return sock


class Site:
    """The small application behind a guard, on a free port, with doors whose clock can be put forward."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        self.clock = Clock()
        self.doors = Doors(lambda: TOKENS, self.clock)
        self.app = Guard(small_app(self.doors), self.doors, error_page)
        self.answers: list[tuple[str, str, int]] = []  # what came, with the cookie or not, and how it was answered
        self.sock = sock or listening()
        config = uvicorn.Config(
            self.noted, interface="asgi3", log_level="critical", access_log=False, lifespan="off", loop="asyncio"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.sock],), daemon=True)

    async def noted(self, scope: Any, receive: Any, send: Any) -> None:
        cookie = "cookie" if any(name == b"cookie" for name, _ in scope["headers"]) else "no cookie"

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.answers.append((f"{scope['method']} {scope['path']}", cookie, message["status"]))
            await send(message)

        await self.app(scope, receive, sending)

    def __enter__(self) -> Site:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def own(self) -> dict[str, str]:
        return {"Origin": self.url}

    def visitor(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, verify=False, headers=headers)

    def inside(self, role: str) -> httpx.Client:
        """A browser that is logged in; its default headers are those of a form on our own pages."""
        with self.visitor(**self.own) as first:
            assert first.post("/login", data={"key": self.doors.login_link(role)}).status_code == 303
            client = self.visitor(**self.own, **{"X-CSRF": first.get("/me").json()["csrf"]})
            client.cookies = first.cookies
        return client

    def bearer(self, token: str) -> httpx.Client:
        return self.visitor(Authorization=f"Bearer {token}")

    def raw(self, request: bytes) -> tuple[int, bytes]:
        """Status (0: none came) and answer to exactly these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as line:
            line.sendall(request)
            answer = http.client.HTTPResponse(line, method=request.partition(b" ")[0].decode())
            try:
                answer.begin()
            except (http.client.HTTPException, ConnectionError):
                return 0, b""
            return answer.status, answer.read()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One server for tests that leave no trace in it; each logs in for itself."""
    with Site() as site:
        yield site


@pytest.fixture(scope="module")
def operator(site: Site) -> Iterator[httpx.Client]:
    """An operator's browser that sends no csrf of itself."""
    with site.inside("operator") as client:
        del client.headers["X-CSRF"]
        yield client


@pytest.fixture
def own_site() -> Iterator[Site]:
    """A server for one test that counts wrong keys or moves the clock."""
    with Site() as site:
        yield site


# Doors


def test_a_key_opens_once() -> None:
    """The first who uses a key is in, with the key's role; the key is worth nothing afterwards."""
    doors = Doors(lambda: ())
    key = doors.login_link("viewer")
    assert len(key) >= 43  # 256 bits in base64
    assert doors.invites(key) == "viewer" == doors.invites(key)
    session = doors.enter(key)
    assert session is not None
    assert session.role == "viewer"
    assert doors.enter(key) is None
    assert doors.invites(key) is None


def test_many_threads_one_entrance() -> None:
    """Of 16 threads that use one key at the same moment, one is let in."""
    doors, start, entered = Doors(lambda: ()), threading.Barrier(16), []
    key = doors.login_link("operator")

    def enter() -> None:
        start.wait()
        entered.append(doors.enter(key))

    threads = [threading.Thread(target=enter) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(session is not None for session in entered) == 1


def test_nothing_secret_is_kept() -> None:
    """Neither a key nor a cookie can be read from the memory of the doors, and no repr shows one."""
    doors = Doors(lambda: ())
    key, other = doors.login_link("operator"), doors.login_link("viewer")
    session = doors.enter(key)
    assert session is not None
    kept = repr(vars(doors))
    assert not any(secret in kept for secret in (key, other, session.cookie, session.csrf))
    assert session.cookie not in repr(session)
    found = doors.session(session.cookie)
    assert found is not None
    assert found.cookie == ""


@pytest.mark.parametrize(("seconds", "works"), [(599, True), (601, False)])
def test_a_link_lasts_ten_minutes(seconds: float, works: bool) -> None:
    """A key that nobody used is worthless after ten minutes."""
    clock = Clock()
    doors = Doors(lambda: (), clock)
    key = doors.login_link("viewer")
    clock.ahead += seconds
    assert (doors.enter(key) is not None) == works


def test_a_session_ends_unused_or_old() -> None:
    """Seven days unused end a session, thirty days end every one; looking keeps it alive until then."""
    clock = Clock()
    doors = Doors(lambda: (), clock)
    idle, busy = doors.enter(doors.login_link("viewer")), doors.enter(doors.login_link("viewer"))
    assert idle and busy  # noqa: PT018
    for _ in range(4):
        clock.ahead += 6.9 * 86_400
        assert doors.session(busy.cookie)
    assert doors.session(idle.cookie) is None
    clock.ahead += 3 * 86_400
    assert doors.session(busy.cookie) is None


def test_leaving_ends_a_session() -> None:
    """A cookie that was copied is worthless after a logout; leaving twice is harmless."""
    doors = Doors(lambda: ())
    session = doors.enter(doors.login_link("viewer"))
    assert session is not None
    doors.leave(session)
    doors.leave(session)
    assert doors.session(session.cookie) is None


def test_tokens_are_asked_for_each_time() -> None:
    """A lab that was made after the dashboard started opens with its token, and an empty token opens nothing."""
    tokens = [("", "operator")]
    doors = Doors(lambda: tokens)
    assert doors.token_role("late") is None
    assert doors.token_role("") is None
    tokens.append(("late", "viewer"))
    assert doors.token_role("late") == "viewer"


def test_more_than_twenty_wrong_keys_close_the_doors() -> None:
    """The 21st wrong key or token of a minute closes keys and tokens for a minute, but no session."""
    clock = Clock()
    doors = Doors(lambda: TOKENS, clock)
    key, session = doors.login_link("viewer"), doors.enter(doors.login_link("operator"))
    assert session is not None
    for _ in range(10):
        assert doors.enter("wrong") is None
        assert doors.token_role("wrong") is None
    with pytest.raises(RateLimited, match=r"more than 20 wrong keys or tokens.*try again in 60 s"):
        doors.enter("wrong")
    for attempt in (lambda: doors.enter(key), lambda: doors.token_role("op-token"), lambda: doors.invites(key)):
        with pytest.raises(RateLimited):
            attempt()
    assert doors.session(session.cookie)
    assert doors.session("wrong") is None
    clock.ahead += 61
    assert doors.enter(key)


def test_slow_mistakes_are_no_attack() -> None:
    """Twenty wrong keys in each minute are let pass for ever."""
    clock = Clock()
    doors = Doors(lambda: (), clock)
    for _ in range(60):
        clock.ahead += 3.1
        assert doors.enter("wrong") is None


def test_only_two_roles_have_links() -> None:
    """A researcher is never let in by a link."""
    with pytest.raises(InputError, match="no role 'researcher' for a login link; choose operator or viewer"):
        Doors(lambda: ()).login_link("researcher")


# Login


def test_a_link_opened_by_hand_logs_in_at_once(site: Site) -> None:
    """What a terminal or `--open` opens is answered with the cookie and the first page."""
    with site.visitor(**BY_HAND) as client:
        reply = client.get("/login", params={"key": site.doors.login_link("operator")})
        assert (reply.status_code, reply.headers["location"]) == (303, "/")
        assert client.get("/me").json()["role"] == "operator"


@pytest.mark.parametrize(
    "headers",
    [
        {}, {**BY_HAND, "Sec-Fetch-Site": "cross-site"}, {**BY_HAND, "Sec-Purpose": "prefetch;prerender"},
        {**BY_HAND, "Purpose": "prefetch"},
    ],
)  # fmt: skip
def test_a_preview_does_not_use_a_link_up(site: Site, headers: dict[str, str]) -> None:
    """Whatever else fetches a link, sees a button, as often as it likes; pressing it logs in."""
    key = site.doors.login_link("viewer")
    with site.visitor(**site.own) as client:
        for _ in range(3):
            reply = client.get("/login", params={"key": key}, headers=headers)
            assert reply.status_code == 200
            assert "set-cookie" not in reply.headers
            assert "Open the dashboard" in reply.text
            assert client.head("/login", params={"key": key}, headers=BY_HAND).status_code == 200
        [shown] = re.findall(r'name="key" value="([^"]+)"', reply.text)
        assert client.post("/login", data={"key": shown}).headers["location"] == "/"
        assert client.get("/me").json()["role"] == "viewer"


def test_the_cookie_is_closed_on_all_sides(site: Site) -> None:
    """The cookie carries the port in its name and is not for scripts, other sites or other hosts."""
    with site.visitor(**site.own) as client:
        reply = client.post("/login", data={"key": site.doors.login_link("viewer")})
    name, _, rest = reply.headers["set-cookie"].partition("=")
    assert name == f"aarlab_session_{site.port}"
    flags = {flag.strip().lower() for flag in rest.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= flags
    assert not any(flag.startswith("domain") for flag in flags)


@pytest.mark.parametrize(
    ("lab", "address"),
    [("", "/"), ("my lab", "/labs/my%20lab"), ("//evil.example", "/labs/%2F%2Fevil.example"),
     ("a\r\nSet-Cookie: x=y", "/labs/a%0D%0ASet-Cookie%3A%20x%3Dy"), ("\\evil.example", "/labs/%5Cevil.example")],
)  # fmt: skip
def test_a_link_leads_to_its_lab(site: Site, lab: str, address: str) -> None:
    """Opened by hand, by the button, and again later: a link leads to the lab it names, and never out of here."""
    with site.visitor(**site.own) as client:
        named = {"key": site.doors.login_link("viewer"), "lab": lab}
        shown = client.get("/login", params=named).text
        assert f'name="lab" value="{html.escape(lab)}"' in shown
        assert client.post("/login", data=named).headers["location"] == address
        assert client.get("/login", params=named).headers["location"] == address
        named["key"] = site.doors.login_link("viewer")
        assert client.get("/login", params=named, headers=BY_HAND).headers["location"] == address


@pytest.mark.parametrize("way", ["get", "post"])
def test_a_used_or_old_link_is_explained(own_site: Site, way: str) -> None:
    """A link used twice, or after ten minutes, lets nobody in, and the page says how to get another."""
    used, old = own_site.doors.login_link("viewer"), own_site.doors.login_link("viewer")
    assert own_site.doors.enter(used)
    own_site.clock.ahead += 601
    for key in (used, old, "made up", "ü\0%ff", "x" * 5000):
        with own_site.visitor(**own_site.own) as client:
            send = {"params": {"key": key}} if way == "get" else {"data": {"key": key}}
            reply = client.request(way.upper(), "/login", headers=BY_HAND if way == "get" else {}, **send)
        assert reply.status_code == 401
        assert "aarlab serve --link" in reply.text
        assert "set-cookie" not in reply.headers


def test_an_old_link_in_the_history_leads_in(site: Site) -> None:
    """Who is logged in and opens a used link, or /login alone, goes on to the first page."""
    with site.inside("viewer") as client:
        for address in ("/login?key=used", "/login"):
            reply = client.get(address)
            assert (reply.status_code, reply.headers["location"]) == (303, "/")
    with site.visitor() as client:
        assert "aarlab serve --link" in client.get("/login").text


def test_a_second_login_ends_the_first(site: Site) -> None:
    """The session that a browser had is over when it comes in by another link."""
    with site.inside("operator") as client:
        [before] = client.cookies.jar
        client.post("/login", data={"key": site.doors.login_link("viewer")})
        assert client.get("/me").json()["role"] == "viewer"
    assert site.doors.session(str(before.value)) is None


def test_logging_out(site: Site) -> None:
    """A logout needs the session's csrf, ends the session, removes the cookie, and leads to the login."""
    with site.inside("viewer") as client:
        [cookie] = client.cookies.jar
        assert client.post("/logout", headers={"X-CSRF": "wrong", **FORM}).status_code == 403
        reply = client.post("/logout", headers=FORM)
        assert (reply.status_code, reply.headers["location"]) == (303, "/login")
        assert not list(client.cookies.jar)
    assert site.doors.session(str(cookie.value)) is None


def test_too_many_wrong_keys_wait_a_minute(own_site: Site) -> None:
    """Keys and tokens are refused for a minute, with the time to wait; whoever is logged in notices nothing."""
    good = own_site.doors.login_link("viewer")
    with own_site.inside("operator") as inside, own_site.visitor(**own_site.own) as client:
        for _ in range(20):
            assert client.get("/login?key=wrong").status_code == 401
        for reply in (
            client.get("/login?key=wrong"), client.get("/login", params={"key": good}),
            client.post("/login", data={"key": good}), own_site.bearer("op-token").get("/me"),
        ):  # fmt: skip
            assert reply.status_code == 429
            assert reply.headers["retry-after"] == "60"
        assert reply.json()["kind"] == "RateLimited"
        assert inside.get("/me").status_code == 200
        own_site.clock.ahead += 61
        assert client.post("/login", data={"key": good}).status_code == 303


def test_an_operator_makes_links(site: Site) -> None:
    """`/login/links` gives operators, by token or browser, a link for either role; nobody else."""
    with site.bearer("op-token") as client:
        made = client.post("/login/links", data={"role": "viewer"}).json()
        assert made["url"].startswith(f"{site.url}/login?key=")
        assert (made["role"], made["seconds"]) == ("viewer", 600)
        assert client.post("/login/links", data={"role": "researcher"}).status_code == 400
        assert client.post("/login/links").status_code == 400
    with site.visitor(**BY_HAND) as client:
        client.get(made["url"])
        assert client.get("/me").json()["role"] == "viewer"
    with site.inside("operator") as client:
        assert client.post("/login/links", data={"role": "operator"}).json()["role"] == "operator"
    with site.inside("viewer") as client:
        assert client.post("/login/links", data={"role": "viewer"}).status_code == 403
    assert site.visitor(**site.own).post("/login/links", data={"role": "viewer"}).status_code == 401


# Who is let in


def test_without_session_or_token_nothing_is_shown(site: Site) -> None:
    """All but the login, the icon and static files is closed, also what does not exist."""
    with site.visitor() as client:
        for address in ("/", "/me", "/openapi.json", "/nothing", "/login/", "/static", "/staticx", "//login"):
            reply = client.get(f"{site.url}{address}")
            assert reply.status_code == 401, address
            assert reply.json()["kind"] == "Unauthorised"
            assert reply.headers["www-authenticate"] == "Bearer"
        assert client.get("/static/app.js").status_code == 200
        assert client.get("/favicon.ico").status_code == 204
        for address in ("/static/../me", "/static/..%2fme", "/static/%2e%2e/me", "/login/../me", "/login;/me"):
            assert site.raw(f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())[0] in (401, 404)


def test_a_browser_gets_a_page_that_says_how_to_get_in(site: Site) -> None:
    """Errors are pages for who reads pages, and JSON for programs."""
    page = site.visitor(**HTML).get("/")
    assert page.status_code == 401
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "aarlab serve --link" in page.text
    assert set(site.visitor(**HTML).get("/?format=json").json()) == {"error", "kind"}
    stale = site.visitor(**HTML, Cookie=f"aarlab_session_{site.port}=gone").get("/")
    assert "your session has ended" in stale.text


def test_who_it_is(site: Site) -> None:
    """Sessions and tokens carry their role and a name for the ledger that gives no secret away."""
    with site.inside("operator") as client:
        me = client.get("/me").json()
        assert me["role"] == "operator"
        assert re.fullmatch(r"browser [0-9a-f]{8}", me["by"])
        assert len(me["csrf"]) >= 43
    me = site.bearer("look-token").get("/me").json()
    assert (me["role"], me["csrf"]) == ("viewer", "")
    assert re.fullmatch(r"token [0-9a-f]{8}", me["by"])


@pytest.mark.parametrize("token", ["r1-token", "f-token"])
def test_a_researchers_token_opens_nothing(site: Site, token: str) -> None:
    """A researcher's and the fleet's token are refused everywhere, even where nobody needs a token."""
    with site.bearer(token) as client:
        for address in ("/", "/me", "/nothing", "/login", "/static/app.js", "/openapi.json"):
            reply = client.get(address)
            assert (reply.status_code, reply.json()["kind"]) == (403, "NotAllowed")
        assert client.post("/stop", headers=FORM).status_code == 403
        assert client.post("/login", data={"key": site.doors.login_link("viewer")}).status_code == 403


def test_a_wrong_token_is_not_saved_by_a_session(own_site: Site) -> None:
    """Who shows a token is judged by it; a Basic header is no token and frees nobody from csrf."""
    with own_site.inside("operator") as client:
        assert client.get("/me", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.get("/me", headers={"Authorization": "Bearer"}).status_code == 401
        del client.headers["X-CSRF"]
        assert client.post("/stop", headers={"Authorization": "Basic b3A6b3A=", **FORM}).status_code == 403


def test_a_viewer_only_looks(site: Site) -> None:
    """Neither a viewer's browser nor a viewer's token can use a control; an operator's can, by form, JSON or token."""
    with site.inside("viewer") as client:
        reply = client.post("/stop", headers=FORM)
        assert (reply.status_code, reply.json()["kind"]) == (403, "NotAllowed")
        assert "a viewer only looks" in reply.json()["error"]
    assert site.bearer("look-token").post("/stop", headers=FORM).status_code == 403
    with site.inside("operator") as client:
        csrf = client.headers.pop("X-CSRF")
        reply = client.post("/stop", data={"csrf": csrf, "why": "söme 100% & more"})
        assert reply.json() == {"stopped": True, "fields": {"csrf": csrf, "why": "söme 100% & more"}}
        for method in ("POST", "PUT", "DELETE"):
            assert client.request(method, "/stop", headers={"X-CSRF": csrf}).status_code == 200
        assert client.post("/stop", json={}, headers={"X-CSRF": csrf}).status_code == 200
    assert site.bearer("op-token").post("/stop", json={}).status_code == 200


def test_a_session_of_another_port_is_none_here(site: Site) -> None:
    """Two dashboards on one host keep their cookies apart, and a cookie set beside ours does not lock us out."""
    with site.inside("viewer") as client:
        [cookie] = client.cookies.jar
    with site.visitor(Cookie=f"aarlab_session_1={cookie.value}") as client:
        assert client.get("/me").status_code == 401
    with site.visitor(Cookie=f"aarlab_session_{site.port}=planted; {cookie.name}={cookie.value}; other") as client:
        assert client.get("/me").status_code == 200


# What other sites try


def test_rebound_names_are_refused(site: Site) -> None:
    """Only our own names with our own port are answered, even with a session or token, even for open addresses."""
    with site.bearer("op-token") as client:
        for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
            assert client.get("/me", headers={"Host": f"{name}:{site.port}"}).status_code == 200, name
        for host in (
            "evil.example", f"evil.example:{site.port}", f"127.0.0.1.evil.example:{site.port}", "127.0.0.1",
            "localhost", f"127.0.0.1:{site.port + 1}", f"127.0.0.1:0{site.port}", f"127.0.0.2:{site.port}",
            f"localhost.:{site.port}", f"user@127.0.0.1:{site.port}", f"127.0.0.1:{site.port}@evil.example",
            f"0.0.0.0:{site.port}", "", f"[::1]:{site.port}.evil.example",
        ):  # fmt: skip
            for address in ("/me", "/login", "/static/app.js"):
                reply = client.get(address, headers={"Host": host})
                assert reply.status_code == 421, host
                assert f"http://127.0.0.1:{site.port}" in reply.json()["error"]


def test_one_host_header_and_no_less(site: Site) -> None:
    """A request with two Host headers, or none, is refused."""
    host = f"Host: 127.0.0.1:{site.port}\r\n"
    token = "Authorization: Bearer op-token\r\n"
    assert site.raw(f"GET /me HTTP/1.1\r\n{host}{token}\r\n".encode())[0] == 200
    assert site.raw(f"GET /me HTTP/1.1\r\n{host}Host: evil.example\r\n{token}\r\n".encode())[0] in (400, 421)
    assert site.raw(f"GET /me HTTP/1.0\r\n{token}\r\n".encode())[0] in (400, 421)


def test_other_origins_cannot_post(site: Site) -> None:
    """Forms and scripts of another site, port, scheme or hidden origin change nothing, even with cookie and csrf."""
    with site.inside("operator") as client:
        del client.headers["Origin"]
        good: list[dict[str, str]] = [
            site.own, {**site.own, "Sec-Fetch-Site": "same-origin"}, {"Referer": f"{site.url}/labs/a?b=c"},
            {**site.own, "Sec-Fetch-Site": "none"}, {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        ]  # fmt: skip
        bad: list[dict[str, str]] = [
            {}, {"Origin": "null"}, {"Origin": "null", "Sec-Fetch-Site": "none"},
            {"Origin": "null", "Sec-Fetch-Site": "cross-site"}, {"Origin": "null", "Referer": f"{site.url}/"},
            {"Origin": ""}, {"Origin": "http://evil.example"},
            {"Origin": f"https://127.0.0.1:{site.port}"}, {"Origin": f"http://localhost:{site.port}"},
            {"Origin": f"http://127.0.0.1:{site.port}.evil.example"}, {"Origin": "http://127.0.0.1:1"},
            {"Origin": "http://evil.example", "Referer": f"{site.url}/"}, {"Referer": "http://evil.example/"},
            {"Referer": f"{site.url}.evil.example/"}, {"Referer": f"http://evil.example/?{site.url}/"},
            {"Referer": site.url}, {**site.own, "Sec-Fetch-Site": "cross-site"},
            {**site.own, "Sec-Fetch-Site": "same-site"}, {**site.own, "Sec-Fetch-Site": "nonsense"},
        ]  # fmt: skip
        for headers in good:
            assert client.post("/stop", headers={**FORM, **headers}).status_code == 200, headers
        for headers in bad:
            reply = client.post("/stop", headers={**FORM, **headers})
            assert (reply.status_code, reply.json()["kind"]) == (403, "NotAllowed"), headers
        two = [("Origin", site.url), ("Origin", "http://evil.example"), *FORM.items()]
        assert client.post("/stop", headers=two).status_code == 403


def test_nobody_is_logged_in_from_another_site(site: Site) -> None:
    """Another site cannot post a key of its own to put a browser into its session, and curl cannot either."""
    for headers in ({"Origin": "http://evil.example"}, {}):
        with site.visitor(**headers) as client:
            reply = client.post("/login", data={"key": site.doors.login_link("viewer")})
            assert reply.status_code == 403
            assert "set-cookie" not in reply.headers


def test_a_token_needs_no_origin_but_may_not_have_a_foreign_one(site: Site) -> None:
    """Programs send neither origin nor csrf; a page of another site that has learnt a token is still refused."""
    with site.bearer("op-token") as client:
        assert client.post("/stop", headers=FORM).status_code == 200
        assert client.post("/stop", headers={**FORM, "Origin": "http://evil.example"}).status_code == 403


def test_other_sites_pages_load_nothing(site: Site) -> None:
    """Scripts, images, frames and fetches of other sites and ports get nothing; a link to us is followed."""
    with site.inside("viewer") as client:
        for where in ("cross-site", "same-site"):
            loads = [("no-cors", "script"), ("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe")]
            for mode, dest in loads:
                said = {"Sec-Fetch-Site": where, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
                assert client.get("/me", headers=said).status_code == 403
                assert client.get("/static/app.js", headers=said).status_code == 403
            link = {"Sec-Fetch-Site": where, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
            assert client.get("/me", headers=link).status_code == 200


@pytest.mark.parametrize("csrf", ["", "wrong", "ümlaut", "\udcff"])
def test_a_form_without_the_sessions_csrf_is_refused(site: Site, csrf: str) -> None:
    """Missing, wrong and undecodable tokens are refused, as is another session's, in every place it may stand."""
    with site.inside("operator") as client:
        own, other = client.headers.pop("X-CSRF"), site.inside("operator").headers["X-CSRF"]
        field = {"csrf": csrf.encode(errors="surrogateescape")}
        replies = [
            client.post("/stop", headers=FORM), client.post("/stop", data=field),
            client.post("/stop", data={"csrf": other}), client.post("/stop", headers={"X-CSRF": other, **FORM}),
            client.post("/stop", params={"csrf": own}, headers=FORM), client.post("/stop", json={"csrf": own}),
            client.post("/stop", headers={"X-CSRF": "wrong"}, data={"csrf": own}),
            client.post("/stop", content=b"\xff&csrf=%ff%00", headers=FORM),
            client.post("/stop"), client.delete("/stop"),
        ]  # fmt: skip
        for reply in replies:
            assert (reply.status_code, reply.json()["kind"]) == (403, "NotAllowed")
            assert "csrf" in reply.json()["error"]


@pytest.mark.parametrize("media", ["text/plain", "multipart/form-data; boundary=x", "application/xml", "nonsense", ""])
def test_only_forms_and_json_are_taken(site: Site, media: str) -> None:
    """What a page can post without asking (text/plain, multipart) is refused, by session and by token."""
    with site.inside("operator") as client, site.bearer("op-token") as program:
        for sender in (client, program):
            reply = sender.post("/stop", content=b"{}", headers={"Content-Type": media})
            assert (reply.status_code, reply.json()["kind"]) == (415, "InputError")


def test_long_bodies_are_refused(site: Site) -> None:
    """64 kB pass; a byte more is 413, whether its length was announced or not, also before anybody is logged in."""
    longest = b"why=" + b"x" * (65_536 - 4)
    with site.bearer("op-token") as client:
        assert client.post("/stop", content=longest, headers=FORM).status_code == 200
        for content in (longest + b"x", iter([longest, b"x"])):
            reply = client.post("/stop", content=content, headers=FORM)
            assert (reply.status_code, reply.json()["kind"]) == (413, "InputError")
        assert client.request("GET", "/me", content=longest + b"x").status_code == 413
        assert client.post("/stop", content=b"&".join([b"a=1"] * 300), headers=FORM).status_code == 400
    with site.visitor(**site.own) as client:
        assert client.post("/login", content=longest + b"x", headers=FORM).status_code == 413


# Headers


def test_every_answer_carries_the_headers(site: Site) -> None:
    """Pages, JSON, refusals, redirects, 404, 405 and an unexpected failure: the same strict headers on all."""
    with site.inside("viewer") as client, site.visitor() as stranger:
        answers = {
            200: client.get("/"), 303: client.get("/login"), 401: stranger.get("/"), 403: client.post("/stop"),
            404: client.get("/nothing"), 405: client.patch("/me", headers=FORM),
            500: site.bearer("op-token").get("/broken"), 421: client.get("/", headers={"Host": "evil.example"}),
            413: client.post("/stop", content=b"x" * 70_000, headers=FORM),
        }  # fmt: skip
    for status, reply in answers.items():
        assert reply.status_code == status
        for name, value in security.HEADERS.items():
            assert reply.headers.get_list(name) == [value], (status, name)
        assert reply.headers["cache-control"] == "no-store"
    policy = answers[200].headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    static = site.visitor().get("/static/app.js")
    assert "cache-control" not in static.headers
    assert static.headers["x-content-type-options"] == "nosniff"


def test_failures_carry_the_headers_where_the_guard_is_a_middleware(caplog: pytest.LogCaptureFixture) -> None:
    """Added to the application, the guard stands inside what answers failures; it answers, and logs, them itself."""
    doors = Doors(lambda: TOKENS)
    app = small_app(doors)
    app.add_middleware(Guard, doors=doors, page=error_page)
    reply = called_from(app, ("127.0.0.1", 50_000), "http://127.0.0.1:8000", "/broken")
    assert (reply.status_code, reply.json()["kind"]) == (503, "Infrastructure")
    assert "broken on purpose" not in reply.text
    assert "broken on purpose" in caplog.text
    assert {name: reply.headers.get(name) for name in security.HEADERS} == security.HEADERS


# Where a request comes from


@pytest.mark.parametrize("peer", ["10.0.0.5", "192.168.1.2", "2001:db8::1", "::ffff:10.0.0.5", "0.0.0.0", "testclient"])
def test_other_machines_are_refused(site: Site, peer: str) -> None:
    """A peer that is not this machine gets nothing, should somebody let the dashboard listen elsewhere."""
    assert called_from(site.app, (peer, 50_000), site.url, "/me").status_code == 403


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_answered(site: Site, peer: str) -> None:
    """Every address of the loopback interface is this machine."""
    assert called_from(site.app, (peer, 50_000), site.url, "/me").status_code == 200


def called_from(app: Any, client: tuple[str, int], url: str, path: str) -> httpx.Response:
    """The answer to a peer that a test cannot be: handed to the application as uvicorn would."""

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=client)
        token = {"Authorization": "Bearer op-token"}
        async with httpx.AsyncClient(transport=transport, base_url=url, headers=token) as http:
            return await http.get(path)

    return asyncio.run(call())


def test_a_socket_file_leads_nowhere(tmp_path: Path) -> None:
    """Served through a unix socket, as sandboxes reach a lab, everything is refused, with any token and host."""
    path = tmp_path / "dashboard.sock"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    sock.listen()
    with Site(sock), httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
        for address in ("/me", "/login", "/static/app.js"):
            reply = client.get(address, headers={"Authorization": "Bearer op-token"})
            assert (reply.status_code, reply.json()["kind"]) == (403, "NotAllowed")


def test_websockets_are_refused(site: Site) -> None:
    """There are none; an attempt is closed before the application sees it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    asyncio.run(site.app({"type": "websocket", "path": "/", "headers": []}, receive, send))
    assert [m["type"] for m in sent] == ["websocket.close"]


def test_outside_the_guard_nobody_is_known() -> None:
    """A route that asks who is there, without a guard before it, is told nobody."""
    with pytest.raises(Unauthorised):
        who(Request({"type": "http", "state": {}}))
    with pytest.raises(NotAllowed):
        require_operator(Person("viewer", "token 1", ""))


# Anything at all

text = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60)
near = st.sampled_from(["127.0.0.1:PORT", "localhost:PORT", "http://127.0.0.1:PORT", "aarlab_session_PORT=", "null"])
value = st.builds(lambda a, b, c: a + b + c, st.one_of(st.just(""), text), st.one_of(near, text), text)
words = st.characters(codec="utf-8")
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
names = st.sampled_from(
    ["Host", "Origin", "Referer", "Cookie", "X-CSRF", "Content-Type", "Sec-Fetch-Site", "Accept", "Transfer-Encoding"]
)


@given(methods, st.lists(st.tuples(names, value), max_size=6))
@example("POST", [("Cookie", "aarlab_session_PORT=\xff; ;=; =\xb2"), ("Origin", "http://[")])
@example("GET", [("Host", "[::1"), ("Referer", "http://[")])
@settings(max_examples=200, deadline=None)
def test_no_headers_break_in_or_break_the_server(site: Site, method: str, headers: list[tuple[str, str]]) -> None:
    """No Host, Origin or cookie that was not given out opens a page or makes the server fail."""
    lines = [] if any(name == "Host" for name, _ in headers) else [f"Host: 127.0.0.1:{site.port}"]
    lines += [f"{name}: {value.replace('PORT', str(site.port))}" for name, value in headers]
    request = "\r\n".join([f"{method} /me HTTP/1.1", *lines, "Connection: close", "", ""])
    status, body = site.raw(request.encode("latin-1"))
    assert status == 0 or 400 <= status < 500, (status, request)
    assert b'"csrf"' not in body


@given(st.dictionaries(st.sampled_from(["key", "csrf", "role"]), st.text(words, max_size=30)), st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_form_breaks_the_server(operator: httpx.Client, known: dict[str, str], noise: bytes) -> None:
    """Whatever is posted by an operator's browser without the csrf is refused, and never fails."""
    assert operator.post("/stop", data=known, headers=FORM).status_code == 403
    assert operator.post("/stop", content=noise, headers=FORM).status_code in (400, 403)


@given(value)
@settings(max_examples=100, deadline=None)
def test_no_other_host_or_origin_is_ours(site: Site, said: str) -> None:
    """With everything else right, a Host or an Origin that is not ours is refused."""
    said = said.replace("PORT", str(site.port))
    token = "Authorization: Bearer op-token"
    host = f"GET /me HTTP/1.1\r\nHost: {said}\r\n{token}\r\n\r\n"
    if said.strip(" \t").lower() not in (f"127.0.0.1:{site.port}", f"localhost:{site.port}"):
        assert site.raw(host.encode("latin-1"))[0] in (0, 400, 421)
    lines = [f"Host: 127.0.0.1:{site.port}", f"Origin: {said}", token, "Content-Length: 0", "", ""]
    if said.strip(" \t") != site.url:
        assert site.raw("\r\n".join(["POST /stop HTTP/1.1", *lines]).encode("latin-1"))[0] in (0, 400, 403)


# In a browser


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium by Playwright; skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium: apt install chromium")
    with api.sync_playwright() as play:
        running = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()


@contextmanager
def other_site(body: Callable[[], str]) -> Iterator[str]:
    """A page of another site: the same machine under another name and port."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        shown = body() if scope["path"] == "/" else ""
        await HTMLResponse(f"<!doctype html><html lang=en><title>other</title>{shown}</html>")(scope, receive, send)

    sock = listening()
    server = uvicorn.Server(uvicorn.Config(page, log_level="critical", lifespan="off", loop="asyncio"))
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{sock.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.mark.slow
def test_login_in_a_browser(site: Site) -> None:
    """In Chromium: a link typed, a link followed from another site, a control, a logout, a used link."""
    with browser() as chromium:
        page = chromium.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        link = f"{site.url}/login?key={site.doors.login_link('operator')}"
        page.goto(link)  # as if typed: in at once, and the key is not left in the address
        assert page.url == f"{site.url}/"
        assert page.inner_text("h1") == "Labs for a operator"
        assert page.evaluate("document.cookie") == ""
        page.click("text=Stop")
        assert '"stopped":true' in page.inner_text("body")
        page.goto(link)
        assert page.url == f"{site.url}/"
        assert problems == []
        page.click("text=Log out")
        assert page.url == f"{site.url}/login"
        assert "aarlab serve --link" in page.inner_text("main")
        page.goto(link)
        assert page.inner_text("h1") == "This link works no longer"


@pytest.mark.slow
def test_links_from_other_sites_in_a_browser(site: Site) -> None:
    """A login link on another site takes one click more; a link to a page finds the person logged in."""
    links = iter([f"{site.url}/login?key={site.doors.login_link('viewer')}", f"{site.url}/me", f"{site.url}/nothing"])
    with browser() as chromium, other_site(lambda: f"<a href='{next(links)}'>go</a>") as elsewhere:
        context = chromium.new_context()
        page = context.new_page()
        page.goto(elsewhere)
        page.click("text=go")
        assert page.inner_text("h1") == "Open the dashboard"
        page.click("main button")
        assert page.inner_text("h1") == "Labs for a viewer"
        page.goto(elsewhere)
        page.click("text=go")
        page.wait_for_function("document.body.innerText.includes('viewer')", timeout=5000)
        context.clear_cookies()
        page.goto(elsewhere)
        page.click("text=go")  # the answer asks once more, and not for ever
        loads: list[str] = []
        page.on("request", lambda request: loads.append(request.url))
        page.wait_for_timeout(500)
        assert "nobody is logged in" in page.inner_text("h1")
        assert len(loads) <= 1


@pytest.mark.slow
def test_attacks_of_another_site_in_a_browser(own_site: Site) -> None:
    """Forms, scripts, images, frames and fetches of another site or port are refused, with our cookie or without."""
    url = own_site.url
    attack = f"""
      <form id=f method=post action="{url}/stop"><input name=csrf value=x></form>
      <iframe src="{url}/frame"></iframe><img src="{url}/static/image"><script src="{url}/script"></script>
    """
    fetch = "address => fetch(address, {credentials: 'include'}).then(() => 'read', () => 'kept out')"
    with browser() as chromium, other_site(lambda: attack) as elsewhere:
        page = chromium.new_page()
        page.goto(f"{url}/login?key={own_site.doors.login_link('operator')}")
        for address, cookie in ((elsewhere, "no cookie"), (elsewhere.replace("localhost", "127.0.0.1"), "cookie")):
            page.goto(address)
            own_site.answers.clear()
            page.reload(wait_until="load")
            assert page.evaluate(fetch, f"{url}/me") == "kept out"
            page.evaluate("document.getElementById('f').submit()")
            page.wait_for_url(f"{url}/stop")
            loads = {"GET /frame", "GET /static/image", "GET /script", "GET /me"}
            assert {(load, cookie, 403) for load in loads} <= set(own_site.answers)
            assert ("POST /stop", cookie, 403) in own_site.answers
            assert not any(status < 400 for load, _, status in own_site.answers if load != "GET /favicon.ico")
