"""Answer dedup: of all test items of a group that give one answer, only one is in the batch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aarlab.audits import batches, measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Setting
from aarlab.records import Finding

PASSES = 2


class AnswerDedup(Audit):
    """Balanced accuracy lost on the items that stay, when how often an answer is given can no longer be seen.

    Positive for a method that gains from repeated answers: by counting them, or by averaging what it thinks of equal
    ones. Shown beside the answer frequency, which tells the two apart.
    """

    name = "answer-dedup"
    channel = "answer frequency"
    title = "one test item of each different answer"

    def missing(self, setting: Setting) -> str:
        return batches.no_repeats(setting.task)

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        keys, draws = batches.answer_keys(setting.task), setting.base[:PASSES]
        drawn = [batches.one_each(setting.task, keys, rng) for _ in draws]
        pairs = enumerate(zip(draws, drawn, strict=True))
        return {f"dedup-{i}": batches.judged(setting.task, draw, rows) for i, (draw, rows) in pairs}

    def measure(self, results: Results) -> Finding:
        task, whole = results.setting.task, results.get(BASE)[:PASSES]
        alone = [results.get(f"dedup-{i}")[0] for i in range(len(whole))]
        before = np.concatenate([measure.counts(task, [w], a.rows) for w, a in zip(whole, alone, strict=True)])
        boot = measure.weights(task, results.rng)
        by_draw = boot.of_draws(len(whole))
        first, then = boot.skill(before, by_draw), boot.skill(measure.counts(task, alone), by_draw)
        lost = measure.interval(first - then, len(whole), sum(len(a.rows) for a in alone))
        sentence = f"{100 * lost.mean:.1f} points of balanced accuracy are lost when no answer is given twice"
        details = {"before": 0.5 + float(first[0]), "after": 0.5 + float(then[0])}
        return Finding(
            self.name, self.channel, "measured", sentence, lost.mean, lost.low, lost.high, lost.items, details
        )
