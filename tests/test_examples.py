"""The examples run as they are and print what they promise."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_the_notebook_fits_on_a_screen_and_compares_with_an_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under 40 lines: a task is loaded, a head fitted, two methods compared with an interval, a plot written."""
    monkeypatch.chdir(tmp_path)
    file = EXAMPLES / "w2s_in_a_notebook.py"
    assert len(file.read_text("utf-8").splitlines()) < 40
    runpy.run_path(str(file))
    printed = capsys.readouterr().out
    assert re.search(r"weak labels +PGR 0\.\d\d \[-?\d\.\d\d, \d\.\d\d\]", printed)
    assert re.search(r"better by 0\.\d\d \[0\.\d\d, \d\.\d\d\] PGR, paired", printed)
    assert (tmp_path / "pgr.svg").read_text("utf-8").startswith("<svg")


def test_weak_to_strong_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The longer example prints every method it names with its PGR."""
    runpy.run_path(str(EXAMPLES / "weak_to_strong.py"))
    printed = capsys.readouterr().out
    assert "mine                     PGR +" in printed
    assert "def run(task, seed):" in printed
