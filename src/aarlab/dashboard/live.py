"""Live updates by server-sent events: the parts of a page that have changed, sent to everybody who looks at it.

A `Pulse` renders a page at most once each interval, only after `changed()` and only while somebody listens. What it
made is encoded once; a viewer is no more than the number of the version it has seen. However slow one is, it waits
for nothing but the newest state of each part, so memory does not grow with viewers or with time.

Messages: `part` {"id", "html"} replaces an element, `chart` {"name", "version"} says that a chart is another now,
`state` {"text"} is a line for people.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aarlab.errors import AarlabError

log = logging.getLogger("aarlab.dashboard")

INTERVAL = 2.0
KEEP_ALIVE = 15.0
AGAIN = 5.0  # seconds after a failure
RETRY = b"retry: 3000\n\n"  # milliseconds until a browser connects again
STILL_HERE = b": still here\n\n"

CHART, STATE = "chart:", "state:"
"""Keys of what is rendered: `chart:NAME` -> its version, `state:` -> the line for people (empty: nothing to
say), any other: the id of an element -> its HTML."""


def message(key: str, value: str) -> bytes:
    """One server-sent event. JSON has no bare line breaks, so it is one line of data whatever the text holds."""
    if key == STATE:
        kind, data = "state", {"text": value}
    elif key.startswith(CHART):
        kind, data = "chart", {"name": key.removeprefix(CHART), "version": value}
    else:
        kind, data = "part", {"id": key, "html": value}
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


@dataclass
class _Part:
    value: str
    version: int  # of the page, when it became this value
    message: bytes


@dataclass
class _Page:
    """What is known of one page, and who waits for news of it. Touched by the event loop's thread alone."""

    name: str
    viewers: int = 0
    version: int = 0
    parts: dict[str, _Part] = field(default_factory=dict)
    stale: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)  # a new one for each version
    _joined: dict[int, bytes] = field(default_factory=dict)

    def update(self, made: dict[str, str]) -> None:
        """Take in what was rendered, and wake the viewers if any of it is another."""
        now = self.version + 1
        fresh = {k: v for k, v in made.items() if k not in self.parts or self.parts[k].value != v}
        self.parts = {k: p for k, p in self.parts.items() if k in made}
        self.parts |= {k: _Part(v, now, message(k, v)) for k, v in fresh.items()}
        self._joined.clear()
        if fresh:
            self.version = now
            self.wake()

    def wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def since(self, version: int) -> bytes:
        """All that changed after a version, joined once for all viewers who saw the same one."""
        if version not in self._joined:
            self._joined[version] = b"".join(p.message for p in self.parts.values() if p.version > version)
        return self._joined[version]


class Pulse:
    """Live updates of one lab's pages.

    render: page -> what it holds now, by key (see `CHART`); called in a worker thread. A sentence of an AarlabError
    that it raises is shown as the state; it is tried again after `AGAIN` seconds. interval: least seconds between two
    calls for the same page; a render that takes long leaves as much time again.

    `changed` may be called from any thread, everything else from the thread of one event loop.
    """

    def __init__(self, render: Callable[[str], dict[str, str]], interval: float = INTERVAL) -> None:
        self.render, self.interval = render, interval
        self.closed = False
        self._pages: dict[str, _Page] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = False  # the loop will hear of a change
        self._lock = threading.Lock()

    def changed(self) -> None:
        """Something may be another now. Cheap, also a thousand times a second."""
        with self._lock:
            if self._loop is None or self._loop.is_closed() or self._told:
                return
            self._told = True
            self._loop.call_soon_threadsafe(self._hear)

    def close(self) -> None:
        """End all streams; later ones end at once."""
        self.closed = True
        for page in self._pages.values():
            page.stale.set()
            page.wake()

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return sum(page.viewers for page in self._pages.values())

    def _hear(self) -> None:
        with self._lock:
            self._told = False
        for page in self._pages.values():
            page.stale.set()

    def _join(self, name: str) -> _Page:
        with self._lock:
            self._loop = asyncio.get_running_loop()
        page = self._pages.get(name)
        if page is None:
            page = self._pages[name] = _Page(name)
            page.stale.set()
            task = asyncio.create_task(self._tend(page))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        page.viewers += 1
        return page

    def _leave(self, page: _Page) -> None:
        page.viewers -= 1
        if not page.viewers:
            page.stale.set()  # so that its task sees that nobody is left

    async def _tend(self, page: _Page) -> None:
        """Render a page whenever it is stale, until nobody looks at it."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await page.stale.wait()
                page.stale.clear()
                if self.closed or not page.viewers:
                    return
                began = loop.time()
                page.update(await self._render(page))
                took = loop.time() - began
                await asyncio.sleep(max(self.interval - took, took))
        finally:
            del self._pages[page.name]

    async def _render(self, page: _Page) -> dict[str, str]:
        try:
            return {STATE: "", **await asyncio.to_thread(self.render, page.name)}
        except AarlabError as error:
            sentence = str(error)
        except Exception:
            log.exception("live updates of %s failed", page.name)
            sentence = "no updates for now; the terminal of `aarlab serve` says why"
        asyncio.get_running_loop().call_later(AGAIN, page.stale.set)
        return {k: p.value for k, p in page.parts.items()} | {STATE: sentence}


async def stream(pulse: Pulse, page: str, disconnected: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
    """The body of a `text/event-stream`: all parts of the page, then those that change.

    disconnected: asked before each message; true ends the stream.
    """
    yield RETRY
    shown = pulse._join(page)
    seen = 0
    try:
        while not (pulse.closed or await disconnected()):
            news = shown.news  # taken before the yield, during which there may be some
            chunk, seen = shown.since(seen), shown.version
            if chunk:
                yield chunk
            try:
                await asyncio.wait_for(news.wait(), KEEP_ALIVE)
            except TimeoutError:
                yield STILL_HERE
    finally:
        pulse._leave(shown)
