"""Rules of critic training's parts: what is asked, what the teacher reads, what is rewarded, what a task must have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.errors import InputError, NotApplicable
from aarlab.w2s import critic, toy
from aarlab.w2s.methods import critic_training, weak_labels_hard
from aarlab.w2s.students.base import Teacher
from aarlab.w2s.students.probe import ProbeStudent
from aarlab.w2s.students.reinforcement import Progress, Reinforced, Reinforcement, Reward
from aarlab.w2s.task import Floats, Items, W2STask

KINDS = ("math", "code", "pref")
SHORT = Reinforcement(steps=2, prompts=4, group=2, tokens=4, micro=8)


class SayingStudent(ProbeStudent):
    """A probe student that also writes: always one sentence, which reinforcement picks out of a few by its reward.

    A real policy over a handful of texts, chosen by the mean reward of each: what GRPO does, without a network.
    """

    TEXTS = ("all is well", "look at the evidence", "")

    def __init__(self, like: ProbeStudent, text: str = TEXTS[0]) -> None:
        super().__init__(like.spec, like.layers)
        self.text = text

    def generate(self, prompts: Sequence[str], tokens: int, seed: int = 0) -> list[str]:
        return [self.text] * len(prompts)

    def reinforce(
        self,
        prompts: Sequence[str],
        reward: Reward,
        seed: int = 0,
        settings: Reinforcement | None = None,
        progress: Progress | None = None,
    ) -> Reinforced:
        rows = np.arange(len(prompts))
        means = [float(np.mean(np.asarray(reward(rows, [text] * len(rows))))) for text in self.TEXTS]
        best = self.TEXTS[int(np.argmax(means))]
        rewards = np.array([means[self.TEXTS.index(self.text)], max(means)], np.float32)
        return Reinforced(SayingStudent(self, best), rewards, np.full(2, 4, np.float32))


class ReadingTeacher(toy.AttentiveTeacher):
    """An attentive teacher that must be taught before it reads critiques; remembers what it was taught on."""

    def __init__(self, learnt: Sequence[str] = ()) -> None:
        super().__init__()
        self.learnt = set(learnt)

    def learn(self, items: Items, labels: np.ndarray, notes: Sequence[str], seed: int = 0) -> ReadingTeacher:
        assert len(items) == len(labels) == len(notes)
        return ReadingTeacher(items.ids)

    def predict(self, items: Items, notes: Sequence[str] | None = None) -> Floats:
        known = np.isin(items.ids, list(self.learnt))
        return np.where(known, 0.5, super().predict(items, notes)).astype(np.float32)


def task_of(kind: str = "math", own: float = 0.3, teacher: Teacher | None = None) -> W2STask:
    task = critic.with_teacher(toy.make(kind, groups=60), 0, teacher or toy.AttentiveTeacher(), own)
    assert isinstance(task.student, ProbeStudent)
    return replace(task, student=SayingStudent(task.student))


def panel_of(task: W2STask, items: Items, others: Sequence[str] = ()) -> critic.Panel:
    assert task.teacher is not None
    return critic.Panel((task.teacher,), np.zeros(len(items), np.int64), items, tuple(others))


@pytest.mark.parametrize("kind", KINDS)
def test_a_critic_is_asked_about_one_answer_at_a_time(kind: str) -> None:
    """One prompt per item, two per comparison, and no prompt shows the other side."""
    items = task_of(kind).train
    asked = critic.prompts(items)
    assert len(asked) == len(items) * (2 if kind == "pref" else 1)
    parts = items.passages[3]
    assert parts[0].strip() in asked[3]
    assert parts[1] in asked[3]
    if kind == "pref":
        assert parts[2] not in asked[3]
        assert parts[2] in asked[3 + len(items)]


def test_a_question_that_ends_in_answer_is_not_asked_twice() -> None:
    """The worked answers' own heading does not stand before the critic's."""
    inputs = replace(toy.make(groups=10).inputs, passages=(("Question: 2 + 2?\nAnswer:", " 5"),) * 40)
    asked = critic.prompts(Items(inputs, np.arange(1), np.array(["a"])))[0]
    assert "Answer:" not in asked
    assert asked.index("2 + 2?") < asked.index("\n5\n")


def test_without_texts_there_is_nothing_to_criticise() -> None:
    """A problem that may not ship its texts is not applicable, and the sentence says so."""
    inputs = replace(toy.make(groups=10).inputs, texts=None, passages=None)
    with pytest.raises(NotApplicable, match="ships no texts"):
        critic.prompts(Items(inputs, np.arange(2), np.array(["a", "b"])))


def test_notes_put_the_sides_of_a_comparison_together() -> None:
    """The teacher reads both critiques of a comparison; an empty critique leaves no heading behind."""
    pairs = task_of("pref").train[:2]
    assert critic.notes(["dull", "", "short", ""], pairs) == ["Critique of A: dull\nCritique of B: short", ""]
    single = task_of("math").train[:2]
    assert critic.notes([" wrong sum ", " "], single) == ["Critique: wrong sum", ""]
    with pytest.raises(InputError, match="3 critiques for 2 items; 2 are needed"):
        critic.notes(["a", "b", "c"], single)


@pytest.mark.parametrize("kind", KINDS)
def test_noted_items_show_the_note_before_their_text_and_nothing_else_changes(kind: str) -> None:
    """Texts and passages begin with the note, which indexing keeps; features, groups and ids are the same."""
    items = task_of(kind).train[:5]
    noted = items.noted([f"note {i}" for i in range(5)])
    assert all(p[0].startswith(f"note {i}\n\n") for i, p in enumerate(noted.passages))
    assert all(t.startswith(f"note {i}\n\n") for i, t in enumerate(noted.texts))
    assert [p[1:] for p in noted.passages] == [p[1:] for p in items.passages]
    assert noted[np.array([3, 1])].passages[0][0].startswith("note 3")
    assert (noted + items)[7].passages == items[2].passages
    np.testing.assert_array_equal(noted.features("m20"), items.features("m20"))
    assert noted.ids == items.ids
    assert items.noted([""] * 5).passages == items.passages
    with pytest.raises(ValueError, match="4 notes for 5 items"):
        items.noted(["a"] * 4)


@pytest.mark.parametrize("kind", KINDS)
def test_improvement_is_the_gain_in_log_probability_of_the_right_label(kind: str) -> None:
    """Worked out by hand for each prompt, sides of comparisons included; capped on both ends."""
    task = task_of(kind)
    own, truth = task.extras["own_items"], task.extras["own_labels"]
    count = len(critic.prompts(own))
    panel = panel_of(task, own, [""] * count)
    rows = np.arange(count)[::3]
    texts = ["the evidence" if i % 2 else "nothing" for i in range(len(rows))]
    found = np.asarray(critic.improvement(panel, truth, cap=1.5)(rows, texts))
    teacher = toy.AttentiveTeacher()
    which = rows % len(own)
    before, after = teacher.predict(own[which]), teacher.predict(own[which], texts)
    right = truth[which] > 0.5
    gain = np.log(np.where(right, after, 1 - after)) - np.log(np.where(right, before, 1 - before))
    np.testing.assert_allclose(found, np.clip(gain, -1.5, 1.5), atol=2e-3)
    assert (found[::2] == 0).all()


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8), q=st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_a_reward_is_finite_and_capped_however_sure_the_teacher(p: list[float], q: list[float]) -> None:
    """Probabilities of exactly 0 and 1 do not break the logarithm."""

    class Sure:
        def predict(self, items: Items, notes: Sequence[str] | None = None) -> Floats:
            return np.array((p * 8)[: len(items)] if notes is None else q[: len(items)], np.float32)

    items = toy.make(groups=10).view(0).train[:8]
    panel = critic.Panel((Sure(),), np.zeros(8, np.int64), items, ())
    for labels in (np.zeros(8), np.ones(8)):
        found = np.asarray(critic.improvement(panel, labels)(np.arange(8), ["a"] * 8))
        assert np.isfinite(found).all()
        assert (np.abs(found) <= critic.CAP).all()


def test_objection_rewards_a_found_fault_and_needs_no_label() -> None:
    """1 where the teacher then says wrong; of a comparison, where it then prefers the side that is not criticised."""

    class Hearing:
        def predict(self, items: Items, notes: Sequence[str] | None = None) -> Floats:
            assert notes is not None
            against_first = np.array(["A: bad" in n or n == "Critique: bad" for n in notes])
            against_second = np.array(["B: bad" in n for n in notes])
            return (0.6 - 0.4 * against_first + 0.3 * against_second).astype(np.float32)

    for kind in ("math", "pref"):
        items = toy.make(kind, groups=10).view(0).train[:4]
        sides = 2 if kind == "pref" else 1
        panel = critic.Panel((Hearing(),), np.zeros(4, np.int64), items, ("fine",) * 4 * sides)
        rows = np.arange(4 * sides)
        told = np.asarray(critic.objection(panel)(rows, ["bad"] * len(rows)))
        silent = np.asarray(critic.objection(panel)(rows, ["good"] * len(rows)))
        assert told.tolist() == [1] * 4 * sides
        assert silent.tolist() == [0] * 4 + [1] * 4 * (sides - 1)


def test_labels_must_be_true_labels() -> None:
    """Improvement is measured against 0 and 1, one per item."""
    task = task_of()
    own = task.extras["own_items"]
    with pytest.raises(InputError, match="each 0 or 1"):
        critic.improvement(panel_of(task, own), np.full(len(own), 0.3))
    with pytest.raises(InputError, match="labels"):
        critic.improvement(panel_of(task, own), np.ones(3))


def test_a_teacher_that_learns_never_rewards_on_what_it_learnt() -> None:
    """Each own item is judged by a teacher of the other fold; the teacher that labels in the end learnt from all."""
    task = task_of(teacher=ReadingTeacher())
    own = task.extras["own_items"]
    lesson = critic.lesson(task, SHORT)
    gains = np.asarray(lesson.reward(np.arange(len(own)), ["evidence"] * len(own)))
    assert (gains != 0).mean() > 0.95
    assert isinstance(lesson.teacher, ReadingTeacher)
    assert lesson.teacher.learnt == set(own.ids)


def test_without_own_labels_the_critic_is_taught_on_the_train_items() -> None:
    """The reward is then 0 or 1 and reads no label at all."""
    task = task_of(own=0)
    assert "own_items" not in task.extras
    lesson = critic.lesson(task, SHORT)
    assert lesson.prompts == critic.prompts(task.train)
    found = np.asarray(lesson.reward(np.arange(5), ["evidence"] * 5))
    assert set(found.tolist()) <= {0.0, 1.0}


def test_objection_may_use_a_teacher_that_learnt_to_read_from_its_own_labels() -> None:
    """As in the study: true labels teach the teacher which critiques to believe, and the reward sees none."""
    task = task_of(teacher=ReadingTeacher())
    lesson = critic.by_objection(task, SHORT)
    assert isinstance(lesson.teacher, ReadingTeacher)
    assert lesson.teacher.learnt == set(task.extras["own_items"].ids)
    assert lesson.prompts == critic.prompts(task.train)


@pytest.mark.parametrize("kind", KINDS)
def test_relabelling_averages_over_critiques(kind: str) -> None:
    """Two copies of which one helps give the mean of both judgements."""
    task = task_of(kind)
    assert task.teacher is not None
    count = len(critic.prompts(task.train))
    copies = [["evidence"] * count, ["nothing"] * count]
    one, two = (critic.relabelled(task.teacher, task.train, [copy]) for copy in copies)
    np.testing.assert_allclose(critic.relabelled(task.teacher, task.train, copies), (one + two) / 2, atol=1e-6)
    with pytest.raises(InputError, match="at least one copy"):
        critic.relabelled(task.teacher, task.train, [])


def test_the_own_set_is_taken_from_train_and_shares_no_group_with_it() -> None:
    """The teacher's labelled items are neither train nor test items, nor siblings of a train item."""
    task = task_of()
    own = task.extras["own_items"]
    assert not set(own.ids) & (set(task.train.ids) | set(task.test.ids))
    assert not set(own.groups.tolist()) & set(task.train.groups.tolist())
    assert len(task.weak_labels) == len(task.train)
    with pytest.raises(InputError, match=r"own is 1\.0"):
        task_of(own=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_critic_training_finds_the_helpful_words_and_gains(kind: str) -> None:
    """On the toy the right sentence is found, and the student trained on helped labels beats the one on weak labels."""
    open_task = toy.make(kind, groups=120)
    task = critic.with_teacher(open_task, 0, toy.AttentiveTeacher(), 0.3)
    assert isinstance(task.student, ProbeStudent)
    task = replace(task, student=SayingStudent(task.student))
    drawn = open_task.draw(0)
    found = np.asarray(critic_training.run(task, 0))
    assert found.shape == (len(task.test),)
    assert open_task.accuracy(found, drawn) > open_task.accuracy(weak_labels_hard.run(task, 0), drawn) + 0.1


def test_what_is_missing_is_named() -> None:
    """The probe student writes no text; a task of labels alone has no teacher to ask."""
    plain = toy.make(groups=20).view(0)
    with pytest.raises(NotApplicable, match=r"holds only its labels.*ProbeStudent writes no text"):
        critic_training.run(plain, 0)
    with pytest.raises(NotApplicable, match="writes no text"):
        critic_training.run(replace(plain, teacher=toy.AttentiveTeacher()), 0)
    assert isinstance(plain.student, ProbeStudent)
    with pytest.raises(NotApplicable, match="teacher that can be asked again"):
        critic_training.run(replace(plain, student=SayingStudent(plain.student)), 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"group": 1}, "group is 1"),
        ({"rate": 0.0}, "rate"),
        ({"top_p": 0.0}, "top_p"),
        ({"prompts": 3, "group": 3, "micro": 4}, "9 texts a step"),
    ],
)
def test_settings_are_checked(values: dict[str, float], words: str) -> None:
    """Settings that cannot run are refused in one sentence."""
    with pytest.raises(InputError, match=words):
        Reinforcement(**values)  # type: ignore[arg-type]
