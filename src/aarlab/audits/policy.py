"""A policy: which channels of information a track may use, and what findings mean under it.

A problem's `problem.toml` may change any of the ranges below:

    [policy.channels]                       # on every track
    "answer frequency" = [-0.2, 0.2]
    [policy.tracks.inductive]               # on one track; a new name makes a new track
    "test batch" = [0, 0.1]
    [policy.payload]
    numbers = 300

`inf` and `-inf` stand for "no limit". A number outside its range counts only where its whole 95 % interval lies
outside; else the verdict on that channel is "cannot tell", which never costs a rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aarlab.audits.base import FEW_ITEMS
from aarlab.errors import PackError
from aarlab.records import ChannelVerdict, ChannelWord, Finding, Outcome, Verdict

INF = math.inf


@dataclass(frozen=True)
class Range:
    """The allowed values of a channel's number, both ends included."""

    low: float = -INF
    high: float = INF

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


ANY = Range()

CHANNELS: dict[str, Range] = {
    "student": Range(0.5),
    "answer frequency": Range(-0.15, 0.15),
    "source": Range(high=0.5),
    "memory": Range(high=4),
    "rename": Range(high=0.06),
    "basis": Range(high=0.06),
    "texts": Range(high=0.06),
    "own knowledge": Range(0.7),
    "execution": Range(high=0),
    "payload": Range(high=1),
}
"""On every track. Outside them a submission does not rank as weak-to-strong supervision, whatever it declares."""

TRACKS: dict[str, dict[str, Range]] = {
    "inductive": {"teacher": Range(0.25), "teacher swap": Range(0.25), "test batch": Range(high=0.05)},
    "transductive": {"teacher": Range(0.25), "teacher swap": Range(0.25), "test batch": ANY},
    "group": {"teacher": Range(0.25), "teacher swap": Range(0.25), "test batch": ANY},
    "teacher-free": {"teacher": Range(high=0.1), "teacher swap": Range(high=0.25), "test batch": ANY},
    "hybrid": {"teacher": ANY, "teacher swap": Range(0.05), "test batch": ANY},
}
"""What each track allows, from the narrowest on:

    inductive      learns from the weak labels; judges every test item alone
    transductive   also learns from the unlabelled test items
    group          also from how the test items of one group hang together
    teacher-free   the student's own opinion alone (unsupervised elicitation)
    hybrid         the weak labels and the student's own opinion, in any mixture; but whoever turns with an inverted
                   teacher also has to follow another one, else it has only noticed the inversion
"""

PAYLOAD: dict[str, float] = {"bundle_kb": 64, "numbers": 500, "packed_bytes": 2000, "overlap": 0}

DECIDES: dict[str, tuple[str, ...]] = {
    "teacher": ("teacher-flip", "teacher-permutation"),
    "test batch": ("group-isolation",),
    "answer frequency": ("answer-frequency",),
    "source": ("source-balance",),
}
"""The audits whose numbers count where a channel has several; of two the one that shows more use. Others are shown."""

SHOWN_ONLY = ("tiny-batches", "leave-one-source-out", "answer-dedup", "zero-shot-ablation", "fresh-seeds")
"""Audits whose numbers no verdict reads."""

NOTED: dict[str, Range] = {"new task": Range(0.6)}
"""Outside these a submission ranks with a note: the record itself is on new tasks."""

ROW = (
    "teacher", "teacher swap", "student", "zero-shot", "test batch", "answer frequency", "source", "memory", "rename",
    "basis", "texts", "own knowledge", "new task", "execution",
)  # fmt: skip
"""The channels of a verdict's row, in its order."""

MEANS: dict[str, tuple[str, str]] = {
    "teacher": ("does not depend on the weak labels", "depends on the weak labels"),
    "teacher swap": ("does not follow which teacher it is given", "follows which teacher it is given"),
    "test batch": ("", "changes its answers with the other items of the batch"),
    "student": ("keeps its skill without the student's knowledge", ""),
    "answer frequency": ("prefers rare answers", "prefers the most frequent answer"),
    "source": ("", "tells right from wrong by who wrote an item"),
    "memory": ("", "is better on the items that answered than on others of the same task"),
    "rename": ("", "changes its answers when items are reworded"),
    "basis": ("", "depends on how the features are written down: it brings weights for them"),
    "texts": ("", "reads the texts itself"),
    "own knowledge": ("keeps its skill when teacher and untrained opinion are destroyed: it brings its own", ""),
    "execution": ("", "tried what a method may not do"),
    "payload": ("", "carries more data than a method may"),
    "new task": ("loses most of its skill on another task", ""),
}
"""What it means to lie below and above a range, as the end of "the method ..."."""


