"""What a method's source reports against what was measured here, by one rule.

A note is written (1) where the 95 % interval on the feedback task lies wholly below the PGR that the source reports for
this domain, and (2) where the interval of the difference against hard weak labels, corrected for the number of methods,
lies wholly below zero. Neither shows that a source is wrong: data, teacher and student are others.
"""

from __future__ import annotations

import re

from aarlab.baselines.plan import REFERENCE
from aarlab.records import Estimate

DOMAINS = {"w2s-pref": ("chat", "preference"), "w2s-math": ("math",), "w2s-code": ("code", "coding")}
"""The words by which a `claim` header names the domain that a problem belongs to."""

_HERE = re.compile(r"(?:PGR )?(-?\d*\.\d+) (?:on|for|in) (.+)")
_EVERYWHERE = re.compile(r"PGR (-?\d*\.\d+)")


def claimed(claim: str, problem: str) -> float | None:
    """The PGR that a `claim` header gives for a problem's domain; None where it gives none.

    `PGR 0.23 on chat preference, 0.30 on math` has one for each; a PGR without a domain holds for all.
    """
    words = DOMAINS.get(problem, ())
    for part in re.split(r"[,;] *", claim if "PGR" in claim else ""):
        if (found := _HERE.fullmatch(part)) and any(word in found[2].lower() for word in words):
            return float(found[1])
        if found := _EVERYWHERE.fullmatch(part):
            return float(found[1])
    return None


def notes(
    method: str, problem: str, claim: str, feedback: Estimate | None, differences: dict[str, Estimate | None]
) -> list[str]:
    """The sentences that the rule gives. differences: against the reference, by role (`feedback`, `record`)."""
    found = []
    said = claimed(claim, problem)
    if said is not None and feedback is not None and feedback.high < said:
        found.append(f"below the PGR {said:.2f} that its source reports")
    under = [role for role, d in differences.items() if d is not None and d.high < 0]
    if under and method != REFERENCE:
        found.append(f"below hard weak labels on {' and '.join(under)}")
    return found
