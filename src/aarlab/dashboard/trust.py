"""What the numbers rest on."""

from __future__ import annotations

from aarlab.dashboard.charts import Chart
from aarlab.dashboard.lab import Json, Snapshot
from aarlab.store import Store


def page(lab: Snapshot, store: Store, query: dict[str, str]) -> Json:
    return {}


CHARTS: dict[str, Chart] = {}