@dataclass(frozen=True)
class Policy:
    """Ranges by channel: of every track, and of each track beside them."""

    channels: Mapping[str, Range] = field(default_factory=lambda: CHANNELS)
    by_track: Mapping[str, Mapping[str, Range]] = field(default_factory=lambda: TRACKS)
    payload: Mapping[str, float] = field(default_factory=lambda: PAYLOAD)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Policy:
        """The policy of a problem, from `Problem.settings`. Raises PackError for a range that is none."""
        given = settings.get("policy", {})
        tracks = {name: dict(ranges) for name, ranges in TRACKS.items()}
        for name, ranges in given.get("tracks", {}).items():
            tracks.setdefault(name, {}).update(_ranges(ranges, f"policy.tracks.{name}"))
        channels = {**CHANNELS, **_ranges(given.get("channels", {}), "policy.channels")}
        return cls(channels, tracks, {**PAYLOAD, **given.get("payload", {})})

    @property
    def tracks(self) -> tuple[str, ...]:
        """All tracks, the narrowest first."""
        return tuple(self.by_track)

    def ranges(self, track: str) -> dict[str, Range]:
        """Every range that holds on a track."""
        return {**self.channels, **self.by_track.get(track, {})}

    def judge(self, declared: str, findings: Sequence[Finding], items: int) -> Verdict:
        """What findings mean for a submission that declared a track. items: of the audited test set."""
        found = deciding(findings)
        barred = [c for c in self._on(self.channels, found, items) if c.word in VIOLATIONS]
        track, moved = self._track(declared, found, items)
        channels = self._on(self.ranges(track or declared), found, items)
        outcome, reason = self._outcome(declared, track, barred, moved, channels, findings)
        return Verdict(outcome, declared, track or declared, reason, row(findings), tuple(channels))

    def suspects(self, findings: Sequence[Finding], items: int) -> list[str]:
        """Names of the audits that would bar a method whatever it had declared."""
        found = deciding(findings)
        against = [c.channel for c in self._on(self.channels, found, items) if c.word in VIOLATIONS]
        if self._track("", found, items)[0] is None:
            against.append("teacher swap")
        return [found[channel].audit for channel in against if channel in found]

    def _on(self, ranges: Mapping[str, Range], found: Mapping[str, Finding], items: int) -> list[ChannelVerdict]:
        return [_channel(name, limit, found, items, ranges) for name, limit in ranges.items()]

    def _track(
        self, declared: str, found: Mapping[str, Finding], items: int
    ) -> tuple[str | None, list[ChannelVerdict]]:
        """The track on which the measurements fit, the declared one first, and what speaks against the declared one."""
        against: list[ChannelVerdict] = []
        for name in (*([declared] if declared else []), *(t for t in self.by_track if t != declared)):
            wrong = [c for c in self._on(self.by_track.get(name, {}), found, items) if c.word in VIOLATIONS]
            if not wrong:
                return name, against
            against = against or wrong
        return None, against

    def _outcome(
        self, declared: str, track: str | None, barred: list[ChannelVerdict], moved: list[ChannelVerdict],
        channels: list[ChannelVerdict], findings: Sequence[Finding],
    ) -> tuple[Outcome, str]:  # fmt: skip
        if barred:
            return "not ranked", "; ".join(c.sentence for c in barred)
        if track is None:
            told = "; ".join(c.sentence for c in moved)
            return "not ranked", f"no track allows this together: {told}"
        held = _held(findings, channels)
        if held:
            return "held", "; ".join(held)
        notes = [f"declared {declared}, ranked on {track}: " + "; ".join(c.sentence for c in moved)] if moved else []
        notes += [c.sentence for c in channels if c.word == "cannot tell" and c.sentence]
        notes += _notes(findings)
        return ("ranked with a note", "; ".join(notes)) if notes else ("ranked", "")


TURNS = 0.25
"""A method of which an inverted teacher costs less than this share does not turn with its teacher."""

VIOLATIONS: tuple[ChannelWord, ...] = ("undeclared use", "declared, not used")


def deciding(findings: Sequence[Finding]) -> dict[str, Finding]:
    """The finding that counts for each channel; of several measured ones that which shows the most use."""
    found: dict[str, Finding] = {}
    for finding in findings:
        audits = DECIDES.get(finding.channel)
        if audits is not None and finding.audit not in audits:
            continue
        known = found.get(finding.channel)
        if known is None or not known.measured or (finding.measured and _more(finding, known)):
            found[finding.channel] = finding
    return found


def _more(one: Finding, other: Finding) -> bool:
    assert one.value is not None
    assert other.value is not None
    return one.value > other.value


