"""Labs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aarlab.dashboard.lab import Json, Snapshot


def page(labs: Sequence[Snapshot], known: Sequence[str]) -> Json:
    return {}


CHARTS: dict[str, Any] = {}
