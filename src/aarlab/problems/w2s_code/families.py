"""The function families: lists of numbers (open and feedback tasks), words of a sentence and dictionaries (record)."""

from __future__ import annotations

from random import Random
from typing import Any

from aarlab.problems.w2s_code.pieces import REDUCTIONS, Family, Piece, Reduction

NUMBERS = (2, 3, 4, 5, 6, 7, 8, 9, 10)
LETTERS = tuple("aelmnrst")
VOWELS = "aeiou"
VOCABULARY = (
    "anna level river stone apple tree moon east lantern omen table mint radar noon salt estate rest "
    "arena melon eel tram sister letter ant oral mars trees silent noun enamel last tenet art lemon nest "
    "alarm rotor rain smart aroma sees it at no me us a i an on se"
)
WORDS = VOCABULARY.split()


def _reductions(*names: str) -> dict[str, Reduction]:
    return {name: REDUCTIONS[name] for name in names}


def _near(k: Any) -> list[int]:
    """Numbers on both sides of a constant, where off-by-one mistakes show."""
    return [k - 1, k, k + 1, -k, 2 * k] if isinstance(k, int) else []


# ---------------------------------------------------------------------------------------------- lists of numbers


def _numbers(rng: Random, k: Any) -> list[int]:
    near = _near(k)
    draw = [
        rng.choice(near) if near and rng.random() < 0.3 else rng.randint(-15, 15) for _ in range(rng.randint(3, 11))
    ]
    return draw + rng.sample(draw, rng.randint(0, 2))


LISTS = Family(
    name="lists",
    parameter="xs",
    sentence="Return {reduce} {take} {keep} in xs.",
    source="xs",
    elements=list,
    names=(("x",), ("n",)),
    keep={
        "even": Piece("even numbers", ("{x} % 2 == 0",), lambda x, k: x % 2 == 0),
        "odd": Piece("odd numbers", ("{x} % 2 == 1",), lambda x, k: x % 2 == 1),
        "positive": Piece("positive numbers", ("{x} > 0",), lambda x, k: x > 0),
        "negative": Piece("negative numbers", ("{x} < 0",), lambda x, k: x < 0),
        "above": Piece("numbers greater than {k}", ("{x} > {k}",), lambda x, k: x > k, "", NUMBERS),
        "below": Piece("numbers less than {k}", ("{x} < {k}",), lambda x, k: x < k, "", NUMBERS),
        "divisible": Piece("numbers divisible by {k}", ("{x} % {k} == 0",), lambda x, k: x % k == 0, "", NUMBERS[1:]),
        "unequal": Piece("numbers not equal to {k}", ("{x} != {k}",), lambda x, k: x != k, "", NUMBERS),
    },
    take={
        "itself": Piece("", ("{x}",), lambda x: x, "int"),
        "square": Piece("squares of the", ("{x} * {x}", "{x} ** 2"), lambda x: x * x, "int"),
        "cube": Piece("cubes of the", ("{x} ** 3",), lambda x: x**3, "int"),
        "double": Piece("doubles of the", ("2 * {x}", "{x} * 2"), lambda x: 2 * x, "int"),
        "absolute": Piece("absolute values of the", ("abs({x})",), abs, "int"),
        "negation": Piece("negations of the", ("-{x}",), lambda x: -x, "int"),
    },
    reduce=_reductions("sum", "product", "largest", "smallest", "count", "list", "sorted", "first", "last"),
    draw_input=_numbers,
    edge_inputs=lambda k: [[], [0], [1, 1], [-2, 2, -2], _near(k), list(range(-12, 13))],
)

# ------------------------------------------------------------------------------------------- words of a sentence


def _sentence(rng: Random, k: Any) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(4, 10)))


