"""The dashboard's own script in a real browser, on small pages under the security policy of the real ones."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import threading
import time
from contextlib import contextmanager
from html import escape
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn
import vl_convert
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles

from aarlab.dashboard import live, render
from aarlab.dashboard.security import HEADERS
from aarlab.records import Estimate
from aarlab.reports import figures
from dashboard_site import chromium

HOSTILE = '<img src=x onerror="window.hurt = 1"><script>window.hurt = 1</script>'

HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>page</title>
<script src="/static/theme.js"></script>
<link rel="stylesheet" href="/static/base.css"><link rel="stylesheet" href="/static/app.css">
<link rel="preload" as="script" data-vega href="/static/vega.js">
<script src="/static/idiomorph.js" defer></script><script src="/static/app.js" defer></script></head>"""

BAR = """<p><span class="live" id="live" role="status" aria-live="polite"></span>
<button type="button" data-theme-toggle aria-label="Colours: automatic">o</button>
<button type="button" data-help aria-label="Keyboard shortcuts">?</button>
<a href="/other" data-key="l">Leaderboard</a></p>"""

CHART = """<figure class="figure">
<div class="chart" data-src="/charts/time.json?about=x" data-title="PGR over time" data-name="time"></div></figure>"""

FORM = """<form method="post" action="/act"{}><input type="hidden" name="csrf" value="k"><input id="text" name="text">
<button name="way" value="out">Stop</button> <span data-answer role="status"></span></form>"""

SEARCH = '<form><input type="search" id="box" name="text" aria-label="Text"></form>'


def chart(width, points=3):
    scores = [
        figures.Scored(i, "ada", float(i), Estimate(i / 4, i / 4 - 0.1, i / 4 + 0.1, 5, 99), i / 4)
        for i in range(points)
    ]
    drawn = figures.pgr_over_time(scores, {"weak-labels-hard": Estimate(0.3, 0.2, 0.4, 5, 99)}, 4.0, width)
    made = vl_convert.vegalite_to_vega(drawn.to_dict(validate=False))
    for data in made["data"]:  # tips as a page's chart has them, with a researcher's hostile words
        for row in data.get("values", []):
            if "under" in row:
                row |= {"tip": f"#{row['m']:.0f} {HOSTILE}", "href": f"/other?point={row['m']:.0f}"}
    return made


def kinds(width):
    """Charts of each build that report and pages have: panels side by side, legends, shapes, links, shaded ranges."""
    score = Estimate(0.5, 0.4, 0.6, 5, 99)
    panel = figures.Panel("one", {"winner": score, "weak-labels-hard": score})
    events = [figures.Event("ada", float(i), k, "m", i, i - 1 or None) for i, k in enumerate(("scored", "failed"), 1)]
    mark = figures.Measured("#1", 0.4, 0.3, 0.5, 0.2, None, "as declared")
    return {
        "tasks": figures.by_task([panel] * 2, "winner", width),
        "claims": figures.claimed_against_measured([figures.Claim(1, 0.9, score, "feedback")], width),
        "activity": figures.activity(events, ["ada"], 3.0, width),
        "audits": figures.audits([figures.Channel("labels", (mark,))], ["#1"], width),
    }


