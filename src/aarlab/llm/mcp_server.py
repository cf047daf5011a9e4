"""A researcher's seat over MCP: any client that speaks it joins a lab with the tools that our own researchers have.

    AARLAB_TOKEN=... python -m aarlab.llm.mcp_server --address LAB/run/aarlab.sock --name ada --workspace .
    AARLAB_TOKEN=... AARLAB_MCP_TOKEN=... python -m aarlab.llm.mcp_server ... --http --port 8765

Over stdio the client starts it. Over HTTP it listens on loopback only, unless told otherwise, and wants a bearer
token; Host and Origin of every request are checked, so that a web page in a browser cannot reach it. Methods are read
from, and written into, the one workspace that it was given.
"""

from __future__ import annotations

import argparse
import hmac
import ipaddress
import os
import secrets
import socket
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, ParamSpec, TypeVar

import anyio
import anyio.to_thread
import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl, Field

import aarlab
from aarlab.client import LabClient
from aarlab.errors import AarlabError, ConfigError, InputError
from aarlab.execution.check import MOST_BYTES
from aarlab.llm import prompts
from aarlab.researchers import findings
from aarlab.researchers.quoting import cut, one_line, quoted
from aarlab.researchers.told import MOST
from aarlab.researchers.toolbox import MOST_WAIT, Toolbox, advice

P = ParamSpec("P")
T = TypeVar("T")

LOOPBACK = "127.0.0.1"
PATH = "/mcp"
LEAST_TOKEN = 16  # characters of a bearer token
SYNC_SECONDS = 60.0
WAIT_SECONDS = 45  # many clients give up on a tool after a minute

Transport = Literal["stdio", "http"]
Kind = Literal["result", "hypothesis", "insight", "error"]
Number = Annotated[int, Field(ge=0)]


