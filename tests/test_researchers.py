"""Rules of researchers: memory that survives a kill, findings as files, proposals, fair comparisons."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.errors import UnknownName
from aarlab.researchers import findings
from aarlab.researchers.bench import Bench, Entry
from aarlab.researchers.directions import DIRECTIONS, MOST_FITS, UNDIRECTED, crossed, direction, mutated, simpler
from aarlab.researchers.journal import Journal
from aarlab.researchers.proposals import Proposal, Proposer
from aarlab.researchers.search import Clock
from aarlab.w2s import toy
from aarlab.w2s.compose import Recipe


def test_a_journal_remembers_across_processes(tmp_path: Path) -> None:
    """What was added is there when the file is opened again, in order."""
    one = Journal(tmp_path / "j.jsonl")
    one.add("submit", key="a", body={"x": 1})
    one.add("submitted", key="a", id=4)
    one.add("submit", key="b", body={})
    one.close()
    two = Journal(tmp_path / "j.jsonl")
    assert [e["key"] for e in two.of("submit")] == ["a", "b"]
    assert [e["key"] for e in two.unconfirmed("submit", "submitted")] == ["b"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400))
def test_a_torn_journal_keeps_every_whole_line(cut: int) -> None:
    """Wherever a kill cuts the file, whole lines before the cut survive and writing goes on."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j.jsonl"
        one = Journal(path)
        for number in range(8):
            one.add("trial", number=number, text="é" * number)
        one.close()
        data = path.read_bytes()
        path.write_bytes(data[:cut])
        whole = data[:cut].count(b"\n") if cut < len(data) else 8
        two = Journal(path)
        kept = len(two.events)
        assert whole <= kept <= whole + 1  # a cut just before a line's end leaves the line readable
        two.add("more")
        two.close()
        assert [e["event"] for e in Journal(path).events] == ["trial"] * kept + ["more"]


class Forum:
    """A forum with what the test puts into it."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []
        self.scored: list[dict[str, Any]] = []
        self.fetched: list[int] = []

    def posts(
        self, search: str = "", kind: str | None = None, since: int = 0, limit: int = 100
    ) -> list[dict[str, Any]]:
        return [p for p in self.written if p["id"] > since]

    def methods(self) -> list[dict[str, Any]]:
        return self.scored

    def method(self, number: int) -> dict[str, Any]:
        self.fetched.append(number)
        if number == 99:
            raise UnknownName("there is no method 99")
        return {"source": f"# method {number}"}


def test_findings_become_files_once(tmp_path: Path) -> None:
    """Each post and method is written once, with what the lab verified beside it; a withdrawn method is skipped."""
    forum = Forum()
    forum.written = [
        {"id": 3, "kind": "result", "title": "It works / ../really", "body": "Yes.", "researcher": "ada",
         "submission": 7, "parent": None,
         "verified": {"id": 7, "name": "mix", "answer": "new record 0.745", "status": "scored"}},
    ]  # fmt: skip
    forum.scored = [
        {"id": 7, "researcher": "ada", "name": "mix", "record_pgr": 0.5},
        {"id": 99, "researcher": "x", "name": "y"},
    ]
    first = findings.sync(forum, tmp_path)
    assert [m.id for m in first.methods] == [7]
    assert first.methods[0].source == "# method 7"
    page = next((tmp_path / "findings").glob("*.md"))
    assert page.name == "00003-result-it-works-really.md"
    assert "new record 0.745" in page.read_text()
    forum.fetched.clear()
    again = findings.sync(forum, tmp_path)
    assert (again.posts, again.methods) == ([], [])
    assert forum.fetched == [99]


def test_there_are_nine_directions_that_start_apart() -> None:
    """Nine keys; no two have the same first recipe; an unknown key is undirected."""
    assert len(DIRECTIONS) == 9
    assert len({d.starts[0].key() for d in DIRECTIONS.values()}) >= 8
    assert direction("") is direction("something else") is UNDIRECTED


def test_first_ideas_are_cheap_enough_to_try() -> None:
    """Every first recipe trains few heads and is written as a file."""
    for one in (*DIRECTIONS.values(), UNDIRECTED):
        for recipe in one.starts:
            assert recipe.fits() <= MOST_FITS
            assert Recipe.from_source(recipe.source()) == recipe.canonical()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(DIRECTIONS)))
def test_variations_are_valid_affordable_and_new(seed: int, key: str) -> None:
    """A mutation differs from its origin; children and mutations stay within cost."""
    rng = random.Random(seed)
    one, other = (r.canonical() for r in direction(key).starts[:2])
    changed = mutated(one, rng)
    assert changed != one
    assert changed.fits() <= MOST_FITS
    assert crossed(one, other, rng).fits() <= MOST_FITS


def test_simpler_takes_one_part_away_at_a_time() -> None:
    """Each ablation lacks the named part and has nothing more than the whole."""
    whole = Recipe(labels="mixture", denoise="confident", train="bagged", blend=0.4, ridge=3.0)
    parts = dict(simpler(whole))
    assert set(parts) == {"denoise", "train", "blend", "ridge"}
    assert parts["denoise"].denoise == "none"
    assert all(left.parts() <= whole.parts() for left in parts.values())


def test_a_proposer_starts_with_its_direction_and_never_repeats() -> None:
    """First the first ideas; while narrow, samples stay inside the menus; nothing is proposed twice."""
    proposer = Proposer(direction("posterior"), seed=1)
    seen = []
    for number in range(30):
        found = proposer.next(wide=False)
        assert found.recipe.key() not in {p.recipe.key() for p in seen}
        seen.append(found)
        proposer.tell(found, number / 30)
    starts = [r.canonical() for r in direction("posterior").starts]
    assert [p.recipe for p in seen[:3]] == starts
    sampled = [p for p in seen if p.why == "sampled"]
    assert sampled
    assert all(p.recipe.labels == "posterior" for p in sampled)


def test_a_wide_proposer_leaves_its_direction() -> None:
    """Later in a run the borders no longer count."""
    proposer = Proposer(direction("posterior"), seed=2)
    for number in range(25):
        found = proposer.next(wide=True)
        proposer.tell(found, random.Random(number).random())
    assert len({p.recipe.labels for _, p in proposer.best(99)}) > 1


def test_a_proposer_learns_what_is_good() -> None:
    """With a score that rewards one choice, later samples choose it more often than chance would."""
    proposer = Proposer(UNDIRECTED, seed=3)
    chosen = []
    for _ in range(70):
        found = proposer.next(wide=True)
        proposer.tell(found, float(found.recipe.view == "each"))
        chosen.append(found.recipe.view == "each")
    assert sum(chosen[-30:]) > 15


def test_adopted_methods_come_next_with_their_parent() -> None:
    """Another's method is tried as it is and varied twice; all three name the submission they build on."""
    proposer = Proposer(UNDIRECTED, seed=4)
    for _ in UNDIRECTED.starts:
        proposer.tell(proposer.next(wide=True), 0.1)
    other = Recipe(labels="zero_shot", blend=0.5).canonical()
    proposer.adopt(other, 17)
    found = [proposer.next(wide=True) for _ in range(3)]
    assert found[0].recipe == other
    assert [p.parent for p in found] == [17, 17, 17]


