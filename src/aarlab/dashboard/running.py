"""Finding the dashboard that runs on a folder of labs, and getting a link to it.

A running dashboard holds a lock on `.dashboard.json` in its folder of labs. The file says the process, the port and a
secret with which `aarlab serve --link` asks for login links at the dashboard's own address. It belongs to the user
alone (mode 0600); one that somebody else owns or can read is believed by nobody.

What this does not protect against:

- Other processes of the same user, methods that run under isolation `process` among them: they can read the file.
- Other users of the machine see the command line of a browser that is being started, and so the link that it opens.
  They would have to use it sooner than the browser does; the link works once, so this would be noticed.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import select
import shlex
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

from aarlab.errors import AarlabError, Infrastructure, InputError, LabBusy, UnknownName

LABS = Path("labs")
FILE, LOG = ".dashboard.json", ".dashboard.log"

WAIT_SECONDS = 30.0
"""For a dashboard that is starting."""


@dataclass(frozen=True)
class Place:
    """A folder of labs, and the name of the lab that a link leads to; empty: to the list of all labs."""

    root: Path
    lab: str = ""


@dataclass(frozen=True)
class Running:
    """A dashboard that runs."""

    pid: int
    port: int
    secret: str = field(repr=False)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def place(lab: Path | None, labs: Path | None = None) -> Place:
    """What a command means. Raises UnknownName where `lab` is no lab folder, and InputError where `labs` is another
    folder than the one it lies in."""
    if lab is None:
        return Place((labs or LABS).resolve())
    if not (lab / "lab.toml").is_file():
        raise UnknownName(f"{lab} is no lab folder: it has no lab.toml; name a folder of labs with --labs")
    found = lab.resolve()
    if labs is not None and found.parent != labs.resolve():
        raise InputError(f"{lab} does not lie in {labs}; leave --labs out")
    return Place(found.parent, found.name)


# Being found


@contextlib.contextmanager
def only_dashboard(root: Path) -> Iterator[IO[str]]:
    """Hold the folder's file; the kernel lets go of it however the process ends. Raises LabBusy, or InputError."""
    with _open(root, os.O_RDWR | os.O_CREAT) as file:
        if not _lock(file, 1.0):  # a moment's patience with those who only ask whether one runs
            check_free(root)
            raise LabBusy(f"the dashboard of {root} is just ending; try again")
        os.fchmod(file.fileno(), 0o600)
        try:
            yield file
        finally:
            announce(file, None)


def check_free(root: Path) -> None:
    """Raises LabBusy where a dashboard runs on this folder."""
    found = running(root)
    if found is not None:
        raise LabBusy(
            f"a dashboard runs on {root} already, at {found.address} (process {found.pid}); "
            f"`{command(root)} --link` makes a link to it"
        )


def running(root: Path) -> Running | None:
    """The dashboard of a folder of labs, waited for while it starts. Raises InputError for a file not to be trusted."""
    try:
        file = _open(root, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with file:
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            if _lock(file, 0.0, fcntl.LOCK_SH):
                return None
            file.seek(0)
            with contextlib.suppress(ValueError, TypeError):
                return Running(**json.loads(file.read()))
            time.sleep(0.1)
    raise Infrastructure(f"the dashboard of {root} has not come up within {WAIT_SECONDS:g} s; look at its terminal")


def _open(root: Path, flags: int) -> IO[str]:
    """The folder's file, if it is the user's alone. Raises FileNotFoundError, or InputError."""
    path = root / FILE
    try:
        file = os.fdopen(os.open(path, flags | os.O_NOFOLLOW, 0o600), "r+" if flags & os.O_RDWR else "r")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}); remove it, or name other --labs") from None
    found = os.fstat(file.fileno())
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        file.close()
        raise InputError(f"{path} is not yours alone, so it is not trusted; remove it and start the dashboard again")
    return file


def _lock(file: IO[str], patience: float, kind: int = fcntl.LOCK_EX) -> bool:
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)