def serve(
    address: str | Path, lab_token: str, workspace: str | Path, name: str = "", transport: Transport = "stdio",
    host: str = LOOPBACK, port: int = 0, token: str = "",
) -> None:  # fmt: skip
    """Serve one researcher's seat until the client closes it (stdio) or a signal comes (http).

    address: of the lab's service, as LabClient takes it. lab_token: the researcher's. token: what HTTP clients must
    send as `Authorization: Bearer TOKEN`; where it is empty, a fresh one is made and told on stderr. port: 0 takes a
    free one.
    Raises ConfigError, Unauthorised, or Infrastructure where no lab answers.
    """
    desk = Desk(LabClient(address, lab_token, patience=20.0), Path(workspace), name)
    if transport == "stdio":
        anyio.run(server(desk).run_stdio_async)
        return
    listener = _listen(host, port)
    token = token or secrets.token_urlsafe(24)
    if len(token) < LEAST_TOKEN:
        raise ConfigError(f"the token has {len(token)} characters; {LEAST_TOKEN} are the least")
    at = listener.getsockname()[1]
    url = f"http://{_bracketed(host)}:{at}{PATH}"
    app = server(desk, token, url).streamable_http_app(
        streamable_http_path=PATH, host=host, transport_security=_allowed(host, at)
    )
    print(f"{url}  (Authorization: Bearer {token})", file=sys.stderr, flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


def for_lab(
    lab: Path, researcher: str = "", workspace: Path | None = None, transport: Transport = "stdio", port: int = 0
) -> None:
    """`aarlab mcp [LAB] --researcher NAME`: the seat of a researcher of a lab on this machine.

    workspace: by default the researcher's folder in the lab. The HTTP token comes from AARLAB_MCP_TOKEN, if set.
    """
    from aarlab import settings as settings_file
    from aarlab.fleet import spec

    one = spec.find(settings_file.read(lab / "lab.toml"), researcher)
    place = workspace or lab / "workspaces" / one.name
    place.mkdir(parents=True, exist_ok=True)
    serve(
        lab / "run" / "aarlab.sock", spec.tokens(lab)["researchers"][one.name], place, one.name, transport, port=port,
        token=os.environ.get("AARLAB_MCP_TOKEN", ""),
    )  # fmt: skip


class Desk:
    """One researcher behind MCP: its toolbox, its workspace, and how the lab learns that it lives."""

    def __init__(self, lab: LabClient, workspace: Path, name: str = "") -> None:
        if not workspace.is_dir():
            raise ConfigError(f"the workspace {workspace} is no folder; make it, or name another")
        self.lab, self.workspace = lab, workspace.resolve()
        you = lab.brief()["you"] or {}
        self.name = name or str(you.get("name", "researcher"))
        self.toolbox = Toolbox(lab, self.name)
        self.ended = ""
        self._next_sync = 0.0

    async def ask(self, what: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A blocking call to the lab, in a thread. Raises ToolError with the sentence of `advice`."""

        def work() -> T:
            found = call(*args, **kwargs)
            self.live(what)
            return found

        try:
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except AarlabError as error:
            raise ToolError(advice(error)) from None

    def live(self, what: str) -> None:
        """Heartbeat, and now and then others' findings as files; a lab that refuses changes nothing."""
        try:
            reply = self.lab.heartbeat(f"over MCP: {what}")
            self.ended = f"The lab says that research is over (phase {reply['phase']})." if reply["stop"] else ""
            if time.monotonic() >= self._next_sync:
                self._next_sync = time.monotonic() + SYNC_SECONDS
                findings.sync(self.lab, self.workspace / "shared")
        except (AarlabError, OSError):
            return

    def said(self, text: str) -> str:
        """A tool's answer, and whether research is over."""
        return f"{text}\n\n{self.ended}" if self.ended else text

    # Files

    def read(self, path: str) -> str:
        """A method file of the workspace. Raises InputError."""
        place = self._inside(path)
        try:
            file = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise InputError(f"{one_line(path, 200)} cannot be read: {error.strerror}") from None
        with os.fdopen(file, "rb") as opened:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise InputError(f"{one_line(path, 200)} is no file")
            data = opened.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise InputError(f"{one_line(path, 200)} is too large; a method file has at most {MOST_BYTES} bytes")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{one_line(path, 200)} is not UTF-8 text: byte {error.start} is none of it") from None

    def write(self, path: str, text: str) -> None:
        """A file into the workspace. Raises InputError."""
        place = self._inside(path)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            findings.write_atomically(place, text)
        except OSError as error:
            raise InputError(f"{one_line(path, 200)} cannot be written: {error.strerror}") from None

    def _inside(self, path: str) -> Path:
        """The path with its links followed. Raises InputError outside the workspace."""
        if "\x00" in path:
            raise InputError("path: there is a NUL character in it; leave it out")
        place = (self.workspace / path).resolve()
        if place == self.workspace or self.workspace not in place.parents:
            raise InputError(f"{one_line(path, 200)} is not in the workspace {self.workspace}; give a path inside it")
        return place


def server(desk: Desk, token: str = "", url: str = "") -> MCPServer[None]:
    """The MCP server of one desk. token: what HTTP clients must send."""
    made: MCPServer[None] = MCPServer(
        name="aarlab",
        title="aarlab laboratory",
        version=aarlab.__version__,
        instructions=prompts.outside(desk.name),
        log_level="WARNING",
        auth=AuthSettings(issuer_url=AnyHttpUrl(url), resource_server_url=None) if token else None,
        token_verifier=OneToken(token, desk.name) if token else None,
    )
    _reading(made, desk)
    _writing(made, desk)
    return made


class OneToken:
    """Knows one bearer token."""

    def __init__(self, token: str, name: str) -> None:
        self.token, self.name = token, name

    async def verify_token(self, token: str) -> AccessToken | None:
        """Who it is; None for any other token."""
        if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self.token.encode()):
            return None
        return AccessToken(token=token, client_id=self.name, scopes=[])


def _reading(made: MCPServer[None], desk: Desk) -> None:
    box = desk.toolbox

    @made.tool(structured_output=False)
    async def brief() -> str:
        """The problem, its tasks, tracks and limits, how methods are scored and what is audited. Call this first."""
        return desk.said(await desk.ask("brief", box.brief))

    @made.tool(structured_output=False)
    async def budget() -> str:
        """What is left: submissions, Ladder answers, time, tokens and dollars, yours and the team's."""
        return desk.said(await desk.ask("budget", box.budget))

    @made.tool(structured_output=False)
    async def leaderboard() -> str:
        """Records of the whole team, published baselines, and the accuracy that the next record needs."""
        return desk.said(await desk.ask("leaderboard", box.leaderboard))

    @made.tool(structured_output=False)
    async def submission(number: Number = 0) -> str:
        """The state and score of one of your submissions; without a number, a list of yours."""
        return desk.said(await desk.ask("submission", box.submission, number))

    @made.tool(structured_output=False)
    async def get_method(number: Number, path: str = "") -> str:
        """The source of a scored method, of anybody in the team; with `path`, also written there in the workspace."""

        def work() -> str:
            found = box.get_method(number)
            if path:
                desk.write(path, found.source)
                return f"{found.text}\nIts source is in {path}. It is another's file: read it before you run it."
            source = cut(quoted(found.source), MOST, "give a path to have the whole file written")
            return f"{found.text}\nIts source, every line behind a mark:\n{source}"

        return desk.said(await desk.ask("get_method", work))

    @made.tool(structured_output=False)
    async def forum_read(number: Number = 0, since: Number = 0) -> str:
        """Read the team's forum: one post with its replies, or the newest posts (only those after number `since`)."""
        return desk.said(await desk.ask("forum_read", box.forum_read, number, since))

    @made.tool(structured_output=False)
    async def forum_search(text: str) -> str:
        """Find posts in whose title or body a text occurs."""
        return desk.said(await desk.ask("forum_search", box.forum_search, text))


def _writing(made: MCPServer[None], desk: Desk) -> None:
    box = desk.toolbox

    @made.tool(structured_output=False)
    async def submit(
        path: Annotated[str, Field(description="the method file, in the workspace; or give `source`")] = "",
        source: Annotated[str, Field(description="the method file's text, instead of a path")] = "",
        name: Annotated[str, Field(description="a short name for the leaderboard; by default the file's")] = "",
        track: Annotated[str, Field(description="a track of brief(); by default the file's `# track:` line")] = "",
        family: Annotated[str, Field(description="a family of brief(); by default the file's `# family:` line")] = "",
        parent: Annotated[int, Field(ge=0, description="the submission that it builds on; 0 for none")] = 0,
        claimed_pgr: Annotated[float | None, Field(description="the PGR you measured on the open task")] = None,
        note: Annotated[str, Field(description="what is new about it and why it should work")] = "",
        wait_seconds: Annotated[
            int, Field(ge=0, description="how long to wait for the score, at most 600")
        ] = WAIT_SECONDS,
    ) -> str:
        """Hand a method file in. The lab runs it on hidden items and answers "new record" or "no new record".

        The file defines run(task, seed). While it is scored you may go on working; submission(number) asks again.
        """

        def work() -> str:
            if bool(path) == bool(source):
                raise InputError("give either path, a file of the workspace, or source, the text itself")
            text = source or desk.read(path)
            called = name or (Path(path).stem if path else "method")
            wait = min(wait_seconds, int(MOST_WAIT))
            return box.submit(text, called, track, family, parent, claimed_pgr, note, wait).text

        return desk.said(await desk.ask("submit", work))

    @made.tool(structured_output=False)
    async def forum_post(
        kind: Kind, title: str, body: str, parent: Number = 0, submission: Number = 0, family: str = ""
    ) -> str:
        """Write to the team's forum: a result, hypothesis, insight or error, with numbers and seeds.

        parent: the post that it answers. submission: the one that it is about; the lab shows its score beside it.
        """

        def work() -> str:
            return box.forum_post(kind, title, body, parent, submission, family).text

        return desk.said(await desk.ask("forum_post", work))


# HTTP


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError for an address that cannot be used."""
    try:
        if ipaddress.ip_address(host).is_unspecified:
            raise ConfigError(f"{host} is every address of this machine; name the one that clients will use")
    except ValueError:
        pass  # a name
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited; else answers wait 40 ms for an ACK
        return listener
    except OSError as error:
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def _allowed(host: str, port: int) -> TransportSecuritySettings:
    """The Host and Origin headers that a request to this address can honestly have."""
    names = {host, LOOPBACK, "localhost"} if host in (LOOPBACK, "localhost", "::1") else {host}
    places = [f"{_bracketed(n)}:{port}" for n in sorted(names)]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=places, allowed_origins=[f"http://{p}" for p in places]
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def main(argv: list[str] | None = None) -> int:
    """Serve; exit code 2 with a sentence for what cannot be."""
    parser = argparse.ArgumentParser(prog="python -m aarlab.llm.mcp_server", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--address", required=True, help="the lab's socket, or http://127.0.0.1:PORT")
    parser.add_argument("--name", default="", help="the researcher's name, for display")
    parser.add_argument("--workspace", type=Path, default=Path(), help="the folder that methods are read from")
    parser.add_argument("--http", action="store_true", help="streamable HTTP instead of stdio")
    parser.add_argument("--host", default=LOOPBACK, help="where to listen; by default loopback only")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    asked = parser.parse_args(argv)
    try:
        if "AARLAB_TOKEN" not in os.environ:
            raise ConfigError("AARLAB_TOKEN is not set; it is the researcher's token in the lab's run/tokens.json")
        serve(
            asked.address, os.environ["AARLAB_TOKEN"], asked.workspace, asked.name, "http" if asked.http else "stdio",
            asked.host, asked.port, os.environ.get("AARLAB_MCP_TOKEN", ""),
        )  # fmt: skip
    except AarlabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
