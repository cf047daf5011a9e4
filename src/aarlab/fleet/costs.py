"""What a run has cost so far, and whether a budget is spent.

Two kinds of dollars: calls to language models, which the lab's service accounts, and computing, which is CPU time at
`prices.cpu_hour`: a researcher's own process and its method runs. Budgets in dollars hold both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aarlab.fleet.usage import Usage
from aarlab.settings import Settings

NOT_CHARGED = ("operator", "viewer", "fleet")
"""Roles whose method runs, if any, nobody pays for."""

CALLS = ("tokens", "calls", "lost_calls", "llm_seconds")
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


def totals(settings: Settings, usage: Usage, view: Mapping[str, Any]) -> dict[str, Any]:
    """Dollars, CPU seconds and tokens per researcher, for the lab itself, and for all together.

    view: a run view, or as much of one as {"researchers", "spending"}; without "spending" no calls were made.
    `hours` is the wall time of a researcher's own process, `dollars_per_hour` what one such hour cost.
    """
    runs = {r["name"]: float(r["method_cpu_seconds"]) for r in view["researchers"] if r["role"] not in NOT_CHARGED}
    calls: Mapping[str, Any] = view.get("spending", {})
    used = [name for name, account in calls.items() if account["calls"] or account["lost_calls"]]
    names = sorted({*usage.cpu, *runs, *used})
    per = {name: _one(settings, usage, name, runs.get(name, 0.0), calls.get(name, {})) for name in names}
    sums = ("cpu_seconds", "dollars", "llm_dollars", "compute_dollars", "hours", *CALLS, *TOKENS)
    return {"researchers": per, **{k: sum(p[k] for p in per.values()) for k in sums}}


def _one(settings: Settings, usage: Usage, name: str, runs: float, calls: Mapping[str, Any]) -> dict[str, Any]:
    cpu = usage.cpu.get(name, 0.0) + runs
    hours = usage.wall.get(name, 0.0) / 3600
    compute, llm = cpu / 3600 * settings.prices.cpu_hour, float(calls.get("llm_dollars", 0.0))

    def per_hour(dollars: float) -> float:
        return dollars / hours if hours else 0.0

    return {
        "cpu_seconds": cpu,
        "own_cpu_seconds": usage.cpu.get(name, 0.0),
        "method_cpu_seconds": runs,
        "hours": hours,
        "dollars": compute + llm,
        "dollars_per_hour": per_hour(compute + llm),
        "llm_dollars": llm,
        "llm_dollars_per_hour": per_hour(llm),
        "compute_dollars": compute,
        "compute_dollars_per_hour": per_hour(compute),
        **{k: calls.get(k, 0) for k in (*CALLS, *TOKENS)},
    }


def compute(total: Mapping[str, Any]) -> dict[str, float]:
    """What `LabClient.clock` is told: dollars of computing by name."""
    return {name: p["compute_dollars"] for name, p in total["researchers"].items()}


def minutes(usage: Usage) -> dict[str, float]:
    """What `LabClient.clock` is told: minutes that each researcher's own process ran."""
    return {name: seconds / 60 for name, seconds in usage.wall.items()}


def spent(settings: Settings, usage: Usage, view: Mapping[str, Any], total: Mapping[str, Any]) -> str:
    """Why the research phase is over, or an empty string."""
    budget = settings.budget
    if usage.research_seconds >= budget.minutes * 60:
        return f"{budget.minutes:g} minutes of research are over"
    if view["budget"]["answers"]["given"] >= budget.answers:
        return f"all {budget.answers} answers are used"
    if budget.cpu_hours and total["cpu_seconds"] >= budget.cpu_hours * 3600:
        return f"the fleet's {budget.cpu_hours:g} CPU-hours are used"
    if budget.dollars and reached(total["dollars"], budget.dollars):
        return f"the fleet's ${budget.dollars:g} are spent{_split(total)}"
    if budget.tokens and total["tokens"] >= budget.tokens:
        return f"the fleet's {budget.tokens:,} tokens are used"
    return ""


def reached(dollars: float, limit: float) -> bool:
    """Whether a budget in dollars is spent; sums of floating point numbers miss a round one by less than 1e-9."""
    return dollars >= limit - 1e-9


def _split(total: Mapping[str, Any]) -> str:
    """Who had the dollars, where language models had some."""
    if not total["llm_dollars"]:
        return ""
    return f" (${total['llm_dollars']:.2f} for language models, ${total['compute_dollars']:.2f} for computing)"


def researcher_spent(settings: Settings, total: Mapping[str, Any], name: str) -> str:
    """Which of its own budgets a researcher has used up, or an empty string."""
    budget, mine = settings.budget, total["researchers"].get(name)
    if mine is None:
        return ""
    if budget.researcher_cpu_hours and mine["cpu_seconds"] >= budget.researcher_cpu_hours * 3600:
        return f"its {budget.researcher_cpu_hours:g} CPU-hours are used"
    if budget.researcher_dollars and reached(mine["dollars"], budget.researcher_dollars):
        return f"its ${budget.researcher_dollars:g} are spent"
    if budget.researcher_tokens and mine["tokens"] >= budget.researcher_tokens:
        return f"its {budget.researcher_tokens:,} tokens are used"
    if budget.researcher_minutes and mine["hours"] * 60 >= budget.researcher_minutes:
        return f"its {budget.researcher_minutes:g} minutes are over"
    return ""
