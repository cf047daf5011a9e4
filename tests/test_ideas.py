"""Ideas: families by rules, declarations and readers; entropy and its bands; complexity; the section of the report."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import simulated_run
from aarlab.errors import Infrastructure, InputError
from aarlab.ideas import complexity, entropy, families
from aarlab.ideas.code import RULES, classify_code, reasons
from aarlab.ideas.gather import Idea, agreement, gather, unread
from aarlab.ideas.words import SIGNS, classify_text
from aarlab.records import IdeaRow, Post, Submission
from aarlab.reports import ideas as section
from aarlab.reports import report
from aarlab.reports.results import measure
from aarlab.w2s import methods
from aarlab.w2s.compose import Recipe

DIFFER = {"em-posterior": "confidence weighting", "reverse-kl-distillation": "loss function"}
"""Shipped methods that rules on their code class otherwise than their header does."""

HEAD = "import numpy as np\n\n\ndef run(task, seed):\n"


def body(*lines: str) -> str:
    return HEAD + "\n".join(f"    {line}" for line in lines) + "\n"


# Rules on code


@pytest.mark.parametrize("name", methods.names())
def test_rules_find_the_family_of_every_shipped_method(name: str) -> None:
    """Without its comments and docstrings a shipped method lands where its header says, but for two."""
    bare = re.sub(r"^#.*$", "", methods.source(name), flags=re.MULTILINE)
    assert classify_code(bare) == DIFFER.get(name, methods.about(name).family)


def test_the_docs_show_what_the_rules_say_of_the_shipped_methods() -> None:
    """The table of docs/ideas.md is the rules' own output."""
    page = (Path(__file__).parents[1] / "docs" / "ideas.md").read_text()
    for name in methods.names():
        assert f"| {name} | {methods.about(name).family} | {classify_code(methods.source(name))} |" in page, name


@pytest.mark.parametrize(
    ("family", "recipe"),
    [
        ("other", Recipe()),
        ("other", Recipe(labels="hard", ridge=3.0)),
        ("unsupervised elicitation", Recipe(labels="zero_shot", logic=1.0, centre=True)),
        ("ensemble", Recipe(labels="mixture")),
        ("ensemble", Recipe(labels="mixture", denoise="relabelled")),
        ("ensemble", Recipe(view="each")),
        ("ensemble", Recipe(train="bagged")),
        ("ensemble", Recipe(blend=0.4)),
        ("confidence weighting", Recipe(labels="posterior")),
        ("confidence weighting", Recipe(denoise="learnable")),
        ("data filtering", Recipe(labels="mixture", denoise="confident")),
        ("data filtering", Recipe(denoise="agreeing")),
        ("self-training", Recipe(train="self_training")),
        ("self-training", Recipe(denoise="relabelled")),
        ("model internal", Recipe(components=32)),
        ("model internal", Recipe(view="narrow")),
    ],
)
def test_recipes_are_classed_by_the_parts_they_use(family: str, recipe: Recipe) -> None:
    """What a search researcher hands in has the family of its rarer part."""
    assert classify_code(recipe.source()) == family


@pytest.mark.parametrize(
    ("family", "lines"),
    [
        ("self-training", (
            "first = task.student.fit(task.train, task.weak_labels)",
            "own = (first.predict(task.train) > 0.5) * 1.0",
            "return task.student.fit(task.train, own).predict(task.test)",
        )),
        ("ensemble", (
            "said = []",
            "for s in range(5):",
            "    rows = np.random.default_rng(s).choice(len(task.train), 500)",
            "    said.append(task.student.fit(task.train[rows], task.weak_labels[rows]).logits(task.test))",
            "return 1 / (1 + np.exp(-np.mean(said, 0)))",
        )),
        ("data filtering", (
            "keep = np.flatnonzero(np.abs(task.weak_labels - 0.5) > 0.3)",
            "return task.student.fit(task.train[keep], task.weak_labels[keep]).predict(task.test)",
        )),
        ("confidence weighting", (
            "w = np.abs(2 * task.weak_labels - 1)",
            "return task.student.fit(task.train, task.weak_labels, w).predict(task.test)",
        )),
        ("confidence weighting", (
            "from sklearn.linear_model import LogisticRegression",
            "x, y = task.student.features(task.train, name), task.weak_labels > 0.5",
            "m = LogisticRegression().fit(x, y, sample_weight=np.abs(task.weak_labels - 0.5))",
            "return m.predict_proba(task.student.features(task.test, name))[:, 1]",
        )),
        ("ensemble", (
            "mixed = 0.5 * task.weak_labels + 0.5 * (task.student.zero_shot(task.train) > 0)",
            "return task.student.fit(task.train, mixed).predict(task.test)",
        )),
        ("curriculum", (
            "head = task.student.fit(task.train[:100], task.weak_labels[:100])",
            "return task.student.fit(task.train, task.weak_labels, start=head).predict(task.test)",
        )),
        ("evolutionary", (
            "head = task.student.fit(task.train, task.weak_labels)",
            "v = head.parameters()",
            "for _ in range(50):",
            "    trial = task.student.fit(task.train, task.weak_labels).with_parameters(v + 0.1)",
            "return trial.predict(task.test)",
        )),
        ("model internal", (
            "x = task.student.features(task.train, 'layer-8')",
            "d = x[task.weak_labels > 0.5].mean(0) - x[task.weak_labels <= 0.5].mean(0)",
            "return 1 / (1 + np.exp(-task.student.features(task.test, 'layer-8') @ d))",
        )),
    ],
)  # fmt: skip
def test_methods_written_by_hand_are_classed_by_what_they_do(family: str, lines: tuple[str, ...]) -> None:
    """No part of the library is needed for a rule to fire."""
    assert classify_code(body(*lines)) == family