class Site:
    """Pages, live parts and answers that a test sets; it can be stopped and started again at the same address."""

    def __init__(self):
        self.html, self.parts, self.points = "", {}, 3
        self.refuses, self.asked, self.posted = 0, [], []
        self.listening, self.port = None, 0
        self.listen()
        self.address = f"http://127.0.0.1:{self.port}"

    def listen(self):
        self.listening = socket.socket()
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listening.bind(("127.0.0.1", self.port))
        self.port = self.listening.getsockname()[1]

    def start(self):
        if self.listening is None:
            self.listen()
        self.beat()
        config = uvicorn.Config(self.app(), log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.listening],), daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def stop(self):
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(10)
        self.listening.close()
        self.listening = None

    def beat(self):
        self.pulse = live.Pulse(lambda page: dict(self.parts), 0.02)

    def send(self, **parts):
        self.parts |= parts
        self.pulse.changed()

    def app(self):
        app = FastAPI()
        app.add_api_route("/static/base.css", lambda: FileResponse(render.STYLE))
        app.mount("/static", StaticFiles(directory=render.HERE / "static"))

        @app.middleware("http")
        async def strict(request, call_next):
            answer = await call_next(request)
            answer.headers.update(HEADERS)
            return answer

        @app.get("/charts/{name}.json")
        def draw(name: str, width: int):
            self.asked.append((name, width))
            if name == "broken":
                return JSONResponse({"error": "the lab's database is locked; try again"}, 503)
            if name in (found := kinds(width)):
                return JSONResponse(vl_convert.vegalite_to_vega(found[name].to_dict(validate=False)))
            return JSONResponse(chart(width, self.points)) if self.points else Response(status_code=204)

        @app.get("/live")
        async def stream(request: Request):
            if self.refuses:
                return JSONResponse({"error": "open the link that `aarlab serve` prints"}, self.refuses)
            found = live.stream(self.pulse, "run", request.is_disconnected)
            return StreamingResponse(found, media_type="text/event-stream")

        @app.post("/act")
        async def act(request: Request):
            await asyncio.sleep(0.1)
            fields = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
            self.posted.append(fields | {"accept": request.headers["accept"]})
            if fields.get("text") == "bad":
                return JSONResponse({"error": f"the text is 'bad' {HOSTILE}"}, 400)
            return JSONResponse({"text": f"done {HOSTILE}", "go": "/other"})

        @app.get("/{path:path}")
        def page(path: str):
            return HTMLResponse(self.html)

        return app


@pytest.fixture(scope="module")
def site():
    made = Site()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "RETRY", b"retry: 100\n\n")
        made.start()
        yield made
        made.stop()


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def tab(browser, site):
    """One tab for all tests; `complaints` holds script errors and broken rules of the security policy."""
    context = browser.new_context(viewport={"width": 1240, "height": 700}, reduced_motion="reduce")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.complaints = []
    page.on("pageerror", lambda e: page.complaints.append(str(e)))
    page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
    yield page
    context.close()


@pytest.fixture
def show(site, tab):
    """Show a page made of some HTML, live or not; afterwards nothing may have complained, unless a test says so."""
    tab.goto("about:blank")
    site.parts, site.points, site.refuses = {}, 3, 0
    site.pulse.close()
    site.beat()
    site.asked.clear()
    site.posted.clear()
    tab.complaints.clear()
    tab.set_viewport_size({"width": 1240, "height": 700})

    def go(html, live=False):
        site.html = f"{HEAD}<body{' data-live=/live' if live else ''}><main>{html}</main>{BAR}</body></html>"
        tab.goto(site.address)
        if live:
            status(tab, "live")
        return tab

    yield go
    assert tab.evaluate("window.hurt") is None
    assert tab.complaints == []


@contextmanager
def complaining(tab, pattern):
    """For tests in which the browser rightly reports an error."""
    yield
    tab.complaints[:] = [c for c in tab.complaints if not re.search(pattern, c)]


def status(tab, text):
    tab.wait_for_function("t => document.querySelector('#live').textContent.startsWith(t)", arg=text)


def until(tab, holds):
    """A function: an expression would be evaluated again and again, which the policy forbids."""
    tab.wait_for_function(f"() => {holds}")


def texts(tab, selector):
    return tab.eval_on_selector_all(selector, "all => all.map(e => e.textContent)")


# Charts


def test_a_chart_is_drawn_under_the_strict_policy(show):
    """An SVG without eval and without inline styles in markup, and with a name."""
    tab = show(CHART)
    tab.wait_for_selector(".chart svg")
    found = " ".join(texts(tab, ".chart svg text"))
    assert "fleet best" in found
    assert "0 = teacher" in found
    image = tab.get_by_role("img", name=re.compile("PGR over time"))
    assert image.count() == 1
    assert tab.locator(".chart .note").is_hidden()


def test_the_runtime_draws_every_kind_of_chart(show):
    """Nothing that the report's charts need was left out of the runtime."""
    names = list(kinds(760))
    tab = show("".join(CHART.replace("time", n) for n in names))
    for i in range(len(names)):
        tab.evaluate(f"document.querySelectorAll('.chart')[{i}].scrollIntoView()")
        tab.locator(".chart").nth(i).locator("svg path").first.wait_for(state="attached")
    assert set(texts(tab, ".chart .note")) == {""}


