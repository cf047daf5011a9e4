"""Budgets of researchers that are language models: a call's price is set aside before it, and accounted after it.

A reservation is granted while what is spent and what others have set aside lies under the budget, in dollars and in
tokens, for the researcher and for the fleet. However many processes ask at once, a budget is passed by no more than
the last call of each. Dollars are calls and computing together.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from aarlab.errors import BudgetSpent, InputError, UnknownName
from aarlab.records import Account, Call, ResearcherRow
from aarlab.server.bodies import Clock, Release, Reserve, Settle
from aarlab.server.lab import Lab
from aarlab.server.transcript import note
from aarlab.store import Rows

DUST = 1e-9
"""Dollars; sums of floating point numbers miss a round budget by less."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Pot:
    """One budget as it stands. `limit` 0: there is none."""

    whose: str  # "your" or "the fleet's"
    unit: str  # "dollars", "tokens" or "minutes"
    limit: float
    spent: float
    outstanding: float = 0.0

    @property
    def open(self) -> bool:
        return not self.limit or self.spent + self.outstanding < self.limit - DUST

    def sentence(self) -> str:
        """Why nothing is left."""
        limit, spent = amount(self.limit, self.unit), amount(self.spent, self.unit)
        held = f", {amount(self.outstanding, self.unit)} set aside for calls under way" if self.outstanding else ""
        return f"{self.whose} {limit} are spent ({spent} used{held})"

    def view(self) -> Json:
        """limit and left are None where there is no budget."""
        spent = round(self.spent, 6) if self.unit != "tokens" else int(self.spent)
        left = max(0.0, self.limit - self.spent - self.outstanding)
        return {
            "limit": self.limit or None,
            "spent": spent,
            "left": None if not self.limit else int(left) if self.unit == "tokens" else round(left, 6),
        }


def amount(value: float, unit: str) -> str:
    """A number of dollars, tokens or minutes for people."""
    if unit == "dollars":
        return f"${value:,.2f}" if value >= 0.1 or not value else f"${value:.4f}"
    return f"{value:,.0f} tokens" if unit == "tokens" else f"{value:,.4g} minutes"


def pots(lab: Lab, rows: Rows, name: str, without: Call | None = None) -> list[Pot]:
    """A researcher's budgets and the fleet's. without: a reservation that does not count."""
    budget, accounts = lab.settings.budget, rows.accounts()
    if without is not None and without.state == "reserved":
        mine = accounts[name]
        accounts[name] = replace(
            mine,
            outstanding_dollars=mine.outstanding_dollars - without.dollars,
            outstanding_tokens=mine.outstanding_tokens - without.tokens,
        )
    own, all_ = accounts.get(name, Account(name)), list(accounts.values())
    return [
        Pot("your", "dollars", budget.researcher_dollars, own.dollars, own.outstanding_dollars),
        Pot("your", "tokens", budget.researcher_tokens, own.tokens, own.outstanding_tokens),
        Pot("your", "minutes", budget.researcher_minutes, own.minutes),
        Pot("the fleet's", "dollars", budget.dollars, sum(a.dollars for a in all_), _sum(all_, "outstanding_dollars")),
        Pot("the fleet's", "tokens", budget.tokens, sum(a.tokens for a in all_), _sum(all_, "outstanding_tokens")),
    ]


def _sum(accounts: list[Account], what: str) -> float:
    return float(sum(getattr(a, what) for a in accounts))


def view(lab: Lab, rows: Rows, name: str) -> Json:
    """What `budget()` shows: {"dollars", "tokens", "minutes": {"yours", "fleet": {"limit", "spent", "left"}}}."""
    shown: Json = {"dollars": {}, "tokens": {}, "minutes": {}}
    for pot in pots(lab, rows, name):
        shown[pot.unit]["yours" if pot.whose == "your" else "fleet"] = pot.view()
    seconds, minutes = lab.seconds_left(), lab.settings.budget.minutes
    left = None if seconds is None else round(seconds / 60, 2)
    spent = None if left is None else round(max(0.0, minutes - left), 2)
    shown["minutes"]["fleet"] = {"limit": minutes, "spent": spent, "left": left}
    return shown


def table(rows: Rows) -> dict[str, Json]:
    """Per researcher, and for the lab itself, what calls and computing have used so far."""
    accounts = rows.accounts()
    names = [r.name for r in rows.researchers() if r.role in ("researcher", "lab") or r.name in accounts]
    return {name: account_view(accounts.get(name, Account(name))) for name in names}


def account_view(account: Account) -> Json:
    whole = {k: v for k, v in vars(account).items() if k != "name"}
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in whole.items()}


# Calls


def reserve(lab: Lab, body: Reserve) -> Json:
    """Set a call's price aside. Raises BudgetSpent where a budget has nothing left, or research is over."""
    with lab.store.write() as rows:
        refusal = set_aside(lab, rows, body)
    tell(lab, refusal)
    return {"granted": True, "key": body.key}


