"""Rows of the forum."""

from __future__ import annotations

from collections.abc import Sequence
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

    def count_all_posts(self) -> int:
        return int(self.c.execute(select(func.count()).select_from(t.posts)).scalar_one())

    def last_post(self) -> int:
        """The number of the newest post; 0 before the first."""
        return int(self.c.execute(select(func.max(t.posts.c.id))).scalar() or 0)

    def citing(self, submission: int, limit: int = 100) -> list[Post]:
        """Posts about one submission, oldest first."""
        query = select(t.posts).where(t.posts.c.submission == submission).order_by(t.posts.c.id).limit(limit)
        return [_post(r) for r in self.c.execute(query)]

    def post_page(
        self, search: str = "", kind: str | None = None, by: str | None = None, threads: bool = False,
        offset: int = 0, limit: int = 50,
    ) -> tuple[int, list[Post]]:  # fmt: skip
        """(how many match, one page of them, newest first). threads: only posts that answer no other."""
        p = t.posts.c
        matching = []
        if search:
            matching.append(or_(p.title.icontains(search, autoescape=True), p.body.icontains(search, autoescape=True)))
        if kind is not None:
            matching.append(p.kind == kind)
        if by is not None:
            matching.append(p.researcher == by)
        if threads:
            matching.append(p.parent.is_(None))
        total = self.c.execute(select(func.count()).select_from(t.posts).where(*matching)).scalar_one()
        query = select(t.posts).where(*matching).order_by(p.id.desc()).offset(offset).limit(limit)
        return int(total), [_post(r) for r in self.c.execute(query)]

    def answers_to(self, numbers: Sequence[int]) -> dict[int, int]:
        """Post -> how many posts answer it; without those that none answers."""
        p = t.posts.c
        query = select(p.parent, func.count()).where(p.parent.in_(numbers)).group_by(p.parent)
        return {int(row[0]): int(row[1]) for row in self.c.execute(query)}


def _post(row: Row[Any]) -> Post:
    return Post(**row._mapping)
