"""A lab's database: SQLite in WAL mode, many readers, one writer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError

from aarlab.errors import Infrastructure
from aarlab.store.migrations import migrate
from aarlab.store.rows import Rows

PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000")


def open_engine(path: Path) -> Engine:
    """An engine whose transactions begin as their execution option `begin` says (default: a plain read)."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"check_same_thread": False, "timeout": 30}, pool_size=50
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # else the driver begins transactions by itself, and too late
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(str(connection.get_execution_options().get("begin", "BEGIN")))

    return engine


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """A full disk, a lock held for half a minute or a damaged file is our failure, never the caller's."""
    try:
        yield
    except OperationalError as error:
        raise Infrastructure(f"{path}: {error.orig}; free space or check the disk, the work is retried") from error
    except DatabaseError as error:
        if "malformed" in str(error.orig) or "not a database" in str(error.orig):
            raise Infrastructure(f"{path}: {error.orig}; restore the lab folder from a copy") from error
        raise


class Store:
    """`with store.write() as rows:` is one transaction, taken at once (BEGIN IMMEDIATE); `read()` is a snapshot."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = open_engine(path)
        with storage_errors(path), self._transaction("BEGIN IMMEDIATE") as c:
            migrate(c)

    @contextmanager
    def write(self) -> Iterator[Rows]:
        with storage_errors(self.path), self._transaction("BEGIN IMMEDIATE") as c:
            yield Rows(c)

    @contextmanager
    def read(self) -> Iterator[Rows]:
        with storage_errors(self.path), self._transaction("BEGIN") as c:
            yield Rows(c)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self.engine.connect().execution_options(begin=begin) as c, c.begin():
            yield c

    def close(self) -> None:
        self.engine.dispose()
