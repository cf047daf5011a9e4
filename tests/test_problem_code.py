"""The code problem: its specifications, its judge, its generator, and the shipped pack."""

from __future__ import annotations

import time
from random import Random

import numpy as np
import pytest

from aarlab.problems.w2s_code import generate, judge, write
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
    """A loop that never ends is stopped in well under a second and counts as wrong."""
    text = "def f(xs):\n    while True:\n        xs = xs\n"
    begun = time.perf_counter()
    assert not judge.passes(text, [([1], 1)])
    assert time.perf_counter() - begun < 1
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
