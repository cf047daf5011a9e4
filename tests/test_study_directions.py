"""The directions study: equal commands, going on where it was, paired measures, the page; and once with real runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aarlab.errors import Infrastructure, InputError
from aarlab.ideas.families import FAMILIES
from aarlab.studies import directions, directions_measure, directions_page
from aarlab.studies.directions import Plan

NAMES = list(FAMILIES)


def report(
    families: list[str], pgr: float | None, best: float = 0.6, dollars: float = 0.01, **more: Any
) -> dict[str, Any]:
    """As much of a finished run's report.json as the study reads: one submission of each researcher, by rules."""
    estimate = lambda m: {"mean": m, "low": m - 0.1, "high": m + 0.1, "seeds": 4, "items": 900}  # noqa: E731
    ideas = [
        {"seconds": 10.0 + n, "researcher": f"r{n}", "kind": "submission", "number": n, "form": "submission",
         "family": "other", "by": "researcher", "classed": {"researcher": "other", "rules": f}}
        for n, f in enumerate(families)
    ]  # fmt: skip
    return {
        "run": {
            "lab": "x", "done": True, "research_seconds": 60.0,
            "researchers": [{"name": f"r{n}", "kind": "search"} for n in range(len(families))],
        },
        "ideas": {"ideas": ideas},
        "winner": None if pgr is None else {"name": "won", "record": estimate(pgr)},
        "leaderboard": [{"pgr": estimate(best)}],
        "timeline": [{"kind": "submission", "seconds": 20.0, "pgr": estimate(best)}],
        "costs": {"dollars": dollars, "cpu_seconds": 90.0},
        "budget": {"answers_used": 12},
        "headline": "A <b>headline</b>.",
    } | more  # fmt: skip


def pairs() -> list[tuple[str, int, dict[str, Any]]]:
    """Three repeats: directed fleets are spread over nine families, undirected ones over two."""
    spread, narrow = NAMES[:9], [NAMES[0]] * 5 + [NAMES[1]] * 4
    gains = (0.30, 0.20, 0.40)
    found = []
    for n, gain in enumerate(gains, 1):
        found.append(("directed", n, report(spread[: 10 - n] + spread[: n - 1], 0.4 + gain)))
        found.append(("undirected", n, report(narrow, 0.4)))
    return found


def plan(**more: Any) -> dict[str, Any]:
    return {"problem": "w2s-math", "researchers": 9, "repeats": 3, "llm": ""} | more


# Running


def test_the_arms_differ_in_one_flag() -> None:
    """Same researchers, budget and seeds; which goes first alternates."""
    asked = Plan(
        "w2s-math", 9, 4, minutes=2.0, answers=27, llm="mockllm/model", base_url="http://127.0.0.1:1", tokens=9
    )
    one, other = (asked.command(arm, Path("lab"), None) for arm in directions.ARMS)
    assert [p for p in other if p not in one] == ["--undirected"]
    assert [p for p in one if p not in other] == []
    assert one[1:7] == ["-m", "aarlab", "run", "w2s-math", "--lab", "lab"]
    for flag, value in {"--minutes": "2.0", "--answers": "27", "--llm": "mockllm/model", "--tokens": "9"}.items():
        assert one[one.index(flag) + 1] == value
    assert "--seeds" not in one
    assert [arm for _, arm in asked.runs()] == ["directed", "undirected", "undirected", "directed"] * 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"repeats": 0}, "--repeats is 0"),
        ({"researchers": 1}, "--researchers is 1"),
        ({"directions": "x.txt"}, "--directions is for language models"),
        ({"problem": "no-such"}, "no-such"),
    ],
)
def test_plans_that_mean_nothing_are_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Before any folder is made."""
    with pytest.raises(InputError, match=words):
        directions.run(**{"problem": "w2s-math", "researchers": 9, "repeats": 2, "folder": tmp_path / "s"} | change)  # type: ignore[arg-type]
    assert not (tmp_path / "s").exists()


def test_a_folder_keeps_its_settings_and_may_get_more_repeats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directions.begin(Plan("w2s-math", repeats=2, answers=27), tmp_path)
    directions.begin(Plan("w2s-math", repeats=4, answers=27), tmp_path)
    with pytest.raises(InputError, match="holds a study with answers 27, not 45; name another folder"):
        directions.begin(Plan("w2s-math", repeats=2, answers=45), tmp_path)
    assert "not ranked" not in capsys.readouterr().err
    directions.begin(Plan("w2s-math", repeats=20, answers=27), tmp_path)
    assert "may draw 1080 answers" in capsys.readouterr().err


FAKE = """
import json, pathlib, sys
lab = pathlib.Path(sys.argv[sys.argv.index("--lab") + 1] if "--lab" in sys.argv else sys.argv[-1])
with open(lab.parent / "calls", "a") as f:
    f.write(sys.argv[1] + " " + lab.name + "\\n")
