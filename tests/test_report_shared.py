"""The report and the dashboard's pages show a run alike: one look, one set of macros, the same lines in one order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aarlab.dashboard import ideas, leaderboard, render
from aarlab.dashboard.lab import WatchedLab
from aarlab.records import Estimate
from aarlab.reports import figures, report, rows, templating
from aarlab.reports.data import RunData, collect
from aarlab.reports.results import Results, measure
from recorded_lab import make
from simulated_run import simulate

STYLE = (templating.TEMPLATES / "base.css").read_text()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedLab]:
    """A finished lab with audits, claims, parents, transcripts and families."""
    made = WatchedLab(make(tmp_path_factory.mktemp("labs") / "rec", submissions=40, posts=20))
    made.look()
    while made.work():
        made.look()
    yield made
    made.close()


@pytest.fixture(scope="module")
def read(lab: WatchedLab) -> tuple[RunData, Results]:
    data = collect(lab.folder)
    return data, measure(data)


def rounded(e: Any) -> tuple[float, ...] | None:
    if e is None:
        return None
    values = e.as_dict() if isinstance(e, Estimate) else e
    return tuple(round(values[k], 3) for k in ("mean", "low", "high"))


def told(line: dict[str, Any]) -> dict[str, Any]:
    """What a line of the leaderboard says, from either side."""
    shown = ("rank", "name", "submission", "researcher", "track", "declared", "family", "claimed", "claim", "ranked",
             "remark", "winner", "finalist", "audit")  # fmt: skip
    numbers = {k: rounded(line[k]) for k in ("pgr", "record")}
    return {"name": line["name"], **numbers, **({} if line["baseline"] else {k: line[k] for k in shown})}


def test_the_leaderboard_has_the_same_lines_in_the_report_and_on_its_page(
    lab: WatchedLab, read: tuple[RunData, Results]
) -> None:
    page = leaderboard.page(lab.snapshot(), lab.store, {})["rows"]
    mine = rows.leaderboard(*read)
    assert len(mine) > 20
    assert [told(r) for r in mine] == [told(r) for r in page]
    assert {r["audit"]["verdict"] for r in mine if not r["baseline"]} >= {"ranked", "not audited"}


def test_families_and_lineage_are_the_same_on_both(lab: WatchedLab, read: tuple[RunData, Results]) -> None:
    page = ideas.page(lab.snapshot(), lab.store)

    def family(f: dict[str, Any]) -> tuple[Any, ...]:
        return (
            *(f[k] for k in ("family", "code", "meaning", "submissions", "posts", "researchers", "first", "best")),
            round(f["first_minutes"], 2),
            rounded(f["pgr"]),
        )

    assert [family(f) for f in rows.families(*read)] == [family(f) for f in page["families"]]
    line = [(s["submission"], s["family"], round(s["minutes"], 2), rounded(s["pgr"])) for s in rows.lineage(*read)]
    assert line == [(s["submission"], s["family"], s["minutes"], rounded(s["pgr"])) for s in page["lineage"]]
    assert line


def test_a_line_is_written_alike(lab: WatchedLab, read: tuple[RunData, Results]) -> None:
    """One macro writes both: without links and tags that only a page has, the cells hold the same text."""

    def cells(
        environment: Any, lines: list[dict[str, Any]], columns: dict[str, Any], board: dict[str, Any]
    ) -> list[str]:
        html = environment.get_template("rows.j2").module.table(lines, columns, board, links=False)
        return [re.sub(r"<[^>]*>|\s+", " ", row) for row in re.findall(r"<tr.*?</tr>", html, re.S)]

    page = leaderboard.page(lab.snapshot(), lab.store, {})
    lines = [{"parent": None, **r} for r in page["rows"]]
    same = {**page, "columns": {k: page["columns"][k] for k in rows.COLUMNS}}
    theirs = cells(render.environment(), lines, same["columns"], page)
    mine = cells(templating.environment(), [{**r, "parent": None} for r in rows.leaderboard(*read)], rows.COLUMNS,
                 {"scale": page["scale"], "record": page["record"]})  # fmt: skip
    assert [row.split() for row in mine] == [row.split() for row in theirs]


def test_report_and_pages_have_one_look(tmp_path: Path) -> None:
    """The report holds the very style that pages load first."""
    report.render(simulate(20), tmp_path)
    assert STYLE.strip() in (tmp_path / "report.html").read_text()
    assert render.STYLE.read_text() == STYLE
    frame = (render.HERE / "templates" / "base.html.j2").read_text()
    assert frame.index("base.css") < frame.index("app.css")


def test_every_colour_of_the_charts_turns_dark() -> None:
    """By the device and by the pages' switch: each colour of the palette has its dark twin and rules that use it."""
    for light, dark in figures.PALETTE.items():
        assert STYLE.count(f"--of-{light[1:]}: {dark};") == 2
        for what in ("fill", "stroke"):
            assert f'[{what}="{light}"] {{ {what}: var(--of-{light[1:]}, {light}); }}' in STYLE


def test_a_report_has_nothing_that_only_a_page_can_do(lab: WatchedLab) -> None:
    """No form, no link to a page of the dashboard, no column that sorts; charts have titles."""
    html = report.write(lab.folder).read_text()
    assert not re.findall(r"<(?:form|button|input)\b", html)
    links = re.findall(r'href="([^"]*)"', html)
    assert links
    assert all(a.startswith(("#", "http://127.0.0.1")) for a in links)
    assert "aria-sort" not in html
    assert len(re.findall(r'<div class="chart (?:wide|slim)" role="img" aria-label="[^"]{10,}">', html)) == 16
