"""What is left out of a turn is what changed nothing."""

import asyncio
import gc
import importlib
import sys
import typing

import pytest

thrift = pytest.importorskip("aarlab.llm.thrift")
openai = pytest.importorskip("openai")
typing_extensions = pytest.importorskip("typing_extensions")


def renamed(annotation, seen, found):
    """Everything reachable from a request's type that its client would rename or reformat."""
    if id(annotation) in seen:
        return
    seen[id(annotation)] = annotation
    if typing_extensions.is_typeddict(annotation):
        for inner in typing_extensions.get_type_hints(annotation, include_extras=True).values():
            renamed(inner, seen, found)
    found += [m for m in getattr(annotation, "__metadata__", ()) if type(m).__name__ == "PropertyInfo"]
    for inner in typing.get_args(annotation):
        if not isinstance(inner, str):
            renamed(inner, seen, found)


@pytest.mark.parametrize(("sender", "types", "prefix"), thrift.OPENAI)
def test_requests_have_nothing_that_the_client_would_rename(sender, types, prefix):
    shapes = importlib.import_module(types)
    seen, found = {}, []
    renamed(getattr(shapes, f"{prefix}Params"), seen, found)
    assert len(seen) > 100
    assert found == []


MESSAGES = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": [{"type": "text", "text": "é"}]},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "1", "content": "done"},
]  # fmt: skip


@pytest.fixture
def transforms(monkeypatch):
    """(the client's own transformation, ours around it, the type of a request)."""
    module = importlib.import_module("openai.resources.chat.completions.completions")
    own = importlib.import_module("openai._utils").async_maybe_transform
    before, threshold = module.async_maybe_transform, gc.get_threshold()
    monkeypatch.setattr(thrift, "_gather_live_events", lambda: None)
    thrift.save()
    shape = importlib.import_module("openai.types.chat.completion_create_params").CompletionCreateParamsNonStreaming
    yield own, module.async_maybe_transform, shape
    module.async_maybe_transform = before
    gc.set_threshold(*threshold)


def test_a_plain_request_is_sent_as_the_client_would_have_made_it(transforms):
    own, ours, shape = transforms
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    left_out = openai.NOT_GIVEN
    request = {"model": "m", "messages": MESSAGES, "temperature": left_out, "stream": False, "tools": [tool]}
    assert asyncio.run(ours(request, shape)) == asyncio.run(own(request, shape))
    assert ours is not own


def test_what_is_not_plain_goes_through_the_client(transforms):
    """A model of pydantic inside a request is turned to JSON by the client."""
    own, ours, shape = transforms
    message = importlib.import_module("openai.types.chat").ChatCompletionMessage(role="assistant", content="hi")
    request = {"model": "m", "messages": [message]}
    assert asyncio.run(ours(request, shape)) == asyncio.run(own(request, shape))
    assert not thrift.plain(request)


def test_saving_twice_wraps_once(transforms):
    ours = transforms[1]
    thrift.save()
    assert sys.modules["openai.resources.chat.completions.completions"].async_maybe_transform is ours


def test_the_live_view_has_an_event_a_moment_later_once_and_whole(tmp_path, monkeypatch):
    """While a sample still runs, its database holds what happened a moment ago; its log holds everything."""
    inspect_ai = pytest.importorskip("inspect_ai")
    log_module = importlib.import_module("inspect_ai._eval.task.log")
    buffers = importlib.import_module("inspect_ai.log._recorders.buffer.buffer")
    dataset, models, solvers = (importlib.import_module(f"inspect_ai.{m}") for m in ("dataset", "model", "solver"))
    monkeypatch.setattr(log_module.TaskLogger, "log_sample_event", log_module.TaskLogger.log_sample_event)
    thrift.save()
    seen, said = [], models.ModelOutput.from_content("mockllm/model", "hello yourself")
    said.usage = models.ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # else Inspect counts them

    @solvers.solver
    def looks():
        async def solve(state, generate):
            state = await generate(state)
            await asyncio.sleep(thrift.GATHER_SECONDS + 1)
            (log,) = tmp_path.glob("*.eval")
            buffer = buffers.sample_buffer(str(log))
            seen.append([e.event for e in buffer.get_sample_data("one", 1).events])
            return state

        return solve

    (log,) = inspect_ai.eval(
        inspect_ai.Task(dataset=[dataset.Sample(id="one", input="hello")], solver=looks()),
        model=models.get_model("mockllm/model", custom_outputs=[said]), log_dir=str(tmp_path), display="none",
        score=False,
    )  # fmt: skip
    assert log.status == "success", log.error
    calls = [e for e in seen[0] if e["event"] == "model"]
    assert len(calls) == 1
    assert not calls[0].get("pending")
    assert calls[0]["output"]["choices"][0]["message"]["content"] == log.samples[0].output.completion
    assert [e.event for e in log.samples[0].events].count("model") == 1
