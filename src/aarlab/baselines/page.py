"""docs/results.md from the table: what the numbers are, how to read them, one table per problem."""

from __future__ import annotations

from typing import Any

from aarlab.records import Estimate
from aarlab.reports import forest
from aarlab.reports.text import markdown

TITLES = (
    "method", "PGR, feedback", "PGR, record", "lead, feedback", "lead, record", "accuracy, feedback",
    "accuracy, record", "CPU s", "family", "origin", "note",
)  # fmt: skip

READING = """## How to read it

- **PGR** is `(accuracy - floor) / (ceiling - floor)`: 0 is the weak teacher, 1 the same student trained on true labels.
  Brackets hold the 95 % interval over seeds and test items (whole groups of items, never single ones), with floor and
  ceiling uncertain too.
- **feedback** is the task whose train and test items are of one kind (in distribution with the open task that settings
  were chosen on). **record** is the mean over the problem's record tasks, each of another kind; its interval takes
  these tasks as given and does not say how PGR would differ on yet another.
- **lead** is PGR minus that of `{reference}` on the same seeds and items. Errors that both make cancel, so a lead may
  be clear where two intervals overlap. Lead intervals are widened for the {comparisons} methods that are compared: all
  those of one task hold at once with 95 %, so the best may be picked by eye.
- **CPU s** is the median CPU time of one seed of one task, one thread.
- **note** follows a fixed rule: it is written where the interval on feedback lies wholly below the PGR that the
  method's source reports for such a domain, or where a lead's interval lies wholly below zero. The sources had other
  data, other teachers and other students: a note says what happened here, not that a source is wrong.
- Rows are sorted by PGR on feedback. Per-task and per-seed values are in [{json}]({json}).

**What these numbers cannot show.** Settings that a method's source leaves open were chosen on the open tasks; the
problems' own (layers, ridge, teachers) on items of the open and feedback tasks, before that. All labels of the shipped
packs are public, those of the feedback and record tasks too, so whoever writes a method may have looked at them,
knowingly or not. A number that nobody could tune comes from secret
items: `aarlab run --fresh`.
"""


def render(found: dict[str, Any], name: str = "results") -> str:
    """The whole page. name: of the JSON and SVG beside it."""
    reading = READING.format(reference=found["reference"], comparisons=found["comparisons"], json=f"{name}.json")
    plot = ["", f"![PGR of every method]({name}.svg)"] if _drawn(found) else []
    parts = ["# Reference table", "", _opening(found), *plot, "", reading]
    parts += [_problem(p, found) for p in found["problems"]]
    return "\n".join([*parts, _methods(found)])


def chart(found: dict[str, Any]) -> Any:
    """The plot: methods by mean PGR over the problems; None where no PGR on feedback or record tasks is known."""
    panels, means = [], dict[str, list[float]]()
    for problem in found["problems"]:
        pgr: dict[str, dict[str, Estimate]] = {kind: {} for kind in forest.KINDS}
        for row in problem["rows"]:
            for kind in pgr:
                if row[kind] and row[kind]["pgr"]:
                    pgr[kind][row["method"]] = Estimate(**row[kind]["pgr"])
                    means.setdefault(row["method"], []).append(row[kind]["pgr"]["mean"])
        panels.append(forest.Panel(problem["name"], pgr, found["reference"]))
    order = sorted(means, key=lambda m: -sum(means[m]) / len(means[m]))
    return forest.forest(panels, order) if order else None


def _drawn(found: dict[str, Any]) -> bool:
    """Whether `chart` has something to show."""
    rows = [row for problem in found["problems"] for row in problem["rows"]]
    return any(row[kind] and row[kind]["pgr"] for row in rows for kind in forest.KINDS)


def _opening(found: dict[str, Any]) -> str:
    """What the numbers are, in one paragraph."""
    cost, seeds = found["cost"], found["seeds"]
    packs = ", ".join(f"{p['name']} `{p['data_hash'][:16]}`" for p in found["problems"])
    tasks = sum(len(p["tasks"]) for p in found["problems"])
    kept = cost["runs"] - cost["measured_now"]
    cached = f" ({kept} of the {cost['runs']} runs had been measured before)" if kept else ""
    return (
        f"{len(found['methods'])} methods on {tasks} tasks of {len(found['problems'])} problems with "
        f"{found['student']}, aarlab {found['library']}. Measured and written by `{found['command']}`; do not edit by "
        f"hand. Public seeds: {seeds[0]} to {seeds[-1]}, each of which draws teacher, train items and their order. "
        f"Label sets: {packs}. {cost['runs']} runs took {cost['cpu_seconds']:.0f} CPU seconds in methods; wall time "
        f"{cost['wall_seconds']:.0f} s{cached}, peak memory of all processes together {cost['peak_mb']} MB."
    )


def _problem(problem: dict[str, Any], found: dict[str, Any]) -> str:
    about = {m["name"]: m for m in found["methods"]}
    lines = [f"## {problem['name']}", "", problem["title"], "", *map(_task, problem["tasks"]), ""]
    lines += ["| " + " | ".join(TITLES) + " |", "|" + " --- |" * len(TITLES)]
    lines += [_row(row, about[row["method"]]) for row in problem["rows"]]
    return "\n".join([*lines, ""])


def _task(task: dict[str, Any]) -> str:
    floor, ceiling = task["floor"]["mean"], task["ceiling"]["mean"]
    known = f"ceiling {ceiling:.3f}" if task["ceiling"]["seeds"] else "no ceiling could be measured"
    if ceiling <= floor:
        known += "; it is not above the floor, so PGR is undefined" if task["ceiling"]["seeds"] else ""
    about = f"{task['name']} ({task['role']}): {task['title']}; {task['test_items']} test items"
    return f"- {about}, floor {floor:.3f}, {known}"


def _row(row: dict[str, Any], about: dict[str, str]) -> str:
    feedback, record = row["feedback"] or {}, row["record"] or {}
    cells = [
        f"`{row['method']}`", _interval(feedback.get("pgr")), _interval(record.get("pgr")),
        _interval(feedback.get("difference"), "+"), _interval(record.get("difference"), "+"),
        _number(feedback.get("accuracy")), _number(record.get("accuracy")),
        "" if row["cpu_seconds"] is None else f"{row['cpu_seconds']:.2f}",
        about["family"], markdown(about["origin"]), markdown(_note(row)),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _note(row: dict[str, Any]) -> str:
    """The notes of the rule, then why tasks are missing."""
    reasons: dict[str, list[str]] = {}
    for task, missing in row["missing"].items():
        reasons.setdefault(f"{missing['status']}: {missing['why']}", []).append(task)
    gaps = [reason if not row["tasks"] else f"{', '.join(tasks)} {reason}" for reason, tasks in reasons.items()]
    return "; ".join([*row["notes"], *gaps])


def _interval(e: dict[str, float] | None, sign: str = "") -> str:
    return "" if e is None else f"{e['mean']:{sign}.2f} [{e['low']:.2f}, {e['high']:.2f}]"


def _number(e: dict[str, float] | None) -> str:
    return "" if e is None else f"{e['mean']:.3f}"


def _methods(found: dict[str, Any]) -> str:
    lines = ["## The methods", "", "| method | in one sentence | its source reports |", "| --- | --- | --- |"]
    for m in found["methods"]:
        lines.append(f"| `{m['name']}` | {markdown(m['title'])} | {markdown(m['claim'])} |")
    return "\n".join([*lines, ""])
