"""What Inspect finds of ours by the entry point `inspect_ai`: the sandbox `bwrap` and the meter of model calls."""

from __future__ import annotations

from aarlab.llm.meter import MeterHooks
from aarlab.llm.provider import BwrapSandboxEnvironment

__all__ = ["BwrapSandboxEnvironment", "MeterHooks"]
