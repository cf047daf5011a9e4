"""A researcher says that it lives, and hears whether to end and what the operator told it."""

from __future__ import annotations

from typing import Any

from aarlab.server import canaries, forum
from aarlab.server.bodies import Heartbeat
from aarlab.server.lab import Lab
from aarlab.store import Rows


def hear(lab: Lab, rows: Rows, name: str, body: Heartbeat) -> dict[str, Any]:
    """Keep what a researcher says of itself; the answer to it."""
    said = {"state": body.state, "best_open_pgr": body.best_open_pgr, "trials": body.trials}
    rows.set_researcher(name, heartbeat=lab.now(), **said)
    person, phase = rows.researcher(name), lab.target(rows)
    assert person is not None
    told = {} if body.heard is None else {"messages": forum.messages(rows, name, body.heard)}
    over = person.status == "stopped" or phase != "research"
    return {"stop": over, "phase": phase, "seconds_left": lab.seconds_left(), **told}


def heard(lab: Lab, name: str, body: Heartbeat) -> None:
    """After that is written."""
    canaries.raise_once(lab, name, "heartbeat", lab.canaries.watch(body.state))
    lab.changed("people")
