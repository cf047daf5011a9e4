"""Reading the study's data layout: what is accepted, what is refused with file and line, and how it is divided."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paper_files
from aarlab.errors import InputError
from aarlab.problems import paper_data
from aarlab.problems.drafts import TEACHER, TEST, TRAIN, Draft

KINDS = {"pairs": paper_files.pairs, "answers": paper_files.answers}
SOURCES = {"train_label": ("here",), "train_unlabel": ("here", "near"), "test": ("here", "Far Away!", "near", "odd")}
Maker = Callable[..., dict[str, paper_files.Rows]]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Maker:
    return KINDS[request.param]


def parts(draft: Draft) -> list[tuple[int, tuple[str, ...]]]:
    """Split and text of every item."""
    assert draft.passages is not None
    return list(zip(draft.split.tolist(), draft.passages, strict=True))


def one_line(folder: Path, row: Any, file: str = "test") -> InputError:
    """The error that a folder gives whose third line of `file` is `row`."""
    files: dict[str, Any] = paper_files.answers() if isinstance(row, dict) and "choice" in row else paper_files.pairs()
    files[file][2] = row
    paper_files.write(folder, files)
    with pytest.raises(InputError) as caught:
        paper_data.read(folder)
    return caught.value


def test_both_formats_say_which_label_is_one(tmp_path: Path) -> None:
    """Label 1 is a right answer or a better first one, written as true and 1, or as "A" and 0."""
    binary, pair = paper_files.answers(), paper_files.pairs()
    for row, label in zip(binary["test"], (True, 1, False, 0), strict=False):
        row["label"] = label
    for row, label in zip(pair["test"], ("A", 0, "B", 1), strict=False):
        row["label"] = label
    for name, files in (("binary", binary), ("pair", pair)):
        data = paper_data.read(paper_files.write(tmp_path / name, files))
        assert [i.label for i in data.test[:4]] == [1, 1, 0, 0]
        assert data.paired == (name == "pair")
        assert not data.notes


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "p", "first": "a"}, ("no field 'second'", "prompt, first")),
        ({"question": "q"}, ("no field 'prompt'", "question, choice")),
        ({}, ("nothing",)),
        ([1], ("no JSON object",)),
        ({"prompt": "p", "first": "a", "second": "b", "label": "C"}, ("label is C", '"A" or "B"')),
        ({"prompt": "p", "first": "a", "second": "b", "label": True}, ("true", '"A" or "B"')),
        ({"prompt": "p", "first": "a", "second": "b", "label": 2}, ("label is 2",)),
        ({"prompt": "p", "first": "a", "second": "b", "label": -1}, ("no label", "stripped")),
        ({"prompt": "p", "first": "a", "second": "b"}, ("no label",)),
        ({"prompt": "p", "first": 3, "second": "b", "label": "A"}, ("first is 3", "text")),
        ({"prompt": "p", "first": "  ", "second": "b", "label": "A"}, ("first is empty",)),
        ({"prompt": "p\ud800", "first": "a", "second": "b", "label": "A"}, ("surrogate",)),
        ({"question": "q", "choice": "c", "label": "A"}, ("label is A", "true or false")),
        ({"question": "q", "choice": "c", "label": 0.5}, ("label is 0.5",)),
        ({"question": "q", "choice": "c", "label": [1]}, ("label is [1]",)),
        ({"question": "q", "choice": "c", "label": None}, ("no label",)),
        ({"question": "q", "choice": "c", "label": True, "subset": 4}, ("subset is 4",)),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: Any, words: tuple[str, ...]) -> None:
    """The sentence has the file, the line, the value and what would be right."""
    message = str(one_line(tmp_path, row))
    assert f"{tmp_path / 'test.jsonl'}, line 3: " in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("file", paper_files.ITEMS)
def test_a_file_that_is_cut_off_is_named_with_its_last_line(tmp_path: Path, make: Maker, file: str) -> None:
    """Truncated JSONL: file and line."""
    path = paper_files.write(tmp_path, make()) / f"{file}.jsonl"
    text = path.read_text("utf-8")
    path.write_text(text[:-9], "utf-8")
    with pytest.raises(InputError, match=rf"{file}\.jsonl, line {paper_files.ITEMS[file]}: not a whole JSON object"):
        paper_data.read(tmp_path)


def test_a_line_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    """Other encodings are refused, not guessed."""
    path = paper_files.write(tmp_path, paper_files.pairs()) / "test.jsonl"
    path.write_bytes(b"\xff\xfe" + path.read_bytes())
    with pytest.raises(InputError, match=r"test\.jsonl, line 1: not UTF-8"):
        paper_data.read(tmp_path)


def test_blank_lines_and_a_missing_last_newline_do_no_harm(tmp_path: Path, make: Maker) -> None:
    """They are read past, and line numbers stay those of the file."""
    path = paper_files.write(tmp_path, make()) / "test.jsonl"
    path.write_text("\n\n" + path.read_text("utf-8").rstrip("\n"), "utf-8")
    assert paper_data.read(tmp_path).test[0].line == 3


def test_one_folder_has_one_format(tmp_path: Path) -> None:
    """Within a file and between files, both lines are named."""
    files = paper_files.answers()
    files["train_unlabel"][9] = paper_files.pairs()["test"][0]
    paper_files.write(tmp_path, files)
    with pytest.raises(InputError, match=r"unlabel\.jsonl, line 10: has prompt, first and second, but .*label\.jsonl"):
        paper_data.read(tmp_path)
    paper_files.write(tmp_path, paper_files.pairs() | {"test": paper_files.answers()["test"]})
    with pytest.raises(InputError, match=r"test\.jsonl, line 1: has question .* line 1, has prompt, first and second"):
        paper_data.read(tmp_path)


def test_missing_empty_and_one_sided_files_are_refused(tmp_path: Path, make: Maker) -> None:
    """A file that is not there, has no items, or has one class only."""
    files = make()
    path = paper_files.write(tmp_path, files) / "train_unlabel.jsonl"
    path.write_text("\n \n")
    with pytest.raises(InputError, match=r"train_unlabel\.jsonl: no items"):
        paper_data.read(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"train_unlabel\.jsonl: not found; .* test\.jsonl"):
        paper_data.read(tmp_path)
    label = files["test"][0]["label"]
    paper_files.write(tmp_path, files | {"test": [row | {"label": label} for row in files["test"]]})
    with pytest.raises(InputError, match=r"test\.jsonl: every item has .* both labels are needed"):
        paper_data.read(tmp_path)


def test_an_item_in_two_files_is_refused_or_left_out(tmp_path: Path, make: Maker) -> None:
    """A duplicate across splits names both lines; with `drop_repeats` the test file keeps it alone."""
    files = make()
    files["train_label"][7] = files["test"][4]
    files["train_unlabel"][8] = files["test"][5]
    paper_files.write(tmp_path, files)
    with pytest.raises(InputError, match=r"test\.jsonl, line 5: repeats train_label\.jsonl, line 8 \(and 1 more\)"):
        paper_data.read(tmp_path)
    data = paper_data.read(tmp_path, drop_repeats=True)
    test = {i.topic for i in data.test}
    assert len(data.test) == paper_files.ITEMS["test"]
    assert not test & {i.topic for i in (*data.label, *data.unlabel)}


def test_a_pair_the_other_way_round_is_the_same_item(tmp_path: Path) -> None:
    """Exchanging the sides of a pair hides no repeat, and the label is read accordingly."""
    files = paper_files.pairs()
    row = files["test"][0]
    turned = row | {"first": row["second"], "second": row["first"], "label": "A" if row["label"] == "B" else "B"}
    files["test"].append(turned)
    data = paper_data.read(paper_files.write(tmp_path / "same", files))
    assert data.notes == ("test.jsonl: 1 repeated items are used once",)
    files["train_label"][0] = turned
    with pytest.raises(InputError, match=r"test\.jsonl, line 1: repeats train_label\.jsonl, line 1"):
        paper_data.read(paper_files.write(tmp_path / "across", files))


def test_contradicting_repeats_are_left_out_and_said(tmp_path: Path) -> None:
    """The same item with both labels teaches nothing."""
    files = paper_files.answers()
    files["test"].append(files["test"][3] | {"label": not files["test"][3]["label"]})
    data = paper_data.read(paper_files.write(tmp_path, files))
    assert len(data.test) == paper_files.ITEMS["test"] - 1
    assert "2 items are left out because the same item has both labels (lines 4 and 161)" in data.notes[0]


def test_a_question_shared_by_train_and_test_is_reported_and_leaves_train(tmp_path: Path, make: Maker) -> None:
    """Leakage of a question between files is named; letter case and spaces do not hide it."""
    files = make()
    key = "prompt" if "prompt" in files["test"][0] else "question"
    shared = files["test"][0][key]
    files["train_unlabel"][5][key] = "  " + shared.upper()
    files["train_unlabel"][9][key] = files["train_label"][0][key]
    data = paper_data.read(paper_files.write(tmp_path, files))
    assert [bool(re.search(r"1 question of train_unlabel\.jsonl is also in", n)) for n in data.notes] == [True, True]
    assert "also in test.jsonl (line 6:" in data.notes[0]
    assert len(data.unlabel) == paper_files.ITEMS["train_unlabel"] - 2


@settings(max_examples=60, deadline=None)
@given(
    line=st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.dictionaries(
                    st.sampled_from(["prompt", "first", "second", "question", "choice", "label", "source"]), inner
                )
                | st.lists(inner, max_size=3)
            ),
        ).map(lambda v: json.dumps(v).encode()),
    )
)
def test_wild_lines_give_items_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, line: bytes) -> None:
    """Whatever a line holds, it is read or refused with its number, never a traceback."""
    path = tmp_path_factory.getbasetemp() / "wild.jsonl"
    path.write_bytes(b'{"question": "q", "choice": "c", "label": 1}\n' + line)
    found: Any = None
    try:
        found = {i.label for i in paper_data._read_file(path)}
    except InputError as error:
        found = re.findall(r"wild\.jsonl, line (\d+): ", str(error))
    assert found in ({1}, {0, 1}) or [n for n in found if int(n) > 1] == found != []


@pytest.mark.parametrize("sources", [None, SOURCES])
def test_no_question_is_in_two_tasks_or_splits(tmp_path: Path, make: Maker, sources: Any) -> None:
    """Groups are questions; each belongs to one split of one task, and labels follow their items."""
    data = paper_data.read(paper_files.write(tmp_path, make(sources=sources)))
    truth = {i.content: i for i in (*data.label, *data.unlabel, *data.test)}
    homes: dict[str, set[tuple[str, int]]] = {}
    drafts = paper_data.drafts(data)
    assert [d.role for d in drafts[:2]] == ["open", "feedback"]
    assert sum(len(d.labels) for d in drafts) == len(truth)
    for draft in drafts:
        for i, (split, passage) in enumerate(parts(draft)):
            question = passage[0].removeprefix("Question: ").removesuffix("\nAnswer:").removesuffix("\n")
            found = paper_data.Item(question, tuple(p.strip() for p in passage[1:]), int(draft.labels[i]), "", 0)
            assert found.verdict == truth[found.content].verdict
            homes.setdefault(found.topic, set()).add((draft.name, split))
            if draft.pairs is not None:
                rows = [draft.rows[r] for r in draft.pairs[i]]
                assert rows == [f"Question: {question}\nAnswer: {a}" for a in passage[1:]]
            else:
                assert draft.rows[i] == "".join(passage)
        assert all(row.startswith(p) for row, p in zip(draft.rows, draft.prefixes or (), strict=True))
        assert set(draft.split) == ({TEACHER, TRAIN, TEST} if draft.role == "open" else {TRAIN, TEST})
    assert all(len(places) == 1 for places in homes.values())


def test_the_order_of_lines_leaves_no_trace(tmp_path: Path, make: Maker) -> None:
    """Shuffled files give the same drafts: neither place nor group number of an item says where its line stood."""
    files = make()
    one = paper_data.drafts(paper_data.read(paper_files.write(tmp_path / "one", files)))
    for rows in files.values():
        random.Random(3).shuffle(rows)
    two = paper_data.drafts(paper_data.read(paper_files.write(tmp_path / "two", files)))
    for a, b in zip(one, two, strict=True):
        assert (a.rows, a.prefixes, a.passages) == (b.rows, b.prefixes, b.passages)
        for name in ("labels", "split", "groups", "pairs"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_sources_that_no_train_item_has_become_record_tasks(
    tmp_path: Path, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Familiar sources make the feedback task; a small foreign one has no task of its own."""
    data = paper_data.read(paper_files.write(tmp_path, make(sources=SOURCES)))
    assert data.foreign == {"Far Away!", "odd"}
    assert [d.name for d in paper_data.drafts(data)] == ["open", "feedback", "record-others"]
    monkeypatch.setattr(paper_data, "OWN_TASK", 30)
    far = [d for d in paper_data.drafts(data) if d.name == "record-far-away"]
    assert [d.title for d in far] == ["Far Away!: no train item is from there"]
    items = {i.content for i in data.test if i.source == "Far Away!"}
    assert (far[0].split == TEST).sum() == len(items)


