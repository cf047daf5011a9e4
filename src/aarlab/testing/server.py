"""The HTTP server: two wire formats in front of a mind, with keys, models, usage, a prompt cache and faults."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aarlab.errors import ConfigError, Infrastructure
from aarlab.testing import minds, wire
from aarlab.testing.anthropic_format import Anthropic
from aarlab.testing.cache import PromptCache
from aarlab.testing.conversation import Call, Conversation, Json, Reply, tokens
from aarlab.testing.faults import Fault, Faults
from aarlab.testing.openai_format import OpenAI
from aarlab.testing.wire import Answer, BadRequest, Format

KEY = "scripted-key"
MODEL = "scripted"
LONGEST = 900.0  # seconds for which a request is left without an answer
SENTENCES = {
    400: "The request is not valid (a fault of the schedule)", 401: "invalid x-api-key",
    403: "Your key may not use this resource", 404: "model not found",
    429: "Number of requests has exceeded your rate limit", 500: "Internal server error", 502: "Bad gateway",
    503: "Service unavailable", 529: "Overloaded",
}  # fmt: skip


class ModelServer:
    """A provider on a loopback port, in a thread of its own. `with ModelServer(mind="researcher") as server:`.

    mind: a name of aarlab.testing.minds (with options after a colon) or a function of the conversation.
    models: names that are known, each with an own mind or None for `mind`; the names of minds are known as well.
    keys: what is accepted; empty: every key that is not empty. delay: seconds before every answer.
    retry_after: what a 429 says. Raises ConfigError for an unknown mind or fault.
    """

    def __init__(
        self,
        mind: str | minds.Mind = "researcher",
        faults: tuple[str, ...] | list[str] = (),
        models: Mapping[str, str | minds.Mind | None] | None = None,
        keys: tuple[str, ...] = (KEY,),
        delay: float = 0.0,
        retry_after: float = 1.0,
        port: int = 0,
    ) -> None:
        self.models = _models(mind, models or {})
        self.keys, self.delay, self.retry_after = frozenset(keys), delay, retry_after
        self.faults = Faults(faults)
        self.cache = PromptCache()
        self.requests: Counter[str] = Counter()  # all, openai, anthropic, streamed, and one entry per status and fault
        self.billed: dict[str, Counter[str]] = {}  # by researcher, complete answers alone
        self.conversations: deque[Conversation] = deque(maxlen=20)
        self.seconds = 0.0  # that answers took to make, without delays
        self.port = port
        self._began = time.monotonic()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    # Life

    def start(self) -> ModelServer:
        """Listen. Raises Infrastructure where the port cannot be had."""
        listening = _listen(self.port)
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            self.app(), log_level="critical", access_log=False, lifespan="off", http="httptools", loop="asyncio",
            timeout_graceful_shutdown=1, timeout_keep_alive=75, backlog=256,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="model server", daemon=True)
        self._thread.start()
        end = time.monotonic() + 30
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                raise Infrastructure(f"the model server on port {self.port} has not come up")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Close every connection; requests that wait for an answer get none."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(10)

    def __enter__(self) -> ModelServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # For tests

    @property
    def url(self) -> str:
        """The base URL that Anthropic's SDK wants; OpenAI's wants `url + "/v1"`."""
        return f"http://127.0.0.1:{self.port}"

    def set_faults(self, *faults: str) -> None:
        """A new schedule from the next request on; none: everything works. Raises ConfigError."""
        self.faults.set(faults)

    def environment(self) -> dict[str, str]:
        """Variables with which Inspect's providers anthropic/..., openai/... and openai-api/scripted/... come here."""
        key = min(self.keys, default=KEY)
        return {
            "ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_API_KEY": key,
            "OPENAI_BASE_URL": f"{self.url}/v1", "OPENAI_API_KEY": key,
            "SCRIPTED_BASE_URL": f"{self.url}/v1", "SCRIPTED_API_KEY": key,
        }  # fmt: skip

    def stats(self) -> Json:
        """Requests by kind, tokens billed by researcher, and seconds of our own, as JSON."""
        billed = {name: dict(counts) for name, counts in sorted(self.billed.items())}
        return {"requests": dict(self.requests), "billed": billed, "seconds": round(self.seconds, 4)}

    # HTTP

    def app(self) -> Starlette:
        openai, anthropic = OpenAI(), Anthropic()
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._answering(openai), methods=["POST"]),
                Route("/v1/messages", self._answering(anthropic), methods=["POST"]),
                Route("/v1/messages/count_tokens", self._count, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/v1/models/{name:path}", self._models),
                Route("/stats", self._stats),
                Route("/faults", self._set_faults, methods=["POST"]),
            ]
        )

    def _answering(self, form: Format) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            self.requests["all"] += 1
            self.requests[form.name] += 1
            try:
                response = await self._answer(form, request)
            except ClientDisconnect:
                response = Response(status_code=499)
            self.requests[str(response.status_code)] += 1
            response.headers["request-id"] = response.headers["x-request-id"] = f"req_{uuid.uuid4().hex[:24]}"
            return response

        return answer

    async def _answer(self, form: Format, request: Request) -> Response:
        if trouble := self._refuses(form, request):
            return trouble
        started = time.thread_time()
        try:
            body = json.loads(await request.body())
            talk = form.conversation(body)
        except BadRequest as error:
            return self._error(form, 400, str(error))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return self._error(form, 400, f"The request body cannot be read: {type(error).__name__} {error}")
        if talk.model not in self.models:
            return self._error(form, 404, f"The model `{talk.model}` does not exist or you do not have access to it.")
        who = talk.researcher()
        self.seconds += time.thread_time() - started
        fault = self.faults.next(who, time.monotonic() - self._began)
        if fault:
            self.requests[f"fault {fault.kind}"] += 1
        if (early := await self._before(form, fault, request)) is not None:
            return early
        started = time.thread_time()
        self.conversations.append(talk)
        answer = self._think(form, talk, body, fault)
        response = self._send(form, answer, body, fault, who)
        self.seconds += time.thread_time() - started
        return response

    async def _before(self, form: Format, fault: Fault | None, request: Request) -> Response | None:
        """What a fault answers instead of an answer; waits where answers are slow."""
        wait = self.delay + (fault.delay if fault and fault.kind == "slow" else 0.0)
        if fault and fault.kind == "timeout":
            end = time.monotonic() + LONGEST
            while time.monotonic() < end and not await request.is_disconnected():
                await asyncio.sleep(0.05)
            return Response(status_code=504)
        if wait:
            await asyncio.sleep(wait)
        if fault and fault.kind.isdigit():
            return self._error(form, int(fault.kind), SENTENCES[int(fault.kind)])
        return None

    def _think(self, form: Format, talk: Conversation, body: Json, fault: Fault | None) -> Answer:
        reply = _obeyed(self.models[talk.model](talk), talk)
        kind = fault.kind if fault else ""
        if talk.max_tokens:
            reply = wire.cut(reply, talk.max_tokens)
        if kind == "truncate":
            reply = wire.halved(reply)
        elif kind == "malformed":
            reply = wire.malformed(reply)
        elif kind == "empty":
            reply = Reply()
        elif kind == "silent":
            reply = Reply(reply.text or "Let me think about this.")
        elif kind == "wrong":
            reply = replace(reply, calls=tuple(replace(c, arguments={"no_such_argument": 1}) for c in reply.calls))
        reply = replace(reply, calls=tuple(replace(c, id=c.id or _call_id(form)) for c in reply.calls))
        owner = f"{form.name} {talk.model}"
        used = self.cache.count(owner, form.prompt(body), keep=form.caches(body))
        if not form.bills_writes:
            used = replace(used, written=0, fresh=used.fresh + used.written)
        return Answer(uuid.uuid4().hex[:24], talk.model, reply, used)

    def _send(self, form: Format, answer: Answer, body: Json, fault: Fault | None, who: str) -> Response:
        kind = fault.kind if fault else ""
        if body.get("stream"):
            self.requests["streamed"] += 1
            events = list(form.events(answer, body))
        elif kind == "midway":
            return self._error(form, 500, SENTENCES[500])
        else:
            events = [json.dumps(form.whole(answer))]
        media = "text/event-stream" if body.get("stream") else "application/json"
        if kind in ("drop", "midway"):
            last = form.error_event(529, SENTENCES[529]) if kind == "midway" else None
            return StreamingResponse(_broken(events, last), media_type=media)
        self._bill(answer, who)
        if body.get("stream"):
            return StreamingResponse(_pieces(events), media_type=media, headers={"cache-control": "no-cache"})
        return Response(events[0], media_type=media)

    def _bill(self, answer: Answer, who: str) -> None:
        counts = self.billed.setdefault(who, Counter())
        counts["calls"] += 1
        counts["input_tokens"] += answer.used.fresh
        counts["cache_read_tokens"] += answer.used.read
        counts["cache_write_tokens"] += answer.used.written
        counts["output_tokens"] += answer.written

    def _refuses(self, form: Format, request: Request) -> Response | None:
        """401 for a key that is missing or wrong."""
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if key and (not self.keys or key in self.keys):
            return None
        sentence = "invalid x-api-key" if form.name == "anthropic" else "Incorrect API key provided."
        return self._error(form, 401, sentence)

    def _error(self, form: Format, status: int, sentence: str) -> Response:
        response = JSONResponse(form.error(status, sentence), status)
        if status == 429:
            response.headers["retry-after"] = f"{self.retry_after:g}"
        return response

    async def _count(self, request: Request) -> Response:
        form = Anthropic()
        if trouble := self._refuses(form, request):
            return trouble
        try:
            body = json.loads(await request.body())
            form.conversation(body)
        except BadRequest as error:
            return self._error(form, 400, str(error))
        if body.get("model") not in self.models:
            return self._error(form, 404, f"model: {body.get('model')}")
        return JSONResponse({"input_tokens": sum(tokens(p) for p in form.prompt(body))})

    async def _models(self, request: Request) -> Response:
        form: Format = Anthropic() if "anthropic-version" in request.headers else OpenAI()
        if trouble := self._refuses(form, request):
            return trouble
        made = "2026-01-01T00:00:00Z"
        rows = [
            {"id": n, "object": "model", "created": 1767225600, "owned_by": "aarlab", "type": "model",
             "display_name": n, "created_at": made}
            for n in self.models
        ]  # fmt: skip
        if name := request.path_params.get("name"):
            one = next((r for r in rows if r["id"] == name), None)
            return JSONResponse(one) if one else self._error(form, 404, f"The model `{name}` does not exist.")
        listed = {"object": "list", "data": rows, "has_more": False, "first_id": None, "last_id": None}
        return JSONResponse(listed)

    async def _stats(self, request: Request) -> Response:
        return JSONResponse(self.stats())

    async def _set_faults(self, request: Request) -> Response:
        """A JSON list of faults takes the place of the schedule."""
        try:
            self.set_faults(*json.loads(await request.body()))
        except (ConfigError, ValueError, TypeError, AttributeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"faults": len(self.faults.faults)})


