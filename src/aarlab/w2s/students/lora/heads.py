"""How a model's states become log-odds of label 1. h: states after the last norm; E: the output layer's rows.

    label tokens   z = h_last . (E[yes] - E[no])                       after the item and a question
    likelihood     z = a * sum over the answer's tokens of log p + b       comparisons: a * (first - second)
    scalar         z = h_last . v + b                                      comparisons: (h_first - h_second) . v

The label-token head has no parameters of its own, as in the study; its softmax is over the two label tokens alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from aarlab.w2s.students.lora.network import Network
from aarlab.w2s.students.lora.prompts import Encoded
from aarlab.w2s.task import Floats

SCALE = 0.25
"""The likelihood head's first a: log-probabilities of whole answers differ by several nats."""

Item = tuple[Encoded, ...]
"""One text, or one per side of a comparison."""


@dataclass(frozen=True)
class Reader:
    """One kind of head. words: the two label tokens, for label 1 and 0; other heads have none."""

    kind: str
    words: tuple[int, int] = (0, 0)

    def first(self, width: int) -> Floats:
        """The head's numbers before training."""
        if self.kind == "likelihood":
            return np.array([SCALE, 0], np.float32)
        return np.zeros(width + 1 if self.kind == "scalar" else 0, np.float32)

    def logits(self, network: Network, items: Sequence[Item], head: Any) -> Any:
        """Log-odds, float32 (items,). All items have one text or all have two."""
        texts = [text for item in items for text in item]
        states = network.states(texts)
        if self.kind == "label tokens":
            yes, no = network.output[self.words[0]], network.output[self.words[1]]
            return _last(states, texts) @ (yes - no).float()
        score = likelihood(network, states, texts) if self.kind == "likelihood" else _last(states, texts) @ head[:-1]
        scale = head[0] if self.kind == "likelihood" else 1.0
        if len(items[0]) == 2:
            return scale * (score[0::2] - score[1::2])
        return scale * score + head[-1]


def likelihood(network: Network, states: Any, texts: Sequence[Encoded]) -> Any:
    """Log-probability of each text's tokens from its start on, summed, (texts,). Only those positions meet the output
    layer."""
    counts = [len(text) - text.start for text in texts]
    row = np.repeat(np.arange(len(texts)), counts)
    place = np.concatenate([np.arange(text.start, len(text)) for text in texts])
    token = np.concatenate([text.ids[text.start :] for text in texts])
    row, place, token = (torch.from_numpy(v).to(states.device) for v in (row, place, token))
    loss = functional.cross_entropy((states[row, place - 1] @ network.output.T).float(), token, reduction="none")
    return torch.zeros(len(texts), device=states.device).index_add(0, row, -loss)


def _last(states: Any, texts: Sequence[Encoded]) -> Any:
    ends = torch.tensor([len(text) - 1 for text in texts], device=states.device)
    return states[torch.arange(len(texts), device=states.device), ends].float()