def test_charts_change_colours_with_the_theme(show):
    """The palette's dark counterpart is shown where the theme is dark, in the same drawing."""
    tab = show(CHART)
    tab.wait_for_selector(".chart svg")
    dark = figures.PALETTE[figures.BEST]
    for theme, colour in (("light", figures.BEST), ("dark", dark)):
        tab.evaluate("t => document.documentElement.dataset.theme = t", theme)
        path = f".chart svg [stroke='{figures.BEST}']"
        got = tab.eval_on_selector(path, "e => getComputedStyle(e).stroke")
        assert got == f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"


def test_a_chart_is_asked_for_in_its_width_and_again_when_that_changes(show, site):
    """Widths are rounded down to what the server keeps; the drawing never sticks out."""
    tab = show(CHART)
    tab.wait_for_selector(".chart svg")
    assert site.asked == [("time", 1020)]
    for width, expected in ((800, 760), (390, 340)):
        tab.set_viewport_size({"width": width, "height": 700})
        until(tab, f"Math.abs({expected - 25} - document.querySelector('.chart svg').getAttribute('width')) < 26")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert [w for _, w in site.asked] == [1020, 760, 340]


def test_far_charts_wait_until_they_come_near(show, site):
    """What is below the fold costs nothing."""
    tab = show('<svg width="10" height="3000"></svg>' + CHART)
    tab.wait_for_timeout(200)
    assert site.asked == []
    tab.evaluate("document.querySelector('.chart').scrollIntoView()")
    tab.wait_for_selector(".chart svg")


def test_points_tell_about_themselves_to_pointer_and_keyboard(show):
    """A tip is text whatever researchers wrote; arrows walk through the points, Enter and a click follow them."""
    tab = show(CHART)
    drawing = tab.locator(".chart [role=img]")
    drawing.locator("svg").wait_for()
    tab.keyboard.press("Tab")
    assert tab.locator(".tip").inner_text() == f"#2 {HOSTILE}"
    tab.keyboard.press("ArrowLeft")
    assert tab.locator(".tip").inner_text() == f"#1 {HOSTILE}"
    tab.keyboard.press("Escape")
    assert tab.locator(".tip").is_hidden()
    points = tab.locator(".chart svg .mark-symbol path")
    box = points.first.bounding_box()
    tab.mouse.move(box["x"] + 8, box["y"] + 3)
    assert tab.locator(".tip").inner_text() == f"#0 {HOSTILE}"
    tab.mouse.move(5, 5)
    assert tab.locator(".tip").is_hidden()
    drawing.focus()
    tab.keyboard.press("Home")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/other?point=0")


def test_a_chart_says_why_it_shows_nothing(show, site):
    """Loading, no data yet, and the server's sentence are words."""
    site.points = 0
    tab = show(CHART + CHART.replace("time", "broken"))
    until(tab, "[...document.querySelectorAll('.note')].every(n => n.textContent != 'loading')")
    assert texts(tab, ".note") == ["no data yet", "This chart cannot be shown: the lab's database is locked; try again"]
    with complaining(tab, "503"):
        pass


def test_a_chart_is_drawn_again_when_it_has_changed(show, site):
    """A message names the chart and its version; another chart's costs no request."""
    site.parts = {"chart:time": "1", "chart:other": "1"}
    tab = show(CHART, live=True)
    tab.wait_for_selector(".chart svg")
    site.send(**{"state:": "it has begun"})
    status(tab, "it has begun")
    until(tab, "[...charts.values()].every(chart => !chart.busy)")
    before = len(site.asked)
    site.points = 5
    site.send(**{"chart:other": "2", "state:": "another is drawn"})
    status(tab, "another is drawn")
    assert len(site.asked) == before
    site.send(**{"chart:time": "2"})
    until(tab, "document.querySelectorAll('.chart svg .mark-symbol path').length == 5")
    assert len(site.asked) == before + 1