def test_what_is_no_python_has_no_family_and_nothing_is_run(tmp_path: Path) -> None:
    """A file that does not parse, or that nests too deeply, is not classed; reading executes nothing."""
    assert classify_code("def run(task:") is None
    assert classify_code("x = " + "(" * 5000 + ")" * 5000) is None
    assert classify_code("x = " + "-" * 100_000 + "1") is None
    touched = tmp_path / "touched"
    assert classify_code(f"open({str(touched)!r}, 'w')\n") == "other"
    assert not touched.exists()


def test_the_words_of_a_file_do_not_class_it() -> None:
    """A docstring and comments that name another family change nothing."""
    plain = methods.source("weak-labels-soft")
    loud = '# family: evolutionary\n"""Distillation with an evolutionary ensemble."""\n' + plain
    assert classify_code(loud) == classify_code(plain) == "other"


def test_the_deciding_rule_is_named() -> None:
    """`reasons` says which rules fire, and the first is the one that counts."""
    found = reasons(Recipe(labels="mixture", denoise="confident").source())
    assert found[0].startswith("data filtering: ")
    assert any(f.startswith("ensemble: ") for f in found)
    assert {family for family, _, _ in RULES} == set(families.FAMILIES)


# Words, declarations, readers


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("self-training", "Pseudo-labels: let the student relabel the train set with its own predictions."),
        ("data filtering", "I filter the items and keep only the surest half."),
        ("unsupervised elicitation", "The zero-shot opinion needs no teacher: elicit what it already knows."),
        ("curriculum", "A curriculum: easy items first, the rest later."),
        ("evolutionary", "Mutate the best recipe and let evolution decide."),
        ("model internal", "A truth direction in the hidden states of layer 12."),
        (None, "The queue is long today."),
        (None, "Distillation or a curriculum?"),
    ],
)
def test_posts_are_classed_by_their_words_where_these_agree(family: str | None, text: str) -> None:
    """One family ahead of all others, or none."""
    assert classify_text(text) == family


def test_a_post_with_a_recipe_has_the_recipes_family() -> None:
    """A recipe in a post counts for more than the words around it; a broken one counts for nothing."""
    recipe = Recipe(labels="posterior")
    assert classify_text(f"Mutation and evolution!\n\nRecipe: `{recipe.to_json()}`\n") == "confidence weighting"
    assert classify_text('Mutation and evolution!\n\nRecipe: `{"labels": "nonsense"}`\n') == "evolutionary"


def test_every_family_but_other_has_words() -> None:
    assert set(SIGNS) == set(families.FAMILIES) - {"other"}


def test_declarations_are_read_however_they_are_spelt() -> None:
    """Capitals, dashes and underscores do not matter; an unknown name is an error that lists the known ones."""
    assert families.known("Self_Training") == families.known("self training") == "self-training"
    assert families.known("data-filtering") == "data filtering"
    with pytest.raises(InputError, match="no family 'magic'; the families are self-training, ensemble"):
        families.known("magic")
    assert families.declared("# name: x\n# family: Loss-Function\n\nx = 1\n") == "loss function"
    assert families.declared("# family: magic\n") is None
    assert families.declared('"""Text."""\n# family: ensemble\n') is None


