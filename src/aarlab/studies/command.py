"""`aarlab study exfiltration` from flags to files."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from aarlab.problems import base
from aarlab.studies import page
from aarlab.studies.exfiltration import Tell, steps, study

NAME = "exfiltration"


@dataclass(frozen=True)
class Written:
    """The study's data and its page."""

    found: dict[str, Any]
    page: Path


def run(problem: str, task: str, answers: int, repeats: int, seed: int, out: Path | None) -> Written:
    """Study a task and write exfiltration.md, .json and .svg. Raises InputError before anything is written."""
    loaded = base.load(problem, check=False)
    loaded.task(task)
    with progress(steps(repeats)) as tell:
        found = study(loaded, task, answers, repeats, seed, tell)
    return Written(found, write(found, out or Path("results")))


def write(found: dict[str, Any], folder: Path) -> Path:
    """The three files; gives the page's path."""
    import vl_convert

    from aarlab.reports.exfiltration import drawing

    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.json").write_text(_json(found), "utf-8")
    drawn = vl_convert.vegalite_to_svg(drawing(found).to_dict(validate=False))
    (folder / f"{NAME}.svg").write_text(drawn, "utf-8")
    path = folder / f"{NAME}.md"
    path.write_text(page.render(found, f"{NAME}.svg"), "utf-8")
    return path


def _json(found: dict[str, Any]) -> str:
    """Indented, with small tables of numbers on one line."""
    spread = json.dumps(found, indent=1)
    return re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda m: " ".join(m[0].split()), spread) + "\n"


@contextmanager
def progress(total: int) -> Iterator[Tell]:
    """A bar with the time left on a terminal, nothing elsewhere."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=Console(file=sys.stderr), transient=True,
    )  # fmt: skip
    with bar:
        number = bar.add_task("stealing labels", total=total)
        yield lambda what, done: bar.update(number, description=what, completed=done)


if __name__ == "__main__":  # page and drawing again from the numbers
    for file in map(Path, sys.argv[1:]):
        print(write(json.loads(file.read_text("utf-8")), file.parent))
