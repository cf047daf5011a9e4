"""Text shuffle: every item keeps its features and gets the text of another; answers get new names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aarlab.audits import measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Setting
from aarlab.records import Finding
from aarlab.w2s.task import Ints, TaskInputs


class TextShuffle(Audit):
    """Share of predictions that change when the texts no longer belong to the items.

    A method that reads the texts itself (computes a sum, runs a function, matches words) brings its author's knowledge
    in the place of the student's. Answers are renamed so that equal ones stay equal: what can be told from equality
    alone is left as it was. Hiding does not help: behaving otherwise is what is measured.
    """

    name = "text-shuffle"
    channel = "texts"
    title = "texts exchanged between items, answers renamed"
    level = "quick"

    def missing(self, setting: Setting) -> str:
        return "" if setting.task.inputs.texts is not None else f"{setting.task.problem} ships no texts"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        draws = setting.base[:2]
        reseeded = tuple(replace(d, seed=int(rng.integers(1 << 31))) for d in draws)
        other = retold(setting.task.inputs, (setting.task.pool, setting.task.test), rng)
        return {"texts": Condition(draws, inputs=other), "reseeded": Condition(reseeded)}

    def measure(self, results: Results) -> Finding:
        task, base = results.setting.task, results.get(BASE)
        pairs = [list(zip(base, results.get(name), strict=False)) for name in ("texts", "reseeded")]
        found, (shuffled, chance) = measure.beyond(task, pairs[0], pairs[1:], results.rng)
        sentence = (
            f"with other items' texts and renamed answers, {shuffled:.1%} of the predictions change, against "
            f"{chance:.1%} by another seed of the method"
        )
        details = {"changed": shuffled, "by chance": chance}
        return Finding(
            self.name, self.channel, "measured", sentence, found.mean, found.low, found.high, found.items, details
        )


def retold(inputs: TaskInputs, parts: tuple[Ints, ...], rng: np.random.Generator) -> TaskInputs:
    """Texts and passages permuted inside each part (train, test), answers renamed one to one within their group."""
    order = np.arange(len(inputs))
    for rows in parts:
        order[rows] = rng.permutation(rows)
    texts, passages = inputs.texts, inputs.passages
    return replace(
        inputs,
        texts=None if texts is None else tuple(texts[i] for i in order),
        passages=None if passages is None else tuple(passages[i] for i in order),
        answers=None if inputs.answers is None else renamed(inputs, inputs.answers, rng),
    )


def renamed(inputs: TaskInputs, answers: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    """Other names for answers: equal answers of one group stay equal, others stay different, numbers stay numbers."""
    pairs = sorted(set(zip(inputs.groups.tolist(), answers, strict=True)))
    form = "{}" if inputs.exclusive else "a{:09x}"
    names = {pair: form.format(1000 + int(n)) for pair, n in zip(pairs, rng.permutation(len(pairs)), strict=True)}
    return tuple(names[pair] for pair in zip(inputs.groups.tolist(), answers, strict=True))
