"""The supervisor: starts the server and one process per researcher, watches, restarts, stops, and ends the run.

Whatever dies is started again with back-off; whatever is spent ends the research phase. All state that matters is in
the lab folder, so that killing the supervisor itself loses nothing: `resume` builds the same supervisor again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from aarlab.client import LabClient
from aarlab.errors import AarlabError, Infrastructure
from aarlab.fleet import costs, host, keys, spec
from aarlab.fleet.host import HostWorker
from aarlab.fleet.usage import UsageFile
from aarlab.sandbox.base import Sandbox, SandboxProcess
from aarlab.settings import ResearcherSpec, Settings

TICK = 0.5
STALL_SECONDS = 90.0
SERVER_START_SECONDS = 30.0
MAX_FAST_FAILURES = 5
MAX_SILENCES = 30
RUNNING = ("waiting", "working", "restarting")
PATIENCE = 1.0  # seconds a silent service is asked again before its process is looked at
TERMINAL = "command line"
"""The way by which a person controls a run who says no other."""

STOPPED_BY = "stopped-by"
"""The file under run/ in which whoever sends SIGTERM says by which way the stop was asked for."""

Show = Callable[[dict[str, Any]], None]


class Server:
    """The lab service as a child process, without keys: but a reader of methods (`audit.reader`) may need one."""

    def __init__(self, lab: Path, reader: str = "") -> None:
        self.lab = lab
        self.env = dict(os.environ) if reader else keys.without_keys(os.environ)
        self.log = lab / "run" / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.client: LabClient | None = None
        self.failures = 0  # starts in a row that did not succeed

    def start(self) -> None:
        """Start and wait until it answers. Raises Infrastructure with the log's last line."""
        self.client = None
        (self.lab / "run" / "server.json").unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            argv = [sys.executable, "-m", "aarlab.server", "--lab", str(self.lab), "--parent", str(os.getpid())]
            self.process = subprocess.Popen(
                argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, env=self.env
            )
        deadline = time.monotonic() + SERVER_START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if (self.lab / "run" / "server.json").is_file():
                client = spec.operator(self.lab, PATIENCE)
                client.health()
                self.client = client
                return
            time.sleep(0.05)
        self.stop()
        raise Infrastructure(f"the lab service did not start: {self.last_words()} (log: {self.log})")

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.is_file() else []
        return lines[-1] if lines else "no output"

    def stop(self) -> None:
        if self.process is not None and self.alive():
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Worker:
    """One researcher's process: start, account, restart with back-off."""

    def __init__(self, lab: Path, settings: Settings, sandbox: Sandbox, one: ResearcherSpec) -> None:
        self.lab, self.settings, self.sandbox, self.one = lab, settings, sandbox, one
        self.process: SandboxProcess | None = None
        self.state = "waiting"
        self.restarts = 0
        self.next_start = 0.0
        self.obeyed: int | None = None  # restarts that were asked for and done; None until the lab was heard
        self._cpu = 0.0
        self._seen = time.monotonic()
        self._moved = time.monotonic()

    def start(self) -> None:
        what = spec.researcher_spec(self.lab, self.settings, self.one, ())
        self.process = self.sandbox.start(what, log=self.lab / "run" / f"{self.one.name}.log", nice=10)
        self._cpu, self._seen, self._moved = 0.0, time.monotonic(), time.monotonic()
        self.state = "working"

    def account(self) -> tuple[float, float]:
        """CPU and wall seconds since the last call."""
        now = time.monotonic()
        wall, self._seen = now - self._seen, now
        if self.process is None:
            return 0.0, 0.0
        with contextlib.suppress(OSError, psutil.Error):
            total = self.process.cpu_seconds()
            used, self._cpu = max(0.0, total - self._cpu), max(total, self._cpu)
            if used > 0.05:
                self._moved = now
            return used, wall
        return 0.0, wall

    def watch(self, heartbeat: float | None = None) -> None:
        """Notice an end or a stall (by CPU time) and plan the restart; a clean exit is final."""
        if self.process is None:
            if self.state in ("waiting", "restarting") and time.monotonic() >= self.next_start:
                try:
                    self.start()
                except Infrastructure:
                    self._again()
            return
        code = self.process.poll()
        if code is None:
            if time.monotonic() - self._moved > STALL_SECONDS:
                self._again()
            return
        if code == 0:
            self.process, self.state = None, "finished"
        elif self.process.verdict == "disk":
            self.stop("disk full")  # its folder still is: a restart would end the same way
        else:
            self._again()

    def _again(self) -> None:
        self.stop("restarting")
        self.restarts += 1
        self.next_start = time.monotonic() + min(30.0, 0.5 * 2 ** min(self.restarts, 6))

    def obey(self, asked: int) -> None:
        """End and start it again where that was asked for. asked: how often it was so far.

        What was asked before this supervisor came is done: it starts everybody.
        """
        known, self.obeyed = self.obeyed, asked
        if known is not None and asked > known:
            self.stop("restarting")
            self.next_start = 0.0

    def ask(self) -> None:
        """Nothing to close: `stop` ends it at once."""

    def stop(self, state: str = "stopped") -> None:
        if self.process is not None:
            self.process.kill()
            self.process = None
        self.state = state


