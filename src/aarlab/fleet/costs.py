"""What a run has cost so far, and whether a budget is spent."""

from __future__ import annotations

from typing import Any

from aarlab.fleet.usage import Usage
from aarlab.settings import Settings


def totals(settings: Settings, usage: Usage, view: dict[str, Any]) -> dict[str, Any]:
    """CPU seconds and dollars per researcher (own process plus its method runs) and for the fleet."""
    runs = {r["name"]: float(r["method_cpu_seconds"]) for r in view["researchers"] if r["role"] != "operator"}
    names = sorted({*usage.cpu, *runs})
    per = {}
    for name in names:
        cpu = usage.cpu.get(name, 0.0) + runs.get(name, 0.0)
        hours = usage.wall.get(name, 0.0) / 3600
        dollars = cpu / 3600 * settings.prices.cpu_hour
        per[name] = {
            "cpu_seconds": cpu,
            "own_cpu_seconds": usage.cpu.get(name, 0.0),
            "method_cpu_seconds": runs.get(name, 0.0),
            "hours": hours,
            "dollars": dollars,
            "dollars_per_hour": dollars / hours if hours else 0.0,
        }
    cpu = sum(p["cpu_seconds"] for p in per.values())
    return {"researchers": per, "cpu_seconds": cpu, "dollars": cpu / 3600 * settings.prices.cpu_hour}


def spent(settings: Settings, usage: Usage, view: dict[str, Any], total: dict[str, Any]) -> str:
    """Why the research phase is over, or an empty string."""
    budget = settings.budget
    if usage.research_seconds >= budget.minutes * 60:
        return f"{budget.minutes:g} minutes of research are over"
    if view["budget"]["answers"]["given"] >= budget.answers:
        return f"all {budget.answers} answers are used"
    if budget.cpu_hours and total["cpu_seconds"] >= budget.cpu_hours * 3600:
        return f"the fleet's {budget.cpu_hours:g} CPU-hours are used"
    if budget.dollars and total["dollars"] >= budget.dollars:
        return f"the fleet's ${budget.dollars:g} are spent"
    return ""


def researcher_spent(settings: Settings, total: dict[str, Any], name: str) -> bool:
    """Whether one researcher has used its own CPU or dollar budget."""
    budget, mine = settings.budget, total["researchers"].get(name)
    if mine is None:
        return False
    over_cpu = budget.researcher_cpu_hours and mine["cpu_seconds"] >= budget.researcher_cpu_hours * 3600
    over_dollars = budget.researcher_dollars and mine["dollars"] >= budget.researcher_dollars
    return bool(over_cpu or over_dollars)