def set_aside(lab: Lab, rows: Rows, body: Reserve) -> str:
    """`reserve` in the caller's transaction: why it is refused, or nothing."""
    person = researcher(rows, body.researcher)
    known = rows.call(body.researcher, body.key)
    if known is not None and known.state == "settled":
        raise InputError(f"the call {body.key!r} is accounted already; take a new key for a new call")
    refusal = _over(lab, rows, person) or next(_spent(lab, rows, body, known), "")
    if not refusal:
        call = Call(body.researcher, body.key, "reserved", body.dollars, body.tokens, lab.now())
        rows.set_call(call, known)
        return ""
    if known is not None and known.state == "reserved":  # asked again for a call that will not be made
        rows.set_call(replace(known, state="released", time=lab.now()), known)
    _show(lab, rows, person, refusal)
    return refusal


def tell(lab: Lab, refusal: str) -> None:
    """After `set_aside` is written. Raises BudgetSpent where it refused."""
    if refusal:
        lab.changed("people")
        raise BudgetSpent(refusal)


def _over(lab: Lab, rows: Rows, person: ResearcherRow) -> str:
    """Why nobody makes calls any more, whatever is left."""
    if lab.target(rows) != "research":
        return "the research phase is over; no more calls to a language model are made"
    if person.status == "stopped":
        return f"{person.name} was stopped by the operator and makes no more calls"
    return ""


def _spent(lab: Lab, rows: Rows, body: Reserve, known: Call | None) -> Iterator[str]:
    for pot in pots(lab, rows, body.researcher, without=known):
        if not pot.open:
            yield pot.sentence()


def _show(lab: Lab, rows: Rows, person: ResearcherRow, refusal: str) -> None:
    """A refusal is a line of the transcript, once for each budget, and the researcher's state."""
    about = refusal.split(" (")[0]
    key = f"refused: {about}"
    if note(lab, rows, person.name, key, f"no more calls: {refusal}"):
        rows.set_researcher(person.name, state=f"budget spent: {about}")


def settle(lab: Lab, body: Settle) -> Json:
    """Account a call at what it cost. The same again changes nothing; what was charged is replaced by the truth."""
    with lab.store.write() as rows:
        account(lab, rows, body)
        mine = rows.accounts()[body.researcher]
    return account_view(mine)


def account(lab: Lab, rows: Rows, body: Settle) -> None:
    """`settle` in the caller's transaction."""
    usage = body.usage
    total = usage.input_tokens + usage.output_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    call = Call(
        researcher=body.researcher, key=body.key, state="settled", dollars=body.dollars, tokens=total, time=lab.now(),
        **usage.model_dump(),
    )  # fmt: skip
    researcher(rows, body.researcher)
    known = rows.call(body.researcher, body.key)
    if known is None or known.state != "settled":
        rows.set_call(call, known)
    elif replace(call, time=known.time) != known:
        raise InputError(f"the call {body.key!r} is accounted already, with other numbers; take a new key")


def release(lab: Lab, body: Release) -> Json:
    """Drop one reservation; without a key, charge all that a dead process left, for the provider may have answered."""
    with lab.store.write() as rows:
        researcher(rows, body.researcher)
        if body.key is not None:
            known = rows.call(body.researcher, body.key)
            found = [known] if known is not None and known.state == "reserved" else []
        else:
            found = rows.calls(body.researcher, "reserved")
        state: Literal["charged", "released"] = "charged" if body.key is None else "released"
        for call in found:
            rows.set_call(replace(call, state=state, time=lab.now()), call)
        done = {"calls": len(found), "dollars": sum(c.dollars for c in found), "tokens": sum(c.tokens for c in found)}
        if found and body.key is None:
            note(lab, rows, body.researcher, f"charged: {uuid.uuid4().hex}", _lost(done))
    return {state: done["calls"], "dollars": round(done["dollars"], 6), "tokens": done["tokens"]}


def _lost(done: Json) -> str:
    calls = "1 call was" if done["calls"] == 1 else f"{done['calls']} calls were"
    price = f"{amount(done['dollars'], 'dollars')} and {amount(done['tokens'], 'tokens')}"
    return f"the process ended while {calls} under way; charged as reserved: {price}"


def told(lab: Lab, body: Clock) -> None:
    """Keep what the supervisor says that computing cost and how long each process ran."""
    with lab.store.write() as rows:
        known = {r.name for r in rows.researchers()}
        for name in [*body.compute, *body.minutes]:
            if name not in known:
                raise UnknownName(f"there is no researcher {name!r} whose costs could be kept")
        for name in dict.fromkeys([*body.compute, *body.minutes]):
            rows.set_compute(name, body.compute.get(name, 0.0), body.minutes.get(name, 0.0))


def researcher(rows: Rows, name: str) -> ResearcherRow:
    """The row of a researcher of this lab. Raises UnknownName."""
    found = rows.researcher(name)
    if found is None or found.role != "researcher":
        raise UnknownName(f"there is no researcher {name!r}")
    return found
