"""Inspect's sandbox `bwrap`: Inspect's own checks of a sandbox, its tools, its agent bridge, and the lab's use."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="needs pip install 'aarlab[llm]'")

from inspect_ai import Task, eval
from inspect_ai.agent import AgentState, react, sandbox_agent_bridge
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessageTool, ModelOutput, ModelUsage, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import bash, python, text_editor
from inspect_ai.util import (
    ExecRemoteStreamingOptions,
    SandboxEnvironment,
    SandboxEnvironmentSpec,
    SandboxUnavailableError,
    SandboxUserUnsupportedError,
    sandbox,
)
from inspect_ai.util._sandbox import self_check
from inspect_ai.util._sandbox.limits import override_max_exec_output_size

from aarlab.errors import ConfigError
from aarlab.llm import registry
from aarlab.llm.provider import BwrapConfig, BwrapSandboxEnvironment, config_for, read_config
from aarlab.settings import Isolation, ResearcherSpec, Settings
from sandbox_here import needs_bwrap

CANARY = f"canary-{uuid.uuid4().hex}"


NO_ROOT = {"test_exec_as_user"}
"""What no sandbox without a root can do; Inspect leaves it to each provider to say so."""


def within(do: Callable[[BwrapSandboxEnvironment], Awaitable[Any]], config: BwrapConfig | str | None = None) -> Any:
    """What `do` gives for a sandbox that is set up and cleaned up as Inspect does it."""

    async def run() -> Any:
        made = await BwrapSandboxEnvironment.sample_init("task", config, {})
        try:
            return await do(made["default"].as_type(BwrapSandboxEnvironment))
        finally:
            await BwrapSandboxEnvironment.sample_cleanup("task", config, made, False)

    return asyncio.run(run())


@needs_bwrap
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(self_check.__all__) - NO_ROOT))
def test_inspects_own_check(name: str) -> None:
    within(getattr(self_check, name))


@needs_bwrap
def test_there_is_no_other_user() -> None:
    async def do(one: SandboxEnvironment) -> None:
        assert (await one.exec(["id", "-un"], user="researcher")).stdout == "researcher\n"
        for user in ("root", "0", "nobody"):
            with pytest.raises(SandboxUserUnsupportedError, match=user):
                await one.exec(["true"], user=user)

    within(do)


@needs_bwrap
def test_of_much_output_inspect_gets_the_end() -> None:
    async def do(one: SandboxEnvironment) -> None:
        with override_max_exec_output_size(1000):
            found = await one.exec(["sh", "-c", "yes | head -c 20000; echo last"])
        assert len(found.stdout) == 1000
        assert found.stdout.endswith("y\nlast\n")
        assert found.success

    within(do)


@needs_bwrap
def test_a_timeout_carries_what_was_said() -> None:
    async def do(one: SandboxEnvironment) -> None:
        with pytest.raises(TimeoutError, match="within 1 s") as caught:
            await one.exec(["sh", "-c", "echo so far; sleep 60"], timeout=1)
        assert getattr(caught.value, "truncated_output", "") == "so far"

    within(do)


@needs_bwrap
def test_a_cancelled_call_leaves_no_process() -> None:
    async def do(one: SandboxEnvironment) -> None:
        running = asyncio.create_task(one.exec(["sleep", "4321"]))
        while "sleep 4321" not in (await one.exec(["ps", "-eo", "args"])).stdout:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        for _ in range(200):
            if "sleep 4321" not in (await one.exec(["ps", "-eo", "args"])).stdout:
                return
            await asyncio.sleep(0.02)
        pytest.fail("the command runs on")

    within(do)


@needs_bwrap
def test_a_sandbox_that_ends_is_an_error_of_one_call() -> None:
    async def do(one: SandboxEnvironment) -> None:
        await one.write_file("kept", "content")
        with pytest.raises(SandboxUnavailableError, match="starts again with the next command"):
            await one.exec(["sh", "-c", "kill -9 -1"])
        assert await one.read_file("kept") == "content"

    within(do)


@needs_bwrap
def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    async def do(one: SandboxEnvironment) -> None:
        with pytest.raises(SandboxUnavailableError, match=r"File too large|No space left"):
            await one.write_file("large", b"x" * (3 << 20))
        with pytest.raises(SandboxUnavailableError, match="No space left"):
            await one.write_file("/tmp/large", b"x" * (2 << 20))
        with pytest.raises(SandboxUnavailableError, match="more than 8 MB of disk"):
            await one.exec(["sh", "-c", "for n in 1 2 3 4 5 6; do head -c 2000000 /dev/zero > $n; done; sleep 60"])

    within(do, BwrapConfig(workspace=str(tmp_path / "work"), file_mb=2, disk_mb=8, tmp_mb=1))


@needs_bwrap
def test_a_workspace_of_ones_own_is_kept_and_a_temporary_one_is_not(tmp_path: Path) -> None:
    async def do(one: BwrapSandboxEnvironment) -> Path:
        await one.write_file("file", "content")
        return one.workspace

    kept = within(do, BwrapConfig(workspace=str(tmp_path / "work")))
    assert (kept / "file").read_text() == "content"
    assert not within(do).exists()


@needs_bwrap
def test_binds_and_variables(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "program").write_text("#!/bin/sh\necho ran\n")
    (given / "program").chmod(0o755)

    async def do(one: SandboxEnvironment) -> None:
        found = await one.exec(["bash", "-lc", "program; which program; touch /opt/cli/x"])
        assert found.stdout == "ran\n/opt/cli/program\n"
        assert "Read-only" in found.stderr

    path = "/opt/cli:/usr/bin:/bin"
    within(do, BwrapConfig(extra_binds=((str(given), "/opt/cli"),), env=(("PATH", path),)))


@needs_bwrap
def test_a_shell_in_the_running_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `inspect sandbox` and an operator use: all namespaces, the sandbox's user, no rights."""

    async def do(one: SandboxEnvironment) -> None:
        await one.write_file("here", "")
        shell = await one.connection()
        look = "pwd; ls; id -un; ls /proc/1/root 2>&1; grep CapEff /proc/self/status; env"
        found = subprocess.run(
            shlex.split(shell.command), input=look, capture_output=True, text=True, timeout=20, check=False
        )
        words = found.stdout
        assert words.startswith("/work\nhere\nresearcher\n"), found
        assert "CapEff:\t0000000000000000" in words
        assert CANARY not in words

    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    within(do)


