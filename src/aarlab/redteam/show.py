"""The matrix on the terminal, as a page and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from aarlab.records import Estimate
from aarlab.redteam.attack import Attack, Gains, Line

COLUMNS = ("attack", "tried", "feedback", "vault", "record", "audits that fired", "ended")
RATIO = (4, 7, 3, 3, 3, 3, 3)

INTRODUCTION = """\
`aarlab redteam` starts labs, attacks them and prints this page (`aarlab redteam --out docs`; `--only` makes one attack,
`--fast` the quick ones). Each attack is a file of `src/aarlab/redteam/attacks/` and a test named after it. It says how
it must end, and the command ends with code 3 where one does not:

- *refused*: at the door, or by the sandbox
- *counted*: answered, charged and bounded
- *flagged*: an audit fired, and the verdict follows it
- *no gain*: it earns at most 0.02 PGR of record, as far as its interval tells; what is not ranked earns nothing
- *residual*: it succeeds within bounds, which are measured here

Gains are PGR above the honest counterpart on the same seeds and items, with 95 % intervals: on the feedback items,
whose labels answer; on a same-task vault, half of the train items' groups, whose labels never do; on the record tasks.
A number of record in brackets does not count: the verdict does not rank its method. Leaked labels are given to
attackers as a present: what is measured is an upper bound on any leak of that size, and says nothing of how one would
come by it. An attack that is not in this list was not tried."""


def cells(line: Line) -> tuple[str, ...]:
    """One row of the matrix as texts."""
    name = f"{line.attack.number} {line.attack.name}"
    if line.outcome is None:
        return (name, f"not applicable: {line.missing}", "", "", "", "", "n/a")
    out = line.outcome
    ended = ", ".join(out.endings) or "as not expected"
    return (
        name,
        out.tried,
        *numbers(out.gains, out.ranked),
        ", ".join(out.fired),
        f"{ended}{' ✗' * bool(line.missed)}",
    )


def numbers(gains: Gains, ranked: bool) -> tuple[str, str, str]:
    record = number(gains.record)
    return number(gains.feedback), number(gains.vault), record if ranked or not record else f"({record})"


def number(value: Estimate | None) -> str:
    return "" if value is None else f"{value.mean:+.2f} [{value.low:.2f}, {value.high:.2f}]"


class Show:
    """Prints each row as its attack ends, with a bar and the time left below."""

    def __init__(self, problem: str, count: int, quiet: bool = False) -> None:
        self.console = Console(quiet=quiet)
        self.errors = Console(stderr=True)
        columns = (TextColumn("{task.description:32.32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=self.errors, transient=True)
        self.bar = self.progress.add_task(problem, total=count)

    def __enter__(self) -> Show:
        self.console.print(_table([], heads=True))
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def starts(self, name: str) -> None:
        self.progress.update(self.bar, description=name)

    def ended(self, line: Line) -> None:
        self.progress.advance(self.bar)
        self.console.print(_table([line], heads=False))
        for sentence in line.missed:
            self.console.print(f"  {line.attack.id}: {sentence}", style="red", highlight=False)


def _table(lines: Sequence[Line], heads: bool) -> Table:
    table = Table(show_header=heads, expand=True, box=None, padding=(0, 1, 0, 0))
    for name, ratio in zip(COLUMNS, RATIO, strict=True):
        table.add_column(name, ratio=ratio, overflow="fold")
    for line in lines:
        table.add_row(*cells(line), style="red" if line.missed else None)
    return table


def summary(problem: str, lines: Sequence[Line], seconds: float) -> str:
    """What came of all of it, in one sentence or a few."""
    made = [line for line in lines if line.outcome is not None]
    wrong = [line.attack.id for line in made if line.missed]
    words = f"{problem}: {len(made)} attacks in {seconds:.0f} s, {len(made) - len(wrong)} ended as expected"
    if skipped := len(lines) - len(made):
        words += f", {skipped} not applicable"
    return words + (f"; NOT as expected: {', '.join(wrong)}" if wrong else "")


def as_dict(problem: str, lines: Sequence[Line], seconds: float) -> dict[str, Any]:
    return {
        "problem": problem,
        "seconds": round(seconds, 1),
        "summary": summary(problem, lines, seconds),
        "attacks": [line.as_dict() for line in lines],
    }


def page(matrices: Sequence[dict[str, Any]], attacks: Sequence[Attack]) -> str:
    """Matrices of one or several problems as a Markdown page, with what each attack is."""
    parts = ["# Red team: what attacks come to", INTRODUCTION]
    for matrix in matrices:
        parts += [f"## {matrix['problem']}", matrix["summary"] + ".", _markdown(matrix["attacks"])]
        if residuals := [_residual(row) for row in matrix["attacks"] if "residual" in row.get("endings", ())]:
            parts += [f"### What remains on {matrix['problem']}", "\n".join(residuals)]
    parts.append("## The attacks")
    parts += [f"**{a.number} {a.name}** ({', '.join(a.expected)}). {' '.join(a.about.split())}" for a in attacks]
    return "\n\n".join(parts) + "\n"


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| # | attack | tried | feedback | vault | record | audits that fired | ended |", "|" + " --- |" * 8]
    for row in rows:
        if "not_applicable" in row:
            lines.append(f"| {row['number']} | {row['attack']} | not applicable: {row['not_applicable']} | | | | | |")
            continue
        gains = Gains(**{k: None if v is None else Estimate(**v) for k, v in row["gains"].items()})
        ended = ", ".join(row["endings"]) + ("" if row["as_expected"] else " (**not as expected**)")
        texts = (
            str(row["number"]),
            row["attack"],
            row["tried"],
            *numbers(gains, row["ranked"]),
            ", ".join(row["fired"]),
            ended,
        )
        lines.append("| " + " | ".join(t.replace("|", "\\|").replace("\n", " ") for t in texts) + " |")
    return "\n".join(lines)


def _residual(row: dict[str, Any]) -> str:
    record = row["gains"]["record"]
    gained = "" if record is None else f" Record: {number(Estimate(**record))} PGR."
    return f"- **{row['number']} {row['attack']}**: {row['tried']}. {row['why']}.{gained}"
