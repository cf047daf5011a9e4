"""Rules of reinforcement through TRL, on a tiny random model: reward rises where it can, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from aarlab.errors import InputError
from aarlab.w2s.students.reinforcement import Reinforcement
from aarlab.w2s.task import Ints

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch")

PROMPTS = [f"Criticise item {i}. Critique:" for i in range(12)]
FAST = Reinforcement(steps=14, prompts=4, group=8, tokens=12, rate=2e-2, kl=0.01, micro=32)
SHORT = Reinforcement(steps=2, prompts=2, group=2, tokens=4, rate=1e-3, kl=0.0, micro=4)


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    """A random two-block Llama that reads bytes, wide enough in its output layer to prefer one of them."""
    import tokenizers
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    bytes_ = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate([*alphabet, "<end>"])}, []))
    bytes_.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_.decoder = tokenizers.decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bytes_, eos_token="<end>", pad_token="<end>")
    end = tokenizer.eos_token_id
    config = transformers.LlamaConfig(
        vocab_size=257, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512, eos_token_id=end, pad_token_id=end, bos_token_id=None, initializer_range=0.15,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval(), tokenizer


def adapter() -> Any:
    import peft

    return peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")


def share_of_e(rows: Ints, texts: Sequence[str]) -> list[float]:
    return [min(text.count("e"), 6) / 6 for text in texts]


def written(model: Any, tokenizer: Any, seed: int = 0) -> str:
    torch.manual_seed(seed)
    ids = tokenizer(PROMPTS[:1], return_tensors="pt")
    text: str = tokenizer.decode(model.generate(**ids, max_new_tokens=12, do_sample=True)[0, ids.input_ids.shape[1] :])
    return text


def test_reward_rises_where_it_can_and_the_model_stays_as_it_was(tiny: tuple[Any, Any]) -> None:
    """A byte that is rewarded becomes the usual one; without the adapter the model writes what it wrote before."""
    from aarlab.w2s.students.lora import grpo

    model, tokenizer = tiny
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrote, steps = written(model, tokenizer), []
    found = grpo.optimise(
        model, tokenizer, adapter(), PROMPTS, share_of_e, FAST, 0, lambda what, done, total: steps.append((done, total))
    )
    assert found.rewards.shape == found.lengths.shape == (FAST.steps,)
    assert found.rewards[:3].mean() < 0.1
    assert found.rewards[-3:].mean() > found.rewards[:3].mean() + 0.5
    assert steps == [(i + 1, FAST.steps) for i in range(FAST.steps)]
    with grpo.wearing(model, adapter(), found.state):
        assert written(model, tokenizer).count("e") > 5
    assert written(model, tokenizer) == wrote
    assert {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])} == set()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_every_text_is_rewarded_with_the_prompt_it_answers(tiny: tuple[Any, Any]) -> None:
    """Rows point into the prompts as given, groups are whole, and fewer prompts than a step needs are used again."""
    from aarlab.w2s.students.lora import grpo

    seen: list[list[int]] = []

    def reward(rows: Ints, texts: Sequence[str]) -> list[float]:
        assert len(rows) == len(texts) == SHORT.texts
        seen.append(rows.tolist())
        return [float(len(text)) for text in texts]

    for prompts in (PROMPTS, PROMPTS[:1]):
        seen.clear()
        grpo.optimise(*tiny, adapter(), prompts, reward, SHORT)
        assert len(seen) == SHORT.steps
        for rows in seen:
            assert rows[0::2] == rows[1::2]
            assert set(rows) <= set(range(len(prompts)))


def test_the_same_seed_gives_the_same_curve(tiny: tuple[Any, Any]) -> None:
    """Everything random follows the seed."""
    from aarlab.w2s.students.lora import grpo

    one, two, other = (
        grpo.optimise(*tiny, adapter(), PROMPTS, lambda r, t: [float(len(x.encode())) for x in t], SHORT, seed)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one.rewards, two.rewards)
    assert (one.rewards != other.rewards).any()


@pytest.mark.parametrize("bad", [[float("nan")] * 4, [1.0], [[1.0, 2.0]] * 4])
def test_a_reward_must_be_one_finite_number_per_text(tiny: tuple[Any, Any], bad: Any) -> None:
    """The sentence says what came back, and the adapter is taken off all the same."""
    from aarlab.w2s.students.lora import grpo

    with pytest.raises(InputError, match="one finite number each"):
        grpo.optimise(*tiny, adapter(), PROMPTS, lambda rows, texts: bad, SHORT)
    assert type(tiny[0].model.layers[0].self_attn.q_proj) is torch.nn.Linear


def test_no_prompts_are_refused(tiny: tuple[Any, Any]) -> None:
    """Before anything is loaded."""
    from aarlab.w2s.students.lora import grpo

    with pytest.raises(InputError, match="no prompts"):
        grpo.optimise(*tiny, adapter(), [], share_of_e, SHORT)
