"""The settings of a fine-tuned student, and the shipped configurations by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from aarlab.errors import InputError

HEADS = ("auto", "label tokens", "likelihood", "scalar")
SCHEDULES = ("linear", "constant")
DTYPES = ("auto", "bfloat16", "float32")


@dataclass(frozen=True)
class LoraConfig:
    """How a language model is fine-tuned. The defaults are those of `smollm2-135m` on a CPU."""

    model: str = "smollm2-135m"
    """A shipped name, a hub name, a local folder, or a .gguf file."""
    epochs: float = 2.0
    """How often every item is seen; a fraction stops inside an epoch."""
    learning_rate: float = 1e-3
    """Highest rate of AdamW (no weight decay)."""
    schedule: str = "linear"
    """`linear` falls to zero at the last step; `constant` stays."""
    warm_up: float = 0.06
    """Share of the steps over which the rate rises from zero."""
    batch: int = 16
    """Items in one step, however few of them fit into memory at once."""
    rank: int = 8
    """Rank r of the adapters, which sit on every linear layer of every block that is not frozen."""
    alpha: float = 16.0
    """An adapter's output is multiplied by alpha / rank."""
    dropout: float = 0.0
    """Dropout on what an adapter reads."""
    clip: float = 1.0
    """Gradients longer than this are shortened to it."""
    context: int = 2048
    """Tokens of one text at most; a longer one loses the beginning of its question."""
    head: str = "auto"
    """`label tokens`, `likelihood`, `scalar`; `auto`: scalar for comparisons, else likelihood. See `heads`."""
    chat: bool = False
    """Put items into the model's chat template instead of plain text."""
    frozen_blocks: int = 10
    """Lowest blocks that carry no adapter: their output is computed once per text and kept."""
    cache_bytes: int = 1 << 30
    """Memory for that output; what does not fit lies in a temporary file.
    A text takes tokens x width x 4 bytes (bfloat16: 2)."""
    checkpointing: bool | None = None
    """Recompute activations instead of keeping them; None: on a GPU from a billion parameters."""
    dtype: str = "auto"
    """Numbers of the model: `bfloat16`, `float32`; `auto`: bfloat16 on a GPU, float32 on a CPU, where bfloat16 is
    slower unless the processor multiplies matrices of it. What is trained is kept in float32 beside it."""
    micro_tokens: int = 1024
    """Padded tokens in one forward and backward pass; halved when memory runs out."""
    threads: int = 0
    """Threads of torch; 0 leaves its choice."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`; `auto`: a GPU where there is one."""
    save_every: int = 50
    """Steps between checkpoints, where a student has a folder for them."""

    def __post_init__(self) -> None:
        for name in ("batch", "rank", "micro_tokens", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        for name in ("epochs", "learning_rate", "alpha", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("warm_up", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        for name, known in (("head", HEADS), ("schedule", SCHEDULES), ("dtype", DTYPES)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}; known: {', '.join(known)}")
        if self.frozen_blocks < 0 or self.threads < 0 or self.cache_bytes < 0:
            raise InputError("frozen_blocks, threads and cache_bytes must be at least 0")
        if self.context < 2:
            raise InputError(f"context is {self.context} tokens; at least 2 are needed")


_PAPER = LoraConfig(
    epochs=5, learning_rate=1e-4, warm_up=0.0, batch=32, rank=32, alpha=32.0, context=8192, head="label tokens",
    frozen_blocks=0, micro_tokens=8192,
)  # fmt: skip

CONFIGURATIONS = {
    "smollm2-135m": LoraConfig(),
    "qwen1.5-0.5b-chat": replace(_PAPER, model="qwen1.5-0.5b-chat", chat=True),
    "qwen3-4b-base": replace(_PAPER, model="qwen3-4b-base"),
    "tiny": LoraConfig(
        model="tiny", learning_rate=1e-2, frozen_blocks=0, context=1024, dtype="float32", threads=1, device="cpu"
    ),
}
"""The Qwen pair has the published settings of the automated weak-to-strong study (2026), which are silent about
warm-up (none here). `tiny` is a random two-block model that reads bytes, for tests and examples."""


def configuration(model: str, **changes: Any) -> LoraConfig:
    """The shipped configuration of that name, or the defaults with another model; `changes` replace fields."""
    known = CONFIGURATIONS.get(model, replace(LoraConfig(model=model), frozen_blocks=0))
    try:
        return replace(known, **changes)
    except TypeError as error:
        raise InputError(f"no such setting of a LoRA student: {error}") from None
