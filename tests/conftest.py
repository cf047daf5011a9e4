"""What every test gets: a state folder of its own, so that no test touches the user's count of answers."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("state") / "answers.db"
    monkeypatch.setenv("AARLAB_STATE", str(path))
    return path
