"""A method as a short list of choices, and the method file those choices make.

`Recipe.source()` writes a complete, readable method file that imports `aarlab.w2s.parts`; its header carries the
recipe, so that whoever downloads the file can vary it (`Recipe.from_source`). Two recipes that do the same write the
same file: parameters of parts that are not used go back to their defaults first.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from aarlab.errors import InputError

CHOICES: dict[str, tuple[str, ...]] = {
    "labels": ("hard", "soft", "zero_shot", "mixture", "posterior"),
    "view": ("joined", "each", "narrow", "wide", "halves"),
    "denoise": ("none", "confident", "relabelled", "smoothed", "agreeing", "learnable"),
    "train": ("plain", "self_training", "born_again", "bagged"),
}
"""What each choice of a recipe may be."""

RANGES: dict[str, tuple[float, float]] = {
    "teacher": (0.0, 1.0),
    "sharpness": (0.5, 4.0),
    "relative": (0.0, 1.0),
    "logic": (0.0, 1.0),
    "keep": (0.2, 0.95),
    "trust": (0.2, 0.9),
    "folds": (2, 5),
    "rounds": (1, 4),
    "components": (0, 256),
    "ridge": (0.05, 20.0),
    "mix": (0.1, 0.9),
    "times": (1, 4),
    "blend": (0.0, 0.9),
    "group_logic": (0.0, 1.0),
}
"""The range of each number of a recipe, both ends allowed. `components` 0: no bottleneck."""

INTEGERS = ("folds", "rounds", "components", "times")

USED: dict[str, dict[str, tuple[str, ...]]] = {
    "labels": {
        "hard": ("logic",), "soft": ("logic",),
        "zero_shot": ("sharpness", "relative", "logic"),
        "mixture": ("teacher", "sharpness", "relative", "logic"),
        "posterior": ("teacher", "folds", "rounds", "logic"),
    },
    "denoise": {
        "none": (), "confident": ("keep",), "smoothed": ("rounds", "keep"),
        "relabelled": ("folds", "rounds", "trust"), "agreeing": ("folds", "keep"), "learnable": ("folds", "keep"),
    },
    "train": {"plain": (), "self_training": ("mix", "times"), "born_again": ("mix", "times"), "bagged": ("times",)},
}  # fmt: skip
"""Which numbers each choice reads. `ridge`, `components`, `blend` and `group_logic` always count."""


@dataclass(frozen=True)
class Recipe:
    """The choices of one method. Defaults are the plain soft weak-label baseline."""

    labels: str = "soft"  # what is taught
    view: str = "joined"  # what the head sees
    denoise: str = "none"  # which labels are trusted
    train: str = "plain"  # how it is taught
    teacher: float = 0.5  # the teacher's share in a mixture
    sharpness: float = 1.5  # spread of the log-odds taught
    relative: float = 0.0  # share of the zero-shot score measured inside its group
    logic: float = 0.0  # strength of the group's logic on the labels
    keep: float = 0.5  # share of items or of the own label kept by a filter
    trust: float = 0.6  # share of the out-of-fold opinion in relabelling
    folds: int = 3
    rounds: int = 2
    components: int = 0  # principal components the head sees; 0 for all features
    ridge: float = 1.0  # times the problem's own
    mix: float = 0.5  # share of the student's own word in self-training
    times: int = 2  # rounds of self-training, or bags
    mirror: bool = False  # comparisons: exchanging the sides flips the answer by construction
    centre: bool = False  # threshold at the share of ones among the train labels
    blend: float = 0.0  # share of the zero-shot score in the last word
    group_logic: float = 0.0  # strength of the group's logic on the last word

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"recipe: {name} is {getattr(self, name)!r}; it is one of {', '.join(allowed)}")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise InputError(f"recipe: {name} is {value!r}; it is a number from {low:g} to {high:g}")
        for name in ("mirror", "centre"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"recipe: {name} is {getattr(self, name)!r}; it is true or false")

    def canonical(self) -> Recipe:
        """The same method with unread numbers at their defaults and read ones rounded to three digits."""
        read = {"ridge", "components", "blend", "group_logic"}
        for part, uses in USED.items():
            read.update(uses[getattr(self, part)])
        if self.blend > 0:
            read.add("relative")
        plain = Recipe()
        values: dict[str, Any] = {}
        for name in RANGES:
            value = getattr(self, name) if name in read else getattr(plain, name)
            values[name] = round(value) if name in INTEGERS else float(f"{value:.3g}")
        return replace(self, **values)

    def key(self) -> str:
        """A name of 12 hexadecimal digits: equal for recipes that do the same."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_json(self) -> str:
        return json.dumps(self.changes(), sort_keys=True)

    def changes(self) -> dict[str, Any]:
        """What differs from the plain baseline, after `canonical`: all that is needed to write the recipe down."""
        mine, plain = asdict(self.canonical()), asdict(Recipe())
        return {k: v for k, v in mine.items() if v != plain[k]}

    def parts(self) -> int:
        """How many things the method does beyond the plain baseline."""
        named: int = sum(getattr(self, n) != getattr(Recipe(), n) for n in ("labels", "view", "denoise", "train"))
        return named + sum((self.components > 0, self.blend > 0, self.group_logic > 0, self.logic > 0, self.centre))

    def title(self) -> str:
        """A short name in words, from the choices made."""
        one = self.canonical()
        words = [one.labels.replace("_", "-")]
        words += ["consistent"] if one.logic > 0 else []
        words += [one.denoise] if one.denoise != "none" else []
        words += [one.view] if one.view != "joined" else []
        words += [f"pca{one.components}"] if one.components else []
        words += [one.train.replace("_", "-")] if one.train != "plain" else []
        words += ["blend"] if one.blend > 0 else []
        words += ["group-logic"] if one.group_logic > 0 else []
        return " + ".join(words)

    def track(self) -> str:
        """The narrowest track that allows all that the method uses.

        Only the group logic of the last word, and a blend measured inside groups, look at the other test items.
        """
        one = self.canonical()
        own = {"zero_shot": 1.0, "mixture": 1 - one.teacher, "posterior": 1 - one.teacher}.get(one.labels, 0.0)
        if own == 1 and one.labels != "posterior":
            return "teacher-free"
        if own > 0 or one.blend > 0:
            return "hybrid"
        return "group" if one.group_logic > 0 else "inductive"

    def fits(self) -> int:
        """How many heads one run trains: what it costs."""
        views = {"each": 2, "halves": 3}.get(self.view, 1)
        loops = self.folds * self.rounds if self.labels == "posterior" else 0
        folds = {"relabelled": self.folds * self.rounds, "agreeing": self.folds, "learnable": self.folds}
        train = {"plain": 1, "self_training": 1 + self.times, "born_again": 1 + self.times, "bagged": 2 * self.times}
        each: int = loops + folds.get(self.denoise, 0) + train[self.train]
        return views * each

    def source(self) -> str:
        """The method file."""
        return _write(self.canonical())

    @classmethod
    def from_changes(cls, changes: dict[str, Any]) -> Recipe:
        """A recipe from the values that differ from the defaults. Raises InputError naming an unknown or bad one."""
        known = {f.name for f in fields(cls)}
        for name in changes:
            if name not in known:
                raise InputError(f"recipe: unknown entry {name!r}; known: {', '.join(sorted(known))}")
        return cls(**changes).canonical()

    @classmethod
    def from_source(cls, source: str) -> Recipe | None:
        """The recipe in a method file's header; None where there is none that can be read."""
        found = re.search(r"^# recipe: (\{.*\})$", source[:4000], re.MULTILINE)
        if found is None:
            return None
        try:
            return cls.from_changes(json.loads(found[1]))
        except (ValueError, TypeError, InputError):
            return None


