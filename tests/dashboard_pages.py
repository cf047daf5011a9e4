"""Pages without a server: a lab folder, a template, and a parser that names whatever may not stand in a page."""

from __future__ import annotations

from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

from aarlab.dashboard import catalogue, render
from aarlab.dashboard.lab import WatchedLab
from aarlab.dashboard.words import ATTRIBUTES, TAGS

VOID = {"br", "hr", "img", "input", "link", "meta", "base", "source", "embed"}


def shown(
    lab: WatchedLab, here: str, page: dict[str, Any], role: str = "operator", query: dict[str, str] | None = None
) -> str:
    """The HTML of a page of the catalogue, as somebody with that role sees it."""
    found, view = lab.snapshot(), catalogue.VIEWS[here]
    person = SimpleNamespace(role=role, csrf="c5rf")
    return render.page(view.template, {
        "lab": catalogue.brief(found), "page": page, "here": here, "person": person, "query": query or {},
        "address": f"/labs/{found.name}{view.path.split('{', 1)[0]}", "live": "",
    })  # fmt: skip


def parts(lab: WatchedLab, here: str, page: dict[str, Any]) -> dict[str, str]:
    """The live parts of a page, as a stream sends them: without anybody who looks."""
    return render.parts(
        catalogue.VIEWS[here].template, {"lab": catalogue.brief(lab.snapshot()), "page": page, "here": here}
    )


class Reading(HTMLParser):
    """Everything that HTML holds: `tags`, `attributes` as (tag, name, value), `text`; and `open` ones at its end."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data[:80]}")

    def handle_decl(self, decl: str) -> None:
        self.tags.append("!" + decl.lower())

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data[:80]}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data[:80]}")


def check_quoted(html: str) -> Reading:
    """HTML of somebody's text: allowed tags, closed in order, allowed attributes, links to the web alone."""
    found = Reading(html)
    assert set(found.tags) <= TAGS
    assert found.open == []
    for tag, name, value in found.attributes:
        assert name in ATTRIBUTES.get(tag, ()) or (tag, name) == ("a", "rel"), (tag, name)
        if name == "href":
            assert value.lower().startswith(("http://", "https://"))
        if name == "start":
            assert value.isdecimal()
    return found


def check_page(html: str) -> Reading:
    """A whole page: scripts, styles and forms are ours, nothing handles events, nothing is fetched from elsewhere."""
    found = Reading(html)
    assert found.open == []
    # theme.js, idiomorph.js and app.js, which brings the charts' runtime where one is shown
    assert found.tags.count("script") == 3
    assert not {"style", "img", "iframe", "object", "embed", "base", "math"} & set(found.tags)
    for tag, name, value in found.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("style", "srcset", "formaction", "http-equiv"), (tag, name)
        if name == "src":
            assert value.startswith("/static/")
        if name in ("href", "action") and tag != "a":
            assert value.startswith("/")
            assert not value.startswith("//")
        if name == "href" and tag == "a":
            ours = value.startswith(("/", "#", "?")) and not value.startswith("//")
            assert ours or value.lower().startswith(("http://", "https://")), value
    return found
