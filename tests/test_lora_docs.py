"""The numbers of docs/lora.md are those of the stored trainings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("problem", ["w2s-math", "w2s-pref"])
def test_the_page_quotes_the_stored_trainings(problem: str) -> None:
    """`--show` prints from the outcomes, without torch, every number that the page's row has."""
    command = [sys.executable, "benchmarks/lora_w2s.py", "--show", f"docs/lora/{problem}.json"]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    row = next(x for x in (ROOT / "docs" / "lora.md").read_text("utf-8").splitlines() if x.startswith(f"| {problem} |"))
    cells = [cell.strip() for cell in row.split("|")[2:6]]
    shown = re.findall(r"accuracy (\S+)(?: (\[.*\])|  (PGR .*), 3 seeds)", printed)
    assert cells == [f"{a} {interval}" if interval else f"{a}, {pgr}" for a, interval, pgr in shown]
