"""How fast this machine is just now: rented cores change their speed by the minute, and figures with them."""

from __future__ import annotations

import time


def pace(count: int = 1_000_000) -> float:
    """Seconds that so many additions in Python take: the fastest of five runs."""

    def once() -> float:
        began, total = time.perf_counter(), 0
        for i in range(count):
            total += i
        return time.perf_counter() - began

    return min(once() for _ in range(5))
