"""A problem folder out of one's own data: built, closed, free of hidden labels, and as good as a shipped problem."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paper_files
import toy
from aarlab.errors import InputError, PackError, UnknownName
from aarlab.fleet import launch
from aarlab.problems import base, new, paper_data
from aarlab.problems.measure import Truth
from aarlab.problems.new import Options
from aarlab.server.creation import create_lab
from aarlab.server.lab import Lab
from aarlab.w2s.open_task import OpenTask
from toy_lab import ToyLab

KINDS = {"pairs": paper_files.pairs, "answers": paper_files.answers}
PUBLIC = ("inputs", "teachers")


def made(place: Path, files: dict[str, paper_files.Rows], **more: Any) -> new.Made:
    """`place`/mine, made of these rows without a model."""
    source = paper_files.write(place / "data", files)
    return new.from_paper_data(place / "mine", source, read=more.pop("read", paper_files.Reader()), **more)


@pytest.fixture(scope="module", params=KINDS)
def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> new.Made:
    return made(tmp_path_factory.mktemp(request.param), KINDS[request.param]())


@pytest.fixture
def folder(one: new.Made, tmp_path: Path) -> Path:
    """A copy of the problem folder that a test may change."""
    return shutil.copytree(one.problem.home, tmp_path / "mine")


def aarlab(*argv: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "HOME": str(cwd), "AARLAB_STATE": str(cwd / "state")}
    command = [sys.executable, "-m", "aarlab", *map(str, argv)]
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=120)


def test_the_folder_is_a_problem_that_loads_by_its_path(one: new.Made) -> None:
    """All tasks, floors below ceilings, texts for every item; the folder's name is the problem's."""
    problem = base.load(str(one.problem.home))
    assert problem == one.problem
    assert problem.name == "mine"
    assert list(problem.tasks) == ["open", "feedback", "record-unseen"]
    problem.check_gaps()
    for task in problem.tasks:
        inputs = problem.inputs(task)
        assert inputs.problem == "mine"
        assert inputs.texts is not None
        assert len(inputs.texts) == len(inputs) == problem.task(task).train_items + problem.task(task).test_items
    assert OpenTask.load(problem.folder).inputs.task == "open"


def test_pack_and_labels_are_closed_to_others(one: new.Made) -> None:
    """The pack is for its owner only, and the output says which files must stay secret."""
    pack = one.problem.folder
    assert pack.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in pack.glob("*.labels.npz")} == {0o600}
    assert f"{pack}/*.labels.npz hold the true labels. Those of feedback, record-unseen must not be" in str(one)


def test_problem_toml_says_what_a_method_may_use(one: new.Made) -> None:
    """Brief, directions and policy are there to be edited."""
    text = tomllib.loads((one.problem.home / base.CARD).read_text("utf-8"))
    paired = one.problem.inputs("open").pairs is not None
    assert ("mirror" in text["policy"]["allowed"]) == paired
    assert "$" not in text["brief"]
    assert len(text["directions"]) == 9


@pytest.mark.parametrize("title", ['Which "one"?\n', "50 % \\ § \x7f \U0001f600"])
def test_any_title_survives_the_card(tmp_path: Path, title: str) -> None:
    """problem.toml holds what was asked for, whatever its characters."""
    data = paper_data.read(paper_files.write(tmp_path, paper_files.pairs()))
    assert tomllib.loads(new.card(data, Options(title)))["title"] == title


@pytest.mark.parametrize("kind", KINDS)
def test_no_hidden_label_reaches_a_public_part(tmp_path: Path, kind: str) -> None:
    """Turn every hidden label round: inputs, weak labels and problem.toml stay the same to the byte, labels do not."""
    files = KINDS[kind]()
    one = made(tmp_path / "one", files).problem
    two = made(tmp_path / "two", paper_files.flipped(files)).problem
    assert (one.home / base.CARD).read_bytes() == (two.home / base.CARD).read_bytes()
    for task in one.tasks:
        for part in PUBLIC:
            assert one.path(task, part).read_bytes() == two.path(task, part).read_bytes(), (task, part)
        a, b = Truth.load(one.folder, task), Truth.load(two.folder, task)
        np.testing.assert_array_equal(a.labels, b.labels if task == "open" else 1 - b.labels)


def test_public_arrays_are_the_known_ones_and_none_is_a_label(one: new.Made) -> None:
    """Nothing is shipped beside features, opinions, groups, pairs and texts; no array follows the labels."""
    for task in one.problem.tasks:
        truth = Truth.load(one.problem.folder, task)
        with np.load(one.problem.path(task, "inputs")) as z:
            names = {n.split(".")[0] for n in z.files}
            assert names <= {"values", "scale", "zero_shot", "groups", "pairs", "meta"}
            meta = json.loads(z["meta"].tobytes())
            columns = [z["zero_shot"], z["groups"], *z["values.m20"].T, *z["values.logprob"].T]
        assert set(meta) == {"problem", "task", "layers", "texts", "answers", "student", "passages"}
        for column in (c for c in columns if len(c) == len(truth.labels)):
            assert abs(np.corrcoef(column.astype(float), truth.labels)[0, 1]) < 0.7
        order = np.arange(len(truth.labels))
        assert abs(np.corrcoef(order, truth.labels)[0, 1]) < 0.35
    manifest = (one.problem.folder / "manifest.json").read_text("utf-8")
    assert set(json.loads(manifest)) == {"problem", "tasks", "files", "recipe"}


def test_question_and_answer_can_be_told_apart(one: new.Made) -> None:
    """What a language model needs for training: the parts of each text as the files have them, though answers hold
    lines that look like an item's end."""
    source = one.problem.home.parent / "data"
    data = paper_data.read(source)
    want = {(i.question, *i.answers) for i in (*data.label, *data.unlabel, *data.test)}
    for task in one.problem.tasks:
        drawn = Truth.load(one.problem.folder, task)
        view = OpenTask(drawn.inputs, drawn.weak, drawn.labels, drawn.is_test).view(0)
        for text, passage in zip(view.test.texts, view.test.passages, strict=True):
            question = passage[0].removeprefix("Question: ").removesuffix("\nAnswer:").removesuffix("\n")
            found = (question, *passage[1:]) if data.paired else (question, passage[1].removeprefix(" "))
            assert found in want
            assert passage[0] in text
            assert passage[-1] in text


