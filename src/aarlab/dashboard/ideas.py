"""What the fleet thinks about: families of ideas over time, how many it keeps alive, how much code, who built on whom.

Definitions and charts are the report's. What is dear is bounded, and the page says so: it reads the method files of a
lab of up to `READ` submissions, and of a larger one those that lead to the best (the lab's background work reads the
others); of posts it reads the newest `POSTS`; charts draw at most `DRAWN` ideas.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from aarlab.dashboard.charts import Chart
from aarlab.dashboard.families import FAMILY, family_of, size_of
from aarlab.dashboard.kept import Kept
from aarlab.dashboard.lab import Entry, Json, Snapshot
from aarlab.dashboard.run import estimate
from aarlab.ideas.entropy import Point
from aarlab.ideas.families import FAMILIES, By
from aarlab.ideas.gather import Idea, arrange, of_text
from aarlab.records import Post, Submission
from aarlab.reports import ideas as section
from aarlab.reports import lineage as drawn_lineage
from aarlab.reports.figures import Event
from aarlab.reports.results import ancestors
from aarlab.store import Rows, Store

READ = 500  # method files of a lab that a page reads, and that the chart of sizes measures
POSTS = 300  # newest posts of a lab that are read
DRAWN = 900  # ideas in a chart
LINKED = 600  # methods in the lineage chart
LISTED = 50  # rows of a table

SAYS = {"researcher": "declared", "llm": "a model", "rules": "rules"}
"""Who classed an idea, where there is little room."""


@dataclass(frozen=True)
class Thoughts:
    """The ideas of a lab's fleet. read: how many method files were looked into, posts: how many posts."""

    ideas: tuple[Idea, ...]
    seconds: float  # of research
    read: int
    posts: int

    @cached_property
    def points(self) -> tuple[Point, ...]:
        return section.diversity(self.ideas, self.seconds)


NEWEST: Kept[tuple[str, str], dict[int, tuple[Post, Mapping[By, str]]]] = Kept(16)
"""Of each lab the newest posts, without their words, and what rules say of these."""

PAGES: Kept[tuple[str, int, float], tuple[Thoughts, Json]] = Kept(16)
"""By folder, version and time of a snapshot; good for as long as its thoughts are the same."""

THOUGHTS: Kept[tuple[Any, ...], Thoughts] = Kept(16)
SIZES: Kept[tuple[Any, ...], tuple[section.Size, ...]] = Kept(16)


def thoughts(lab: Snapshot, store: Store | None = None) -> Thoughts:
    """The fleet's ideas as they are in this snapshot, computed once for all pages and charts.

    store: the lab's database; without one it is opened where the answer is not known yet.
    """
    key = (*_key(lab), hash(frozenset(lab.families.items())))
    found = THOUGHTS.get(key)
    if found is None:
        with _opened(lab, store) as database, database.read() as rows:
            found = THOUGHTS.put(key, _think(lab, rows))
    return found


def sizes(lab: Snapshot) -> tuple[section.Size, ...]:
    """Of the scored methods whose files are looked into, in the order in which they finished."""
    key = _key(lab)
    found = SIZES.get(key)
    if found is None:
        known = {s.id: size for s in spread(lab) if (size := size_of(lab.folder, s.bundle_hash)) is not None}
        scored = ((e.submission.id, e.minutes, e.pgr) for e in lab.entries)
        found = SIZES.put(key, tuple(section.sizes(scored, known)))
    return found


def _key(lab: Snapshot) -> tuple[str, str, str]:
    return str(lab.folder), lab.lab_id, lab.drawn_version


@contextmanager
def _opened(lab: Snapshot, store: Store | None) -> Iterator[Store]:
    if store is not None:
        yield store
        return
    own = Store(lab.folder / "lab.db")
    try:
        yield own
    finally:
        own.close()


def _think(lab: Snapshot, rows: Rows) -> Thoughts:
    known = {s.id: said for s in lab.submissions.values() if (said := FAMILY.get(s.bundle_hash)) is not None}
    wanted = lab.submissions if len(lab.submissions) <= READ else leading(lab)
    for number in wanted:
        if (said := family_of(lab.folder, lab.submissions[number].bundle_hash)) is not None:
            known[number] = said
    posts = _newest(lab, rows)
    oldest = min(posts, default=0)
    stored = [*rows.ideas("submission"), *rows.ideas("post", since=oldest)]

    found = arrange(
        lab.submissions.values(), (p for p, _ in posts.values()),
        lambda s: known.get(s.id, {}),  # until its file was read, only what the lab keeps counts
        lambda p: posts[p.id][1], stored, lab.started,
    )  # fmt: skip
    return Thoughts(found, lab.research_seconds, len(known), len(posts))


