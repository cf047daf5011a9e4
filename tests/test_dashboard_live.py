"""Live updates: what viewers are sent, how often pages are rendered for them, and what slow or leaving ones cost."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from aarlab.dashboard import live
from aarlab.dashboard.live import Pulse, stream
from aarlab.errors import Infrastructure

FAST = 0.02
Messages = list[tuple[str, dict[str, Any]]]


class Page:
    """Something to look at: `parts` is what it holds now, `renders` the moments at which it was asked."""

    def __init__(self, **parts: str) -> None:
        self.parts: dict[str, str] = dict(parts)
        self.renders: list[float] = []
        self.threads: set[str] = set()
        self.fails: Exception | None = None

    def __call__(self, name: str) -> dict[str, str]:
        self.renders.append(time.monotonic())
        self.threads.add(threading.current_thread().name)
        if self.fails:
            raise self.fails
        return dict(self.parts)


class Viewer:
    """One open stream, read message by message."""

    def __init__(self, pulse: Pulse, page: str = "run") -> None:
        self.gone = False
        self.raw: AsyncIterator[bytes] = stream(pulse, page, self._is_gone)

    async def _is_gone(self) -> bool:
        return self.gone

    async def chunk(self) -> bytes:
        return await asyncio.wait_for(anext(self.raw), 5)

    async def read(self) -> Messages:
        """The messages of the next chunk that has any."""
        while not (found := parsed(await self.chunk())):
            pass
        return found

    async def leave(self) -> None:
        await self.raw.aclose()  # type: ignore[attr-defined]


def parsed(chunk: bytes) -> Messages:
    found = []
    for block in chunk.decode().split("\n\n"):
        if block.startswith("event: "):
            kind, data = block.split("\n")
            found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def parts(messages: Messages) -> dict[str, str]:
    return {data["id"]: data["html"] for kind, data in messages if kind == "part"}


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def test_a_new_viewer_gets_every_part_and_then_what_changed() -> None:
    """Parts, charts and the line for people come first; afterwards only what is another."""

    async def test() -> None:
        page = Page(head="<p id=head>1</p>", cards="<p>a</p>")
        page.parts |= {"chart:time": "7", "state:": "research"}
        pulse = Pulse(page, FAST)
        viewer = Viewer(pulse)
        assert (await viewer.chunk()).startswith(b"retry: ")
        first = await viewer.read()
        assert ("chart", {"name": "time", "version": "7"}) in first
        assert ("state", {"text": "research"}) in first
        assert parts(first) == {"head": "<p id=head>1</p>", "cards": "<p>a</p>"}
        page.parts |= {"cards": "<p>b</p>", "chart:time": "8"}
        pulse.changed()
        assert await viewer.read() == [
            ("part", {"id": "cards", "html": "<p>b</p>"}), ("chart", {"name": "time", "version": "8"})
        ]  # fmt: skip
        assert "MainThread" not in page.threads, "rendering keeps the event loop waiting"

    run(test())


def test_text_with_line_breaks_and_broken_characters_stays_one_message() -> None:
    """Researchers' text cannot end a message, begin another, or break the stream by half a character."""

    async def test() -> None:
        text = 'a\n\nevent: part\ndata: {"id": "head"}\r\n\u2028\ud800 "é"'
        viewer = Viewer(Pulse(Page(post=text), FAST))
        assert parts(await viewer.read()) == {"post": text}

    run(test())


def test_nothing_is_rendered_without_viewers_or_without_a_change() -> None:
    """Changes that nobody sees and looks at what does not change cost nothing."""

    async def test() -> None:
        page = Page(head="1")
        pulse = Pulse(page, FAST)
        pulse.changed()
        await asyncio.sleep(3 * FAST)
        assert page.renders == []
        viewer = Viewer(pulse)
        await viewer.read()
        await asyncio.sleep(3 * FAST)
        assert len(page.renders) == 1
        await viewer.leave()
        pulse.changed()
        await asyncio.sleep(3 * FAST)
        assert len(page.renders) == 1
        assert (pulse.viewers, pulse._pages, pulse._tasks) == (0, {}, set())

    run(test())


def test_many_changes_from_many_threads_are_rendered_at_most_once_an_interval() -> None:
    """Whatever happens how often: one render at a time, an interval apart, and the last state is sent."""

    async def test() -> None:
        page = Page(head="0")
        pulse = Pulse(page, interval=0.1)
        viewer = Viewer(pulse)
        await viewer.read()

        def write() -> None:
            for _ in range(200):
                page.parts["head"] = str(int(page.parts["head"]) + 1)
                pulse.changed()
                time.sleep(0.001)

        writers = [threading.Thread(target=write) for _ in range(3)]
        for w in writers:
            w.start()
        while any(w.is_alive() for w in writers):
            await asyncio.sleep(FAST)
        page.parts["head"] = "last"
        pulse.changed()
        while parts(await viewer.read())["head"] != "last":
            pass
        assert 3 <= len(page.renders) <= 2 + (page.renders[-1] - page.renders[0]) / 0.1

    run(test())


