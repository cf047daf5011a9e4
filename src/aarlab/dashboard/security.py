"""Who may look and who may act: one-time links, sessions, and the guard in front of every page.

The dashboard listens on loopback alone, so what is kept out is what reaches loopback: pages of other sites in the same
browser (rebound names, forged forms, frames, scripts and images that load ours), whoever guesses keys, and researchers'
tokens.

What this does not protect against:

- Other processes of the same user. They read the lab folders without asking anybody.
- A hostile server on another port of this machine that the same browser visits: browsers send a cookie to every port
  of a host, so that server is shown the session. Open only what you trust under the address the dashboard has.
- A token of one lab opens all labs that are served beside it, as far as its role goes.
- Nothing is encrypted: what listens to the loopback interface is the superuser.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NoReturn, cast
from urllib.parse import parse_qs, quote

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aarlab.dashboard.render import page
from aarlab.errors import AarlabError, InputError, NotAllowed, RateLimited, Unauthorised

log = logging.getLogger("aarlab.dashboard")

Role = Literal["operator", "viewer"]
ROLES: Final = ("operator", "viewer")

LINK_SECONDS = 600.0
IDLE_SECONDS = 7 * 86_400.0
SESSION_SECONDS = 30 * 86_400.0
WRONG, WRONG_SECONDS = 20, 60.0
"""More wrong keys and tokens than this in so many seconds, and none is looked at for as long."""

BODY_BYTES = 65_536
FIELDS = 200

SAFE = ("GET", "HEAD", "OPTIONS")
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
OPEN = ("/login", "/favicon.ico")
STATIC = "/static/"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # not `no-referrer`: under it browsers send `Origin: null` with our own forms, and older ones say no more than that
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}

HOW = "open the link that `aarlab serve` prints, or make another with `aarlab serve --link`"


def digest(secret: str) -> str:
    """What is kept of a key, token or cookie. They carry 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def cookie_name(port: int) -> str:
    """Of the session's cookie: it carries the port, since the ports of a host share their cookies."""
    return f"aarlab_session_{port}"


@dataclass(frozen=True)
class Session:
    """A browser that was let in. `cookie` is known only to who made it (`Doors.enter`); what is kept is its hash."""

    id: str
    role: Role
    csrf: str = field(repr=False)
    began: float
    cookie: str = field(default="", repr=False)


@dataclass(frozen=True)
class Person:
    """Who a request comes from. by: for the ledger, `browser 1a2b3c4d` or `token 1a2b3c4d`.

    csrf: what forms send back as `csrf` and scripts as the header `X-CSRF`; empty for tokens, which need none.
    """

    role: Role
    by: str
    csrf: str = field(repr=False)


def who(request: Request) -> Person:
    """Who the guard let in. Raises Unauthorised at the addresses that are open to everybody."""
    person = getattr(request.state, "person", None)
    if person is None:
        raise Unauthorised(f"nobody is logged in: {HOW}")
    return cast(Person, person)


def require_operator(person: Person) -> None:
    """Raises NotAllowed for who may only look."""
    if person.role != "operator":
        raise NotAllowed("a viewer only looks; this needs an operator's link (`aarlab serve --link`) or token")


