"""What a researcher's process tells the lab, gathered, so that a turn costs two requests instead of five.

The first carries a model's answer and what it cost, and travels while the tools of that answer run; the second carries
the tools' results together with the reservation for the next call.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from aarlab.client import LabClient
from aarlab.errors import AarlabError, BudgetSpent

Json = dict[str, Any]


class Outbox:
    """Events and accounts on their way. Nothing is lost while the process lives: what could not be sent is kept.

    fleet: a client with the fleet's token. name: the researcher's.
    """

    def __init__(self, fleet: LabClient, name: str) -> None:
        self.fleet, self.name = fleet, name
        self.events: list[Json] = []
        self.settled: list[Json] = []
        self._one_at_a_time = threading.Lock()
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._sending: list[Future[None]] = []

    def put(self, events: Sequence[Json] = (), settled: Sequence[Json] = ()) -> None:
        """To be sent with whatever is sent next. settled: {key, usage, dollars} of calls that were answered."""
        self.events += events
        self.settled += settled

    def send(self, reserve: Json | None = None) -> None:
        """Send everything now, in order. reserve: {key, dollars, tokens} of the call that comes next.

        Raises BudgetSpent where the lab refuses the reservation; the rest has been kept by the lab then.
        """
        with self._one_at_a_time:
            events, self.events = self.events, []
            settled, self.settled = self.settled, []
            if not (events or settled or reserve):
                return
            try:
                self.fleet.turn(self.name, events, settled, reserve)
            except BudgetSpent:
                raise
            except AarlabError:
                self.events, self.settled = events + self.events, settled + self.settled
                raise

    def send_soon(self) -> None:
        """Send from another thread; `flush` waits for it."""
        self._sending.append(self._sender.submit(self.send))

    def flush(self) -> None:
        """Wait until everything is with the lab. Raises what went wrong."""
        sending, self._sending = self._sending, []
        for one in sending:
            one.exception()  # what it could not send is sent, or raised, below
        self.send()
