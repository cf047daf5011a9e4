"""Which of two sentences did human raters score higher? Rated sentences of four sources; the teacher knows one."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aarlab.problems.drafts import TEACHER, TEST, TRAIN, Arrays, Draft, Spec, TeacherSpec
from aarlab.problems.sources import Sources
from aarlab.records import Role
from aarlab.w2s.features import Wanted
from aarlab.w2s.task import Floats, StudentSpec

LEAST_GAP = 1.0
"""Least difference of the mean ratings (scale -4 to 4, about 20 raters) of a pair; closer pairs are left out."""

WORDS = (5, 30)
"""Sentences of this many words are used."""

BLOCK = 8
"""Sentences of a source without documents are grouped in blocks of this size; pairs never leave a block."""

PAIRS_PER_SENTENCE = 1.2
"""Pairs formed in a block of one document, per sentence of it."""


@dataclass(frozen=True)
class Part:
    """One task: its source, and how many pairs each split has."""

    name: str
    role: Role
    title: str
    source: str
    documents: bool  # whether the source says which sentences are of one document
    pairs: dict[int, int]


PARTS = (
    Part("open", "open", "film reviews", "movieReviewSnippets", False, {TEACHER: 1200, TRAIN: 1800, TEST: 1200}),
    Part("feedback", "feedback", "shop reviews", "amazonReviewSnippets", True, {TRAIN: 1800, TEST: 1600}),
    Part("record-editorial", "record", "newspaper editorials", "nytEditorialSnippets", True,
         {TRAIN: 1800, TEST: 1300}),
    Part("record-tweets", "record", "tweets", "tweets", False, {TRAIN: 1800, TEST: 1300}),
)  # fmt: skip


def _zero_shot(found: Arrays) -> Floats:
    """How much likelier the model finds a good word than a bad one after the sentence; mean over the word pairs."""
    opinion: Floats = found["words"].mean(1)
    return opinion


SPEC = Spec(
    problem="w2s-pref",
    seed=2802,
    wanted=Wanted(
        hidden=("m20", "l20"),
        suffix="\nOverall, it was",
        words=((" great", " terrible"), (" good", " bad"), (" positive", " negative")),
    ),
    layers=("m20", "l20"),
    student=StudentSpec(layers=("m20", "l20"), weights=(1.0, 1.0), ridge=0.2),
    teacher=TeacherSpec(features="bag", labels=400, ridge=0.05, home="open"),
    zero_shot=_zero_shot,
    licence="ratings MIT (vaderSentiment; cite Hutto and Gilbert 2014); texts not shipped",
    generated=False,
    sources=("model", "ratings"),
)


@dataclass(frozen=True)
class Sentence:
    text: str
    rating: float
    document: str


def generate(seed: int, sources: Sources) -> list[Draft]:
    """The four tasks. A sentence is in one split of one task; so is a document, where the source has documents."""
    archive = sources.path("ratings")
    seen: set[str] = set()
    return [_draft(part, sentences(archive, part, seen), random.Random(f"{seed} {part.name}")) for part in PARTS]


def sentences(archive: Path, part: Part, seen: set[str]) -> list[Sentence]:
    """The usable sentences of a source, each text once; `seen` (hashes of texts) is added to."""
    out = []
    for line in _member(archive, f"hutto_ICWSM_2014/{part.source}_GroundTruth.txt").splitlines():
        number, rating, text = line.split("\t", 2)
        plain = " ".join(text.split())
        key = hashlib.sha256(plain.lower().encode()).hexdigest()
        if WORDS[0] <= len(plain.split()) <= WORDS[1] and key not in seen:
            seen.add(key)
            out.append(Sentence(plain, float(rating), number.split("_")[0] if part.documents else ""))
    return out


def _member(archive: Path, name: str) -> str:
    """A text file inside the archive inside the sdist."""
    with tarfile.open(archive) as outer:
        packed = outer.extractfile("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz")
        assert packed is not None
        with tarfile.open(fileobj=io.BytesIO(packed.read())) as inner:
            member = inner.extractfile(name)
            assert member is not None
            return member.read().decode("utf-8", errors="replace")


def _blocks(found: list[Sentence], part: Part, r: random.Random) -> list[list[Sentence]]:
    """Sentences that may be compared with each other: documents, or random blocks; in random order."""
    if part.documents:
        by_document: dict[str, list[Sentence]] = {}
        for sentence in found:
            by_document.setdefault(sentence.document, []).append(sentence)
        blocks = list(by_document.values())
    else:
        r.shuffle(found)
        blocks = [found[i : i + BLOCK] for i in range(0, len(found), BLOCK)]
    r.shuffle(blocks)
    return blocks


def _pairs(block: list[Sentence], r: random.Random) -> list[tuple[Sentence, Sentence]]:
    """Random pairs of clearly different rating, in random order within the pair."""
    options = [
        (a, b) for i, a in enumerate(block) for b in block[:i] if abs(a.rating - b.rating) >= LEAST_GAP
    ]  # fmt: skip
    chosen = r.sample(options, min(len(options), round(PAIRS_PER_SENTENCE * len(block))))
    return [(a, b) if r.random() < 0.5 else (b, a) for a, b in chosen]


def _draft(part: Part, found: list[Sentence], r: random.Random) -> Draft:
    rows: dict[str, int] = {}
    pairs, labels, split, groups = [], [], [], []
    room = dict(part.pairs)
    for number, block in enumerate(_blocks(found, part, r)):
        target = max(room, key=lambda s: room[s] / part.pairs[s])
        for a, b in _pairs(block, r):
            pairs.append([rows.setdefault(s.text, len(rows)) for s in (a, b)])
            labels.append(a.rating > b.rating)
            split.append(target)
            groups.append(number)
            room[target] -= 1
        if max(room.values()) <= 0:
            break
    if max(room.values()) > 0:
        raise ValueError(f"{part.source} is too small: {room} pairs are missing")
    return Draft(
        name=part.name,
        role=part.role,
        title=part.title,
        rows=tuple(rows),
        labels=np.array(labels, np.int8),
        split=np.array(split, np.int8),
        groups=np.array(groups),
        pairs=np.array(pairs),
        ship_texts=False,
    )
