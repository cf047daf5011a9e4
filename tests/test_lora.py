"""Rules of the fine-tuned student, on a tiny random model of the same classes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aarlab.errors import InputError, NotApplicable
from aarlab.w2s import toy
from aarlab.w2s.methods import confident_weak_labels, weak_labels_hard, weak_labels_soft
from aarlab.w2s.open_task import OpenTask
from aarlab.w2s.parts.losses import Hardened
from aarlab.w2s.students.lora import LoraHead, LoraStudent, configuration, models
from aarlab.w2s.students.reinforcement import Reinforcement
from aarlab.w2s.task import Items, W2STask

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

WORDS = ("plum", "rain", "stone", "cloud", "leaf", "sand")


def worded(kind: str = "math", groups: int = 40, seed: int = 0) -> OpenTask:
    """A task whose truth stands in its texts: right answers end in "good", wrong ones in "bad"; lengths differ."""
    base = toy.make(kind, groups, seed)
    rng = np.random.default_rng(seed)
    texts = []
    for label in base.labels:
        question = " ".join(rng.choice(WORDS, rng.integers(1, 9))) + "?"
        right, wrong = (f" {rng.choice(WORDS)} {end}" for end in ("good", "bad"))
        both = (right, wrong) if label else (wrong, right)
        texts.append((question, *both) if kind == "pref" else (question, both[0]))
    return replace(base, inputs=replace(base.inputs, passages=tuple(texts)))


def tiny(head: str = "auto", **changes: Any) -> LoraStudent:
    return LoraStudent(configuration("tiny", **{"head": head, "epochs": 4, **changes}))


def case(kind: str = "math") -> tuple[W2STask, np.ndarray, np.ndarray]:
    """A view and the true labels of its train and test items."""
    task = worded(kind)
    drawn = task.draw(0)
    return task.view(0), task.labels[drawn.train] > 0, task.labels[drawn.test] > 0


@pytest.fixture(scope="module")
def math() -> tuple[W2STask, np.ndarray, np.ndarray]:
    return case("math")


def right(head: LoraHead, items: Items, truth: np.ndarray) -> float:
    return float(((head.predict(items) > 0.5) == truth).mean())


@pytest.mark.parametrize(
    ("kind", "head", "chat"),
    [
        ("math", "likelihood", False),
        ("math", "scalar", True),
        ("math", "label tokens", False),
        ("pref", "scalar", False),
        ("pref", "likelihood", False),
        ("pref", "label tokens", True),
    ],
)
def test_every_head_learns_a_toy_and_repeats_itself(kind: str, head: str, chat: bool) -> None:
    """Labels that stand in the texts are learnt; the same seed gives the same numbers, another seed others."""
    task, y, truth = case(kind)
    student = tiny(head, chat=chat, epochs=6)
    assert right(student.fit(task.train, y), task.test, truth) > 0.9
    first, second, other = (student.fit(task.train, y, seed=s, effort=0.1).parameters() for s in (0, 0, 1))
    assert np.array_equal(first, second)
    assert first.shape == other.shape
    assert not np.allclose(first, other)


@pytest.mark.parametrize("head", ["scalar", "likelihood"])
def test_heads_of_comparisons_are_antisymmetric(head: str) -> None:
    """Exchanging the two sides flips the sign of the log-odds."""
    task, y, _ = case("pref")
    found = tiny(head, epochs=1).fit(task.train, y)
    assert np.allclose(found.logits(task.test), -found.logits(task.test.mirror()), atol=1e-4)


def test_soft_targets_give_softer_opinions(math: Any) -> None:
    """Taught 0.7 and 0.3, a head says about that and not 1 and 0."""
    task, y, truth = math
    soft = tiny(epochs=6).fit(task.train, np.where(y, 0.7, 0.3))
    hard = tiny(epochs=6).fit(task.train, y)
    assert right(soft, task.test, truth) > 0.9
    assert abs(soft.predict(task.test)[truth].mean() - 0.7) < 0.1
    assert hard.predict(task.test)[truth].mean() > 0.9


def test_an_item_of_weight_zero_is_left_out_and_a_common_factor_means_nothing(math: Any) -> None:
    """Weights are relative."""
    task, y, _ = math
    student, kept = tiny(epochs=1), np.arange(len(y)) % 3 > 0
    left_out = student.fit(task.train, y, weights=kept * 7.0)
    alone = student.fit(task.train[kept], y[kept])
    assert np.allclose(left_out.parameters(), alone.parameters(), atol=1e-6)


def test_a_weight_counts_like_copies(math: Any) -> None:
    """With heavy weights on wrong labels the wrong labels win."""
    task, y, truth = math
    both = task.train + task.train
    targets, heavy = np.concatenate([y, ~y]), np.repeat([1.0, 20.0], len(y))
    assert right(tiny(epochs=3).fit(both, targets, heavy), task.test, truth) < 0.2


def test_moving_targets_are_asked_with_the_right_rows(math: Any) -> None:
    """A loss that gives back the given targets trains as those targets; progress rises from 0 and stays below 1."""
    task, y, _ = math
    student, seen = tiny(epochs=1), []

    def same(logits: np.ndarray, rows: np.ndarray, progress: float) -> np.ndarray:
        assert logits.shape == rows.shape
        seen.append(progress)
        return y[rows].astype(np.float32)

    weights = (np.arange(len(y)) % 2).astype(float)
    plain = student.fit(task.train, y, weights)
    moved = student.fit(task.train, 0.5 + 0 * y, weights, moving=same)
    assert np.allclose(plain.parameters(), moved.parameters(), atol=1e-6)
    assert seen[0] == 0
    assert 0.4 < seen[-1] < 1
    assert seen == sorted(seen)


def test_the_students_own_labels_as_moving_targets(math: Any) -> None:
    """The auxiliary confidence loss runs: half the teacher's labels, half the student's own."""
    task, y, truth = math
    own = Hardened(share=float(y.mean()))
    half = tiny(epochs=6).fit(
        task.train, y, moving=lambda z, rows, _: (0.5 * y[rows] + 0.5 * own(z)).astype(np.float32)
    )
    assert right(half, task.test, truth) > 0.85


def test_start_effort_and_rate(math: Any) -> None:
    """A start is gone on from; less effort or rate moves less."""
    task, y, _ = math
    student = tiny()
    before = student.fit(task.train, y, effort=0.5)
    moved = [
        np.linalg.norm(student.fit(task.train, y, start=before, effort=e, rate=r).parameters() - before.parameters())
        for e, r in ((0.25, 1.0), (0.25, 0.01), (0.05, 1.0))
    ]
    assert moved[0] > moved[2] > 0
    assert moved[1] < 0.05 * moved[0]
    with pytest.raises(InputError, match="head of its own"):
        student.smaller(0.5).fit(task.train, y, start=before)


def test_two_heads_do_not_disturb_each_other_nor_the_model(math: Any) -> None:
    """A head says the same before and after another was trained; the model is as it was."""
    task, y, _ = math
    student = tiny(epochs=1)
    weights = {name: value.clone() for name, value in student.model.state_dict().items()}
    untrained = student.zero_shot(task.test)
    first = student.fit(task.train, y)
    said = first.logits(task.test)
    second = student.fit(task.train, ~y)
    assert np.array_equal(first.logits(task.test), said)
    assert not np.allclose(second.logits(task.test), said, atol=0.1)
    assert np.array_equal(first.with_parameters(first.parameters()).logits(task.test), said)
    assert np.array_equal(student.zero_shot(task.test), untrained)
    after = student.model.state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], value) for name, value in weights.items())


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_killed_training_goes_on_to_the_same_result(math: Any, tmp_path: Path, dropout: float) -> None:
    """What a checkpoint does not hold is done again; a finished training is read back without a step."""
    task, y, _ = math
    config = configuration("tiny", epochs=2, save_every=3, dropout=dropout)
    whole = LoraStudent(config).fit(task.train, y).parameters()
    calls: list[int] = []

    def dies(what: str, done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LoraStudent(config, checkpoints=tmp_path, progress=dies).fit(task.train, y)
    assert len(list(tmp_path.glob("*.pt"))) == 1
    again: list[int] = []
    resumed = LoraStudent(config, checkpoints=tmp_path, progress=lambda what, done, total: again.append(done))
    assert np.allclose(resumed.fit(task.train, y).parameters(), whole, atol=1e-6)
    steps = round(2 * len(y) / config.batch)
    assert len(again) == steps - 6
    assert np.allclose(resumed.fit(task.train, y).parameters(), whole, atol=1e-6)
    assert len(again) == steps - 6
    resumed.fit(task.train, ~y)
    assert len(again) == 2 * steps - 6


def test_progress_counts_tokens_to_the_end(math: Any) -> None:
    """The last call says all tokens are done."""
    task, y, _ = math
    seen: list[tuple[int, int]] = []
    LoraStudent(configuration("tiny", epochs=1), progress=lambda what, a, b: seen.append((a, b))).fit(task.train, y)
    assert seen[-1][0] == seen[-1][1] > len(y)


@pytest.mark.parametrize(
    "error", [RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), MemoryError()]
)
def test_memory_that_runs_out_halves_the_pass_and_not_the_step(math: Any, error: BaseException) -> None:
    """The result is that of a machine with memory enough; the next training starts with the smaller passes."""
    task, y, _ = math
    whole = tiny(epochs=1, micro_tokens=4096).fit(task.train, y)
    student = tiny(epochs=1, micro_tokens=4096)
    starve(student, 300, error)
    found = student.fit(task.train, y)
    assert student.network.halved > 0
    assert student.network.budget <= 300
    assert np.allclose(found.parameters(), whole.parameters(), atol=2e-4)
    assert np.allclose(found.logits(task.test), whole.logits(task.test), atol=5e-3)
    before = student.network.halved
    student.fit(task.train, y, effort=0.2)
    assert student.network.halved == before


def test_an_item_that_fits_in_no_memory_is_an_error_that_says_what_to_do(math: Any) -> None:
    """Halving ends at one item; other errors are not swallowed."""
    task, y, _ = math
    student = tiny(epochs=1)
    starve(student, 5, MemoryError())
    with pytest.raises(InputError, match="memory does not hold one item"):
        student.fit(task.train, y)
    other = tiny(epochs=1)
    starve(other, 5, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        other.fit(task.train, y)


def starve(student: LoraStudent, tokens: int, error: BaseException) -> None:
    """Have the model's passes fail as on a machine that holds only so many padded tokens; the failure comes after some
    of the work, as a real one would."""
    real = student.network.states

    def states(texts: Any) -> Any:
        found = real(texts)
        if len(texts) * max(map(len, texts)) > tokens:
            raise error
        return found

    student.network.states = states  # type: ignore[method-assign]


@pytest.mark.parametrize("limit", [1 << 30, 4000])
def test_kept_lower_blocks_change_nothing(math: Any, limit: int) -> None:
    """Whether the frozen block's output is kept, in memory or in a file, or computed each time: the same training."""
    task, y, _ = math
    kept = tiny(epochs=1, frozen_blocks=1, cache_bytes=limit)
    kept.network.loaded.states.clear()
    found = kept.fit(task.train, y)
    assert (kept.network.loaded.states[1].spilled > 0) == (limit < 1 << 30)
    anew = tiny(epochs=1, frozen_blocks=1)
    anew.network.prepare = lambda texts: None  # type: ignore[method-assign]
    anew.network.states = lambda texts: anew.network._run(0, 2, input_ids=anew.network._padded(texts))  # type: ignore[method-assign]
    plain = anew.fit(task.train, y)
    assert np.allclose(found.parameters(), plain.parameters(), atol=1e-5)
    assert np.allclose(found.logits(task.test), plain.logits(task.test), atol=1e-4)
    assert len(found.parameters()) < len(tiny(epochs=1).fit(task.train, y, effort=0.1).parameters())


