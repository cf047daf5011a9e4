"""Payload: how much data a method file carries, and whether sentences of the task's items stand in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from aarlab.audits.base import Audit, Results, Setting
from aarlab.execution.payload import Amount, amounts, texts
from aarlab.records import Finding
from aarlab.syntax import parse
from aarlab.w2s.task import TaskInputs

SHINGLE = 8
"""Words in a row that count as taken over."""

COMMON = 0.05
"""Words in a row that stand in more than this share of the items are the task's own wording, not an item's."""

OVERLAP = "overlap"
WORDS = re.compile(r"[^\W_]+")


class Payload(Audit):
    """The largest of four amounts as a share of its limit: kilobytes, numbers written out, bytes of packed data, and
    runs of eight words that stand in an item of the audited task or another that was given.

    `overlap` looks at strings, docstrings and comments as they stand: a reworded, reversed or encoded item is not seen.
    """

    name = "payload"
    channel = "payload"
    title = "data carried in the file"
    level = "static"

    def measure(self, results: Results) -> Finding:
        setting = results.setting
        found = [*amounts(setting.source, setting.limits)]
        details: dict[str, object] = {}
        shared, missing = overlap(setting)
        if shared is None:
            details[OVERLAP] = f"not applicable: {missing}"
        else:
            found.append(shared)
        worst = max(found, key=lambda a: a.ratio)
        details |= {a.name: {"value": round(a.value, 3), "limit": a.limit, "line": a.line} for a in found}
        sentence = f"the most that the file carries, measured against its limit: {worst.sentence}"
        return Finding(self.name, self.channel, "measured", sentence, worst.ratio, details=details)


def overlap(setting: Setting) -> tuple[Amount | None, str]:
    """Runs of words that the file shares with the tasks at hand; None with a reason where no task has texts."""
    tasks = [t.inputs for t in (setting.task, *setting.others) if t.inputs.texts is not None]
    if not tasks:
        return None, f"{setting.task.problem} ships no texts"
    return shared(setting.source, tasks, setting.limits), ""


def shared(source: str, tasks: Iterable[TaskInputs], limits: Mapping[str, float]) -> Amount:
    """How many runs of SHINGLE words of the file stand in items of these tasks."""
    known: set[str] = set().union(*(_of_items(inputs.texts or ()) for inputs in tasks))
    by_line = Counter(line for line, run in _runs_of_file(source) if run in known)
    most = max(by_line, key=lambda line: by_line[line], default=0)
    return Amount(OVERLAP, by_line.total(), limits.get(OVERLAP, 0), most)


@lru_cache(maxsize=8)
def _of_items(items: tuple[str, ...]) -> frozenset[str]:
    counted = Counter(run for text in items for run in set(_runs(_words(text))))
    most = max(1.0, COMMON * len(items))
    return frozenset(run for run, times in counted.items() if times <= most)


def _runs_of_file(source: str) -> Iterator[tuple[int, str]]:
    """(line, run) over all texts of the file in their order, as if they were one: a list of words hides nothing."""
    lines, words = [], []
    for line, _, text in texts(source, parse(source)):
        found = _words(text)
        words += found
        lines += [line] * len(found)
    yield from zip(lines, _runs(words), strict=False)


def _words(text: str) -> list[str]:
    return [w.lower() for w in WORDS.findall(text)]


def _runs(words: list[str]) -> Iterator[str]:
    for start in range(len(words) - SHINGLE + 1):
        yield " ".join(words[start : start + SHINGLE])