class Misses:
    """Wrong keys and tokens, counted for everybody together: on loopback nobody can be told from another.

    They carry too much chance to be guessed; this keeps a broken client from trying for ever.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.times: deque[float] = deque()
        self.closed_until = 0.0

    def check(self) -> None:
        """Raises RateLimited as long as nothing is looked at."""
        left = self.closed_until - self.clock()
        if left > 0:
            raise RateLimited(
                f"more than {WRONG} wrong keys or tokens came within a minute; try again in {math.ceil(left)} s"
            )

    def add(self) -> None:
        """One more. Raises RateLimited when it is one too many."""
        now = self.clock()
        self.times.append(now)
        while self.times[0] <= now - WRONG_SECONDS:
            self.times.popleft()
        if len(self.times) > WRONG:
            self.times.clear()
            self.closed_until = now + WRONG_SECONDS
        self.check()


class Doors:
    """Sessions and one-time links, in memory: a restart of the dashboard ends them all. Safe to use from any thread.

    tokens: the labs' tokens as (token, role), role operator, viewer, researcher or fleet; asked anew for each request
    that shows a token, so that labs may come and go. clock: seconds since some fixed moment.
    """

    def __init__(self, tokens: Callable[[], Iterable[tuple[str, str]]], clock: Callable[[], float] = time.time) -> None:
        self.tokens, self.clock = tokens, clock
        self._lock = threading.Lock()
        self._misses = Misses(clock)
        self._links: dict[str, tuple[Role, float]] = {}  # by the key's hash: role, end
        self._sessions: dict[str, Session] = {}
        self._seen: dict[str, float] = {}  # when each session was used last

    def login_link(self, role: str) -> str:
        """A new key for `/login?key=`: works once and within ten minutes. Raises InputError for an unknown role."""
        if role not in ROLES:
            raise InputError(f"there is no role {role!r} for a login link; choose operator or viewer")
        key = secrets.token_urlsafe(32)
        with self._lock:
            self._links[digest(key)] = (cast(Role, role), self.clock() + LINK_SECONDS)
        return key

    def invites(self, key: str) -> Role | None:
        """The role a key would open, without using it. Raises RateLimited."""
        with self._lock:
            found = self._link(key)
            return self._links[found][0] if found else None

    def enter(self, key: str) -> Session | None:
        """Use a key: a new session with its `cookie`, or None for a wrong, used or old key. Raises RateLimited."""
        with self._lock:
            found = self._link(key)
            if found is None:
                return None
            role, _ = self._links.pop(found)
            cookie, now = secrets.token_urlsafe(32), self.clock()
            made = Session(digest(cookie), role, secrets.token_urlsafe(32), now)
            self._sessions[made.id], self._seen[made.id] = made, now
            return replace(made, cookie=cookie)

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie's value; it counts as used now. None where there is none, or no longer."""
        with self._lock:
            self._end_old_sessions()
            found = self._sessions.get(digest(cookie))
            if found:
                self._seen[found.id] = self.clock()
            return found

    def leave(self, session: Session) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(session.id, None)
            self._seen.pop(session.id, None)

    def token_role(self, token: str) -> str | None:
        """The role of a lab's token; None where no lab has it. Raises RateLimited."""
        with self._lock:
            self._misses.check()
        given, found = digest(token), None
        for known, role in self.tokens():
            if known and hmac.compare_digest(given, digest(known)):
                found = role
        if found is None:
            with self._lock:
                self._misses.add()
        return found

    def _link(self, key: str) -> str | None:
        """The hash under which a key is kept."""
        self._misses.check()
        now, given, found = self.clock(), digest(key), None
        self._links = {k: v for k, v in self._links.items() if now < v[1]}
        for known in self._links:
            if hmac.compare_digest(given, known):
                found = known
        if found is None:
            self._misses.add()
        return found

    def _end_old_sessions(self) -> None:
        now = self.clock()
        for known in list(self._sessions.values()):
            if now >= min(known.began + SESSION_SECONDS, self._seen[known.id] + IDLE_SECONDS):
                del self._sessions[known.id], self._seen[known.id]


class Refusal(Exception):
    """A request that the guard turns away."""

    def __init__(self, status: int, sentence: str, kind: str = "NotAllowed") -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.kind = status, sentence, kind


