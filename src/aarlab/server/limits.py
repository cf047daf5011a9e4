"""A limit on the size of request bodies, before anything reads them."""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 600_000
"""Room for a method of 64 kB or a post of 100 kB with every character escaped; the fields have limits of their own."""


EVENT_BYTES = 10_000_000
"""Room for the events of one turn, or for a whole conversation that starts afresh."""


class TooLarge(Exception):
    """Stops whoever is reading a body that is too long."""


class BodyLimit:
    """Answers 413 to a longer body, whether it says its length or not. limit: the bytes that a request may have."""

    def __init__(self, app: ASGIApp, limit: Callable[[Scope], int] = lambda scope: BODY_BYTES) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":
            await self.app(scope, receive, send)
        elif _stated_length(scope) > (limit := self.limit(scope)):
            await self._refuse(send, limit)
        else:
            await self._counted(scope, receive, send, limit)

    async def _counted(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        seen, refused = 0, False

        async def count() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise TooLarge
            return message

        async def reply(message: Message) -> None:
            """Whatever the application makes of the broken-off body, the answer is 413."""
            nonlocal refused
            if seen <= limit:
                await send(message)
            elif not refused:
                refused = True
                await self._refuse(send, limit)

        await self.app(scope, count, reply)

    async def _refuse(self, send: Send, limit: int) -> None:
        body = json.dumps({"error": f"the request is longer than {limit} bytes", "kind": "InputError"}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _stated_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
