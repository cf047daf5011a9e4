"""Outside programs as researchers: finding them, what they may call, and the real Claude Code in its sandbox."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("inspect_swe", reason="needs the [llm] extra")

from inspect_ai.log import read_eval_log
from inspect_ai.model import ChatMessageTool, ChatMessageUser
from inspect_ai.tool import ToolCall, ToolDef

import llm_lab
import toy
import toy_server
from aarlab.errors import ConfigError, SandboxUnavailable
from aarlab.llm import binaries, cli_agents
from aarlab.sandbox import open_sandbox
from aarlab.settings import ResearcherSpec
from llm_lab import LlmLab


def _why_not(which: str) -> str:
    try:
        binaries.find(which)
        open_sandbox("bwrap").check()
    except (ConfigError, SandboxUnavailable) as error:
        return str(error)
    return ""


WHY_NOT = {which: _why_not(which) for which in binaries.PROGRAMS}
real = pytest.mark.skipif(bool(WHY_NOT["claude-code"]), reason=WHY_NOT["claude-code"] or "it works")
real_codex = pytest.mark.skipif(bool(WHY_NOT["codex"]), reason=WHY_NOT["codex"] or "it works")


# Finding the executable


def executable(path: Path, content: bytes = binaries.ELF) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without the programs."""
    for known in binaries.PROGRAMS.values():
        monkeypatch.delenv(known.variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(binaries, "_bundled", lambda: None)
    return tmp_path


@pytest.mark.parametrize("which", binaries.PROGRAMS)
def test_a_missing_program_is_a_sentence_with_the_remedy(bare, which):
    known = binaries.PROGRAMS[which]
    with pytest.raises(ConfigError, match=f"{which} is not on this machine.*install.*{known.variable}"):
        binaries.find(which)


def test_the_variable_is_first_then_path_then_the_wheel(bare, monkeypatch):
    wheel = executable(bare / "wheel" / "claude")
    monkeypatch.setattr(binaries, "_bundled", lambda: wheel)
    assert binaries.find("claude-code") == wheel
    on_path = executable(bare / "bin" / "claude")
    assert binaries.find("claude-code") == on_path
    named = executable(bare / "own" / "claude")
    monkeypatch.setenv("AARLAB_CLAUDE", str(named))
    assert binaries.find("claude-code") == named
    assert binaries.binds("claude-code") == ((str(named), f"{binaries.FOLDER}/claude"),)


def test_a_wrong_variable_is_not_passed_over(bare, monkeypatch):
    """Somebody meant it: no other executable is taken instead."""
    executable(bare / "bin" / "codex")
    monkeypatch.setenv("AARLAB_CODEX", str(bare / "nowhere"))
    with pytest.raises(ConfigError, match=r"AARLAB_CODEX=.*nowhere is no native executable"):
        binaries.find("codex")


def test_the_script_of_an_npm_package_stands_for_its_executable(bare):
    """npm puts a Node.js script on PATH; a sandbox has no Node.js."""
    modules = bare / "lib" / "node_modules" / "@openai"
    script = executable(modules / "codex" / "bin" / "codex.js", b"#!/usr/bin/env node\n")
    (bare / "bin").mkdir()
    (bare / "bin" / "codex").symlink_to(script)
    with pytest.raises(ConfigError, match="is a script, and no native executable lies beside it"):
        binaries.find("codex")
    native = executable(modules / "codex-linux-x64" / "vendor" / "x86_64-unknown-linux-musl" / "bin" / "codex")
    assert binaries.find("codex") == native


def test_an_unknown_program(bare):
    with pytest.raises(ConfigError, match="no outside program 'cursor'; there are claude-code, codex"):
        binaries.find("cursor")
    with pytest.raises(ConfigError, match="cursor"):
        cli_agents.Program("cursor", 60)


# What it calls


def call(number: int, function: str, **arguments: object) -> ToolCall:
    return ToolCall(id=f"call-{number}", function=function, arguments=arguments)


def test_lab_calls_have_the_proposals_key_once():
    """The model's id of a call is its key; another conversation's answer does not void it."""
    calls = cli_agents.Proposals()
    calls.start([call(1, "mcp__lab__submit", path="a.py"), call(2, "Bash", command="ls")])
    calls.start([call(3, "mcp__lab__submit", path="b.py")])
    calls.start([call(4, "finish", reason="Codex gives plain names")])
    assert calls.key("finish", {"reason": "Codex gives plain names"}) == "call-4"
    assert calls.key("submit", {"path": "b.py", "name": ""}) == "call-3"
    calls.note("submission", 7)
    assert calls.key("submit", {"path": "a.py", "name": ""}) == "call-1"
    calls.note("submission", 8)
    assert calls.made == {"call-3": ("submission", 7), "call-1": ("submission", 8)}
    assert calls.key("submit", {"path": "a.py"}) not in ("call-1", "call-3")


def test_every_message_is_written_down_once():
    """A program sends its whole conversation with every call; the same words said twice are two messages."""
    program = cli_agents.Program("claude-code", 60)
    first = [ChatMessageUser(content="begin"), ChatMessageTool(content="out", tool_call_id="c1", function="Bash")]
    assert [m.text for m in program._new(first)] == ["begin", "out"]
    again = [m.model_copy(update={"id": None}) for m in first]
    more = [ChatMessageUser(content="go on"), ChatMessageUser(content="go on")]
    fresh = program._new([*again, *more])
    assert [m.text for m in fresh] == ["go on", "go on"]
    assert len({m.id for m in fresh}) == 2


def test_a_program_gets_the_labs_tools_without_ours_for_the_sandbox():
    from aarlab.llm.tools import tools

    served = cli_agents.for_program(tools(None, None, None, None, 60, 1000))  # type: ignore[arg-type]
    names = {ToolDef(t).name for t in served}
    assert {"brief", "submit", "forum_post", "finish"} <= names
    assert not names & {"bash", "python", "text_editor"}


# The real Claude Code


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """`lab(mind)`: a toy lab with one researcher of kind cli, in real sandboxes, before a scripted provider."""
    monkeypatch.setattr(toy_server, "plain", lambda settings: settings)

    def make(mind: str, which: str = "claude-code", wire: str = "anthropic") -> LlmLab:
        crew = (ResearcherSpec("r1", "cli", cli=which),)
        made = replace(llm_lab.settings(model=llm_lab.MODELS[wire]), researchers=crew)
        return LlmLab(tmp_path / "lab", made, mind=mind)

    return make


def steps(folder: Path, *actions: tuple[str, dict[str, object]] | str) -> str:
    """A script for the scripted provider: calls, or words without one."""
    made = [
        {"text": a} if isinstance(a, str) else {"text": "On.", "calls": [{"name": a[0], "arguments": a[1]}]}
        for a in actions
    ]
    path = folder / "script.json"
    path.write_text(json.dumps(made))
    return f"script:{path}"


LOOK = "env; cat /proc/*/environ | tr '\\0' '\\n'; ls /work /data /shared; curl -sS -m 5 https://example.com; ls /root"


def said(lab: LlmLab, kind: str) -> str:
    return "\n".join(json.dumps(e["body"]) for e in lab.events() if e["kind"] == kind)


@real
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_claude_code_submits_through_mcp_and_gets_a_verified_score(lab, tmp_path):
    """It writes with its own tool, hands in over MCP, is nudged on, finishes; paid, written down, and shut in."""
    mind = steps(
        tmp_path,
        ("Write", {"file_path": "/work/m.py", "content": toy.LEARNER}),
        ("mcp__lab__submit", {"path": "m.py", "name": "learner", "wait_seconds": 60}),
        ("Bash", {"command": LOOK, "description": "look around"}),
        "I think that is all.",
        ("mcp__lab__finish", {"reason": "the script is at its end"}),
    )
    with lab(mind) as running:
        assert running.run(timeout=800) == 0, running.words()
        operator = running.client()
        [row] = [s for s in operator.run()["submissions"] if s["researcher"] == "r1"]
        whole = operator.submission(row["id"])
        assert whole["status"] == "scored", whole
        assert running.lab.client("r1").method(row["id"])["source"] == toy.LEARNER
        log = read_eval_log(str(running.folder / "transcripts" / row["transcript"]["log"]))
        assert log.status == "success"

        kinds = [e["kind"] for e in running.events()]
        assert kinds.count("assistant") == running.models.requests["200"]
        spent = operator.run()["spending"]["r1"]
        assert spent["calls"] == running.models.requests["200"]
        assert spent["llm_dollars"] > 0
        assert "called no tool" in said(running, "user")

        looked = said(running, "tool")
        assert "Could not resolve host" in looked
        for secret in (*running.lab.tokens["researchers"].values(), running.lab.tokens["fleet"], "scripted-key"):
            assert secret not in looked
        assert running.lab.verify()


@real
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_process_begins_anew_with_its_workspace(lab, tmp_path):
    """The next process's Claude Code knows that it was restarted; what it wrote is there."""
    mind = steps(
        tmp_path,
        ("Bash", {"command": "echo '[step 1] begun' >> notebook.md; cat notebook.md", "description": "note"}),
        ("mcp__lab__submission", {"number": 0}),
        ("mcp__lab__finish", {"reason": "the script is at its end"}),
    )
    with lab(mind) as running:
        process = running.start()
        end = time.monotonic() + 300
        while "[step 1] begun" not in said(running, "tool"):
            assert process.poll() is None, running.words()
            assert time.monotonic() < end
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert running.run(timeout=400) == 0, running.words()
        assert "You were restarted" in said(running, "user")
        assert (running.folder / "workspaces" / "r1" / "notebook.md").read_text() == "[step 1] begun\n" * 2


@real_codex
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_codex_submits_through_mcp_and_gets_a_verified_score(lab, tmp_path):
    """The same with Codex, whose model sees the lab's tools under their plain names."""
    mind = steps(
        tmp_path,
        ("exec_command", {"cmd": f"cat > m.py <<'END'\n{toy.LEARNER}END"}),
        ("submit", {"path": "m.py", "name": "learner", "wait_seconds": 60}),
        ("finish", {"reason": "the script is at its end"}),
    )
    with lab(mind, "codex", "openai") as running:
        assert running.run(timeout=800) == 0, running.words()
        operator = running.client()
        [row] = [s for s in operator.run()["submissions"] if s["researcher"] == "r1"]
        assert operator.submission(row["id"])["status"] == "scored"
        assert operator.run()["spending"]["r1"]["calls"] == running.models.requests["200"]
        assert running.lab.verify()
