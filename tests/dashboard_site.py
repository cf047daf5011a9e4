"""A dashboard on a real socket, and Chromium to look at it. For tests; `served` and `chromium` are context managers."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from aarlab.dashboard.app import create_app
from aarlab.dashboard.labs import Labs
from aarlab.dashboard.security import Doors

SCREENSHOTS = Path(__file__).parent.parent / "build" / "screenshots"


class Site:
    """A dashboard of the labs below one folder. `link(role)`: a fresh login link."""

    def __init__(self, labs: Labs, doors: Doors, address: str) -> None:
        self.labs, self.doors, self.address = labs, doors, address

    def link(self, role: str = "operator") -> str:
        return f"{self.address}/login?key={self.doors.login_link(role)}"

    def settle(self, name: str) -> None:
        """Wait until everything dear of a lab has been computed."""
        lab, end = self.labs.get(name), time.monotonic() + 120
        lab.snapshot()
        while time.monotonic() < end:
            found = lab.snapshot()
            if not found.drawing and (found.phase != "done" or found.report is not None):
                return
            time.sleep(0.2)
        raise AssertionError(f"{name} did not settle")


@contextmanager
def served(root: Path, tokens: list[tuple[str, str]] = []) -> Iterator[Site]:  # noqa: B006
    labs = Labs(root)
    doors = Doors(lambda: tokens)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(labs, doors), log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        labs.start()
        try:
            while not server.started:
                time.sleep(0.02)
            yield Site(labs, doors, f"http://127.0.0.1:{listening.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join(10)
            labs.close()


@contextmanager
def chromium() -> Iterator[object]:
    """A browser; skips where there is none."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no Chromium (`apt-get install chromium`)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def until(page, script: str, seconds: float = 60) -> None:
    """Wait until an expression is true in the page. Playwright's own way needs eval, which our policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(script):
        assert time.monotonic() < end, f"{script} was not true within {seconds:g} s; {page.url}: {page.title()}"
        page.wait_for_timeout(200)