def test_how_texts_are_grouped_changes_no_opinion(math: Any) -> None:
    """One text at a time or many beside each other: the same log-odds."""
    task, y, _ = math
    many = tiny(epochs=1, micro_tokens=8192).fit(task.train, y)
    one = LoraHead(tiny(epochs=1, micro_tokens=1), many.parameters(), False)
    assert np.allclose(many.logits(task.test), one.logits(task.test), atol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
def test_fused_adapters_compute_what_pefts_own_do(bias: bool) -> None:
    """Outputs and all gradients, also at another precision."""
    import peft

    from aarlab.w2s.students.lora.adapters import fuse

    torch.manual_seed(0)
    for dtype, near in ((torch.float64, 1e-9), (torch.bfloat16, 0.1)):
        body = torch.nn.ModuleDict({"one": torch.nn.Linear(24, 40, bias=bias)}).to(dtype).requires_grad_(False)
        config = peft.LoraConfig(r=4, lora_alpha=12, target_modules=["one"], init_lora_weights=False)
        dressed = peft.LoraModel(body, config, "default").train()
        trained = [p.to(dtype) for p in dressed.parameters() if p.requires_grad]
        given = torch.randn(3, 5, 24, dtype=dtype, requires_grad=True)
        found = []
        for _ in range(2):
            out = body["one"](given)
            assert out.shape == (3, 5, 40)
            found.append([out, *torch.autograd.grad((out**2).mean(), [given, *trained])])
            fuse(dressed)
        for theirs, ours in zip(*found, strict=True):
            assert torch.allclose(theirs, ours, atol=near, rtol=near)


def test_gradient_checkpointing_changes_nothing(math: Any) -> None:
    """Recomputed activations give the same training, and the model forgets the setting."""
    task, y, _ = math
    plain = tiny(epochs=0.5).fit(task.train, y).parameters()
    assert np.allclose(tiny(epochs=0.5, checkpointing=True).fit(task.train, y).parameters(), plain, atol=1e-5)
    assert np.allclose(tiny(epochs=0.5).fit(task.train, y).parameters(), plain, atol=1e-6)


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("paired", [False, True])
def test_a_text_too_long_loses_the_beginning_of_its_question(chat: bool, paired: bool) -> None:
    """What asks for the label, the template around it and the end of the answer are never cut; it is counted."""
    student = tiny("label tokens", chat=chat, context=160)
    passage = ("long " * 80, *(f" the {word} end." for word in (("one", "two") if paired else ("one",))))
    whole = tiny("label tokens", chat=chat, context=4096)._prompter.labelled([passage], paired)[0][0]
    short = student._prompter.labelled([passage], paired)[0][0]
    assert len(short) == 160
    assert short.cut == len(whole) - 160
    text = student.tokenizer.decode(short.ids)
    full = student.tokenizer.decode(whole.ids)
    assert text.startswith("<user>") == chat
    assert full.endswith(text[-60:])
    assert "end." in text
    with pytest.raises(InputError, match="give more"):
        tiny("label tokens", chat=chat, context=8)._prompter.labelled([passage], paired)


def test_a_likelihood_keeps_the_end_of_the_answer_and_says_how_many_were_cut() -> None:
    """Also where the answer alone is too long: at least its last token is judged."""
    student = tiny("likelihood", context=12)
    (short,), (long,) = student._prompter.answers([("what? ", "it is so"), ("q", "a" * 40 + "z")])
    assert student.tokenizer.decode(short.ids[short.start :]) == "it is so"
    assert (len(short), short.cut) == (12, 2)
    assert student.tokenizer.decode(long.ids) == "a" * 11 + "z"
    assert long.start == 1
    task, _, _ = case("math")
    with pytest.warns(UserWarning, match="longer than the context of 12 tokens"):
        student.zero_shot(task.test)
    assert student.truncated > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        student.zero_shot(task.test)


def test_label_words_that_begin_alike_are_told_apart_by_their_first_difference() -> None:
    """A tokenizer of bytes begins " True" and " False" with the same space."""
    common, yes, no = tiny("label tokens")._prompter.label_tokens(False)
    read = tiny().tokenizer.decode
    assert (read(common), read([yes]), read([no])) == (" ", "T", "F")


@pytest.mark.parametrize("kind", ["math", "pref"])
def test_the_untrained_student(kind: str) -> None:
    """Features, zero-shot opinions and examples in the prompt; shown examples change what it says."""
    task, y, _ = case(kind)
    student = tiny()
    some = task.test[:6]
    for layer in student.layers:
        assert student.features(some, layer).shape == (6, 64)
    assert set(student.spec.layers) <= set(student.layers)
    assert student.zero_shot(some).shape == (6,)
    shown = [student.in_context(some, task.train[:4], labels) for labels in (y[:4], ~y[:4])]
    assert shown[0].shape == (6,)
    assert not np.allclose(shown[0], shown[1])
    with pytest.raises(KeyError, match="no layer"):
        student.features(some, "m9")
    if kind == "pref":
        assert np.allclose(student.zero_shot(some), -student.zero_shot(some.mirror()), atol=1e-3)
        assert np.allclose(student.features(some, "l2"), -student.features(some.mirror(), "l2"), atol=1e-4)


def test_an_answers_log_probability_is_the_models_own() -> None:
    """The zero-shot score is the sum that transformers' loss gives for the answer's tokens."""
    task, _, _ = case("math")
    student = tiny()
    question, answer = task.test[:1].passages[0]
    ids = student.tokenizer(question + answer, return_tensors="pt").input_ids
    start = len(student.tokenizer(question).input_ids)
    labels = ids.clone()
    labels[:, :start] = -100
    with torch.no_grad():
        loss = student.model(input_ids=ids, labels=labels).loss
    assert np.allclose(student.zero_shot(task.test[:1]), -float(loss) * (ids.shape[1] - start), rtol=1e-4)


def test_smaller_students_and_views(math: Any) -> None:
    """A smaller student runs fewer blocks and has fewer parameters; all learn."""
    task, y, _ = math
    student = tiny(epochs=1)
    small = student.smaller(0.5)
    assert (small.network.depth, student.network.depth) == (1, 2)
    assert len(small.fit(task.train, y).parameters()) < len(student.fit(task.train, y).parameters())
    assert len(student.views()) == 2
    with pytest.raises(InputError, match="share is 0"):
        student.smaller(0)


def test_writing_is_repeatable_and_can_be_reinforced() -> None:
    """The same seed writes the same; a student reinforced for a byte writes it more, and the first one as before."""
    student = tiny()
    prompts = ["plum", "rain stone", ""]
    wrote = student.generate(prompts, 10, seed=1)
    assert wrote == student.generate(prompts, 10, seed=1)
    assert wrote != student.generate(prompts, 10, seed=2)
    assert student.generate([], 10) == []
    settings = Reinforcement(steps=10, prompts=4, group=8, tokens=10, rate=2e-2, kl=0.0, micro=32)
    taught = student.reinforce(prompts[:2], lambda rows, texts: [min(t.count("e"), 5) / 5 for t in texts], 0, settings)
    assert taught.rewards[-1] > taught.rewards[0]
    assert sum(t.count("e") for t in taught.writer.generate(prompts, 10)) > sum(t.count("e") for t in wrote)
    assert student.generate(prompts, 10, seed=1) == wrote
    with pytest.raises(NotApplicable, match="whole, untrained"):
        taught.writer.reinforce(prompts, lambda rows, texts: [0.0] * len(texts))


@pytest.mark.parametrize("method", [weak_labels_hard, weak_labels_soft, confident_weak_labels])
@pytest.mark.parametrize("kind", ["math", "pref"])
def test_methods_run_on_it_unchanged(method: Any, kind: str) -> None:
    """A method file needs no other line for this student."""
    task = replace(worded(kind, 24), student=tiny(epochs=1), known=None)
    trial = task.evaluate(method.run, seeds=(0,))
    assert 0 <= trial.accuracy[0] <= 1


@pytest.mark.parametrize(
    ("targets", "word"),
    [(np.array([np.nan] * 4), "NaN"), (np.ones(3), "shape"), (np.array([0, 1, 2, 0]), "between 0 and 1")],
)
def test_targets_that_cannot_be_taught_are_named(math: Any, targets: np.ndarray, word: str) -> None:
    """As the probe student does it."""
    task, _, _ = math
    with pytest.raises(ValueError, match=word):
        tiny().fit(task.train[:4], targets)


def test_what_else_cannot_be_done_is_said_in_a_sentence(math: Any, tmp_path: Path) -> None:
    """No items, zero weights, no texts, a head of the other kind, an unknown model."""
    task, y, _ = math
    student = tiny(epochs=0.1)
    with pytest.raises(ValueError, match="no items"):
        student.fit(task.train[:0], [])
    with pytest.raises(ValueError, match="not all zero"):
        student.fit(task.train, y, np.zeros(len(y)))
    silent = OpenTask.load("w2s-pref").view(0)
    with pytest.raises(NotApplicable, match="ships no texts"):
        student.fit(silent.train, silent.weak_labels)
    with pytest.raises(InputError, match="single answers"):
        student.fit(task.train, y).predict(case("pref")[0].test)
    with pytest.raises(InputError, match=r"no-such/model.*local folder or \.gguf file.*hf download"):
        LoraStudent("no-such/model").zero_shot(task.test)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be opened"):
        LoraStudent(str(tmp_path)).zero_shot(task.test)


def test_a_local_folder_is_opened(math: Any, tmp_path: Path) -> None:
    """A model saved by transformers is a model."""
    task, _, _ = math
    student = tiny()
    student.model.save_pretrained(tmp_path)
    student.tokenizer.save_pretrained(tmp_path)
    other = LoraStudent(replace(student.config, model=str(tmp_path)))
    assert np.allclose(other.zero_shot(task.test[:5]), student.zero_shot(task.test[:5]), atol=1e-4)


@pytest.mark.skipif(not isinstance(models.locate("smollm2-135m"), Path), reason="SmolLM2 is not in aarlab's cache")
def test_smollm2_finds_right_answers_likelier() -> None:
    """On w2s-math's open texts the untrained model's likelihood tells right from wrong better than chance."""
    task = OpenTask.load("w2s-math")
    drawn = task.draw(0)
    score = LoraStudent("smollm2-135m").zero_shot(task.view(0).test[:48])
    truth = task.labels[drawn.test[:48]] > 0
    assert ((score > np.median(score)) == truth).mean() > 0.6