def test_cheap_looks_first() -> None:
    """A recipe below the median of first looks is not measured further; a good one gets every seed on both tasks."""
    bench = Bench(toy.make("math", groups=120), 10)
    bad = Recipe(labels="soft")
    good = Recipe(labels="mixture", logic=1.0)
    bench.try_out(good)
    assert bench.best()[0].recipe == good
    assert len(bench.best()[0].scores) == 6
    entry = bench.try_out(bad)
    assert entry.scores == []
    bench.try_out(bad, thorough=True)
    gain, error = bench.difference(bench.best()[0], entry)
    assert gain > 0.2
    assert 0 < error < gain


def test_of_equals_the_simpler_is_better() -> None:
    """Each part costs a little: the same scores with more parts rank lower."""
    plain, rich = Recipe(labels="mixture"), Recipe(labels="mixture", denoise="confident", view="each")
    scores = [0.5] * 6
    assert Entry(plain, 0.5, scores).value > Entry(rich, 0.5, scores).value


def test_the_clock_follows_the_lab_and_survives_a_restart(tmp_path: Path) -> None:
    """seconds_left of the lab decides; without it, the time worked so far, earlier processes included."""
    clock = Clock(tmp_path, minutes=1.0)
    assert clock.share() < 0.05
    clock.hear({"seconds_left": 200.0})
    assert clock.share() == pytest.approx(0, abs=0.02)
    clock.hear({"seconds_left": 50.0})
    assert clock.share() == pytest.approx(0.75, abs=0.02)
    (tmp_path / "clock.txt").write_text("90.0 200.0 1\n")
    later = Clock(tmp_path, minutes=1.0)
    assert later.share() == pytest.approx(0.45, abs=0.02)
    later.hear({"seconds_left": 20.0})
    assert later.share() == pytest.approx(0.9, abs=0.02)
    later.hear({"seconds_left": None})
    assert later.share() == pytest.approx(0.9, abs=0.02)
    assert Proposal(Recipe(), "x").parent is None
