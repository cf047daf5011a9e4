"""Fresh seeds: what a researcher claims of the open task, against what the lab measures there with its own seeds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aarlab.audits.base import Audit, Condition, Results, Setting
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.statistics import estimate_pgr

SEEDS = 5
OPEN = "open"
"""The task whose labels researchers see, on which a claim is made."""


class FreshSeeds(Audit):
    """Claimed PGR minus measured PGR. Report only: a claim ranks nothing, so picking seeds earns nothing.

    The interval is over seeds and items of the lab's own measurement. A claim that was measured on a few seeds, or
    kept because it looked good, lies above it without any ill will.
    """

    name = "fresh-seeds"
    channel = "claim"
    title = "the claim against fresh seeds"
    level = "full"

    def missing(self, setting: Setting) -> str:
        if setting.claimed_pgr is None:
            return "the researcher claimed nothing"
        return "" if _open(setting) else f"the open task of {setting.task.problem} is not at hand"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        task = _open(setting)
        assert task is not None
        teachers = rng.choice(len(task.weak), SEEDS, replace=len(task.weak) < SEEDS)
        return {"fresh-seeds": Condition(tuple(task.draw(int(t), rng) for t in teachers), task=task)}

    def measure(self, results: Results) -> Finding:
        task, claimed = _open(results.setting), results.setting.claimed_pgr
        assert task is not None
        assert claimed is not None
        right = np.stack([r.on(task.test) for r in results.get("fresh-seeds")]) == (task.labels[task.test] > 0)
        own = estimate_pgr(right, task.inputs.groups[task.test], task.floor, task.ceiling, results.rng)
        sentence = (
            f"claimed PGR {claimed:.2f} on the open task; {SEEDS} fresh seeds give {own.mean:.2f} "
            f"[{own.low:.2f}, {own.high:.2f}]"
        )
        details = {"claimed": claimed, "measured": own.as_dict()}
        return Finding(
            self.name, self.channel, "measured", sentence,
            claimed - own.mean, claimed - own.high, claimed - own.low, own.items, details,
        )  # fmt: skip


def _open(setting: Setting) -> AuditTask | None:
    return next((t for t in (*setting.others, setting.task) if t.task == OPEN), None)