def test_a_lab_runs_on_a_problem_folder(folder: Path, tmp_path: Path) -> None:
    """From a path to scores, record and transfer tasks; the lab goes on when the folder is gone."""
    problem = base.load(str(folder))
    other = toy.make_pack(tmp_path / "pack", "w2s-math")
    with ToyLab(tmp_path / "lab", toy.settings(problem="mine"), [problem, other]) as lab:
        shutil.rmtree(folder)
        assert lab.score(toy.LEARNER)["status"] == "scored"
        lab.reach("done")
        with lab.lab.store.read() as rows:
            scored = {(e.problem, e.task) for e in rows.evaluations("transfer") + rows.evaluations("record")}
        assert scored == {
            ("mine", "record-unseen"),
            *(("w2s-math", t) for t in ("feedback", "record-one", "record-two")),
        }
    public = {p.name for p in (tmp_path / "lab" / "public").iterdir()}
    assert public == {"card.json", "open.inputs.npz", "open.teachers.npz", "open.labels.npz"}
    reopened = Lab(tmp_path / "lab")
    assert reopened.problem.brief == problem.brief
    reopened.close()


def test_a_lab_made_from_a_path_knows_its_problem_by_name(folder: Path, tmp_path: Path) -> None:
    """lab.toml holds the name; the vault has the pack and the card, and the shipped problems for transfer."""
    create_lab(tmp_path / "lab", toy.settings(problem=str(folder)))
    lab = Lab(tmp_path / "lab")
    assert lab.settings.problem == lab.problem.name == "mine"
    assert set(lab.vault.problems) == {"mine", *base.names()}
    lab.close()


def test_no_gap_is_refused_with_the_numbers_and_leaves_the_folder(tmp_path: Path) -> None:
    """Where the ceiling is not above the floor, PGR is undefined: said, never infinite; the data stays built."""
    found = made(tmp_path, paper_files.answers(), read=paper_files.Reader(deaf=True)).problem
    flat = [t for t in found.tasks.values() if t.gap <= 0]
    assert flat
    with pytest.raises(
        InputError, match=rf"PGR is undefined .*{flat[0].name}: floor {flat[0].floor.mean:.3f}, ceiling"
    ):
        found.check_gaps()
    with pytest.raises(InputError, match="PGR is undefined"):
        launch.run(toy.settings(problem=str(found.home)), tmp_path / "lab")
    assert not (tmp_path / "lab").exists()
    base.load(str(found.home))


def test_wrong_options_are_named() -> None:
    """The sentence names the flag, the value and what would be right."""
    wrong = [
        ({"teacher": "l25"}, "--teacher is 'l25'"),
        ({"context": 9}, "--context is 9"),
        ({"items": -1}, "--items is"),
    ]
    for given, word in wrong:
        with pytest.raises(InputError, match=word):
            Options(**given)


def test_an_early_exit_can_be_the_teacher(tmp_path: Path) -> None:
    """The manifest keeps the choice."""
    found = made(tmp_path, paper_files.pairs(), options=Options(teacher="l10", items=120))
    recipe = base.read_manifest(found.problem.folder)["recipe"]
    assert recipe["teacher"]["features"] == "l10"
    assert recipe["items"] == 120
    assert sum(t.train_items + t.test_items for t in found.problem.tasks.values()) < 360


