"""Rules of steps, passes and the store of lower states: numpy alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.errors import InputError
from aarlab.w2s.students.lora.batches import epoch, filled, passes, steps
from aarlab.w2s.students.lora.config import CONFIGURATIONS, LoraConfig, configuration
from aarlab.w2s.students.lora.states import States

LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=200)


@given(LENGTHS, st.integers(1, 40), st.integers(0, 5))
def test_an_epoch_shows_every_item_once_in_steps_of_the_asked_size(lengths: list[int], batch: int, seed: int) -> None:
    """All steps but one hold `batch` items."""
    found = epoch(lengths, batch, np.random.default_rng(seed))
    assert sorted(np.concatenate(found)) == list(range(len(lengths)))
    sizes = sorted(len(step) for step in found)
    assert all(size == batch for size in sizes[1:])
    assert 0 < sizes[0] <= batch


@given(LENGTHS, st.integers(1, 2000))
def test_passes_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    """Padded tokens stay within the budget unless one item alone is longer."""
    rows = np.arange(len(lengths))[::2]
    found = passes(lengths, rows, budget)
    assert sorted(np.concatenate(found)) == list(rows)
    for part in found:
        assert len(part) == 1 or max(lengths[i] for i in part) * len(part) <= budget


@given(LENGTHS, st.integers(1, 16), st.integers(1, 60))
def test_a_prefix_of_the_steps_is_the_same_however_many_are_asked_for(lengths: list[int], batch: int, n: int) -> None:
    """So a training that was stopped goes on with the same items."""
    some, more = list(steps(lengths, batch, n, 3)), list(steps(lengths, batch, n + 5, 3))
    assert len(some) == n
    assert all(np.array_equal(a, b) for a, b in zip(some, more, strict=False))


def test_grouped_steps_hardly_pad() -> None:
    """Lengths as in the shipped texts: above 90 % of the tokens are real, in steps drawn at random under 70 %."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(3.5, 0.5, 2000), 8, 200).astype(int)
    assert filled(lengths, epoch(lengths, 16, rng)) > 0.9
    assert filled(lengths, list(np.split(rng.permutation(2000), 125))) < 0.7


def test_epochs_differ_and_seeds_differ() -> None:
    """No order is used twice; the same seed gives the same order."""
    lengths = np.arange(1, 65)
    order = [np.concatenate(list(steps(lengths, 8, 16, seed))) for seed in (0, 0, 1)]
    assert np.array_equal(order[0], order[1])
    assert not np.array_equal(order[0], order[2])
    assert not np.array_equal(order[0][:64], order[0][64:])


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_states_come_back_as_they_were_also_from_the_file(dtype: type) -> None:
    """What does not fit into memory is read from a file."""
    rng = np.random.default_rng(0)
    store = States(limit=2000)
    texts = [rng.integers(0, 100, size) for size in (5, 20, 40, 7)]
    values = [rng.integers(-9, 9, (len(ids), 32)).astype(dtype) for ids in texts]
    for ids, value in zip(texts, values, strict=True):
        assert ids not in store
        store.put(ids, value)
    assert store.spilled > 0
    assert 0 < store.bytes <= 2000
    for ids, value in zip(texts, values, strict=True):
        assert ids in store
        assert np.array_equal(store.get(ids), value)


def test_the_shipped_configurations_are_known_by_name_and_can_be_changed() -> None:
    """The pair of the study has its published settings."""
    for name, found in CONFIGURATIONS.items():
        assert found.model == name
    strong = configuration("qwen3-4b-base")
    assert (strong.epochs, strong.learning_rate, strong.schedule, strong.batch) == (5, 1e-4, "linear", 32)
    assert (strong.rank, strong.alpha, strong.dropout, strong.context, strong.head) == (32, 32, 0, 8192, "label tokens")
    assert configuration("some/model", epochs=1).model == "some/model"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"head": "softmax"}, "known: auto"),
        ({"dtype": "float16"}, "bfloat16, float32"),
        ({"frozen_blocks": -1}, "at least 0"),
        ({"context": 1}, "at least 2"),
        ({"learning_rate": float("nan")}, "above 0"),
        ({"lr": 1.0}, "no such setting"),
    ],
)
def test_settings_that_mean_nothing_are_named(changes: dict, word: str) -> None:
    """The sentence names the setting and what is needed."""
    with pytest.raises(InputError, match=word):
        configuration("tiny", **changes)
    assert isinstance(LoraConfig(), LoraConfig)
