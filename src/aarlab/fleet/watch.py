"""`aarlab status --watch`: the dashboard's first page in text, made from the same numbers and the same sentences."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aarlab.dashboard import run
from aarlab.dashboard.catalogue import notices
from aarlab.dashboard.lab import Json, Snapshot, WatchedLab
from aarlab.errors import Infrastructure
from aarlab.fleet.progress import PHASES, thousands
from aarlab.reports.sentences import money, plus_zero
from aarlab.reports.templating import clock
from aarlab.reports.text import plain

EVERY, PLAIN_EVERY = 2.0, 15.0
"""Seconds between two frames, on a terminal and elsewhere."""

WORK_SECONDS = 0.5  # of each frame, for intervals that are not drawn yet
STOPPED_SECONDS = 5.0  # after which a lab that is stopped is not just about to start
DAMAGED_SECONDS = 20.0  # after which numbers of record that nobody works on are not waited for: they cannot be read
DONE, STOPPED = 0, 130  # exit codes, as of `aarlab run`

WIDTH = 28  # of bars and of the curve
LEVELS = "▁▂▃▄▅▆▇█"
LEAST_PEOPLE, MOST_EVENTS = 3, 12
SIGNS = {"act": ("! ", "bold red"), "look": ("› ", "yellow"), "fine": ("✓ ", "green")}
STYLES = {"working": "green", "failed": "bold red", "silent": "yellow", "out of budget": "yellow"}


def watch(folder: Path, as_json: bool = False, console: Console | None = None) -> int:
    """Show a lab until its run is done (0) or Ctrl-C (0).

    Without a terminal, and as JSON, it ends as well when the run is stopped before its end (130): nobody there could
    resume it. Raises InputError where the folder holds no whole lab.
    """
    console = console or Console()
    shown = Lines() if as_json else Screen(console) if console.is_terminal else Frames(console)
    lab = WatchedLab(folder)
    try:
        with shown:
            return _follow(lab, shown)
    except KeyboardInterrupt:
        return DONE
    finally:
        lab.close()


def _follow(lab: WatchedLab, shown: Shown) -> int:
    view, since = look(lab), time.monotonic()  # since when it is so, and nothing is being drawn
    while True:
        before, lasting = view, time.monotonic() - since
        if view["state"] == "done" and (view["settled"] or lasting > DAMAGED_SECONDS):
            shown.last(view)
            return DONE
        if view["state"] == "stopped" and lasting > STOPPED_SECONDS and not shown.patient:
            shown.last(view)
            return STOPPED
        shown(view)
        time.sleep(EVERY if view["state"] != "done" else 0.1)
        try:
            view = look(lab)
        except Infrastructure as error:  # a locked database, mostly
            view = {**view, "advice": [{"level": "look", "text": f"not read just now: {error}"}]}
        if view["drawing"] or view["state"] != before["state"]:
            since = time.monotonic()


def look(lab: WatchedLab) -> Json:
    """The first page as it is now, with what the dashboard shows above it. drawing: whether it is still worked on."""
    lab.look()
    more, end = lab.work(), time.monotonic() + WORK_SECONDS
    while more and time.monotonic() < end:
        more = lab.work()
    now = lab.snapshot()
    page = run.page(now, lab.store)
    return {
        "lab": now.name, "title": now.problem.title, "problem": now.problem.name, "state": now.state,
        "phase": now.phase, "reason": now.reason, "read_at": now.read_at, "version": now.version, "drawing": more,
        "seconds_left": max(0.0, now.settings.budget.minutes * 60 - now.research_seconds),
        **page, "advice": [*notices(now), *page["advice"]], "fleet_best": fleet_best(now),
    }  # fmt: skip


def fleet_best(lab: Snapshot) -> list[float | None]:
    """The fleet's best PGR at 28 moments, evenly from the start to the last verified submission; None: none yet."""
    if not lab.entries:
        return []
    moments = [lab.entries[-1].minutes * (i + 1) / WIDTH for i in range(WIDTH)]
    found: list[float | None] = []
    best, entries = None, list(reversed(lab.entries))
    for moment in moments:
        while entries and entries[-1].minutes <= moment + 1e-9:
            best = round(entries.pop().best, 4)
        found.append(best)
    return found


# Ways to show it


