"""A language model's provider without a language model: real sockets, both common wire formats, scripted answers.

    with ModelServer(mind="researcher") as server:
        server.set_faults("every:7:429", "outage:20:30")
        ...                                   # base URLs: server.url (Anthropic), server.url + "/v1" (OpenAI)

or `python -m aarlab.testing --mind researcher`. docs/testing_llm.md has the whole description.
"""

from __future__ import annotations

from aarlab.testing.conversation import Call, Conversation, Reply, ToolSpec, Turn
from aarlab.testing.faults import Fault, Faults
from aarlab.testing.server import ModelServer

__all__ = ["Call", "Conversation", "Fault", "Faults", "ModelServer", "Reply", "ToolSpec", "Turn"]
