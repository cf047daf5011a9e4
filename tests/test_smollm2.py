"""A real language model, SmolLM2-135M behind llama-cpp-python's server: wire format, forced tool call, usage, limits.

It is far too small to do research, so nothing here asks whether what it says makes sense. The server is one that runs
already (AARLAB_SMOLLM2_URL=http://127.0.0.1:PORT/v1), or it is started for the test: AARLAB_LLAMA_PYTHON names the
Python that has llama-cpp-python with its server's packages, AARLAB_SMOLLM2_GGUF the file of weights.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from inspect_ai import Task, eval
from inspect_ai.agent import AgentState, agent
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    execute_tools,
    get_model,
)
from inspect_ai.tool import Tool, ToolFunction, tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NAME = "smollm2"
PATIENCE = 600  # seconds for one answer on a machine that has other things to do
WAYS = (
    "set AARLAB_SMOLLM2_URL to the /v1 URL of a running server, or AARLAB_LLAMA_PYTHON and AARLAB_SMOLLM2_GGUF to a "
    "Python with llama-cpp-python's server and the file of weights"
)
ASKED = "List the files of the current folder with the tool."


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    given = os.environ.get("AARLAB_SMOLLM2_URL", "")
    if given:
        yield given.rstrip("/")
        return
    python, weights = os.environ.get("AARLAB_LLAMA_PYTHON", ""), os.environ.get("AARLAB_SMOLLM2_GGUF", "")
    if not (python and weights and Path(python).exists() and Path(weights).is_file()):
        pytest.skip(f"no model server: {WAYS}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        python, "-m", "llama_cpp.server", "--model", weights, "--model_alias", NAME, "--n_ctx", "8192",
        "--n_threads", "1", "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("llama") / "log"
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/v1", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 180
    while True:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            urllib.request.urlopen(f"{url}/models", timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < end, log.read_text(errors="replace")[-2000:]
            time.sleep(0.2)


@pytest.fixture
def figure(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line that is seen without -s: these figures are what the run is for."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {request.node.name}: {line}")

    return say


@tool
def bash() -> Tool:
    async def execute(command: Literal["ls", "ls -R", "pwd"]) -> str:  # a free string this small model never closes
        """Run a shell command.

        Args:
            command: The command line.
        """
        return f"ran {command}: a.py b.py"

    return execute


def generate(url: str, most: int = 64, **more: Any) -> ModelOutput:
    """One answer by Inspect's provider for servers that speak like OpenAI's."""
    config = GenerateConfig(max_tokens=most, temperature=0.0, seed=1, timeout=PATIENCE, max_retries=1)
    model = get_model(f"openai-api/local/{NAME}", base_url=url, api_key="none", config=config, memoize=False)

    async def ask() -> ModelOutput:
        async with model:
            return await model.generate([ChatMessageUser(content=ASKED)], **more)

    return asyncio.run(ask())


def test_a_forced_tool_call_arrives_parsed_with_its_usage(url, figure):
    started = time.monotonic()
    output = generate(url, tools=[bash()], tool_choice=ToolFunction("bash"))
    seconds = time.monotonic() - started
    calls = output.message.tool_calls
    assert calls is not None
    assert [(c.function, c.parse_error) for c in calls] == [("bash", None)]
    assert calls[0].arguments["command"] in ("ls", "ls -R", "pwd")
    usage = output.usage
    assert usage is not None
    assert usage.input_tokens > 10
    assert 0 < usage.output_tokens <= 64
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    figure(f"{usage.input_tokens} tokens in, {usage.output_tokens} out, {seconds:.1f} s, {calls[0].arguments}")


def test_words_stop_at_the_token_limit(url, figure):
    started = time.monotonic()
    output = generate(url, most=8)
    assert output.stop_reason == "max_tokens"
    assert output.usage is not None
    assert output.usage.output_tokens == 8
    assert output.completion.strip()
    figure(f"8 tokens in {time.monotonic() - started:.1f} s: {output.completion!r}")


def test_a_stream_carries_the_same_words(url, figure):
    client = openai.OpenAI(base_url=url, api_key="none", timeout=PATIENCE, max_retries=0)
    asked: dict[str, Any] = {
        "model": NAME, "messages": [{"role": "user", "content": ASKED}], "max_tokens": 24, "temperature": 0.0,
        "seed": 1,
    }  # fmt: skip
    whole = client.chat.completions.create(**asked).choices[0].message.content
    started, first, pieces = time.monotonic(), 0.0, []
    for chunk in client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            first = first or time.monotonic() - started
    assert len(pieces) > 5
    assert "".join(pieces).strip() == str(whole).strip()
    figure(f"first piece after {first:.1f} s, {len(pieces)} pieces in {time.monotonic() - started:.1f} s")


def test_an_answer_keeps_to_a_schema(url, figure):
    client = openai.OpenAI(base_url=url, api_key="none", timeout=PATIENCE, max_retries=0)
    families = ["ensemble", "distillation"]
    schema = {"type": "object", "properties": {"family": {"enum": families}}, "required": ["family"]}
    form: Any = {"type": "json_object", "schema": schema}
    asked: Any = [{"role": "user", "content": "Which family of methods is it, ensemble or distillation?"}]
    answer = client.chat.completions.create(
        model=NAME, messages=asked, max_tokens=32, temperature=0.0, seed=1, response_format=form
    )
    found = json.loads(answer.choices[0].message.content or "")
    assert found["family"] in families
    figure(str(found))


@agent
def caller():
    """Calls the tool again and again until a limit ends it."""

    async def execute(state: AgentState) -> AgentState:
        while True:
            state.output = await get_model().generate(state.messages, tools=[bash()], tool_choice=ToolFunction("bash"))
            state.messages.append(state.output.message)
            state.messages.extend((await execute_tools(state.messages, [bash()])).messages)

    return execute


def test_tool_results_go_back_and_a_token_limit_ends_the_sample(url, tmp_path, figure):
    model = get_model(
        f"openai-api/local/{NAME}", base_url=url, api_key="none", memoize=False,
        config=GenerateConfig(max_tokens=32, temperature=0.0, seed=1, timeout=PATIENCE, max_retries=1),
    )  # fmt: skip
    started = time.monotonic()
    (log,) = eval(
        Task([Sample(id="one", input=ASKED)], solver=caller()), model=model, token_limit=250, log_dir=str(tmp_path),
        display="none", acp_server=False, ctl_server=False, log_level="error",
    )  # fmt: skip
    sample = (log.samples or [])[0]
    assert log.status == "success"
    assert sample.limit is not None
    assert sample.limit.type == "token"
    results = [m for m in sample.messages if isinstance(m, ChatMessageTool)]
    assert results
    assert all(m.text.startswith("ran ") and m.error is None for m in results)
    used = sum(u.total_tokens for u in sample.model_usage.values())
    most = max(e.output.usage.total_tokens for e in sample.events if e.event == "model" and e.output.usage)
    assert 250 < used <= 250 + most
    figure(f"{len(results)} calls, {used} tokens for a limit of 250, {time.monotonic() - started:.1f} s")
