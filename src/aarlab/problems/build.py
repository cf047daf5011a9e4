"""Rebuilding a problem's data pack from its generator, the model and the ratings, and telling how far it differs.

`drafts.py` says how a problem plugs in. The steps for each task: texts and true labels from the builder, features
from the model, weak labels from the teachers, floor, ceiling and baselines from `measure`, files from `pack`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import InputError, NotApplicable
from aarlab.problems import base, measure, pack, teachers
from aarlab.problems.comparison import Difference, compare
from aarlab.problems.drafts import TEACHER, TEST, Arrays, Draft, Spec
from aarlab.problems.sources import SOURCES, Sources
from aarlab.w2s import texts
from aarlab.w2s.features import LanguageModel, Progress, Wanted
from aarlab.w2s.task import Layer, TaskInputs

__all__ = ["Difference", "Read", "Report", "build", "compare", "from_drafts"]

Generate = Callable[[int, Sources], list[Draft]]
Read = Callable[[tuple[str, ...], Wanted, tuple[str, ...] | None], dict[str, NDArray[Any]]]
"""`read(texts, wanted, prefixes)` gives the arrays that are wanted of each text: a `Reader` does."""


@dataclass(frozen=True)
class Report:
    """What a build wrote."""

    folder: Path
    tasks: tuple[base.TaskCard, ...]

    def __str__(self) -> str:
        lines = [f"{self.folder}: {len(self.tasks)} tasks"]
        lines += [
            f"  {t.name}: {t.train_items} train and {t.test_items} test items, floor {t.floor.mean:.3f}, "
            f"ceiling {t.ceiling.mean:.3f}, gap {100 * t.gap:.1f} points"
            for t in self.tasks
        ]
        return "\n".join(lines)


def builder(name: str) -> tuple[Spec, Generate]:
    """SPEC and generate of a problem's builder. Raises InputError for a problem made of given items."""
    if name not in base.names():
        raise InputError(f"{name} is made of given items; make it again with `aarlab problem new`, it has no generator")
    module = importlib.import_module(f"aarlab.problems.{name.replace('-', '_')}.builder")
    return module.SPEC, module.generate


def build(
    name: str,
    out: Path,
    fresh: bool = False,
    seed: int | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
    with_texts: bool = False,
    threads: int = 0,
) -> Report:
    """Build the pack of problem `name` in the folder `out`; `cache` holds downloads and finished features.

    fresh: draw new items from a secret seed that is written nowhere, so that nobody knows the labels; the shipped
    open task stays. with_texts: put texts into the pack whose rights do not allow shipping it afterwards.
    """
    spec, generate = builder(name)
    if fresh and not spec.generated:
        raise InputError(f"{name} has human ratings, not generated items; --fresh cannot draw new ones")
    secret = secrets.randbits(62) if fresh else None
    number = secret if secret is not None else spec.seed if seed is None else seed
    sources = Sources(cache)
    drafts = generate(number, sources)
    if fresh:
        drafts = [d for d in drafts if d.role != "open"]
    model_file = sources.path("model")
    reader = Reader(model_file, None if fresh else sources.cache, progress, threads)
    shipped = _shipped_open(name, out) if fresh else []
    return from_drafts(spec, drafts, reader, number, out, with_texts, shipped, recipe(spec, None if fresh else number))


def from_drafts(
    spec: Spec,
    drafts: list[Draft],
    read: Read,
    seed: int,
    out: Path,
    with_texts: bool = False,
    ready: Sequence[base.TaskCard] = (),
    made_of: dict[str, Any] | None = None,
) -> Report:
    """All of a build after the drafts: features, weak labels, floor, ceiling, baselines and the files in `out`.

    ready: cards of tasks whose files lie in `out` already. made_of: the manifest's recipe; None for `recipe`'s.
    """
    built = _Builder(spec, read, seed, with_texts)
    cards = [*ready, *(built.task(d, drafts, out) for d in drafts)]
    pack.write_manifest(out, spec.problem, cards, recipe(spec, seed) if made_of is None else made_of)
    return Report(out, tuple(cards))