def _models(mind: str | minds.Mind, given: Mapping[str, str | minds.Mind | None]) -> dict[str, minds.Mind]:
    """Every known model with its mind."""
    default = minds.get(mind) if isinstance(mind, str) else mind
    found = {MODEL: default, **{name: minds.get(name) for name in minds.NAMES if name != "script"}}
    for name, own in given.items():
        found[name] = default if own is None else minds.get(own) if isinstance(own, str) else own
    return found


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited; else answers wait 40 ms for an ACK
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        listening.close()
        raise Infrastructure(f"port {port} cannot be listened on ({error}); --port 0 takes a free one") from None
    return listening


def _call_id(form: Format) -> str:
    return ("toolu_" if form.name == "anthropic" else "call_") + uuid.uuid4().hex[:24]


def _obeyed(reply: Reply, talk: Conversation) -> Reply:
    """The reply with the call that the request forces, where the mind does not make it of itself."""
    if not talk.forced or not talk.tools or any(c.name == talk.forced or talk.forced == "*" for c in reply.calls):
        return reply
    tool = next((t for t in talk.tools if t.name == talk.forced), talk.tools[0])
    return replace(reply, calls=(Call(tool.name, dict.fromkeys(tool.required, "")),))


async def _pieces(events: list[str]) -> AsyncIterator[str]:
    for number, event in enumerate(events):
        yield event
        if number % 16 == 0:
            await asyncio.sleep(0)  # others want to be served too


async def _broken(events: list[str], last: str | None) -> AsyncIterator[str]:
    """The first half, then an error event; without one the connection is lost."""
    half = events[: len(events) // 2] if len(events) > 1 else [events[0][: len(events[0]) // 2]]
    for event in half:
        yield event
    if last is None:
        await asyncio.sleep(0.05)  # lets the first half leave
        raise ConnectionResetError("a fault of the schedule")
    yield last
