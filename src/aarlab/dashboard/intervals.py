"""Intervals of scored submissions, measured once each from per-item outcomes and kept beside the lab.

Drawing one takes some milliseconds, a page has hundreds: they are drawn in the background and kept in
`run/intervals.json`, by evaluation and by the SHA-256 of its outcomes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab import statistics
from aarlab.errors import InputError
from aarlab.problems.base import TaskCard
from aarlab.records import Estimate, Evaluation
from aarlab.vault.store import Vault

FILE = "intervals.json"
BATCH = 25
"""Evaluations that are drawn before the pages hear of it."""


@dataclass(frozen=True)
class Interval:
    """PGR of one evaluation, and its paired difference to the best shown baseline on the same seeds and items."""

    pgr: Estimate
    lead: Estimate | None = None


class Intervals:
    """All intervals of one lab's feedback task. `rival`: the evaluation of the best baseline, which `lead` is against.

    Not for several threads at once.
    """

    def __init__(self, lab: Path, vault: Vault, card: TaskCard) -> None:
        self.path, self.vault, self.card = lab / "run" / FILE, vault, card
        self.rival: Evaluation | None = None
        self.known: dict[str, Interval] = self._read()
        self._outcomes = lru_cache(maxsize=4)(self._load)

    def get(self, e: Evaluation) -> Interval | None:
        return self.known.get(self._key(e))

    def missing(self, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
        """Those of these that are not drawn yet, newest first."""
        return [e for e in reversed(evaluations) if self._key(e) not in self.known]

    def draw(self, evaluations: Sequence[Evaluation]) -> None:
        """Draw these and keep them. One whose outcomes cannot be read keeps its mean alone, without an interval."""
        for e in evaluations:
            with contextlib.suppress(OSError, ValueError, KeyError, InputError):
                self.known[self._key(e)] = self._draw(e)
        self._write()

    def _draw(self, e: Evaluation) -> Interval:
        correct, groups = self._load(e.id)
        pgr = statistics.estimate_pgr(correct, groups, self.card.floor, self.card.ceiling)
        lead = None
        if self.rival is not None and self.rival.id != e.id:
            other, _ = self._outcomes(self.rival.id)
            if other.shape == correct.shape:
                lead = statistics.paired_difference(correct, other, groups, self.card.gap)
        return Interval(pgr, lead)

    def _load(self, evaluation: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        with np.load(self.vault.outcome_path(evaluation), allow_pickle=False) as z:
            return z["correct"], z["groups"]

    def _key(self, e: Evaluation) -> str:
        rival = self.rival.id if self.rival is not None else 0
        return f"{e.id}-{(e.outcome or '')[:16]}-{rival}"

    def _read(self) -> dict[str, Interval]:
        try:
            found: Mapping[str, Any] = json.loads(self.path.read_text("utf-8"))
            return {k: Interval(Estimate(**v["pgr"]), Estimate(**v["lead"]) if v["lead"] else None)
                    for k, v in found.items()}  # fmt: skip
        except (OSError, ValueError, TypeError, KeyError):
            return {}  # a copied lab, or a damaged cache: drawn again

    def _write(self) -> None:
        text = json.dumps({k: {"pgr": asdict(v.pgr), "lead": asdict(v.lead) if v.lead else None}
                           for k, v in self.known.items()})  # fmt: skip
        fresh = self.path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a folder that cannot be written to: only slower next time
            fresh.write_text(text, "utf-8")
            os.replace(fresh, self.path)
