"""The reference table: what is measured, what is kept, what is measured again, and what the page says of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

import toy
from aarlab.baselines import claims, command, measure, page, pool, table, write
from aarlab.baselines.cache import Cache, Outcome, code
from aarlab.baselines.harness import Measured, _key
from aarlab.baselines.harness import measure as measure_all
from aarlab.baselines.plan import REFERENCE, Entry, Plan, chosen, default_folder
from aarlab.baselines.pool import Failure
from aarlab.baselines.students import StudentChoice, choice
from aarlab.errors import InputError, UnknownName
from aarlab.problems.measure import Truth
from aarlab.records import Estimate
from aarlab.records import Measured as Mean
from aarlab.w2s import methods
from aarlab.w2s.methods import About

NOT_HERE = """
from aarlab.errors import NotApplicable

def run(task, seed):
    raise NotApplicable("this student writes no text")
"""
BROKEN = """
def run(task, seed):
    return [1 / (1 - seed)] * len(task.test)
"""
DEADLY = """
import os, signal

def run(task, seed):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def entry(name: str, source: str, claim: str = "") -> Entry:
    return Entry(About(name, "other", "made up", f"What {name} does.", claim), source)


def plan_of(folder: Path, **sources: str) -> Plan:
    """A plan over the toy pack's feedback and record tasks: the hard-label baseline and some sources."""
    entries = [Entry(methods.about(REFERENCE), methods.source(REFERENCE))]
    entries += [entry(name.replace("_", "-"), source) for name, source in sources.items()]
    problem = toy.make_pack(folder) if not folder.is_dir() else toy.problems.load(toy.name(), folder=folder)
    return Plan((problem,), tuple(entries), ("feedback", "record"), 2, StudentChoice())


def refused(*words: str, **flags: object) -> None:
    with pytest.raises(InputError) as error:
        command.run(**{"problems": [], "seeds": 2, **flags})  # type: ignore[arg-type]
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"problems": ["w2s-nope"]}, ("w2s-nope", "w2s-math")),
        ({"methods": "weak-label"}, ("weak-label", "weak-labels-hard")),
        ({"tasks": "record-moon"}, ("record-moon", "feedback")),
        ({"student": "oracle"}, ("oracle", "probe")),
        ({"seeds": 1}, ("--seeds", "1", "2")),
        ({"items": -5}, ("--items", "-5")),
        ({"epochs": 2.0}, ("--epochs", "lora")),
        ({"workers": 0, "methods": REFERENCE}, ("--workers", "0")),
    ],
)
def test_wrong_flags_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: dict, words: tuple) -> None:
    """One sentence with the value and what would be right; nothing is written."""
    monkeypatch.chdir(tmp_path)
    refused(*words, **flags)
    assert not list(tmp_path.iterdir())


def test_a_part_never_replaces_the_whole_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only all methods on all tasks with 20 seeds go to docs, and only in a checkout."""
    monkeypatch.chdir(tmp_path)
    whole = chosen([], [], [], 20, StudentChoice())
    assert default_folder(whole) == Path("results")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "src/aarlab").mkdir(parents=True)
    assert default_folder(whole) == Path("docs")
    for part in (
        chosen([], [], [], 3, StudentChoice()),
        chosen(["w2s-math"], [], [], 20, StudentChoice()),
        chosen([], [REFERENCE], [], 20, StudentChoice()),
        chosen([], [], ["feedback"], 20, StudentChoice()),
    ):
        assert default_folder(part) == Path("results")


def test_the_command_of_a_plan_gives_the_plan() -> None:
    """What the page tells to run is what was run."""
    assert chosen([], [], [], 20, StudentChoice()).command() == "aarlab baselines --seeds 20"
    some = chosen(["w2s-math"], [REFERENCE], ["feedback"], 3, choice("lora", items=300, epochs=2))
    assert some.command() == (
        "aarlab baselines w2s-math --seeds 3 --methods weak-labels-hard --tasks feedback "
        "--student lora --model smollm2-135m --items 300 --epochs 2"
    )


def test_multiplied_out_features_are_the_features(tmp_path: Path) -> None:
    """Exactly: a table must not depend on how the harness keeps a task in memory."""
    inputs = Truth.load(toy.make_pack(tmp_path / "pack").folder, "feedback").inputs
    rows = np.array([5, 0, 5, 17])
    for layer in inputs.layers:
        np.testing.assert_array_equal(measure.dense(inputs).features(rows, layer), inputs.features(rows, layer))


def test_outcomes_are_the_accuracies_of_measure(tmp_path: Path) -> None:
    """Seed by seed the same test accuracy as `problems.measure`, items in the order of the task's rows."""
    folder = toy.make_pack(tmp_path / "pack").folder
    truth = Truth.load(folder, "feedback")
    found = list(measure.outcomes(measure.load(folder, "feedback"), methods.source(REFERENCE), [0, 3], None))
    from aarlab.w2s.methods import weak_labels_hard

    for outcome in found:
        assert outcome.correct.mean() == truth.accuracy(weak_labels_hard.run, outcome.seed)
    always = list(measure.outcomes(truth, toy.CONSTANT.format(value=0.9), [0, 1], None))
    for outcome in always:
        np.testing.assert_array_equal(outcome.correct, truth.labels[truth.is_test] > 0)
    ceiling = list(measure.outcomes(truth, "", [0, 1], None))
    assert np.mean([o.correct.mean() for o in ceiling]) == pytest.approx(truth.ceiling(2).mean, abs=1e-5)


