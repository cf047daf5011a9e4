"""Nine starting points in the space of recipes, one per direction, and how recipes are varied.

A direction is a prior, not a fence: a search researcher starts inside it and may leave it once it has looked around.
Without a direction the whole space is the start.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from aarlab.w2s.compose import CHOICES, INTEGERS, Recipe

NUMBERS: dict[str, tuple[float, float]] = {
    "teacher": (0.1, 0.8),
    "sharpness": (0.8, 3.0),
    "relative": (0.0, 1.0),
    "keep": (0.3, 0.9),
    "trust": (0.3, 0.8),
    "folds": (2, 4),
    "rounds": (1, 3),
    "ridge": (0.25, 8.0),
    "mix": (0.2, 0.8),
    "times": (1, 3),
}
"""The part of each number's range that a search draws from. `ridge` is drawn on a logarithmic scale."""

MENUS: dict[str, tuple[Any, ...]] = {
    **CHOICES,
    "components": (0, 16, 32, 64, 128),
    "logic": (0.0, 0.5, 1.0),
    "blend": (0.0, 0.2, 0.4, 0.6),
    "group_logic": (0.0, 0.5, 1.0),
    "mirror": (False, True),
    "centre": (False, True),
}
"""What is drawn from a menu."""

MOST_FITS = 40
"""Recipes that train more heads than this are not tried: the lab's time limit and everybody's patience."""


@dataclass(frozen=True)
class Direction:
    """Where a researcher starts. menus: narrower menus at first; starts: recipes tried before anything else."""

    hypothesis: str
    starts: tuple[Recipe, ...]
    menus: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    evolve: float = 0.3  # share of proposals made by changing a good recipe rather than by the sampler


_PRIOR = ("zero_shot", "mixture", "posterior")

DIRECTIONS: dict[str, Direction] = {
    "elicitation": Direction(
        "The untrained student already ranks the items well; labels from its own score need no teacher.",
        (
            Recipe(labels="zero_shot", logic=1.0),
            Recipe(labels="zero_shot", logic=1.0, group_logic=1.0),
            Recipe(labels="zero_shot", relative=0.5, blend=0.4),
        ),
        {"labels": ("zero_shot",), "blend": (0.0, 0.2, 0.4, 0.6)},
    ),
    "reweighting": Direction(
        "Some weak labels are right for better reasons than others; keeping the surest of each class teaches more.",
        (
            Recipe(labels="soft", denoise="confident", keep=0.5),
            Recipe(labels="hard", denoise="agreeing", keep=0.6, view="each"),
            Recipe(labels="mixture", denoise="confident", keep=0.6),
        ),
        {"labels": ("hard", "soft", "mixture"), "denoise": ("confident", "agreeing")},
    ),
    "combination": Direction(
        "Teacher and untrained student err on different items; the product of their opinions errs less than either.",
        (
            Recipe(labels="mixture"),
            Recipe(labels="mixture", denoise="relabelled"),
            Recipe(labels="mixture", teacher=0.3, logic=1.0, group_logic=1.0),
        ),
        {"labels": ("mixture",)},
    ),
    "posterior": Direction(
        "The weak label is a noisy channel's output; estimating the channel tells how far to believe each label.",
        (
            Recipe(labels="posterior"),
            Recipe(labels="posterior", components=48),
            Recipe(labels="posterior", teacher=0.3, view="each"),
        ),
        {"labels": ("posterior",), "denoise": ("none", "confident", "learnable")},
    ),
    "distillation": Direction(
        "A student taught by held-out students forgets errors that do not carry from item to item.",
        (
            Recipe(labels="soft", denoise="relabelled", rounds=2),
            Recipe(labels="soft", train="self_training", times=3),
            Recipe(labels="mixture", train="born_again", times=2),
        ),
        {"labels": ("soft", "mixture"), "denoise": ("none", "relabelled"), "train": ("self_training", "born_again")},
    ),
    "simplicity": Direction(
        "A head that sees few directions cannot copy the teacher's errors, only what most labels have in common.",
        (
            Recipe(labels="soft", components=16),
            Recipe(labels="soft", view="narrow"),
            Recipe(labels="mixture", ridge=6.0),
        ),
        {"components": (16, 32, 64), "denoise": ("none",), "train": ("plain", "bagged")},
    ),
    "learnability": Direction(
        "Right labels are easier to predict from other items than wrong ones; out-of-fold loss tells them apart.",
        (
            Recipe(labels="soft", denoise="learnable"),
            Recipe(labels="soft", denoise="agreeing", keep=0.6),
            Recipe(labels="mixture", denoise="learnable", keep=0.6),
        ),
        {"denoise": ("learnable", "agreeing", "relabelled")},
    ),
    "evolutionary": Direction(
        "Small changes to what scores well, kept when they survive a second test set, need no theory.",
        (Recipe(labels="soft"), Recipe(labels="soft", view="each"), Recipe(labels="mixture")),
        evolve=0.9,
    ),
    "internals": Direction(
        "Right and wrong part ways in some layers and in the log-probabilities more than in others; views tell which.",
        (
            Recipe(labels="soft", view="each"),
            Recipe(labels="soft", view="narrow"),
            Recipe(labels="mixture", view="wide", components=64),
        ),
        {"view": ("each", "narrow", "wide", "halves")},
    ),
}
"""The nine directions. Problems describe them in their own words; the keys are the same everywhere."""

UNDIRECTED = Direction(
    "The whole space of recipes, without a preference.",
    (Recipe(labels="soft"), Recipe(labels="hard"), Recipe(labels="mixture")),
)


def direction(key: str) -> Direction:
    """The direction of that key; the undirected one for an empty or unknown key."""
    return DIRECTIONS.get(key, UNDIRECTED)


def mutated(recipe: Recipe, rng: random.Random, changes: int = 2) -> Recipe:
    """The recipe with one to `changes` entries redrawn, numbers near where they were."""
    for _ in range(20):
        values = asdict(recipe)
        for name in rng.sample([*MENUS, *NUMBERS], rng.randint(1, changes)):
            values[name] = _nearby(name, values[name], rng)
        found = Recipe(**values).canonical()
        if found != recipe.canonical() and found.fits() <= MOST_FITS:
            return found
    return recipe.canonical()


def crossed(one: Recipe, other: Recipe, rng: random.Random) -> Recipe:
    """A child of two recipes: each entry from either."""
    a, b = asdict(one), asdict(other)
    child = Recipe(**{k: rng.choice((a[k], b[k])) for k in a}).canonical()
    return child if child.fits() <= MOST_FITS else one.canonical()


def simpler(recipe: Recipe) -> list[tuple[str, Recipe]]:
    """The recipe without each of its parts in turn: (name of the part, what is left)."""
    plain = Recipe()
    one = recipe.canonical()
    found = []
    for name in (
        "denoise",
        "train",
        "view",
        "components",
        "blend",
        "logic",
        "group_logic",
        "centre",
        "mirror",
        "ridge",
    ):
        if getattr(one, name) != getattr(plain, name):
            found.append((name, replace(one, **{name: getattr(plain, name)}).canonical()))
    return [(name, left) for name, left in found if left != one]


def _nearby(name: str, value: Any, rng: random.Random) -> Any:
    if name in MENUS:
        return rng.choice(MENUS[name])
    low, high = NUMBERS[name]
    if name in INTEGERS:
        return min(max(value + rng.choice((-1, 1)), low), high)
    if name == "ridge":
        return float(min(max(value * 2 ** rng.gauss(0, 1), low), high))
    return float(min(max(value + rng.gauss(0, 0.2 * (high - low)), low), high))
