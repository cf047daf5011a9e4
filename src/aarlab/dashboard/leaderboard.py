"""Every verified submission beside the baselines: sorted, filtered and paged by the address alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Any
from urllib.parse import quote, urlencode

from aarlab.dashboard.charts import Chart
from aarlab.dashboard.kept import Kept
from aarlab.dashboard.lab import Entry, Json, Snapshot, sealed
from aarlab.errors import InputError
from aarlab.records import Estimate, Judgement
from aarlab.reports import board, figures, rows, sentences
from aarlab.reports.data import method
from aarlab.reports.text import plain
from aarlab.reports.transcripts import Place
from aarlab.statistics import best_of_inflation
from aarlab.store import Store

SIZE = 100
"""Rows of one page."""

FOREST, CLAIMS = 40, 500
"""Lines of the forest plot, and points of the chart of claims."""

NORMAL_95 = 1.96

VERDICTS = ("ranked", "ranked with a note", "held", "not ranked", rows.NOT_AUDITED)

FILTERS = ("text", "track", "researcher", "verdict", "family")


@dataclass(frozen=True)
class Item:
    """One line: a submission of the fleet, or a baseline, which has a name and numbers only."""

    name: str
    pgr: Estimate
    entry: Entry | None = None
    judgement: Judgement | None = None
    family: str = ""
    record: Estimate | None = None
    rank: int | None = None

    @property
    def verdict(self) -> str:
        if self.entry is None:
            return ""
        return rows.NOT_AUDITED if self.judgement is None else self.judgement.verdict.outcome

    @property
    def track(self) -> str:
        """On which it ranks; the declared one where no verdict says another."""
        if self.entry is None:
            return ""
        return self.judgement.verdict.track if self.judgement else self.entry.submission.track


@dataclass(frozen=True)
class Board:
    """All lines, the best first, what they can be filtered by, and the rank of each submission that has one."""

    items: tuple[Item, ...]
    choices: dict[str, list[str]]
    ranks: dict[int, int]


BOARDS: Kept[tuple[str, int, float], Board] = Kept(16)
"""By folder, version and time of a snapshot: a page of a large lab would else sort thousands of lines again."""


MAKERS: Kept[tuple[str, int], dict[int, Place]] = Kept(16)
"""By folder and number of the newest step."""


@dataclass(frozen=True)
class Column:
    """value: what a line is sorted by; None goes last. down: whether the first click puts the largest first."""

    title: str
    value: Callable[[Item], Any]
    down: bool = False
    number: bool = False


def _of(read: Callable[[Entry], Any]) -> Callable[[Item], Any]:
    return lambda item: None if item.entry is None else read(item.entry)


COLUMNS: dict[str, Column] = {
    "rank": Column("rank", lambda i: i.rank, number=True),
    "name": Column("method", lambda i: i.name.lower()),
    "pgr": Column("feedback PGR", lambda i: i.pgr.mean, True, True),
    "lead": Column("over baseline", _of(lambda e: e.lead and e.lead.mean), True, True),
    "claimed": Column("claimed", _of(lambda e: e.submission.claimed_pgr), True, True),
    "record": Column("PGR of record", lambda i: i.record and i.record.mean, True, True),
    "verdict": Column("audit", lambda i: VERDICTS.index(i.verdict) if i.verdict else None),
    "track": Column("track", lambda i: i.track or None),
    "researcher": Column("researcher", _of(lambda e: e.submission.researcher.lower())),
    "family": Column("family", lambda i: i.family or None),
    "verified": Column("verified", _of(lambda e: e.submission.finished or e.submission.created), True),
}


def page(lab: Snapshot, store: Store, query: Mapping[str, str]) -> Json:
    """The page. As CSV (`format` in the query) its rows are flat, and all that match are there.

    Raises InputError for a column, an order or a page that there is not.
    """
    asked = _asked(query)
    whole = whole_board(lab)
    found = [i for i in whole.items if _matches(i, asked)]
    ordered = _sorted(found, asked["sort"], asked["order"])
    if query.get("format") == "csv":
        return {"rows": [flat(row(lab, i)) for i in ordered]}
    pages = max(1, -(-len(ordered) // SIZE))
    number = min(_page_number(query.get("page", "1")), pages)
    shown = ordered[SIZE * (number - 1) : SIZE * number]
    places = _places(lab, store, shown)
    return {
        "counts": _counts(lab, found),
        "record": "sealed" if sealed(lab) else "known" if lab.report else "being measured",
        "baseline": lab.best_baseline,
        "notes": notes(lab),
        "best_of": best_of(lab),
        "asked": asked,
        "choices": whole.choices,
        "columns": _columns(lab, asked),
        "found": {"page": number, "pages": pages, "total": len(ordered), "size": SIZE},
        "addresses": _addresses(lab, asked, number, pages),
        "scale": rows.scale([i.pgr for i in shown]),
        "rows": [{**row(lab, i), "transcript": places.get(i.entry.submission.id) if i.entry else None} for i in shown],
    }


# What is asked for


def _asked(query: Mapping[str, str]) -> dict[str, str]:
    asked = {k: query.get(k, "").strip() for k in FILTERS}
    sort = query.get("sort") or "rank"
    if sort not in COLUMNS:
        raise InputError(f"the leaderboard has no column {sort[:40]!r}; it has {', '.join(COLUMNS)}")
    order = query.get("order") or ("descending" if COLUMNS[sort].down else "ascending")
    if order not in ("ascending", "descending"):
        raise InputError(f"order is {order[:40]!r}; ascending or descending is needed")
    return {**asked, "sort": sort, "order": order}


def _page_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < 1:
        raise InputError(f"page is {text[:40]!r}; a number from 1 on is needed")
    return int(text)


def _matches(item: Item, asked: Mapping[str, str]) -> bool:
    if not any(asked[k] for k in FILTERS):
        return True
    if item.entry is None:
        return False
    s = item.entry.submission
    words = f"#{s.id} {s.name} {s.researcher} {s.note} {item.track} {item.family}".lower()
    return (
        all(word in words for word in asked["text"].lower().split())
        and asked["track"] in ("", item.track)
        and asked["researcher"] in ("", s.researcher)
        and asked["verdict"] in ("", item.verdict)
        and asked["family"] in ("", item.family)
    )


def _sorted(items: Sequence[Item], sort: str, order: str) -> list[Item]:
    """By rank, what has none keeps its place in the order of merit, which `items` have already."""
    if sort == "rank":
        return list(items) if order == "ascending" else list(items)[::-1]
    value = COLUMNS[sort].value
    known = sorted((i for i in items if value(i) is not None), key=value, reverse=order == "descending")
    return known + [i for i in items if value(i) is None]


def _natural(asked: Mapping[str, str]) -> str:
    """The order as an address says it: empty where it is the column's own."""
    own = "descending" if COLUMNS[asked["sort"]].down else "ascending"
    return "" if asked["order"] == own else asked["order"]


