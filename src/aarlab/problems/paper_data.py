"""The data folder of the study on automated weak-to-strong research: three JSONL files, read, checked and drafted.

    train_label.jsonl      labelled items: the teachers' own set and the open task are made of these
    train_unlabel.jsonl    the students' train items; their labels are only used for ceilings
    test.jsonl             test items, of the same sources as the train items or of others

A line is one item. Pairs (chat): `prompt`, `first`, `second`, and `label` "A" or "B" for the better answer, or 0 for A
and 1 for B. Binary items (math, code): `question`, `choice`, and `label` true or false, or 1 and 0. `source`, else
`subset`, says where an item comes from. Other fields are ignored and reach no pack.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.errors import InputError
from aarlab.problems.drafts import TEACHER, TEST, TRAIN, Draft
from aarlab.records import Role

FILES = ("train_label.jsonl", "train_unlabel.jsonl", "test.jsonl")
PAIR, BINARY = ("prompt", "first", "second"), ("question", "choice")
SOURCES = ("source", "subset")

OPEN_SHARES = {TEACHER: 0.4, TRAIN: 0.35, TEST: 0.25}
"""How the questions of train_label.jsonl are divided: the teachers' own set, and train and test of the open task."""

FEWEST = 20
"""Every split of every task needs this many items: fewer tell nothing."""

OWN_TASK, MOST_TASKS = 100, 3
"""A source gets a record task of its own from this many test items on; at most so many do, the rest share one."""


@dataclass(frozen=True)
class Item:
    """One line. `label` is 1 where the answer is right, or where the first of two answers is the better one."""

    question: str
    answers: tuple[str, ...]
    label: int
    source: str  # empty where the data names none
    line: int

    @cached_property
    def topic(self) -> str:
        """The question, spaces and case apart: what must not be on two sides of a split."""
        return " ".join(self.question.split()).casefold()

    @property
    def content(self) -> tuple[str, ...]:
        """Equal for two lines that say the same; a pair says the same in either order."""
        return (self.topic, *sorted(a.strip() for a in self.answers))

    @property
    def verdict(self) -> str:
        """What the label says, whichever answer stands first."""
        return str(self.label) if len(self.answers) == 1 else self.answers[1 - self.label].strip()


@dataclass(frozen=True)
class PaperData:
    """The three files, without repeats; no question of test is in a train file, none of them in both train files."""

    folder: Path
    paired: bool
    label: tuple[Item, ...]
    unlabel: tuple[Item, ...]
    test: tuple[Item, ...]
    notes: tuple[str, ...]  # what was left out, and why

    @cached_property
    def foreign(self) -> frozenset[str]:
        """Sources that only the test file has: out of distribution. Empty where a file names no sources."""
        train = {i.source for i in (*self.label, *self.unlabel)}
        test = {i.source for i in self.test}
        return frozenset() if "" in train | test else frozenset(test - train)

    @cached_property
    def sourced(self) -> bool:
        """Whether every item says where it comes from."""
        return all(i.source for i in (*self.label, *self.unlabel, *self.test))

    def at_most(self, items: int) -> PaperData:
        """About `items` of each file, whole questions in the order of their hashes."""
        return replace(
            self,
            label=_first(self.label, items),
            unlabel=_first(self.unlabel, items),
            test=_first(self.test, items),
        )


def read(folder: Path, drop_repeats: bool = False) -> PaperData:
    """Read a data folder. Train items whose question is also in test (or in the other train file) are left out.

    drop_repeats: also leave out lines that stand in two files, instead of refusing them.
    Raises InputError with file and line for anything that is not as the module says.
    """
    paths = [folder / name for name in FILES]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: not found; a data folder has the files {', '.join(FILES)}")
    label, unlabel, test = (_read_file(path) for path in paths)
    _check_formats(paths, (label, unlabel, test))
    notes: list[str] = []
    label, unlabel, test = (_once(p, items, notes) for p, items in zip(paths, (label, unlabel, test), strict=True))
    if not drop_repeats:
        _check_repeats(paths, (label, unlabel, test))
    label = _without(label, test, FILES[0], FILES[2], notes)
    unlabel = _without(unlabel, test, FILES[1], FILES[2], notes)
    unlabel = _without(unlabel, label, FILES[1], FILES[0], notes)
    for path, items in zip(paths, (label, unlabel, test), strict=True):
        _check_classes(path, items)
    return PaperData(folder, len(test[0].answers) == 2, tuple(label), tuple(unlabel), tuple(test), tuple(notes))


