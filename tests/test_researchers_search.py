"""Rules of a search researcher at work, in its own process, against a real lab service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toy
from aarlab.settings import Budget
from aarlab.w2s.compose import Recipe
from toy_server import ToyServer


def start(
    server: ToyServer, workspace: Path, name: str = "r1", direction: str = "combination", minutes: str = "0.1"
) -> Any:
    """One researcher process as the supervisor starts it, without the sandbox."""
    workspace.mkdir(parents=True, exist_ok=True)
    env = {
        **os.environ,
        "AARLAB_ADDRESS": str(server.folder / "run" / "aarlab.sock"),
        "AARLAB_TOKEN": server.tokens["researchers"][name],
        "AARLAB_DATA": str(server.folder / "public"),
        "AARLAB_KIND": "search",
        "AARLAB_NAME": name,
        "AARLAB_DIRECTION": direction,
        "AARLAB_SEED": name[1:],
        "AARLAB_MINUTES": minutes,
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "aarlab.researchers"], cwd=workspace, env=env, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def events(workspace: Path) -> list[dict[str, Any]]:
    if not (workspace / "journal.jsonl").exists():
        return []
    found = []
    for line in (workspace / "journal.jsonl").read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def wait_for(workspace: Path, true: Callable[[list[dict[str, Any]]], bool], seconds: float = 90.0) -> None:
    """Until a researcher's journal is so."""
    end = time.monotonic() + seconds
    while not true(events(workspace)):
        assert time.monotonic() < end, events(workspace)
        time.sleep(0.02)


def quick_settings() -> Any:
    return replace(toy.settings(2), budget=Budget(minutes=1.0, answers=12, submissions=10))


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with ToyServer(tmp_path / "lab", quick_settings()) as running:
        yield running


def test_a_researcher_tries_submits_and_reports(server: ToyServer, tmp_path: Path) -> None:
    """Within its time it tries recipes, submits real files with what it measured, and posts what the lab answered."""
    workspace = tmp_path / "w"
    process = start(server, workspace)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    lab = server.client("r1")
    mine = lab.submissions()
    assert mine
    assert all(s["claimed_pgr"] is not None for s in mine)
    assert any(s["status"] == "scored" for s in mine), mine
    posts = lab.posts()
    assert {"hypothesis", "result"} <= {p["kind"] for p in posts}
    reported = [p for p in posts if p["kind"] == "result"]
    assert all(p["verified"] is not None for p in reported)
    kept = [e for e in events(workspace) if e["event"] == "submit"]
    assert all(Recipe.from_source(e["body"]["source"]) is not None for e in kept)
    assert "best so far" in (workspace / "notebook.md").read_text()


def test_a_researcher_builds_on_another(server: ToyServer, tmp_path: Path) -> None:
    """It fetches a verified method, parses its recipe, tries it, and keeps it as a file in its workspace."""
    other = server.client("r2")
    source = Recipe(labels="mixture", blend=0.4).source()
    row = other.wait(other.submit("mixture + blend", source)["id"], 30)
    assert row["status"] == "scored"
    workspace = tmp_path / "w"
    process = start(server, workspace, direction="reweighting")
    process.communicate(timeout=60)
    fetched = list((workspace / "methods").glob("*.py"))
    assert [p.read_text() for p in fetched if "mixture-blend" in p.name] == [source]
    found = events(workspace)
    assert Recipe.from_source(source).key() in {e["key"] for e in found if e["event"] == "adopted"}  # type: ignore[union-attr]
    assert Recipe.from_source(source).key() not in {e["key"] for e in found if e["event"] == "submit"}  # type: ignore[union-attr]
    if row["record"] is not None:
        assert any(e.get("parent") == row["id"] for e in found if e["event"] == "trial")


def test_kills_neither_lose_nor_repeat_a_submission(server: ToyServer, tmp_path: Path) -> None:
    """kill -9 again and again: every intended submission is in the lab exactly once, trials are not tried again."""
    workspace = tmp_path / "w"
    for more in (1, 2, 1):  # killed after so many new events, however fast this machine is
        known = len(events(workspace))
        process = start(server, workspace, minutes="2")
        wait_for(workspace, lambda found, least=known + more: len(found) >= least)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
    process = start(server, workspace, minutes="2")
    wait_for(workspace, lambda found: sum(e["event"] == "submit" for e in found) >= 2)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    found = events(workspace)
    intended = [e["key"] for e in found if e["event"] == "submit"]
    lab = server.client("r1")
    assert intended
    assert len(intended) == len(set(intended))
    assert len(lab.submissions()) == len(intended)
    tried = [e["key"] for e in found if e["event"] == "trial"]
    assert len(set(tried)) >= 0.8 * len(tried)
    titles = [p["title"] for p in lab.posts() if p["researcher"] == "r1"]
    assert len(titles) == len(set(titles))


def test_a_stopped_researcher_ends_by_itself(server: ToyServer, tmp_path: Path) -> None:
    """The heartbeat's reply says stop; the process ends cleanly and soon."""
    process = start(server, tmp_path / "w", minutes="2")
    time.sleep(2)
    server.client("operator").stop("r1")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out


def test_a_researcher_is_small(server: ToyServer, tmp_path: Path) -> None:
    """Nine of them fit on a laptop: under 120 MB of resident memory each, sklearn not imported."""
    process = start(server, tmp_path / "w", minutes="1")
    time.sleep(4)
    status = Path(f"/proc/{process.pid}/status").read_text()
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    process.terminate()
    process.communicate(timeout=30)
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    assert peak < 120
    assert "sklearn" not in maps


def test_wrong_surroundings_are_named(tmp_path: Path) -> None:
    """Without its environment, or with an unknown kind, the process says what is wrong and exits with 2."""
    bare = {k: v for k, v in os.environ.items() if not k.startswith("AARLAB_")}
    command = [sys.executable, "-m", "aarlab.researchers"]
    for extra, words in (
        ({}, "AARLAB_ADDRESS is not set"),
        (
            {
                "AARLAB_ADDRESS": "x",
                "AARLAB_TOKEN": "x",
                "AARLAB_NAME": "x",
                "AARLAB_DATA": "x",
                "AARLAB_KIND": "magic",
            },
            "'magic'",
        ),
    ):
        done = subprocess.run(command, env=bare | extra, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert words in done.stderr