def _address(base: str, asked: Mapping[str, Any], **more: Any) -> str:
    """Without what is usual."""
    values = {**asked, **more}
    if values.get("sort") == "rank":
        values.pop("sort")
    kept = {k: v for k, v in values.items() if v and (k, v) != ("page", 1)}
    return f"{base}?{urlencode(kept)}" if kept else base


def _here(lab: Snapshot) -> str:
    return f"/labs/{quote(lab.name)}/leaderboard"


def _columns(lab: Snapshot, asked: Mapping[str, str]) -> Json:
    """Column -> title, the address that sorts by it (or the other way round), and how the rows are sorted by it now."""
    found = {}
    for key, column in COLUMNS.items():
        now = asked["order"] if asked["sort"] == key else ""
        turned = {"ascending": "descending", "descending": "ascending"}.get(now, "")
        wanted = {**asked, "sort": key, "order": turned}
        address = _address(_here(lab), {**wanted, "order": _natural(wanted) if turned else ""})
        found[key] = {"title": column.title, "address": address, "sorted": now, "number": column.number}
    return found


def _addresses(lab: Snapshot, asked: Mapping[str, str], number: int, pages: int) -> Json:
    base, same = _here(lab), {**asked, "order": _natural(asked)}
    return {
        "previous": _address(base, same, page=number - 1) if number > 1 else None,
        "next": _address(base, same, page=number + 1) if number < pages else None,
        "all": _address(base, {"sort": asked["sort"], "order": same["order"]}),
        "csv": _address(base, same, format="csv", table="rows"),
        "json": _address(base, same, page=number, format="json"),
    }


# Lines


def whole_board(lab: Snapshot) -> Board:
    key = (str(lab.folder), lab.version, lab.read_at)
    found = BOARDS.get(key)
    if found is None:
        items = _items(lab)
        ranks = {i.entry.submission.id: i.rank for i in items if i.entry is not None and i.rank is not None}
        found = BOARDS.put(key, Board(tuple(items), _choices(items), ranks))
    return found


