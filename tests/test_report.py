"""The report: what it must show and never do, on a simulated run, a real toy lab, and the odd runs at the edges."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toy
from aarlab.errors import Infrastructure, InputError
from aarlab.problems import base as problems
from aarlab.records import Estimate
from aarlab.reports import report, sentences
from aarlab.reports.data import collect, method
from aarlab.reports.results import combine, lookup_gain, measure
from aarlab.reports.text import fence, markdown, plain
from aarlab.settings import Isolation
from simulated_run import BASELINES, HOSTILE, simulate
from toy_lab import ToyLab

KEYS = {
    "run", "problem", "tasks", "baselines", "leaderboard", "winner", "record", "transfer", "timeline", "costs",
    "budget", "ledger",
}  # fmt: skip
SCHEMA = json.loads((Path(report.__file__).parent / "report.schema.json").read_text())
FETCHES = {"src", "srcset", "href", "data", "action", "poster", "xlink:href", "formaction", "background"}


class Page(HTMLParser):
    """What a browser would build: tags with attributes, and the text outside style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text, self._inside, self.open = "", "", []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    report.render(simulate(), folder)
    return folder


def faults(value: Any, schema: dict[str, Any], where: str = "report") -> Iterator[str]:
    """A JSON Schema check of the words that report.schema.json uses."""
    if "$ref" in schema:
        yield from faults(value, SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]], where)
    for part in schema.get("allOf", []):
        yield from faults(value, part, where)
    if "anyOf" in schema and all(list(faults(value, part, where)) for part in schema["anyOf"]):
        yield f"{where}: fits none of the choices"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if "type" in schema and not fits(value, schema["type"]):
        yield f"{where}: {value!r} is no {schema['type']}"
    if isinstance(value, dict):
        yield from object_faults(value, schema, where)
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from faults(item, schema["items"], f"{where}[{i}]")


def fits(value: Any, kind: str | list[str]) -> bool:
    types = {
        "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
        "number": (int, float),
    }  # fmt: skip
    kinds = [kind] if isinstance(kind, str) else kind
    return any(isinstance(value, types[k]) and (k == "boolean" or not isinstance(value, bool)) for k in kinds)


