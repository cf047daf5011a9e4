"""Published results as tables for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Grid

from aarlab.published.measure import REFERENCE, TITLES, Best, Mean, Row, Table
from aarlab.records import Measured

WIDTH = 140
"""Columns of output that goes into a file or a pipe."""

WIDE = 138
"""From so many columns on a domain is one table, else two."""

FIRST, SECOND = ("accuracy", "PGR", "95 %", "published"), ("runs", "differs", "at once", "lead")

LEGEND = (
    "Mean ± standard error over seeds; [95 % interval] by Student's t over seeds alone: the files hold no outcomes per "
    "item, and what the choice of test items adds to the error stands in the first line. `at once`: holds for all rows "
    "together (Bonferroni); so does `lead`, PGR minus that of weak labels on shared seeds. * computed, not in the file."
)


def print_tables(tables: Sequence[Table], console: Console | None = None) -> None:
    """One table a domain, notes under it, one legend for all."""
    out = console or Console()
    if not out.is_terminal and console is None:
        out = Console(width=WIDTH)
    for table in tables:
        _print(table, out)
    out.print(LEGEND, style="dim", highlight=False)


def _print(table: Table, out: Console) -> None:
    out.print(f"[bold]{table.domain}[/bold]  {_ground(table)}", highlight=False)
    several, names, notes = Counter(r.idea for r in table.rows), [], list(table.notes)
    for number, row in enumerate(table.rows, 1):
        names.append(row.title)
        if several[row.idea] > 1:
            names[-1] += f" ({number})"
            notes.append(f"({number}) is {row.idea}/{row.configuration}")
    for columns in ([*FIRST, *SECOND],) if out.width >= WIDE else (FIRST, SECOND):
        out.print(_grid(table, names, columns))
    if table.best:
        out.print(_choice(table.best), highlight=False)
    for note in notes:
        out.print(f"- {note}", highlight=False, markup=False)
    out.print()


def _grid(table: Table, names: Sequence[str], columns: Sequence[str]) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    grid.add_column("method", no_wrap=True)
    for name in columns:
        grid.add_column(name, justify="left" if name == "lead" else "right", no_wrap=True)
    for name, row in zip(names, table.rows, strict=True):
        cells = _cells(row)
        grid.add_row(name, *(cells[c] for c in columns))
    return grid


def _choice(best: Best) -> str:
    return (
        f"Best of {best.methods}: {TITLES.get(best.idea, best.idea)}. Of {best.methods} equally good methods the best "
        f"would look {best.inflation:.3f} better than it is (noise of seeds alone); with the noise's share of the "
        f"spread taken out it has {best.shrunk:.3f}."
    )


def _ground(table: Table) -> str:
    """Floor, ceiling and test items in one line."""
    ends = {(r.floor, r.ceiling) for r in table.rows}
    shown = "; ".join(f"floor {_end(f)}, ceiling {_end(c)}" for f, c in sorted(ends, key=lambda e: e[0].mean))
    errors = [r.items_se for r in table.rows if r.items_se is not None]
    if not errors:
        return f"{shown}, number of test items not given"
    return f"{shown}, {table.test_items:,} test items (standard error {max(errors):.3f} of a PGR)"


def _end(m: Measured) -> str:
    return f"{m.mean:.4f} ± {m.se:.4f} ({m.seeds} seeds)"


def _cells(row: Row) -> dict[str, str]:
    return {
        "runs": str(row.pgr.runs),
        "accuracy": _star(f"{row.accuracy.mean:.3f}", row, "transfer_acc"),
        "PGR": _mean(row.pgr),
        "95 %": _interval(row.pgr),
        "at once": _interval(row.together),
        "published": _star(_mean(row.published), row, "pgr"),
        "differs": f"{row.difference:+z.4f}",
        "lead": _lead(row),
    }


def _lead(row: Row) -> str:
    if row.idea == REFERENCE:
        return "reference"
    if row.lead is None:
        return "no shared seeds"
    return f"{row.lead.mean:+.3f} {_interval(row.lead)} ({row.lead.runs})"


def _mean(m: Mean) -> str:
    return f"{m.mean:.3f}" + (f" ± {m.sem:.3f}" if m.sem is not None else "")


def _interval(m: Mean) -> str:
    return "-" if m.low is None else f"[{m.low:.2f}, {m.high:.2f}]"


def _star(text: str, row: Row, name: str) -> str:
    return f"{text}*" if name in row.computed else text
