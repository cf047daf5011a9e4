"""Rules of reinforcement through TRL, on a tiny random model: reward rises where it can, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aarlab.errors import InputError
from aarlab.w2s import critic, toy
from aarlab.w2s.methods import critic_training
from aarlab.w2s.students.reinforcement import Reinforcement, Writer
from aarlab.w2s.task import Floats, Ints, Items

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch")

PROMPTS = [f"Criticise item {i}. Critique:" for i in range(12)]
FAST = Reinforcement(steps=14, prompts=4, group=8, tokens=12, rate=2e-2, kl=0.01, micro=32)
SHORT = Reinforcement(steps=2, prompts=2, group=2, tokens=4, rate=1e-3, kl=0.0, micro=4)


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    """The shipped random two-block model, which reads bytes."""
    from aarlab.w2s.students.lora import models

    loaded = models.load("tiny", "float32", "cpu", 1)
    return loaded.model, loaded.tokenizer


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
    assert not any(parameter.requires_grad for parameter in model.parameters())


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


def test_a_missing_package_is_named_with_its_remedy(tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the install command."""
    from aarlab.w2s.students.lora import grpo

    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(InputError, match=r"'trl'.*pip install 'aarlab\[train\]'"):
        grpo.optimise(*tiny, adapter(), PROMPTS, share_of_e, SHORT)


def test_no_prompts_are_refused(tiny: tuple[Any, Any]) -> None:
    """Before anything is loaded."""
    from aarlab.w2s.students.lora import grpo

    with pytest.raises(InputError, match="no prompts"):
        grpo.optimise(*tiny, adapter(), [], share_of_e, SHORT)


def test_a_prompt_too_long_for_the_model_loses_its_beginning(tiny: tuple[Any, Any]) -> None:
    """What the critic is asked at the end of the prompt is kept; texts as long as the model reads are refused."""
    from aarlab.w2s.students.lora import grpo

    assert grpo._fitted(tiny[1], ["x" * 900 + "end", "short"], 100) == ["x" * 97 + "end", "short"]
    with pytest.raises(InputError, match="set fewer tokens"):
        grpo.optimise(*tiny, adapter(), PROMPTS, share_of_e, replace(SHORT, tokens=1024))


def test_a_teacher_of_the_same_model_may_judge_while_the_critic_learns() -> None:
    """Its opinion inside a reward is its opinion outside: the critic's adapter is not on the weights they share."""
    from aarlab.w2s.students.lora import LoraStudent
    from aarlab.w2s.students.lora.teacher import LoraTeacher

    student = LoraStudent("tiny")
    items = toy.make(groups=10).view(0).train[:6]
    notes = [f"Critique: {word}" for word in ("bad", "good", "", "bad", "good", "")]
    with pytest.raises(InputError, match="learnt nothing yet"):
        LoraTeacher(student).predict(items)
    teacher = LoraTeacher(student.smaller(0.5)).learn(items, [1, 0, 1, 1, 0, 0], notes)
    outside, inside = teacher.predict(items, notes), []

    def reward(rows: Ints, texts: Sequence[str]) -> list[float]:
        inside.append(teacher.predict(items, notes))
        return share_of_e(rows, texts)

    student.reinforce(PROMPTS, reward, 0, replace(SHORT, rate=0.05))
    assert len(inside) == SHORT.steps
    for found in inside:
        np.testing.assert_allclose(found, outside, atol=1e-6)
    assert np.abs(outside - teacher.predict(items)).max() > 1e-4


class HeardByTeacher:
    """An attentive teacher that counts how many items it was asked about with a critique."""

    def __init__(self) -> None:
        self.teacher, self.asked = toy.AttentiveTeacher("e", enough=8), 0

    def predict(self, items: Items, notes: Sequence[str] | None = None) -> Floats:
        self.asked += 0 if notes is None else len(items)
        return self.teacher.predict(items, notes)


def test_a_critic_learns_to_help_the_toy_teacher() -> None:
    """Through the whole chain on the tiny student: the reward rises, and the teacher's new labels are much better."""
    from aarlab.w2s.students.lora import LoraStudent

    student = LoraStudent("tiny")
    assert isinstance(student, Writer)
    open_task = toy.make(groups=60)
    task = critic.with_teacher(open_task, 0, toy.AttentiveTeacher("e", enough=8), 0.1, student)
    own = len(task.extras["own_items"])  # every step sees all of them, so that its mean is comparable
    settings = Reinforcement(steps=9, prompts=own, group=8, tokens=12, rate=4e-2, kl=0.01, micro=8 * own)
    lesson = critic.lesson(task, settings)
    found = student.reinforce(lesson.prompts, lesson.reward, 0, settings)
    assert found.rewards[-3:].mean() > 1.6 * found.rewards[:2].mean()
    truth = dict(zip(open_task.inputs.texts or (), open_task.labels > 0, strict=True))
    right = np.array([truth[text] for text in task.train.texts])
    helped = critic.relabelled(lesson.teacher, task.train, critic.write(found.writer, task.train, settings.tokens, 2))
    assert ((helped > 0.5) == right).mean() > ((task.weak_labels > 0.5) == right).mean() + 0.15


@pytest.mark.parametrize(("kind", "own"), [("math", 0.3), ("pref", 0.0)])
def test_critic_training_runs_on_the_tiny_student(kind: str, own: float) -> None:
    """Both rewards, single answers and comparisons: probabilities of the right shape, and the teacher was asked."""
    from aarlab.w2s.students.lora import LoraStudent

    teacher = HeardByTeacher()
    task = critic.with_teacher(toy.make(kind, groups=12), 0, teacher, own, LoraStudent("tiny"))
    task = replace(task, extras={**task.extras, "reinforcement": SHORT})
    found = np.asarray(critic_training.run(task, 0))
    assert found.shape == (len(task.test),)
    assert ((found > 0) & (found < 1)).all()
    assert teacher.asked == SHORT.steps * SHORT.texts + critic_training.COPIES * len(task.train)


def test_the_example_runs() -> None:
    """examples/critic_training.py works as written, with fewer steps: a reward per step, and what it did for whom."""
    example = Path(__file__).parents[1] / "examples" / "critic_training.py"
    call = [sys.executable, str(example), "--steps", "2"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "reinforcement 2/2" in done.stdout
    assert "with the trained critic's" in done.stdout
    assert "helped labels" in done.stdout
