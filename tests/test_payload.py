"""The door's count of the data that a method file carries."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy
from aarlab.audits.policy import PAYLOAD, Policy
from aarlab.errors import MethodError
from aarlab.execution.check import check_payload, check_source
from aarlab.execution.payload import LIMITS, Amount, amounts, numbers_in
from aarlab.fleet import trial
from aarlab.problems import base as problems
from aarlab.w2s import compose, methods
from aarlab.w2s.compose import CHOICES, INTEGERS, RANGES, Recipe
from toy_lab import ToyLab

RUN = "\ndef run(task, seed):\n    return task.student.fit(task.train, task.weak_labels).predict(task.test)\n"


def amount(source: str, name: str) -> Amount:
    return next(a for a in amounts(source) if a.name == name)


def noise(count: int) -> bytes:
    return random.Random(5).randbytes(count)


def labels(count: int) -> list[int]:
    drawn = random.Random(6)
    return [drawn.randint(0, 1) for _ in range(count)]


def recipes(count: int) -> Iterator[Recipe]:
    """Recipes drawn over all choices and ranges."""
    rng = random.Random(7)
    for _ in range(count):
        numbers = {
            n: rng.randint(int(a), int(b)) if n in INTEGERS else rng.uniform(a, b) for n, (a, b) in RANGES.items()
        }
        words = {n: rng.choice(allowed) for n, allowed in CHOICES.items()}
        yield Recipe(**words, **numbers, mirror=rng.random() < 0.5, centre=rng.random() < 0.5)


def test_the_door_and_the_policy_agree() -> None:
    """What a problem's policy says by default is what the door counts by default."""
    assert {name: PAYLOAD[name] for name in LIMITS} == dict(LIMITS)
    assert set(PAYLOAD) == {*LIMITS, "overlap"}


@pytest.mark.parametrize("name", methods.names())
def test_no_method_of_the_library_comes_near_a_limit(name: str) -> None:
    """Every shipped method, notes and sources included, holds at most a third of what is allowed."""
    assert max(a.ratio for a in amounts(methods.source(name))) < 1 / 3


def test_no_composed_method_comes_near_a_limit() -> None:
    """What a search researcher writes holds at most a sixth of what is allowed."""
    assert max(a.ratio for r in recipes(150) for a in amounts(r.source())) < 1 / 6


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (0, 1), (7, 1), (0.0005, 1), (1e-12, 1), (1000000, 1), (123456, 1), (1234567, 2), (0.123456789012, 2),
        (1.5e300, 1), (2**64, 4), (2**1000, 51), (1 + 2j, 2), (float("inf"), 1),
    ],
)  # fmt: skip
def test_a_number_counts_by_its_digits(value: complex, count: int) -> None:
    """Six digits begun are one number: long ones do not smuggle more than short ones."""
    assert numbers_in(value) == count


BITS = labels(3000)
HIDING = {
    "a list": f"X = {BITS}",
    "a set of rows": f"X = {set(range(0, 3000, 3))}",
    "truths": f"X = {[bool(b) for b in BITS]}",
    "names": "a, b = 0, 1\nX = [" + ", ".join("ab"[b] for b in BITS) + "]",
    "strings in a list": f"X = {['ab'[b] for b in BITS]}",
    "a mapping": f"X = {{{', '.join(f'{i}: {b}' for i, b in enumerate(BITS))}}}",
    "huge ints": "\n".join(f"X = {int.from_bytes(noise(1250), 'big'):#x}" for _ in range(2)),
    "digits in a string": f"X = '{''.join(map(str, BITS))}'",
    "digits with commas": f"X = '{','.join(map(str, BITS))}'",
    "digits in a docstring": f'"""{" ".join(map(str, BITS))}"""',
    "digits in a comment": f"# {' '.join(map(str, BITS))}",
    "lines of digits": f"X = '''{chr(10).join(map(str, BITS))}'''",
    "floats": f"X = {[random.Random(1).random() for _ in range(300)]}",
    "hex": f"X = '{noise(2500).hex()}'",
    "base64": f"X = '{base64.b64encode(noise(2500)).decode()}'",
    "base85": f"X = {base64.b85encode(noise(2500)).decode()!r}",
    "base64 in lines": "X = '''" + base64.encodebytes(noise(2500)).decode() + "'''",
    "base64 in a comment": f"# {base64.b64encode(noise(2500)).decode()}",
    "bytes": f"X = {noise(2500)!r}",
    "letters": f"X = '{''.join('yn'[b] for b in BITS)}'",
    "yes and no": f"X = '{' '.join(('yes', 'no')[b] for b in BITS)}'",
    "rare characters": f"X = '{''.join(chr(0x4E00 + random.Random(2).randrange(20000)) for _ in range(1000))}'",
    "invisible characters": "X = '" + "".join(chr(0x200B + b) for b in BITS) + "'",
    "a formatted string": f"X = f'{base64.b64encode(noise(2500)).decode()}{{1}}'",
    "names with digits": "\n".join(f"v{i:06d} = None" for i in range(600)),
}  # fmt: skip


