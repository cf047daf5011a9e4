"""What the row classes share."""

from __future__ import annotations

from sqlalchemy import Connection


class Base:
    """A group of questions to the database; `c` is the open transaction."""

    c: Connection