def _write(r: Recipe) -> str:
    used = {"labels", "spaces", "train", "finish"} | ({"denoise"} if r.denoise != "none" else set())
    body = [*_spaces(r), *_labels(r), *_denoise(r), *_train(r), *_finish(r)]
    text = "\n".join(f"    {line}" if line else "" for line in body)
    imports = ", ".join(sorted(used))
    draws = "    rng = np.random.default_rng(seed)\n" if "rng" in text else ""
    numpy = "import numpy as np\n\n" if "np." in text + draws else ""
    return (
        f"# name: {r.title()}\n# track: {r.track()}\n# recipe: {r.to_json()}\n"
        f'"""{_sentence(r)}"""\n\n{numpy}from aarlab.w2s.parts import {imports}\n\n\n'
        f'def run(task, seed):\n    """P(label = 1) for every item of task.test, shape (n_test,)."""\n{draws}{text}\n'
    )


def _sentence(r: Recipe) -> str:
    taught = {
        "hard": "the teacher's hard labels", "soft": "the teacher's probabilities",
        "zero_shot": "the student's own zero-shot opinion",
        "mixture": "the teacher's and the zero-shot opinion multiplied",
        "posterior": "the posterior of a noisy channel from truth to teacher",
    }[r.labels]  # fmt: skip
    trusted = {
        "none": "as they are", "confident": "the surest kept", "relabelled": "relabelled out of fold",
        "smoothed": "smoothed over neighbours", "agreeing": "kept where out-of-fold heads agree",
        "learnable": "softened where they cannot be learnt",
    }[r.denoise]  # fmt: skip
    return f"Teach {taught}, {trusted}."


