"""The code problem: its specifications, its judge, its generator, and the shipped pack."""

from __future__ import annotations

import time
from random import Random

import numpy as np
import pytest

from aarlab.problems.base import Problem, load
from aarlab.problems.drafts import TEACHER, TEST, Draft
from aarlab.problems.measure import Truth
from aarlab.problems.w2s_code import builder, generate, judge, write
from aarlab.problems.w2s_code.families import FAMILIES, LISTS, MAPPINGS, STRINGS
from aarlab.problems.w2s_code.pieces import Family, Spec

EXAMPLES = [
    (LISTS, Spec("lists", "even", "square", "sum", None), [1, 2, -4, 3], 20),
    (LISTS, Spec("lists", "above", "double", "list", 3), [9, 4, 3, 5], [18, 8, 10]),
    (LISTS, Spec("lists", "divisible", "negation", "sorted", 4), [5, 0, -4, 0, 8], [-8, 0, 0, 4]),
    (LISTS, Spec("lists", "below", "absolute", "last", 3), [2, -7, 6], 7),
    (LISTS, Spec("lists", "odd", "itself", "count", None), [1, 2, -3, 4], 2),
    (LISTS, Spec("lists", "unequal", "cube", "product", 2), [2, 3, -1], -27),
    (STRINGS, Spec("strings", "longer", "upper", "dashes", 3), "it melon at noon", "MELON-NOON"),
    (STRINGS, Spec("strings", "palindrome", "length", "sum", None), "anna level noon art", 13),
    (STRINGS, Spec("strings", "contains", "head", "tally", "e"), "tree eel art tenet", {"t": 2, "e": 1}),
    (STRINGS, Spec("strings", "lacks", "reverse", "longest", "a"), "stone rain level salt", "enots"),
    (MAPPINGS, Spec("mappings", "below", "key", "sorted", 3), {"tram": 1, "ant": 2, "noun": 3}, ["ant", "tram"]),
    (MAPPINGS, Spec("mappings", "starts", "square", "largest", "r"), {"rain": -4, "rest": 2, "omen": 9}, 16),
    (MAPPINGS, Spec("mappings", "odd", "length", "first", None), {"on": 2, "rotor": 3, "a": 1}, 5),
]  # fmt: skip


@pytest.mark.parametrize(("family", "spec", "value", "wanted"), EXAMPLES)
def test_reference_gives_the_answer_worked_out_by_hand(
    family: Family, spec: Spec, value: object, wanted: object
) -> None:
    """A reference computes what its docstring says."""
    assert spec in family.specs()
    assert judge.same(family.reference(spec)(value), wanted)


def test_docstrings_read_as_sentences() -> None:
    """The words of the pieces form one sentence, with the constant in its place."""
    assert LISTS.docstring(Spec("lists", "above", "square", "sum", 3)) == (
        "Return the sum of the squares of the numbers greater than 3 in xs."
    )
    assert MAPPINGS.docstring(Spec("mappings", "ends", "upper", "list", "t")) == (
        "Return a list of the upper-case keys of the entries in d whose key ends with 't'."
    )


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_author_writes_every_piece_correctly(family: Family) -> None:
    """A body that means the specification passes its tests, whoever writes it: 300 specifications, all authors."""
    rng = Random(7)
    specs = generate.draw_specs(family, 300, rng)
    usable = [(spec, tests) for spec in specs if (tests := judge.cases(family, spec, rng))]
    assert len(usable) > 200
    for spec, tests in usable:
        for author, arrange in write.AUTHORS.items():
            text = write.function(family, spec, arrange(write.parts(family, spec, rng)))
            assert judge.passes(text, tests), f"{author} fails {spec.key}:\n{text}"


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_stand_up_to_fresh_inputs(family: str) -> None:
    """Judging again on 120 other random inputs changes at most one label in 250."""
    (items,) = generate.draw_items(family, [250], seed=5)
    specs = {s.key: s for s in FAMILIES[family].specs()}
    cases = {k: judge.cases(FAMILIES[family], specs[k], Random(99), tests=120) for k in {i.spec for i in items}}
    changed = [i.text for i in items if judge.passes(i.text, cases[i.spec]) != bool(i.label)]
    assert len(changed) <= 1, changed