class Reader:
    """Reads features, from the cache where they are finished, else from the model (loaded when first needed)."""

    def __init__(self, model_file: Path, cache: Path | None, progress: Progress | None, threads: int) -> None:
        self.model_file, self.cache, self.progress, self.threads = model_file, cache, progress, threads
        self.model: LanguageModel | None = None
        self.task = ""  # what is being read, for the progress display

    def __call__(
        self, texts: tuple[str, ...], wanted: Wanted, prefixes: tuple[str, ...] | None = None
    ) -> dict[str, NDArray[Any]]:
        rest = replace(wanted, hidden=(), logprob=False)
        key = hashlib.sha256(repr((self.model_file.name, rest, texts, prefixes)).encode()).hexdigest()[:24]
        names = wanted.names
        found = {n: np.load(self._place(key, n)) for n in names if self._place(key, n).is_file()} if self.cache else {}
        missing = tuple(n for n in wanted.hidden if n not in found)
        if len(found) < len(names):
            logprob = wanted.logprob and "logprob" not in found
            words = wanted.words if "words" not in found else ()
            new = self._read(texts, replace(wanted, hidden=missing, logprob=logprob, words=words), prefixes)
            if self.cache:
                self._keep(key, new)
            found.update(new)
        return found

    def _read(
        self, texts: tuple[str, ...], wanted: Wanted, prefixes: tuple[str, ...] | None
    ) -> dict[str, NDArray[Any]]:
        if self.model is None:
            self.model = LanguageModel(self.model_file, self.threads)
        if wanted.hidden == ("bag",):
            return {"bag": self.model.word_vectors(texts)}
        return self.model.extract(texts, wanted, prefixes, self._report)

    def _report(self, what: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(f"{self.task}: {what} ({total} tokens)", done, total)

    def _place(self, key: str, name: str) -> Path:
        assert self.cache is not None
        return self.cache / "features" / f"{key}-{name}.npy"

    def _keep(self, key: str, arrays: dict[str, NDArray[Any]]) -> None:
        for name, values in arrays.items():
            place = self._place(key, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            partial = place.with_suffix(".partial.npy")
            np.save(partial, values)
            partial.replace(place)


class _Builder:
    """Turns drafts into the files of a pack."""

    def __init__(self, spec: Spec, read: Read, seed: int, with_texts: bool) -> None:
        self.spec, self.read, self.seed, self.with_texts = spec, read, seed, with_texts

    def task(self, draft: Draft, drafts: list[Draft], out: Path) -> base.TaskCard:
        if isinstance(self.read, Reader):
            self.read.task = draft.name
        keep = shipped_items(draft, self.seed)
        rows = self._rows(draft, keep)
        found = student_features(self.spec, self.read, draft, rows)
        inputs = self._inputs(draft, keep, rows, found)
        weak = self._weak(draft, drafts, inputs.pairs, found)
        is_test = draft.split[keep] == TEST
        truth = measure.Truth(inputs, weak, draft.labels[keep], is_test)
        extras = {name: values[keep] for name, values in draft.extras.items()}
        pack.write_task(out, inputs, weak, {"labels": draft.labels[keep], "is_test": is_test, **extras})
        return base.TaskCard(
            name=draft.name,
            role=draft.role,
            title=draft.title,
            train_items=int((~is_test).sum()),
            test_items=int(is_test.sum()),
            floor=truth.floor(),
            ceiling=truth.ceiling(),
            baselines=truth.baselines(),
            licence=self.spec.licence,
        )

    def _rows(self, draft: Draft, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """The feature rows that `items` need, shuffled where they are not the items themselves."""
        if draft.pairs is None:
            return items
        return np.random.default_rng([self.seed, 2]).permutation(np.unique(draft.pairs[items]))

    def _inputs(self, draft: Draft, keep: NDArray[np.int64], rows: NDArray[np.int64], found: Arrays) -> TaskInputs:
        layers: dict[str, Layer] = {name: pack.quantise(found[name]) for name in self.spec.layers}
        if self.spec.logprob is not None:
            layers["logprob"] = pack.exact(self.spec.logprob(found))
        opinion = np.asarray(self.spec.zero_shot(found), np.float32)
        shown, passages = item_texts(draft, keep) if draft.ship_texts or self.with_texts else (None, None)
        pairs = None
        if draft.pairs is not None:
            place = np.zeros(len(draft.rows), np.int64)
            place[rows] = np.arange(len(rows))
            pairs = place[draft.pairs[keep]]
            opinion = opinion[pairs[:, 0]] - opinion[pairs[:, 1]]
        _, groups = np.unique(draft.groups[keep], return_inverse=True)
        return TaskInputs(
            problem=self.spec.problem,
            task=draft.name,
            layers=layers,
            zero_shot=opinion,
            groups=groups.astype(np.int64),
            student=self.spec.student,
            pairs=pairs,
            texts=shown,
            answers=None if draft.answers is None else tuple(draft.answers[i] for i in keep),
            passages=passages,
        )

    def _weak(
        self, draft: Draft, drafts: list[Draft], pairs: NDArray[np.int64] | None, found: Arrays
    ) -> NDArray[np.float16]:
        spec = self.spec.teacher
        home = next(d for d in drafts if d.name == spec.home) if spec.home else draft
        number = [d.name for d in drafts].index(draft.name)
        features = teachers.item_features(found[spec.features], pairs)
        return teachers.weak_labels(spec, self._own_set(home), features, (self.seed, 3, number))

    def _own_set(self, home: Draft) -> teachers.Labelled:
        """Weak features and labels of a task's items with split TEACHER."""
        name = self.spec.teacher.features
        items = np.flatnonzero(home.split == TEACHER)
        rows = items if home.pairs is None else np.unique(home.pairs[items])
        written = _pick(home.rows, rows)
        assert written is not None
        values = self.read(written, Wanted(hidden=(name,)), _pick(home.prefixes, rows))[name]
        pairs = None if home.pairs is None else np.searchsorted(rows, home.pairs[items])
        return teachers.Labelled(teachers.item_features(values, pairs), home.labels[items])


def student_features(spec: Spec, read: Read, draft: Draft, rows: NDArray[np.int64]) -> Arrays:
    """Everything the spec wants of some rows, the teachers' features among it."""
    written, prefixes = _pick(draft.rows, rows), _pick(draft.prefixes, rows)
    assert written is not None
    wanted, weak = spec.wanted, spec.teacher.features
    if weak != "bag" and weak not in wanted.hidden:
        wanted = replace(wanted, hidden=(*wanted.hidden, weak))
    found = dict(read(written, wanted, prefixes))
    if weak == "bag":
        found.update(read(written, Wanted(hidden=("bag",)), None))
    controls = _pick(draft.controls, rows)
    if controls is not None:
        arrays = read(controls, spec.control, _pick(draft.control_prefixes, rows))
        found["control"] = arrays["logprob"]
        found.update({f"control.{name}": arrays[name] for name in spec.control.hidden})
    if spec.derive is not None:
        found.update(spec.derive(found))
    return found


def _pick(values: tuple[str, ...] | None, rows: NDArray[np.int64]) -> tuple[str, ...] | None:
    return None if values is None else tuple(values[i] for i in rows)


def shipped_items(draft: Draft, seed: int) -> NDArray[np.int64]:
    """Train and test items in an order that says nothing about how they were made."""
    return np.random.default_rng([seed, 1]).permutation(np.flatnonzero(draft.split != TEACHER))


def item_texts(draft: Draft, keep: NDArray[np.int64]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...] | None]:
    """The texts of some items, and their parts; None for the parts where every text tells them itself."""
    paired = draft.pairs is not None
    if draft.passages is not None:
        parts = tuple(draft.passages[i] for i in keep)
    elif draft.pairs is not None:
        parts = tuple(("", draft.rows[a], draft.rows[b]) for a, b in draft.pairs[keep])
    else:
        return tuple(draft.rows[i] for i in keep), None
    shown = tuple(texts.whole(p, paired) for p in parts)
    return shown, None if all(map(partial(_tells, paired), shown, parts)) else parts


def _tells(paired: bool, text: str, parts: tuple[str, ...]) -> bool:
    try:
        return texts.split(text, paired) == parts
    except NotApplicable:
        return False


def _shipped_open(name: str, out: Path) -> list[base.TaskCard]:
    """Copy the shipped open tasks into a fresh pack."""
    shipped = base.load(name)
    cards = shipped.of_role("open")
    out.mkdir(parents=True, exist_ok=True)
    for card in cards:
        for part in base.PARTS:
            shutil.copyfile(shipped.path(card.name, part), out / f"{card.name}.{part}.npz")
    return cards


def recipe(spec: Spec, seed: int | None) -> dict[str, Any]:
    """How the pack came about. A fresh pack's seed is in no file."""
    libraries = ("numpy", "scipy", "torch", "transformers", "gguf")
    return {
        "generator_seed": seed,
        "fresh": seed is None,
        "sources": {
            n: {"requirement": s.requirement, "file": s.file, "sha256": s.sha256, "licence": s.licence}
            for n, s in SOURCES.items()
            if n in spec.sources
        },
        "versions": {name: importlib.metadata.version(name) for name in libraries if importlib.util.find_spec(name)},
        "teacher": vars(spec.teacher),
        "hidden": list(spec.wanted.hidden),
        "measure_seeds": measure.SEEDS,
    }