def _read_file(path: Path) -> list[Item]:
    items = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            items.append(_item(_object(line, where), where, number))
    if not items:
        raise InputError(f"{path}: no items; every one of the three files needs some")
    return items


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise InputError(
            f"{where}: not a whole JSON object ({reason}): {_short(line.decode())}; is the file cut off?"
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"{where}: {_short(found)} is no JSON object; a line is one item")
    return found


def _item(row: dict[str, Any], where: str, line: int) -> Item:
    fields = BINARY if all(name in row for name in BINARY) else PAIR
    missing = [name for name in fields if name not in row]
    if missing:
        raise InputError(
            f"{where}: no field {missing[0]!r}; an item has {', '.join(PAIR)} and label, or {', '.join(BINARY)} and "
            f"label; this one has {_short(', '.join(map(str, row)) or 'nothing')}"
        )
    question, *answers = (_text(row[name], name, where) for name in fields)
    paired = fields == PAIR
    source = next((_text(row[name], name, where) for name in SOURCES if row.get(name) is not None), "")
    return Item(question, tuple(answers), _label(row, paired, where), source, line)


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {_short(value)}; it must be a text")
    if not value.strip():
        raise InputError(f"{where}: {name} is empty")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise InputError(f"{where}: {name} holds half of a character (a lone surrogate); write it whole")
    return value


def _label(row: dict[str, Any], paired: bool, where: str) -> int:
    """1 for a right answer, or for a better first one."""
    value = row.get("label")
    if value is None or (value == -1 and not isinstance(value, bool)):
        raise InputError(
            f"{where}: no label; floors, ceilings and scores need the true labels of all three files "
            "(the folder from before labels were stripped)"
        )
    if paired and value in ("A", "B"):
        return int(value == "A")
    number = isinstance(value, int) and value in (0, 1)
    if number and not (paired and isinstance(value, bool)):
        return 1 - value if paired else int(value)
    known = '"A" or "B", or 0 for A and 1 for B' if paired else "true or false, or 1 or 0"
    raise InputError(f"{where}: label is {_short(value)}; it must be {known}")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _check_formats(paths: Sequence[Path], files: Sequence[list[Item]]) -> None:
    """All lines of all files have one format."""
    first = files[0][0]
    for path, items in zip(paths, files, strict=True):
        for item in items:
            if len(item.answers) != len(first.answers):
                names = {1: "question and choice", 2: "prompt, first and second"}
                raise InputError(
                    f"{path}, line {item.line}: has {names[len(item.answers)]}, but {paths[0]}, line {first.line}, has "
                    f"{names[len(first.answers)]}; one data folder has one format"
                )


def _once(path: Path, items: list[Item], notes: list[str]) -> list[Item]:
    """Each content once; contents with contradicting labels not at all."""
    seen: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        seen.setdefault(item.content, []).append(item)
    torn = [same for same in seen.values() if len({i.verdict for i in same}) > 1]
    kept = [same[0] for same in seen.values() if len({i.verdict for i in same}) == 1]
    repeats = len(items) - len(kept) - sum(map(len, torn))
    if torn:
        one, other = next((a, b) for a in torn[0] for b in torn[0] if a.verdict != b.verdict)
        notes.append(
            f"{path.name}: {sum(map(len, torn))} items are left out because the same item has both labels "
            f"(lines {one.line} and {other.line})"
        )
    if repeats:
        notes.append(f"{path.name}: {repeats} repeated items are used once")
    return kept


def _check_repeats(paths: Sequence[Path], files: Sequence[list[Item]]) -> None:
    """No item stands in two files."""
    seen: dict[tuple[str, ...], tuple[Path, Item]] = {}
    found = []
    for path, items in zip(paths, files, strict=True):
        for item in items:
            other = seen.setdefault(item.content, (path, item))
            if other[0] != path:
                found.append((path, item, *other))
    if found:
        path, item, first, same = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise InputError(
            f"{path}, line {item.line}: repeats {first.name}, line {same.line}{more}: {_short(item.question)!r}; "
            "remove one of them, or leave them out of the train side with --drop-repeats"
        )


def _without(items: list[Item], others: list[Item], own: str, other: str, notes: list[str]) -> list[Item]:
    """The items whose question is not among the others'."""
    topics = {i.topic for i in others}
    shared = [i for i in items if i.topic in topics]
    if shared:
        count = len({i.topic for i in shared})
        notes.append(
            f"{count} question{'s' if count > 1 else ''} of {own} {'are' if count > 1 else 'is'} also in {other} (line "
            f"{shared[0].line}: {_short(shared[0].question)!r}); their {len(shared)} items in {own} are left out"
        )
    return [i for i in items if i.topic not in topics]


