"""What the row classes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Result

T = TypeVar("T")


class Base:
    """A group of questions to the database; `c` is the open transaction."""

    c: Connection


def made(kind: Callable[..., T], found: Result[Any]) -> list[T]:
    """A record of each row, whose columns are its fields.

    The names are asked for once: where a row is asked for them, that takes longer than all else.
    """
    names = tuple(found.keys())
    return [kind(**dict(zip(names, row, strict=True))) for row in found.all()]
