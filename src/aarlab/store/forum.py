"""Rows of the forum."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, func, insert, or_, select

from aarlab.records import Post
from aarlab.store import tables as t
from aarlab.store.base import Base


class ForumRows(Base):
    def add_post(self, post: Post) -> Post:
        """Insert; the returned post carries its number (the given id is ignored)."""
        values = asdict(post)
        values.pop("id")
        number = self.c.execute(insert(t.posts).values(**values)).inserted_primary_key
        assert number is not None
        return Post(id=number[0], **values)

    def post(self, number: int) -> Post | None:
        found = self.c.execute(select(t.posts).where(t.posts.c.id == number)).one_or_none()
        return None if found is None else _post(found)

    def posts(
        self, search: str = "", kind: str | None = None, since: int = 0, limit: int | None = None,
        parent: int | None = None,
    ) -> list[Post]:  # fmt: skip
        """The newest `limit` posts that match, oldest first. `search` is plain text; `since` the last post known."""
        p = t.posts.c
        query = select(t.posts).where(p.id > since).order_by(p.id.desc())
        if search:
            query = query.where(
                or_(p.title.icontains(search, autoescape=True), p.body.icontains(search, autoescape=True))
            )
        if kind is not None:
            query = query.where(p.kind == kind)
        if parent is not None:
            query = query.where(p.parent == parent)
        if limit is not None:
            query = query.limit(limit)
        return [_post(r) for r in self.c.execute(query)][::-1]

    def count_posts(self, researcher: str) -> int:
        query = select(func.count()).where(t.posts.c.researcher == researcher)
        return int(self.c.execute(query).scalar_one())


def _post(row: Row[Any]) -> Post:
    return Post(**row._mapping)
