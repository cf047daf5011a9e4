"""The LoRA student on a GPU: right, how fast, how near the hardware's limit, and against a plain Trainer loop.

    python benchmarks/lora_gpu.py                                          everything (needs `.[train]` and accelerate)
    python benchmarks/lora_gpu.py --size tiny --items 64 --device cpu      the same code path without a GPU, in a minute

No weights are needed: the models are randomly initialised at the true shapes of Qwen1.5-0.5B and Qwen3-4B, which costs
as much to train as the real ones. In one run, on the same made-up texts (lengths as in chat preference data:
log-normal, median 380 tokens, cut at 4,096):

1. right: after the same training from the same start, the tiny model's log-odds on CPU and GPU agree;
2. for each model: tokens/s of training, share of the peak bf16 rate, peak memory;
3. the same texts and settings in Hugging Face's Trainer with PEFT, a padding collator and the label position alone, as
   users write it; and in EleutherAI's w2s trainer where that package can be imported.

Work is counted as 4 FLOPs per parameter and token (forward 2, backward through the activations 2: frozen weights get no
gradient) plus attention; adapters and recomputed activations are not counted, so the share is of useful work.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.w2s.students.lora import CONFIGURATIONS, LoraConfig, LoraStudent, configuration
from aarlab.w2s.students.lora.models import load
from aarlab.w2s.task import Items, Layer, StudentSpec, TaskInputs

SHAPES: dict[str, dict[str, Any]] = {
    "qwen1.5-0.5b": {
        "kind": "Qwen2", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 2816,
        "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16, "tie_word_embeddings": True,
    },
    "qwen3-4b": {
        "kind": "Qwen3", "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
    },
    "tiny": {
        "kind": "Qwen3", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True,
    },
}  # fmt: skip
"""The published configurations of the study's pair, and a small one to try the script."""

PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "RTX 4090": 165e12}
"""Dense bf16 FLOP/s that the makers state, by a word of the device's name."""

MEDIAN, SPREAD, LONGEST = 380, 0.7, 4096
BATCH, RANK = 32, 32


def made_items(count: int, longest: int = LONGEST) -> tuple[Items, np.ndarray]:
    """Items of made-up words whose label is whether "yes" stands in the answer, and the labels (count,)."""
    rng = np.random.default_rng(0)
    lengths = np.clip(np.exp(rng.normal(np.log(MEDIAN), SPREAD, count)), 24, longest - 200).astype(int)
    labels = rng.integers(2, size=count)
    letters = np.array(list("abcdefghij "))
    texts = [
        f"Question: {''.join(rng.choice(letters, n))}\nAnswer: {'yes' if y else 'no'}"
        for n, y in zip(lengths, labels, strict=True)
    ]
    inputs = TaskInputs(
        "made-up", "open", {"m1": Layer(np.zeros((count, 1), np.int8), np.ones(1, np.float32))},
        np.zeros(count, np.float32), np.arange(count), StudentSpec(("m1",), (1.0,), 0.1), texts=tuple(texts),
    )  # fmt: skip
    return Items(inputs, np.arange(count), np.array([f"{i:06x}" for i in range(count)])), labels.astype(np.float32)


def random_model(size: str, folder: Path) -> Path:
    """A folder with a randomly initialised model of that shape and the byte tokenizer of the tiny model."""
    import torch
    import transformers

    shape = dict(SHAPES[size])
    kind = shape.pop("kind")
    place = folder / size
    if not place.exists():
        config = getattr(transformers, f"{kind}Config")(**shape, max_position_embeddings=8192)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            torch.set_default_dtype(torch.bfloat16)
            model = getattr(transformers, f"{kind}ForCausalLM")(config)
            torch.set_default_dtype(torch.float32)
        model.save_pretrained(place)
        load("tiny", "float32", "cpu").tokenizer.save_pretrained(place)
        del model
        _free()
    return place


def settings(place: Path, device: str) -> LoraConfig:
    """The study's settings, one epoch."""
    return replace(
        CONFIGURATIONS["qwen3-4b-base"], model=str(place), epochs=1.0, device=device, batch=BATCH, rank=RANK,
        micro_tokens=16384,
    )  # fmt: skip


class Clock:
    """Tokens and seconds of a training, from its progress calls; the first steps, which warm up, are left out."""

    def __init__(self, skip: int = 2) -> None:
        self.skip, self.calls = skip, 0
        self.first = self.last = (0, 0.0)

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != "training":
            return
        _wait()
        self.calls += 1
        self.last = (done, time.perf_counter())
        if self.calls == self.skip:
            self.first = self.last

    @property
    def rate(self) -> float:
        """Real tokens per second."""
        return (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])


def agreement(items: Items, labels: np.ndarray) -> dict[str, float]:
    """Largest difference of the tiny model's log-odds between CPU and GPU after the same training, in float32."""
    found = []
    for device in ("cpu", "cuda"):
        student = LoraStudent(configuration("tiny", device=device, dtype="float32", epochs=2.0, context=1024))
        found.append(student.fit(items, labels, seed=0).logits(items))
    return {"largest": float(np.abs(found[0] - found[1]).max()), "spread": float(found[0].std())}