def test_a_part_brings_a_chart_and_keeps_it(show, site):
    """A chart that comes with an update is drawn; later ones leave its drawing where it is."""
    tab = show('<div id="part"><p>none</p></div>', live=True)
    for word in ("one", "two"):
        site.send(part=f'<div id="part"><p>{word}</p>{CHART}</div>')
        until(tab, f"document.querySelector('#part p').textContent == '{word}'")
        tab.wait_for_selector(".chart svg")
        tab.evaluate("window.drawn ??= document.querySelector('.chart svg')")
    assert tab.evaluate("window.drawn === document.querySelector('.chart svg')")
    assert len(site.asked) == 1


# Live parts


def test_parts_are_renewed_and_what_the_reader_did_stays(show, site):
    """Open details and the focus hold; rows are known by their ids, new ones are marked for a moment."""

    def part(first, items):
        return (
            f'<section id="part"><h2>{first}</h2><details><summary>more</summary>words</details>'
            f"<ol>{''.join(f'<li id=row-{i}><a href=/{i}>{i}</a></li>' for i in items)}</ol></section>"
        )

    tab = show(part("one", "cba"), live=True)
    tab.click("summary")
    tab.focus("a[href='/b']")
    tab.evaluate("window.row = document.activeElement")
    site.send(part=part("two", "edcba"))
    until(tab, "document.querySelector('h2').textContent == 'two'")
    assert texts(tab, "li") == list("edcba")
    assert texts(tab, "[data-fresh]") == ["e", "d"]
    assert tab.evaluate("document.querySelector('details').open")
    assert tab.evaluate("document.activeElement === window.row && window.row.isConnected")
    site.send(part=part("three", "ab"))
    until(tab, "document.querySelector('h2').textContent == 'three'")
    assert texts(tab, "li") == ["a", "b"]
    assert tab.evaluate("document.querySelector('details').open")


def test_scrolling_holds(show, site):
    """A box that was scrolled stays where it is while its text changes."""

    def part(n):
        return f'<pre id="part">{"".join(f"{i} {n}{chr(10)}" for i in range(200))}</pre>'

    tab = show(part(1), live=True)
    style = "Object.assign(document.querySelector('#part').parentElement.style, {height: '100px', overflow: 'auto'})"
    tab.evaluate(style)
    tab.evaluate("document.querySelector('#part').parentElement.scrollTop = 500")
    site.send(part=part(2))
    until(tab, "document.querySelector('#part').textContent.startsWith('0 2')")
    assert tab.evaluate("document.querySelector('#part').parentElement.scrollTop") == 500


def test_what_is_half_written_stays(show, site):
    """Words and choices hold, and a field in which somebody types is not taken away; around it all is renewed."""

    def part(word, form="<form><input id=field value=was><input type=checkbox></form>"):
        return f'<div id="part"><p>{word}</p><progress max=9 value={len(word)}></progress>{form}</div>'

    tab = show(part("one"), live=True)
    tab.check("[type=checkbox]")
    tab.fill("#field", "half a sen")
    site.send(part=part("three"))
    until(tab, "document.querySelector('#part p').textContent == 'three'")
    assert tab.evaluate("document.querySelector('progress').value") == 5
    assert tab.is_checked("[type=checkbox]")
    assert tab.input_value("#field") == "half a sen"
    site.send(part=part("none", form=""))
    until(tab, "document.querySelector('#part p').textContent == 'none'")
    assert tab.input_value("#field") == "half a sen"
    tab.evaluate("document.activeElement.blur()")
    site.send(part=part("left", form=""))
    until(tab, "document.querySelector('#part p').textContent == 'left'")
    assert tab.locator("#field").count() == 0


def test_hostile_text_in_a_part_stays_text(show, site):
    """Escaped by a template it is words; markup that slipped through would still run nothing."""
    tab = show('<p id="part">one</p><p id="slipped">one</p>', live=True)
    site.send(part=f'<p id="part">{escape(HOSTILE)}</p>', slipped=f'<p id="slipped">{HOSTILE}</p>')
    until(tab, "document.querySelector('#part').textContent != 'one'")
    assert texts(tab, "#part") == [HOSTILE]
    tab.wait_for_selector("#slipped img")
    tab.wait_for_timeout(100)
    assert tab.evaluate("window.hurt") is None
    with complaining(tab, "Content Security Policy|404"):
        pass