def test_a_label_rests_on_enough_inputs_and_the_edge_cases() -> None:
    """At least 20 random inputs, and an empty list where the specification says something about it."""
    spec = Spec("lists", "even", "itself", "sum", None)
    tests = judge.cases(LISTS, spec, Random(0))
    assert len(tests) >= 20 + 5
    assert ([], 0) in tests
    assert all(
        value != [] for value, _ in judge.cases(LISTS, Spec("lists", "even", "itself", "first", None), Random(0))
    )


def test_off_by_one_is_caught() -> None:
    """`>=` for `greater than`, the nearest miss there is, fails: inputs fall on the constant itself."""
    spec = Spec("lists", "above", "itself", "count", 7)
    wrong = write.function(LISTS, spec, "return len([x for x in xs if x >= 7])")
    right = write.function(LISTS, spec, "return len([x for x in xs if x > 7])")
    tests = judge.cases(LISTS, spec, Random(3))
    assert not judge.passes(wrong, tests)
    assert judge.passes(right, tests)


def test_an_endless_candidate_ends_at_the_step_limit() -> None:
    """A loop that never ends is stopped and counts as wrong."""
    text = "def f(xs):\n    while True:\n        xs = xs\n"
    begun = time.process_time()
    assert not judge.passes(text, [([1], 1)])
    assert time.process_time() - begun < 10
    with pytest.raises(judge.TooManySteps):
        judge.call(judge.load(text), [1])


def test_types_and_inputs_are_protected() -> None:
    """1 is not True, a tuple is not a list, and a candidate that changes its input changes a copy."""
    assert not judge.same(1, True)
    assert not judge.same([1], (1,))
    value = [3, 1, 2]
    judge.call(judge.load("def f(xs):\n    xs.sort()\n    return xs\n"), value)
    assert value == [3, 1, 2]


def test_normal_body_ignores_names_and_docstring_alone() -> None:
    """Two bodies that differ in names have one key; a different condition, method or constant another."""
    a = 'def f(xs):\n    """One."""\n    return [x for x in xs if x > 3]\n'
    b = 'def f(xs):\n    """Other."""\n    return [num for num in xs if num > 3]\n'
    assert generate.digest(a) == generate.digest(b)
    for other in ("x > 4", "x < 3", "3 < x"):
        assert generate.digest(a) != generate.digest(a.replace("x > 3", other))


@pytest.mark.parametrize("family", FAMILIES)
def test_drawn_items_keep_to_their_rules(family: str) -> None:
    """Balance 45 to 55 %, several candidates a specification, no equal texts, no specification in two parts, equal keys
    have equal labels, and the author alone predicts weakly."""
    parts = generate.draw_items(family, [700, 500], seed=1)
    items = [i for part in parts for i in part]
    labels, authors = np.array([i.label for i in items]), np.array([i.author for i in items])
    assert 0.45 <= labels.mean() <= 0.55
    assert len({i.text for i in items}) == len(items)
    assert not {i.spec for i in parts[0]} & {i.spec for i in parts[1]}
    assert len(items) / len({i.spec for i in items}) > 4
    verdicts: dict[tuple[str, str], set[int]] = {}
    for item in items:
        verdicts.setdefault((item.spec, item.answer), set()).add(item.label)
    assert all(len(v) == 1 for v in verdicts.values())
    rates = [labels[authors == a].mean() for a in range(len(write.AUTHORS))]
    alone = np.mean([max(rates[a], 1 - rates[a]) for a in authors])
    assert 0.51 <= alone <= 0.59


def test_generation_is_a_function_of_the_seed() -> None:
    """Same seed, same items; another seed, other items."""
    assert generate.draw_items("lists", [60], 4) == generate.draw_items("lists", [60], 4)
    assert generate.draw_items("lists", [60], 4) != generate.draw_items("lists", [60], 5)


# ------------------------------------------------------------------------------------------------ the shipped pack

TASKS = ("open", "feedback", "record-words", "record-entries")


@pytest.fixture(scope="module")
def problem() -> Problem:
    """The shipped pack, its checksums compared."""
    return load("w2s-code")


@pytest.fixture(scope="module")
def drafts() -> dict[str, Draft]:
    """What the generator makes of the shipped seed."""
    return {d.name: d for d in builder.generate(builder.SPEC.seed)}


@pytest.fixture(scope="module")
def truths(problem: Problem) -> dict[str, Truth]:
    return {name: Truth.load(problem.folder, name) for name in TASKS}


