"""A lab folder as the pages see it: read again when its database has changed, and never written to.

`WatchedLab.snapshot()` is what every page is made from. It costs nothing while nothing changed; what is dear (drawing
intervals, the report's numbers of a finished run) happens in `WatchedLab.work`, called from a thread of its own.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from aarlab import settings as settings_file
from aarlab.dashboard.families import family_of
from aarlab.dashboard.intervals import BATCH, Interval, Intervals
from aarlab.errors import AarlabError, Infrastructure, InputError
from aarlab.fleet import costs, usage
from aarlab.fleet.lock import FILE, holder
from aarlab.ideas.families import chosen
from aarlab.problems.base import Problem, TaskCard
from aarlab.records import Account, Estimate, Evaluation, Finding, Judgement, ResearcherRow, Submission
from aarlab.reports.data import LAB, RunData, collect
from aarlab.reports.results import Results, measure
from aarlab.settings import Settings
from aarlab.store import Rows, Store
from aarlab.vault.feedback import Ladder, released_bits
from aarlab.vault.store import Vault

State = Literal["starting", "running", "stopped", "done"]
Json = dict[str, Any]

PARTS = ("lab.db", "vault/secret.json")
"""What a lab folder holds, beside its settings, once it is whole."""

REST = 5.0  # times what reading a lab took; so long it is not read again, however often it changes
CLASSED = 300  # method files read in one piece of work
LOCKS = Path("/proc/locks")
READERS_BYTE = 0x40000002  # of a SQLite file: who has it locked for writing keeps all readers out


@dataclass(frozen=True)
class Entry:
    """One verified submission. pgr: low and high are its mean until its interval is drawn (`drawn`).

    seeds: PGR of each seed on the feedback task. minutes: since the run's start. best: the fleet's best up to then.
    lead: paired difference to the best shown baseline. record: PGR of record, None while that is sealed.
    """

    submission: Submission
    pgr: Estimate
    drawn: bool
    lead: Estimate | None
    seeds: tuple[float, ...]
    minutes: float
    best: float
    record: Estimate | None = None


@dataclass(frozen=True)
class Snapshot:
    """One lab at one moment."""

    folder: Path
    name: str
    lab_id: str
    state: State
    phase: str
    target: str
    reason: str  # why research ended
    read_at: float  # Unix seconds
    version: int  # grows with every change that was seen
    started: float
    ended: float | None
    settings: Settings
    problem: Problem
    feedback: TaskCard
    submissions: dict[int, Submission]  # the fleet's, by number
    evaluations: dict[int, Evaluation]  # the feedback run of each submission
    entries: tuple[Entry, ...]  # scored ones, in the order in which they finished
    baselines: dict[str, Estimate]
    best_baseline: str
    people: tuple[ResearcherRow, ...]  # the fleet, and people who handed something in
    accounts: dict[str, Account]
    costs: Json  # the shape of fleet.costs.totals
    usage: usage.Usage
    budget: Json  # answers, bits, minutes, dollars, tokens, submissions: {"used", "limit" or None}
    ladder: Json  # start, step, best, next: accuracies
    judgements: dict[int, Judgement]  # the verdicts that hold
    measured: dict[int, list[Finding]]  # what audits found, by submission
    families: dict[int, str]  # submission -> family, as declared or found
    finalists: tuple[int, ...]
    winner: int | None
    posts: int
    last_event: int
    ledger: Json  # lines, head
    drawing: int  # intervals still to be drawn
    report: tuple[RunData, Results] | None = None  # of a finished run, once measured

    @property
    def drawn_version(self) -> str:
        """Another one whenever charts may look different; heartbeats and costs do not count."""
        judged = max((j.time for j in self.judgements.values()), default=0.0)
        parts = (
            len(self.submissions), len(self.entries), self.drawing, self.posts, self.phase, judged,
            self.report is not None, self.budget["answers"]["used"], len(self.families),
        )  # fmt: skip
        return "-".join(map(str, parts))

    @property
    def research_seconds(self) -> float:
        return self.usage.research_seconds

    @property
    def ranked(self) -> bool:
        """Whether methods ran isolated, so that scores count."""
        return self.settings.isolation.kind != "process"

    def entry(self, number: int) -> Entry | None:
        return self.by_number.get(number)

    @cached_property
    def by_number(self) -> dict[int, Entry]:
        return {e.submission.id: e for e in self.entries}

    @cached_property
    def by_researcher(self) -> dict[str, list[Entry]]:
        """The verified submissions of each who has one, in the order of `entries`."""
        found: dict[str, list[Entry]] = {}
        for e in self.entries:
            found.setdefault(e.submission.researcher, []).append(e)
        return found

    @cached_property
    def handed_in(self) -> Counter[str]:
        """Researcher -> submissions, whatever became of them."""
        return Counter(s.researcher for s in self.submissions.values())

    def findings(self, number: int) -> list[Finding]:
        """What audits found; a submission that repeats another's method has that one's."""
        s = self.submissions.get(number)
        return self.measured.get((s.repeat_of or number) if s is not None else number, [])

    @cached_property
    def best(self) -> Entry | None:
        """The highest ranked score so far."""
        ranked = [e for e in self.entries if e.submission.ranked]
        return max(ranked, key=lambda e: e.pgr.mean, default=None)


class WatchedLab:
    """One lab folder that pages look at. changed: called after a newer snapshot is there, from any thread."""

    def __init__(self, folder: Path, changed: Callable[[], None] = lambda: None) -> None:
        self.folder, self.changed = folder, changed
        self.settings = settings_file.read(folder / "lab.toml")
        for part in PARTS:
            if not (folder / part).is_file():
                raise InputError(f"{folder} has no {part}; it is no whole lab folder, or it is still being made")
        self.store = Store(folder / "lab.db")
        self.vault = Vault(folder / "vault")
        self.problem = self.vault.problems[self.settings.problem]
        self.feedback = self.problem.of_role("feedback")[0]
        self.intervals = Intervals(folder, self.vault, self.feedback)
        self._seen = self.store.watcher()
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._at: tuple[int, State] | None = None
        self._took = 0.0
        self._stale = False  # something was drawn that the snapshot does not hold
        self._report: tuple[str, tuple[RunData, Results]] | None = None
        self._unreported = ""  # the ledger's head at which no report could be measured
        self._families: dict[int, str] = {}

    def snapshot(self) -> Snapshot:
        """The newest one; read again at once where that is quick, else by `look`."""
        found = self._snapshot
        if found is None or (self._took < 0.1 and time.time() - found.read_at > 0.2):
            self.look()
        assert self._snapshot is not None
        return self._snapshot

    @property
    def seen(self) -> Snapshot | None:
        """The one read last, if any; reads nothing."""
        return self._snapshot

    def look(self) -> bool:
        """Read the lab again if it changed; whether it had."""
        with self._lock:
            at = (self._seen(), self.state())
            rested = self._snapshot is None or time.time() - self._snapshot.read_at > REST * self._took
            if not rested or (at == self._at and not self._stale):
                return False
            began = time.monotonic()
            self._stale = False
            with self.store.read() as rows:
                self._snapshot = self._read(rows, at[1])
            self._at, self._took = at, time.monotonic() - began
        self.changed()
        return True

    def state(self) -> State:
        if holder(self.folder) is not None:
            return "running" if (self.folder / "run" / "server.json").is_file() else "starting"
        done = self._snapshot is not None and self._snapshot.phase == "done"
        return "done" if done else "stopped"

    def work(self) -> bool:
        """One piece of what is dear; False when nothing is left to do. Called by one thread alone."""
        found = self._snapshot
        if found is None:
            return False
        if self._classify(found):
            self._stale = True
            return True
        missing = self.intervals.missing([found.evaluations[e.submission.id] for e in found.entries])
        missing = [e for e in missing if e.outcome][:BATCH]
        if missing:
            self.intervals.draw(missing)
            drawn = [e for e in missing if self.intervals.get(e) is not None]
            self._stale = bool(drawn)
            if drawn:
                return True
        head = found.ledger["head"]
        if found.phase == "done" and head not in (self._unreported, self._report[0] if self._report else ""):
            try:
                data = collect(self.folder)
                self._report = (head, (data, measure(data)))
            except (AarlabError, OSError):  # a damaged lab: pages go without numbers of record
                self._unreported = head
                return False
            self._stale = True
            return True
        return False

    def close(self) -> None:
        self.store.close()

    # Reading

    def _read(self, rows: Rows, state: State) -> Snapshot:
        everything, evaluations = rows.submissions(), rows.evaluations()
        baseline_names = {s.id: s.name for s in everything if s.researcher == LAB}
        submissions = {s.id: s for s in everything if s.researcher != LAB}
        feedback = {e.submission: e for e in evaluations if e.purpose in ("feedback", "baseline")}
        seeds: dict[int, list[float]] = {}
        cpu: dict[int, float] = {}
        lab_cpu = 0.0
        for number, purpose, pgr, took in rows.measured():
            if purpose in ("feedback", "baseline"):
                seeds.setdefault(number, []).append(pgr)
            if purpose == "feedback":
                cpu[number] = cpu.get(number, 0.0) + took
            else:
                lab_cpu += took
        baselines = self._baselines(baseline_names, feedback, seeds)
        started = float(rows.meta("lab")["created"])
        phase = rows.meta("phase", "research")
        judgements = rows.standing()
        lab_cpu += sum(j.cpu_seconds for j in rows.judgements())
        report = self._report[1] if self._report is not None and phase == "done" else None
        entries = self._entries(submissions, feedback, seeds, started, report)
        used = usage.read(self.folder / "run")
        people = tuple(self._people(rows, {s.researcher for s in submissions.values()}))
        accounts = rows.accounts()
        last = rows.last_line()
        about = rows.meta("lab")
        drawing = sum(not e.drawn and feedback[e.submission.id].outcome is not None for e in entries)
        if phase == "done" and state == "stopped":
            state = "done"
        ended, reason = self._ending(rows, phase)
        return Snapshot(
            folder=self.folder, name=self.folder.name, lab_id=str(about["id"]), state=state, phase=phase,
            target=rows.meta("target", "research"), reason=reason, read_at=time.time(),
            version=(self._snapshot.version + 1 if self._snapshot else 1), started=started, ended=ended,
            settings=self.settings, problem=self.problem, feedback=self.feedback, submissions=submissions,
            evaluations={n: feedback[n] for n in submissions if n in feedback}, entries=entries, baselines=baselines,
            best_baseline=max(baselines, key=lambda n: baselines[n].mean, default=""), people=people,
            accounts=accounts, costs=self._costs(used, accounts, people, submissions, cpu, lab_cpu), usage=used,
            budget=self._budget(rows, used, accounts, len(submissions)), ladder=self._ladder(rows),
            judgements=judgements, measured=rows.findings(), families=self._family_of(rows, submissions),
            finalists=tuple(rows.meta("finalists", [])), winner=rows.meta("winner"), posts=rows.count_all_posts(),
            last_event=rows.last_event(),
            ledger={"lines": last.number if last else 0, "head": last.hash if last else ""}, drawing=drawing,
            report=report,
        )  # fmt: skip

    def _baselines(
        self, names: dict[int, str], feedback: dict[int, Evaluation], seeds: dict[int, list[float]]
    ) -> dict[str, Estimate]:
        """Shown baselines with their intervals; also finds the one that others are compared with."""
        scored = {n: feedback[n] for n in names if n in seeds and n in feedback}
        rival = max(scored, key=lambda n: fmean(seeds[n]), default=None)
        self.intervals.rival = scored[rival] if rival is not None else None
        missing = self.intervals.missing(list(scored.values()))
        if missing:
            self.intervals.draw(missing)
        return {names[n]: self._estimate(e, seeds[n])[0].pgr for n, e in scored.items()}

    def _estimate(self, e: Evaluation, seeds: list[float]) -> tuple[Interval, bool]:
        found = self.intervals.get(e)
        if found is not None:
            return found, True
        mean = fmean(seeds)
        return Interval(Estimate(mean, mean, mean, len(seeds), self.feedback.test_items)), False

    def _entries(
        self, submissions: dict[int, Submission], feedback: dict[int, Evaluation], seeds: dict[int, list[float]],
        started: float, report: tuple[RunData, Results] | None,
    ) -> tuple[Entry, ...]:  # fmt: skip
        on_record = {r.submission.id: r.record for r in report[1].rows} if report else {}
        best, entries = float("-inf"), []
        scored = [s for s in submissions.values() if s.status == "scored" and s.id in seeds and s.id in feedback]
        for s in sorted(scored, key=lambda s: (s.finished or s.created, s.id)):
            found, drawn = self._estimate(feedback[s.id], seeds[s.id])
            best = max(best, found.pgr.mean)
            minutes = max(0.0, ((s.finished or s.created) - started) / 60)
            entries.append(Entry(s, found.pgr, drawn, found.lead, tuple(seeds[s.id]), minutes, best,
                                 on_record.get(s.id)))  # fmt: skip
        return tuple(entries)

    def _people(self, rows: Rows, active: set[str]) -> list[ResearcherRow]:
        return [r for r in rows.researchers() if r.role == "researcher" or (r.name in active and r.role != "lab")]

    def _costs(
        self, used: usage.Usage, accounts: dict[str, Account], people: tuple[ResearcherRow, ...],
        submissions: dict[int, Submission], cpu: dict[int, float], lab_cpu: float,
    ) -> Json:  # fmt: skip
        """Feedback runs are their researcher's; baselines, audits, record and transfer runs are the lab's own."""
        seconds = {r.name: 0.0 for r in people} | {LAB: lab_cpu}
        for number, took in cpu.items():
            who = submissions[number].researcher if number in submissions else LAB
            seconds[who] = seconds.get(who, 0.0) + took
        rows = [{"name": n, "role": "researcher", "method_cpu_seconds": s} for n, s in seconds.items()]
        calls = {name: vars(account) for name, account in accounts.items()}
        return costs.totals(self.settings, used, {"researchers": rows, "spending": calls})

    def _budget(self, rows: Rows, used: usage.Usage, accounts: dict[str, Account], submissions: int) -> Json:
        limits = self.settings.budget
        given, _ = rows.ladder_state()
        rungs = self._terms(rows).rungs
        dollars = sum(a.dollars for a in accounts.values())
        tokens = sum(a.tokens for a in accounts.values())
        per_person = limits.submissions * sum(1 for r in rows.researchers() if r.role == "researcher")
        return {
            "answers": {"used": given, "limit": limits.answers},
            "bits": {"used": round(released_bits(given, rungs), 1),
                     "limit": round(released_bits(max(limits.answers, given), rungs), 1)},
            "minutes": {"used": round(used.research_seconds / 60, 2), "limit": limits.minutes},
            "dollars": {"used": round(dollars, 4), "limit": limits.dollars or None},
            "tokens": {"used": tokens, "limit": limits.tokens or None},
            "submissions": {"used": submissions, "limit": per_person or None},
        }  # fmt: skip

    def _terms(self, rows: Rows) -> Ladder:
        terms = rows.meta("ladder")
        return Ladder(float(terms["step"]), int(terms["start"]), int(terms["start"]))

    def _ladder(self, rows: Rows) -> Json:
        ladder = self._terms(rows).resumed(rows.ladder_state()[1])
        return {
            "start": ladder.accuracy(ladder.start), "step": ladder.step, "best": ladder.accuracy(ladder.best),
            "next": ladder.accuracy(ladder.best + 1),
        }  # fmt: skip

    def _ending(self, rows: Rows, phase: str) -> tuple[float | None, str]:
        moves = rows.lines_of("phase")
        reason = next((str(m.body["reason"]) for m in moves if m.body.get("reason")), "")
        return (moves[-1].time if phase == "done" and moves else None), reason

    def _classify(self, lab: Snapshot) -> bool:
        """Find the families of some method files that nobody has classed; False where there are none left."""
        unread = [s for n, s in lab.submissions.items() if n not in self._families][-CLASSED:]
        for s in unread:
            counted = chosen(family_of(self.folder, s.bundle_hash) or {})
            self._families[s.id] = counted[0] if counted else ""
        return bool(unread)

    def _family_of(self, rows: Rows, submissions: dict[int, Submission]) -> dict[int, str]:
        """As declared, else as a model or rules found it."""
        found = {i.number: i.family for by in ("rules", "llm", "researcher") for i in rows.ideas("submission", by)}
        return {n: f for n, f in {**self._families, **found}.items() if f and n in submissions}


def source(lab: Snapshot, number: int) -> str:
    """The method file of a submission. Raises InputError where it is gone."""
    path = lab.folder / "artifacts" / f"{lab.submissions[number].bundle_hash}.py"
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; restore the lab folder from a copy") from None


def check_free(path: Path, patience: float) -> None:
    """Raises Infrastructure where somebody keeps a database to himself and does not let go within `patience` seconds.

    To be asked before it is opened; from then on nobody can lock readers out any more.
    """
    end = time.monotonic() + patience
    while (pid := locker(path)) is not None:
        if time.monotonic() > end:
            raise Infrastructure(
                f"{path} is locked by process {pid}, so nothing of this lab can be read; wait until that process is "
                f"done with it, or end it with `kill {pid}`"
            )
        time.sleep(0.05)


def locker(path: Path) -> int | None:
    """The process that has a database locked for itself alone; None where none is known.

    The kernel's list is read, since SQLite itself would wait for half a minute. Opening the file to ask for its locks
    is no way: closing it again would end those that this process has.
    """
    try:
        inode, lines = path.stat().st_ino, LOCKS.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return None
    return next((int(pid) for pid, held in map(_exclusive, lines) if held == inode), None)


def _exclusive(line: str) -> tuple[str, int]:
    """(process, inode) of a line of the kernel's list that shuts readers out; inode 0 for any other line."""
    words = line.split()  # number, kind, advisory, mode, process, device:device:inode, first byte, last
    if len(words) != 8 or words[3] != "WRITE" or words[7] == "EOF" or words[1] not in ("POSIX", "OFDLCK"):
        return "", 0
    inside = int(words[6]) <= READERS_BYTE <= int(words[7])
    return (words[4], int(words[5].split(":")[-1])) if inside else ("", 0)


def in_shell(path: Path) -> str:
    """A path as a shell takes it, short where it lies below the user's own folder."""
    home = Path.home()
    if home == Path(home.anchor) or not path.is_relative_to(home):
        return shlex.quote(str(path))
    return f"~/{shlex.quote(str(path.relative_to(home)))}"


def killed(folder: Path) -> int | None:
    """The process that ran a lab and ended without a word: one that stops takes its number back."""
    try:
        text = (folder / FILE).read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdigit() and holder(folder) is None else None


def sealed(lab: Snapshot) -> bool:
    """Whether numbers of record are still hidden: until the run has ended."""
    return lab.phase != "done"
