"""A problem out of a folder of data: texts and labels are given, everything else is measured here.

NAME/problem.toml     title, brief, directions, policy: to be edited by hand
NAME/pack/            the data pack (mode 700), laid out as `base` says
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from aarlab.errors import InputError
from aarlab.problems import base, build, paper_data
from aarlab.problems.drafts import TEACHER, Arrays, Draft, Spec, TeacherSpec
from aarlab.problems.paper_data import FILES, PaperData
from aarlab.problems.sources import Sources
from aarlab.w2s.features import LOGPROB_NAMES, LanguageModel, Progress, Wanted
from aarlab.w2s.task import Floats, StudentSpec

SEED = 2804
"""Order of items and choice of teachers' labels. It may be known: items are put in the order of their hashes first."""

TEACHER_LABELS, OWN_SHARE = 400, 0.8
"""Each teacher learns from so many labels, and at most this share of the teachers' own set, so that they differ."""

CHANCE = 0.53
"""Teachers below this accuracy are reported."""

_TEACHER = re.compile(r"bag|[lm]([1-9]|1[0-9])")
_EXTRA = ("torch", "transformers", "gguf")


@dataclass(frozen=True)
class Options:
    """What may be chosen. Raises InputError for values that cannot be used.

    teacher: what the weak supervisors see: `bag` (word vectors) or an early exit of the student, l1 to l19.
    context: tokens of an item that the student reads; longer rows are cut and counted. items: at most about so many
    of each file, 0 for all. drop_repeats: leave out what stands in two files instead of refusing it.
    """

    title: str = ""
    teacher: str = "bag"
    context: int = 1024
    items: int = 0
    drop_repeats: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        if not _TEACHER.fullmatch(self.teacher):
            raise InputError(f"--teacher is {self.teacher!r}; it is bag, or an early exit l1 to l19 (or m1 to m19)")
        if not 32 <= self.context <= 8192:
            raise InputError(f"--context is {self.context}; the student reads 32 to 8192 tokens")
        if self.items < 0:
            raise InputError(f"--items is {self.items}; it is 0 (all) or the most items of each file")


@dataclass(frozen=True)
class Made:
    """A finished problem folder and what there is to say of it."""

    problem: base.Problem
    notes: tuple[str, ...]

    def __str__(self) -> str:
        hidden = ", ".join(t.name for t in self.problem.tasks.values() if t.role != "open")
        pack = self.problem.folder
        return "\n".join([
            str(build.Report(pack, tuple(self.problem.tasks.values()))),
            *(f"note: {n}" for n in self.notes),
            f"{pack}/*.labels.npz hold the true labels. Those of {hidden} must not be published and must not reach a "
            "researcher; a lab copies them into its vault. Keep the folder you read as well closed as this one.",
            f"next: edit {self.problem.home / base.CARD}, then `aarlab run {_shown(self.problem.home)}`",
        ])  # fmt: skip


def from_paper_data(
    folder: Path,
    source: Path,
    options: Options | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    read: build.Read | None = None,
) -> Made:
    """Make the problem folder `folder` out of the data folder `source` (see `paper_data`): all of it or nothing.

    cache holds the model and finished features (default ~/.cache/aarlab). read: takes the features in place of the
    model, as `build.Read` says; nothing is shortened then. Raises InputError for wrong data, an existing folder, or a
    missing extra. Whether the ceilings beat the floors is left to `Problem.check_gaps`.
    """
    options = options or Options()
    home = folder.resolve()
    _check_new(home)
    data = paper_data.read(source, options.drop_repeats)
    data = data.at_most(options.items) if options.items else data
    drafts, notes = paper_data.drafts(data), data.notes
    if read is None:
        model, read = _model(cache, progress, options.threads)
        drafts, cut = _shortened(drafts, model, options.context)
        notes = (*notes, *cut)
    fresh = home.parent / f".{home.name}.{secrets.token_hex(4)}.new"
    try:
        _write(fresh, home.name, data, drafts, options, read)
        os.replace(fresh, home)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    problem = base.load(str(home))
    return Made(problem, (*notes, *_chance(problem)))


def _chance(problem: base.Problem) -> list[str]:
    """A note on teachers that know nothing: legal, but their weak labels cannot teach anybody."""
    floors = [f"{t.name} {t.floor.mean:.3f}" for t in problem.tasks.values() if t.floor.mean < CHANCE]
    return [f"the teachers are at chance ({', '.join(floors)}); --teacher l10 sees more than bag"] if floors else []


def _check_new(home: Path) -> None:
    base.check_name(home)
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise InputError(f"{home} exists and is not empty; name a new folder")
    if not home.parent.is_dir():
        raise InputError(f"{home.parent} does not exist; make it first, or name another folder")


def _write(fresh: Path, name: str, data: PaperData, drafts: list[Draft], options: Options, read: build.Read) -> None:
    pack = fresh / "pack"
    fresh.mkdir()
    pack.mkdir(mode=0o700)
    own = int((drafts[0].split == TEACHER).sum())
    spec = _spec(name, options.teacher, min(TEACHER_LABELS, int(OWN_SHARE * own)))
    given = {f: hashlib.sha256((data.folder / f).read_bytes()).hexdigest() for f in FILES}
    made_of = {**build.recipe(spec, SEED), "data": given, "context": options.context, "items": options.items}
    build.from_drafts(spec, drafts, read, SEED, pack, made_of=made_of)
    for file in pack.glob("*.labels.npz"):
        file.chmod(0o600)
    (fresh / base.CARD).write_text(card(data, options), "utf-8")


