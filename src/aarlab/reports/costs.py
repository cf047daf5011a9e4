"""What a run cost, for the report: calls to language models and computing, by the hour and by what was found.

A point is 0.01 PGR. Dollars per verified point are all dollars of the run, the lab's own included, over the points of
the winner on the record tasks: PGR of record counts from 0, the teacher, and is the only PGR that answered nothing
while money was spent. Baselines come with the package and cost nobody a call, so what the money bought is the winner's
lead over the best of them: the same dollars over the points of that lead stand beside it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aarlab.records import Estimate
from aarlab.reports.data import LAB, RunData
from aarlab.reports.results import Results

LEAST = 0.0001  # dollars; what is less is not told apart
COUNTS = ("calls", "lost_calls", "tokens", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(frozen=True)
class Bill:
    """One row. `per_hour`: dollars an hour of the researcher's own process; None where it had no hour of its own."""

    name: str
    model: str
    dollars: float
    llm_dollars: float
    compute_dollars: float
    hours: float
    per_hour: float | None
    llm_per_hour: float | None
    compute_per_hour: float | None
    calls: int = 0
    lost_calls: int = 0
    tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(frozen=True)
class PerPoint:
    """Dollars for one point (0.01) of PGR. low, high: at the ends of the PGR's interval; None: no bound there."""

    mean: float | None
    low: float | None
    high: float | None


def bills(data: RunData) -> list[Bill]:
    """One row per researcher in the order of the fleet, then the lab's own where it has one."""
    rows = data.costs["researchers"]
    models = {one.name: data.settings.model_of(one) for one in data.settings.researchers if one.is_language_model}
    names = [r.name for r in data.researchers] + ([LAB] if LAB in rows else [])
    return [_bill(name, models.get(name, ""), rows.get(name, {})) for name in names]


def fleet(data: RunData) -> Bill:
    """All together; hours are researcher-hours, and so the lab's own dollars are in the dollars an hour."""
    rows = bills(data)
    keys = ("dollars", "llm_dollars", "compute_dollars", "hours", *COUNTS)
    return _bill("in all", "", {k: sum(getattr(b, k) for b in rows) for k in keys})


def _bill(name: str, model: str, row: dict[str, Any]) -> Bill:
    dollars, llm = float(row.get("dollars", 0.0)), float(row.get("llm_dollars", 0.0))
    compute, hours = float(row.get("compute_dollars", dollars - llm)), float(row.get("hours", 0.0))
    an_hour = [value / hours if hours else None for value in (dollars, llm, compute)]
    counts = {k: int(row.get(k, 0)) for k in COUNTS}
    return Bill(name, model, dollars, llm, compute, hours, an_hour[0], an_hour[1], an_hour[2], **counts)


def with_models(data: RunData) -> bool:
    """Whether language models cost anything, in dollars or in tokens."""
    total = fleet(data)
    return bool(total.calls or total.lost_calls or total.llm_dollars)


def per_point(dollars: float, pgr: Estimate | None) -> PerPoint:
    """Nothing where there is no PGR; no price where it is not above zero."""
    if pgr is None:
        return PerPoint(None, None, None)
    price = [dollars / (100 * value) if value > 0 else None for value in (pgr.mean, pgr.high, pgr.low)]
    return PerPoint(*price)


def points(data: RunData, results: Results) -> dict[str, PerPoint]:
    """{"record": of the winner's PGR of record, "above_baseline": of its lead over the best shown baseline}."""
    record = results.record
    mine = record.pgr.get(f"#{data.winner}") if record and data.winner is not None else None
    best = record.best_baseline(list(record.leads)) if record else None
    lead = record.leads[best] if record and best is not None else None
    dollars = float(data.costs["dollars"])
    return {"record": per_point(dollars, mine), "above_baseline": per_point(dollars, lead)}


def sentence(data: RunData, results: Results) -> str:
    """What an hour and a point cost, in words; parts without a number are left out."""
    from aarlab.reports.sentences import count, money

    total, found = fleet(data), points(data, results)
    text = f"{money(total.dollars)} in all"
    if total.calls or total.llm_dollars:
        text += f": {money(total.llm_dollars)} for {count(total.calls, 'call')} to language models, "
        text += f"{money(total.compute_dollars)} for computing"
    if total.per_hour is not None:
        text += f"; {money(total.per_hour)} a researcher-hour"
    record, above = found["record"], found["above_baseline"]
    if record.mean is not None:
        text += f"; {_price(record.mean)} a point of PGR of record (a point is 0.01){_range(record)}"
    if above.mean is not None:
        text += f", {_price(above.mean)} a point above the best shown baseline{_range(above)}"
    lost = (
        f" {count(total.lost_calls, 'call')} of killed processes are counted as reserved." if total.lost_calls else ""
    )
    return f"{text}.{lost}"


def _range(price: PerPoint) -> str:
    if price.low is None:
        return ""
    return f" [{_price(price.low)}, {'no bound' if price.high is None else _price(price.high)}]"


def _price(dollars: float) -> str:
    from aarlab.reports.sentences import money

    return money(dollars) if dollars >= LEAST else f"under ${LEAST}"


def document(data: RunData, results: Results) -> dict[str, Any]:
    """`costs` of report.json: the rows, the fleet's split, and dollars per point."""
    total = {k: v for k, v in asdict(fleet(data)).items() if k not in ("name", "model")}
    return data.costs | {
        "fleet": total,
        "dollars_per_point": {k: asdict(v) for k, v in points(data, results).items()},
    }


def context(data: RunData, results: Results) -> dict[str, Any]:
    """What the templates show."""
    return {
        "bills": bills(data), "bill": fleet(data), "bill_models": with_models(data),
        "bill_sentence": sentence(data, results),
    }  # fmt: skip
