"""Charts of the pages: the report's definitions, compiled for the browser, drawn for a file, listed as a table.

A page module offers `CHARTS: dict[str, Chart]`. The browser gets Vega (compiled here, so that it need not know
Vega-Lite); what is compiled is kept by lab, state and width.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aarlab.dashboard.lab import Snapshot
from aarlab.reports import figures

WIDTHS = (340, 480, 760, 1020)
KEPT = 64


@dataclass(frozen=True)
class Chart:
    """draw: (lab, width in pixels, about) -> an altair chart, or None where there is nothing to draw.

    rows: the numbers behind it as a table. about: what the address asks for beside the name (a submission's number).
    """

    title: str
    draw: Callable[[Snapshot, int, str], Any]
    rows: Callable[[Snapshot, str], Sequence[dict[str, Any]]]


class Compiled:
    """Compiled charts, the newest ones kept; compiling takes 20 to 60 ms."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], bytes | None] = OrderedDict()
        self._lock = threading.Lock()

    def vega(self, lab: Snapshot, name: str, chart: Chart, width: int, about: str = "") -> bytes | None:
        """The Vega specification as JSON; None where there is nothing to draw."""
        width = max([w for w in WIDTHS if w <= width], default=WIDTHS[0])
        key = (lab.lab_id, lab.name, lab.drawn_version, name, width, about)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        drawn = chart.draw(lab, width, about)
        made = None if drawn is None else compiled(drawn)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made


def compiled(chart: Any) -> bytes:
    import vl_convert

    return json.dumps(vl_convert.vegalite_to_vega(chart.to_dict(validate=False))).encode()


def png(chart: Any) -> bytes:
    return figures.png(chart)
