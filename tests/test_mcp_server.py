"""The lab over MCP: real clients over stdio and HTTP, against a real lab."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

pytest.importorskip("mcp", reason="needs the [llm] extra")

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

import toy
from aarlab.client import LabClient
from aarlab.errors import ConfigError, InputError
from aarlab.llm import mcp_server
from aarlab.llm.mcp_server import Desk
from toy_server import ToyServer

TOOLS = {
    "brief", "budget", "leaderboard", "submission", "get_method", "forum_read", "forum_search", "submit", "forum_post",
}  # fmt: skip
TOKEN = "a-token-of-the-tests-own"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyServer]:
    with ToyServer(tmp_path_factory.mktemp("mcp") / "lab") as server:
        yield server


def arguments(server: ToyServer, workspace: Path) -> list[str]:
    address = server.folder / "run" / "aarlab.sock"
    return ["-m", "aarlab.llm.mcp_server", "--address", str(address), "--workspace", str(workspace)]


def environment(server: ToyServer, who: str) -> dict[str, str]:
    return {**os.environ, "AARLAB_TOKEN": server.tokens["researchers"][who], "AARLAB_MCP_TOKEN": TOKEN}


def over_stdio(server: ToyServer, workspace: Path, who: str = "r1") -> Client:
    """A client that starts the server itself."""
    started = StdioServerParameters(
        command=sys.executable, args=arguments(server, workspace), env=environment(server, who)
    )
    return Client(started)


@contextmanager
def http_server(server: ToyServer, workspace: Path, who: str = "r2") -> Iterator[str]:
    """A server process that listens; its address."""
    command = [sys.executable, *arguments(server, workspace), "--http"]
    process = subprocess.Popen(command, env=environment(server, who), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield process.stderr.readline().split()[0]
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


@asynccontextmanager
async def over_http(url: str, token: str = TOKEN) -> AsyncIterator[Client]:
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60)
    async with http, Client(streamable_http_client(url, http_client=http)) as client:
        yield client


async def say(client: Client, tool: str, **given: object) -> str:
    """A tool's text; errors too, after a mark."""
    found = await client.call_tool(tool, given)
    text = "".join(part.text for part in found.content)
    return f"ERROR {text}" if found.is_error else text


async def a_day(client: Client, workspace: Path, name: str) -> int:
    """Everything a researcher does; the number of the submission."""
    listed = await client.list_tools()
    assert {t.name for t in listed.tools} == TOOLS
    assert all(t.description for t in listed.tools)
    assert "run(task, seed)" in await say(client, "brief")
    (workspace / "mine.py").write_text(toy.variant(f"'{name}'"))
    sent = await say(client, "submit", path="mine.py", name=name, claimed_pgr=0.1, wait_seconds=60)
    number = int(re.match(rf'Submission (\d+) "{name}": scored', sent)[1])
    posted = await say(client, "forum_post", kind="result", title=f"{name} works", body="as said", submission=number)
    assert posted.startswith("Post ")
    assert "| as said" in await say(client, "forum_search", text=f"{name} works")
    assert f"is in got/{name}.py" in await say(client, "get_method", number=number, path=f"got/{name}.py")
    assert (workspace / "got" / f"{name}.py").read_text() == (workspace / "mine.py").read_text()
    assert "| def run(task, seed):" in await say(client, "get_method", number=number)
    assert "scored" in await say(client, "submission")
    assert "(0 records, 0 pending, 0 failed)" in await say(client, "leaderboard")
    assert "Submissions: you have made" in await say(client, "budget")
    return number


def test_a_day_over_stdio(server, tmp_path):
    """The client starts the server; its researcher is seen to live in the lab, and others' posts come as files."""
    server.client("r3").post("insight", "hello", "from another")

    async def work() -> None:
        async with over_stdio(server, tmp_path) as client:
            assert "your name there is r1" in str(client.instructions)
            await a_day(client, tmp_path, "stdio")

    anyio.run(work)
    seen = {r["name"]: r["state"] for r in server.client("operator").run()["researchers"]}
    assert seen["r1"] == "over MCP: budget"
    assert [p.name[5:] for p in (tmp_path / "shared" / "findings").iterdir()] == ["-insight-hello.md"]


def test_a_day_over_http(server, tmp_path):
    """With the right bearer token, on a free port of loopback."""

    async def work(url: str) -> None:
        async with over_http(url) as client:
            await a_day(client, tmp_path, "http")

    with http_server(server, tmp_path) as url:
        assert url.startswith("http://127.0.0.1:")
        anyio.run(work, url)