def _items(lab: Snapshot) -> list[Item]:
    """All lines, the best first: the winner, then by PGR of record where that is known, then by PGR on the feedback
    task. Ranks run over those that may rank."""
    record = lab.report[1].record.pgr if lab.report and lab.report[1].record and not sealed(lab) else {}
    found = [Item(name, e, record=record.get(name)) for name, e in lab.baselines.items()]
    for e in lab.entries:
        n = e.submission.id
        found.append(
            Item(e.submission.name, e.pgr, e, lab.judgements.get(n), lab.families.get(n, ""), record.get(method(n)))
        )
    winner = None if sealed(lab) else lab.winner
    found.sort(key=lambda i: _merit(i, winner))
    return _ranked(lab, found)


def _merit(item: Item, winner: int | None) -> tuple[bool, bool, float]:
    won = item.entry is not None and item.entry.submission.id == winner
    return (not won, item.record is None, -(item.record or item.pgr).mean)


def _ranked(lab: Snapshot, items: Sequence[Item]) -> list[Item]:
    found, place = [], 0
    for i in items:
        if lab.ranked and i.entry is not None and i.entry.submission.ranked:
            place += 1
            found.append(Item(i.name, i.pgr, i.entry, i.judgement, i.family, i.record, place))
        else:
            found.append(i)
    return found


def ranking(lab: Snapshot) -> dict[int, int]:
    """Submission -> rank, of those that rank."""
    return whole_board(lab).ranks


def row(lab: Snapshot, item: Item) -> Json:
    """One line as data. `pgr.low` and `.high` are None while the interval is not drawn."""
    e = item.entry
    found = {
        "rank": item.rank, "baseline": e is None, "name": item.name, "submission": None,
        "pgr": _estimate(item.pgr, e is None or e.drawn), "lead": None,
        "record": item.record and _estimate(item.record), "track": item.track, "family": item.family,
    }  # fmt: skip
    if e is None:
        return {**found, "researcher": "the lab"}
    s = e.submission
    return {
        **found, "submission": s.id, "lead": e.lead and _estimate(e.lead), "claimed": s.claimed_pgr,
        "claim": claim(s.claimed_pgr, e), "researcher": s.researcher, "declared": s.track,
        "ranked": item.rank is not None, "remark": s.remark,
        "winner": not sealed(lab) and s.id == lab.winner, "finalist": s.id in lab.finalists,
        "verified": s.finished or s.created, "audit": rows.mark(item.judgement),
    }  # fmt: skip


def _estimate(e: Estimate, drawn: bool = True) -> Json:
    """As `run.estimate`, without the copies that `as_dict` makes: a page has three hundred."""
    return {**vars(e)} if drawn else {**vars(e), "low": None, "high": None}


def claim(claimed: float | None, e: Entry) -> str:
    """Where a claimed PGR lies, as `rows.claim`; empty while the interval is not drawn."""
    return rows.claim(claimed, e.pgr) if e.drawn else ""


def flat(line: Json) -> Json:
    """A row for a spreadsheet: every number in a cell of its own."""
    spread: Json = {}
    for key, value in line.items():
        if key in ("pgr", "lead", "record"):
            value = value or {}
            spread |= {key: value.get("mean"), f"{key}_low": value.get("low"), f"{key}_high": value.get("high")}
        elif key == "audit":
            spread |= {"verdict": value["verdict"], "reason": value["reason"], "measured": value["measured"]}
        else:
            spread[key] = value
    return spread


def _choices(items: Sequence[Item]) -> dict[str, list[str]]:
    mine = [i for i in items if i.entry is not None]
    verdicts = {i.verdict for i in mine}
    return {
        "track": sorted({i.track for i in mine}),
        "researcher": sorted({i.entry.submission.researcher for i in mine if i.entry}),
        "verdict": [v for v in VERDICTS if v in verdicts],
        "family": sorted({i.family for i in mine if i.family}),
    }


def _counts(lab: Snapshot, found: Sequence[Item]) -> Json:
    return {
        "verified": len(lab.entries), "matching": sum(i.entry is not None for i in found),
        "waiting": sum(s.status in ("queued", "running") for s in lab.submissions.values()), "drawing": lab.drawing,
    }  # fmt: skip


def _places(lab: Snapshot, store: Store, shown: Sequence[Item]) -> dict[int, Json]:
    """Where a transcript made them: {"text", "turn", "link"}; only for submissions of language models."""
    if not lab.last_event:
        return {}
    wanted = {i.entry.submission.id for i in shown if i.entry is not None}
    made = _makers(lab, store)
    return {n: {"text": made[n].text(), "turn": made[n].turn, "link": made[n].link()} for n in wanted if n in made}


