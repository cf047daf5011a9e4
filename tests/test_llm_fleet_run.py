"""Nine researchers, two wire formats, an outage, two kill -9: one run from brief to report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

pytest.importorskip("inspect_ai", reason="needs the [llm] extra")

from inspect_ai.log import read_eval_log

import llm_lab
import toy
from aarlab.fleet import launch
from aarlab.records import EventRow
from aarlab.server.creation import create_lab
from aarlab.settings import Audit, Budget, ResearcherSpec
from aarlab.store import Store
from aarlab.testing import ModelServer
from aarlab.vault.verify import verify
from llm_lab import MODELS

NINE = tuple(
    ResearcherSpec(f"r{i + 1}", "llm", direction=d, model=MODELS["anthropic" if i < 5 else "openai"])
    for i, d in enumerate(("elicitation", "reweighting", "combination", "posterior", "distillation", "simplicity",
                           "learnability", "evolutionary", "internals"))
)  # fmt: skip


def start(folder: Path, provider: ModelServer) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "aarlab", "resume", str(folder)]
    return subprocess.Popen(
        argv, env={**os.environ, **provider.environment()}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(provider: ModelServer, requests: int, process: subprocess.Popen[str], seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while provider.requests["all"] < requests:
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < end, provider.stats()
        time.sleep(0.1)


def researchers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The forks of the nursery."""
    nursery = [c for c in psutil.Process(process.pid).children() if "aarlab.llm.nursery" in " ".join(c.cmdline())]
    return [c for n in nursery for c in n.children() if c.is_running()]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nine_researchers_from_brief_to_report(tmp_path, monkeypatch):
    """Experiments, posts, verified scores, compaction, an outage, kill -9 of one and of all, costs, entropy plot."""
    monkeypatch.setenv("AARLAB_STATE", str(tmp_path / "state"))
    folder = tmp_path / "lab"
    made = replace(
        llm_lab.settings(llm={"context_tokens": 8000, "session_turns": 15}),
        researchers=NINE, budget=Budget(minutes=20, answers=60, submissions=10, dollars=20.0),
        audit=Audit(finalists=False),
    )  # fmt: skip
    create_lab(folder, made, [toy.make_pack(tmp_path / "pack")])
    faults = ("outage:60:12", "every:37:500")
    with ModelServer(mind="researcher:steps=22", faults=faults, delay=0.3) as provider:
        process = start(folder, provider)
        begun = time.monotonic()
        wait_for(provider, 9, process)
        print(f"start of the fleet: {time.monotonic() - begun:.1f} s")
        wait_for(provider, 110, process)
        victim = researchers(process)[0]
        victim.kill()  # one researcher
        wait_for(provider, 150, process)
        process.send_signal(signal.SIGKILL)  # the supervisor, and with it the whole fleet
        process.communicate()
        time.sleep(1)
        process = start(folder, provider)
        words = process.communicate(timeout=600)[1]
        assert process.returncode == 0, words[-3000:]
        billed = provider.billed
    check_run(folder, billed)


def check_run(folder: Path, billed: dict[str, Counter[str]]) -> None:
    view = launch.live_or_stored(folder)
    assert view["phase"] == "done"
    own = [s for s in view["submissions"] if s["researcher"] in billed]
    assert len({s["researcher"] for s in own}) == 9
    assert sum(s["status"] == "scored" for s in own) >= 9
    assert max(Counter((s["researcher"], s["name"]) for s in own).values()) == 1
    events = all_events(folder)
    kinds = Counter(e.kind for e in events)
    assert kinds["compaction"] > 9  # nine starts, and summaries
    assert any("529" in e.body for e in events if e.kind == "retry")
    answers = [json.loads(e.body)["message"] for e in events if e.kind == "assistant"]
    calls = Counter(c["id"] for m in answers for c in m.get("tool_calls") or [])
    assert max(calls.values()) == 1
    spending = view["spending"]
    for name, counts in billed.items():
        lost = spending[name]["lost_calls"]
        assert counts["calls"] - lost <= spending[name]["calls"] <= counts["calls"] + lost
        assert spending[name]["llm_dollars"] > 0
    assert sum(a["llm_dollars"] for a in spending.values()) <= 20.0
    logs = sorted((folder / "transcripts").glob("*.eval"))
    assert len(logs) >= 18
    assert all(read_eval_log(str(p), header_only=True).status != "started" for p in logs)
    report = json.loads((folder / "report" / "report.json").read_text())
    assert report["costs"]
    assert (folder / "report" / "entropy.png").stat().st_size > 5000
    html = (folder / "report" / "report.html").read_text()
    assert "transcripts/" in html
    assert "scripted-key" not in html
    assert verify(folder)
    print(json.dumps({"events": kinds, "submissions": len(own), "logs": len(logs)}))


def all_events(folder: Path) -> list[EventRow]:
    """Every event row, read from the database as it lies."""
    store = Store(folder / "lab.db")
    try:
        with store.read() as rows:
            return list(rows.events())
    finally:
        store.close()