def _model(cache: Path | None, progress: Progress | None, threads: int) -> tuple[LanguageModel, build.Reader]:
    """The student and a reader that uses it."""
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:  # said before the weights are fetched
        raise InputError(f"features need the package {missing[0]!r}; install it with `pip install 'aarlab[train]'`")
    sources = Sources(cache)
    file = sources.path("model")
    reader = build.Reader(file, sources.cache, progress, threads)
    reader.model = LanguageModel(file, threads)
    return reader.model, reader


def _shortened(drafts: list[Draft], model: LanguageModel, context: int) -> tuple[list[Draft], list[str]]:
    """Drafts whose rows fit the context, and a note of how many did not."""

    def offsets(text: str) -> Sequence[tuple[int, int]]:
        found: Sequence[tuple[int, int]] = model.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        return found

    pairs = [paper_data.shortened(d, context, offsets) for d in drafts]
    cut, rows = sum(n for _, n in pairs), sum(len(d.rows) for d in drafts)
    note = f"{cut} of {rows} texts are longer than {context} tokens; the student reads them without what is too much"
    return [d for d, _ in pairs], [note] if cut else []


def _spec(name: str, teacher: str, labels: int) -> Spec:
    return Spec(
        problem=name,
        seed=SEED,
        wanted=Wanted(hidden=("m20", "l20"), logprob=True),
        layers=("m20", "l20"),
        student=StudentSpec(layers=("m20", "logprob"), weights=(1.0, 20.0), ridge=0.2),
        teacher=TeacherSpec(features=teacher, labels=labels, ridge=0.05 if teacher == "bag" else 0.2, home="open"),
        zero_shot=_zero_shot,
        logprob=_logprob,
        licence="the owner's data; features of SmolLM2-135M-Instruct (Apache-2.0)",
        generated=False,
    )


def _zero_shot(found: Arrays) -> Floats:
    """Mean log-probability of the answer's tokens after its question. Likelier means better, fixed in advance."""
    mean: Floats = found["logprob"][:, LOGPROB_NAMES.index("mean")]
    return mean


def _logprob(found: Arrays) -> Floats:
    """The six statistics of the answer's log-probabilities; its length as a logarithm, so that none runs away."""
    block: Floats = found["logprob"].copy()
    length = LOGPROB_NAMES.index("length")
    block[:, length] = np.log1p(block[:, length])
    return block


def _shown(home: Path) -> str:
    """The path as one would type it here."""
    near = os.path.relpath(home)
    return str(home) if near.startswith("..") else f"./{near}"


def card(data: PaperData, options: Options) -> str:
    """The text of problem.toml."""
    paired = data.paired
    title = options.title or f"Weak-to-strong: {'which answer is better' if paired else 'is this answer right'}?"
    allowed = ["features", "zero-shot", "weak-labels", "groups", *(["mirror"] if paired else [])]
    return _CARD.substitute(
        title=_toml(title),
        items=_PAIRS if paired else _ANSWERS,
        teacher="a bag-of-words model" if options.teacher == "bag" else "an early exit of the student's own network",
        other=_ELSEWHERE if data.foreign else _SAME,
        allowed=_toml(allowed),
        sources='sources = "source"  # the data\'s own' if data.sourced else "# sources: the data does not name any",
    )


def _toml(value: Any) -> str:
    """A string or list of strings as TOML: JSON's notation, which TOML shares but for the control character DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


_PAIRS = """Each item is a question with two answers, A and B; label 1 means that A is the better one.
`mirror()` asks the opposite question, so that a method can check its own consistency."""

_ANSWERS = """Each item is a question with one answer; label 1 means that the answer is right. Several answers to one
question may be among the items."""

_ELSEWHERE = "What counts are the record tasks: items of sources that no train item has, opened when the run ends."

_SAME = "What counts is the record task: items with other questions, opened when the run ends."

_CARD = Template('''\
title = $title

brief = """
$items

A weak teacher, $teacher trained on a few hundred true labels, gives P(label = 1) for the train
items. The student is a small language model with frozen hidden layers, the log-probabilities it gives the tokens of
an answer, and its untrained opinion: how likely it finds the answer after its question. Your method sees the train
items with weak labels and the test items without labels, and returns P(label = 1) for every test item.

The score is the performance gap recovered, (accuracy - floor) / (ceiling - floor): 0 is the teacher, 1 is the student
trained on true labels. The open task shows its labels; try as much as you like there. The feedback task answers
through the lab, sparingly.
$other
"""

[directions]
elicitation = "Ask what the student already believes before anybody trains it."
reweighting = "Some weak labels deserve more trust than others; find out which."
combination = "Bring the teacher's opinion and the student's own together."
posterior = "Treat the weak labels as a noisy channel and reason back to the truth behind them."
distillation = "Let a student learn from a student, and see what is left of the noise."
simplicity = "Prefer the simplest rule that explains the weak labels well enough."
learnability = "True labels may be easier to learn than mistaken ones; use how learning goes."
evolutionary = "Vary what works, keep what is better, and do not look for reasons."
internals = "Look inside the student's layers for a place where good and bad answers come apart."

[policy]
# Channels of information a method may use; a number of record from any other channel is not counted.
allowed = $allowed
studied = []
forbidden = ["true-labels", "item-order", "lab-answers"]

[audit]
# What audits may use beside the task itself. Methods see none of it.
$sources
opinion = ["logprob"]  # the untrained student's opinion in full: destroyed where `zero_shot` is
''')
