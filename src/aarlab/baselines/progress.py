"""What the terminal shows while a table is measured: a bar with the time left, or a plain line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

PLAIN_EVERY = 15.0
REMEMBERED = 600.0  # seconds of speed that the time left is judged by: methods differ a hundredfold


class Progress:
    """Counts seeds measured. `total` seeds are to be measured now."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.console, self.total, self.done = console or Console(file=sys.stderr), total, 0
        self._began = self._last = time.monotonic()
        self._bar: Bar | None = None
        if self.console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                TextColumn("left"), TimeRemainingColumn(), console=self.console, transient=True,
                speed_estimate_period=REMEMBERED,
            )  # fmt: skip
            self._task = self._bar.add_task("measuring", total=total)

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def step(self, where: str, seeds: int = 1) -> None:
        """So many seeds are done, or will never be; `where` says of what."""
        self.done += seeds
        if self._bar:
            self._bar.update(self._task, advance=seeds, description=where)
        elif time.monotonic() - self._last > PLAIN_EVERY:
            self._last = time.monotonic()
            self.console.print(
                f"{where}: {self.done}/{self.total}, {self.left()} left", highlight=False, soft_wrap=True
            )

    def say(self, sentence: str) -> None:
        (self._bar.console if self._bar else self.console).print(sentence, highlight=False, soft_wrap=True)

    def left(self) -> str:
        """Minutes and seconds to go at the speed so far."""
        seconds = (time.monotonic() - self._began) / max(1, self.done) * (self.total - self.done)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
