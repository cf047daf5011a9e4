"""Whether a page is harmless, however hostile the text on it: read as a browser reads it, for tests."""

from __future__ import annotations

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Collects what no text of a researcher may become."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "script" and not given.get("src", "").startswith("/static/"):
            self.found.append("a script of its own")
        if tag in ("img", "iframe", "object", "embed", "style", "base", "video", "audio"):
            self.found.append(f"<{tag}>")
        self.found += [f"{name}= on <{tag}>" for name in given if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action", "formaction"):
            if given.get(name, "/")[:1] not in ("/", "#", "?") and not given[name].startswith(("http:", "https:")):
                self.found.append(f"{name}={given[name]!r} on <{tag}>")


def harmful(html: str) -> list[str]:
    """What is wrong with a page or a part of one; nothing, if all is well."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader.found
