"""Rows of the forum."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, or_, select

from aarlab.records import Post
from aarlab.store import tables as t
from aarlab.store.base import Base, made

LINKS = "SELECT json_group_array(p.id), json_group_array(q.id) FROM posts AS p LEFT JOIN posts AS q ON q.id = p.parent"
"""In two long texts: a row for each post costs several times as much."""


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
        """The newest `limit` posts that match, oldest first. search, kind: `_matches`; since: the last post known."""
        p = t.posts.c
        query = select(t.posts).where(p.id > since, *_matches(search, kind)).order_by(p.id.desc())
        if parent is not None:
            query = query.where(p.parent == parent)
        if limit is not None:
            query = query.limit(limit)
        return made(Post, self.c.execute(query))[::-1]

    def count_posts(self, researcher: str) -> int:
        query = select(func.count()).where(t.posts.c.researcher == researcher)
        return int(self.c.execute(query).scalar_one())

    def count_all_posts(self) -> int:
        return int(self.c.execute(select(func.count()).select_from(t.posts)).scalar_one())

    def citing(self, submission: int, limit: int = 100) -> list[Post]:
        """Posts about one submission, oldest first."""
        query = select(t.posts).where(t.posts.c.submission == submission).order_by(t.posts.c.id).limit(limit)
        return made(Post, self.c.execute(query))

    def post_parents(self) -> dict[int, int | None]:
        """Every post and the one that it answers, oldest first; None also where that one is gone."""
        ids, parents = self.c.exec_driver_sql(LINKS).one()
        return dict(sorted(zip(json.loads(ids), json.loads(parents), strict=True)))

    def post_times(self, by: str) -> dict[int, float]:
        """Posts of one name and when they were written (Unix seconds)."""
        p = t.posts.c
        query = select(func.json_group_array(p.id), func.json_group_array(p.created)).where(p.researcher == by)
        ids, times = self.c.execute(query).one()
        return dict(sorted(zip(json.loads(ids), json.loads(times), strict=True)))

    def matching_posts(self, search: str = "", kind: str | None = None, by: str | None = None) -> list[int]:
        """Numbers of the posts that match, newest first. search, kind: `_matches`."""
        p = t.posts.c
        query = select(func.json_group_array(p.id)).where(*_matches(search, kind))
        if by is not None:
            query = query.where(p.researcher == by)
        return sorted(json.loads(self.c.execute(query).scalar_one()), reverse=True)

    def post_heads(self, numbers: Collection[int], characters: int) -> dict[int, tuple[Post, int]]:
        """Post -> (its row with no more than so many characters of the body, the characters of the whole body)."""
        p = t.posts.c
        columns = [c for c in p if c.name != "body"]
        query = select(*columns, func.substr(p.body, 1, characters).label("body"), func.length(p.body).label("whole"))
        found = {}
        for row in self.c.execute(query.where(p.id.in_(numbers))):
            values = dict(row._mapping)
            whole = int(values.pop("whole"))
            found[row.id] = (Post(**values), whole)
        return found


def _matches(search: str, kind: str | None) -> list[ColumnElement[bool]]:
    """search: plain text in the title or the body, "" for any; ASCII letters match in either case, as LIKE has it."""
    p, found = t.posts.c, []
    if search:
        found.append(or_(p.title.contains(search, autoescape=True), p.body.contains(search, autoescape=True)))
    if kind is not None:
        found.append(p.kind == kind)
    return found


def _post(row: Row[Any]) -> Post:
    return Post(**row._mapping)