def ours(place: Path, device: str, items: Items, labels: np.ndarray) -> dict[str, Any]:
    clock = Clock()
    student = LoraStudent(settings(place, device), progress=clock)
    _reset_memory()
    student.fit(items, labels, seed=0)
    return {"tokens_per_second": clock.rate, "memory_gib": _memory(), "micro_tokens": student.network.budget}


def trainer(place: Path, device: str, items: Items, labels: np.ndarray) -> dict[str, Any]:
    """A plain loop as users write it: Trainer, PEFT, random batches padded to their longest, loss at the label."""
    import peft
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.bfloat16).to(device)
    model.enable_input_require_grads()
    model = peft.get_peft_model(
        model, peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    words = [tokenizer(w, add_special_tokens=False)["input_ids"][0] for w in (" False", " True")]
    rows = []
    for text, label in zip(items.texts, labels, strict=True):
        ids = [*tokenizer(f"{text}\nCorrect:")["input_ids"], words[int(label)]]
        rows.append({"input_ids": ids, "labels": [-100] * (len(ids) - 1) + [ids[-1]]})
    clock = Clock()
    tokens = [len(row["input_ids"]) for row in rows]

    class Timed(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            clock("training", int(state.global_step * BATCH * np.mean(tokens)), sum(tokens))

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder, per_device_train_batch_size=4, gradient_accumulation_steps=BATCH // 4, num_train_epochs=1,
            learning_rate=1e-4, bf16=device != "cpu", gradient_checkpointing=device != "cpu", report_to=[],
            save_strategy="no", use_cpu=device == "cpu", disable_tqdm=True, logging_strategy="no",
        )  # fmt: skip
        collator = transformers.DataCollatorForSeq2Seq(tokenizer, padding=True)
        loop = transformers.Trainer(model, arguments, train_dataset=rows, data_collator=collator, callbacks=[Timed()])
        _reset_memory()
        loop.train()
    found = {"tokens_per_second": clock.rate, "memory_gib": _memory()}
    del model, loop
    _free()
    return found


def work_per_token(size: str, mean_length: float) -> float:
    """FLOPs of one token in training: 4 per parameter of the blocks, 2 forward and 2 backward, and attention."""
    s = SHAPES[size]
    width = s.get("head_dim", s["hidden_size"] // s["num_attention_heads"])
    query, key = width * s["num_attention_heads"], width * s["num_key_value_heads"]
    block = s["hidden_size"] * (2 * query + 2 * key + 3 * s["intermediate_size"])
    # causal attention: half of 2 x 2 x length x query forward, and twice that backward
    return float(s["num_hidden_layers"] * (4 * block + 6 * mean_length * query))


def peak_rate(device: str) -> float | None:
    import torch

    if device == "cpu":
        return None
    name = torch.cuda.get_device_name()
    return next((rate for word, rate in PEAK.items() if word in name), None)


def measure(size: str, folder: Path, device: str, items: Items, labels: np.ndarray) -> dict[str, Any]:
    place = random_model(size, folder)
    found: dict[str, Any] = {"model": size, "ours": ours(place, device, items, labels)}
    load.cache_clear()
    _free()
    found["trainer"] = trainer(place, device, items, labels)
    found["ratio"] = found["ours"]["tokens_per_second"] / found["trainer"]["tokens_per_second"]
    lengths = [len(text) for text in items.texts]  # bytes are tokens
    peak = peak_rate(device)
    if peak:
        found["share_of_peak"] = (
            found["ours"]["tokens_per_second"] * work_per_token(size, float(np.mean(lengths))) / peak
        )
    found["eleuther_w2s"] = eleuther()
    return found


def eleuther() -> str:
    """EleutherAI's w2s is on no package index; its trainer is compared by hand where a checkout is importable."""
    if importlib.util.find_spec("w2s") is None:
        return "not measured: no package `w2s` to import (github.com/EleutherAI/w2s, on PYTHONPATH)"
    return (
        "importable, not driven from here: its trainer wants a Hugging Face data set with ground truth beside each item"
    )


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _free() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _reset_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _memory() -> float | None:
    import torch

    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", action="append", choices=list(SHAPES), help="default: both of the study's pair")
    parser.add_argument("--items", type=int, default=640)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--folder", type=Path, help="where random models are kept; default: a temporary one")
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; try `--size tiny --items 64 --device cpu`")
    items, labels = made_items(options.items, LONGEST if options.device != "cpu" else 600)
    found: dict[str, Any] = {"torch": torch.__version__, "items": options.items, "batch": BATCH, "rank": RANK}
    found["device"] = "cpu" if options.device == "cpu" else torch.cuda.get_device_name()
    if options.device != "cpu":
        small = np.flatnonzero([len(text) < 600 for text in items.texts])[:64]
        found["cpu_against_gpu"] = agreement(items[small], labels[small])
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        sizes = options.size or ["qwen1.5-0.5b", "qwen3-4b"]
        found["models"] = [measure(size, folder, options.device, items, labels) for size in sizes]
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
