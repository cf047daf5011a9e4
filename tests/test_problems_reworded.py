"""Reworded items: what is said in other words, and how they are kept."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

import toy
from aarlab.errors import PackError
from aarlab.problems import audit_task, reworded
from aarlab.problems import base as problems
from aarlab.problems.build import builder
from aarlab.problems.w2s_code import reword as code
from aarlab.problems.w2s_code.generate import normal_body
from aarlab.problems.w2s_math import reword as maths
from aarlab.vault.store import create, export_public
from aarlab.w2s.features import LOGPROB_NAMES


def the_texts(name: str) -> tuple[str, ...]:
    found = problems.load(name, check=False).inputs("feedback").texts
    assert found is not None
    return found


def test_a_reworded_story_keeps_its_numbers_and_sums() -> None:
    """Persons, things, colours and places become others of their kind; digits and the worked answer stay."""
    for text in the_texts("w2s-math"):
        new = maths.reword(text, "salt")
        question, answer = text.split("\nAnswer:")
        assert new != text
        assert new.split("\nAnswer:")[1] == answer
        assert re.findall(r"\d+", new) == re.findall(r"\d+", text)
        old_words, new_words = re.findall(r"\w+", question), re.findall(r"\w+", new.split("\nAnswer:")[0])
        pairs = set(zip(old_words, new_words, strict=True))
        assert len({o for o, _ in pairs}) == len(pairs) == len({n for _, n in pairs})
        for old, other in pairs:
            assert old == other or [old in k for k in maths.KINDS] == [other in k for k in maths.KINDS], (old, other)


def test_a_reworded_function_means_the_same() -> None:
    """Every name changes and the syntax stays; the docstring speaks of the parameter by its new name."""
    for text in the_texts("w2s-code"):
        new = code.reword(text, "salt")
        bodies = [normal_body(t).split("\n", 1)[1] for t in (text, new)]
        assert bodies[0] == bodies[1]
        assert not re.match(r"def f\(", new)
        parameter = re.match(r"def \w+\((\w+)\)", new)[1]  # type: ignore[index]
        assert re.search(rf" in {parameter}\b", new.split('"""')[1])
        assert len(new.splitlines()) == len(text.splitlines())


def test_one_question_is_reworded_in_one_way() -> None:
    """Items that shared a question or a docstring share it afterwards."""
    for name, module in (("w2s-math", maths), ("w2s-code", code)):
        texts = the_texts(name)[:800]
        pairs = {
            (a, b)
            for a, b in zip(
                module.parts(texts)["prefixes"],
                module.parts(tuple(module.reword(t, "salt") for t in texts))["prefixes"],
                strict=True,
            )
        }
        assert len(pairs) == len({a for a, _ in pairs})


@pytest.mark.slow
def test_the_parts_are_those_the_builder_reads() -> None:
    """Prefixes and controls of shipped texts are the drafts' own, so features of unchanged texts must agree."""
    for name, module in (("w2s-math", maths), ("w2s-code", code)):
        spec, generate = builder(name)
        draft = next(d for d in generate(spec.seed, None) if d.name == "feedback")  # type: ignore[arg-type]
        parts = module.parts(draft.rows)
        for key in ("rows", "prefixes", "controls", "control_prefixes"):
            assert parts.get(key) == getattr(draft, key), key


def test_chosen_items_are_whole_questions_of_the_test_set() -> None:
    """About three hundred test items, and never one answer to a question without the others."""
    for name in ("w2s-math", "w2s-code"):
        task = audit_task.load(problems.load(name, check=False), "feedback")
        rows = reworded.chosen(task.inputs, task.test, np.random.default_rng(0))
        assert reworded.ITEMS <= len(rows) <= reworded.ITEMS + 30
        assert task.is_test[rows].all()
        questions = [task.inputs.texts[i].split("\nAnswer:")[0].split('"""\n')[0] for i in task.test]  # type: ignore[index]
        inside = np.isin(task.test, rows)
        assert not {q for q, i in zip(questions, inside, strict=True) if i} & {
            q for q, i in zip(questions, inside, strict=True) if not i
        }


def copy_of(name: str, folder) -> problems.Problem:  # type: ignore[no-untyped-def]
    problem = problems.load(name, check=False)
    shutil.copytree(problem.folder, folder, dirs_exist_ok=True)
    for file in folder.glob("*.renamed.npz"):
        file.unlink()
    return replace(problem, folder=folder)


def reader(problem: problems.Problem, noise: float):  # type: ignore[no-untyped-def]
    """A model that gives the pack's own features for known texts, off by some noise, and the same for reworded ones."""
    inputs = problem.inputs("feedback")
    place = {re.sub(r"[A-Za-z]+", "w", t): i for i, t in enumerate(inputs.texts or ())}

    def read(texts, wanted, prefixes=None):  # type: ignore[no-untyped-def]
        rows = np.array([place[re.sub(r"[A-Za-z]+", "w", t)] for t in texts])
        rng = np.random.default_rng(1)
        out = {"logprob": inputs.features(rows, "logprob")[:, : len(LOGPROB_NAMES)]}
        for layer in wanted.hidden:
            x = inputs.features(rows, layer if layer in inputs.layers else "m20")
            out[layer] = x + noise * x.std() * rng.normal(size=x.shape).astype(np.float32)
        return out

    return read


def test_reworded_items_are_written_beside_the_task_and_read_for_audits(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """The manifest knows the file, the data hash stays, and an audit finds reworded texts in the rows it names only."""
    problem = copy_of("w2s-math", tmp_path)
    spec, _ = builder("w2s-math")
    task = audit_task.load(problem, "feedback")
    assert task.renamed is None
    assert "no reworded items" in task.missing["renamed"]
    told = reworded._task(problem, spec, reader(problem, 0.01), "feedback", task.is_test)
    assert "items reworded" in told
    again = problems.load("w2s-math", folder=tmp_path)  # checks every checksum
    assert again.data_hash == problem.data_hash
    assert "feedback.renamed.npz" in json.loads((tmp_path / "manifest.json").read_text())["files"]
    task = audit_task.load(again, "feedback")
    assert task.renamed is not None
    assert task.reworded is not None
    assert task.is_test[task.reworded].all()
    for old, new, is_new in zip(task.inputs.texts, task.renamed.texts, task.reworded, strict=True):  # type: ignore[arg-type]
        assert (old != new) == is_new
    same = np.flatnonzero(~task.reworded)
    for layer in task.inputs.layers:
        assert np.array_equal(task.inputs.features(same, layer), task.renamed.features(same, layer))
    assert "renamed" not in task.missing


def test_a_model_that_reads_unchanged_texts_otherwise_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Features that do not agree with the pack's would show the model's difference and not the wording's."""
    problem = copy_of("w2s-math", tmp_path)
    spec, _ = builder("w2s-math")
    task = audit_task.load(problem, "feedback")
    with pytest.raises(PackError, match="agree with the pack's by"):
        reworded._task(problem, spec, reader(problem, 0.3), "feedback", task.is_test)
    assert not (tmp_path / "feedback.renamed.npz").exists()


def test_labs_keep_reworded_items_in_the_vault_alone(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """The vault's copy of a pack has them; of what researchers may read nothing has."""
    problem = problems.load("w2s-math", check=False)
    vault = create(tmp_path, [problem], toy.settings())
    export_public(tmp_path, problem)
    found = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*renamed*")]
    assert found == ["vault/packs/w2s-math/feedback.renamed.npz"]
    assert audit_task.load(vault.problems["w2s-math"], "feedback").renamed is not None
