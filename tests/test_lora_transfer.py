"""SmolLM2-135M really learns on a CPU: a slice of each problem, from the documented command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ITEMS = 400


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("problem", ["w2s-math", "w2s-code", "w2s-pref"])
def test_smollm2_learns_from_true_labels(problem: str, tmp_path: Path) -> None:
    """Taught the truth on 400 items it is right clearly more often than by chance on 400 others, and no less often than
    when it is taught by the weak teacher; the command prints floor, ceiling and both kinds of weak labels."""
    out = tmp_path / "transfer.json"
    command = [
        sys.executable, str(ROOT / "benchmarks" / "lora_w2s.py"), problem, "--seeds", "1", "--frozen", "20",
        "--train", str(ITEMS), "--test", str(ITEMS), "--out", str(out),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for row in ("floor", "ceiling", "hard", "soft"):
        assert f"\n{row}" in done.stdout, done.stdout
    runs = json.loads(out.read_text("utf-8"))["runs"]
    truth, hard = (runs[f"0 {target}"]["accuracy"] for target in ("truth", "hard"))
    error = (0.25 / ITEMS) ** 0.5
    assert truth > 0.5 + 3 * error
    assert truth > hard - 2 * error
