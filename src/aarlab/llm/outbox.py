"""What a researcher's process tells the lab, gathered, so that a turn costs two requests instead of five.

The first carries a model's answer, what it cost and a heartbeat, and travels while the tools of that answer run; the
second carries the tools' results together with the reservation for the next call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from aarlab.client import LabClient
from aarlab.errors import AarlabError, BudgetSpent

Json = dict[str, Any]


class Outbox:
    """Events and accounts on their way. Nothing is lost while the process lives: what could not be sent is kept.

    fleet: a client with the fleet's token. name: the researcher's. told: called with the lab's reply to a heartbeat.
    """

    def __init__(self, fleet: LabClient, name: str, told: Callable[[Json], None]) -> None:
        self.fleet, self.name, self.told = fleet, name, told
        self.events: list[Json] = []
        self.settled: list[Json] = []
        self.says: Json | None = None  # {state, heard}, as in `LabClient.heartbeat`
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
            says, self.says = self.says, None
            if not (events or settled or says or reserve):
                return
            try:
                answer = self.fleet.turn(self.name, events, settled, reserve, says)
            except BudgetSpent:
                raise
            except AarlabError:
                self.events, self.settled, self.says = events + self.events, settled + self.settled, self.says or says
                raise
        if says is not None:
            self.told(answer)

    def send_soon(self) -> None:
        """Send from another thread; `flush` waits for it."""
        self._sending.append(self._sender.submit(self.send))

    def flush(self) -> None:
        """Wait until everything is with the lab. Raises what went wrong."""
        self.wait()
        self.send()

    def wait(self) -> None:
        """Until nothing is on its way. What could not be sent goes with the next."""
        sending, self._sending = self._sending, []
        for one in sending:
            one.exception()
