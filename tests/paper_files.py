"""Made-up data folders in both formats of the study, and a reader of features that needs no model."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.w2s.features import Wanted

GOOD, BAD = ("clear", "kind", "right", "whole"), ("muddled", "rude", "wrong", "broken")
ITEMS = {"train_label": 160, "train_unlabel": 200, "test": 160}

Rows = list[dict[str, Any]]


def answer(good: bool, r: random.Random) -> str:
    """An answer whose worth shows in one word. It looks like a whole item, which must confuse nobody."""
    return f"It is {r.choice(GOOD if good else BAD)}, number {r.randrange(10**6)}.\nAnswer: done\nB: end"


def pairs(seed: int = 0, sources: dict[str, tuple[str, ...]] | None = None) -> dict[str, Rows]:
    """Rows of the three files in pair format."""
    r = random.Random(seed)
    found: dict[str, Rows] = {}
    for file, count in ITEMS.items():
        found[file] = []
        for number in range(count):
            first = r.random() < 0.5
            row = {
                "prompt": f"Q: {file} {number}? A: short", "first": answer(first, r), "second": answer(not first, r),
                "label": "A" if first else "B", "difficulty": 3,
            }  # fmt: skip
            found[file].append(row | _source(sources, file, number))
    return found


def answers(seed: int = 0, sources: dict[str, tuple[str, ...]] | None = None) -> dict[str, Rows]:
    """Rows of the three files in binary format, two answers to a question."""
    r = random.Random(seed)
    return {
        file: [
            {"question": f"What of {file} {n // 2}?", "choice": answer(good, r), "label": good}
            | _source(sources, file, n // 2)
            for n in range(count)
            for good in [r.random() < 0.5]
        ]
        for file, count in ITEMS.items()
    }


def _source(sources: dict[str, tuple[str, ...]] | None, file: str, number: int) -> dict[str, str]:
    return {} if sources is None else {"subset": sources[file][number % len(sources[file])]}


def write(folder: Path, files: dict[str, Rows]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


def flipped(files: dict[str, Rows]) -> dict[str, Rows]:
    """The same items with every hidden label turned round; the labelled file stays."""
    other = {"A": "B", "B": "A", True: False, False: True}
    return {
        name: [row | {"label": other[row["label"]]} for row in rows] if name != "train_label" else rows
        for name, rows in files.items()
    }


class Reader:
    """Features out of the texts' words, with noise that a text fixes: the student hears the worth of an answer well,
    the bag of words hardly. `deaf`: the student does not hear it."""

    def __init__(self, deaf: bool = False) -> None:
        self.deaf, self.seen = deaf, 0

    def __call__(
        self, texts: Sequence[str], wanted: Wanted, prefixes: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        self.seen += len(texts)
        found = np.array([self._features(t) for t in texts], np.float32)
        arrays: dict[str, NDArray[Any]] = {
            name: found[:, :8] if name == "bag" else found[:, 8:] for name in wanted.hidden
        }
        if wanted.logprob:
            arrays["logprob"] = np.abs(found[:, -6:])
        return arrays

    def _features(self, text: str) -> NDArray[np.float32]:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        noise = np.random.default_rng(seed).normal(size=32).astype(np.float32)
        worth = sum(word in text for word in GOOD) - sum(word in text for word in BAD)
        strength = np.r_[np.full(8, 0.15), np.full(24, 0.0 if self.deaf else 0.45)].astype(np.float32)
        return np.asarray(noise + np.sign(worth) * strength, np.float32)
