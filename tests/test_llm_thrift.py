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
def transforms():
    """(the client's own transformation, ours around it, the type of a request)."""
    module = importlib.import_module("openai.resources.chat.completions.completions")
    own = importlib.import_module("openai._utils").async_maybe_transform
    before, threshold = module.async_maybe_transform, gc.get_threshold()
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
