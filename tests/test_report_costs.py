"""The report's costs, transcript links and scan section, on a simulated run with language models and on a toy lab."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toy
from aarlab.errors import InputError
from aarlab.llm.scan.run import scan
from aarlab.records import Call, Estimate, EventRow
from aarlab.reports import costs, report
from aarlab.reports.data import RunData, collect
from aarlab.reports.results import measure
from aarlab.reports.transcripts import Place, scan_of
from aarlab.settings import ResearcherSpec
from simulated_run import HOSTILE, NAMES, simulate
from toy_lab import ToyLab

LOG = "2026-11-28T03-50-32-00-00_ada_kHncoAoc.eval"


def with_models(data: RunData) -> RunData:
    """Ada and bea were language models: ten and thirty dollars of calls in two and four hours."""
    rows = {n: dict(r) for n, r in data.costs["researchers"].items()}
    for name, dollars, hours in (("ada", 10.0, 2.0), ("bea", 30.0, 4.0)):
        rows[name] |= {
            "llm_dollars": dollars, "compute_dollars": 1.0, "dollars": dollars + 1.0, "hours": hours, "calls": 100,
            "lost_calls": 1, "tokens": 5000, "input_tokens": 3000, "output_tokens": 1000, "cache_read_tokens": 900,
            "cache_write_tokens": 100,
        }  # fmt: skip
    total = sum(r["dollars"] for r in rows.values())
    people = tuple(replace(r, kind="llm") if r.name in ("ada", "bea") else r for r in data.researchers)
    specs = tuple(
        ResearcherSpec(n, "llm", model="anthropic/x") if n in ("ada", "bea") else ResearcherSpec(n) for n in NAMES
    )
    return replace(
        data, costs=data.costs | {"researchers": rows, "dollars": total}, researchers=people,
        settings=replace(data.settings, researchers=specs),
    )  # fmt: skip


def test_dollars_are_split_by_hour_into_models_and_computing() -> None:
    """Per researcher and for all: ten dollars in two hours are five an hour, beside computing."""
    data = with_models(simulate(20))
    ada = next(b for b in costs.bills(data) if b.name == "ada")
    assert (ada.llm_per_hour, ada.compute_per_hour, ada.per_hour, ada.model) == (5.0, 0.5, 5.5, "anthropic/x")
    total = costs.fleet(data)
    assert total.llm_dollars == 40.0
    assert total.dollars == pytest.approx(data.costs["dollars"])
    assert total.llm_per_hour == pytest.approx(40 / (6 + 7 * 210 / 3600))
    assert (total.calls, total.lost_calls, total.cache_read_tokens) == (200, 2, 1800)


def test_dollars_per_point_follow_the_record() -> None:
    """All dollars over the winner's points, with the interval turned round, and over its lead."""
    assert costs.per_point(50.0, Estimate(0.5, 0.4, 1.0, 5, 9)) == costs.PerPoint(1.0, 0.5, 1.25)
    assert costs.per_point(50.0, Estimate(0.1, -0.1, 0.2, 5, 9)) == costs.PerPoint(5.0, 2.5, None)
    assert costs.per_point(50.0, Estimate(-0.1, -0.2, 0.1, 5, 9)).mean is None
    assert costs.per_point(50.0, None) == costs.PerPoint(None, None, None)
    data = with_models(simulate())
    results = measure(data)
    assert results.record is not None
    best = results.record.best_baseline(list(results.record.leads))
    found = costs.points(data, results)
    assert best is not None
    assert found["above_baseline"].mean == pytest.approx(data.costs["dollars"] / results.record.leads[best].mean / 100)
    assert found["record"].mean is not None
    assert found["record"].mean < (found["above_baseline"].mean or 0)


