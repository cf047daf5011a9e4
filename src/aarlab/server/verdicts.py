"""A verdict as the lab shows it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aarlab.records import Judgement


def judgement_view(row: Judgement) -> dict[str, Any]:
    return {
        **asdict(row.verdict),
        "by": row.by,
        "time": round(row.time),
        "evaluation": row.evaluation,
        "level": row.level,
    }


def public_verdict(row: Judgement) -> dict[str, Any]:
    """A verdict as the leaderboard shows it after research: outcome, track, reason, row and the rerun's number."""
    keep = ("outcome", "declared", "track", "reason", "row", "by", "evaluation")
    whole = judgement_view(row)
    return {k: whole[k] for k in keep}
