"""The forum."""

from __future__ import annotations

from aarlab.dashboard.lab import Json, Snapshot
from aarlab.store import Store


def page(lab: Snapshot, store: Store, query: dict[str, str]) -> Json:
    return {}


def thread(lab: Snapshot, store: Store, number: int) -> Json:
    return {}