class Supervisor:
    """One lab from (re)start to report. action, by: what the ledger keeps of this start."""

    def __init__(
        self, lab: Path, settings: Settings, sandbox: Sandbox, show: Show, action: str = "resume",
        by: str = TERMINAL,
    ) -> None:  # fmt: skip
        self.lab, self.settings, self.show = lab, settings, show
        self.server = Server(lab, settings.audit.reader)
        self.nursery = host.Nursery(lab)
        self.workers: list[Worker | HostWorker] = [
            HostWorker(lab, one, self.nursery) if one.is_language_model else Worker(lab, settings, sandbox, one)
            for one in settings.researchers
            if one.kind != "human"
        ]
        self.usage = UsageFile(lab / "run")
        self.usage.usage.supervisor_starts += 1
        self.stopping = False
        self.reason = ""  # why nothing can go on, where that is why the run stopped
        self.silent = 0  # ticks in a row in which a live service did not answer
        self._saved = 0.0
        self._start = {"action": action, "by": by, "key": uuid.uuid4().hex}  # empty once the ledger has it
        self._stop_by = ""
        (lab / "run" / STOPPED_BY).unlink(missing_ok=True)  # of a supervisor that was killed

    def run(self) -> bool:
        """Work until the lab is done (True) or a signal asks to stop (False)."""
        handlers = {s: signal.signal(s, self._signalled) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            view = self._server().run()
            while not self.stopping and view["phase"] != "done":
                time.sleep(TICK)
                view = self._try_tick() or view
            return bool(view["phase"] == "done")
        finally:
            self._say_stop()
            self._stop_all("stopped")
            self.nursery.close()
            self.server.stop()
            self.usage.save()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, frame: object) -> None:
        if self.stopping:
            os._exit(130)
        self.stopping = True
        said = self.lab / "run" / STOPPED_BY
        self._stop_by = TERMINAL if number == signal.SIGINT else "signal"
        with contextlib.suppress(OSError):
            self._stop_by = said.read_text("utf-8").strip()[:40] or self._stop_by
            said.unlink()

    def _say_start(self, client: LabClient) -> None:
        if self._start:
            client.control(**self._start)
            self._start = {}

    def _say_stop(self) -> None:
        """A line of the ledger, where the service still lives; without it the stop is no less one."""
        if self.stopping and self.server.client is not None and self.server.alive():
            with contextlib.suppress(AarlabError):
                self._say_start(self.server.client)
                self.server.client.control("stop", self._stop_by or "supervisor", self.reason[:500])

    def _try_tick(self) -> dict[str, Any] | None:
        """A tick, or None when the service died in the middle of it: the next one starts it again."""
        try:
            return self._tick()
        except Infrastructure:
            if self.server.alive():
                self.silent += 1
            if self.silent > MAX_SILENCES or self.server.failures >= MAX_FAST_FAILURES:
                raise
            return None

    def _tick(self) -> dict[str, Any]:
        client = self._server()
        self._say_start(client)
        view = client.run()
        researching = view["target"] == "research"
        self.usage.tick(researching)
        for worker in self.workers:
            self.usage.add(worker.one.name, *worker.account())
            self.usage.usage.restarts[worker.one.name] = worker.restarts
        totals = costs.totals(self.settings, self.usage.usage, view)
        left = max(0.0, self.settings.budget.minutes * 60 - self.usage.usage.research_seconds)
        if researching:
            self._tell(client, left, totals)
            self._watch(view, totals)
            if reason := costs.spent(self.settings, self.usage.usage, view, totals) or self._all_done():
                self._end_research(client, reason)
            elif self._none_can_go_on():
                self.stopping = True
        else:
            self._stop_all("finished")  # also where a person ended research
        self._save()
        self.silent = 0
        states = {w.one.name: w.state for w in self.workers}
        self.show({**view, "usage": totals, "seconds_left": left, "workers": states})
        return view

    def _tell(self, client: LabClient, left: float, totals: dict[str, Any]) -> None:
        """The lab keeps the accounts; what computing costs, and how long processes run, only we see."""
        client.clock(left, costs.compute(totals), costs.minutes(self.usage.usage))

    def _server(self) -> LabClient:
        """The client of a live server; (re)starts it where needed, with back-off and an end."""
        while not self.server.alive() or self.server.client is None:
            if self.server.process is not None:
                self.usage.usage.server_restarts += 1
                time.sleep(min(5.0, 0.2 * 2**self.server.failures))
            try:
                self.server.start()
            except Infrastructure:
                self.server.failures += 1
                if self.server.failures >= MAX_FAST_FAILURES:
                    raise
        self.server.failures = 0
        return self.server.client

    def _watch(self, view: dict[str, Any], totals: dict[str, Any]) -> None:
        known = {r["name"]: r for r in view["researchers"]}
        for worker in self.workers:
            row = known.get(worker.one.name, {})
            worker.obey(view["restarts_asked"].get(worker.one.name, 0))
            if row.get("status") == "stopped":
                worker.stop()
            elif reason := costs.researcher_spent(self.settings, totals, worker.one.name):
                worker.stop(f"budget spent: {reason}")
            else:
                worker.watch(row.get("heartbeat"))

    def _all_done(self) -> str:
        """Why research is over though budget is left: every LLM researcher has ended, and nobody else is there."""
        if not self._only_language_models() or any(w.state in RUNNING for w in self.workers):
            return ""
        if all(w.state.startswith("failed") for w in self.workers):
            return ""
        return "all researchers have finished"

    def _none_can_go_on(self) -> bool:
        """Whether every researcher failed for good; then a person must see to it before the run goes on."""
        failed = [w for w in self.workers if w.state.startswith("failed")]
        if not failed or len(failed) < len(self.workers) or not self._only_language_models():
            return False
        self.reason = f"no researcher can go on; {failed[0].one.name} {failed[0].state}"
        return True

    def _only_language_models(self) -> bool:
        return all(one.is_language_model for one in self.settings.researchers)

    def _end_research(self, client: LabClient, reason: str) -> None:
        """No more submissions: the lab measures the finalists, then the winner elsewhere, by itself."""
        self._stop_all("finished")
        client.phase("done", reason, "supervisor")

    def _stop_all(self, state: str) -> None:
        for worker in self.workers:
            worker.ask()
        for worker in self.workers:
            worker.stop(worker.state if worker.state.startswith("failed") else state)

    def _save(self) -> None:
        if time.monotonic() - self._saved > 2:
            self.usage.save()
            self._saved = time.monotonic()