def test_a_slow_render_leaves_as_much_time_again() -> None:
    """A page that takes longer than the interval does not keep a core busy."""

    async def test() -> None:
        page = Page(head="1")

        def slow(name: str) -> dict[str, str]:
            page(name)
            time.sleep(0.1)
            return {"head": str(len(page.renders))}

        pulse = Pulse(slow, FAST)
        viewer = Viewer(pulse)
        for _ in range(3):
            await viewer.read()
            pulse.changed()
        assert page.renders[2] - page.renders[0] > 0.39

    run(test())


def test_viewers_of_one_version_get_the_very_same_bytes() -> None:
    """A message is encoded and joined once, however many look."""

    async def test() -> None:
        page = Page(head="1", cards="2")
        pulse = Pulse(page, FAST)
        viewers = [Viewer(pulse) for _ in range(5)]
        for v in viewers:
            await v.read()
        page.parts["head"] = "3"
        pulse.changed()
        chunks = [await v.chunk() for v in viewers]
        assert len({id(c) for c in chunks}) == 1
        assert len(page.renders) == 2

    run(test())


def test_a_slow_viewer_gets_the_newest_state_once() -> None:
    """Who did not read while much changed gets each part once, as it is now; nothing is kept for it meanwhile."""

    async def test() -> None:
        page = Page(head="0", cards="same")
        pulse = Pulse(page, 0.001)
        quick, slow = Viewer(pulse), Viewer(pulse)
        await quick.read()
        await slow.read()
        for i in range(1, 31):
            page.parts["head"] = f"{i}" * 1000
            pulse.changed()
            await quick.read()
        assert sum(len(p.message) for p in pulse._pages["run"].parts.values()) < 3000
        assert parts(await slow.read()) == {"head": "30" * 1000}

    run(test())


def test_pages_are_told_apart() -> None:
    """Who looks at one page is not sent another's parts."""

    async def test() -> None:
        pulse = Pulse(lambda name: {"head": name}, FAST)
        for name in ("run", "researchers/ada"):
            assert parts(await Viewer(pulse, name).read()) == {"head": name}

    run(test())


def test_a_quick_return_does_not_render_again_at_once() -> None:
    """Reloading a page over and over keeps to the interval."""

    async def test() -> None:
        page = Page(head="1")
        pulse = Pulse(page, interval=0.3)
        began = time.monotonic()
        for _ in range(20):
            viewer = Viewer(pulse)
            assert parts(await viewer.read()) == {"head": "1"}
            await viewer.leave()
        assert len(page.renders) <= 1 + (time.monotonic() - began) / 0.3

    run(test())


def test_a_failure_is_told_in_a_sentence_and_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is locked for a moment shows as a sentence, the parts stay, and it is tried again by itself."""
    monkeypatch.setattr(live, "AGAIN", FAST)

    async def test() -> None:
        page = Page(head="1")
        pulse = Pulse(page, FAST)
        viewer = Viewer(pulse)
        await viewer.read()
        page.fails = Infrastructure("the database is locked; trying again")
        pulse.changed()
        assert await viewer.read() == [("state", {"text": "the database is locked; trying again"})]
        page.fails = ZeroDivisionError("a defect")
        pulse.changed()
        assert "terminal" in (await viewer.read())[0][1]["text"]
        page.fails, page.parts["head"] = None, "2"
        assert await viewer.read() == [("state", {"text": ""}), ("part", {"id": "head", "html": "2"})]

    run(test())


def test_a_quiet_stream_is_kept_alive_and_ends_with_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments keep the connection; one that is gone (or may no longer look) gets nothing more."""
    monkeypatch.setattr(live, "KEEP_ALIVE", FAST)

    async def test() -> None:
        pulse = Pulse(Page(head="1"), FAST)
        viewer = Viewer(pulse)
        await viewer.read()
        assert await viewer.chunk() == live.STILL_HERE
        viewer.gone = True
        with pytest.raises(StopAsyncIteration):
            await viewer.chunk()
        assert pulse.viewers == 0

    run(test())


def test_closing_ends_all_streams() -> None:
    """Nobody keeps a server that stops from ending."""

    async def test() -> None:
        pulse = Pulse(Page(head="1"), FAST)
        viewers = [Viewer(pulse) for _ in range(3)]
        for v in viewers:
            await v.read()
        pulse.close()
        for v in viewers:
            with pytest.raises(StopAsyncIteration):
                await v.chunk()
        assert pulse.viewers == 0

    run(test())