def test_a_form_in_a_part_keeps_its_answer(show, site):
    """What the server said to a form is not wiped by the next update."""

    def part(word):
        return f'<div id="part"><p>{word}</p>{FORM.format("")}</div>'

    tab = show(part("one"), live=True)
    tab.click("#part button")
    until(tab, "document.querySelector('[data-answer]').textContent.startsWith('done')")
    site.send(part=part("two"))
    until(tab, "document.querySelector('#part p').textContent == 'two'")
    assert texts(tab, "[data-answer]")[0].startswith("done")


# Connection


def test_a_lost_connection_is_said_and_mended(show, site):
    """While the server is away the page says since when; afterwards it catches up by itself."""
    tab = show('<p id="part">one</p>' + CHART, live=True)
    tab.wait_for_selector(".chart svg")
    site.stop()
    status(tab, "connection lost, trying again; last seen just now")
    site.parts, site.points = {"part": '<p id="part">two</p>', "chart:time": "2"}, 4
    site.start()
    status(tab, "live")
    until(tab, "document.querySelector('#part').textContent == 'two'")
    until(tab, "document.querySelectorAll('.chart svg .mark-symbol path').length == 4")
    with complaining(tab, "ERR_|net::"):
        pass


def test_who_is_logged_out_is_told_how_to_get_back(show, site):
    """A session that ended is not tried again for ever; the sentence names the remedy."""
    tab = show('<p id="part">one</p>', live=True)
    site.refuses = 401
    site.pulse.close()
    site.beat()
    status(tab, "Logged out; get a new link: open the link")
    with complaining(tab, "401|ERR_|net::"):
        pass


def test_a_server_that_fails_is_tried_again(show, site):
    """An error page in place of the stream ends the browser's own tries; the script goes on with them."""
    tab = show('<p id="part">one</p>', live=True)
    tab.evaluate("PAUSE_MS[0] = 100")
    site.refuses = 503
    site.pulse.close()
    status(tab, "connection lost")
    site.parts, site.refuses = {"part": '<p id="part">two</p>'}, 0
    site.beat()
    until(tab, "document.querySelector('#part').textContent == 'two'")
    status(tab, "live")
    with complaining(tab, "503|ERR_|net::"):
        pass


# Times


def test_times_are_relative_and_exact_on_hover(show):
    """`3 min ago`, with the exact moment as its title; a moment to come is `in 2 h`."""

    def moment(seconds):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))

    stamps = [moment(s) for s in (1, 42, 190, 7300, 200_000, -7300)]
    tab = show("".join(f'<time datetime="{s}" title="exact" data-relative>then</time>' for s in stamps))
    first, second, *others = texts(tab, "time")
    assert (first, others) == ("just now", ["3 min ago", "2 h ago", "2 d ago", "in 2 h"])
    assert re.fullmatch("4[2-9] s ago", second)
    assert tab.get_attribute("time", "title") == "exact"


# Forms


def test_a_form_is_answered_in_place(show, site):
    """The server's sentence appears as text beside the button, errors marked; two clicks send it once."""
    tab = show(FORM.format(""), live=True)
    tab.fill("#text", "bad")
    tab.evaluate("const b = document.querySelector('form button'); b.click(); b.click()")
    tab.wait_for_selector("[data-answer].bad")
    assert texts(tab, "[data-answer]") == [f"the text is 'bad' {HOSTILE}"]
    assert site.posted == [{"csrf": "k", "text": "bad", "way": "out", "accept": "application/json"}]
    assert tab.input_value("#text") == "bad"
    tab.fill("#text", "good")
    tab.click("form button")
    until(tab, "document.querySelector('[data-answer]').textContent.startsWith('done')")
    assert tab.input_value("#text") == ""
    assert tab.get_attribute("[data-answer] a", "href") == "/other"
    with complaining(tab, "400"):
        pass


def test_a_form_on_a_page_that_does_not_renew_itself_goes_on(show, site):
    """Without live updates the result is a page further."""
    tab = show(FORM.format(""))
    tab.click("form button")
    tab.wait_for_url("**/other")


