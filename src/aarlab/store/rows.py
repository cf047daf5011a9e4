"""All that can be asked of a lab's database, inside one transaction."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from aarlab.store import tables as t
from aarlab.store.audits import AuditRows
from aarlab.store.events import EventRows
from aarlab.store.forum import ForumRows
from aarlab.store.ideas import IdeaRows
from aarlab.store.ledger import LedgerRows
from aarlab.store.people import PeopleRows
from aarlab.store.practice import PracticeRows
from aarlab.store.scoring import ScoringRows
from aarlab.store.spending import SpendingRows
from aarlab.store.submissions import SubmissionRows

META = select(t.meta.c.value).where(t.meta.c.key == bindparam("name"))


class Rows(
    PeopleRows, SubmissionRows, ScoringRows, AuditRows, ForumRows, LedgerRows, PracticeRows, EventRows, SpendingRows,
    IdeaRows,
):  # fmt: skip
    """One transaction's view of the tables. Every method is one or two statements."""

    def __init__(self, c: Connection) -> None:
        self.c = c

    def meta(self, key: str, default: Any = None) -> Any:
        found = self.c.execute(META, {"name": key}).scalar()
        return default if found is None else json.loads(found)

    def set_meta(self, key: str, value: Any) -> None:
        row = upsert(t.meta).values(key=key, value=json.dumps(value))
        self.c.execute(row.on_conflict_do_update(index_elements=["key"], set_={"value": row.excluded.value}))

    def reply(self, researcher: str, key: str) -> tuple[str, dict[str, Any]] | None:
        """What was asked (SHA-256) and answered under this idempotency key, if anything."""
        i = t.idempotency.c
        found = self.c.execute(select(i.request, i.reply).where(i.researcher == researcher, i.key == key)).one_or_none()
        return None if found is None else (found.request, json.loads(found.reply))

    def keep_reply(self, researcher: str, key: str, request: str, reply: dict[str, Any]) -> None:
        self.c.execute(
            insert(t.idempotency).values(researcher=researcher, key=key, request=request, reply=json.dumps(reply))
        )
