"""The research of a recorded lab: who hands in what when, and what comes of it. Nothing is written here."""

from __future__ import annotations

import heapq
import math

from aarlab.researchers.directions import direction, mutated
from aarlab.server import results
from aarlab.testing import recipes
from aarlab.w2s.compose import Recipe
from recorded_base import MINUTES, PROBLEM, WORTH, Draft, Recording, leaver, moments

BUSY = {"search": 1.4, "llm": 1.0, "cli": 0.8, "human": 0.15}
"""Submissions of a kind of researcher, relative to the others."""

FAILURES: tuple[tuple[str, float], ...] = (
    ("crashed", 0.035), ("nan", 0.008), ("shape", 0.008), ("out-of-memory", 0.01), ("timed-out", 0.025),
    ("forbidden", 0.012), ("infrastructure", 0.006),
)  # fmt: skip
"""Reason -> how often it ends a run."""


class Research:
    """`run` gives the drafts of `count` submissions, oldest first."""

    def __init__(self, lab: Recording, count: int) -> None:
        self.lab, self.rng, self.count = lab, lab.rng, count
        self.known: list[Draft] = []  # scored, in the order in which they ended
        self.best: dict[str, list[Draft]] = {family: [] for family in WORTH}
        self.open: list[tuple[float, int, Draft]] = []
        self.own: dict[str, list[Draft]] = {name: [] for name in lab.people}
        self.written: set[str] = set()  # recipes
        directions = lab.problem.directions
        self.words = {n: directions.get(one.direction, one.direction) for n, one in lab.people.items()}
        self.leaver = leaver(lab)

    def run(self) -> list[Draft]:
        """Drafts in the order of their numbers, which is that of their times."""
        return [self._draft(i, created) for i, created in enumerate(self._times())]

    def _times(self) -> list[float]:
        """Moments of handing in. At the end of an unfinished run some come so late that they have no score yet."""
        first, last = self.lab.began + 90, self.lab.horizon - 45
        found = sorted(first + (last - first) * self.rng.random() for _ in range(self.count))
        if not found:
            return []
        if self.lab.open_ended:
            late = (28.0, 19.0, 11.0, 4.0)[-min(4, self.count) :]
            found[-len(late) :] = [self.lab.horizon - before for before in late]
        else:
            found[-1] = last  # the newest is never cut short
        return [self._outside(moment) for moment in found]

    def _outside(self, moment: float) -> float:
        """Not just before a moment at which everything handed in has its score."""
        near = [b for b in moments(self.lab) if b - 3 < moment <= b]
        return near[0] + 0.01 if near else moment

    def _draft(self, index: int, created: float) -> Draft:
        while self.open and self.open[0][0] <= created:
            self._end(heapq.heappop(self.open)[2])
        draft = Draft(len(self.lab.baselines) + 1 + index, self._who(created), created)
        again = index == self.count // 2 or self.rng.random() < 0.04
        if again and self.known and not self._waits(created):
            self._repeat(draft)
        else:
            self._invent(draft, index)
        self.own[draft.researcher].append(draft)
        return draft

    def _waits(self, created: float) -> bool:
        return self.lab.open_ended and self.lab.horizon - created < 30

    def _who(self, created: float) -> str:
        gone = {self.leaver} if created > moments(self.lab)[1] else set()
        names = [n for n in self.lab.people if n not in gone]
        return self.rng.choices(names, [BUSY[self.lab.people[n].kind] for n in names])[0]

    def _repeat(self, draft: Draft) -> None:
        """The same method in another layout: the lab answers at once."""
        first = self.rng.choice(self.known)
        draft.source = first.source + f"\n# as #{first.id}, handed in again by {draft.researcher}\n"
        draft.name, draft.track, draft.family, draft.recipe = first.name, first.track, first.family, first.recipe
        draft.repeat_of, draft.finished, draft.pgr, draft.right = first.id, draft.created, first.pgr, first.right
        draft.claimed, draft.note = self._claim(first.pgr), "to see whether the score repeats"

    def _invent(self, draft: Draft, index: int) -> None:
        kind = self.lab.people[draft.researcher].kind
        parent = self._parent(draft, kind)
        (self._recipe if kind == "search" else self._file)(draft, parent)
        draft.parent = parent.id if parent else None
        draft.pgr = self._worth(draft, parent)
        draft.claimed = self._claim(draft.pgr)
        draft.note = self._note(draft, parent)
        draft.declared = draft.family if kind in ("llm", "cli") and self.rng.random() < 0.85 else ""
        self._fate(draft, index)

    def _parent(self, draft: Draft, kind: str) -> Draft | None:
        """What a method builds on: mostly something good, and what its author can change."""
        if self.rng.random() < 0.35:
            return None
        mine = [d for d in self.own[draft.researcher][-6:] if d in self.best[d.family]]
        others = [d for best in self.best.values() for d in best]
        pool = mine if mine and self.rng.random() < 0.5 else others
        pool = [d for d in pool if (d.recipe is not None) == (kind == "search")]
        return self.rng.choice(pool) if pool else None

    def _recipe(self, draft: Draft, parent: Draft | None) -> None:
        """A search researcher's method."""
        plan = direction(self.lab.people[draft.researcher].direction)
        first = self.rng.choice(plan.starts) if parent is None or parent.recipe is None else parent.recipe
        recipe = first.canonical()
        for _ in range(20):
            if recipe.key() not in self.written:
                break
            recipe = mutated(recipe, self.rng)
        draft.recipe, draft.name, draft.track = recipe, recipe.title(), recipe.track()
        draft.family, draft.source = _family_of(recipe), recipe.source()
        if recipe.key() in self.written:
            draft.source += f"\nVARIATION = {draft.id}\n"
        self.written.add(recipe.key())

    def _file(self, draft: Draft, parent: Draft | None) -> None:
        """A method file as a language model or a person writes it."""
        own = recipes.family_for(self.words[draft.researcher], draft.researcher)
        first = parent.family if parent is not None and parent.family in recipes.BODIES else own
        if parent is None and self.rng.random() < 0.35:
            first = self.rng.choice(list(recipes.BODIES))
        draft.partner = parent.partner if parent is not None else ""
        if self.rng.random() < 0.25:
            draft.partner = self.rng.choice([*recipes.BODIES, ""])
        draft.family, draft.track = first, recipes.track(first, draft.partner)
        draft.source = recipes.source(first, draft.researcher, draft.id, draft.partner)
        draft.name = f"{recipes.slug(first)}-{draft.id}"

    def _worth(self, draft: Draft, parent: Draft | None) -> float:
        """PGR, better the later, and no better than anybody can be by then."""
        done = (draft.created - self.lab.began) / (60 * MINUTES)
        if self.rng.random() < 0.04:
            return self.rng.uniform(-0.6, 0.1)
        base = WORTH[draft.family] * (0.5 + 0.5 * done)
        pgr = parent.pgr + self.rng.gauss(0.02, 0.07) if parent else base + self.rng.gauss(0, 0.09)
        most = 0.28 + 0.86 * (1 - math.exp(-3 * done)) / (1 - math.exp(-3))
        return pgr if pgr < most else most - abs(self.rng.gauss(0, 0.07))

    def _claim(self, pgr: float) -> float | None:
        return None if self.rng.random() < 0.1 else round(pgr + abs(self.rng.gauss(0.02, 0.07)), 3)

    def _note(self, draft: Draft, parent: Draft | None) -> str:
        if self.rng.random() < 0.3:
            return ""
        if parent is None:
            return f"{draft.family}, on its own: does it help before anything else is changed?"
        return f"builds on #{parent.id} by {parent.researcher}; one part changed, the rest kept"

    def _fate(self, draft: Draft, index: int) -> None:
        """When and how it ends. Each way to fail happens at least once in a run of some length."""
        draft.reason = self._reason(index)
        took = 60.0 if draft.reason == "timed-out" else math.ceil(self.rng.lognormvariate(1.9, 0.5))
        ends = min([draft.created + took, *(b - 1 for b in moments(self.lab) if b > draft.created)])
        if self._waits(draft.created) or ends > self.lab.horizon - 1:
            draft.status, draft.reason = "queued", None
            return
        draft.finished = ends
        heapq.heappush(self.open, (ends, draft.id, draft))
        if draft.reason is not None:
            draft.status = results.status_of(draft.reason)
        else:
            seeds = self.lab.settings.scoring.seeds
            draft.right = self.lab.tasks.right(PROBLEM, self.lab.feedback.name, draft.pgr, seeds)

    def _reason(self, index: int) -> str | None:
        """Why a run fails; None where it does not."""
        sure = {self.count // k: reason for k, (reason, _) in zip((9, 8, 7, 6, 5, 4, 3), FAILURES, strict=True)}
        if index > 3 and index in sure:
            return sure[index]
        dice = self.rng.random() * (1 if self.count > 200 else 3)  # the sure ones are many of a few
        for reason, often in FAILURES:
            dice -= often
            if dice < 0:
                return reason
        return None

    def _end(self, draft: Draft) -> None:
        if draft.scored:
            self.known.append(draft)
            best = [*self.best[draft.family], draft]
            self.best[draft.family] = sorted(best, key=lambda d: -d.pgr)[:3]


def _family_of(recipe: Recipe) -> str:
    """About what rules would say of a recipe's file."""
    if recipe.train != "plain" and recipe.train != "bagged":
        return "self-training"
    if recipe.denoise in ("confident", "agreeing"):
        return "data filtering"
    by_labels = {
        "zero_shot": "unsupervised elicitation", "mixture": "ensemble", "posterior": "confidence weighting",
    }  # fmt: skip
    return by_labels.get(recipe.labels) or ("model internal" if recipe.view != "joined" else "other")