def test_a_slice_of_a_task_keeps_whole_groups(tmp_path: Path) -> None:
    """About so many items, and no group is cut."""
    folder = toy.make_pack(tmp_path / "pack").folder
    whole, part = Truth.load(folder, "feedback"), measure.load(folder, "feedback", 100)
    assert 80 <= len(part.labels) <= 120
    sizes = dict(zip(*np.unique(whole.inputs.groups, return_counts=True), strict=True))
    for group, size in zip(*np.unique(part.inputs.groups, return_counts=True), strict=True):
        assert size == sizes[group]


def test_an_outcome_survives_its_line() -> None:
    """Packed bits come back as they were, whatever their number."""
    rng = np.random.default_rng(0)
    for items in (1, 7, 8, 1203):
        outcome = Outcome(3, rng.random(items) < 0.6, 0.25)
        again = Outcome.parse(outcome.line())
        np.testing.assert_array_equal(again.correct, outcome.correct)
        assert (again.seed, again.cpu_seconds) == (3, 0.25)


def test_a_torn_line_is_measured_again(tmp_path: Path) -> None:
    """What was being written when the writer died does not count, and does not spoil what follows."""
    plan = plan_of(tmp_path / "pack")
    cache, run = Cache(tmp_path / "cache", plan), next(plan.runs())
    bits = np.ones(9, bool)
    for seed in (0, 1):
        cache.add(run, Outcome(seed, bits, 0.1))
    text = cache.path(run).read_text()
    cache.path(run).write_text(text[:-30])
    assert set(cache.read(run)) == {0}
    cache.add(run, Outcome(1, bits, 0.1))
    cache.add(run, Outcome(2, bits, 0.1))
    assert set(cache.read(run)) == {0, 1, 2}


def test_the_key_hangs_on_code_and_not_on_words() -> None:
    """Comments and docstrings change nothing; a method's code, and what it imports, does."""
    plain = "from aarlab.w2s.parts import labels\n\ndef run(task, seed):\n    return labels.own(task.test)\n"
    worded = '"""A docstring."""\n' + plain.replace("    return", '    """Another."""\n    # why\n    return')
    assert code(plain, "probe") == code(worded, "probe")
    assert code(plain, "probe") != code(plain.replace("own(", "zero_shot("), "probe")
    assert code(plain, "probe") != code(plain.replace("labels", "finish"), "probe")


def test_failures_are_rows_and_end_nothing(tmp_path: Path) -> None:
    """Not applicable, an exception and a killed process: each is a row that says so; the others are measured."""
    plan = plan_of(tmp_path / "pack", not_here=NOT_HERE, broken=BROKEN, deadly=DEADLY, soft=toy.LEARNER)
    found = measure_all(plan, Cache(tmp_path / "cache", plan), workers=2)
    made = table.table(plan, found)
    rows = {row["method"]: row for row in made["problems"][0]["rows"]}
    assert rows["not-here"]["missing"]["feedback"] == {
        "status": "not applicable", "why": "this student writes no text",
    }  # fmt: skip
    assert rows["broken"]["missing"]["feedback"] == {
        "status": "failed", "why": "ZeroDivisionError: division by zero",
    }  # fmt: skip
    assert "-9" in rows["deadly"]["missing"]["record-one"]["why"]
    assert len(rows["soft"]["tasks"]) == len(rows[REFERENCE]["tasks"]) == 3
    assert {key[2] for key in found.failed} == {"broken", "deadly"}
    assert found.peak_mb > 50
    text = page.render(made)
    assert "not applicable: this student writes no text" in text
    assert "failed: ZeroDivisionError: division by zero" in text
    assert "-9" in write.text(made) or "failed" in write.text(made)
    again = measure_all(plan, Cache(tmp_path / "cache", plan), workers=1)
    assert again.measured_now == 0  # what failed is tried again, what was measured is not
    assert again.failures.keys() == found.failures.keys()
    assert again.outcomes.keys() == found.outcomes.keys()


