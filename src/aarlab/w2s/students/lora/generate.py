"""Text that a model writes: with vLLM where that is installed beside CUDA, else with transformers."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from aarlab.w2s.students.lora.network import Network

TEMPERATURE, TOP_P = 1.0, 0.99
"""As the automated weak-to-strong study (2026) has its critics write."""


def generate(network: Network, prompts: Sequence[str], tokens: int, seed: int, context: int) -> list[str]:
    """One text of at most `tokens` tokens after each prompt. prompts: as the model reads them."""
    tokenizer = network.loaded.tokenizer
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"][-max(1, context - tokens) :] for text in prompts]
    ids = [i or [_end(network)] for i in ids]
    out = [""] * len(ids)

    def write(rows: Any) -> None:
        for row, text in zip(rows, _written(network, [ids[i] for i in rows], tokens, seed), strict=True):
            out[row] = text

    network.visit([len(i) + tokens for i in ids], np.arange(len(ids)), write)
    return out


def can_vllm(network: Network) -> bool:
    """Whether vLLM can write for this model: CUDA, the package, and a model folder or name that it can load."""
    return network.loaded.device.type == "cuda" and importlib.util.find_spec("vllm") is not None


def generate_vllm(place: str, prompts: Sequence[str], tokens: int, seed: int, context: int) -> list[str]:
    """The same with vLLM, which loads the model a second time. place: a folder or hub name."""
    import vllm

    engine = vllm.LLM(model=place, max_model_len=context, seed=seed, gpu_memory_utilization=0.4)
    how = vllm.SamplingParams(max_tokens=tokens, temperature=TEMPERATURE, top_p=TOP_P, seed=seed)
    return [found.outputs[0].text for found in engine.generate(list(prompts), how, use_tqdm=False)]


def _written(network: Network, ids: list[list[int]], tokens: int, seed: int) -> list[str]:
    longest, end = max(map(len, ids)), _end(network)
    padded = torch.tensor([[end] * (longest - len(i)) + i for i in ids], device=network.loaded.device)
    mask = torch.tensor([[0] * (longest - len(i)) + [1] * len(i) for i in ids], device=network.loaded.device)
    with torch.no_grad(), torch.random.fork_rng(), network.between(0, network.depth):
        torch.manual_seed(seed)
        found = network.loaded.model.generate(
            input_ids=padded, attention_mask=mask, max_new_tokens=tokens, do_sample=True, temperature=TEMPERATURE,
            top_p=TOP_P, top_k=0, pad_token_id=end,
        )  # fmt: skip
    texts: list[str] = network.loaded.tokenizer.batch_decode(found[:, longest:], skip_special_tokens=True)
    return texts


def _end(network: Network) -> int:
    tokenizer = network.loaded.tokenizer
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