def test_a_dangerous_form_asks_first(show, site):
    """A dialog with the form's question; the safe button has the focus, Escape is no, and no script dialog appears."""
    tab = show(FORM.format(f' data-confirm="Stop this run? {escape(HOSTILE)}"'), live=True)
    for answer in ("Escape", "Enter"):  # Enter presses what has the focus
        tab.click("form button")
        tab.get_by_role("dialog", name=f"Stop this run? {HOSTILE}").wait_for()
        tab.keyboard.press(answer)
        tab.wait_for_selector("dialog", state="detached")
    assert site.posted == []
    tab.click("form button")
    tab.locator("dialog button", has_text="Stop").click()
    until(tab, "document.querySelector('[data-answer]').textContent.startsWith('done')")
    assert len(site.posted) == 1


# Theme, keyboard, copying


def test_the_theme_is_kept_and_there_before_anything_is_drawn(show, site):
    """Automatic, light, dark, in turn; the choice is set by the script in the head, so nothing flashes."""
    tab = show("<p>x</p>")
    toggle = tab.get_by_role("button", name=re.compile("Colours"))
    seen = []
    for _ in range(3):
        toggle.click()
        seen.append((tab.evaluate("document.documentElement.dataset.theme"), toggle.get_attribute("aria-label")))
    assert seen == [("light", "Colours: light"), ("dark", "Colours: dark"), ("auto", "Colours: automatic")]
    toggle.click()
    toggle.click()
    tab.add_init_script(
        "new MutationObserver(() => { if (document.body) window.early ??= document.documentElement.dataset.theme })"
        ".observe(document, {childList: true, subtree: true})"
    )
    tab.reload()
    assert tab.evaluate("window.early") == "dark"
    assert tab.get_by_role("button", name="Colours: dark").count() == 1
    tab.evaluate("localStorage.clear()")


def test_keys_lead_to_pages_and_to_the_filter(show):
    """`g l` goes to a page, `/` to the search, `?` lists them; while one types they are letters; they can be off."""
    tab = show(SEARCH)
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.id") == "box"
    tab.keyboard.type("g l?/")
    assert tab.input_value("#box") == "g l?/"
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("?")
    dialog = tab.get_by_role("dialog", name="Keyboard shortcuts")
    assert "g l" in dialog.inner_text()
    assert "Leaderboard" in dialog.inner_text()
    dialog.get_by_role("checkbox").uncheck()
    tab.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    tab.keyboard.type("?gl")
    assert tab.locator("dialog").count() == 0
    tab.click("[data-help]")
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Close").click()
    tab.keyboard.type("gl")
    tab.wait_for_url("**/other")
    assert urlsplit(tab.url).path == "/other"


def test_copy_buttons_copy_text(show):
    """What the element holds, character for character, and the button says so for a moment."""
    tab = show(
        f'<pre id="code">two\nlines {escape(HOSTILE)}</pre><button type="button" data-copy-from="code">copy</button>'
    )
    tab.click("[data-copy-from]")
    until(tab, "document.querySelector('[data-copy-from]').textContent == 'copied'")
    assert tab.evaluate("navigator.clipboard.readText()") == f"two\nlines {HOSTILE}"
    until(tab, "document.querySelector('[data-copy-from]').textContent == 'copy'")


# What is shipped


def test_what_others_wrote_is_what_was_built():
    """The checksums of the note hold, every licence is there, and nothing asks another machine for anything."""
    folder = render.HERE / "static"
    note = (folder / "README.md").read_text()
    listed = {name: sum for sum, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", note, re.M)}
    assert listed.keys() == {"vega.js", "vega.LICENSES.txt", "idiomorph.js"}
    for name, expected in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
    licences = (folder / "vega.LICENSES.txt").read_text()
    assert {"vega-view", "vega-interpreter", "d3-scale"} <= set(re.findall(r"^([a-z0-9-]+) \d", licences, re.M))
    assert "Permission to use, copy, modify, and/or distribute" in (folder / "idiomorph.js").read_text()
    found = {a for f in folder.glob("*.js") for a in re.findall(r"https?://[\w./-]+", f.read_text())}
    assert all(a.startswith("http://www.w3.org/") for a in found), "names of XML, not addresses"