def _check_classes(path: Path, items: list[Item]) -> None:
    if not items:
        raise InputError(f"{path}: no item is left, every question is in another file too; the files must be apart")
    labels = {i.label for i in items}
    if len(labels) == 1:
        word = "better first answer" if len(items[0].answers) == 2 else "right answer"
        kind = f"a {word}" if labels == {1} else f"no {word}"
        raise InputError(f"{path}: every item has {kind}; both labels are needed to learn and to score")


# Drafts


@dataclass(frozen=True)
class _Part:
    """One task before its texts are put together: items by split."""

    name: str
    role: Role
    title: str
    items: dict[int, list[Item]] = field(default_factory=dict)


def drafts(data: PaperData) -> list[Draft]:
    """The tasks `open`, `feedback` and `record-...`, none sharing a question with another.

    open: train_label.jsonl, divided by OPEN_SHARES. Where the test file has sources that the train files lack, all
    other test items make `feedback` and each such source a record task; else questions are halved between `feedback`
    and `record-unseen`. The train items of these tasks are train_unlabel.jsonl in equal parts. Every division goes by
    the hash of the question, and no order of the files survives. Raises InputError for a split that is too small.
    """
    parts = [_open(data), *_hidden(data)]
    for part in parts:
        _check_part(part, data)
    return [_draft(part, data.paired) for part in parts]


def _open(data: PaperData) -> _Part:
    cuts = np.cumsum(list(OPEN_SHARES.values())).tolist()
    items: dict[int, list[Item]] = {split: [] for split in OPEN_SHARES}
    for item in data.label:
        items[list(OPEN_SHARES)[_place(item, cuts)]].append(item)
    return _Part("open", "open", "labelled items, where teachers are at home", items)


def _hidden(data: PaperData) -> list[_Part]:
    homes = _homes(data)
    names = list(dict.fromkeys(["feedback", *sorted(set(homes.values()))]))
    equal = [(n + 1) / len(names) for n in range(len(names))]
    items: dict[str, dict[int, list[Item]]] = {n: {TRAIN: [], TEST: []} for n in names}
    for item in data.unlabel:
        items[names[_place(item, equal)]][TRAIN].append(item)
    for item in data.test:
        items[homes[item.topic]][TEST].append(item)
    roles: dict[str, Role] = {"feedback": "feedback"}
    return [_Part(n, roles.get(n, "record"), _title(n, items[n][TEST]), items[n]) for n in names]


def _homes(data: PaperData) -> dict[str, str]:
    """The task of each test question."""
    familiar = {i.topic for i in data.test if i.source not in data.foreign}
    sources = {i.topic: i.source for i in reversed(data.test)}
    counts = Counter(sources[i.topic] for i in data.test if i.topic not in familiar)
    if counts.total() < FEWEST:
        return {i.topic: ("feedback", "record-unseen")[_place(i, (0.5, 1.0))] for i in data.test}
    large = [s for s, n in counts.most_common(MOST_TASKS) if n >= OWN_TASK]
    tasks = dict(zip(large, _task_names(large), strict=True))
    left = sum(n for s, n in counts.items() if s not in tasks)
    rest = tasks[large[-1]] if large and left < FEWEST else "record-others"
    return {t: "feedback" if t in familiar else tasks.get(s, rest) for t, s in sources.items()}


def _task_names(sources: list[str]) -> list[str]:
    """record-SOURCE in small letters; a number is added where two would be equal."""
    names: list[str] = []
    for source in sources:
        word = re.sub(r"[^a-z0-9]+", "-", source.lower()).strip("-")[:30] or "source"
        name = f"record-{word}"
        names.append(f"{name}-{len(names) + 1}" if name in (*names, "record-others") else name)
    return names


def _title(name: str, test: list[Item]) -> str:
    found = sorted({i.source for i in test} - {""})
    shown = ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
    kind = {"feedback": "test items", "record-unseen": "test items with other questions"}
    return ": ".join(filter(None, [shown, kind.get(name, "no train item is from there")]))