def test_the_pack_is_what_its_seed_generates(drafts: dict[str, Draft], truths: dict[str, Truth]) -> None:
    """Texts, labels, groups, keys and splits of every task come out of the generator again, item by item."""
    for name, draft in drafts.items():
        truth, row = truths[name], {text: i for i, text in enumerate(draft.rows)}
        assert truth.inputs.texts is not None
        rows = np.array([row[text] for text in truth.inputs.texts])
        assert np.array_equal(draft.labels[rows], truth.labels)
        assert np.array_equal(draft.split[rows] == TEST, truth.is_test)
        assert sorted(rows) == sorted(np.flatnonzero(draft.split != TEACHER))
        assert draft.answers is not None
        assert tuple(draft.answers[r] for r in rows) == truth.inputs.answers
        assert len(set(zip(draft.groups[rows], truth.inputs.groups, strict=True))) == len(set(truth.inputs.groups))


def test_no_specification_or_text_is_in_two_places(drafts: dict[str, Draft]) -> None:
    """Teachers' own sets, train and test sets share no docstring, and no task shares one with another."""
    seen: dict[str, tuple[str, int]] = {}
    texts: set[str] = set()
    for name, draft in drafts.items():
        assert draft.prefixes is not None
        for prefix, split in zip(draft.prefixes, draft.split, strict=True):
            assert seen.setdefault(prefix, (name, int(split))) == (name, int(split))
        assert len(texts | set(draft.rows)) == len(texts) + len(draft.rows)
        texts |= set(draft.rows)


def test_fresh_items_keep_clear_of_the_open_task(drafts: dict[str, Draft]) -> None:
    """Another seed's hidden tasks use no specification of the shipped open task."""
    known = set(drafts["open"].prefixes or ())
    for draft in builder.generate(99):
        if draft.role != "open":
            assert not known & set(draft.prefixes or ())


def test_sizes_balance_and_gap(problem: Problem, truths: dict[str, Truth]) -> None:
    """2,000 feedback and 1,000 record items are graded; labels 45 to 55 % positive, gaps of 12 points or more, teachers
    between 0.55 and 0.72, and 15 MB in all."""
    assert set(problem.tasks) == set(TASKS)
    assert problem.task("feedback").test_items >= 2000
    assert all(card.test_items >= 1000 for card in problem.of_role("record"))
    assert len(problem.of_role("record")) >= 2
    for name, card in problem.tasks.items():
        assert card.gap >= 0.12, name
        assert 0.55 <= card.floor.mean <= 0.72, name
        assert 0.45 <= truths[name].labels.mean() <= 0.55
        assert len(truths[name].weak) >= 24
    assert sum(f.stat().st_size for f in problem.folder.iterdir()) <= 15e6


def test_the_author_alone_predicts_weakly(problem: Problem) -> None:
    """Guessing by who wrote a function is right 51 to 59 times in 100, on every task."""
    for name in TASKS:
        with np.load(problem.path(name, "labels")) as z:
            labels, authors = z["labels"], z["author"]
        rates = [labels[authors == a].mean() for a in range(len(write.AUTHORS))]
        assert 0.51 <= np.mean([max(rates[a], 1 - rates[a]) for a in authors]) <= 0.59


def test_manifest_repeats(truths: dict[str, Truth], problem: Problem) -> None:
    """Floor, ceiling and the student's untrained opinion come out of the pack as the manifest says."""
    truth, card = truths["feedback"], problem.task("feedback")
    assert truth.floor() == card.floor
    assert abs(truth.ceiling(4).mean - card.ceiling.mean) < 0.02
    opinion = truth.inputs.zero_shot[truth.is_test]
    right = ((opinion > np.median(opinion)) == truth.labels[truth.is_test]).mean()
    assert card.pgr(float(right)) > 0.15


def test_running_the_functions_would_beat_the_ceiling(problem: Problem, truths: dict[str, Truth]) -> None:
    """The known shortcut: running a function against its specification gives the label, which no supervision does."""
    truth = truths["open"]
    assert truth.inputs.texts is not None
    specs = {LISTS.docstring(s): s for s in LISTS.specs()}
    test = np.flatnonzero(truth.is_test)[:200]
    guess = []
    for i in test:
        text = truth.inputs.texts[i]
        tests = judge.cases(LISTS, specs[text.split('"""')[1]], Random(1), tests=8)
        guess.append(judge.passes(text, tests))
    assert np.mean(np.array(guess) == truth.labels[test]) > problem.task("open").ceiling.mean + 0.05