def _makers(lab: Snapshot, store: Store) -> dict[int, Place]:
    """Submission -> the step that made it; kept until there is a newer step."""
    key = (str(lab.folder), lab.last_event)
    found = MAKERS.get(key)
    if found is None:
        with store.read() as rows:
            made = {n: Place(e.researcher, e.log, e.session, e.turn, e.id) for n, e in rows.makers().items()}
        found = MAKERS.put(key, made)
    return found


# In words


def notes(lab: Snapshot) -> list[str]:
    """What has to be known to read the table, a sentence each."""
    return [text for text in (_order_note(lab), _record_note(lab), _drawing_note(lab)) if text]


def _order_note(lab: Snapshot) -> str:
    if not lab.ranked:
        return "Nothing is ranked: this lab runs methods without isolation. The order is that of the PGR."
    if not sealed(lab) and lab.finalists:
        return "Finalists are in the order of their PGR of record, all others in that of the feedback task."
    return "The order is that of the PGR on the feedback task."


def _record_note(lab: Snapshot) -> str:
    if sealed(lab):
        return "Numbers of record are sealed until the run ends, from everybody."
    return "" if lab.report else "Numbers of record are being measured; they appear here."


def _drawing_note(lab: Snapshot) -> str:
    return f"{sentences.count(lab.drawing, 'interval')} still to be drawn." if lab.drawing else ""


def best_of(lab: Snapshot) -> Json | None:
    """How much the best of all verified methods looks better than it is, were all equally good; None below two."""
    errors = [(e.pgr.high - e.pgr.low) / (2 * NORMAL_95) for e in lab.entries if e.drawn]
    methods = len(lab.entries)
    if methods < 2 or not errors:
        return None
    error = median(errors)
    gain = _inflation(round(error, 4), methods)
    text = (
        f"The best of {methods:,} methods looks good by luck too: were all equally good, it would still come out up to "
        f"{gain:.2f} PGR above its true value (the median standard error is {error:.2f}); errors that methods share "
        "make this less."
    )
    return {"methods": methods, "median_se": error, "inflation": gain, "text": text}


@lru_cache(maxsize=64)
def _inflation(error: float, methods: int) -> float:
    return best_of_inflation(error, methods)


# Charts


def _draw_claims(lab: Snapshot, width: int, about: str) -> Any:
    claims = [
        figures.Claim(r["submission"], r["claimed"], Estimate(r["pgr"], r["low"], r["high"], 0, 0), r["task"])
        for r in _claim_rows(lab, about)
    ]
    return figures.claimed_against_measured(claims, width) if claims else None


def _claim_rows(lab: Snapshot, about: str) -> list[Json]:
    """The newest claims beside what was measured on the feedback task, and on the record tasks once those are open."""
    claimed = [e for e in lab.entries if e.submission.claimed_pgr is not None and e.drawn][-CLAIMS:]
    found = []
    for e in claimed:
        records = [] if e.record is None or sealed(lab) else [("record", e.record)]
        for task, pgr in [("feedback", e.pgr), *records]:
            found.append({
                "submission": e.submission.id, "name": e.submission.name, "task": task,
                "claimed": e.submission.claimed_pgr, "pgr": pgr.mean, "low": pgr.low, "high": pgr.high,
            })  # fmt: skip
    return found


def _forest(lab: Snapshot) -> list[Item]:
    return [i for i in whole_board(lab).items if i.entry is None or i.entry.drawn][:FOREST]


def _draw_board(lab: Snapshot, width: int, about: str) -> Any:
    lines = [_line(lab, i) for i in _forest(lab)]
    return board.board(lines, width) if lines else None


def _line(lab: Snapshot, item: Item) -> board.Line:
    tip = f"{plain(item.name, 60)}: {sentences.number(item.pgr)}"
    if item.entry is None:
        return board.Line(item.name, item.pgr, "baseline", tip=f"baseline {tip}")
    s = item.entry.submission
    label = f"{f'{item.rank}. ' if item.rank else ''}#{s.id} {plain(s.name, 40)}"
    said = f", claimed {s.claimed_pgr:.2f}" if s.claimed_pgr is not None else ""
    kind: board.Kind = "not ranked" if item.rank is None else "ranked"
    return board.Line(
        label, item.pgr, kind, s.claimed_pgr, f"{tip}{said}", f"/labs/{quote(lab.name)}/submissions/{s.id}"
    )


def _board_rows(lab: Snapshot, about: str) -> list[Json]:
    return [flat(row(lab, i)) for i in _forest(lab)]


CHARTS: dict[str, Chart] = {
    "claims": Chart("Claimed against measured PGR", _draw_claims, _claim_rows),
    "board": Chart("The first of the leaderboard", _draw_board, _board_rows),
}