def object_faults(value: dict[str, Any], schema: dict[str, Any], where: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    yield from (f"{where}: {key} is missing" for key in schema.get("required", []) if key not in value)
    for key, item in value.items():
        if key in known:
            yield from faults(item, known[key], f"{where}.{key}")
        elif others is False:
            yield f"{where}: unknown key {key}"
        elif isinstance(others, dict):
            yield from faults(item, others, f"{where}.{key}")


def pgrs(value: Any) -> Iterator[Any]:
    """Everything that stands under a key that means a PGR."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("pgr", "lead"):
                yield item
            if key in ("contenders", "leads"):
                yield from item.values()
            if key != "settings":
                yield from pgrs(item)
    if isinstance(value, list):
        for item in value:
            yield from pgrs(item)


def check_json(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert list(faults(found, SCHEMA)) == []
    assert set(found) >= KEYS
    return found


def test_json_has_the_promised_keys_and_fits_its_schema(written: Path) -> None:
    """report.json holds every promised key, and every PGR is an object with mean, low, high, seeds, items."""
    found = check_json(written)
    every = [p for p in pgrs(found) if p is not None]
    assert len(every) > 100
    assert all(
        set(p) == {"mean", "low", "high", "seeds", "items"} and p["low"] <= p["mean"] <= p["high"] for p in every
    )


def test_the_schema_refuses_a_bare_number_for_a_pgr(written: Path) -> None:
    """The check above has teeth: a PGR without an interval, or a missing key, is a fault."""
    found = json.loads((written / "report.json").read_text())
    found["leaderboard"][0]["pgr"] = 0.7
    del found["ledger"]
    assert [f.split(":")[0] for f in faults(found, SCHEMA)] == ["report", "report.leaderboard[0].pgr"]


def test_page_opens_offline_without_script(written: Path) -> None:
    """The page has no script and no address a browser would fetch, and its policy forbids both."""
    page = Page((written / "report.html").read_text())
    assert not {t for t, _ in page.tags} & {"script", "link", "iframe", "img", "object", "embed", "base", "form"}
    for _, attributes in page.tags:
        assert all(v.startswith("#") for k, v in attributes.items() if k in FETCHES)
        assert not [k for k in attributes if k.startswith("on")]
    policies = [a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert not re.search(r"@import|url\((?!#)", (written / "report.html").read_text())


def test_what_researchers_wrote_is_quoted_never_markup(written: Path) -> None:
    """Names, titles, bodies and code with markup appear as text; hidden direction marks become visible."""
    page = Page((written / "report.html").read_text())
    assert HOSTILE in page.text
    assert "\u202e" not in page.text
    assert "\\u202e" in page.text
    assert '</pre><script>alert("```")</script>' in page.text
    text = (written / "report.md").read_text()
    prose = text.split("````python")[0] + text.split("\n````\n")[1]
    assert "<script" not in prose
    assert "<img" not in prose


def test_drawings_have_ids_of_their_own(written: Path) -> None:
    """Several inline drawings share a page: no id occurs twice, and every reference has its target."""
    html = (written / "report.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)
    assert html.count("<svg xmlns") == 8  # four charts, each at two widths


def test_every_colour_of_a_drawing_has_a_dark_twin(written: Path) -> None:
    """Light and dark pages use one drawing: no fill or stroke escapes the palette."""
    from aarlab.reports.figures import PALETTE

    used = set(re.findall(r'(?:fill|stroke)="(#[0-9a-fA-F]{3,6})"', (written / "report.html").read_text()))
    assert used <= set(PALETTE)
    assert len(set(PALETTE.values())) == len(PALETTE)


def test_headline_states_winner_lead_and_cost(written: Path) -> None:
    """The first sentence names winner, PGR of record, the best baseline, the paired interval and the cost."""
    found = check_json(written)
    winner, record = found["winner"], found["record"]
    best = max(BASELINES, key=lambda n: record["contenders"][n]["mean"])
    assert record["best_baseline"] == best
    lead = Estimate(**record["lead"])
    assert lead.low > 0
    for part in (winner["name"], f"{record['pgr']['mean']:.2f}", best, sentences.number(lead), "$"):
        assert part in found["headline"]


def test_record_interval_covers_what_the_simulation_put_in(written: Path) -> None:
    """The winner's PGR of record and its lead are those the simulated skills imply."""
    data = simulate()
    results = measure(data)
    assert results.record is not None
    assert data.winner is not None
    mine = results.record.pgr[method(data.winner)]
    expected = np.mean([t.card.pgr(float(t.correct[method(data.winner)].mean())) for t in data.of_purpose("record")])
    assert mine.mean == pytest.approx(expected)
    assert mine.low < results.record.pgr["confident-weak-labels"].high + 0.5
    assert (mine.seeds, mine.items) == (5, 2200)


def test_leads_widen_with_the_number_of_finalists() -> None:
    """Ten opened finalists make the paired interval of the record wider than one does."""
    widths, data = {}, simulate(20, opened=10)
    for opened in (1, 10):
        record = measure(replace(data, finalists=data.finalists[:opened])).record
        assert record is not None
        lead = record.leads["weak-labels-soft"]
        widths[opened] = lead.high - lead.low
    assert widths[10] > 1.2 * widths[1]


def test_combining_tasks_adds_their_arms_in_quadrature() -> None:
    """Two equal tasks halve the variance; a single task stays as it is."""
    one = Estimate(0.6, 0.5, 0.8, 5, 1000)
    assert combine([one]) == one
    two = combine([one, one])
    assert (two.mean, two.items) == (0.6, 2000)
    assert two.mean - two.low == pytest.approx(0.1 / np.sqrt(2))
    assert two.high - two.mean == pytest.approx(0.2 / np.sqrt(2))


def test_lookup_gain_follows_rate_distortion() -> None:
    """158 bits on 2,000 items that are wrong in a quarter of cases buy 4.5 points; enough bits buy everything."""
    assert lookup_gain(158, 2000, 0.25) == pytest.approx(0.045, abs=0.001)
    assert lookup_gain(0, 2000, 0.25) == pytest.approx(0, abs=1e-9)
    assert lookup_gain(1e6, 2000, 0.25) == 0.25


def test_unfinished_run_says_so(tmp_path: Path) -> None:
    """While research goes on there is no winner, no record, and no seed on the page."""
    data = replace(simulate(20, opened=0, phase="research"), winner=None)
    report.render(data, tmp_path)
    found = check_json(tmp_path)
    assert found["headline"].startswith("No winner yet.")
    assert (found["winner"], found["record"]["pgr"], found["run"]["seeds"]) == (None, None, {})
    assert any("not finished" in s for s in found["doubt"])
    assert "No record task has been opened" in Page((tmp_path / "report.html").read_text()).text
    assert (tmp_path / "pgr-over-time.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "record.png").exists()


def test_run_without_any_score(tmp_path: Path) -> None:
    """A run in which nothing was submitted still makes a whole report."""
    report.render(simulate(submissions=0), tmp_path)
    found = check_json(tmp_path)
    assert found["headline"].startswith("Nothing was submitted")
    assert found["leaderboard"] == []
    assert [b["name"] for b in found["baselines"]] == list(BASELINES)


def test_our_own_failures_are_not_the_methods(tmp_path: Path) -> None:
    """A submission that the lab gave up on is told apart from failed methods, in words and in the chart."""
    data = simulate(3)
    reasons = ("infrastructure", "nan")
    failed = tuple(replace(data.submissions[i], status="failed", reason=r) for i, r in enumerate(reasons))
    unscored = tuple(replace(t, correct={n: c for n, c in t.correct.items() if n[0] != "#"}) for t in data.tasks)
    report.render(replace(data, submissions=failed, tasks=unscored, winner=None, finalists=(), posts=()), tmp_path)
    found = check_json(tmp_path)
    assert "2 submissions, 1 of them failed or refused, 1 given up because the lab itself failed" in found["headline"]
    assert "1 given up by the lab" in Page((tmp_path / "report.html").read_text()).text


def test_a_report_that_cannot_be_written_is_our_failure(tmp_path: Path) -> None:
    """A path that cannot be written gives one sentence with the remedy."""
    folder = tmp_path / "lab"
    with ToyLab(folder):
        pass
    (folder / "report").rmdir()
    (folder / "report").write_text("in the way")
    with pytest.raises(Infrastructure, match="the report cannot be written"):
        report.write(folder)


def test_scores_without_isolation_are_unranked(tmp_path: Path) -> None:
    """With isolation `process` no row has a rank, and headline, page and Markdown say why."""
    report.render(simulate(20, isolation="process"), tmp_path)
    found = check_json(tmp_path)
    assert {r["rank"] for r in found["leaderboard"]} == {None}
    assert "Unranked" in found["headline"]
    assert not any("sandbox" in s for s in found["believe"])
    assert not any("kept apart by isolation" in s for s in found["doubt"])
    assert "isolates nothing" in (tmp_path / "report.md").read_text()


def test_a_submission_the_lab_does_not_rank_takes_no_place() -> None:
    """An unranked row stands in the list with the lab's remark, and the next row takes its rank."""
    data = simulate(20)
    rows = measure(data).rows
    out = rows[3].submission.id
    changed = [replace(s, ranked=False, remark="over the top") if s.id == out else s for s in data.submissions]
    ranks = [r.rank for r in measure(replace(data, submissions=tuple(changed))).rows]
    assert ranks[:6] == [1, 2, 3, None, 4, 5]


def test_sentences_follow_the_run() -> None:
    """What to believe depends on the run: kinds, fresh items, earlier answers, a broken ledger."""
    data = simulate(20)
    results = measure(data)
    doubt = " ".join(sentences.doubt(data, results))
    assert "no language model" in doubt
    assert "shipped with the package" in doubt
    assert "45 answers more" in " ".join(sentences.believe(data, results))
    fresh = replace(data, settings=replace(data.settings, fresh=True))
    assert "drawn fresh" in " ".join(sentences.doubt(fresh, results))
    broken = replace(data, ledger=replace(data.ledger, problem="line 3 was edited"))
    assert "line 3 was edited" in " ".join(sentences.doubt(broken, results))
    assert "verify" not in " ".join(sentences.believe(broken, results))


def test_a_pgr_above_one_is_explained_and_no_other() -> None:
    """The sentence on methods that beat the ceiling stands exactly where the winner does so on a record task."""
    data = simulate()
    results = measure(data)
    assert results.record is not None
    assert data.winner is not None
    name = method(data.winner)
    assert "above 1" not in " ".join(sentences.doubt(data, results))
    tasks = tuple(replace(t, pgr={**t.pgr, name: replace(t.pgr[name], mean=1.1)}) for t in results.record.tasks)
    higher = replace(results, record=replace(results.record, tasks=tasks))
    assert "above 1" in " ".join(sentences.doubt(data, higher))


def test_text_helpers_leave_nothing_active() -> None:
    """Control characters become visible, Markdown marks are escaped, a fence outgrows its content."""
    assert plain("a\x1b[31m\u202eb\n") == "a\\u001b[31m\\u202eb\n"
    assert markdown("# [x](http://y) <b>\n|`z`") == "\\# \\[x\\](http\\://y) &lt;b&gt; \\|\\`z\\`"
    assert markdown("0.76 [0.62, 0.89] by x-1") == "0.76 \\[0.62, 0.89\\] by x-1"
    assert markdown("12. x") == "12\\. x"
    assert plain("abcdef", 3) == "abc…"
    assert fence("x ```` y") == "`````"


def test_report_of_a_real_lab_at_every_stage(tmp_path: Path) -> None:
    """From an empty lab to a finished one, the report follows what the lab itself measured."""
    packs = [toy.make_pack(tmp_path / name, name, seed=100 * i) for i, name in enumerate(problems.names()[:2])]
    folder = tmp_path / "lab"
    with ToyLab(folder, packs=packs) as lab:
        report.write(folder)
        assert report.headline(folder).startswith("Nothing was submitted")
        first = lab.score(toy.LEARNER, claimed_pgr=0.6)
        lab.score(toy.SHARPER.format(margin=0.1), who="r2", claimed_pgr=0.9, parent=first["id"])
        lab.score("def run(task, seed):\n    return 3\n", who="r3")
        lab.post("/posts", {"kind": "result", "title": "first", "body": "b", "submission": first["id"]}, "r1")
        report.write(folder)
        during = check_json(folder / "report")
        assert during["headline"].startswith("No winner yet.")
        assert during["run"]["seeds"] == {}
        lab.reach("done")
        run = lab.get("/run", "operator")
    page = report.write(folder)
    assert page == folder / "report" / "report.html"
    found = check_json(page.parent)
    assert found["winner"]["submission"] == run["winner"]
    assert found["ledger"] == {
        "lines": run["ledger"]["lines"],
        "head": run["ledger"]["head"],
        "verified": True,
        "problem": "",
    }
    measured = {(e["submission"], e["task"]): e["pgr"] for e in run["evaluations"] if e["purpose"] == "record"}
    for task in found["record"]["tasks"]:
        assert task["contenders"][f"#{run['winner']}"]["mean"] == pytest.approx(measured[run["winner"], task["task"]])
    assert found["budget"]["answers_used"] == 2
    assert [f["problem"] for f in found["transfer"]] == [packs[1].name]
    assert tuple(b["name"] for b in found["baselines"]) == toy.BASELINES
    assert set(found["run"]["seeds"]) >= {f"{packs[0].name}/feedback", f"{packs[0].name}/record-one"}


def test_an_edited_lab_is_reported_as_such(tmp_path: Path) -> None:
    """A report of a lab whose outcome file was replaced says that the ledger does not verify."""
    folder = tmp_path / "lab"
    with ToyLab(folder, toy.settings(isolation=Isolation("process"))) as lab:
        lab.score(toy.LEARNER)
    path = max((folder / "artifacts").iterdir())
    path.write_text(path.read_text() + "\n# better\n")
    report.write(folder)
    found = check_json(folder / "report")
    assert not found["ledger"]["verified"]
    assert path.name in found["ledger"]["problem"]
    assert {r["rank"] for r in found["leaderboard"]} == {None}


def test_a_folder_without_its_vault_gets_one_sentence(tmp_path: Path) -> None:
    """A published lab, its vault left out, cannot be measured again; the error says what is missing."""
    folder = tmp_path / "lab"
    with ToyLab(folder):
        pass
    (folder / "vault" / "secret.json").unlink()
    with pytest.raises(InputError, match=r"vault/secret\.json"):
        collect(folder)