def test_strangers_are_not_served(server, tmp_path):
    """No token, a wrong one, another Host, a web page's Origin: refused before anything is done."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    right = {"Authorization": f"Bearer {TOKEN}", **accept}
    with http_server(server, tmp_path) as url, httpx2.Client() as http:
        assert http.post(url, json=body, headers=accept).status_code == 401
        assert http.post(url, json=body, headers={**right, "Authorization": "Bearer x"}).status_code == 401
        assert http.post(url, json=body, headers={**right, "Authorization": "Basic x"}).status_code == 401
        assert http.post(url, json=body, headers={**right, "Host": "evil.example"}).status_code == 421
        assert http.post(url, json=body, headers={**right, "Origin": "http://evil.example"}).status_code == 403
        assert http.post(url, json=body, headers=right).status_code not in (401, 403, 421)


def test_refusals_are_tool_errors_with_a_remedy(server, tmp_path):
    """Paths out of the workspace, by links too; wrong numbers, words and arguments; the session goes on."""
    (tmp_path / "w").mkdir()
    (tmp_path / "secret.py").write_text(toy.LEARNER)
    (tmp_path / "w" / "link.py").symlink_to(tmp_path / "secret.py")
    (tmp_path / "w" / "big.py").write_bytes(b"#" * 70_000)
    os.mkfifo(tmp_path / "w" / "pipe.py")

    async def work() -> None:
        async with over_stdio(server, tmp_path / "w") as client:
            for path in ("../secret.py", str(tmp_path / "secret.py"), "link.py", ".", ""):
                said = await say(client, "submit", path=path)
                assert said.startswith("ERROR ")
                assert "not in the workspace" in said or "give either path" in said
            assert "is no file" in await say(client, "submit", path="pipe.py")
            assert "at most 65536" in await say(client, "submit", path="big.py")
            assert "No such file" in await say(client, "submit", path="none.py")
            assert "give either path" in await say(client, "submit", path="a.py", source="b")
            assert "(syntax): line 1" in await say(client, "submit", source="def run(")
            assert "list the numbers" in await say(client, "get_method", number=4711)
            assert "not in the workspace" in await say(client, "get_method", number=4, path="../x.py")
            assert (await say(client, "submission", number=-1)).startswith("ERROR ")
            assert (await say(client, "forum_post", kind="rumour", title="t", body="b")).startswith("ERROR ")
            assert not (await say(client, "budget")).startswith("ERROR ")

    anyio.run(work)


def test_what_cannot_be_served_is_said(server, tmp_path):
    """No token, no workspace, every address at once, a taken port, a short token."""

    def ended(*more: str, token: str | None = "x") -> tuple[int, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("AARLAB_T")}
        env = {**kept, **({"AARLAB_TOKEN": token} if token else {})}
        command = [sys.executable, *arguments(server, tmp_path), *more]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        return done.returncode, done.stderr

    code, said = ended(token=None)
    assert (code, "AARLAB_TOKEN is not set" in said) == (2, True)
    code, said = ended(token="wrong")
    assert (code, said.count("\n")) == (2, 1)
    with pytest.raises(ConfigError, match="every address"):
        mcp_server._listen("0.0.0.0", 0)
    with mcp_server._listen("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match="cannot listen"):
        mcp_server._listen("127.0.0.1", taken.getsockname()[1])
    client = server.client("r3")
    with pytest.raises(ConfigError, match="is no folder"):
        Desk(client, tmp_path / "none")
    with pytest.raises(ConfigError, match="16 are the least"):
        mcp_server.serve(
            server.folder / "run" / "aarlab.sock", server.tokens["researchers"]["r3"], tmp_path, transport="http",
            token="short",
        )  # fmt: skip


def test_a_planted_link_is_not_followed(server, tmp_path):
    """Reading and writing stay in the workspace."""
    (tmp_path / "w").mkdir()
    desk = Desk(server.client("r3"), tmp_path / "w")
    (tmp_path / "w" / "out").symlink_to(tmp_path)
    with pytest.raises(InputError, match="not in the workspace"):
        desk.write("out/x.py", "text")
    with pytest.raises(InputError, match="NUL"):
        desk.read("a\x00b")
    desk.write("deep/er/x.py", "text")
    assert desk.read("deep/er/x.py") == "text"


def test_the_end_of_research_is_told(tmp_path):
    """After it, every answer says so."""
    with ToyServer(tmp_path / "lab") as server:
        address = server.folder / "run" / "aarlab.sock"
        with LabClient(address, server.tokens["researchers"]["r1"], 5) as lab:
            desk = Desk(lab, tmp_path)
            assert anyio.run(desk.ask, "budget", desk.toolbox.budget)
            assert desk.said("x") == "x"
            server.client("operator").phase("audit", "enough")
            end = time.monotonic() + 20
            while "research is over" not in desk.said("x") and time.monotonic() < end:
                desk.live("waiting")
            assert desk.said("x").startswith("x\n\nThe lab says that research is over")