@pytest.mark.parametrize(
    ("answer", "family"),
    [
        ("family: ensemble", "ensemble"),
        ("**Family:** `Data filtering`.", "data filtering"),
        ("It mixes two opinions.\nfamily: ensemble\n", "ensemble"),
        ("I would say curriculum.", "curriculum"),
        ("self-training or ensemble", None),
        ("family: magic", None),
        ("", None),
    ],
)
def test_a_readers_answer_is_one_of_the_eleven_or_nothing(answer: str, family: str | None) -> None:
    assert families.read("x = 1", lambda prompt: answer) == family


def test_the_prompt_names_every_family_and_quotes_the_idea_as_data() -> None:
    """Every line of the idea is quoted, and a long one is cut."""
    asked = families.prompt("x = 1\nfamily: evolutionary\n" + "y" * 20_000)
    assert all(f"- {name}: " in asked for name in families.FAMILIES)
    assert "\nfamily: evolutionary" not in asked
    assert "> family: evolutionary" in asked
    assert len(asked) < families.MOST_CHARACTERS + 3000


# Gathering


def submission(number: int, who: str = "ada", at: float = 10.0) -> Submission:
    return Submission(number, who, f"m{number}", "scored", "0" * 64, "0" * 64, at)


def test_everybodys_word_is_kept_and_the_researchers_counts_first() -> None:
    """Declaration before language model before rules; what nobody can class is left out."""
    source = {1: Recipe(labels="mixture").source(), 2: "def run(", 3: Recipe(view="each").source()}
    stored = [
        IdeaRow("submission", 1, "self-training", "researcher"), IdeaRow("submission", 1, "other", "llm"),
        IdeaRow("submission", 3, "other", "llm"), IdeaRow("submission", 3, "no such family", "researcher"),
    ]  # fmt: skip
    found = gather([submission(1), submission(2), submission(3)], [], source, stored)
    assert [(i.number, i.family, i.by) for i in found] == [(1, "self-training", "researcher"), (3, "other", "llm")]
    assert found[0].classed == {"researcher": "self-training", "llm": "other", "rules": "ensemble"}
    ruled = gather([submission(1)], [], source, stored, by=("rules",))
    assert [(i.family, i.by) for i in ruled] == [("ensemble", "rules")]
    assert agreement(found) == (0, 1)


def test_a_post_that_cites_a_submission_is_of_its_family() -> None:
    """The submission's code tells more than the post's words; a post alone is classed by its words."""
    source = {1: Recipe(labels="posterior").source()}
    cites = Post(1, "ada", "result", "Evolution!", "mutate", 20.0, submission=1)
    alone = Post(2, "bea", "hypothesis", "Curriculum", "easy items first", 5.0)
    found = gather([submission(1)], [cites, alone], source, start=5.0)
    assert [(i.time, i.form, i.family) for i in found] == [
        (0.0, "hypothesis", "curriculum"), (5.0, "submission", "confidence weighting"),
        (15.0, "result", "confidence weighting"),
    ]  # fmt: skip
    assert [i.proposed for i in found] == [True, True, False]


def test_a_reader_is_shown_only_what_no_model_has_classed() -> None:
    source = {1: "a = 1", 2: "b = 2"}
    posts = [Post(1, "ada", "result", "t", "b", 1.0, submission=1), Post(2, "ada", "hypothesis", "t", "b", 1.0)]
    stored = [IdeaRow("submission", 1, "other", "llm"), IdeaRow("submission", 2, "other", "rules")]
    assert list(unread([submission(1), submission(2)], posts, source, stored)) == [
        ("submission", 2, "b = 2"), ("post", 2, "t\n\nb"),
    ]  # fmt: skip


# Entropy


def idea(time: float, who: str, family: str) -> Idea:
    return Idea(time, who, "submission", 1, family, "rules")


def test_entropy_is_shannons_in_bits() -> None:
    """By hand: all at one, evenly at four, and 4 + 2 + 1 + 1 of eight."""
    assert entropy.bits(np.array([7, 0, 0])) == 0.0
    assert entropy.bits(np.array([2, 2, 2, 2])) == pytest.approx(2.0)
    assert entropy.bits(np.array([4, 2, 1, 1])) == pytest.approx(1.75)
    assert entropy.bits(np.array([[4, 2, 1, 1], [0, 0, 0, 0]])).tolist() == pytest.approx([1.75, 0.0])
    assert entropy.miller_madow(np.array([4, 2, 1, 1])) == pytest.approx(1.75 + 3 / (16 * math.log(2)))