class Shown(AbstractContextManager["Shown"]):
    """Called with a view every two seconds. patient: whether it waits for a stopped lab to go on."""

    patient = False

    def __call__(self, view: Json) -> None:
        raise NotImplementedError

    def last(self, view: Json) -> None:
        self(view)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Nothing is left open."""


class Screen(Shown):
    """Redrawn in place, cut to the terminal's height; the last frame stays, whole."""

    patient = True

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Screen:
        self.live.start()
        return self

    def __call__(self, view: Json) -> None:
        self.live.update(frame(view, self.console, self.console.height - 1), refresh=True)

    def last(self, view: Json) -> None:
        self.live.update(frame(view, self.console), refresh=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.live.stop()


class Frames(Shown):
    """One below the other, for logs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.at = 0.0

    def __call__(self, view: Json) -> None:
        if view["state"] == "done":
            return  # the last frame comes in a moment
        if not self.at or time.monotonic() - self.at >= PLAIN_EVERY:
            self.last(view)

    def last(self, view: Json) -> None:
        self.at = time.monotonic()
        self.console.print(frame(view, self.console), Text())


class Lines(Shown):
    """An object a line, for programs, whenever the lab is another."""

    def __init__(self) -> None:
        self.told: tuple[Any, ...] = ()

    def __call__(self, view: Json) -> None:
        now = (view["version"], view["state"], view["drawing"])
        if now != self.told:
            self.told = now
            print(json.dumps(view), flush=True)


# A frame


def frame(view: Json, console: Console, height: int | None = None) -> Group:
    """The page in lines. height: how many there may be; the events give way first, then researchers."""
    head = _head(view)
    people, events = view["researchers"], view["events"][:MOST_EVENTS]
    if height is not None:
        left = height - len(console.render_lines(head)) - 2
        people = people[: max(LEAST_PEOPLE, left)]
        events = events[: max(0, left - len(people) - 2)]
    parts: list[RenderableType] = [head, Text(), _people(people, len(view["researchers"]))]
    if events:
        parts += [Text(), _events(events, view["read_at"])]
    return Group(*parts)


def _head(view: Json) -> Group:
    left = f", {clock(view['seconds_left'])} left" if (view["state"], view["phase"]) == ("running", "research") else ""
    title = Text.assemble((words(view["lab"]), "bold"), f"  {view['title']}  ·  {state(view)}{left}")
    advice = [Text.assemble(SIGNS[a["level"]], words(a["text"], 300)) for a in view["advice"]]
    return Group(title, Text(words(view["headline"], 1000), style="bold"), *advice, Text(), _numbers(view))


def state(view: Json) -> str:
    """`running: auditing the finalists`, `stopped`, ..."""
    return f"running: {PHASES[view['phase']]}" if view["state"] == "running" else str(view["state"])


def _numbers(view: Json) -> Table:
    grid, costs, counts = Table.grid(padding=(0, 2)), view["costs"], view["counts"]
    for name, part in view["budget"].items():
        used, limit = part["used"], part["limit"]
        if name == "dollars" and not limit:
            continue  # what it costs is said below
        bar = ProgressBar(limit, min(used, limit), width=WIDTH) if limit else ""
        said = amount(name, used) + (f" of {amount(name, limit)}" if limit else "")
        if name == "submissions":
            said = f"{counts['verified']} verified, {counts['waiting']} waiting, {counts['failed']} failed"
        grid.add_row(name, bar, said)
    spent = f"{money(costs['llm_dollars'])} models, {money(costs['compute_dollars'])} computing"
    grid.add_row("cost", money(costs["dollars"]), spent)
    if line := sparkline(view["fleet_best"]):
        known = [v for v in view["fleet_best"] if v is not None]
        grid.add_row("fleet's best", line, f"PGR {plus_zero(known[0]):.2f} → {plus_zero(known[-1]):.2f}")
    return grid


def amount(name: str, value: float) -> str:
    if name == "dollars":
        return money(value)
    return thousands(value) if name == "tokens" else f"{value:,.0f}" if value >= 100 else f"{value:g}"


def sparkline(values: Sequence[float | None]) -> str:
    """One character a value, from the lowest to the highest; a flat line where they are all the same."""
    known = [v for v in values if v is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    steps = len(LEVELS) - 1
    return "".join(" " if v is None else LEVELS[round((v - low) / span * steps) if span else 0] for v in values)


def _people(shown: Sequence[Json], all_: int) -> RenderableType:
    if not all_:
        return Text("This lab has no researchers.", style="dim")
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for title in ("researcher", "", "best PGR", "verified", "cost"):
        number = title in ("verified", "cost")
        table.add_column(title, no_wrap=True, justify="right" if number else "left")
    table.add_column("says" if all_ == len(shown) else f"says   ({all_ - len(shown)} more)", no_wrap=True, ratio=1)
    for r in shown:
        condition = Text(r["condition"], style=STYLES.get(r["condition"], "dim"))
        count = f"{r['verified']}/{r['submissions']}"
        table.add_row(Text(words(r["name"], 20)), condition, best(r), count, money(r["dollars"]),
                      Text(words(r["state"], 200)))  # fmt: skip
    return table


def best(researcher: Json) -> str:
    """`0.78 [0.73, 0.83] #12`; without the interval until that is drawn."""
    found = researcher["best"]
    if found is None:
        return "–"
    mean, low, high = (found["pgr"][k] for k in ("mean", "low", "high"))
    interval = "" if low is None else f" [{plus_zero(low):.2f}, {plus_zero(high):.2f}]"
    return f"{plus_zero(mean):.2f}{interval} #{found['submission']}"


def _events(events: Sequence[Json], now: float) -> Table:
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(justify="right", style="dim", no_wrap=True)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=True, ratio=1)
    for e in events:
        grid.add_row(f"{clock(now - e['time'])} ago", str(e["kind"]), Text(f"{words(e['who'])}: {words(e['text'])}"))
    return grid


def words(text: str, limit: int = 160) -> str:
    """Somebody's text as one harmless line."""
    return " ".join(plain(text, limit).split())