def _check_part(part: _Part, data: PaperData) -> None:
    """Every split has FEWEST items and both labels."""
    words = {TEACHER: "items for the teachers", TRAIN: "train items", TEST: "test items"}
    for split, items in part.items.items():
        if len(items) >= FEWEST and len({i.label for i in items}) == 2:
            continue
        file = FILES[0] if part.role == "open" else FILES[split]  # TRAIN is 1, TEST is 2, like the files
        what = "all of one label" if len(items) >= FEWEST else f"and {FEWEST} are the fewest"
        raise InputError(
            f"{data.folder / file}: the task {part.name} would have {len(items)} {words[split]}, {what}; "
            "add items with other questions"
        )


def _draft(part: _Part, paired: bool) -> Draft:
    splits, items = zip(*sorted(_splits(part), key=lambda s: _digest(*s[1].content)), strict=True)
    ranks = {t: n for n, t in enumerate(sorted({i.topic for i in items}, key=_digest))}
    prefixes = [f"Question: {i.question}\nAnswer:" for i in items]
    rows: dict[tuple[str, str], int] = {}  # (prefix, text)
    index = [
        [rows.setdefault((p, f"{p} {a}"), len(rows)) for a in i.answers] for p, i in zip(prefixes, items, strict=True)
    ]
    return Draft(
        name=part.name,
        role=part.role,
        title=part.title,
        rows=tuple(text for _, text in rows),
        prefixes=tuple(prefix for prefix, _ in rows),
        labels=np.array([i.label for i in items], np.int8),
        split=np.array(splits, np.int8),
        groups=np.array([ranks[i.topic] for i in items], np.int64),
        pairs=np.array(index, np.int64) if paired else None,
        passages=tuple(_passage(i) for i in items),
        extras={"source": np.unique([i.source for i in items], return_inverse=True)[1].astype(np.int16)},
    )


def _splits(part: _Part) -> Iterator[tuple[int, Item]]:
    return ((split, item) for split, items in part.items.items() for item in items)


def _passage(item: Item) -> tuple[str, ...]:
    """The item's text in parts, as `aarlab.w2s.texts` has them."""
    if len(item.answers) == 2:
        return (f"Question: {item.question}\n", *item.answers)
    return (f"Question: {item.question}\nAnswer:", f" {item.answers[0]}")


Offsets = Callable[[str], Sequence[tuple[int, int]]]
"""Where each token of a text begins and ends, in characters."""


def shortened(draft: Draft, limit: int, offsets: Offsets) -> tuple[Draft, int]:
    """The draft with every row cut to about `limit` tokens, and how many rows were cut.

    A question loses its beginning; an answer loses its end only where it alone fills three quarters of the limit. The
    items' own texts (`passages`) stay whole.
    """
    assert draft.prefixes is not None
    fitted = [_fit(p, row[len(p) :], limit, offsets) for p, row in zip(draft.prefixes, draft.rows, strict=True)]
    rows = tuple(p + answer for p, answer in fitted)
    cut = sum(new != old for new, old in zip(rows, draft.rows, strict=True))
    return replace(draft, rows=rows, prefixes=tuple(p for p, _ in fitted)), cut


def _fit(prefix: str, answer: str, limit: int, offsets: Offsets) -> tuple[str, str]:
    if len((prefix + answer).encode()) <= limit:  # no token is less than a byte
        return prefix, answer
    before, after = offsets(prefix), offsets(answer)
    if len(before) + len(after) <= limit:
        return prefix, answer
    keep = min(len(after), max(limit - len(before), 3 * limit // 4))
    start = before[-(limit - keep)][0] if limit - keep < len(before) else 0
    return prefix[start:], answer[: after[keep - 1][1]]


def _first(items: tuple[Item, ...], limit: int) -> tuple[Item, ...]:
    """Whole questions, in the order of their hashes, until `limit` items are reached."""
    sizes = Counter(i.topic for i in items)
    kept, total = set(), 0
    for topic in sorted(sizes, key=lambda t: _digest("first", t)):  # another hash than `_place`'s: it must not choose
        if total >= limit:
            break
        kept.add(topic)
        total += sizes[topic]
    return tuple(i for i in items if i.topic in kept)


def _place(item: Item, cuts: Sequence[float]) -> int:
    """Which interval between the rising `cuts` (the last is 1) the hash of the item's question falls into."""
    share = int.from_bytes(_digest(item.topic)[:8], "big") / 2**64
    return min(bisect_right(cuts, share), len(cuts) - 1)


def _digest(*texts: str) -> bytes:
    return hashlib.sha256("\0".join(texts).encode()).digest()