def test_each_researcher_counts_once_with_its_latest_idea() -> None:
    """Later ideas replace earlier ones; old ones go with a window; who has ended is no longer at work."""
    told = [idea(1, "a", "ensemble"), idea(5, "a", "other"), idea(2, "b", "ensemble"), idea(9, "c", "curriculum")]
    assert entropy.at_work(told, 4) == {"a": "ensemble", "b": "ensemble"}
    assert entropy.at_work(told, 5) == {"a": "other", "b": "ensemble"}
    assert entropy.at_work(told, 9, window=5) == {"a": "other", "c": "curriculum"}
    assert entropy.at_work(told, 9, until={"b": 6.0}) == {"a": "other", "c": "curriculum"}


def test_fewer_than_five_researchers_give_no_point() -> None:
    """As in the 2026 study."""
    told = [idea(n, f"r{n}", "ensemble") for n in range(6)]
    found = entropy.curve(told, [2.0, 3.9, 4.0, 5.0])
    assert [(p.time, p.researchers, p.families, p.bits) for p in found] == [(4.0, 5, 1, 0.0), (5.0, 6, 1, 0.0)]
    assert all(p.low == p.high == 0.0 for p in found)


def test_a_band_holds_its_point_and_what_can_be_reached() -> None:
    """Also where every researcher is at a family of its own, which no resample reaches."""
    names = list(families.FAMILIES)
    for own in (names[:9], names[:3] * 3, names[:1] * 5 + names[1:5], names):
        found = entropy.point(0.0, own, np.random.default_rng(1))
        assert 0 <= found.low <= found.bits <= found.high <= math.log2(min(len(own), 11)) + 1e-9
        assert found.corrected >= found.bits - 1e-9
    assert entropy.point(0.0, names[:9], np.random.default_rng(1)).low < math.log2(9) - 0.3


def test_bands_cover_about_as_often_as_they_say() -> None:
    """Fleets of 30 drawn from known shares: the band, widened for the known bias, covers nine times in ten or so."""
    rng = np.random.default_rng(3)
    shares = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
    truth = float(-(shares * np.log2(shares)).sum())
    names, inside = list(families.FAMILIES), 0
    for _ in range(200):
        drawn = rng.choice(5, 30, p=shares)
        p = entropy.point(0.0, [names[i] for i in drawn], np.random.default_rng(0), draws=300)
        shift = p.corrected - p.bits
        inside += p.low + shift <= truth <= p.high + shift
    assert 0.8 <= inside / 200 <= 0.98


def test_a_curve_moves_only_where_families_do() -> None:
    """The same resamples at every moment: no jitter between two moments without an event."""
    told = [idea(n, f"r{n}", list(families.FAMILIES)[n]) for n in range(6)]
    first, second = entropy.curve(told, [10.0, 20.0])
    assert (first.low, first.high) == (second.low, second.high)


# Complexity


def test_complexity_does_not_count_words_and_layout() -> None:
    """Comments, docstrings, blank lines and line breaks change neither measure."""
    short = "def run(task, seed):\n    return task.f(a, b)\n"
    wordy = (
        '"""Words.\n\nMore."""\n\n# note\n\ndef run(task, seed):\n    """Doc."""\n'
        "    return task.f(\n        a,  # why\n        b,\n    )\n"
    )
    assert complexity.complexity(wordy) == complexity.complexity(short)
    assert complexity.complexity(short).lines == 2
    assert complexity.complexity("def run(") is None
    assert complexity.complexity('def f():\n    """Only words."""\n') == complexity.complexity("def f():\n    pass\n")


def test_more_code_is_more_complex() -> None:
    """The evolved method of the study is the longest shipped one by both measures."""
    known = {n: complexity.complexity(methods.source(n)) for n in methods.names()}
    assert max(known, key=lambda n: known[n].lines) == max(known, key=lambda n: known[n].nodes) == "ccs-evolution"
    assert min(known, key=lambda n: known[n].nodes) in ("weak-labels-soft", "weak-labels-hard")


# The report


@pytest.fixture(scope="module")
def thinking() -> report.RunData:
    """A simulated run whose submissions have code of eleven kinds."""
    data = simulated_run.simulate()
    sources = {s.id: methods.source(methods.names()[s.id % len(methods.names())]) for s in data.submissions}
    sizes = {n: found for n, text in sources.items() if (found := complexity.complexity(text))}
    found = gather(data.submissions, data.posts, sources, start=data.run.started)
    return replace(data, ideas=found, complexity=sizes)


