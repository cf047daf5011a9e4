"""Numbers of the labs for Prometheus, at `/metrics`.

Shown are labs that run, and labs that somebody looks at. The address is behind the dashboard's guard like every page: a
browser that is logged in may read it, and Prometheus sends the viewer's token of any lab (`viewer` in the lab's
run/tokens.json, best copied to a file of its own that Prometheus alone can read):

    scrape_configs:
      - job_name: aarlab
        authorization: {credentials_file: /etc/prometheus/aarlab.token}
        static_configs: [{targets: ["127.0.0.1:8642"]}]

Numbers of record are not among them: they are sealed until a run has ended, and stand in its report then.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from aarlab.dashboard.lab import Json, Snapshot, State
from aarlab.dashboard.labs import Labs
from aarlab.dashboard.run import condition
from aarlab.errors import AarlabError
from aarlab.fleet.lock import holder
from aarlab.records import Phase, ResearcherRow, Status
from aarlab.reports.text import plain

CONTENT_TYPE = CONTENT_TYPE_LATEST

CONDITIONS = ("waiting", "working", "silent", "paused", "out of budget", "failed", "stopped", "finished")
KINDS = ("input", "output", "cache_read", "cache_write")
"""Of tokens; a model's reasoning is part of its output."""

Family = type[GaugeMetricFamily] | type[CounterMetricFamily]
Sample = tuple[str, tuple[str, ...], float]
"""A family's name, the values of its labels after `lab`, and the number."""

GAUGE, COUNTER = GaugeMetricFamily, CounterMetricFamily
FAMILIES: dict[str, tuple[Family, str, tuple[str, ...]]] = {
    "aarlab_lab_up": (GAUGE, "1 where the lab can be read, 0 where it cannot.", ()),
    "aarlab_lab_info": (GAUGE, "1; its labels say what the lab works on.", ("problem", "isolation")),
    "aarlab_lab_state": (GAUGE, "1 for the state that the lab is in.", ("state",)),
    "aarlab_lab_phase": (GAUGE, "1 for the phase that the run is in.", ("phase",)),
    "aarlab_research_seconds": (COUNTER, "Wall time of the research phase, without pauses.", ()),
    "aarlab_research_limit_seconds": (GAUGE, "Wall time that the research phase may take.", ()),
    "aarlab_answers": (COUNTER, "Ladder answers given to the fleet.", ()),
    "aarlab_answers_limit": (GAUGE, "Ladder answers that the fleet may get.", ()),
    "aarlab_released_bits": (GAUGE, "Bits about hidden labels that the answers released at most.", ()),
    "aarlab_released_bits_bound": (GAUGE, "Bits that all answers of the run together release at most.", ()),
    "aarlab_dollars": (COUNTER, "Dollars spent on language models and on computing.", ("researcher", "kind")),
    "aarlab_dollars_limit": (GAUGE, "Dollars that the fleet may spend; absent without a limit.", ()),
    "aarlab_tokens": (COUNTER, "Tokens of language models.", ("researcher", "kind")),
    "aarlab_tokens_limit": (GAUGE, "Tokens that the fleet may use; absent without a limit.", ()),
    "aarlab_model_calls": (COUNTER, "Calls to language models.", ("researcher",)),
    "aarlab_cpu_seconds": (COUNTER, "CPU time of a researcher's process and its method runs.", ("researcher",)),
    "aarlab_submissions": (GAUGE, "Submissions of the fleet by status; audits leave the status alone.", ("status",)),
    "aarlab_best_pgr": (GAUGE, "Highest ranked PGR on the feedback task, its mean over seeds.", ()),
    "aarlab_best_pgr_low": (GAUGE, "Lower end of its 95 % interval; absent until that is drawn.", ()),
    "aarlab_best_pgr_high": (GAUGE, "Upper end of its 95 % interval; absent until that is drawn.", ()),
    "aarlab_baseline_pgr": (GAUGE, "PGR of a shown baseline on the feedback task, its mean.", ("baseline",)),
    "aarlab_researchers": (GAUGE, "Researchers by what they are doing.", ("condition",)),
    "aarlab_researcher_submissions": (GAUGE, "Submissions of a researcher.", ("researcher",)),
    "aarlab_researcher_best_pgr": (GAUGE, "A researcher's highest PGR on the feedback task.", ("researcher",)),
    "aarlab_heartbeat_age_seconds": (GAUGE, "Time since a researcher was last heard of.", ("researcher",)),
    "aarlab_posts": (COUNTER, "Posts in the forum.", ()),
    "aarlab_ledger_lines": (COUNTER, "Lines of the ledger.", ()),
    "aarlab_intervals_waiting": (GAUGE, "Intervals that the dashboard has still to draw.", ()),
}  # fmt: skip
"""Every one has the label `lab` first. Counters get the ending `_total` as they are written."""