# with Inspect's agents


def usage() -> ModelUsage:
    return ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # else Inspect counts, with a file it downloads


def scripted(calls: list[tuple[str, dict[str, Any]]]) -> Any:
    outputs = [ModelOutput.for_tool_call("mockllm/model", name, arguments) for name, arguments in calls]
    outputs.append(ModelOutput.from_content("mockllm/model", "done"))
    for one in outputs:
        one.usage = usage()
    return get_model("mockllm/model", custom_outputs=outputs)


def run(plan: Any, model: Any, tmp_path: Path, config: BwrapConfig | None = None) -> EvalLog:
    task = Task(dataset=[Sample(input="begin")], solver=plan)
    [log] = eval(
        task, model=model, sandbox=SandboxEnvironmentSpec("bwrap", config), log_dir=str(tmp_path / "logs"),
        display="none", acp_server=False, ctl_server=False,
    )  # fmt: skip
    assert log.status == "success", log.error
    return log


@needs_bwrap
def test_inspects_tools_work_and_outlive_a_killed_sandbox(tmp_path: Path) -> None:
    """text_editor is Inspect's own program, put into the sandbox; after a restart it is put there again."""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("bash", {"command": "echo out; echo wrong >&2; pwd"}),
        ("python", {"code": "import numpy; print(numpy.arange(3).sum())"}),
        ("text_editor", {"command": "create", "path": "/work/notes.md", "file_text": "one\ntwo\n"}),
        ("bash", {"command": "kill -9 -1"}),
        ("text_editor", {"command": "str_replace", "path": "/work/notes.md", "old_str": "two", "new_str": "three"}),
        ("bash", {"command": "cat notes.md; sleep 60"}),
        ("bash", {"command": "sleep 300 & echo ended"}),
    ]
    tools = [bash(timeout=2), python(timeout=60), text_editor(timeout=60)]
    plan = react(tools=tools, submit=False, on_continue=None)
    log = run(plan, scripted(calls), tmp_path)
    assert log.samples
    said = [m for m in log.samples[0].messages if isinstance(m, ChatMessageTool)]
    errors = [m.error.type if m.error else "" for m in said]
    assert errors == ["", "", "", "sandbox_unavailable", "", "timeout", ""], [m.error for m in said]
    assert said[0].text == "wrong\n\nout\n/work\n"
    assert said[1].text == "3\n"
    assert "three" in said[4].text
    assert said[5].text == "one\nthree"
    assert said[6].text == "ended\n"


CLIENT = """
import json, socket, sys, time, urllib.request
for _ in range(300):
    try:
        socket.create_connection(("localhost", 13131)).close()
        break
    except OSError:
        time.sleep(0.1)
body = {"model": "inspect", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
headers = {"content-type": "application/json", "x-api-key": "none", "anthropic-version": "2023-06-01"}
asked = urllib.request.Request("http://localhost:13131/v1/messages", json.dumps(body).encode(), headers)
print(json.load(urllib.request.urlopen(asked, timeout=60))["content"][0]["text"])
"""