class Guard:
    """Stands in front of the whole application, around it or as its outermost middleware. Whatever leaves, a failure
    too, carries the security headers.

    page: (status, sentence) -> the HTML of an error page. The person that was let in is `who(request)`.
    """

    def __init__(self, app: ASGIApp, doors: Doors, page: Callable[[int, str], bytes]) -> None:
        self.app, self.doors, self.page = app, doors, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "no websockets here"})
        else:
            await self._answer(scope, receive, Headed(send, scope["path"]))

    async def _answer(self, scope: Scope, receive: Receive, send: Headed) -> None:
        try:
            receive = await self._admit(scope, receive)
        except Refusal as no:
            await self.refuse(scope, send, no.status, no.sentence, no.kind)
        except AarlabError as no:
            await self.refuse(scope, send, no.http_status, str(no), type(no).__name__)
        else:
            await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Headed) -> None:
        """A failure that nothing inside has answered is answered here: further out it would get no headers."""
        try:
            await self.app(scope, receive, send)
        except Exception:
            if send.started:
                raise
            log.exception("%s %s failed", scope["method"], scope["path"])
            sentence = "this page failed; the terminal of `aarlab serve` says why"
            await self.refuse(scope, send, 503, sentence, "Infrastructure")

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """Everything that is asked of a request before the application sees it. Raises Refusal or AarlabError."""
        headers = Headers(scope=scope)
        _check_peer(scope)
        own = _check_host(scope, headers)
        _check_load(scope, headers)
        person = await self._person(scope, headers)
        if person is None and not _is_open(scope["path"]):
            _turn_away(scope, headers)
        if scope["method"] not in SAFE:
            _check_origin(headers, own, token=bool(person and not person.csrf))
        body = b""
        if "content-length" in headers or "transfer-encoding" in headers:
            body = await _read(receive)
            receive = _again(body, receive)
        if scope["method"] not in SAFE:
            media = _check_media(headers, body)
            if person and person.csrf and scope["path"] not in OPEN:
                _check_csrf(headers, body if media == FORM else b"", person.csrf)
        return receive

    async def _person(self, scope: Scope, headers: Headers) -> Person | None:
        """Whom a token or else a cookie names; left in the scope for `who`."""
        state = scope.setdefault("state", {})
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            person = await self._bearer(token.strip())
        elif session := _session(self.doors, scope, headers):
            person = Person(session.role, f"browser {session.id[:8]}", session.csrf)
        else:
            return None
        state["person"] = person
        return person

    async def _bearer(self, token: str) -> Person:
        role = await run_in_threadpool(self.doors.token_role, token)  # it reads files
        if role is None:
            raise Unauthorised("no lab here has this token; send an operator's or a viewer's of a lab that is served")
        if role not in ROLES:
            raise NotAllowed(f"a token of the role {role} opens nothing here; the pages are for operators and viewers")
        return Person(cast(Role, role), f"token {digest(token)[:8]}", "")

    async def refuse(self, scope: Scope, send: Send, status: int, sentence: str, kind: str) -> None:
        """Answer with an error: a page for browsers, {"error", "kind"} for everybody else."""
        headers = {"Cache-Control": "no-store"}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
            if _led_here(scope):
                headers["Refresh"] = "0"
        elif status == 429:
            headers["Retry-After"] = f"{WRONG_SECONDS:.0f}"
        if wants_html(scope):
            answer = Response(self.page(status, sentence), status, headers, "text/html")
        else:
            answer = JSONResponse({"error": sentence, "kind": kind}, status, headers)
        await answer(scope, _nothing, send)


def wants_html(scope: Scope) -> bool:
    """Whether a request comes from somebody who reads pages, not from a program."""
    formats = parse_qs(scope["query_string"].decode("latin-1")).get("format", [])
    return "text/html" in Headers(scope=scope).get("accept", "") and not formats


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(STATIC)


class Headed:
    """Whatever is sent carries the security headers, and pages are kept nowhere unless they say otherwise."""

    def __init__(self, send: Send, path: str) -> None:
        self.send, self.path = send, path
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if not self.path.startswith(STATIC):
                headers.setdefault("Cache-Control", "no-store")
        await self.send(message)


def _check_peer(scope: Scope) -> None:
    """Loopback TCP alone: socket files are how sandboxes reach a lab, and nothing of a sandbox has business here."""
    client, server = scope.get("client"), scope.get("server")
    if not client or not server or server[1] is None:
        raise Refusal(403, "the dashboard answers on its loopback address alone, not on a socket file")
    try:
        peer = ipaddress.ip_address(client[0])
    except ValueError:
        raise Refusal(403, f"the peer {client[0]!r} has no address on this machine") from None
    if not (getattr(peer, "ipv4_mapped", None) or peer).is_loopback:
        raise Refusal(403, f"{peer} is another machine; the dashboard answers this one alone, or through `ssh -L`")


