"""The schema, step by step. A database remembers how many steps it has seen; opening it runs the rest in order."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, text

from aarlab.errors import InputError
from aarlab.store.tables import POST_INDEXES, accounts, events, findings, ideas, metadata, practice, spending, verdicts


def first_tables(c: Connection) -> None:
    metadata.create_all(c)


def audit_tables(c: Connection) -> None:
    """Findings and verdicts; a new database has them from the first step on."""
    metadata.create_all(c, tables=[findings, verdicts])


def practice_table(c: Connection) -> None:
    """Practice answers."""
    metadata.create_all(c, tables=[practice])


def model_tables(c: Connection) -> None:
    """What researchers that are language models leave: steps, calls, accounts, and families of ideas."""
    metadata.create_all(c, tables=[events, spending, accounts, ideas])


def post_indexes(c: Connection) -> None:
    """Posts by what they answer, what they are about, and who wrote them."""
    for index in POST_INDEXES:
        index.create(c, checkfirst=True)


STEPS: list[Callable[[Connection], None]] = [first_tables, audit_tables, practice_table, model_tables, post_indexes]
"""Never edit a step that has shipped; append one."""


def newest() -> int:
    """The number of steps that this version knows."""
    return len(STEPS)


def schema(c: Connection) -> int:
    """How many steps a database has seen; 0 for a new one."""
    known = c.execute(text("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'")).scalar()
    return int(c.execute(text("SELECT version FROM schema_version")).scalar() or 0) if known else 0


def migrate(c: Connection) -> None:
    """Bring the database to the newest schema, inside the caller's transaction."""
    c.execute(text("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"))
    seen = c.execute(text("SELECT version FROM schema_version")).scalar()
    if seen is None:
        c.execute(text("INSERT INTO schema_version VALUES (0)"))
    done = int(seen or 0)
    if done > len(STEPS):
        raise InputError(
            f"the database has schema {done} and this aarlab knows schemas up to {len(STEPS)}; use a newer aarlab"
        )
    for step in STEPS[done:]:
        step(c)
    c.execute(text("UPDATE schema_version SET version = :n"), {"n": len(STEPS)})