def spread(lab: Snapshot) -> list[Submission]:
    """The submissions whose size is measured: all, or every so many, and those that lead to the best."""
    everything = list(lab.submissions.values())
    step, lead = max(1, -(-len(everything) // READ)), set(leading(lab))
    return [s for s in everything if s.id % step == 0 or s.id in lead]


def _newest(lab: Snapshot, rows: Rows) -> dict[int, tuple[Post, Mapping[By, str]]]:
    """The newest posts and what rules say of them; only those that came since the last look are read."""
    key = (str(lab.folder), lab.lab_id)
    known = NEWEST.get(key) or {}
    fresh = rows.posts(since=max(known, default=0), limit=POSTS)
    if not fresh and known:
        return known
    both = {**known, **{p.id: (replace(p, body="", title=""), of_text(p)) for p in fresh}}
    return NEWEST.put(key, {n: both[n] for n in sorted(both)[-POSTS:]})


# The best, and what it builds on


def top(lab: Snapshot) -> Entry | None:
    """The winner, else the best so far."""
    return (lab.entry(lab.winner) if lab.winner is not None else None) or lab.best


def leading(lab: Snapshot) -> tuple[int, ...]:
    """The best and what it builds on, oldest first."""
    best = top(lab)
    parents = {s.id: s.parent for s in lab.submissions.values()}
    return ancestors(parents, None if best is None else best.submission.id)


# The page


def page(lab: Snapshot, store: Store) -> Json:
    found, key = thoughts(lab, store), (str(lab.folder), lab.version, lab.read_at)
    kept = PAGES.get(key)
    if kept is None or kept[0] is not found:
        kept = PAGES.put(key, (found, _page(lab, found)))
    return kept[1]


def _page(lab: Snapshot, found: Thoughts) -> Json:
    return {
        "headline": headline(lab, found),
        "sentences": section.told(found.ideas, found.points, "At the end" if lab.phase == "done" else "Now")[1:],
        "left_out": left_out(lab, found),
        "families": families(lab, found),
        "researchers": researchers(lab, found),
        "sources": [
            {"by": by, "who": section.SAID[by], "ideas": n} for by, n in section.classers(found.ideas).items()
        ],
        "lineage": chain(lab, found),
        "built_on": built_on(lab),
        "pairs": pairs(lab),
        "done": lab.phase == "done",
        "counts": {
            "ideas": len(found.ideas), "submissions": len(lab.submissions), "read": found.read, "posts": lab.posts,
            "posts_read": found.posts,
        },
    }  # fmt: skip


def headline(lab: Snapshot, found: Thoughts) -> str:
    """How many families are alive, in one sentence."""
    if not found.points:
        return "No researcher has proposed anything yet that can be sorted into a family."
    now, first = found.points[-1], found.points[0]
    when = "ended" if lab.phase == "done" else "is"
    change = now.bits - first.bits
    trend = "as diverse as it began" if abs(change) < 0.25 else f"{abs(change):.1f} bits {_than(change)} it began"
    return (
        f"The fleet {when} at {now.families} of the eleven families of ideas: {now.bits:.2f} bits "
        f"[{now.low:.2f}, {now.high:.2f}] of {section.most(now.researchers):.2f} that {now.researchers} researchers "
        f"can reach, {trend}."
    )


def _than(change: float) -> str:
    return "above where" if change > 0 else "below where"


def left_out(lab: Snapshot, found: Thoughts) -> list[str]:
    """What of this page does not rest on everything, one sentence each."""
    said = []
    if found.read < len(lab.submissions):
        said.append(
            f"The code of {found.read:,} of {len(lab.submissions):,} submissions was read so far; what is not read and "
            "whose family nobody declared is not counted yet."
        )
    if len(spread(lab)) < len(lab.submissions):
        said.append(
            f"The chart of sizes is of {len(spread(lab)):,} of {len(lab.submissions):,} submissions, evenly spread and "
            "with all that lead to the best."
        )
    if found.posts < lab.posts:
        said.append(f"Of {lab.posts:,} posts the newest {found.posts:,} were read.")
    proposed = sum(i.proposed for i in found.ideas)
    if proposed > DRAWN:
        said.append(f"The chart of families draws {len(thinned(found.ideas)):,} of {proposed:,} ideas, evenly spread.")
    drawn, everything = len(_linked(lab)), len(_methods(lab))
    if drawn < everything:
        said.append(
            f"The lineage draws {drawn:,} of {everything:,} methods: what leads to the best, what others built on "
            "most, and the newest."
        )
    return said


def families(lab: Snapshot, found: Thoughts) -> list[Json]:
    """The report's table, with the best of each family, the code that charts use, and who was there first."""
    best: dict[str, Entry] = {}
    family = {i.number: i.family for i in found.ideas if i.kind == "submission"}
    for e in lab.entries:
        name = family.get(e.submission.id)
        if name is not None and (name not in best or e.pgr.mean > best[name].pgr.mean):
            best[name] = e
    first: dict[str, Idea] = {}
    for i in found.ideas:
        first.setdefault(i.family, i)
    return [
        {
            **row, "code": section.CODES[row["family"]], "meaning": FAMILIES[row["family"]],
            "first": first[row["family"]].researcher, "first_minutes": round(first[row["family"]].time / 60, 2),
            "best": None if row["family"] not in best else best[row["family"]].submission.id,
            "pgr": None if row["family"] not in best else _pgr(best[row["family"]]),
        }
        for row in section.families(found.ideas)
    ]  # fmt: skip


def _pgr(e: Entry | None) -> Json | None:
    return None if e is None else estimate(e.pgr, e.drawn)


def researchers(lab: Snapshot, found: Thoughts) -> list[Json]:
    """Where each researcher is now, who says so, and how many families it has been at."""
    latest: dict[str, Idea] = {}
    visited: dict[str, set[str]] = {}
    for i in found.ideas:
        if i.proposed:
            latest[i.researcher] = i
            visited.setdefault(i.researcher, set()).add(i.family)
    order = [r.name for r in lab.people if r.name in latest]
    directions = {r.name: r.direction for r in lab.people}
    return [
        {
            "name": name, "direction": directions[name] or "undirected", "family": latest[name].family,
            "by": SAYS[latest[name].by], "minutes": round(latest[name].time / 60, 2),
            "families": len(visited[name]),
        }
        for name in order
    ]  # fmt: skip


def chain(lab: Snapshot, found: Thoughts) -> list[Json]:
    """The best and what it builds on, oldest first."""
    idea = {i.number: i for i in found.ideas if i.kind == "submission"}
    rows = []
    for number in leading(lab):
        s, known = lab.submissions[number], idea.get(number)
        rows.append({
            "submission": number, "name": s.name, "researcher": s.researcher, "parent": s.parent,
            "minutes": round(_minutes(lab, s), 2), "family": known.family if known else None,
            "by": SAYS[known.by] if known else None, "pgr": _pgr(lab.entry(number)),
        })  # fmt: skip
    return rows


def built_on(lab: Snapshot) -> list[Json]:
    """The methods that most others name as their parent."""
    builders: dict[int, set[str]] = {}
    for s in lab.submissions.values():
        if s.parent is not None:
            builders.setdefault(s.parent, set()).add(s.researcher)
    return [
        {
            "submission": number, "name": (s := lab.submissions[number]).name, "researcher": s.researcher,
            "children": count, "others": len(builders[number] - {s.researcher}), "pgr": _pgr(lab.entry(number)),
        }
        for number, count in _children(lab).most_common(12)
    ]  # fmt: skip


def _children(lab: Snapshot) -> Counter[int]:
    return Counter(s.parent for s in lab.submissions.values() if s.parent is not None and s.parent in lab.submissions)


def pairs(lab: Snapshot) -> list[Json]:
    """Who built on whom, most often first; on one's own methods too."""
    counts: Counter[tuple[str, str]] = Counter()
    for s in lab.submissions.values():
        if s.parent is not None and s.parent in lab.submissions:
            counts[s.researcher, lab.submissions[s.parent].researcher] += 1
    return [
        {"researcher": who, "built_on": whom, "methods": n, "own": who == whom}
        for (who, whom), n in counts.most_common(LISTED)
    ]


# Charts


def thinned(ideas: Sequence[Idea]) -> list[Idea]:
    """At most about `DRAWN` of the proposed ideas, of each researcher every so many and always its last."""
    proposed = [i for i in ideas if i.proposed]
    step = -(-len(proposed) // DRAWN)
    if step <= 1:
        return proposed
    last = {i.researcher: i for i in proposed}
    seen: Counter[str] = Counter()
    kept = []
    for i in proposed:
        seen[i.researcher] += 1
        if seen[i.researcher] % step == 1 or last[i.researcher] is i:
            kept.append(i)
    return kept


def _minutes(lab: Snapshot, s: Submission) -> float:
    return max(0.0, ((s.finished or s.created) - lab.started) / 60)


def _methods(lab: Snapshot) -> list[Submission]:
    """Submissions that ran to an end."""
    ended = ("scored", "failed", "timed_out", "refused")
    return [s for s in lab.submissions.values() if s.status in ended and s.reason != "infrastructure"]


def _linked(lab: Snapshot) -> list[Submission]:
    """What the lineage draws: all, or what leads to the best, what most others built on, and the newest."""
    everything = _methods(lab)
    if len(everything) <= LINKED:
        return everything
    picked = dict.fromkeys(leading(lab))
    picked |= dict.fromkeys(number for number, _ in _children(lab).most_common(LINKED // 3))
    newest = (s.id for s in reversed(everything) if s.id not in picked)
    picked |= dict.fromkeys(number for number, _ in zip(newest, range(LINKED - len(picked)), strict=False))
    return [s for s in everything if s.id in picked]


def events(lab: Snapshot) -> list[Event]:
    """The methods of the lineage; `ancestor` leads to the best."""
    lead = set(leading(lab))
    return [
        Event(
            s.researcher, _minutes(lab, s), "scored" if lab.entry(s.id) else "failed", _label(lab, s), s.id,
            s.parent, s.id in lead, href=f"/labs/{lab.name}/submissions/{s.id}",
        )
        for s in _linked(lab)
    ]  # fmt: skip


def _label(lab: Snapshot, s: Submission) -> str:
    entry = lab.entry(s.id)
    return f"{s.name}, PGR {entry.pgr.mean:.2f}" if entry else f"{s.name}, {s.status.replace('_', ' ')}"


def _fleet(lab: Snapshot) -> list[str]:
    return [r.name for r in lab.people]


def _lanes(lab: Snapshot, width: int, about: str) -> Any:
    return section.families_over_time(thinned(thoughts(lab).ideas), _fleet(lab), lab.research_seconds / 60, width)


def _lineage(lab: Snapshot, width: int, about: str) -> Any:
    found = events(lab)
    active = {e.researcher for e in found}
    lanes = [name for name in _fleet(lab) if name in active]
    return drawn_lineage.chart(found, lanes, lab.research_seconds / 60, width)


def _idea_rows(lab: Snapshot, about: str) -> list[Json]:
    return [
        {"minutes": round(i.time / 60, 3), "researcher": i.researcher, "kind": i.kind, "number": i.number,
         "form": i.form, "family": i.family, "by": i.by}
        for i in thoughts(lab).ideas
    ]  # fmt: skip


def _point_rows(lab: Snapshot, about: str) -> list[Json]:
    return [
        {"minutes": round(p.time / 60, 3), "researchers": p.researchers, "families": p.families,
         "bits": round(p.bits, 4), "low": round(p.low, 4), "high": round(p.high, 4),
         "corrected": round(p.corrected, 4)}
        for p in thoughts(lab).points
    ]  # fmt: skip


def _size_rows(lab: Snapshot, about: str) -> list[Json]:
    return [
        {"submission": s.submission, "minutes": round(s.minutes, 3), "pgr": s.pgr.mean, "lines": s.lines,
         "nodes": s.nodes}
        for s in sizes(lab)
    ]  # fmt: skip


def _lineage_rows(lab: Snapshot, about: str) -> list[Json]:
    return [
        {"submission": e.submission, "researcher": e.researcher, "minutes": round(e.minutes, 3), "parent": e.parent,
         "kind": e.kind, "leads_to_best": e.ancestor}
        for e in events(lab)
    ]  # fmt: skip


CHARTS = {
    "families": Chart("Families of ideas over time", _lanes, _idea_rows),
    "entropy": Chart(
        "Entropy of families", lambda lab, width, about: section.diversity_chart(thoughts(lab).points, width),
        _point_rows,
    ),
    "distinct": Chart(
        "Different families", lambda lab, width, about: section.distinct_chart(thoughts(lab).points, width),
        _point_rows,
    ),
    "complexity": Chart(
        "Complexity against PGR", lambda lab, width, about: section.size_chart(sizes(lab), width), _size_rows
    ),
    "lineage": Chart("Who built on whom", _lineage, _lineage_rows),
}  # fmt: skip
