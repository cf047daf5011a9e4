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

from aarlab.settings import LANGUAGE_MODELS

PLAIN_EVERY = 15.0
STATE_WIDTH = 15  # so that a row fits 80 columns
WORDS_WIDTH, DIRECTION_WIDTH = 26, 15  # the same of a fleet with language models
SPENT, TRIED = ("sent", "verified", "tokens", "$"), ("tried", "best open", "sent", "verified", "CPU s")
PHASES = {
    "research": "researching",
    "audit": "auditing the finalists",
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
        self._told: dict[str, str] = {}  # researcher -> the trouble that was printed last

    def __enter__(self) -> Progress:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.live:
            self.live.stop()

    def __call__(self, view: dict[str, Any]) -> None:
        for name, words in troubles(view).items():
            if self._told.get(name) != words:
                self.console.print(f"{name}: {words}", highlight=False, soft_wrap=True, markup=False)
        self._told = troubles(view)
        if self.live:
            self.live.update(table(view))
        elif view["phase"] != self._phase or time.monotonic() - self._last > PLAIN_EVERY:
            self.console.print(line(view), highlight=False, soft_wrap=True)
            self._last, self._phase = time.monotonic(), view["phase"]


def print_once(view: dict[str, Any]) -> None:
    Console().print(table(view))


def line(view: dict[str, Any]) -> str:
    """The run in one line."""
    answers = view["budget"]["answers"]
    left = f", {clock(view['seconds_left'])} left" if view["phase"] == "research" else audited(view)
    done, total = runs(view)
    return (
        f"{PHASES[view['phase']]}: {best(view)}, answers {answers['given']}/{answers['total']}, "
        f"{done}/{total} method runs done, ${view['usage']['dollars']:.3f}{left}"
    )


def runs(view: dict[str, Any]) -> tuple[int, int]:
    """Evaluations finished and all that are known, over all purposes."""
    parts = view["progress"].values()
    return sum(p["scored"] + p["failed"] for p in parts), sum(p["total"] for p in parts)


def audited(view: dict[str, Any]) -> str:
    """How far the audits are, while the lab audits."""
    part = view["progress"].get("audit")
    if view["phase"] != "audit" or not part:
        return ""
    return f", {part['scored'] + part['failed']}/{part['total']} audits done"


def best(view: dict[str, Any]) -> str:
    top = view["best_feedback"]
    if not top:
        return "nothing verified yet"
    return f"best verified PGR {top['pgr']:.2f} (#{top['id']} by {top['researcher']})"


def verified(view: dict[str, Any], researcher: str) -> float | None:
    """A researcher's best PGR on the feedback task, as the lab measured it."""
    mine = {s["id"] for s in view["submissions"] if s["researcher"] == researcher}
    found = [e["pgr"] for e in view["evaluations"] if e["submission"] in mine and e["purpose"] == "feedback"]
    return max((pgr for pgr in found if pgr is not None), default=None)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def troubles(view: dict[str, Any]) -> dict[str, str]:
    """Researchers that a person should look at, with the reason."""
    states = view.get("workers", {})
    return {
        r["name"]: states.get(r["name"], "") if states.get(r["name"], "").startswith("failed") else r["state"]
        for r in view["researchers"]
        if states.get(r["name"], "").startswith(("failed", "restarting")) and r["kind"] in LANGUAGE_MODELS
    }


def table(view: dict[str, Any]) -> Group:
    """The whole view as a terminal table."""
    head = Text.assemble(
        (f"{view['problem']['name']}  ", "bold"), f"{PHASES[view['phase']]}  ·  ", (best(view), "bold green"),
        f"  ·  ${view['usage']['dollars']:.3f}",
    )  # fmt: skip
    crew = [r for r in view["researchers"] if r["role"] == "researcher"]
    speaking = any(r["kind"] in LANGUAGE_MODELS for r in crew)
    rows = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("researcher", "direction", "state"):
        rows.add_column(title, no_wrap=True)
    for title in (
        ("sent", "verified", "tokens", "$") if speaking else ("tried", "best open", "sent", "verified", "CPU s")
    ):
        rows.add_column(title, justify="right", no_wrap=True)
    for r in crew:
        rows.add_row(*(_speaker if speaking else _researcher)(view, r))
    return Group(head, _bars(view), rows)


def _bars(view: dict[str, Any]) -> Table:
    """Answers and bits; time left, or evaluations left once research is over."""
    used, all_ = view["budget"]["answers"]["given"], view["budget"]["answers"]["total"]
    bits = view["budget"]["bits"]
    bits = f"at most {bits['released_at_most']:.0f} bits released, {bits['bound_of_the_run']:.0f} over the run"
    bars = Table.grid(padding=(0, 2))
    bars.add_row("answers", ProgressBar(all_, used, width=30), f"{used}/{all_}", bits)
    limits, accounts = view["settings"]["budget"], view.get("spending", {}).values()
    if limits["dollars"]:
        spent = view["usage"]["dollars"]
        shown = f"${spent:.2f} of ${limits['dollars']:g}"
        bars.add_row("dollars", ProgressBar(limits["dollars"], min(spent, limits["dollars"]), width=30), shown, "")
    if limits.get("tokens"):
        tokens = sum(a["tokens"] for a in accounts)
        shown = f"{thousands(tokens)} of {thousands(limits['tokens'])}"
        bars.add_row("tokens", ProgressBar(limits["tokens"], min(tokens, limits["tokens"]), width=30), shown, "")
    if view["phase"] == "research":
        total, left = view["settings"]["budget"]["minutes"] * 60, view["seconds_left"]
        bars.add_row("time", ProgressBar(total, total - left, width=30), f"{clock(left)} left", "")
    else:
        done, total = runs(view)
        bars.add_row("runs", ProgressBar(max(1, total), done, width=30), f"{done}/{total}", audited(view).strip(", "))
    return bars


def _researcher(view: dict[str, Any], r: dict[str, Any]) -> tuple[str, ...]:
    used = view["usage"]["researchers"].get(r["name"], {}).get("cpu_seconds", 0.0)
    numbers = (str(r["trials"]), _number(r["best_open_pgr"]), str(r["submissions"]), _number(verified(view, r["name"])))
    return (r["name"], r["direction"] or "undirected", short(state(view, r), STATE_WIDTH), *numbers, f"{used:.0f}")


def _speaker(view: dict[str, Any], r: dict[str, Any]) -> tuple[str, ...]:
    """A row of a fleet with language models in it: what each spends matters more than what it tried."""
    account = view.get("spending", {}).get(r["name"], {})
    cost = view["usage"]["researchers"].get(r["name"], {}).get("dollars", 0.0)
    words = (short(r["direction"] or "undirected", DIRECTION_WIDTH), short(state(view, r), WORDS_WIDTH))
    numbers = (str(r["submissions"]), _number(verified(view, r["name"])), thousands(account.get("tokens", 0)))
    return (r["name"], *words, *numbers, f"{cost:.2f}")


def state(view: dict[str, Any], r: dict[str, Any]) -> str:
    """What a researcher does: its own words while it works, else what became of it."""
    found: str = view.get("workers", {}).get(r["name"], r["status"])
    return r["state"] if found in ("working", "waiting", "restarting") and r["state"] else found


def short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def thousands(count: float) -> str:
    """1234567 -> 1.23M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:g}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
