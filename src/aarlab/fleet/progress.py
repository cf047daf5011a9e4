"""What the terminal shows of a run: a header, budgets, one line per researcher."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PLAIN_EVERY = 15.0
PHASES = {
    "research": "researching",
    "record": "measuring the finalists on the record tasks",
    "transfer": "running the winner on the other domains",
    "done": "done",
}


class Progress:
    """Live table on a terminal, one plain line now and then elsewhere. Call it with what the supervisor sees."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr)
        self.live = (
            Live(console=self.console, refresh_per_second=4, transient=True) if self.console.is_terminal else None
        )
        self._last = 0.0
        self._phase = ""

    def __enter__(self) -> Progress:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.live:
            self.live.stop()

    def __call__(self, view: dict[str, Any]) -> None:
        if self.live:
            self.live.update(table(view))
        elif view["phase"] != self._phase or time.monotonic() - self._last > PLAIN_EVERY:
            self.console.print(line(view), highlight=False, soft_wrap=True)
            self._last, self._phase = time.monotonic(), view["phase"]


def print_once(view: dict[str, Any]) -> None:
    Console().print(table(view))


def line(view: dict[str, Any]) -> str:
    """The run in one line."""
    budget = view["budget"]
    left = f", {clock(view['seconds_left'])} left" if view["phase"] == "research" else ""
    return (
        f"{PHASES[view['phase']]}: {best(view)}, answers {budget['answers_used']}/{budget['answers']}, "
        f"{view['pending']} runs waiting, ${view['usage']['dollars']:.3f}{left}"
    )


def best(view: dict[str, Any]) -> str:
    top = view["best"]
    if not top:
        return "no verified record yet"
    return f"best verified PGR {top['pgr']:.2f} (#{top['submission']} by {top['researcher']})"


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def table(view: dict[str, Any]) -> Group:
    """The whole view as a terminal table."""
    budget = view["budget"]
    head = Text.assemble(
        (f"{view['problem']}  ", "bold"), f"{PHASES[view['phase']]}  ·  ", (best(view), "bold green"),
        f"  ·  ${view['usage']['dollars']:.3f}",
    )  # fmt: skip
    bars = Table.grid(padding=(0, 2))
    bars.add_row("answers", ProgressBar(budget["answers"], budget["answers_used"], width=30),
                 f"{budget['answers_used']}/{budget['answers']}", f"{budget['bits']:.0f} of at most {budget['bits_bound']:.0f} bits released")  # fmt: skip
    total = view["seconds_total"]
    if view["phase"] == "research":
        bars.add_row(
            "time",
            ProgressBar(total, total - view["seconds_left"], width=30),
            f"{clock(view['seconds_left'])} left",
            "",
        )
    else:
        done, todo = view["evaluations_done"], view["pending"]
        bars.add_row("runs", ProgressBar(max(1, done + todo), done, width=30), f"{done}/{done + todo}", "")
    rows = Table(box=None, pad_edge=False, header_style="dim")
    for name, justify in (("researcher", "left"), ("direction", "left"), ("state", "left"), ("tried", "right"),
                          ("best open", "right"), ("sent", "right"), ("verified", "right"), ("CPU s", "right")):  # fmt: skip
        rows.add_column(name, justify=justify)  # type: ignore[arg-type]
    for r in view["researchers"]:
        used = view["usage"]["researchers"].get(r["name"], {}).get("cpu_seconds", 0.0)
        rows.add_row(r["name"], r["direction"] or "undirected", view.get("workers", {}).get(r["name"]) or r["state"],
                     str(r["trials"]), _number(r["best_open_pgr"]), str(r["submissions"]), _number(r["best_pgr"]), f"{used:.0f}")  # fmt: skip
    return Group(head, bars, rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
