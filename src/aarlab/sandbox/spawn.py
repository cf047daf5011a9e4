"""Starting programs from one long-lived thread.

bwrap asks the kernel to be killed when its parent ends, and for the kernel the parent is the *thread* that forked.
A sandbox started by a pool thread would die with that thread; started here, it lives exactly as long as our process.
"""

from __future__ import annotations

import queue
import subprocess
import threading
from concurrent.futures import Future
from typing import Any


class Spawner:
    """One daemon thread that forks on behalf of all others."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[Future[Any], list[str], dict[str, Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def popen(self, argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """subprocess.Popen(argv, **options), forked by the thread."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="sandbox-spawn", daemon=True)
                self._thread.start()
        answer: Future[subprocess.Popen[bytes]] = Future()
        self._orders.put((answer, argv, options))
        return answer.result()

    def _run(self) -> None:
        while True:
            answer, argv, options = self._orders.get()
            try:
                answer.set_result(subprocess.Popen(argv, **options))
            except BaseException as error:
                answer.set_exception(error)


SPAWNER = Spawner()
