"""Every page in a real browser, on a recorded lab with nine researchers and 500 submissions."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest

from aarlab.records import Post
from aarlab.store import Store
from dashboard_site import SCREENSHOTS, chromium, served, until
from recorded_lab import make

pytestmark = pytest.mark.timeout(600)

LAB, RUNNING = "recorded", "under-way"
SHOTS = [
    (1280, "light"), pytest.param(390, "dark", marks=pytest.mark.slow),
    pytest.param(1280, "dark", marks=pytest.mark.slow), pytest.param(390, "light", marks=pytest.mark.slow),
]  # fmt: skip
"""Width and theme; the first is always looked at."""

AXE_LEVELS = ("serious", "critical")
TALL = 1500  # pixels of a page that its picture shows
DRAWN = """(() => {
    const drawn = c => c.querySelector('svg') || !['', 'loading'].includes(c.innerText.trim());
    const next = [...document.querySelectorAll('.chart')].find(c => !drawn(c));
    next?.scrollIntoView(); // a chart is fetched when it comes near
    return !next;
})()"""
OFFERED = """[...document.querySelectorAll('.chart')].every(
    c => c.closest('figure').querySelector('a[download][href*=".csv"]'))"""
STATIC_LIMIT = 100_000  # bytes of a page with its style and script, without the charts' runtime


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labs")
    make(folder / LAB, submissions=500, posts=200, hostile=True)
    make(folder / RUNNING, submissions=60, posts=30, phase="research", seed=1)
    return folder


@pytest.fixture(scope="module")
def site(root):
    with pytest.MonkeyPatch.context() as patch, served(root) as found:
        patch.setenv("HOME", str(root.parent))  # pages then name the labs by short paths
        found.settle(LAB)
        found.settle(RUNNING)
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def state(site, browser):
    """A browser that was let in as operator."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(site.link())
    found = context.storage_state()
    context.close()
    return found


class Watch:
    """A page, and everything suspicious that it did."""

    def __init__(self, browser, state, width=1280, theme="light"):
        self.context = browser.new_context(
            storage_state=state, viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.complaints, self.elsewhere = [], []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("dialog", lambda d: (self.complaints.append(f"dialog {d.message}"), d.dismiss()))
        self.page.on("request", self._asked)

    def _asked(self, request):
        if urlsplit(request.url).hostname not in ("127.0.0.1", None):
            self.elsewhere.append(request.url)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


def hostile_post(root):
    with Store(root / LAB / "lab.db").read() as rows:
        return next(p.id for p in rows.posts() if "<script" in p.body)


def best(site):
    return site.labs.get(LAB).snapshot().best.submission.id


PAGES = {
    "home": "/", "run": "/labs/recorded", "leaderboard": "/labs/recorded/leaderboard",
    "submission": "/labs/recorded/submissions/{best}", "forum": "/labs/recorded/forum",
    "thread": "/labs/recorded/forum/{hostile}", "researcher": "/labs/recorded/researchers/{person}",
    "ideas": "/labs/recorded/ideas", "trust": "/labs/recorded/trust",
    "compare": "/compare?lab=recorded&lab=under-way",
}  # fmt: skip


@pytest.fixture(scope="module")
def addresses(site, root):
    people = [r.name for r in site.labs.get(LAB).snapshot().people if r.kind == "llm"]
    about = {"best": best(site), "hostile": hostile_post(root), "person": people[0]}
    return {name: site.address + path.format(**about) for name, path in PAGES.items()}


@pytest.mark.parametrize(("width", "theme"), SHOTS)
@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_whole_accessible_and_stays_at_home(browser, state, addresses, name, width, theme):
    """No script error, no broken rule of the security policy, nothing fetched from elsewhere, nothing wider than the
    screen, axe finds nothing serious; the picture is kept."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with Watch(browser, state, width, theme) as w:
        answer = w.page.goto(addresses[name])
        assert answer.status == 200
        until(w.page, DRAWN, 180)
        assert w.page.evaluate(OFFERED), "each chart's numbers are one link away"
        w.page.evaluate("window.scrollTo(0, 0)")
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        clip = {"x": 0, "y": 0, "width": width, "height": min(TALL, w.page.evaluate("document.body.scrollHeight"))}
        w.page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{theme}.png", full_page=True, clip=clip)
        assert w.page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.Axe().run(w.page).response["violations"]
        serious = {v["id"]: [n["html"][:120] for n in v["nodes"][:3]] for v in found if v["impact"] in AXE_LEVELS}
        assert serious == {}
        assert w.complaints == []
        assert w.elsewhere == []


def test_hostile_forum_text_stays_inert(browser, state, site, root):
    """Scripts, handlers, javascript: links, images and direction marks of every post are words and nothing else."""
    with Store(root / LAB / "lab.db").read() as rows:
        posts = [p for p in rows.posts() if any(m in p.body + p.title for m in ("<", "javascript:", "![", "‮"))]
    assert posts
    with Watch(browser, state) as w:
        for post in posts:
            w.page.goto(f"{site.address}/labs/{LAB}/forum/{post.id}")
            markup = "document.querySelectorAll('main script, main img, main iframe, main style').length"
            assert w.page.evaluate(markup) == 0
            hrefs = w.page.evaluate("[...document.querySelectorAll('main .quoted a')].map(a => a.getAttribute('href'))")
            assert all(h.startswith(("http://", "https://")) for h in hrefs)
            names = "[...document.querySelectorAll('main *')].flatMap(e => e.getAttributeNames())"
            assert not [n for n in w.page.evaluate(names) if n.startswith("on")]
            assert "‮" not in w.page.inner_text("main")
        assert w.complaints == []
        assert w.elsewhere == []


def test_a_page_changes_while_one_looks_at_it(browser, state, site, root):
    """A post that is written to the lab appears among the events, without a reload, and it alone is marked as new."""
    with Watch(browser, state) as w:
        w.page.goto(f"{site.address}/labs/{RUNNING}")
        w.page.evaluate("window.still = 'the same page'")
        with Store(root / RUNNING / "lab.db").write() as rows:
            person = next(r.name for r in rows.researchers() if r.role == "researcher")
            rows.add_post(Post(0, person, "insight", "Just now <b>written</b>", "", 4_000_000_000.0))
        w.page.get_by_text("Just now <b>written</b>").wait_for(timeout=15_000)
        assert w.page.evaluate("window.still") == "the same page"
        fresh = w.page.locator("#part_events > li[data-fresh]").all_inner_texts()
        assert len(fresh) == 1
        assert "Just now <b>written</b>" in fresh[0]


@pytest.mark.parametrize("name", [n for n in PAGES if n != "thread"])
def test_each_page_has_a_twin_in_json_and_is_light(site, addresses, name):
    """The same address as data; and a page with its style and script weighs less than 100 kB on the wire, without the
    charts' runtime."""
    import httpx

    with httpx.Client(follow_redirects=True) as client:
        typed = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        client.get(site.link("viewer"), headers={"Accept": "text/html", **typed})
        twin = client.get(addresses[name], headers={"Accept": "application/json"})
        assert twin.status_code == 200, twin.text
        assert isinstance(json.loads(twin.text), dict)
        page = client.get(addresses[name], headers={"Accept": "text/html"})
        assert page.status_code == 200
        files = {f for f in re.findall(r"/static/[^\"]+", page.text) if "vega" not in f}
        assert len(files) >= 4
        weight = sum(client.get(site.address + f).num_bytes_downloaded for f in files) + page.num_bytes_downloaded
        assert weight < STATIC_LIMIT
