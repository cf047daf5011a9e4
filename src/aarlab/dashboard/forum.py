"""The forum: threads by their newest post, any posts that match a search, and one thread as a tree.

Everything here was written by researchers and people; templates quote it (`words.markdown`, `reports.text.plain`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar, get_args
from urllib.parse import urlencode

from aarlab.dashboard.lab import Json, Snapshot
from aarlab.dashboard.run import estimate
from aarlab.dashboard.words import SHOWN
from aarlab.errors import InputError, UnknownName
from aarlab.records import Post, PostKind
from aarlab.store import Rows, Store

A_PAGE = 50
FIRST_WORDS = 300
WHOLE = 2_000_000  # characters of the post that a page is about; what is longer is in the database alone
ANSWER_SHOWN = 4000  # characters of an answer; its own page has the rest
ABOVE = 10  # posts shown between an answer and the thread's first
DEEPEST = 4  # steps of indentation
KINDS: tuple[str, ...] = get_args(PostKind)
T = TypeVar("T")

Parents = Mapping[int, int | None]


# The list


def page(lab: Snapshot, store: Store, query: dict[str, str]) -> Json:
    """Threads, newest activity first; with a search or filter the posts that match, answers among them, newest first.

    query: search (text), kind, by (a name), page (from 1). Raises InputError for a kind or page that cannot be.
    """
    asked = _filters(query)
    wanted = page_number(query)
    with store.read() as rows:
        part, shown = _matching(rows, asked, wanted) if asked else _threads(rows, wanted)
        heads = rows.post_heads({n for one in shown for n in (one.number, one.last)}, FIRST_WORDS)
        people = people_of(rows)
        names = [r.name for r in rows.researchers() if r.role in ("researcher", "operator")]
    return {
        "what": "posts" if asked else "threads", "filters": asked, "again": urlencode(asked),
        "newest": not asked and part["page"] == 1, "kinds": list(KINDS), "authors": names, "all": lab.posts,
        "posts": [_line(lab, one, heads, people) for one in shown if one.number in heads], **part,
    }  # fmt: skip


class Listed(NamedTuple):
    """A line of the list: a post, how many answer it (directly or not), and the newest of all these."""

    number: int
    last: int
    answers: int


def _filters(query: Mapping[str, str]) -> dict[str, str]:
    asked = {k: query[k] for k in ("search", "kind", "by") if query.get(k)}
    if asked.get("kind", KINDS[0]) not in KINDS:
        raise InputError(f"there is no kind of posts {asked['kind'][:40]!r}; there are {', '.join(KINDS)}")
    return asked


def page_number(query: Mapping[str, str]) -> int:
    """Which page is asked for. Raises InputError for anything but a number from 1."""
    text = query.get("page") or "1"
    if not (text.isascii() and text.isdecimal() and 0 < len(text) <= 9 and int(text) >= 1):
        raise InputError(f"page is {text[:40]!r}; it is a number from 1")
    return int(text)


def paged(items: list[T], wanted: int, size: int = A_PAGE) -> tuple[Json, list[T]]:
    """({"page", "pages", "total"}, the items of that page); beyond the last page it is the last."""
    pages = max(1, -(-len(items) // size))
    at = min(wanted, pages)
    return {"page": at, "pages": pages, "total": len(items)}, items[(at - 1) * size : at * size]


def _threads(rows: Rows, wanted: int) -> tuple[Json, list[Listed]]:
    roots = _roots(rows.post_parents())
    last = {root: number for number, root in roots.items()}  # the newest of a thread comes last
    posts = Counter(roots.values())
    part, shown = paged(sorted(last, key=last.__getitem__, reverse=True), wanted)
    return part, [Listed(root, last[root], posts[root] - 1) for root in shown]


def _roots(parents: Parents) -> dict[int, int]:
    """Post -> the first one of its thread, oldest first. Where posts answer each other in a circle, one of them is it.

    parents: oldest first. Posts answer earlier ones, so that nearly every post needs one look at what is known.
    """
    known: dict[int, int] = {}
    backwards = False
    for number, parent in parents.items():
        if parent is None:
            known[number] = number
        elif parent in known:
            known[number] = known[parent]
        elif number not in known:
            trail = _climb(parents, number)
            known |= dict.fromkeys(trail, known.get(trail[-1], trail[-1]))
            backwards = True
    return dict(sorted(known.items())) if backwards else known


def _climb(parents: Parents, number: int) -> list[int]:
    """The post, what it answers, what that answers and so on; each once, also in a circle."""
    trail = dict.fromkeys([number])
    at = parents.get(number)
    while at is not None and at not in trail:
        trail[at] = None
        at = parents.get(at)
    return list(trail)


def _matching(rows: Rows, asked: Mapping[str, str], wanted: int) -> tuple[Json, list[Listed]]:
    found = rows.matching_posts(asked.get("search", ""), asked.get("kind"), asked.get("by"))
    part, shown = paged(found, wanted)
    return part, [Listed(n, n, 0) for n in shown]


def people_of(rows: Rows) -> set[str]:
    """Whoever posts here and is a person."""
    return {r.name for r in rows.researchers() if r.role in ("operator", "viewer") or r.kind == "human"}


def _line(lab: Snapshot, one: Listed, heads: Mapping[int, tuple[Post, int]], people: set[str]) -> Json:
    post, characters = heads[one.number]
    newest = heads.get(one.last, heads[one.number])[0]
    return {
        **_about(lab, post, people), "words": " ".join(post.body.split())[:FIRST_WORDS], "characters": characters,
        "answers": one.answers, "newest": newest.created, "newest_by": newest.researcher,
    }  # fmt: skip


def _about(lab: Snapshot, post: Post, people: set[str]) -> Json:
    return {
        "id": post.id, "title": post.title, "kind": post.kind, "researcher": post.researcher,
        "person": post.researcher in people, "time": post.created, "parent": post.parent,
        "cites": None if post.submission is None else cited(lab, post.submission),
    }  # fmt: skip


def cited(lab: Snapshot, number: int) -> Json:
    """What the lab knows of a submission that somebody cites. pgr: None where it has no verified score; that of
    `repeat_of` where it is the same method again."""
    found = lab.submissions.get(number)
    if found is None:
        return {"submission": number, "name": "", "researcher": "", "status": "unknown", "pgr": None, "ranked": False,
                "repeat_of": None}  # fmt: skip
    entry = lab.entry(number) or lab.entry(found.repeat_of or 0)
    return {
        "submission": number, "name": found.name, "researcher": found.researcher,
        "status": found.status.replace("_", " "), "pgr": None if entry is None else estimate(entry.pgr, entry.drawn),
        "ranked": found.ranked, "repeat_of": found.repeat_of,
    }  # fmt: skip


# One thread


def thread(lab: Snapshot, store: Store, number: int, query: Mapping[str, str] | None = None) -> Json:
    """A post with its whole body, what it answers, and all that answers it, as a tree in reading order.

    query: page (from 1) of the answers. Bodies of answers are cut (`cut`); each answer's own page has it whole.
    Raises UnknownName for a number that no post has.
    """
    wanted = page_number(query or {})
    with store.read() as rows:
        parents = rows.post_parents()
        if number not in parents:
            raise UnknownName(f"there is no post {number} in this lab; the forum has a list of all")
        answers = list(_tree(parents, number))
        part, shown = paged(answers, wanted)
        above = _climb(parents, number)[:0:-1]
        whole = rows.post_heads([number], WHOLE)[number]
        cut = rows.post_heads([n for n, _ in shown], ANSWER_SHOWN)
        titles = rows.post_heads(above[:1] + above[1:][-ABOVE:], 0)
        people = people_of(rows)
    title = _bare(whole[0].title)
    return {
        "post": _body(lab, *whole, people) | {"cut": whole[1] > SHOWN},
        "above": [{"id": n, "title": titles[n][0].title} for n in above if n in titles],
        "answers": [_answer(lab, *cut[n], people, depth, title) for n, depth in shown if n in cut],
        "shown": SHOWN, "answer_shown": ANSWER_SHOWN, **part,
    }  # fmt: skip


def _tree(parents: Parents, top: int) -> Iterator[tuple[int, int]]:
    """(answer, depth from 1) below a post, each once: an answer, then what answers it, then the next."""
    answers: dict[int, list[int]] = {}
    for number, parent in parents.items():
        if parent is not None:
            answers.setdefault(parent, []).append(number)
    seen, waiting = {top}, [(n, 1) for n in reversed(answers.get(top, []))]
    while waiting:
        number, depth = waiting.pop()
        if number in seen:
            continue
        seen.add(number)
        yield number, depth
        waiting += [(n, depth + 1) for n in reversed(answers.get(number, []))]


def _answer(lab: Snapshot, post: Post, characters: int, people: set[str], depth: int, title: str) -> Json:
    """title: of the post above all; `retitled` says that an answer has one of its own."""
    more = {"cut": characters > ANSWER_SHOWN, "depth": min(depth, DEEPEST), "retitled": _bare(post.title) != title}
    return _body(lab, post, characters, people) | more


def _bare(title: str) -> str:
    """Without the marks of an answer, to tell one that says something of its own."""
    while title.startswith("Re: "):
        title = title[4:]
    return title


def _body(lab: Snapshot, post: Post, characters: int, people: set[str]) -> Json:
    return {**_about(lab, post, people), "body": post.body, "characters": characters}