def _spaces(r: Recipe) -> list[str]:
    mirrored = "mirrored=True" if r.mirror else ""
    tail = f", {mirrored}" if mirrored else ""
    call = {
        "joined": f"spaces.joined(task{tail})",
        "each": f"spaces.each(task{tail})",
        "narrow": f"spaces.joined(task, spaces.narrow_layers(task){tail})",
        "wide": f"spaces.joined(task, spaces.wide_layers(task){tail})",
        "halves": f"spaces.halves(task, 3, rng{tail})",
    }[r.view]
    lines = [f"views = {call}"]
    if r.components:
        lines.append(f"views = spaces.bottleneck(views, {r.components})")
    if r.ridge != 1:
        lines.append(f"views = spaces.strengthened(views, {r.ridge})")
    return lines


def _labels(r: Recipe) -> list[str]:
    relative = f", relative={r.relative}" if r.relative else ""
    lines = {
        "hard": ["taught = labels.hard(task.weak_labels)"],
        "soft": ["taught = labels.soft(task.weak_labels)"],
        "zero_shot": [f"taught = labels.own(task.train, sharpness={r.sharpness}{relative})"],
        "mixture": [f"taught = labels.mixture(task, teacher={r.teacher}, sharpness={r.sharpness}{relative})"],
        "posterior": [
            f"taught = labels.posterior(task, views, rng, rounds={r.rounds}, "
            f"prior={round(1 - r.teacher, 3)}, folds={r.folds})"
        ],
    }[r.labels]
    if r.logic > 0:
        lines.append(f"taught = labels.logical(task.train, taught, strength={r.logic})")
    return lines


def _denoise(r: Recipe) -> list[str]:
    folds = f"where = train.folds(task.train.groups, {r.folds}, rng)"
    return {
        "none": [],
        "confident": [f"weights = denoise.confident(taught, keep={r.keep})"],
        "relabelled": [
            folds,
            f"taught = denoise.relabelled(views, taught, where, rounds={r.rounds}, trust={r.trust})",
        ],
        "smoothed": [
            "near = spaces.bottleneck(spaces.joined(task), 48)[0]",
            f"taught = denoise.smoothed(near, taught, rounds={r.rounds}, own={r.keep})",
        ],
        "agreeing": [folds, f"weights = denoise.agreeing(views, taught, where, keep={r.keep})"],
        "learnable": [folds, f"taught = denoise.learnable(views, taught, where, smooth={round(1 - r.keep, 3)})"],
    }[r.denoise]


def _train(r: Recipe) -> list[str]:
    weights = ", weights" if r.denoise in ("confident", "agreeing") else ""
    named = weights.replace("weights", "weights=weights") if weights else ""
    return {
        "plain": [f"scores = train.committee(views, taught{weights})"],
        "self_training": [f"scores = train.self_training(views, taught{named}, rounds={r.times}, mix={r.mix})"],
        "born_again": [
            f"scores = train.self_training(views, taught{named}, rounds={r.times}, mix={r.mix}, sharpness=2.0)"
        ],
        "bagged": [f"scores = train.bagged(views, taught, task.train.groups, rng{named}, bags={2 * r.times})"],
    }[r.train]


def _finish(r: Recipe) -> list[str]:
    lines = []
    if r.blend > 0:
        relative = f", relative={r.relative}" if r.relative else ""
        lines.append(f"scores = finish.blended(task, scores, zero_shot={r.blend}{relative})")
    if r.centre:
        lines.append("scores = finish.centred(scores, share=float(np.mean(task.weak_labels > 0.5)))")
    if r.group_logic > 0:
        lines.append(f"scores = finish.consistent(task, scores, strength={r.group_logic})")
    return [*lines, "return finish.probabilities(scores)"]