def test_only_a_changed_method_is_measured_again(tmp_path: Path) -> None:
    """The second run measures nothing, a third with one method changed only that one; --fresh-cache everything."""
    first = plan_of(tmp_path / "pack", mine=toy.LEARNER)
    cache = Cache(tmp_path / "cache", first)
    one = measure_all(first, cache, workers=1)
    assert one.measured_now == 2 * 2 * 3
    assert measure_all(first, cache, workers=1).measured_now == 0
    changed = plan_of(tmp_path / "pack", mine=toy.SHARPER.format(margin=0.2))
    assert measure_all(changed, cache, workers=1).measured_now == 2 * 3
    assert measure_all(first, cache, workers=1).measured_now == 0  # the old version is still known
    more = replace(first, seeds=3)
    assert measure_all(more, cache, workers=1).measured_now == 2 * 3
    again = measure_all(first, cache, workers=1, fresh=True)
    assert again.measured_now == 2 * 2 * 3
    for key in one.outcomes:
        for a, b in zip(one.outcomes[key], again.outcomes[key], strict=True):
            np.testing.assert_array_equal(a.correct, b.correct)


def baselines(folder: Path, *argv: str) -> list[str]:
    names = "weak-labels-hard,weak-labels-soft"
    return [
        sys.executable, "-m", "aarlab", "baselines", "w2s-code", "--methods", names, "--tasks", "feedback",
        "--seeds", "20", "--workers", "2", "--out", str(folder / "out"), "--cache", str(folder / "cache"), *argv,
    ]  # fmt: skip


def kept(folder: Path) -> int:
    return sum(f.read_text().count("\n") for f in (folder / "cache").rglob("*.jsonl"))


