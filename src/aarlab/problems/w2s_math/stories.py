"""Word problems: a question in words and the arithmetic that answers it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    "Ada Ali Amir Anna Ben Bo Carla Chen Dana Diego Elena Emil Fatima Felix Grace Hana Hugo Ines Ivan Jonas Julia "
    "Kai Kofi Lena Leo Lucy Malik Maria Mei Mila Nadia Nina Noah Olga Omar Paul Priya Rosa Sam Sara Tara Theo Tom "
    "Uma Vera Viktor Yara Zoe"
)
THINGS = _words(
    "acorns apples badges balloons beads books bottles bricks buttons candles cards carrots chairs coins cups eggs "
    "envelopes feathers flags flowers hats keys lamps lemons letters marbles mugs nails olives onions oranges "
    "pebbles pencils pens photos plates plums postcards potatoes ribbons rings seeds shells shirts spoons stamps "
    "stickers stones tiles tulips"
)
COLOURS = ("black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "white", "yellow")
PLACES = (
    "attic",
    "barn",
    "cellar",
    "classroom",
    "garage",
    "kitchen",
    "library",
    "market",
    "office",
    "shed",
    "workshop",
)

Step = tuple[str, int]
"""An operation and its right-hand number; `r-` subtracts the value so far from the number."""


@dataclass(frozen=True)
class Story:
    """A question, the number it starts from, the steps that answer it, and what is counted."""

    question: str
    start: int
    steps: tuple[Step, ...]
    unit: str

    def facts(self) -> list[tuple[str, int, int]]:
        """The sums on the way, as (operation, left, right); sides are sorted where they may be exchanged."""
        out: list[tuple[str, int, int]] = []
        value = self.start
        for op, number in self.steps:
            left, right = (number, value) if op == "r-" else (value, number)
            plain = op[-1]
            low, high = sorted((left, right))
            out.append((plain, low, high) if plain in "+*" else (plain, left, right))
            value = apply(plain, left, right)
        return out

    def answer(self) -> int:
        value = self.start
        for op, number in self.steps:
            value = apply("-", number, value) if op == "r-" else apply(op, value, number)
        return value


def apply(op: str, left: int, right: int) -> int:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    return left * right if op == "*" else left // right


Family = Callable[[random.Random], Story]


def gain(r: random.Random) -> Story:
    """Things come together."""
    a, b = r.randint(11, 80), r.randint(3, 45)
    n, o, (c, d) = r.choice(NAMES), r.choice(THINGS), r.sample(COLOURS, 2)
    text = r.choice((
        f"{n} has {a} {o} and buys {b} more. How many {o} does {n} have now?",
        f"A box holds {a} {c} {o} and {b} {d} {o}. How many {o} are there in total?",
        f"{n} found {a} {o} in the morning and {b} {o} in the afternoon. How many {o} did {n} find?",
        f"There are {a} {o} in the {r.choice(PLACES)}. {n} brings {b} more. How many {o} are there now?",
    ))  # fmt: skip
    return Story(text, a, (("+", b),), o)


def loss(r: random.Random) -> Story:
    """Some things go away."""
    a, b = r.randint(12, 99), r.randint(3, 45)
    a, b = (b + r.randint(2, 40), b) if b >= a else (a, b)
    n, o = r.choice(NAMES), r.choice(THINGS)
    text = r.choice((
        f"{n} had {a} {o} and gave away {b}. How many {o} are left?",
        f"There were {a} {o} in a shop and {b} were sold. How many {o} remain?",
        f"{a} {o} lay on the table until {n} took {b}. How many {o} are still on the table?",
    ))  # fmt: skip
    return Story(text, a, (("-", b),), o)


def rows(r: random.Random) -> Story:
    """Equal groups. The range is wide so that every split has many different products."""
    a, b = r.randint(2, 20), r.randint(2, 40)
    n, o = r.choice(NAMES), r.choice(THINGS)
    text = r.choice((
        f"{n} has {a} bags with {b} {o} in each bag. How many {o} are there?",
        f"Each of {a} children brings {b} {o}. How many {o} do they bring?",
        f"{n} lays out {a} rows of {b} {o}. How many {o} does {n} lay out?",
        f"A carton holds {b} {o}. How many {o} are in {a} cartons?",
    ))  # fmt: skip
    return Story(text, a, (("*", b),), o)


def share(r: random.Random) -> Story:
    """Equal shares and fractions."""
    n, o = r.choice(NAMES), r.choice(THINGS)
    parts = r.randint(2, 15)
    total = parts * r.randint(3, 50)
    words = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth", 10: "a tenth"}
    texts = [
        f"{n} shares {total} {o} equally among {parts} children. How many {o} does each child get?",
        f"{n} packs {total} {o} into bags of {parts}. How many bags does {n} fill?",
        f"{total} {o} are spread evenly over {parts} boxes. How many {o} are in each box?",
        f"{n} uses {parts} {o} a day. How many days do {total} {o} last?",
    ]
    if parts in words:
        texts += [
            f"{n} has {total} {o} and {words[parts]} of them are {r.choice(COLOURS)}. How many is that?",
            f"There were {total} {o} in the {r.choice(PLACES)}, and {words[parts]} of them broke. How many {o} broke?",
        ]
    text = r.choice(texts)
    unit = "bags" if "bags" in text else "days" if "days" in text else o
    return Story(text, total, (("/", parts),), unit)


def twostep(r: random.Random) -> Story:
    """Two steps in a row."""
    n, o = r.choice(NAMES), r.choice(THINGS)
    a, b, c = r.randint(2, 9), r.randint(3, 12), r.randint(2, 20)
    if r.random() < 0.5:
        text = r.choice((
            f"{n} has {a} bags with {b} {o} in each bag and {c} more {o} on the table. How many {o} does {n} have?",
            f"{n} fills {a} trays with {b} {o} each and keeps {c} {o} aside. How many {o} are there in all?",
        ))  # fmt: skip
        return Story(text, a, (("*", b), ("+", c)), o)
    a, b = r.randint(20, 80), r.randint(5, 40)
    c = r.randint(3, a + b - 2)
    text = r.choice((
        f"{n} had {a} {o}, found {b} more and then lost {c}. How many {o} does {n} have now?",
        f"There were {a} {o} on a shelf. {n} added {b} and later sold {c}. How many {o} are on the shelf now?",
    ))  # fmt: skip
    return Story(text, a, (("+", b), ("-", c)), o)