if (lab.parent / "fail").exists() and lab.name == (lab.parent / "fail").read_text():
    lab.mkdir(exist_ok=True)
    for part in ("lab.toml", "lab.db"):
        (lab / part).write_text("")
    print("the disk is full")
    sys.exit(3)
(lab / "report").mkdir(parents=True)
(lab / "report" / "report.json").write_text((lab.parent / f"{lab.name.split('-')[0]}.json").read_text())
"""


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study folder in which `aarlab run` is a few lines that write a report made beforehand."""
    (tmp_path / "fake.py").write_text(FAKE)
    (tmp_path / "directed.json").write_text(json.dumps(report(NAMES[:9], 0.7)))
    (tmp_path / "undirected.json").write_text(json.dumps(report(NAMES[:2] * 4, 0.4)))
    monkeypatch.setattr(directions, "PROGRAM", [sys.executable, str(tmp_path / "fake.py")])
    return tmp_path


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_finished_runs_are_kept_and_a_started_one_is_resumed(runner: Path) -> None:
    """A run that failed is named with its last words; the same command then makes only what is missing."""
    (runner / "fail").write_text("undirected-2")
    with pytest.raises(Infrastructure, match="undirected run 2 ended with code 3: the disk is full"):
        directions.run("w2s-math", 9, 2, runner)
    assert calls(runner) == ["run directed-1", "run undirected-1", "run undirected-2"]
    assert json.loads((runner / "directions.json").read_text())["repeats"] == 1  # what is whole is shown
    (runner / "fail").unlink()
    assert directions.run("w2s-math", 9, 2, runner) == 0
    assert calls(runner)[3:] == ["resume undirected-2", "run directed-2"]
    assert json.loads((runner / "directions.json").read_text())["repeats"] == 2
    assert directions.run("w2s-math", 9, 2, runner) == 0
    assert len(calls(runner)) == 5


def test_a_lab_that_died_while_it_was_made_is_made_again(runner: Path) -> None:
    (runner / "directed-1").mkdir()
    (runner / "directed-1" / "lab.toml").write_text("half")
    assert directions.run("w2s-math", 9, 1, runner) == 0
    assert calls(runner) == ["run directed-1", "run undirected-1"]


def test_an_interrupt_stops_the_run_and_the_study(tmp_path: Path) -> None:
    """The run is told to stop, is waited for, and the study ends with 130."""
    waits = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
    path = tmp_path / "log"

    def interrupt() -> None:
        deadline = time.monotonic() + 20
        while "up" not in (path.read_text() if path.exists() else "") and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        assert directions.followed([sys.executable, "-c", waits], path) == directions.STOPPED
        thread.join()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


# Measuring


def test_differences_are_paired_by_repeat() -> None:
    """Mean and t interval of directed less undirected, by hand."""
    found = directions_measure.measure(plan(), pairs())
    pgr = found["differences"]["PGR of record"]
    assert pgr["each"] == [0.3, 0.2, 0.4]
    reach = 4.302653 * 0.1 / np.sqrt(3)
    assert [pgr["mean"], pgr["low"], pgr["high"]] == pytest.approx([0.3, 0.3 - reach, 0.3 + reach], abs=1e-4)
    assert (pgr["directed"], pgr["undirected"]) == (0.7, 0.4)
    ends = found["differences"]["families at the end"]
    assert (ends["directed"], ends["undirected"], ends["each"]) == (8.0, 2.0, [7.0, 6.0, 5.0])
    last = {(r["arm"], r["repeat"]): r["entropy"] for r in found["runs"]}
    assert last["directed", 1] == pytest.approx(np.log2(9), abs=1e-4)
    assert last["undirected", 1] == pytest.approx(0.9911, abs=1e-4)


def test_equal_gaps_and_a_single_gap_have_no_interval() -> None:
    """Counts that happen to agree would else claim to be known exactly."""
    assert directions_measure.interval([1.0, 1.0]) == (1.0, None, None)
    assert directions_measure.interval([1.0]) == (1.0, None, None)
    assert directions_measure.interval([]) == (None, None, None)


def test_a_repeat_without_a_winner_drops_out_of_its_pair_only() -> None:
    """And one repeat has no interval."""
    runs = pairs()
    runs[0] = ("directed", 1, report(NAMES[:9], None))
    found = directions_measure.measure(plan(), runs)["differences"]
    assert found["PGR of record"]["each"] == [0.2, 0.4]
    assert len(found["families at the end"]["each"]) == 3
    single = directions_measure.measure(plan(), pairs()[:2])["differences"]["PGR of record"]
    assert (single["mean"], single["low"], single["high"]) == (0.3, None, None)


