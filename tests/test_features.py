"""Feature extraction: layouts without torch, and the model itself where the [train] extra is installed."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aarlab.errors import InputError
from aarlab.problems.sources import Sources
from aarlab.w2s import features
from aarlab.w2s.features import LOGPROB_NAMES, LanguageModel, Wanted


def sequence(shared: int, *branches: int) -> Any:
    return features._Sequence(
        [7] * shared, [[8] * n for n in branches], list(range(len(branches))), [0] * len(branches)
    )


def test_branches_see_the_prefix_and_themselves_only() -> None:
    """Answers laid side by side must not read each other, and positions go on from the shared prefix."""
    ids, places, mask = features._layout([sequence(3, 2, 2), sequence(0, 4)])
    assert ids.shape == places.shape == (2, 7)
    assert places[0].tolist() == [0, 1, 2, 3, 4, 3, 4]
    assert mask[0, 4].tolist() == [True, True, True, True, True, False, False]
    assert mask[0, 6].tolist() == [True, True, True, False, False, True, True]
    assert mask[0, 1].tolist() == [True, True] + [False] * 5
    assert mask[1, 3].tolist() == [True] * 4 + [False] * 3
    assert mask.any(2).all(), "a row that may look nowhere makes the softmax undefined"


def test_batches_hold_every_sequence_once_and_keep_the_budget() -> None:
    """No batch has more padded tokens than asked for, unless one sequence alone has."""
    made = [sequence(n, 3) for n in (1, 50, 7, 200, 9, 30)]
    batches = list(features._batches(made, 100))
    assert sorted(id(one) for batch in batches for one in batch) == sorted(map(id, made))
    assert all(len(b) == 1 or len(b) * max(map(len, b)) <= 100 for b in batches)


def test_only_needed_blocks_run() -> None:
    """Early exits run the blocks below them; log-probabilities need the whole model."""
    assert Wanted(hidden=("l10", "m4")).blocks == 10
    assert Wanted(hidden=("l10",), logprob=True).blocks is None
    assert Wanted(words=((" good", " bad"),)).blocks is None


def test_missing_torch_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the [train] extra one sentence says what to install."""
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name in ("torch", "gguf", "transformers"):
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'aarlab\[train\]'"):
        LanguageModel(Path("model.gguf"))


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    pytest.importorskip("torch")
    return LanguageModel(Sources().path("model"), threads=1)


@pytest.mark.train
def test_shared_prefixes_change_nothing(model: LanguageModel) -> None:
    """Features of an answer are the same alone and beside other answers to its question."""
    question = "Question: Ada has 3 pens and buys 4 more. How many pens does Ada have now?\nAnswer:"
    texts = [f"{question} {answer}" for answer in ("3 + 4 = 7", "3 - 4 = 1", "3 * 40 = 120")]
    wanted = Wanted(hidden=("m24", "l20", "l10"), logprob=True, sums=True)
    together = model.extract(texts, wanted, [question] * 3)
    for row, text in enumerate(texts):
        alone = model.extract([text], wanted, [question])
        for name in wanted.hidden:
            x, y = together[name][row].astype(float), alone[name][0].astype(float)
            assert x @ y / np.linalg.norm(x) / np.linalg.norm(y) > 0.999, name
        assert np.allclose(together["logprob"][row], alone["logprob"][0], atol=0.3)


@pytest.mark.train
def test_the_model_finds_right_sums_likelier(model: LanguageModel) -> None:
    """Sanity: with easy sums, the least likely token of a right answer is likelier than that of a wrong one."""
    question = "Question: Ben has 2 bags with 5 coins in each bag. How many coins are there?\nAnswer:"
    found = model.extract(
        [f"{question} 2 * 5 = {v}" for v in (10, 13)], Wanted(logprob=True, sums=True), [question] * 2
    )
    least = found["logprob"][:, LOGPROB_NAMES.index("least")]
    assert least[0] > least[1] + 1


@pytest.mark.train
def test_good_words_follow_good_sentences(model: LanguageModel) -> None:
    """Sanity: the word contrast after the suffix has the sign of the sentence."""
    wanted = Wanted(hidden=("m20",), suffix="\nOverall, it was", words=((" great", " terrible"),))
    found = model.extract(["A wonderful film, I loved it.", "A dreadful film, I hated it."], wanted)
    assert found["words"][0, 0] > found["words"][1, 0]