@pytest.mark.parametrize("name", ["w2s-math", "my chat", ".hidden", "x" * 41])
def test_some_names_cannot_be_used(tmp_path: Path, name: str) -> None:
    """A problem's name becomes a folder in every lab, and must not hide a shipped problem."""
    source = paper_files.write(tmp_path / "data", paper_files.pairs())
    with pytest.raises(InputError, match=r"another name|name of up to"):
        new.from_paper_data(tmp_path / name, source, read=paper_files.Reader())
    assert not (tmp_path / name).exists()


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    """Nothing is written over, and nothing is made beside a folder that is not there."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        made(tmp_path, paper_files.pairs())
    with pytest.raises(InputError, match="does not exist"):
        new.from_paper_data(tmp_path / "no" / "mine", tmp_path / "data", read=paper_files.Reader())
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """All of it or nothing: no half folder is left when features cannot be read."""

    def broken(*given: object) -> dict[str, Any]:
        raise InputError("no features today")

    with pytest.raises(InputError, match="no features today"):
        made(tmp_path, paper_files.pairs(), read=broken)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_without_the_extra_the_sentence_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base install reads and checks the data, then says what to install, before anything is fetched."""
    monkeypatch.setattr(new.importlib.util, "find_spec", lambda name: None)
    source = paper_files.write(tmp_path / "data", paper_files.pairs())
    with pytest.raises(InputError, match=r"pip install 'aarlab\[train\]'"):
        new.from_paper_data(tmp_path / "mine", source, cache=tmp_path / "cache")
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda home: (home / base.CARD).write_text("title = "), "problem.toml: cannot be read"),
        (lambda home: (home / base.CARD).write_text('title = "x"'), "brief is None"),
        (lambda home: (home / "pack" / "feedback.labels.npz").write_bytes(b"x"), "the pack is corrupt"),
        (lambda home: (home / "pack" / "manifest.json").unlink(), "manifest cannot be read"),
    ],
)
def test_a_damaged_folder_is_named(folder: Path, change: Callable[[Path], Any], words: str) -> None:
    """Hand-edited or broken files give one sentence with their path."""
    change(folder)
    with pytest.raises(PackError, match=words):
        base.load(str(folder))


def test_a_path_without_a_problem_is_unknown(tmp_path: Path) -> None:
    """The sentence lists the names and says that a folder would do."""
    with pytest.raises(UnknownName, match=r"no problem '.*nothing'; known problems: .* or the path of a folder"):
        base.load(str(tmp_path / "nothing"))


def test_the_command_line_takes_paths(tmp_path: Path) -> None:
    """check, problems and try work on a folder; build says that its items are given."""
    folder = made(tmp_path, paper_files.answers()).problem.home
    (tmp_path / "learn.py").write_text(toy.LEARNER)
    assert "mine: 3 tasks, all files match" in aarlab("problem", "check", "./mine", cwd=tmp_path).stdout
    assert "record-unseen" in aarlab("problems", "mine", cwd=tmp_path).stdout
    tried = aarlab("try", "learn.py", "--problem", folder, "--isolation", "process", "--json", cwd=tmp_path)
    assert json.loads(tried.stdout)["problem"] == "mine", tried.stderr
    refused = aarlab("problem", "build", "mine", "--from-scratch", cwd=tmp_path)
    assert refused.returncode == 2
    assert "made of given items" in refused.stderr


def test_wrong_data_is_one_sentence_on_the_command_line(tmp_path: Path) -> None:
    """Exit code 2, file and line, no folder."""
    files = paper_files.pairs()
    files["test"][4]["label"] = "C"
    paper_files.write(tmp_path / "data", files)
    found = aarlab("problem", "new", "mine", "--from-paper-data", "data", cwd=tmp_path)
    assert found.returncode == 2
    assert found.stderr.startswith("aarlab: data/test.jsonl, line 5: label is C")
    assert len(found.stderr.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


@pytest.mark.train
def test_features_come_from_the_model_and_long_items_are_cut(tmp_path: Path) -> None:
    """End to end with the language model on short items, one of them far too long for the context."""
    pytest.importorskip("torch")
    sizes = {"train_label": 100, "train_unlabel": 70, "test": 60}
    files = {name: rows[: sizes[name]] for name, rows in paper_files.answers().items()}
    for rows in files.values():
        for number, row in enumerate(rows):
            row["choice"] = f"{'clear' if row['label'] else 'rude'} {number}"
    files["test"][0]["question"] = "word " * 100
    source = paper_files.write(tmp_path / "data", files)
    found = new.from_paper_data(tmp_path / "mine", source, Options(context=40, threads=1))
    assert found.notes == ("1 of 230 texts are longer than 40 tokens; the student reads them without what is too much",)
    inputs = found.problem.inputs("feedback")
    assert inputs.layers["m20"].values.shape[1] == 576
    assert inputs.layers["logprob"].values.shape[1] == 6
    assert all(np.isfinite(found.problem.inputs(t).zero_shot).all() for t in found.problem.tasks)
    texts = [t for task in found.problem.tasks for t in found.problem.inputs(task).texts or ()]
    assert any("word " * 100 in t for t in texts)
