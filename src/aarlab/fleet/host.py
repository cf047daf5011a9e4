"""Researchers that live on the host: those whose thoughts are a language model's. Only their commands are sandboxed.

Their processes come from a nursery (`aarlab.llm.nursery`), which has the keys of model providers in its environment;
no other process of a lab does. A process that ends with 4 cannot go on (a wrong key, an unknown model); with 0 it is
done for good; after any other end it is started again and goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from aarlab.client import LabClient
from aarlab.errors import AarlabError, Infrastructure
from aarlab.fleet import keys, spec
from aarlab.sandbox import limits as measure
from aarlab.settings import ResearcherSpec

CANNOT_GO_ON = 4
STALL_SECONDS = 900.0  # without a heartbeat; a call of a model may take ten minutes, a command five
END_SECONDS = 8.0  # to close the transcript after SIGTERM
KILL_SECONDS = 3.0  # for the nursery to notice
PATIENCE = 2.0
MOST_WORDS = 400  # characters of a process's last line that are shown


class Nursery:
    """The supervisor's end of the nursery: orders go out, process ids and exit codes come back."""

    def __init__(self, lab: Path) -> None:
        self.lab = lab
        self.process: subprocess.Popen[bytes] | None = None
        self.pids: dict[str, int] = {}  # of the living, by researcher
        self.codes: dict[str, int] = {}  # of those that ended, until they are asked for
        self.waiting: set[str] = set()  # ordered and not yet there
        self._rest = b""

    def order(self, name: str) -> None:
        """Ask for a researcher's process; it appears in `pids`."""
        self.hear()
        if self.process is None:
            self._start()
        assert self.process is not None
        assert self.process.stdin is not None
        self.codes.pop(name, None)
        self.waiting.add(name)
        try:
            self.process.stdin.write(json.dumps({"start": name}).encode() + b"\n")
        except OSError:
            self.hear()
            raise Infrastructure(f"{name}: the nursery ended; its log is {self.log}") from None

    def hear(self) -> None:
        """Take in what the nursery said. Its death is the death of all its children."""
        if self.process is None:
            return
        assert self.process.stdout is not None
        dead = self.process.poll() is not None
        while got := self._read(self.process.stdout.fileno()):
            *lines, self._rest = (self._rest + got).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
        if dead:
            self.codes |= dict.fromkeys((*self.pids, *self.waiting), -signal.SIGKILL)
            self.pids.clear()
            self.waiting.clear()
            self._close()

    def kill(self, name: str) -> None:
        """End a researcher's process group at once, or forget that it was ordered."""
        self.waiting.discard(name)
        end = time.monotonic() + KILL_SECONDS
        while name in self.pids and time.monotonic() < end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pids[name], signal.SIGKILL)
            time.sleep(0.02)
            self.hear()
        self.codes.pop(name, None)

    def close(self) -> None:
        """End the nursery and with it every process that is left."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._close()

    @property
    def log(self) -> Path:
        return self.lab / "run" / "nursery.log"

    def _start(self) -> None:
        argv = [sys.executable, "-m", "aarlab.llm.nursery", "--lab", str(self.lab), "--parent", str(os.getpid())]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0, start_new_session=True,
                env={**keys.with_keys(os.environ), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._rest = b""

    def _read(self, descriptor: int) -> bytes:
        try:
            return os.read(descriptor, 65536)
        except BlockingIOError:
            return b""

    def _take(self, said: dict[str, Any]) -> None:
        name = said["name"]
        if "code" not in said and name not in self.waiting:  # it was cancelled meanwhile
            measure.signal_process(said["pid"], signal.SIGKILL)
        elif "code" not in said:
            self.waiting.discard(name)
            self.pids[name] = said["pid"]
        elif self.pids.get(name) == said["pid"]:
            del self.pids[name]
            self.codes[name] = said["code"]

    def _close(self) -> None:
        assert self.process is not None
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process = None


class HostWorker:
    """One LLM researcher's process, beside `aarlab.fleet.runner.Worker` and with its interface."""

    def __init__(self, lab: Path, one: ResearcherSpec, nursery: Nursery) -> None:
        self.lab, self.one, self.nursery = lab, one, nursery
        self.state = "waiting"
        self.restarts = 0
        self.next_start = 0.0
        self.stall_seconds = STALL_SECONDS
        self._running = False
        self._asked = 0.0  # when it was asked to end
        self._cpu = 0.0
        self._seen = self._moved = time.monotonic()
        self._heartbeat: float | None = None
        self._clean = keys.redactor(os.environ)
        self.obeyed: int | None = None  # restarts that were asked for and done; None until the lab was heard
        if self._done.is_file():
            self.state, self.obeyed = "finished", self._asked_before()

    @property
    def _done(self) -> Path:
        """A file that says that this researcher has finished for good; a resumed run leaves it so.

        Its second line counts the restarts that had been asked for until then: another one wakes the researcher, even
        where the supervisor that should have obeyed was killed.
        """
        return self.lab / "run" / f"{self.one.name}.done"

    def _asked_before(self) -> int:
        lines = self._done.read_text("utf-8").splitlines()
        return int(lines[1]) if len(lines) > 1 and lines[1].isdigit() else 0

    @property
    def pid(self) -> int | None:
        return self.nursery.pids.get(self.one.name)

    def start(self) -> None:
        """Charge what a dead process left open, and start. Raises Infrastructure."""
        self._release()
        self.nursery.order(self.one.name)
        self._running, self._asked = True, 0.0
        self._cpu, self._seen, self._moved = 0.0, time.monotonic(), time.monotonic()
        self.state = "working"

    def account(self) -> tuple[float, float]:
        """CPU and wall seconds since the last call, of the process and of its sandbox."""
        now = time.monotonic()
        wall, self._seen = now - self._seen, now
        if not self._running:
            return 0.0, 0.0
        if self.pid is None:
            return 0.0, wall
        total = measure.cpu_seconds(measure.descendants(self.pid))
        used, self._cpu = max(0.0, total - self._cpu), max(total, self._cpu)
        return used, wall

    def watch(self, heartbeat: float | None = None) -> None:
        """Notice an end or a stall. heartbeat: Unix seconds of the last one, as the lab has it."""
        self.nursery.hear()
        if not self._running:
            if self.state in ("waiting", "restarting") and time.monotonic() >= self.next_start:
                try:
                    self.start()
                except AarlabError:
                    self._again("the lab did not answer")
            return
        code = self.nursery.codes.pop(self.one.name, None)
        if code is not None:
            self._ended(code)
        elif heartbeat != self._heartbeat:
            self._heartbeat, self._moved = heartbeat, time.monotonic()
        elif time.monotonic() - self._moved > self.stall_seconds:
            self.stop("restarting")
            self._again(f"no sign of life for {self.stall_seconds / 60:.0f} minutes")

    def obey(self, asked: int) -> None:
        """End and start it again where that was asked for. asked: how often it was so far.

        What was asked before this supervisor came is done: it starts everybody who has not finished.
        """
        known, self.obeyed = self.obeyed, asked
        if known is not None and asked > known:
            self._done.unlink(missing_ok=True)
            self.stop("restarting")
            self.next_start = 0.0

    def ask(self) -> None:
        """Ask it to end soon; `stop` then waits less."""
        if self.pid is not None and not self._asked:
            self._asked = time.monotonic()
            measure.signal_process(self.pid, signal.SIGTERM)

    def stop(self, state: str = "stopped") -> None:
        """End it: SIGTERM, and after a while SIGKILL for its whole process group."""
        if self._running:
            self.ask()
            while self.pid is not None and time.monotonic() - self._asked < END_SECONDS:
                time.sleep(0.02)
                self.nursery.hear()
            self.nursery.kill(self.one.name)
            self._running = False
            with contextlib.suppress(AarlabError):  # the next start does it otherwise
                self._release()
        self.state = state

    def last_words(self, path: Path | None = None) -> str:
        """The last line its process wrote, without keys."""
        path = path or self.lab / "run" / f"{self.one.name}.log"
        if not path.is_file():
            return ""
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").strip().splitlines()
        return self._clean(lines[-1].strip())[:MOST_WORDS] if lines else ""

    def _ended(self, code: int) -> None:
        self._running = False
        words = self.last_words(self.nursery.log if code < 0 and self.nursery.process is None else None)
        if code == 0:
            self.state = words or "finished"
            self._say(self.state)
            if words.startswith("finished"):  # by its own word; a spent budget may be raised
                self._done.write_text(f"{words}\n{self.obeyed or 0}\n", "utf-8")
        elif code == CANNOT_GO_ON:
            self.state = f"failed: {words or 'it cannot go on'}"
            self._say(self.state)
        else:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._again(f"{how}{f', {words}' if words else ''}")
        with contextlib.suppress(AarlabError):
            self._release()

    def _again(self, why: str) -> None:
        self.state = "restarting"
        self.restarts += 1
        self.next_start = time.monotonic() + min(30.0, 0.5 * 2 ** min(self.restarts, 6))
        self._say(f"restarting ({why})"[:MOST_WORDS])

    def _release(self) -> None:
        """What a process had set aside for a call when it ended is charged: the provider may have done the work."""
        with spec.fleet(self.lab, PATIENCE) as client:
            client.release(self.one.name)

    def _say(self, sentence: str) -> None:
        """Show it as the researcher's own state."""
        token = spec.tokens(self.lab)["researchers"][self.one.name]
        with contextlib.suppress(AarlabError), LabClient(self.lab / "run" / "aarlab.sock", token, PATIENCE) as client:
            self._heartbeat = None
            client.heartbeat(sentence)
