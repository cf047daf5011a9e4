"""A run is started, watched, messaged, stopped, resumed and ended from the browser alone; the ledger has every step."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from aarlab.fleet.lock import holder
from aarlab.store import Store
from aarlab.vault.verify import verify
from dashboard_site import chromium, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@contextmanager
def dashboard(root):
    """`aarlab serve`, as a person starts it; its login link."""
    argv = [sys.executable, "-m", "aarlab", "serve", "--labs", str(root), "--port", "0"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield next(m.group(0) for line in process.stdout if (m := re.search(r"http://\S+/login\?key=\S+", line)))
    finally:
        process.terminate()
        process.wait(20)


def ask(page, label, accept=False):
    """Press a button, and where a dialog asks, say yes."""
    page.get_by_role("button", name=label, exact=True).first.click()
    if accept:
        page.locator("dialog[open] button").filter(has_text=re.compile("yes|do it|go on|" + label, re.I)).first.click()


def test_a_run_from_the_browser_alone(tmp_path):
    root = tmp_path / "labs"
    with dashboard(root) as link, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(link)
        page.get_by_text("No lab here yet").wait_for()
        page.fill("#name", "mine")
        page.fill("#researchers", "3")
        page.fill("#minutes", "2.5")
        page.fill("#answers", "9")
        page.fill("#seeds", "2")
        ask(page, "Start")
        page.wait_for_url("**/labs/mine", timeout=60_000)
        page.locator("#part_state").wait_for(timeout=120_000)
        until(page, "document.querySelector('#part_state')?.classList.contains('running')")

        # watched: the first verified score comes in by itself
        page.evaluate("window.still = 'the same page'")
        until(page, "document.querySelector('#part_head').innerText.includes('recovers')", 180)
        until(page, "document.querySelector('.chart svg') !== null")
        assert page.evaluate("window.still") == "the same page"

        # messaged
        page.fill("#say", "Mind the <b>tiny</b> test batches")
        ask(page, "Send")
        until(page, "document.querySelector('#part_events').innerText.includes('Message to everyone')"
                       " || location.pathname.endsWith('/forum')")  # fmt: skip
        page.goto(link.split("/login")[0] + "/labs/mine")

        # stopped, and it stays so
        ask(page, "Stop the run", accept=True)
        until(page, "document.querySelector('#part_state')?.classList.contains('stopped')")
        assert holder(root / "mine") is None

        # resumed
        page.reload()
        ask(page, "Resume")
        until(page, "document.querySelector('#part_state')?.classList.contains('running')")
        assert holder(root / "mine") is not None

        # ended, with numbers of record
        page.reload()
        ask(page, "End research now", accept=True)
        until(page, "document.querySelector('#part_state')?.innerText.includes('done')", 400)
        page.reload()
        until(page, "document.querySelector('#part_head').innerText.includes('record task')", 60)
        end = time.monotonic() + 60
        while holder(root / "mine") is not None and time.monotonic() < end:
            time.sleep(0.5)
        browser_words = page.inner_text("#part_events")
        assert "control" in browser_words
    store = Store(root / "mine" / "lab.db")
    with store.read() as rows:
        done = [(x.body["action"], x.body["by"]) for x in rows.lines_of("control")]
        titles = [p.title for p in rows.posts()]
    store.close()
    assert {"start", "message", "stop", "resume", "end research"} <= {action for action, _ in done}
    assert all("dashboard" in by for _, by in done)
    assert "Message to everyone" in titles
    assert verify(root / "mine")