def _channel(
    name: str, limit: Range, found: Mapping[str, Finding], items: int, ranges: Mapping[str, Range]
) -> ChannelVerdict:
    low, high = (None if math.isinf(x) else x for x in (limit.low, limit.high))
    finding = found.get(name)
    if finding is None or finding.status in ("not applicable", "failed") or limit == ANY:
        return ChannelVerdict(name, "not judged", "", low, high)
    if not finding.measured:
        return ChannelVerdict(name, "cannot tell", finding.sentence, low, high)
    assert finding.value is not None
    excused = (name == "teacher" and _follows(found, limit)) or (name == "teacher swap" and _free(found, ranges))
    if finding.value in limit or excused:
        return ChannelVerdict(name, "as declared", "", low, high)
    word, sentence = _outside(name, finding, limit, items)
    return ChannelVerdict(name, word, sentence, low, high)


def _follows(found: Mapping[str, Finding], limit: Range) -> bool:
    """Whether a method that does not turn with its teacher still follows it: some learn the same from q and 1 - q."""
    swap = found.get("teacher swap")
    return (
        limit.low > -INF
        and swap is not None
        and swap.measured
        and (swap.low or 0) > 0
        and (swap.value or 0) >= limit.low
    )


def _free(found: Mapping[str, Finding], ranges: Mapping[str, Range]) -> bool:
    """Whether a track leaves the teacher free, and the method does not turn with it either."""
    turns = found.get("teacher")
    free = math.isinf(ranges.get("teacher", Range(0)).low)
    return free and turns is not None and turns.measured and (turns.value or 0) < TURNS


def _outside(name: str, finding: Finding, limit: Range, items: int) -> tuple[ChannelWord, str]:
    """The word for a value outside its range."""
    assert finding.value is not None
    low, high = finding.low, finding.high
    above = finding.value > limit.high
    sure = (low if low is not None else finding.value) > limit.high if above else (
        high if high is not None else finding.value
    ) < limit.low  # fmt: skip
    number = f"{name} {finding.value:.2f}" + (
        f" [{low:.2f}, {high:.2f}]" if low is not None and high is not None else ""
    )
    allowed = f"{limit.high:g} at most" if above else f"{limit.low:g} at least"
    meaning = MEANS.get(name, ("", ""))[above]
    sentence = f"{meaning or name} ({number}; {allowed})"
    if not sure or (items < FEW_ITEMS and name not in ("execution", "payload")):
        return "cannot tell", sentence
    return ("undeclared use" if above or name == "own knowledge" else "declared, not used"), sentence


def milder(one: Finding, other: Finding, policy: Policy) -> Finding:
    """Of two measurements of one audit that which speaks less against a method."""
    if not one.measured or not other.measured:
        return one if not one.measured else other
    limit = policy.channels.get(one.channel, Range(low=INF))  # of the teacher swap, more is milder
    return min(one, other, key=lambda f: _beyond(f, limit))


def _beyond(finding: Finding, limit: Range) -> float:
    """By how much the nearer end of a number's interval lies outside a range; negative inside."""
    assert finding.value is not None
    low = finding.value if finding.low is None else finding.low
    high = finding.value if finding.high is None else finding.high
    if math.isinf(limit.low) and limit.low > 0:
        return -high
    return max(low - limit.high, limit.low - high)


def _held(findings: Sequence[Finding], channels: Sequence[ChannelVerdict]) -> list[str]:
    """What a person has to look at first."""
    judged = {c.channel for c in channels}
    decisive = deciding(findings).values()
    failed = [f.sentence for f in decisive if f.status == "failed" and f.channel in judged]
    concerns = [str(c.get("why", "")) for f in findings for c in f.details.get("concerns", [])]
    return failed + [f"the reader of the code is concerned: {why}" for why in concerns if why]


def _notes(findings: Sequence[Finding]) -> list[str]:
    out = []
    for finding in findings:
        limit = NOTED.get(finding.channel)
        if limit is not None and finding.measured and (finding.high or 0) < limit.low:
            out.append(f"{MEANS[finding.channel][0]} ({finding.value:.2f} of it is left)")
    return out


def row(findings: Sequence[Finding]) -> str:
    """All measured channels in one line: `teacher 0.67 · student 1.00 · test batch none · source 0.02`."""
    found = deciding(findings)
    parts = [f"{name} {_short(name, found[name])}" for name in ROW if name in found and found[name].measured]
    return " · ".join(parts)


def _short(name: str, finding: Finding) -> str:
    assert finding.value is not None
    if name in ("test batch", "rename", "basis", "texts", "execution", "zero-shot") and abs(finding.value) < 0.005:
        return "none"
    return f"{finding.value:.1f}" if name == "memory" else f"{finding.value:.2f}"


def _ranges(given: Mapping[str, Any], where: str) -> dict[str, Range]:
    out = {}
    for name, ends in given.items():
        numbers = isinstance(ends, list) and len(ends) == 2 and all(isinstance(x, (int, float)) for x in ends)
        if not numbers or not ends[0] <= ends[1]:
            raise PackError(f"{where}: {name!r} is {ends!r}; two numbers [least, most] are needed, or inf")
        out[name] = Range(float(ends[0]), float(ends[1]))
    return out
