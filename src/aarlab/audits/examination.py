"""An examination: all audits once, and those that would bar a method from the ranking a second time.

A single number outside its range may be chance: some honest learners are brittle, and a finalist meets a dozen limits.
So nobody is barred by one measurement: what would bar is measured again on fresh draws, and the milder of both counts.
A method that cheats does so both times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aarlab import audits
from aarlab.audits.base import Audit, Level
from aarlab.audits.policy import Policy, milder
from aarlab.audits.run import Examiner, Method
from aarlab.records import Finding

CERTAIN = ("payload", "code-reading", "execution-trace")
"""Audits that chance has no part in."""


def examined(
    examiner: Examiner, method: Method, policy: Policy, level: Level = "full", only: Sequence[Audit] | None = None
) -> list[Finding]:
    """One finding per audit. Raises MethodError where the method does not run as it is scored."""
    first = examiner.examine(method, level, only)
    doubted = [name for name in policy.suspects(first, examiner.task.test_items) if name not in CERTAIN]
    if not doubted:
        return first
    return confirmed(first, examiner.examine(method, "full", [a for a in audits.every() if a.name in doubted]), policy)


def confirmed(first: Sequence[Finding], again: Sequence[Finding], policy: Policy) -> list[Finding]:
    """The first findings, each replaced by its second measurement where that is milder; both numbers are kept."""
    second = {f.audit: f for f in again}
    out = []
    for finding in first:
        other = second.get(finding.audit)
        if other is not None:
            kept = milder(finding, other, policy)
            finding = replace(kept, details={**kept.details, "measured twice": [finding.value, other.value]})
        out.append(finding)
    return out
