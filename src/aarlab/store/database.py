"""A lab's database: SQLite in WAL mode, many readers, one writer at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError

from aarlab.errors import Infrastructure
from aarlab.store.migrations import migrate, newest, schema
from aarlab.store.rows import Rows

WAIT_SECONDS = 30
"""For which a writer waits for the one before it."""

PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", f"busy_timeout={1000 * WAIT_SECONDS}")


def open_engine(path: Path) -> Engine:
    """An engine whose transactions begin as their execution option `begin` says (default: a plain read)."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"check_same_thread": False, "timeout": WAIT_SECONDS},
        pool_size=50,
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
        self._turn = threading.Lock()
        with storage_errors(path):
            self._bring_up_to_date()

    def _bring_up_to_date(self) -> None:
        """Add what newer versions of aarlab keep, after a copy of the file: `lab.schema-N.db` beside it."""
        with self._transaction("BEGIN") as c:
            seen = schema(c)
        if seen == newest():
            return
        if seen:
            backup = self.path.with_name(f"{self.path.stem}.schema-{seen}{self.path.suffix}")
            if not backup.exists():
                connection = self.engine.raw_connection()
                try:
                    connection.cursor().execute("VACUUM INTO ?", (str(backup),))
                finally:
                    connection.close()
        with self._transaction("BEGIN IMMEDIATE") as c:
            migrate(c)

    @contextmanager
    def write(self) -> Iterator[Rows]:
        with self._own_turn(), storage_errors(self.path), self._transaction("BEGIN IMMEDIATE") as c:
            yield Rows(c)

    @contextmanager
    def read(self) -> Iterator[Rows]:
        with storage_errors(self.path), self._transaction("BEGIN") as c:
            yield Rows(c)

    def watcher(self) -> Callable[[], int]:
        """A function whose number changes whenever another connection has written; for one thread at a time."""
        connection = self.engine.raw_connection()

        def version() -> int:
            with storage_errors(self.path):
                return int(connection.cursor().execute("PRAGMA data_version").fetchone()[0])

        return version

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        """This process's writers go one after the other: SQLite lets them ask again and again, and some wait long."""
        if not self._turn.acquire(timeout=WAIT_SECONDS):
            raise Infrastructure(f"{self.path}: another write has gone on for {WAIT_SECONDS} s; the work is retried")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self.engine.connect().execution_options(begin=begin) as c, c.begin():
            yield c

    def close(self) -> None:
        self.engine.dispose()