def test_a_handful_of_foreign_items_makes_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They join the smallest foreign task, or where there is none, are divided like all others."""
    files = paper_files.pairs(sources={"train_label": ("x",), "train_unlabel": ("x",), "test": ("x",)})
    for row in files["test"][:5]:
        row["subset"] = "stray"
    stray = paper_data.read(paper_files.write(tmp_path / "stray", files))
    assert [d.name for d in paper_data.drafts(stray)] == ["open", "feedback", "record-unseen"]
    monkeypatch.setattr(paper_data, "OWN_TASK", 60)
    for row in files["test"][5:75]:
        row["subset"] = "y"
    drafts = paper_data.drafts(paper_data.read(paper_files.write(tmp_path / "both", files)))
    assert [(d.name, int((d.split == TEST).sum())) for d in drafts[1:]] == [("feedback", 85), ("record-y", 75)]


def test_a_question_that_a_familiar_source_asks_too_is_no_foreign_one(tmp_path: Path) -> None:
    """Where the sources name who wrote the answers, a question's items stay together."""
    files = paper_files.answers(sources={"train_label": ("x",), "train_unlabel": ("x",), "test": ("x",)})
    for number, row in enumerate(files["test"]):
        row["subset"] = "y" if number % 2 or number >= 100 else "x"
    drafts = paper_data.drafts(paper_data.read(paper_files.write(tmp_path, files)))
    assert [(d.name, int((d.split == TEST).sum())) for d in drafts[1:]] == [("feedback", 100), ("record-others", 60)]