@pytest.mark.parametrize("how", HIDING)
def test_tables_and_weights_are_refused_however_they_are_written(how: str) -> None:
    """3,000 labels or 2,500 bytes of weights, in the spellings one would try first: one sentence with the number."""
    source = HIDING[how] + RUN
    check_source(source)
    with pytest.raises(MethodError) as caught:
        check_payload(source, LIMITS)
    assert caught.value.reason == "payload"
    assert str(caught.value).startswith("the file holds ")
    assert "at most" in str(caught.value)


def test_what_is_hidden_on_purpose_passes() -> None:
    """The limits are no wall: 10,000 bits in numbers, or in made-up words, pass the door, as the docs say."""
    rng = random.Random(8)
    syllables = [c + v for c in "bcdfghjklmnpqrst" for v in "aiou"]  # 6 bits each
    words = [rng.choice(syllables) + rng.choice(syllables) for _ in range(850)]
    check_payload("\n".join(f"X = '{' '.join(words[i : i + 50])}'" for i in range(0, 850, 50)) + RUN, LIMITS)
    check_payload(f"X = {[rng.randrange(100_000, 1_000_000) for _ in range(495)]}{RUN}", LIMITS)


def test_the_sentence_names_number_limit_line_and_remedy() -> None:
    """Whoever is refused reads what to change and where."""
    source = f"import numpy as np\n\nTABLE = {[1.5] * 700}\n{RUN}"
    with pytest.raises(MethodError) as caught:
        check_payload(source, LIMITS)
    assert str(caught.value) == (
        "the file holds 700 numbers written out (at most 500), most of it in line 3; "
        "learn the numbers in run() from the task, or compute them"
    )


def test_a_line_within_a_long_text_is_named() -> None:
    """The line is that of the packed text, not the one where the string begins."""
    source = f'"""Words at first.\n\n{"ab" * 800}\n{noise(1500).hex()}\n"""\n{RUN}'
    assert amount(source, "packed_bytes").line == 4


def test_ordinary_text_counts_nothing_as_packed() -> None:
    """Sentences, addresses, rulers and names are no packed data."""
    source = (
        '"""Teach the head from its surest labels.\n\n----------------------------------------------\n'
        'Source: https://example.org/weak-to-strong/generalisation/confidence.html\n"""\n'
        "confident_weak_labels_of_the_teacher = None\nPATTERN = 'out-of-fold relabelling, then a student'\n" + RUN
    )  # fmt: skip
    assert amount(source, "packed_bytes").value == 0


@given(st.text(max_size=300))
def test_any_text_can_be_counted(text: str) -> None:
    """Whatever passes the door's first check has amounts, all of them finite and not negative."""
    source = f"X = {text!r}\n# {text.splitlines()[0] if text.splitlines() else ''}\n{RUN}"
    try:
        check_source(source)
    except MethodError:
        return
    assert all(0 <= a.value < 1e6 for a in amounts(source))


@given(st.lists(st.floats(allow_nan=False), max_size=40), st.integers(0, 1 << 4000))
def test_more_data_never_counts_less(numbers: list[float], big: int) -> None:
    """Adding literals to a file only raises its count."""
    before = amount(RUN, "numbers").value
    few = amount(f"X = {numbers}{RUN}", "numbers").value
    assert before <= few <= amount(f"X = {numbers}\nY = {big:#x}{RUN}", "numbers").value


def test_a_limit_of_nothing_allows_nothing() -> None:
    """0 of 0 is fine; 1 of 0 is too much."""
    assert Amount("overlap", 0, 0).ratio == 0
    assert Amount("overlap", 1, 0).ratio > 1


def test_a_lab_refuses_and_charges_nothing(tmp_path: Path) -> None:
    """A file over a limit is refused before it costs a submission or an answer; the brief states the limits."""
    with ToyLab(tmp_path / "lab") as lab:
        before = lab.get("/budget")
        reply = lab.submit(HIDING["base64"] + RUN)
        assert (reply.status_code, reply.json()["reason"]) == (422, "payload")
        assert "packed data" in reply.json()["error"] or "numbers" in reply.json()["error"]
        after = lab.get("/budget")
        assert (before["answers"], before["submissions"]) == (after["answers"], after["submissions"])
        assert lab.get("/submissions")["submissions"] == []
        assert lab.get("/brief")["scoring"]["payload"] == PAYLOAD


def test_trying_a_method_warns_of_what_a_lab_would_refuse() -> None:
    """`aarlab try` says the door's sentence, and names items of the open task that stand in the file."""
    loaded = problems.load("w2s-math", check=False)
    inputs = loaded.inputs(loaded.of_role("open")[0].name)
    policy = Policy.of(loaded.settings)
    assert trial.warnings(toy.LEARNER, policy, inputs) == []
    assert inputs.texts is not None
    both = f"X = {BITS}\nY = {inputs.texts[7]!r}{RUN}"
    refused, unranked = trial.warnings(both, policy, inputs)
    assert refused.startswith("a lab refuses this file: the file holds 300")
    assert "runs of eight words out of items (at most 0), most of it in line 2" in unranked
    assert trial.warnings(both, policy, replace(inputs, texts=None)) == [refused]


def test_a_composed_method_keeps_its_recipe_through_the_door() -> None:
    """The recipe in a file's header, which others read, is no payload."""
    source = next(recipes(1)).source()
    check_payload(source, LIMITS)
    assert compose.Recipe.from_source(source) is not None
