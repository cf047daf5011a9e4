"""The ideas of a run, from what was handed in and posted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aarlab.errors import InputError
from aarlab.ideas.code import classify_code
from aarlab.ideas.families import PRECEDENCE, By, chosen, declared, known
from aarlab.ideas.words import classify_text
from aarlab.records import IdeaRow, Post, Submission

Kind = Literal["submission", "post"]

PROPOSALS = ("submission", "hypothesis")
"""What proposes an idea. Posts of other kinds speak about ideas that were proposed already."""


@dataclass(frozen=True)
class Idea:
    """One idea. time: seconds since the run started; `by` said it is of `family`.

    form: "submission", or the post's kind. classed: everybody's word, also those that do not count.
    """

    time: float
    researcher: str
    kind: Kind
    number: int
    family: str
    by: By
    form: str = "submission"
    classed: Mapping[By, str] = field(default_factory=dict)

    @property
    def proposed(self) -> bool:
        return self.form in PROPOSALS


def gather(
    submissions: Iterable[Submission],
    posts: Iterable[Post],
    sources: Mapping[int, str],
    stored: Iterable[IdeaRow] = (),
    start: float = 0.0,
    by: tuple[By, ...] = PRECEDENCE,
) -> tuple[Idea, ...]:
    """The ideas that somebody could class, oldest first.

    sources: submission -> method file, as far as known. stored: what the lab keeps, which goes before what is found
    here. start: Unix seconds of the run's start. by: whose word counts; an idea that none of them classed is left out.
    A post that cites a submission is of that submission's family, if nobody declared another.
    """
    return arrange(submissions, posts, lambda s: of_code(sources.get(s.id, "")), of_text, stored, start, by)


def arrange(
    submissions: Iterable[Submission],
    posts: Iterable[Post],
    code: Callable[[Submission], Mapping[By, str]],
    words: Callable[[Post], Mapping[By, str]],
    stored: Iterable[IdeaRow] = (),
    start: float = 0.0,
    by: tuple[By, ...] = PRECEDENCE,
) -> tuple[Idea, ...]:
    """`gather` for who has read method files and posts before. code, words: who classes each, as `of_code` says it."""
    kept = _kept(stored)
    found: list[Idea] = []
    of_submission: dict[int, dict[By, str]] = {}
    for s in submissions:
        classed = of_submission[s.id] = {**code(s), **kept.get(("submission", s.id), {})}
        found += _idea(s.created - start, s.researcher, "submission", s.id, "submission", classed, by)
    for p in posts:
        cited = of_submission.get(p.submission, {}) if p.submission is not None else {}
        classed = {**(cited or words(p)), **kept.get(("post", p.id), {})}
        found += _idea(p.created - start, p.researcher, "post", p.id, p.kind, classed, by)
    return tuple(sorted(found, key=lambda i: (i.time, i.kind, i.number)))


def _kept(stored: Iterable[IdeaRow]) -> dict[tuple[str, int], dict[By, str]]:
    """Families kept by a lab: (kind, number) -> who -> family. A name that is none is passed over."""
    found: dict[tuple[str, int], dict[By, str]] = {}
    for row in stored:
        by = next((b for b in PRECEDENCE if b == row.by), None)
        try:
            if by is not None:
                found.setdefault((row.kind, row.number), {})[by] = known(row.family)
        except InputError:
            continue
    return found


def of_code(source: str) -> dict[By, str]:
    """Who says what of a method file: its own header, and rules."""
    if not source:
        return {}
    said, ruled = declared(source), classify_code(source)
    return ({"researcher": said} if said else {}) | ({"rules": ruled} if ruled else {})  # type: ignore[return-value]


def of_text(post: Post) -> dict[By, str]:
    """What rules say of a post."""
    ruled = classify_text(post.body, post.title)
    return {"rules": ruled} if ruled else {}


def _idea(
    time: float, researcher: str, kind: Kind, number: int, form: str, classed: Mapping[By, str], by: tuple[By, ...]
) -> list[Idea]:
    counted = chosen(classed, by)
    return [Idea(time, researcher, kind, number, *counted, form, dict(classed))] if counted else []


def unread(
    submissions: Iterable[Submission], posts: Iterable[Post], sources: Mapping[int, str], stored: Iterable[IdeaRow]
) -> Iterator[tuple[Kind, int, str]]:
    """(kind, number, text) of everything that no language model has classed yet; a method's file, a post's words."""
    done = {(row.kind, row.number) for row in stored if row.by == "llm"}
    for s in submissions:
        if ("submission", s.id) not in done and sources.get(s.id):
            yield "submission", s.id, sources[s.id]
    for p in posts:
        if ("post", p.id) not in done and p.submission is None:
            yield "post", p.id, f"{p.title}\n\n{p.body}"


def agreement(ideas: Iterable[Idea], one: By = "researcher", other: By = "rules") -> tuple[int, int]:
    """(ideas that both class alike, ideas that both class)."""
    both = [i.classed for i in ideas if one in i.classed and other in i.classed]
    return sum(c[one] == c[other] for c in both), len(both)
