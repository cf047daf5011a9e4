"""What every test gets: a state folder of its own, so that no test touches the user's count of answers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("state") / "answers.db"
    monkeypatch.setenv("AARLAB_STATE", str(path))
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `train` are skipped, with the remedy, where the extra is not installed."""
    if find_spec("torch") and find_spec("peft"):
        return
    skip = pytest.mark.skip(reason="needs torch and peft: pip install 'aarlab[train]'")
    for item in items:
        if item.get_closest_marker("train"):
            item.add_marker(skip)
