"""Which pages and charts there are, and what all of them show of their lab."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aarlab.dashboard import forum, ideas, leaderboard, researcher, run, submission, trust
from aarlab.dashboard.charts import Chart
from aarlab.dashboard.lab import Json, Snapshot, WatchedLab, in_shell, killed
from aarlab.errors import UnknownName


@dataclass(frozen=True)
class View:
    """One page of a lab. make: (lab, what the address names, its query) -> the page as JSON.

    path: after /labs/LAB; one that holds `{about}` names a thing. nav: its place in the navigation; empty: none.
    """

    title: str
    path: str
    template: str
    make: Callable[[WatchedLab, str, dict[str, str]], Json]
    nav: str = ""
    key: str = ""  # of the keyboard, after `g`
    charts: tuple[str, ...] = ()  # that live updates draw again

    @property
    def about(self) -> bool:
        return "{about" in self.path


VIEWS: dict[str, View] = {
    "run": View("Run", "", "run.html.j2", lambda lab, about, query: run.page(lab.snapshot(), lab.store), "Run", "r",
                charts=("time",)),
    "leaderboard": View(
        "Leaderboard", "/leaderboard", "leaderboard.html.j2",
        lambda lab, about, query: leaderboard.page(lab.snapshot(), lab.store, query), "Leaderboard", "l",
        charts=("board", "claims"),
    ),
    "submissions": View(
        "Submission", "/submissions/{about}", "submission.html.j2",
        lambda lab, about, query: submission.page(lab.snapshot(), lab.store, number(about), query),
        charts=("seeds", "audit"),
    ),
    "forum": View(
        "Forum", "/forum", "forum.html.j2",
        lambda lab, about, query: forum.page(lab.snapshot(), lab.store, query), "Forum", "f",
    ),
    "posts": View(
        "Thread", "/forum/{about}", "thread.html.j2",
        lambda lab, about, query: forum.thread(lab.snapshot(), lab.store, number(about), query),
    ),
    "researchers": View(
        "Researcher", "/researchers/{about}", "researcher.html.j2",
        lambda lab, about, query: researcher.page(lab.snapshot(), lab.store, about, query),
        charts=("researcher",),
    ),
    "ideas": View(
        "Ideas", "/ideas", "ideas.html.j2", lambda lab, about, query: ideas.page(lab.snapshot(), lab.store), "Ideas",
        "i", charts=("families", "entropy", "distinct", "complexity", "lineage"),
    ),
    "trust": View(
        "Trust", "/trust", "trust.html.j2",
        lambda lab, about, query: trust.page(lab.snapshot(), lab.store, query), "Trust", "t", charts=("bits",),
    ),
}  # fmt: skip

CHARTS: dict[str, Chart] = {
    **run.CHARTS, **leaderboard.CHARTS, **submission.CHARTS, **researcher.CHARTS, **ideas.CHARTS, **trust.CHARTS,
}  # fmt: skip


def number(text: str) -> int:
    """A number in an address. Raises UnknownName for anything else."""
    if not text.isdecimal() or len(text) > 15:
        raise UnknownName(f"{text[:40]!r} is no number of this lab")
    return int(text)


def brief(lab: Snapshot) -> Json:
    """Of every page's head: which lab, how far it is, and where its pages are."""
    return {
        "name": lab.name, "title": lab.problem.title, "problem": lab.problem.name, "state": lab.state,
        "phase": lab.phase, "started": lab.started, "ended": lab.ended, "reason": lab.reason, "ranked": lab.ranked,
        "best_baseline": lab.best_baseline,
        "isolation": lab.settings.isolation.kind, "drawing": lab.drawing,
        "seconds_left": max(0.0, lab.settings.budget.minutes * 60 - lab.research_seconds),
        "nav": [(v.nav, f"/labs/{lab.name}{v.path}", name, v.key) for name, v in VIEWS.items() if v.nav],
        "read_at": time.time(), "notices": notices(lab),
    }  # fmt: skip


def notices(lab: Snapshot) -> list[Json]:
    """What every page says of a lab that does not simply run, and what to do: {"level", "text"}, as `run.advice`."""
    return [{"level": level, "text": text} for level, text in _notices(lab)]


def _notices(lab: Snapshot) -> Iterator[tuple[str, str]]:
    folder = in_shell(lab.folder)
    if lab.state == "starting":
        yield (
            "look",
            "This lab is starting: baselines run first, then the researchers. Wait: pages renew themselves.",
        )
    if lab.state == "stopped":
        yield "act", f"{_stopped(lab)} Nothing that was scored is lost: go on with `aarlab resume {folder}`."
    if lab.state == "done":
        written = lab.folder / "report" / "report.html"
        report = (
            f"its report is {in_shell(written)}" if written.is_file() else f"`aarlab report {folder}` writes its report"
        )
        yield "fine", f"This run is over, and its numbers change no more; {report}."
    for copy in sorted(lab.folder.glob("lab.schema-*.db")):
        older = "An older version of aarlab wrote this lab, and its database was brought up to date"
        yield "look", f"{older}; as it was it is kept as {in_shell(copy)}. Remove that copy when you need it no longer."


def _stopped(lab: Snapshot) -> str:
    pid = killed(lab.folder)
    if pid is None:
        return f"This lab is stopped in its phase {lab.phase}, before its end."
    return f"The process {pid} that ran this lab was killed, or the machine went down, in its phase {lab.phase}."
