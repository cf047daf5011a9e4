"""The table's files, and the table on a terminal.

python -m aarlab.baselines.write docs/results.json     page and plot again from the numbers, without measuring
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from aarlab.baselines import page


def write(found: dict[str, Any], folder: Path) -> Path:
    """results.md, results.json and results.svg (results-lora for that student); gives the page's path."""
    name = "results" if found["student_name"] == "probe" else f"results-{found['student_name']}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(_json(found), "utf-8")
    return show(found, folder, name)


def show(found: dict[str, Any], folder: Path, name: str) -> Path:
    """The page and its plot; gives the page's path."""
    import vl_convert

    drawing = page.chart(found)
    if drawing is not None:
        (folder / f"{name}.svg").write_text(vl_convert.vegalite_to_svg(drawing.to_dict(validate=False)), "utf-8")
    path = folder / f"{name}.md"
    path.write_text(page.render(found, name), "utf-8")
    return path


def _json(found: dict[str, Any]) -> str:
    """Indented, a list of numbers on one line."""
    spread = json.dumps(found, indent=1)
    return re.sub(r"\[[-+.e\d,\s]+\]", lambda m: " ".join(m[0].split()), spread) + "\n"


def text(found: dict[str, Any]) -> str:
    """The tables in short, for a terminal: PGR and lead on feedback and record tasks."""
    return "\n".join(line for problem in found["problems"] for line in _lines(problem))


def _lines(problem: dict[str, Any]) -> list[str]:
    head = f"{problem['name']:32} {'PGR feedback':>20} {'PGR record':>20} {'lead':>20} {'CPU s':>7}"
    return [head, *map(_line, problem["rows"]), ""]


def _line(row: dict[str, Any]) -> str:
    feedback, record = row["feedback"] or {}, row["record"] or {}
    cells = (feedback.get("pgr"), record.get("pgr"), feedback.get("difference"))
    shown = " ".join(f"{_short(e):>20}" for e in cells)
    seconds = "" if row["cpu_seconds"] is None else f"{row['cpu_seconds']:.2f}"
    gaps = sorted({m["status"] for m in row["missing"].values()})
    return f"  {row['method']:30} {shown} {seconds:>7}  {', '.join(gaps)}".rstrip()


def _short(e: dict[str, float] | None) -> str:
    return "" if e is None else f"{e['mean']:.2f} [{e['low']:.2f}, {e['high']:.2f}]"


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        print(show(json.loads(file.read_text("utf-8")), file.parent, file.stem))
