"""The machine's count of answers per label set."""

from __future__ import annotations

from pathlib import Path

import pytest

from aarlab.errors import Infrastructure
from aarlab.store.registry import Earlier, Registry, state_file


def test_counts_other_labs_of_the_same_labels(tmp_path: Path) -> None:
    """A lab sees the answers of other labs on its label set, and neither its own nor those on other labels."""
    registry = Registry(tmp_path / "deep" / "answers.db")
    registry.put("labels", "one", "a", 10, 20.5)
    registry.put("labels", "two", "b", 5, 11.0)
    registry.put("other", "three", "c", 100, 99.0)
    assert registry.earlier("labels", "two") == Earlier(1, 10, 20.5)
    assert registry.earlier("labels", "new") == Earlier(2, 15, 31.5)
    assert registry.earlier("fresh", "new") == Earlier(0, 0, 0.0)


def test_totals_survive_and_never_fall(tmp_path: Path) -> None:
    """Writing the same total twice changes nothing, and an older total does not lower a newer one."""
    for answers in (10, 10, 4):
        registry = Registry(tmp_path / "answers.db")
        registry.put("labels", "one", "a", answers, float(answers))
        registry.close()
    assert Registry(tmp_path / "answers.db").earlier("labels", "x") == Earlier(1, 10, 10.0)


def test_where_the_file_lies(tmp_path: Path) -> None:
    """AARLAB_STATE names the file; else the user's state folder holds it."""
    assert state_file({"AARLAB_STATE": "/x/y.db"}) == Path("/x/y.db")
    assert state_file({"XDG_STATE_HOME": "/s"}) == Path("/s/aarlab/answers.db")
    assert state_file({}) == Path.home() / ".local/state/aarlab/answers.db"


def test_an_unusable_place_is_named(tmp_path: Path) -> None:
    """A place that cannot be written gives one sentence with the remedy."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Infrastructure, match="AARLAB_STATE"):
        Registry(tmp_path / "file" / "answers.db")