def _check_host(scope: Scope, headers: Headers) -> str:
    """The origin that the request was sent to. A name that somebody else's DNS points at us is not ours."""
    port, given = scope["server"][1], headers.getlist("host")
    names = [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
    if port == 80:
        names += ["127.0.0.1", "localhost", "[::1]"]
    if len(given) != 1 or given[0].lower() not in names:
        raise Refusal(
            421, f"the dashboard has the address http://{names[0]} and answers under no other name or port"
            " (a tunnel needs the same port at both ends)"
        )  # fmt: skip
    return f"http://{given[0].lower()}"


def _check_load(scope: Scope, headers: Headers) -> None:
    """Other sites, and other ports of this host, may lead a person here; their pages load nothing from here."""
    site = headers.get("sec-fetch-site", "none")
    led = (scope["method"], headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
    if site not in ("same-origin", "none") and led != ("GET", "navigate", "document"):
        raise Refusal(403, "another site's page asked for this; open the dashboard itself")


def _check_origin(headers: Headers, own: str, token: bool) -> None:
    """What changes something comes from our own pages, or from a program with a token, which sends no origin."""
    origins, referers = headers.getlist("origin"), headers.getlist("referer")
    if origins == ["null"]:  # hidden, by a browser set so or by a page that sends no referrer
        good = headers.getlist("sec-fetch-site") == ["same-origin"]
    elif origins:
        good = origins == [own]
    elif referers:
        good = len(referers) == 1 and referers[0].startswith(f"{own}/")
    else:
        good = token
    if not good:
        raise Refusal(403, "this was not sent by a page of the dashboard (Origin and Referer say from where it comes)")


def _check_media(headers: Headers, body: bytes) -> str:
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in (FORM, JSON) and (media or body):
        raise Refusal(415, f"the content type {media!r} is not taken; send {FORM} or {JSON}", "InputError")
    return media


def _check_csrf(headers: Headers, form_body: bytes, expected: str) -> None:
    given = headers.get("x-csrf") or fields(form_body).get("csrf", "")
    if not hmac.compare_digest(given.encode(errors="replace"), expected.encode()):
        raise Refusal(403, "the form's `csrf` (or the header X-CSRF) is not this session's; load the page again")


def _turn_away(scope: Scope, headers: Headers) -> NoReturn:
    if any(_cookies(headers, cookie_name(scope["server"][1]))):
        raise Unauthorised(f"your session has ended: {HOW}")
    raise Unauthorised(f"nobody is logged in: {HOW}; programs send `Authorization: Bearer TOKEN`")


def _led_here(scope: Scope) -> bool:
    """Whether a link elsewhere led here. The browser keeps back a strict cookie then, though the person may well be
    logged in; when our own answer asks for the page once more, the cookie comes along."""
    headers = Headers(scope=scope)
    return scope["method"] == "GET" and headers.get("sec-fetch-site") == "cross-site"


def _cookies(headers: Headers, name: str) -> Iterator[str]:
    """All values of a cookie: other ports of the host can set one beside ours."""
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            found, _, value = pair.partition("=")
            if found.strip() == name:
                yield value.strip()


def _session(doors: Doors, scope: Scope, headers: Headers) -> Session | None:
    return next(filter(None, map(doors.session, _cookies(headers, cookie_name(scope["server"][1])))), None)


async def _read(receive: Receive) -> bytes:
    """A whole body, which may be short. Raises Refusal."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the request broke off", "InputError")
        body += message.get("body", b"")
        if len(body) > BODY_BYTES:
            raise Refusal(413, f"the request is longer than {BODY_BYTES // 1024} kB; send less", "InputError")
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, to be read once more."""
    left = [body]

    async def receiving() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return receiving


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def fields(body: bytes) -> dict[str, str]:
    """The fields of an urlencoded form, the first of each name. Raises InputError for more than 200."""
    try:
        found = parse_qs(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError:
        raise InputError(f"the form has more than {FIELDS} fields; send fewer") from None
    return {name: values[0] for name, values in found.items()}


async def form(request: Request) -> dict[str, str]:
    """The fields of the form that a request carries. Raises InputError."""
    return fields(await request.body())


def add_login(app: FastAPI, doors: Doors, render: Callable[[str, dict[str, Any]], str] = page) -> None:
    """`GET` and `POST /login`, `POST /logout`, and `POST /login/links` (operators: field `role`, answers {"url", ...}).

    A login leads to the list of labs, or with `&lab=NAME` in the link to that lab's first page.

    render: (template, context) -> HTML; the context has what login.html.j2 asks for.
    """
    login = Login(doors, render)
    app.add_api_route("/login", login.look, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/login", login.enter, methods=["POST"], include_in_schema=False)
    app.add_api_route("/login/links", login.invite, methods=["POST"], include_in_schema=False)
    app.add_api_route("/logout", login.leave, methods=["POST"], include_in_schema=False)


class Login:
    """The pages of the login.

    A link that a person opens from a terminal, or that `--open` hands to the browser, logs in at once. Where something
    else may have fetched it (a preview, a prefetch, a page of another site) a button is shown, and the key is kept
    until it is pressed.
    """

    def __init__(self, doors: Doors, render: Callable[[str, dict[str, Any]], str]) -> None:
        self.doors, self.render = doors, render

    async def look(self, request: Request) -> Response:
        """A HEAD tells nothing and uses nothing up."""
        if request.method == "HEAD":
            return HTMLResponse("")
        key, inside = request.query_params.get("key", ""), getattr(request.state, "person", None)
        lab = request.query_params.get("lab", "")
        if not key:
            return _first_page(lab) if inside else self._page("none", 200)
        try:
            role = self.doors.invites(key)
        except RateLimited as error:
            return self._page("wait", 429, sentence=str(error))
        if role is None:  # the link that was opened an hour ago is in the history of a browser that is logged in
            return _first_page(lab) if inside else self._page("used", 401)
        if _opened_by_hand(request.headers):
            return self._use(request, key, lab)
        return self._page("ready", 200, key=key, role=role, lab=lab)

    async def enter(self, request: Request) -> Response:
        given = await form(request)
        try:
            return self._use(request, given.get("key", ""), given.get("lab", ""))
        except RateLimited as error:
            return self._page("wait", 429, sentence=str(error))

    async def leave(self, request: Request) -> Response:
        if session := _session(self.doors, request.scope, request.headers):
            self.doors.leave(session)
        reply = RedirectResponse("/login", 303)
        reply.delete_cookie(_port_cookie(request), path="/", httponly=True, samesite="strict")
        return reply

    async def invite(self, request: Request) -> Response:
        """A new link, for `aarlab serve --link` and for operators who let somebody else look."""
        require_operator(who(request))
        role = (await form(request)).get("role", "")
        key = self.doors.login_link(role)
        url = f"http://{request.headers['host']}/login?key={quote(key)}"
        return JSONResponse({"url": url, "role": role, "seconds": LINK_SECONDS})

    def _use(self, request: Request, key: str, lab: str) -> Response:
        """In, with a new session; the one that the browser had before ends."""
        session = self.doors.enter(key)
        if session is None:
            return self._page("used", 401)
        if before := _session(self.doors, request.scope, request.headers):
            self.doors.leave(before)
        reply = _first_page(lab)
        reply.set_cookie(
            _port_cookie(request), session.cookie, max_age=int(SESSION_SECONDS), path="/", httponly=True,
            samesite="strict",
        )  # fmt: skip
        return reply

    def _page(self, state: str, status: int, **more: str | None) -> Response:
        context = {"state": state, "key": "", "role": "", "lab": "", "sentence": "", "live": "", **more}
        headers = {"Retry-After": f"{WRONG_SECONDS:.0f}"} if status == 429 else {}
        return HTMLResponse(self.render("login.html.j2", context), status, headers)


def _first_page(lab: str) -> Response:
    """On to a lab, or to the list of labs: always to an address of ours, whatever the name is."""
    return RedirectResponse(f"/labs/{quote(lab, safe='')}" if lab else "/", 303)


def _port_cookie(request: Request) -> str:
    return cookie_name(request.scope["server"][1])


def _opened_by_hand(headers: Headers) -> bool:
    """Typed, or handed to the browser by another program: what browsers say of a window a person opens."""
    said = tuple(headers.get(f"sec-fetch-{what}") for what in ("site", "mode", "dest"))
    early = "purpose" in headers or "sec-purpose" in headers  # fetched before anybody asked
    return said == ("none", "navigate", "document") and not early
