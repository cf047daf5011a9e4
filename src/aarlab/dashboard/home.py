"""All labs."""

from __future__ import annotations

from collections.abc import Sequence

from aarlab.dashboard.lab import Json
from aarlab.dashboard.labs import Labs


def page(labs: Labs, starting: Sequence[Json]) -> Json:
    return {"labs": labs.names()}