def announce(file: IO[str], found: Running | None) -> None:
    """Say in the file that is held where the dashboard can be reached; None: no longer."""
    file.seek(0)
    file.truncate()
    file.write(json.dumps(asdict(found)) if found else "")
    file.flush()


# Links


def link(address: str, key: str, lab: str = "") -> str:
    """The address that lets a browser in once."""
    return leading(f"{address}/login?key={quote(key)}", lab)


def leading(url: str, lab: str) -> str:
    """A login link that leads to a lab's first page, or for an empty name to the list of labs."""
    return f"{url}&lab={quote(lab, safe='')}" if lab else url


def ask(where: Place, role: str) -> str:
    """A fresh link from the dashboard that runs on this folder. Raises InputError where none does."""
    found = running(where.root)
    if found is None:
        raise InputError(f"no dashboard runs on {where.root}; start one with `{command(where.root)}`")
    connection = http.client.HTTPConnection("127.0.0.1", found.port, timeout=10)
    headers = {"Authorization": f"Bearer {found.secret}", "Content-Type": "application/x-www-form-urlencoded",
               "Accept": "application/json"}  # fmt: skip
    try:
        connection.request("POST", "/login/links", urlencode({"role": role}), headers)
        reply = connection.getresponse()
        answer = json.loads(reply.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Infrastructure(
            f"the dashboard at {found.address} (process {found.pid}) does not answer ({error}); end that process"
        ) from None
    finally:
        connection.close()
    if reply.status != 200:
        raise Infrastructure(f"the dashboard at {found.address} made no link: {answer.get('error', reply.status)}")
    return leading(str(answer["url"]), where.lab)


def sentences(found: dict[str, Any]) -> str:
    """What a terminal says of a dashboard that has come up. found: as `command.serve` tells it."""
    again = command(Path(found["root"]))
    return (
        f"dashboard:    {found['url']}\n"
        f"to look only: {found['viewer_url']}\n"
        f"Each link works once, within ten minutes; `{again} --link` or `--viewer-link` makes another.\n"
        "Ctrl-C ends the dashboard; runs go on."
    )


def command(root: Path) -> str:
    """What to type for a folder of labs."""
    return "aarlab serve" if root == LABS.resolve() else f"aarlab serve --labs {shlex.quote(str(root))}"


def show(url: str) -> bool:
    """Open a browser, or say that there is none. One for terminals is never taken: this terminal is in use."""
    graphical = sys.platform != "linux" or any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    with contextlib.suppress(webbrowser.Error, OSError):
        if graphical and webbrowser.open(url):
            return True
    print("there is no browser here that could be opened; open the link yourself", file=sys.stderr)
    return False


# Beside a run


def open_beside(lab: Path) -> None:
    """Show a run that is about to begin in a browser: by the dashboard of its folder, else by a new one.

    The new one is a process of its own: it ends with Ctrl-C at this terminal, or once no lab runs and nobody has
    looked for ten minutes. A run never fails for the sake of its dashboard: what goes wrong is said.
    """
    try:
        where = place(lab)
        url = _start(where) if running(where.root) is None else ask(where, "operator")
    except (AarlabError, OSError) as error:
        print(f"no dashboard: {error}", file=sys.stderr)
        return
    print(f"dashboard: {url} (works once; `{command(where.root)} --link` makes another)", file=sys.stderr)
    show(url)


def _start(where: Place) -> str:
    """Start a dashboard that ends by itself; the link to it. What it warns of goes to a file beside the labs."""
    log = where.root / LOG
    argv = [sys.executable, "-m", "aarlab", "serve", str(where.root / where.lab), "--until-idle", "--json"]
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as errors:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
    assert child.stdout is not None
    with child.stdout as out:
        told = select.select([out], [], [], WAIT_SECONDS)[0] and out.readline()
    if told:
        return str(json.loads(told)["url"])
    if running(where.root) is not None:  # another run's, started in the same moment
        return ask(where, "operator")
    raise Infrastructure(f"it did not start, and {log} says why; `{command(where.root)}` starts one")