STRINGS = Family(
    name="strings",
    parameter="s",
    sentence="Return {reduce} {take} {keep} in s.",
    source="s.split()",
    elements=str.split,
    names=(("w",), ("word",)),
    keep={
        "longer": Piece("words longer than {k} letters", ("len({x}) > {k}",), lambda w, k: len(w) > k, "", (2, 3, 4)),
        "shorter": Piece("words shorter than {k} letters", ("len({x}) < {k}",), lambda w, k: len(w) < k, "", (4, 5, 6)),
        "starts": Piece("words that start with '{k}'", ("{x}.startswith('{k}')",), lambda w, k: w[0] == k, "", LETTERS),
        "ends": Piece("words that end with '{k}'", ("{x}.endswith('{k}')",), lambda w, k: w[-1] == k, "", LETTERS),
        "contains": Piece("words that contain '{k}'", ("'{k}' in {x}",), lambda w, k: k in w, "", LETTERS),
        "lacks": Piece("words without the letter '{k}'", ("'{k}' not in {x}",), lambda w, k: k not in w, "", LETTERS),
        "palindrome": Piece("words that are palindromes", ("{x} == {x}[::-1]",), lambda w, k: w == w[::-1]),
        "vowel": Piece("words that start with a vowel", ("{x}[0] in 'aeiou'",), lambda w, k: w[0] in VOWELS),
    },
    take={
        "itself": Piece("", ("{x}",), lambda w: w, "str"),
        "upper": Piece("upper-case forms of the", ("{x}.upper()",), str.upper, "str"),
        "reverse": Piece("reversals of the", ("{x}[::-1]",), lambda w: w[::-1], "str"),
        "head": Piece("first letters of the", ("{x}[0]",), lambda w: w[0], "str"),
        "tail": Piece("last letters of the", ("{x}[-1]",), lambda w: w[-1], "str"),
        "length": Piece("lengths of the", ("len({x})",), len, "int"),
    },
    reduce=_reductions(
        "sum", "largest", "smallest", "count", "list", "sorted", "first", "last", "longest", "dashes", "tally"
    ),
    draw_input=_sentence,
    edge_inputs=lambda k: ["", "a", "level", "noon noon", " ".join(WORDS), " ".join(WORDS[::-1])],
)

# -------------------------------------------------------------------------------------------------- dictionaries


def _dictionary(rng: Random, k: Any) -> dict[str, int]:
    near = _near(k)
    return {
        word: rng.choice(near) if near and rng.random() < 0.3 else rng.randint(-9, 15)
        for word in rng.sample(WORDS, rng.randint(4, 9))
    }


MAPPINGS = Family(
    name="mappings",
    parameter="d",
    sentence="Return {reduce} {take} entries in d {keep}.",
    names=(("k", "v"), ("key", "value")),
    source="d.items()",
    elements=lambda d: list(d.items()),
    keep={
        "above": Piece("whose value is greater than {k}", ("{v} > {k}",), lambda e, k: e[1] > k, "", NUMBERS),
        "below": Piece("whose value is less than {k}", ("{v} < {k}",), lambda e, k: e[1] < k, "", NUMBERS),
        "even": Piece("whose value is even", ("{v} % 2 == 0",), lambda e, k: e[1] % 2 == 0),
        "odd": Piece("whose value is odd", ("{v} % 2 == 1",), lambda e, k: e[1] % 2 == 1),
        "positive": Piece("whose value is positive", ("{v} > 0",), lambda e, k: e[1] > 0),
        "starts": Piece(
            "whose key starts with '{k}'", ("{x}.startswith('{k}')",), lambda e, k: e[0][0] == k, "", LETTERS
        ),
        "ends": Piece("whose key ends with '{k}'", ("{x}.endswith('{k}')",), lambda e, k: e[0][-1] == k, "", LETTERS),
        "contains": Piece("whose key contains '{k}'", ("'{k}' in {x}",), lambda e, k: k in e[0], "", LETTERS),
        "longer": Piece(
            "whose key is longer than {k} letters", ("len({x}) > {k}",), lambda e, k: len(e[0]) > k, "", (2, 3, 4)
        ),
    },
    take={
        "key": Piece("keys of the", ("{x}",), lambda e: e[0], "str"),
        "upper": Piece("upper-case keys of the", ("{x}.upper()",), lambda e: e[0].upper(), "str"),
        "reverse": Piece("reversed keys of the", ("{x}[::-1]",), lambda e: e[0][::-1], "str"),
        "length": Piece("key lengths of the", ("len({x})",), lambda e: len(e[0]), "int"),
        "value": Piece("values of the", ("{v}",), lambda e: e[1], "int"),
        "square": Piece("squared values of the", ("{v} ** 2", "{v} * {v}"), lambda e: e[1] ** 2, "int"),
        "double": Piece("doubled values of the", ("2 * {v}", "{v} * 2"), lambda e: 2 * e[1], "int"),
    },
    reduce=_reductions("sum", "largest", "smallest", "count", "list", "sorted", "first", "last", "longest", "dashes"),
    draw_input=_dictionary,
    edge_inputs=lambda k: [
        {},
        {"level": 0},
        {"a": 1, "b": 1},
        {word: i - 9 for i, word in enumerate(WORDS)},
        dict(zip(WORDS, [*_near(k), 0, 2], strict=False)),
    ],
)

FAMILIES: dict[str, Family] = {family.name: family for family in (LISTS, STRINGS, MAPPINGS)}
