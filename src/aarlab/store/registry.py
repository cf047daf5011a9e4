"""How many answers this machine has given on each label set, over all its labs.

A lab counts its own answers in its own database; this small file adds them up, so that a second run on the same
labels starts with the first one's answers on its account. It lies in the user's state folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Column, Connection, Float, Integer, MetaData, Table, Text, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from aarlab.errors import Infrastructure
from aarlab.store.database import open_engine, storage_errors

metadata = MetaData()

label_sets = Table(
    "label_sets", metadata,
    Column("data_hash", Text, primary_key=True),
    Column("lab", Text, primary_key=True),
    Column("folder", Text, nullable=False),
    Column("answers", Integer, nullable=False),
    Column("bits", Float, nullable=False),
)  # fmt: skip


@dataclass(frozen=True)
class Earlier:
    """What other labs of this machine were told about a label set."""

    labs: int
    answers: int
    bits: float


def state_file(environment: Mapping[str, str] = os.environ) -> Path:
    """`$AARLAB_STATE`, else `$XDG_STATE_HOME/aarlab/answers.db`, else the same under ~/.local/state."""
    if named := environment.get("AARLAB_STATE"):
        return Path(named)
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "aarlab" / "answers.db"


class Registry:
    """The file, opened. Raises Infrastructure when it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Infrastructure(
                f"{path.parent}: {error.strerror}; set AARLAB_STATE to a file that can be written"
            ) from None
        self.engine = open_engine(path)
        with self._transaction("BEGIN IMMEDIATE") as c:
            metadata.create_all(c)

    def put(self, data_hash: str, lab: str, folder: str, answers: int, bits: float) -> None:
        """Set one lab's totals; they only grow, so writing twice is harmless."""
        row = upsert(label_sets).values(data_hash=data_hash, lab=lab, folder=folder, answers=answers, bits=bits)
        keep_larger = {
            "folder": row.excluded.folder,
            "answers": func.max(label_sets.c.answers, row.excluded.answers),
            "bits": func.max(label_sets.c.bits, row.excluded.bits),
        }
        with self._transaction("BEGIN IMMEDIATE") as c:
            c.execute(row.on_conflict_do_update(index_elements=["data_hash", "lab"], set_=keep_larger))

    def earlier(self, data_hash: str, lab: str) -> Earlier:
        """What labs other than `lab` used of this label set."""
        t = label_sets.c
        query = select(func.count(), func.coalesce(func.sum(t.answers), 0), func.coalesce(func.sum(t.bits), 0.0))
        with self._transaction("BEGIN") as c:
            labs, answers, bits = c.execute(query.where(t.data_hash == data_hash, t.lab != lab, t.answers > 0)).one()
        return Earlier(int(labs), int(answers), float(bits))

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with storage_errors(self.path), self.engine.connect().execution_options(begin=begin) as c, c.begin():
            yield c

    def close(self) -> None:
        self.engine.dispose()
