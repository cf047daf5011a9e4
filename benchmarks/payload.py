"""What the payload limits cost: python benchmarks/payload.py

Prints the most that shipped and composed methods hold, and how many bits somebody can hide in a file that the door
still lets in: in numbers, and in made-up words.
"""

from __future__ import annotations

import math
import random
from typing import Any

from aarlab.errors import MethodError
from aarlab.execution.check import check_payload, check_source
from aarlab.execution.payload import LIMITS, amounts
from aarlab.w2s import methods
from aarlab.w2s.compose import CHOICES, INTEGERS, RANGES, Recipe

RUN = "\n\ndef run(task, seed):\n    return task.student.fit(task.train, task.weak_labels).predict(task.test)\n"
SYLLABLES = [c + v for c in "bcdfghjklmnpqrstvwxz" for v in "aeiou"]
RECIPES = 500


def recipe(rng: random.Random) -> Recipe:
    chosen: dict[str, Any] = {
        n: rng.randint(int(a), int(b)) if n in INTEGERS else rng.uniform(a, b) for n, (a, b) in RANGES.items()
    }
    chosen |= {n: rng.choice(allowed) for n, allowed in CHOICES.items()}
    return Recipe(**chosen, centre=rng.random() < 0.5, mirror=rng.random() < 0.5)


def most(sources: list[str]) -> str:
    found = [amounts(source) for source in sources]
    return ", ".join(f"{max(col, key=lambda a: a.value).value:.4g} {col[0].name}" for col in zip(*found, strict=True))


def passes(source: str) -> bool:
    try:
        check_source(source)
        check_payload(source, LIMITS)
    except MethodError:
        return False
    return True


def in_numbers(count: int) -> str:
    """Random floats of six digits, any sign and exponent."""
    rng = random.Random(0)
    values = [
        rng.choice((1, -1)) * float(f"{rng.randint(100_000, 999_999)}e{rng.randint(-300, 300)}") for _ in range(count)
    ]
    return f"X = {values}{RUN}"


def in_words(count: int) -> str:
    """Random words of two syllables, sixty to a string."""
    rng = random.Random(0)
    words = [rng.choice(SYLLABLES) + rng.choice(SYLLABLES) for _ in range(count)]
    lines = [f"X{'abcdefghij'[i % 10]} = '{' '.join(words[i : i + 60])}'" for i in range(0, count, 60)]
    return "\n".join(lines) + RUN


def largest(make: object, high: int) -> int:
    """The most entries with which the file still passes."""
    low = 0
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if passes(make(middle)) else (low, middle)  # type: ignore[operator]
    return low


def main() -> None:
    rng = random.Random(0)
    print("limits:", ", ".join(f"{limit:g} {name}" for name, limit in LIMITS.items()))
    print("most in the shipped methods:", most([methods.source(n) for n in methods.names()]))
    print(f"most in {RECIPES} composed methods:", most([recipe(rng).source() for _ in range(RECIPES)]))
    numbers, words = largest(in_numbers, 5_000), largest(in_words, 50_000)
    print(f"hidden in numbers: {numbers} literals, {numbers * math.log2(2 * 900_000 * 601):,.0f} bits")
    print(f"hidden in made-up words: {words} words, {words * 2 * math.log2(len(SYLLABLES)):,.0f} bits")


if __name__ == "__main__":
    main()