@needs_bwrap
def test_a_program_inside_reaches_the_model_by_the_bridge_alone(tmp_path: Path) -> None:
    """What an outside agent's program needs: long-running processes, a loopback of the sandbox's own, no network."""
    found: list[Any] = []

    @solver
    def plan() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            one = sandbox()
            talk = await one.exec_remote(
                ["sh", "-c", "while read x; do echo got $x; done"], ExecRemoteStreamingOptions(stdin_open=True)
            )
            await talk.write_stdin("words\n")
            await talk.close_stdin()
            found.append([event async for event in talk])
            async with sandbox_agent_bridge(AgentState(messages=[])):
                found.append(await one.exec(["python", "-c", CLIENT], timeout=120))
            return state

        return solve

    run(plan(), scripted([]), tmp_path)
    events, answer = found
    assert [getattr(e, "data", None) for e in events] == ["got words\n", None]
    assert answer.stdout == "done\n", answer.stderr


# configurations


def test_a_configuration_is_hashable_and_survives_its_log() -> None:
    config = BwrapConfig(binds=(("/a", "/b"),), env=(("A", "1"),))
    spec = SandboxEnvironmentSpec("bwrap", config)
    assert hash(spec.config) == hash(config)
    assert SandboxEnvironmentSpec.model_validate(json.loads(spec.model_dump_json())).config == config


def test_a_configuration_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "sandbox.json"
    file.write_text('{"memory_mb": 77, "binds": [["/a", "/b"]]}')
    assert read_config(str(file)) == BwrapConfig(memory_mb=77, binds=(("/a", "/b"),))
    assert read_config(None) == BwrapConfig()
    for content in ('{"memory": 1}', "[1]", "no json"):
        file.write_text(content)
        with pytest.raises(ConfigError, match=r"sandbox\.json"):
            read_config(str(file))
    with pytest.raises(ConfigError, match="absent"):
        read_config(str(tmp_path / "absent.json"))


@needs_bwrap
def test_a_researchers_sandbox_has_its_work_the_data_and_nothing_of_the_lab(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    for folder in ("public", "run", "vault"):
        (lab / folder).mkdir(parents=True)
    (lab / "public" / "task.txt").write_text("open")
    (lab / "run" / "tokens.json").write_text(json.dumps({"researchers": {"ada": CANARY}}))
    (lab / "vault" / "labels").write_text(CANARY)
    fleet = (ResearcherSpec("bob"), ResearcherSpec("ada", kind="llm", model="mockllm/model"))
    settings = Settings(researchers=fleet, isolation=Isolation(researcher_processes=40, workspace_mb=32))
    spec = config_for(lab, settings, fleet[1], memory_mb=300)
    assert (spec.type, spec.config.uid_index, spec.config.processes) == ("bwrap", 1, 40)
    assert (spec.config.disk_mb, spec.config.memory_mb) == (32, 300)
    (lab / "run" / "shared" / "ada" / "findings").mkdir()
    (lab / "run" / "shared" / "ada" / "findings" / "1.md").write_text("a post")

    async def do(one: SandboxEnvironment) -> None:
        assert await one.read_file("/data/task.txt") == "open"
        assert await one.read_file("/shared/findings/1.md") == "a post"
        assert (await one.exec(["python", "-c", "import aarlab.w2s, aarlab.researchers"])).success
        look = f"touch /shared/x /data/x; ls {shlex.quote(str(lab))}; env; find / -name '*.sock' -o -name tokens.json"
        found = await one.exec(["sh", "-c", f"{look}; cat /proc/*/environ"])
        assert found.stderr.count("Read-only file system") == 2
        assert "No such file" in found.stderr
        assert CANARY not in found.stdout
        assert "TOKEN" not in found.stdout
        assert ".sock" not in found.stdout
        assert "tokens.json" not in found.stdout
        await one.write_file("notebook.md", "first line")

    within(do, spec.config)
    assert (lab / "workspaces" / "ada" / "notebook.md").read_text() == "first line"


def test_inspect_finds_the_sandbox_by_our_entry_point() -> None:
    assert registry.BwrapSandboxEnvironment is BwrapSandboxEnvironment
    code = "from inspect_ai.util._sandbox.registry import registry_find_sandboxenv as f; print(f('bwrap').__module__)"
    if "aarlab" not in {point.name for point in entry_points(group="inspect_ai")}:
        pytest.skip("this installation is older than the entry point; install the package again")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout.strip().endswith("aarlab.llm.provider"), found.stderr