@pytest.mark.slow
def test_the_report_has_the_section_in_all_its_forms(thinking: report.RunData, tmp_path: Path) -> None:
    """Charts at both widths, the table, the numbers as data that fit the schema, and a PNG of the entropy."""
    import test_report

    report.render(thinking, tmp_path)
    html, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    data = test_report.check_json(tmp_path)["ideas"]
    own = html.split('<section id="ideas">')[1].split("</section>")[0]
    assert own.count("<svg xmlns") == 6  # three charts, each at two widths
    assert {"entropy of families, bits", "lines of code", "CW"} <= set(re.findall(r"<text[^>]*>([^<]+)</text>", own))
    assert "## Ideas" in text
    assert all(f"| {f['family']} |" in text for f in data["families"])
    assert len(data["entropy"]) > 30
    assert all(p["low"] <= p["bits"] <= p["high"] for p in data["entropy"])
    assert {i["by"] for i in data["ideas"]} == {"researcher"}
    assert data["declared_as_ruled"]["same"] < data["declared_as_ruled"]["both"] == len(data["ideas"])
    assert len(data["complexity"]) == len([1 for s in thinking.submissions if s.status == "scored"])
    assert (tmp_path / "entropy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_section_uses_the_palette_alone(thinking: report.RunData, tmp_path: Path) -> None:
    """Its drawings have dark twins and ids of their own, like all others."""
    from aarlab.reports.figures import PALETTE

    report.render(thinking, tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert set(re.findall(r'(?:fill|stroke)="(#[0-9a-fA-F]{3,6})"', html)) <= set(PALETTE)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_the_section_says_who_classed(thinking: report.RunData) -> None:
    """Declarations and rules are told apart in words."""
    said = " ".join(section.sentences(thinking))
    assert "the researcher's declaration" in said
    assert re.search(r"Rules on the code or words say the same as the declaration for \d+ of \d+\.", said)


def test_a_run_without_ideas_has_an_empty_section(tmp_path: Path) -> None:
    """Nothing to class is no error, and says so."""
    data = simulated_run.simulate(submissions=0, opened=0)
    report.render(data, tmp_path)
    assert "No submission or post could be sorted into a family." in (tmp_path / "report.html").read_text()
    found = json.loads((tmp_path / "report.json").read_text())["ideas"]
    assert (found["entropy"], found["families"], found["ideas"]) == ([], [], [])
    assert section.document(data, measure(data))["by"] == {"researcher": 0, "llm": 0, "rules": 0}


def test_lanes_follow_a_researcher_from_family_to_family() -> None:
    """One stretch for each time at a family, to the end of the run."""
    told = [idea(0, "a", "ensemble"), idea(60, "a", "ensemble"), idea(120, "a", "other")]
    assert list(section._stretches(told, 5.0)) == [("a", 0.0, 2.0, "ensemble"), ("a", 2.0, 5.0, "other")]


# A language model that reads, over real sockets


def test_a_model_classes_what_no_model_has_read_and_keeps_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its word is stored beside the others', asked for once, and a provider that is down costs nothing but itself."""
    pytest.importorskip("inspect_ai")
    from aarlab.llm import reader as llm
    from aarlab.store import Store
    from aarlab.testing import Conversation, ModelServer, Reply
    from toy_lab import ToyLab

    asked: list[str] = []

    def mind(talk: Conversation) -> Reply:
        asked.append(str(talk))
        return Reply("family: curriculum" if len(asked) < 3 else "I cannot say.")

    source = "def run(task, seed):\n    return task.student.fit(task.train, task.weak_labels).predict(task.test)\n"
    with ToyLab(tmp_path / "lab") as lab:
        for n in range(3):
            sent = {"name": f"m{n}", "source": source + f"\n\nX = {n}\n", "family": "ensemble" if n == 0 else ""}
            assert lab.post("/submissions", sent).status_code in (200, 201)
    monkeypatch.setenv("SCRIPTED_API_KEY", "scripted-key")
    with ModelServer(mind=mind) as server:
        read = llm.reader(f"openai-api/scripted/{next(iter(server.models))}", f"{server.url}/v1")
        assert llm.sort_ideas(tmp_path / "lab", read) == (2, 1)
        assert llm.sort_ideas(tmp_path / "lab", read) == (0, 1)
        assert len(asked) == 4
        assert "> def run(task, seed):" in asked[0]
    store = Store(tmp_path / "lab" / "lab.db")
    with store.read() as rows:
        said = [(row.family, row.by) for row in rows.ideas("submission")]
    store.close()
    assert sorted(said) == [("curriculum", "llm"), ("curriculum", "llm"), ("ensemble", "researcher")]
    assert llm.sort_ideas(tmp_path / "lab", _fails) == (0, 1)


def _fails(prompt: str) -> str:
    raise Infrastructure("the provider is down")
