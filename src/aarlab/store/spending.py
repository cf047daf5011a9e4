"""Rows of calls to language models, and each name's account: the sums that budgets are held against.

Every turn of every researcher comes through here, so the statements are written out once: to put one together costs
SQLAlchemy several times what SQLite takes to run it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from aarlab.records import Account, Call
from aarlab.store.base import Base

COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
OUTSTANDING = ("outstanding_dollars", "outstanding_tokens")

CALL = tuple(f.name for f in fields(Call))
ACCOUNT = tuple(f.name for f in fields(Account) if f.name not in OUTSTANDING)


def _upsert(table: str, columns: tuple[str, ...], keys: tuple[str, ...], changed: Mapping[str, str]) -> str:
    """Insert a row, or change the one with these keys. changed: column -> expression over `old` and `excluded`."""
    places = ", ".join("?" * len(columns))
    sets = ", ".join(f"{column} = {value}" for column, value in changed.items())
    into = f"INSERT INTO {table} AS old ({', '.join(columns)}) VALUES ({places})"
    return f"{into} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sets}"


ONE_CALL = f"SELECT {', '.join(CALL)} FROM spending WHERE researcher = ? AND key = ?"
ALL_CALLS = f"SELECT {', '.join(CALL)} FROM spending"
KEEP_CALL = _upsert("spending", CALL, CALL[:2], {c: f"excluded.{c}" for c in CALL[2:]})
ALL_ACCOUNTS = f"SELECT {', '.join(ACCOUNT)} FROM accounts"
HELD = "SELECT researcher, sum(dollars), sum(tokens) FROM spending WHERE state = 'reserved' GROUP BY researcher"
ADD = _upsert("accounts", ACCOUNT, ACCOUNT[:1], {c: f"old.{c} + excluded.{c}" for c in ACCOUNT[1:]})
TOLD = ("compute_dollars", "minutes")
TELL = _upsert("accounts", ACCOUNT, ACCOUNT[:1], {c: f"max(old.{c}, excluded.{c})" for c in TOLD})


class SpendingRows(Base):
    def call(self, researcher: str, key: str) -> Call | None:
        found = self.c.exec_driver_sql(ONE_CALL, (researcher, key)).one_or_none()
        return None if found is None else Call(*found)

    def calls(self, researcher: str | None = None, state: str | None = None) -> list[Call]:
        """Calls by the time of their last change; of one researcher, in one state, or all."""
        wanted = {k: v for k, v in (("researcher", researcher), ("state", state)) if v is not None}
        where = " AND ".join(f"{column} = ?" for column in wanted) or "true"
        query = f"{ALL_CALLS} WHERE {where} ORDER BY time, key"
        return [Call(*r) for r in self.c.exec_driver_sql(query, tuple(wanted.values()))]

    def set_call(self, row: Call, before: Call | None) -> None:
        """Keep a call as it now stands, and what that changes in its researcher's account. before: what is kept."""
        self.c.exec_driver_sql(KEEP_CALL, tuple(getattr(row, c) for c in CALL))
        more, less = _counted(row), _counted(before)
        if more != less:
            self._put(ADD, row.researcher, {k: more.get(k, 0) - less.get(k, 0) for k in {*more, *less}})

    def set_compute(self, name: str, dollars: float = 0.0, minutes: float = 0.0) -> None:
        """What a name's processes and method runs cost so far, and how long its process has run; both only grow."""
        self._put(TELL, name, {"compute_dollars": dollars, "minutes": minutes})

    def accounts(self) -> dict[str, Account]:
        """Everybody's account who used anything or has set something aside."""
        found = {r[0]: Account(*r) for r in self.c.exec_driver_sql(ALL_ACCOUNTS)}
        for name, dollars, tokens in self.c.exec_driver_sql(HELD):
            known = found.get(name, Account(name))
            found[name] = replace(known, outstanding_dollars=float(dollars), outstanding_tokens=int(tokens))
        return found

    def _put(self, statement: str, name: str, values: Mapping[str, Any]) -> None:
        self.c.exec_driver_sql(statement, (name, *(values.get(c, 0) for c in ACCOUNT[1:])))


def _counted(row: Call | None) -> dict[str, float]:
    """What a call adds to its researcher's account. A reservation adds nothing until it is charged."""
    if row is None or row.state not in ("settled", "charged"):
        return {}
    which = "calls" if row.state == "settled" else "lost_calls"
    sums: dict[str, float] = {c: getattr(row, c) for c in COUNTS}
    return sums | {"llm_dollars": row.dollars, "tokens": row.tokens, "llm_seconds": row.seconds, which: 1}
