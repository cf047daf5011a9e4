"""What others found, as local files: `findings/*.md` for posts, `methods/*.py` for verified methods.

Files are easier to search and reread than a service, and they are still there when the service is not.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aarlab.errors import UnknownName
from aarlab.researchers.quoting import MARK, WARNING, fingerprint, one_line, quoted


class Forum(Protocol):
    """The part of a lab client that is needed here."""

    def posts(
        self, search: str = "", kind: str | None = None, since: int = 0, limit: int = 100
    ) -> list[dict[str, Any]]: ...

    def methods(self) -> list[dict[str, Any]]: ...

    def method(self, number: int) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Method:
    """A scored method of some researcher and where its file lies."""

    id: int
    researcher: str
    name: str
    record_pgr: float | None  # what the lab announced; None without a new record
    path: Path

    @property
    def source(self) -> str:
        return self.path.read_text("utf-8")


@dataclass(frozen=True)
class News:
    """What was not there at the last reading, oldest first."""

    posts: list[dict[str, Any]]
    methods: list[Method]


def sync(lab: Forum, workspace: Path) -> News:
    """Fetch what is new and write it into `findings/` and `methods/`."""
    return News(sync_posts(lab, workspace / "findings"), sync_methods(lab, workspace / "methods"))


def sync_posts(lab: Forum, folder: Path) -> list[dict[str, Any]]:
    """Write posts that are not there yet, one Markdown file each."""
    folder.mkdir(parents=True, exist_ok=True)
    known = max((_number(p) for p in folder.glob("*.md")), default=0)
    fresh = lab.posts(since=known)
    for post in fresh:
        write_atomically(folder / f"{post['id']:05d}-{post['kind']}-{_slug(post['title'])}.md", _page(post))
    return fresh


def sync_methods(lab: Forum, folder: Path) -> list[Method]:
    """Write verified methods that are not there yet, one Python file each."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {_number(p) for p in folder.glob("*.py")}
    fresh = []
    for row in lab.methods():
        if row["id"] in known:
            continue
        try:
            source = lab.method(row["id"])["source"]
        except UnknownName:  # withdrawn in between
            continue
        path = folder / f"{row['id']:05d}-{_slug(row['name'])}.py"
        write_atomically(path, source)
        fresh.append(Method(row["id"], row["researcher"], row["name"], row.get("record_pgr"), path))
    return fresh


def write_atomically(path: Path, text: str) -> None:
    """All of the text or none of it, whenever the process dies."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _page(post: dict[str, Any]) -> str:
    """The post as data: who wrote it and its hash, then every line of it behind a mark."""
    verified = post.get("verified")
    title, body = one_line(post["title"], 300), post["body"]
    lines = [f"{post['kind']} by {post['researcher']}, post {post['id']}, sha256 {fingerprint(body)}"]
    if post.get("parent"):
        lines.append(f"reply to post {post['parent']}")
    if verified:
        name = one_line(verified["name"])
        lines.append(f"cites submission {verified['id']} ({name}): {verified.get('answer') or verified['status']}")
    return "\n".join([*lines, WARNING, "", f"{MARK}# {title}", MARK, quoted(body), ""])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48] or "untitled"


def _number(path: Path) -> int:
    found = re.match(r"(\d+)-", path.name)
    return int(found[1]) if found else 0