def test_declarations_do_not_count_and_one_classer_serves_all_runs() -> None:
    """Rules, unless a language model has read every submission."""
    runs, by = directions_measure.runs_of(pairs())
    assert by == "rules"
    assert {i.family for i in runs[0].ideas} == set(NAMES[:9])
    read = pairs()
    for _, _, one in read:
        for idea in one["ideas"]["ideas"]:
            idea["classed"]["llm"] = "curriculum"
    runs, by = directions_measure.runs_of(read)
    assert (by, {i.family for r in runs for i in r.ideas}) == ("llm", {"curriculum"})
    del read[0][2]["ideas"]["ideas"][0]["classed"]["llm"]
    assert directions_measure.runs_of(read)[1] == "rules"


def test_an_arms_curve_has_a_band_and_starts_with_five_researchers() -> None:
    found = directions_measure.measure(plan(), pairs())["arms"]
    for own in found.values():
        assert own["entropy"][0]["seconds"] >= 14.0  # the fifth submission
        assert all(p["low"] <= p["bits"] <= p["high"] for p in own["entropy"])
    assert min(p["low"] for p in found["directed"]["entropy"][-5:]) > max(
        p["high"] for p in found["undirected"]["entropy"][-5:]
    )
    assert found["directed"]["researcher_hours"] == pytest.approx(3 * 9 / 60, abs=1e-4)


# The page


def test_the_page_is_whole_escaped_and_runs_nothing(tmp_path: Path) -> None:
    """Curves, pairs and table; no script, no address to fetch; numbers in the data are those of the page."""
    runs = [(arm, n, r | {"winner": r["winner"] | {"name": "<script>alert(1)</script>"}}) for arm, n, r in pairs()]
    page = directions_page.write(plan(), runs, tmp_path)
    html = page.read_text()
    assert html.count("<svg xmlns") == 6  # three charts, each at two widths
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r'(?:src|href)="(?!#)', html)
    assert {"directed", "undirected", "researcher-minutes"} <= set(re.findall(r"<text[^>]*>([^<]+)</text>", html))
    assert "+0.30 [+0.05, +0.55]" in html
    assert json.loads((tmp_path / "directions.json").read_text())["differences"]["PGR of record"]["mean"] == 0.3
    assert (tmp_path / "directions.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "directions.svg").read_text().startswith("<svg")


def test_the_words_fit_the_intervals() -> None:
    """Told apart, not told apart, one repeat, none."""
    found = directions_measure.measure(plan(), pairs())
    assert "Ideas were more varied with directions: +1.96 [+1.45, +2.47]" in directions_page.headline(found)
    assert "The PGR of record was higher with directions: +0.30 [+0.05, +0.55] PGR." in directions_page.headline(found)
    single = directions_page.headline(directions_measure.measure(plan(), pairs()[:2]))
    assert "1 repeat of 9" in single
    assert "without an interval: one repeat" in single
    swapped = [({"directed": "undirected", "undirected": "directed"}[a], n, r) for a, n, r in pairs()]
    assert "higher without directions: -0.30" in directions_page.headline(directions_measure.measure(plan(), swapped))
    assert any("parameter searches" in c for c in directions_page.caveats(found))
    assert not any("parameter searches" in c for c in directions_page.caveats(found | {"plan": plan(llm="m/x")}))
    assert "PGR of record" in directions_page.text(found)


def test_nothing_handed_in_is_a_page_too(tmp_path: Path) -> None:
    """Fleets without a submission: no curve, no winner, and no crash."""
    empty = report([], None) | {"leaderboard": [], "timeline": []}
    empty["run"]["researchers"] = [{"name": f"r{n}", "kind": "search"} for n in range(9)]
    page = directions_page.write(plan(), [("directed", 1, empty), ("undirected", 1, empty)], tmp_path)
    assert "Too few researchers handed anything in." in page.read_text()
    assert "not measured in both arms" in page.read_text()


@pytest.mark.slow
def test_a_quick_study_with_real_runs(tmp_path: Path) -> None:
    """One repeat of five search researchers for half a minute: two whole labs and a page."""
    code = (
        "import sys; from pathlib import Path; from aarlab.studies.directions import run; "
        f"sys.exit(run('w2s-math', 5, 1, Path({str(tmp_path / 's')!r}), minutes=0.5, answers=10, seeds=2, quick=True))"
    )
    environment = os.environ | {"AARLAB_STATE": str(tmp_path / "answers.db")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "s" / "directions.json").read_text())
    assert [r["arm"] for r in found["runs"]] == ["directed", "undirected"]
    assert all(r["submissions"] >= 5 for r in found["runs"])
    assert found["arms"]["directed"]["entropy"]