def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    """kill -9 after some seeds: the workers end too, and the second start measures only what is missing."""
    process = subprocess.Popen(baselines(tmp_path), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while kept(tmp_path) < 5:
        assert process.poll() is None
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    psutil.wait_procs(workers, timeout=20)
    assert not any(w.is_running() and "spawn_main" in " ".join(w.cmdline()) for w in workers)
    known = kept(tmp_path)
    assert known < 40
    found = subprocess.run(baselines(tmp_path, "--json"), capture_output=True, text=True, check=True)
    cost = json.loads(found.stdout)["cost"]
    assert cost["runs"] == 40
    assert cost["measured_now"] == 40 - known
    assert json.loads((tmp_path / "out/results.json").read_text()) == json.loads(found.stdout)
    assert (tmp_path / "out/results.svg").read_text().startswith("<svg")


def measured(plan: Plan, right: dict[str, float], failures: dict | None = None) -> Measured:
    """Outcomes with given chances to be right, the same luck for all methods."""
    found = Measured(failures=failures or {})
    for run in plan.runs():
        if _key(run) in found.failures:
            continue
        items = run.problem.tasks[run.task].test_items
        rng = [np.random.default_rng([len(run.task), seed]) for seed in range(plan.seeds)]
        found.outcomes[_key(run)] = [
            Outcome(seed, rng[seed].random(items) < right[run.method], 0.1) for seed in range(plan.seeds)
        ]
    return found


def test_the_table_tells_better_from_worse(tmp_path: Path) -> None:
    """Rows by PGR on feedback; leads have the right sign; the reference has no lead on itself."""
    plan = replace(plan_of(tmp_path / "pack", better="", worse=""), seeds=8)
    floor = plan.problems[0].tasks["feedback"].floor.mean
    made = table.table(plan, measured(plan, {REFERENCE: floor + 0.02, "better": 0.99, "worse": 0.3}))
    rows = made["problems"][0]["rows"]
    assert [r["method"] for r in rows] == ["better", REFERENCE, "worse"]
    assert made["comparisons"] == 2
    better, plain, worse = rows
    for role in ("feedback", "record"):
        assert better[role]["difference"]["low"] > 0 > worse[role]["difference"]["high"]
        assert plain[role]["difference"] is None
        assert better[role]["pgr"]["low"] <= better[role]["pgr"]["mean"] <= better[role]["pgr"]["high"]
    assert better["open"] is None
    assert worse["notes"] == ["below hard weak labels on feedback and record"]
    assert better["tasks"]["feedback"]["accuracies"] == pytest.approx([0.99] * 8, abs=0.05)


def test_without_a_gap_pgr_is_undefined_and_accuracy_stays(tmp_path: Path) -> None:
    """A ceiling that is not above the floor: said so, no PGR, never infinite."""
    plan = plan_of(tmp_path / "pack")
    problem = plan.problems[0]
    flat = replace(problem.tasks["feedback"], ceiling=problem.tasks["feedback"].floor)
    plan = replace(plan, problems=(replace(problem, tasks={**problem.tasks, "feedback": flat}),))
    made = table.table(plan, measured(plan, {REFERENCE: 0.7}))
    row = made["problems"][0]["rows"][0]
    assert row["feedback"]["pgr"] is None
    assert row["feedback"]["accuracy"]["mean"] == pytest.approx(0.7, abs=0.1)
    assert row["record"]["pgr"] is not None
    assert "PGR is undefined" in page.render(made)
    assert page.chart(made) is not None


def test_another_student_is_measured_against_its_own_ceiling(tmp_path: Path) -> None:
    """On a slice, floor and ceiling come from the slice, and a method equal to the ceiling has PGR 1."""
    plan = replace(plan_of(tmp_path / "pack", truth=""), student=StudentChoice(items=200))
    found = measure_all(plan, Cache(tmp_path / "cache", plan), workers=1)
    made = table.table(plan, found)["problems"][0]
    rows = {row["method"]: row for row in made["rows"]}
    assert rows["truth"]["feedback"]["pgr"]["mean"] == pytest.approx(1, abs=1e-3)
    assert made["tasks"][0]["ceiling"]["seeds"] == 2
    assert 80 <= made["tasks"][0]["test_items"] <= 120


def test_the_mean_over_tasks_needs_all_tasks(tmp_path: Path) -> None:
    """A method that failed on one record task has no record mean; its arms add in quadrature where it has."""
    plan = plan_of(tmp_path / "pack", half="")
    failures = {(plan.problems[0].name, "record-two", "half"): Failure("ValueError: no")}
    made = table.table(plan, measured(plan, {REFERENCE: 0.7, "half": 0.7}, failures))
    half = next(r for r in made["problems"][0]["rows"] if r["method"] == "half")
    assert half["record"] is None
    assert half["feedback"] is not None
    both = table.combine([Estimate(0.2, 0.1, 0.4, 5, 10), Estimate(0.4, 0.1, 0.6, 3, 30)])
    assert both is not None
    assert (both.mean, both.seeds, both.items) == (pytest.approx(0.3), 3, 40)
    assert both.low == pytest.approx(0.3 - np.hypot(0.1, 0.3) / 2)


@pytest.mark.parametrize(
    ("claim", "problem", "said"),
    [
        ("PGR 0.23 on chat preference, 0.30 on math, 0.19 on code", "w2s-pref", 0.23),
        ("PGR 0.23 on chat preference, 0.30 on math, 0.19 on code", "w2s-math", 0.30),
        ("PGR 0.23 on chat preference, 0.30 on math, 0.19 on code", "w2s-code", 0.19),
        ("PGR 0.62 on chat preference", "w2s-code", None),
        ("PGR 0.5", "w2s-code", 0.5),
        ("PGR near 0.8 on NLP tasks, where weak labels give about 0.25", "w2s-math", None),
        ("PGR -0.04 on chat preference, 0.26 on math", "w2s-pref", -0.04),
        ("helps most where teachers doubt 0.3 of the items", "w2s-math", None),
        ("", "w2s-math", None),
    ],
)
def test_claims_are_read(claim: str, problem: str, said: float | None) -> None:
    """The number of the problem's own domain, or a number for all, or none."""
    assert claims.claimed(claim, problem) == said


def test_claims_of_the_shipped_methods_are_read() -> None:
    """Every header that states a PGR for a domain of ours gives that problem a number."""
    for name in methods.names():
        claim = methods.about(name).claim
        for problem, words in claims.DOMAINS.items():
            if "PGR" in claim and any(word in claim for word in words):
                assert claims.claimed(claim, problem) is not None, name


def test_a_note_needs_the_whole_interval() -> None:
    """Below a claim only if even the upper end is; below weak labels likewise; the reference is not compared."""
    low, wide = Estimate(0.1, 0.0, 0.2, 5, 9), Estimate(0.1, -0.1, 0.3, 5, 9)
    under, none = Estimate(-0.2, -0.3, -0.1, 5, 9), {"feedback": None, "record": None}
    said = "PGR 0.25 on math"
    assert claims.notes("a", "w2s-math", said, low, none) == ["below the PGR 0.25 that its source reports"]
    assert claims.notes("a", "w2s-math", said, wide, none) == []
    assert claims.notes("a", "w2s-pref", said, low, none) == []
    worse = {"feedback": None, "record": under}
    assert claims.notes("a", "w2s-pref", "", low, worse) == ["below hard weak labels on record"]
    assert claims.notes(REFERENCE, "w2s-pref", "", low, worse) == []


def test_a_page_is_made_of_the_json_alone(tmp_path: Path) -> None:
    """Written files agree: the page rendered from the written JSON is the written page."""
    plan = plan_of(tmp_path / "pack", other="")
    made = table.table(plan, measured(plan, {REFERENCE: 0.7, "other": 0.8}))
    path = write.write(made, tmp_path / "out")
    stored = json.loads((tmp_path / "out/results.json").read_text())
    assert page.render(stored) == path.read_text()
    path.unlink()
    assert write.show(stored, tmp_path / "out", "results") == path
    assert page.render(stored) == path.read_text()
    text = path.read_text()
    for words in ("aarlab baselines", plan.problems[0].data_hash[:16], "Public seeds: 0 to 1", "What other does\\."):
        assert words.replace("\\.", ".") in text.replace("\\.", "."), words
    lora = write.write({**made, "student_name": "lora"}, tmp_path / "out")
    assert lora.name == "results-lora.md"
    assert "results-lora.svg" in lora.read_text()


def test_one_bad_name_is_not_a_crash() -> None:
    """An unknown student is refused before any problem is loaded."""
    with pytest.raises(UnknownName, match="lora"):
        choice("gpt")


def test_the_environment_of_workers_does_not_leak() -> None:
    """Thread limits are set for the children only."""
    before = dict(os.environ)
    with pool._environment({"OMP_NUM_THREADS": "1", "AARLAB_TEST": "x"}):
        assert os.environ["AARLAB_TEST"] == "x"
    assert dict(os.environ) == before


def test_a_ceiling_that_was_not_measured_counts_as_none() -> None:
    """No outcomes: a ceiling of 0, below every floor, so that no PGR is made of it."""
    assert table._mean([]) == Mean(0.0, 0.0, 0)


def test_a_student_that_cannot_be_made_ends_the_run(tmp_path: Path) -> None:
    """No such model is one sentence for the whole run, not a failure of every method."""
    plan = replace(plan_of(tmp_path / "pack"), student=choice("lora", model=str(tmp_path / "no-such-model")))
    with pytest.raises(InputError):
        measure_all(plan, Cache(tmp_path / "cache", plan))
    assert not list((tmp_path / "cache").rglob("*.jsonl"))


@pytest.mark.train
def test_a_fine_tuned_student_has_a_table_of_its_own(tmp_path: Path) -> None:
    """The tiny model through the whole harness: its ceiling is measured on the same slice, and it resumes."""
    flags = {"seeds": 2, "methods": REFERENCE, "tasks": "feedback", "student": "lora", "model": "tiny", "items": 120}
    where = {"cache": tmp_path / "cache", "out": tmp_path / "out"}
    found = command.run(["w2s-math"], **flags, **where)  # type: ignore[arg-type]
    assert found.page.name == "results-lora.md"
    assert not found.failures
    task = found.table["problems"][0]["tasks"][0]
    assert task["ceiling"]["seeds"] == 2
    assert found.table["cost"]["measured_now"] == 2 * 2
    again = command.run(["w2s-math"], **flags, **where)  # type: ignore[arg-type]
    assert again.table["cost"]["measured_now"] == 0
    assert again.table["problems"] == found.table["problems"]