def metrics(labs: Labs) -> bytes:
    """All numbers in Prometheus' text format, as `CONTENT_TYPE` says. A lab that cannot be read has only its `up`."""
    registry = CollectorRegistry()
    registry.register(Shown(labs))
    return generate_latest(registry)


class Shown(Collector):
    """Reads the labs whenever it is asked, and keeps nothing."""

    def __init__(self, labs: Labs) -> None:
        self.labs = labs

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        found = {n: family(n, text, labels=("lab", *labels)) for n, (family, text, labels) in FAMILIES.items()}
        for name, snapshot in snapshots(self.labs):
            for family, labels, value in samples(snapshot) if snapshot else [("aarlab_lab_up", (), 0.0)]:
                found[family].add_metric([plain(v) for v in (name, *labels)], value)
        return found.values()


def snapshots(labs: Labs) -> Iterator[tuple[str, Snapshot | None]]:
    """Labs that are open already, which stay open no longer for it, and those that run; None: cannot be read."""
    opened = labs.opened()
    for name in labs.names():
        try:
            lab = opened.get(name)
            if lab is None and holder(labs.folder(name)) is not None:
                lab = labs.get(name)
            if lab is not None:
                yield name, lab.snapshot()
        except AarlabError:
            yield name, None


def samples(lab: Snapshot) -> Iterator[Sample]:
    """Every number of one lab."""
    yield "aarlab_lab_up", (), 1.0
    yield "aarlab_lab_info", (lab.problem.name, lab.settings.isolation.kind), 1.0
    yield from _counted("aarlab_lab_state", get_args(State), [lab.state])
    yield from _counted("aarlab_lab_phase", get_args(Phase), [lab.phase])
    yield from _budget(lab)
    yield from _scores(lab)
    yield from _counted("aarlab_submissions", get_args(Status), (s.status for s in lab.submissions.values()))
    fleet = [row for row in lab.people if row.role == "researcher"]
    yield from _counted("aarlab_researchers", CONDITIONS, (condition(lab, row) for row in fleet))
    for row in fleet:
        yield from _researcher(lab, row)
    for name, cost in lab.costs["researchers"].items():
        yield from _costs(name, cost)
    yield "aarlab_posts", (), lab.posts
    yield "aarlab_ledger_lines", (), lab.ledger["lines"]
    yield "aarlab_intervals_waiting", (), lab.drawing


def _counted(family: str, words: Iterable[str], found: Iterable[str]) -> Iterator[Sample]:
    """How often each word was found: every word is there, so that a series does not end when its number is 0."""
    counts = Counter(found)
    return ((family, (word,), counts[word]) for word in words)


def _budget(lab: Snapshot) -> Iterator[Sample]:
    yield "aarlab_research_seconds", (), lab.research_seconds
    yield "aarlab_research_limit_seconds", (), 60.0 * lab.budget["minutes"]["limit"]
    yield "aarlab_answers", (), lab.budget["answers"]["used"]
    yield "aarlab_answers_limit", (), lab.budget["answers"]["limit"]
    yield "aarlab_released_bits", (), lab.budget["bits"]["used"]
    yield "aarlab_released_bits_bound", (), lab.budget["bits"]["limit"]
    for what in ("dollars", "tokens"):
        if lab.budget[what]["limit"] is not None:
            yield f"aarlab_{what}_limit", (), lab.budget[what]["limit"]


def _scores(lab: Snapshot) -> Iterator[Sample]:
    for name, baseline in lab.baselines.items():
        yield "aarlab_baseline_pgr", (name,), baseline.mean
    if lab.best is not None:
        yield "aarlab_best_pgr", (), lab.best.pgr.mean
        if lab.best.drawn:
            yield "aarlab_best_pgr_low", (), lab.best.pgr.low
            yield "aarlab_best_pgr_high", (), lab.best.pgr.high


def _researcher(lab: Snapshot, row: ResearcherRow) -> Iterator[Sample]:
    mine = [e.pgr.mean for e in lab.by_researcher.get(row.name, [])]
    yield "aarlab_researcher_submissions", (row.name,), lab.handed_in[row.name]
    if mine:
        yield "aarlab_researcher_best_pgr", (row.name,), max(mine)
    if row.heartbeat is not None:
        yield "aarlab_heartbeat_age_seconds", (row.name,), max(0.0, time.time() - row.heartbeat)


def _costs(name: str, cost: Json) -> Iterator[Sample]:
    """Of a researcher, or of the lab itself, whose baselines, audits and record runs cost too."""
    yield "aarlab_cpu_seconds", (name,), cost["cpu_seconds"]
    yield "aarlab_dollars", (name, "models"), cost["llm_dollars"]
    yield "aarlab_dollars", (name, "computing"), cost["compute_dollars"]
    yield "aarlab_model_calls", (name,), cost["calls"]
    for kind in KINDS:
        yield "aarlab_tokens", (name, kind), cost[f"{kind}_tokens"]
