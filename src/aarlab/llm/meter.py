"""The meter on every model call of this process: money is set aside before a call and accounted after it.

An Inspect hook, so that it also covers calls that are not the researcher's own thought: summaries of a long
conversation and the calls of a program behind the model bridge. The lab keeps the account (`LabClient.reserve`), so
that nine processes cannot spend the same dollar.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread
from inspect_ai.hooks import BeforeModelGenerate, Hooks, ModelRetry, ModelUsageData, TaskStart, hooks
from inspect_ai.model import ChatMessage
from inspect_ai.util import LimitExceededError

from aarlab.errors import AarlabError, BudgetSpent
from aarlab.llm.outbox import Outbox
from aarlab.llm.prices import Price, dollars

CHARACTERS_A_TOKEN = 3.0  # of code and English, a little on the safe side
LEAST_OUTPUT = 500  # tokens; what is set aside for an answer before the first one is known


class Stop(LimitExceededError):
    """Ends an Inspect sample from inside a hook: a budget is spent."""

    def __init__(self, sentence: str) -> None:
        super().__init__("custom", value=1, limit=1, message=sentence)


@dataclass
class Meter:
    """One researcher's account.

    outbox: what carries it to the lab. tell: called with a sentence whenever the provider makes us wait.
    """

    outbox: Outbox
    price: Price | None
    most_output: int
    tell: Callable[[str, dict[str, Any]], None]
    spent: str = ""  # the sentence of the budget that is used up
    log_started: Callable[[str], None] = lambda task_id: None
    calls: int = 0
    seconds: float = 0.0  # inside model calls, waits for the provider included
    _input: int = 0
    _characters: int = 0
    _output: int = LEAST_OUTPUT
    _open: ContextVar[tuple[str, float] | None] = field(default_factory=lambda: ContextVar("call", default=None))

    async def before(self, messages: list[ChatMessage]) -> None:
        """Set the call's probable price aside. Raises Stop where the lab refuses."""
        opened = self._open.get()
        key = opened[0] if opened else f"{self.outbox.name}-{uuid.uuid4().hex}"
        tokens_in = self._estimate(messages)
        usage = {"input_tokens": tokens_in, "output_tokens": self._output}
        probable = {"key": key, "dollars": dollars(self.price, usage), "tokens": tokens_in + self._output}
        try:
            await anyio.to_thread.run_sync(self.outbox.send, probable)
        except BudgetSpent as error:
            self.spent = str(error)
            raise Stop(self.spent) from None
        except AarlabError as error:  # a hook's other errors are swallowed, and the call would go unpaid
            self.spent = ""
            raise Stop(f"the lab did not answer: {error}") from None
        self._open.set(opened or (key, time.monotonic()))

    async def failed(self) -> None:
        """The call ended without an answer: nothing is owed for it."""
        opened = self._open.get()
        self._open.set(None)
        if opened is not None:
            await anyio.to_thread.run_sync(self.outbox.fleet.release, self.outbox.name, opened[0])

    async def after(self, data: ModelUsageData) -> None:
        opened = self._open.get() or (f"{self.outbox.name}-{uuid.uuid4().hex}", time.monotonic())
        self._open.set(None)
        took = time.monotonic() - opened[1]
        usage = {
            "model": data.model_name,
            "input_tokens": data.usage.input_tokens,
            "output_tokens": data.usage.output_tokens,
            "cache_read_tokens": data.usage.input_tokens_cache_read or 0,
            "cache_write_tokens": data.usage.input_tokens_cache_write or 0,
            "reasoning_tokens": data.usage.reasoning_tokens or 0,
            "seconds": round(took, 3),
        }
        self._learn(usage)
        self.calls += 1
        self.seconds += took
        self.outbox.put(settled=[{"key": opened[0], "usage": usage, "dollars": dollars(self.price, usage)}])

    def _estimate(self, messages: list[ChatMessage]) -> int:
        """Input tokens of a call: what the last one had, and what came since, by its characters."""
        self._characters_now = sum(len(m.text) for m in messages)
        grown = self._characters_now - self._characters
        if self._input and grown >= 0:
            return self._input + int(grown / CHARACTERS_A_TOKEN)
        return int(self._characters_now / CHARACTERS_A_TOKEN) + 2000  # and the descriptions of the tools

    def _learn(self, usage: dict[str, Any]) -> None:
        self._input = usage["input_tokens"] + usage["cache_read_tokens"] + usage["cache_write_tokens"]
        self._characters = self._characters_now
        recent = max(usage["output_tokens"], int(0.9 * self._output))
        self._output = min(self.most_output, max(LEAST_OUTPUT, recent))

    _characters_now: int = 0

    @property
    def context(self) -> int:
        """Tokens of the newest prompt, as the provider counted them."""
        return self._input


RUNNING: list[Meter] = []
"""The meter of this process, if any: hooks are found by Inspect, not handed over."""


@hooks(name="aarlab_meter", description="Reserves and accounts the cost of every model call of an aarlab researcher")
class MeterHooks(Hooks):
    """Inspect's side of the meter."""

    def enabled(self) -> bool:
        return bool(RUNNING)

    async def on_task_start(self, data: TaskStart) -> None:
        RUNNING[0].log_started(data.spec.task_id)

    async def on_before_model_generate(self, data: BeforeModelGenerate) -> None:
        await RUNNING[0].before(data.input)

    async def on_model_usage(self, data: ModelUsageData) -> None:
        await RUNNING[0].after(data)

    async def on_model_retry(self, data: ModelRetry) -> None:
        what = data.status_code or data.exception_type or "no answer"
        body = {
            "status": data.status_code,
            "error": data.exception_type,
            "attempt": data.attempt,
            "wait": data.wait_time,
        }
        RUNNING[0].tell(f"waiting for the provider ({what}), try {data.attempt + 1} in {data.wait_time:.0f} s", body)