def test_a_source_in_only_some_lines_is_no_source(tmp_path: Path, make: Maker) -> None:
    """Then nothing tells which test items are foreign, and questions are halved."""
    files = make(sources=SOURCES)
    del files["train_label"][0]["subset"]
    drafts = paper_data.drafts(paper_data.read(paper_files.write(tmp_path, files)))
    assert [d.name for d in drafts] == ["open", "feedback", "record-unseen"]


def test_sources_with_like_names_get_different_tasks() -> None:
    """Task names are file names."""
    assert paper_data._task_names(["RM-Bench", "rm bench", "others", "!!"]) == [
        "record-rm-bench", "record-rm-bench-2", "record-others-3", "record-source",
    ]  # fmt: skip


def test_too_little_data_is_refused(tmp_path: Path, make: Maker) -> None:
    """A split with next to no items says which file needs more."""
    files = make()
    files["train_label"] = files["train_label"][:40]
    data = paper_data.read(paper_files.write(tmp_path, files))
    with pytest.raises(InputError, match=r"train_label\.jsonl: the task open would have \d+ .* 20 are the fewest"):
        paper_data.drafts(data)


def test_fewer_items_keep_whole_questions(tmp_path: Path) -> None:
    """`at_most` takes questions by their hashes, each with all its answers."""
    data = paper_data.read(paper_files.write(tmp_path, paper_files.answers()))
    less = data.at_most(101)
    assert len(less.label) == len(less.test) == 102
    assert set(less.test) <= set(data.test)
    assert len({i.topic for i in less.test}) == 51


def words(text: str) -> list[tuple[int, int]]:
    return [m.span() for m in re.finditer(r"\s*\S+", text)]


@given(before=st.integers(0, 60), after=st.integers(1, 60), limit=st.integers(8, 40))
def test_long_rows_lose_the_questions_beginning_first(before: int, after: int, limit: int) -> None:
    """At most `limit` tokens are left: the answer's beginning, and the question's end beside it."""
    question, answer = "".join(f" q{i}" for i in range(before)), "".join(f" a{i}" for i in range(after))
    draft = Draft(
        "open", "open", "", rows=(question + answer,), prefixes=(question,), labels=np.zeros(1, np.int8),
        split=np.zeros(1, np.int8), groups=np.zeros(1, np.int64),
    )  # fmt: skip
    found, cut = paper_data.shortened(draft, limit, words)
    assert found.prefixes is not None
    left, kept = found.prefixes[0], found.rows[0][len(found.prefixes[0]) :]
    assert len(words(left)) + len(words(kept)) == min(limit, before + after)
    assert question.endswith(left)
    assert answer.startswith(kept)
    assert cut == (before + after > limit)
    assert len(words(kept)) >= min(after, 3 * limit // 4)