def test_a_search_lab_shows_computing_only(tmp_path: Path) -> None:
    """No calls, no table of models; a point is priced all the same."""
    data = simulate()
    report.render(data, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Language models</h3>" not in page
    assert "calls to language models" not in page
    found = json.loads((tmp_path / "report.json").read_text())["costs"]
    assert found["fleet"]["llm_dollars"] == 0
    assert found["fleet"]["compute_dollars"] == pytest.approx(data.costs["dollars"])
    assert found["dollars_per_point"]["record"]["mean"] > 0


def sign(**more: Any) -> dict[str, Any]:
    return {
        "kind": "outside the workspace", "researcher": "ada", "turn": 7, "quote": f"cat /etc/passwd {HOSTILE}",
        "sentence": "names /etc/passwd", "by": "patterns", "log": LOG, "event": 9, "message": "m9", "submission": None,
        "post": None, "outcome": "answered", **more,
    }  # fmt: skip


def scanned(**more: Any) -> dict[str, Any]:
    return {
        "format": 1, "time": 1.0, "model": "", "complete": True, "errors": [], "left_out": 0, "most_per_kind": 50,
        "sources": {"events": 90, "posts": 3, "submissions": 2, "logs": 1, "unread logs": 0},
        "counts": {"outside the workspace": 1}, "signs": [sign()], **more,
    }  # fmt: skip


def test_signs_are_quoted_as_data_and_linked(tmp_path: Path) -> None:
    """Markup in a quote stays text; the place links into Inspect View and nowhere else."""
    data = replace(with_models(simulate(20)), scan=scanned(), places={1: Place("ada", LOG, 2, 7, 9, "m9")})
    report.render(data, tmp_path)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert HOSTILE not in page
    assert "cat /etc/passwd &lt;script&gt;" in page
    assert "<script" not in text.split("## Signs")[1].split("## Leaderboard")[0]
    assert f"transcripts/{LOG} · turn 7" in page
    links = {h for h in re.findall(r'href="([^"]+)"', page) if not h.startswith("#")}
    assert links == {f"http://127.0.0.1:7575/#/logs/{LOG}/samples/sample/ada/1/transcript?message=m9"}
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["scan"]["signs"][0]["quote"] == f"cat /etc/passwd {HOSTILE}"
    event = next(e for e in found["timeline"] if e["kind"] == "submission" and e["submission"] == 1)
    assert event["transcript"]["link"] in links
    assert "Read by patterns: 90 event rows, 3 posts, 2 submitted files, 1 Inspect logs." in page


def test_a_lab_that_was_not_scanned_says_so(tmp_path: Path) -> None:
    """With language models only; a lab of searches has nobody to be read."""
    report.render(with_models(simulate(20)), tmp_path)
    assert "were not scanned" in (tmp_path / "report.html").read_text()
    report.render(simulate(20), tmp_path)
    assert "were not scanned" not in (tmp_path / "report.html").read_text()


def test_names_are_quoted_in_links() -> None:
    """Whatever a name holds, the address stays one address."""
    place = Place('a"b/<c>', "x y.eval", 1, 3, 4, "m&1")
    assert place.link().endswith("/logs/x%20y.eval/samples/sample/a%22b%2F%3Cc%3E/1/transcript?message=m%261")
    assert Place("ada", "", 1, 3).link() == ""
    assert Place("ada", "", 1, 3).text() == "turn 3"


def test_a_real_lab_shows_its_calls_places_and_signs(tmp_path: Path) -> None:
    """From the database to the page: a settled call, the step that made a submission, and the scan's finding."""
    people = (ResearcherSpec("r1", "llm", model="anthropic/x"), ResearcherSpec("r2"))
    folder = tmp_path / "lab"
    with ToyLab(folder, replace(toy.settings(), researchers=people)) as lab:
        number = lab.score(f"import gc\n{toy.LEARNER}")["id"]
        message = {"message": {"role": "tool", "id": "t4", "content": "submission 3", "tool_call_id": "c"}}
        with lab.lab.store.write() as rows:
            step = EventRow(0, "r1", "k", 1, 4, "tool", json.dumps(message), 1.0, number, None, LOG)
            rows.add_events("r1", [step])
            rows.set_call(Call("r1", "c1", "settled", 2.5, 1300, 1.0, "anthropic/x", 1000, 200, 100, 0, 0, 3.0), None)
    scan(folder)
    data = collect(folder)
    assert data.places[number] == Place("r1", LOG, 1, 4, 1, "t4")
    bill = next(b for b in costs.bills(data) if b.name == "r1")
    assert (bill.llm_dollars, bill.calls, bill.input_tokens, bill.cache_read_tokens) == (2.5, 1, 1000, 100)
    page = report.write(folder).read_text()
    assert "reaches into the interpreter" in page
    assert f"/logs/{LOG}/samples/sample/r1/1/transcript?message=t4" in page
    (folder / "run" / "scan.json").write_text("{")
    with pytest.raises(InputError, match=r"scan\.json"):
        scan_of(folder)
