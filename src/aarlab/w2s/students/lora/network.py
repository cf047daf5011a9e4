"""The language model between two depths: frozen blocks below, adapted blocks above. Loaded only where torch is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import peft
import torch
from torch import nn

from aarlab.errors import InputError
from aarlab.w2s.students.lora.adapters import fuse
from aarlab.w2s.students.lora.batches import passes
from aarlab.w2s.students.lora.config import LoraConfig
from aarlab.w2s.students.lora.models import Loaded
from aarlab.w2s.students.lora.prompts import Encoded
from aarlab.w2s.students.lora.states import States
from aarlab.w2s.task import Floats, Ints

LARGE = 1_000_000_000
"""Parameters from which a GPU recomputes activations rather than keeping them."""


class Network:
    """The first `depth` blocks of a shared model; adapters sit on those above the first `frozen`."""

    def __init__(self, loaded: Loaded, config: LoraConfig, depth: int) -> None:
        self.loaded, self.config, self.depth = loaded, config, depth
        # an early exit keeps half of its blocks to learn with
        self.frozen = min(config.frozen_blocks, depth - 1 if depth == loaded.blocks else depth // 2)
        self.body = loaded.model.get_decoder() if hasattr(loaded.model, "get_decoder") else loaded.model.model
        self.output = loaded.model.get_output_embeddings().weight  # (vocabulary, width)
        self.budget = config.micro_tokens
        self.halved = 0  # how often memory ran out
        kinds = set(getattr(loaded.model.config, "layer_types", None) or ["full_attention"])
        if self.frozen and len(kinds) > 1:
            raise InputError("this model mixes kinds of attention, so no lower blocks can be kept: set frozen_blocks=0")

    def states(self, texts: Sequence[Encoded]) -> Any:
        """What the output layer reads, (texts, longest, width). Padded on the right, where causal attention never
        looks, so no mask is needed."""
        if not self.frozen:
            return self._run(0, self.depth, input_ids=self._padded(texts))
        kept = self._kept()
        below = [_tensor(kept.get(text.ids), self.loaded.model.dtype) for text in texts]
        stacked = nn.utils.rnn.pad_sequence(below, batch_first=True).to(self.loaded.device)
        return self._run(self.frozen, self.depth, inputs_embeds=stacked)

    def prepare(self, texts: Sequence[Encoded]) -> None:
        """Compute what the frozen blocks say of texts that were not seen before."""
        if not self.frozen:
            return
        kept = self._kept()
        new = list({text.ids.tobytes(): text for text in texts if text.ids not in kept}.values())

        def keep(rows: Ints) -> None:
            part = [new[i] for i in rows]
            with torch.no_grad():
                found = self._run(0, self.frozen, normed=False, input_ids=self._padded(part)).cpu()
            for text, state in zip(part, found, strict=True):
                kept.put(text.ids, _array(state[: len(text)]))

        self.visit([len(text) for text in new], np.arange(len(new)), keep)

    def hidden(self, texts: Sequence[Encoded], blocks: int) -> Any:
        """States after a number of blocks, (texts, longest, width), not normed unless all blocks ran."""
        return self._run(0, blocks, normed=blocks == self.loaded.blocks, input_ids=self._padded(texts))

    def visit(self, lengths: Sequence[int], rows: Ints, act: Callable[[Ints], Any]) -> list[tuple[Ints, Any]]:
        """act(rows) for passes of at most `budget` tokens. Where memory runs out the budget is halved and the pass is
        done again in parts; raises InputError where one item alone does not fit."""
        waiting, found = passes(lengths, rows, self.budget), []
        while waiting:
            part = waiting.pop(0)
            try:
                found.append((part, act(part)))
                continue
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            # outside the handler, whose error still holds the tensors of the failed pass
            self._halve(int(np.asarray(lengths)[part].max()), len(part))
            waiting = passes(lengths, np.concatenate([part, *waiting]), self.budget)
        return found

    def _halve(self, longest: int, items: int) -> None:
        """After a pass of `items` items failed, the longest of `longest` tokens."""
        if items == 1:
            raise InputError(
                f"memory does not hold one item of {longest} tokens; shorten the context, set checkpointing=True, or "
                "take a smaller model"
            )
        self.budget = min(self.budget, longest * items) // 2
        self.halved += 1
        if self.loaded.device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def worn(self, head: Floats, seed: int = 0, training: bool = False) -> Iterator[Worn]:
        """The model with fresh adapters on, for as long as the block runs; afterwards it is as it was."""
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.manual_seed(seed)
            dressed = peft.LoraModel(self.body, self.adapter(), "default")
        try:
            if not self.config.dropout:
                fuse(dressed)
            dressed.train(training)
            self._checkpoint(training)
            yield Worn([p for p in dressed.parameters() if p.requires_grad], head, self.loaded.device)
        finally:
            self._checkpoint(False)
            dressed.unload()
            if hasattr(self.body, "peft_config"):
                del self.body.peft_config
            self.body.requires_grad_(False).eval()

    def adapter(self) -> Any:
        """The peft configuration: every linear layer of the adapted blocks."""
        names = [
            f"layers.{number}.{name}"
            for number in range(self.frozen, self.depth)
            for name, module in self.body.layers[number].named_modules()
            if isinstance(module, nn.Linear)
        ]
        return peft.LoraConfig(
            r=self.config.rank, lora_alpha=self.config.alpha, lora_dropout=self.config.dropout,
            target_modules="|".join(map(re.escape, names)),
        )  # fmt: skip

    def _run(self, low: int, high: int, normed: bool = True, **given: Any) -> Any:
        with self.between(low, high, normed):
            return self.body(**given, use_cache=False).last_hidden_state

    @contextmanager
    def between(self, low: int, high: int, normed: bool = True) -> Iterator[None]:
        """The model has only those blocks, for as long as the block runs."""
        layers, norm = self.body.layers, self.body.norm
        self.body.layers = layers[low:high]
        if not normed:
            self.body.norm = nn.Identity()
        try:
            yield
        finally:
            self.body.layers, self.body.norm = layers, norm

    def _padded(self, texts: Sequence[Encoded]) -> Any:
        ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text.ids
        return torch.from_numpy(ids).to(self.loaded.device)

    def _kept(self) -> States:
        return self.loaded.states.setdefault(self.frozen, States(self.config.cache_bytes))

    @property
    def checkpointing(self) -> bool:
        """Whether training recomputes activations."""
        if self.config.checkpointing is not None:
            return self.config.checkpointing
        return bool(self.loaded.device.type == "cuda" and self.loaded.model.num_parameters() >= LARGE)

    def _checkpoint(self, on: bool) -> None:
        if not self.checkpointing:
            return
        model = self.loaded.model
        new = hasattr(model, "activation_checkpointing_enable")  # transformers 5 renames it
        name = "activation" if new else "gradient"
        if on:
            getattr(model, f"{name}_checkpointing_enable")({"use_reentrant": False})
        else:
            getattr(model, f"{name}_checkpointing_disable")()


class Worn:
    """All that training moves, the adapters' tensors and then the head's numbers, as one float32 vector."""

    def __init__(self, adapters: list[Any], head: Floats, device: Any) -> None:
        self.head = torch.tensor(head, dtype=torch.float32, device=device, requires_grad=True)
        self.parts = [*adapters, self.head]
        self.sizes = [part.numel() for part in self.parts]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def read(self) -> Any:
        """The vector (d,)."""
        return torch.cat([part.detach().float().flatten() for part in self.parts])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def write(self, vector: Any) -> None:
        for part, values in zip(self.parts, vector.split(self.sizes), strict=True):
            part.copy_(values.view_as(part))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def gradient(self) -> Any:
        """The gradient (d,), zero where nothing came; it is taken away from the tensors."""
        found = [(torch.zeros_like(p) if p.grad is None else p.grad).float().flatten() for p in self.parts]
        self.forget()
        return torch.cat(found)

    def forget(self) -> None:
        """Drop gradients that a failed pass has left."""
        for part in self.parts:
            part.grad = None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    words = str(error).lower()
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)
    )


@contextmanager
def _quiet() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of peft about names in transformers
        yield


def _array(state: Any) -> Any:
    """numpy has no bfloat16: its bits are kept as integers."""
    return state.view(torch.int16).numpy() if state.dtype == torch.bfloat16 else state.numpy()


def _tensor(values: Any, dtype: Any) -> Any:
    found = torch.from_numpy(values)
    return found.view(torch.bfloat16) if dtype == torch.bfloat16 else found
