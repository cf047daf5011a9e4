"""Training tokens per CPU second: a plain Hugging Face Trainer against the LoRA student, side by side in one run.

    python benchmarks/lora_cpu.py [--model smollm2-135m] [--items 192] [--steps 8] [--task w2s-math]

All three fine-tune the same model in the same numbers (float32) with the same adapters' rank, rate, schedule, items
per step and number of steps, on the same texts with hard labels:

    (a) transformers' Trainer and peft's get_peft_model as users write them: items drawn at random, padded to the
        longest of the batch, the label word after each item as the only target (all others -100), so that logits and
        loss are computed at all positions; adapters on all blocks.
    (b) the LoRA student, grouped: the same label-token task, items grouped by length, the two label words' logits read
        at the last position alone; adapters on all blocks.
    (c) as (b), with the lower third, then the lower two thirds of the blocks frozen and their output kept. Adapters sit
        on the other blocks only, so fewer parameters are trained. Computing what is kept is counted on its own: it is
        paid once per text, not per epoch, seed or method.

A token counts where it is real, not padding. Needs `pip install 'aarlab[train]'` (accelerate comes with peft). Whether
the three reach the same accuracy is what `--accuracy` adds: an epoch of each (minutes), judged on held-out items.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from typing import Any

import numpy as np

from aarlab.problems.withheld import restored
from aarlab.w2s.open_task import OpenTask
from aarlab.w2s.students.lora import LoraStudent, configuration

RANK, ALPHA, RATE, BATCH = 8, 16.0, 1e-3, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--task", default="w2s-math")
    parser.add_argument("--items", type=int, default=192)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--accuracy", action="store_true")
    given = parser.parse_args()
    task = OpenTask.load(given.task)
    task = replace(task, inputs=restored(task.inputs, task.labels))  # w2s-pref ships no texts
    drawn, view = task.draw(0), task.view(0)
    items, labels = view.train[: given.items], (task.labels[drawn.train][: given.items] > 0).astype(np.float32)
    tested = view.test[: given.items], task.labels[drawn.test][: given.items] > 0
    steps = max(given.steps, len(items) // BATCH) if given.accuracy else given.steps
    base = student(given.model, steps, len(items), 0)
    blocks = base.network.loaded.blocks
    held = tested if given.accuracy else None
    rows = [plain(base, items, labels, steps, held)]
    kept = [(f"(c) lower {n} of {blocks} blocks kept", n) for n in (blocks // 3, 2 * blocks // 3)]
    for name, frozen in [("(b) grouped", 0), *kept]:
        rows.append(ours(name, student(given.model, steps, len(items), frozen), items, labels, held))
    for name, speed, seconds, right in rows:
        notes = [f"accuracy {right:.3f}"] if given.accuracy else []
        notes += [f"keeping took {seconds:.1f} CPU s"] if seconds else []
        print(f"{name:36s} {speed:6.0f} tokens/CPU s  {speed / rows[0][1]:.2f}x  {', '.join(notes)}")


def student(model: str, steps: int, items: int, frozen: int) -> LoraStudent:
    """The LoRA student with exactly that many steps."""
    config = configuration(
        model, head="label tokens", rank=RANK, alpha=ALPHA, learning_rate=RATE, batch=BATCH,
        epochs=steps * BATCH / items, frozen_blocks=frozen, threads=1, dtype="float32", device="cpu", warm_up=0.0,
    )  # fmt: skip
    return LoraStudent(config)


def ours(name: str, taught: LoraStudent, items: Any, labels: Any, held: Any) -> tuple[str, float, float, float]:
    seen = [0]
    taught.progress = lambda what, done, total: seen.__setitem__(0, done)
    taught.network.loaded.states.clear()
    began = time.process_time()
    taught.network.prepare([text for item in taught._encoded(items, "label tokens") for text in item])
    kept = time.process_time() - began
    began = time.process_time()
    head = taught.fit(items, labels)
    speed = seen[0] / (time.process_time() - began)
    right = float(((head.predict(held[0]) > 0.5) == held[1]).mean()) if held else 0.0
    return name, speed, kept if taught.network.frozen else 0.0, right


def plain(base: LoraStudent, items: Any, labels: Any, steps: int, held: Any) -> tuple[str, float, float, float]:
    """transformers' Trainer on the same texts and label words."""
    import peft
    import torch
    import transformers

    torch.manual_seed(0)
    reader = base._reader("label tokens", items.paired)
    texts = [item[0].ids for item in base._encoded(items, "label tokens")]
    end = base.tokenizer.pad_token_id or base.tokenizer.eos_token_id
    rows = [{"ids": [*ids, reader.words[0 if y else 1]]} for ids, y in zip(texts, labels, strict=True)]
    counted = [0]

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        longest = max(len(row["ids"]) for row in batch)
        counted[0] += sum(len(row["ids"]) for row in batch)
        ids = torch.tensor([row["ids"] + [end] * (longest - len(row["ids"])) for row in batch])
        mask = torch.tensor([[1] * len(row["ids"]) + [0] * (longest - len(row["ids"])) for row in batch])
        target = torch.full_like(ids, -100)
        for at, row in enumerate(batch):
            target[at, len(row["ids"]) - 1] = row["ids"][-1]
        return {"input_ids": ids, "attention_mask": mask, "labels": target}

    adapter = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    base.model.is_quantized = False  # a GGUF file's mark: its weights were opened into plain numbers
    model = peft.get_peft_model(base.model, adapter)
    with tempfile.TemporaryDirectory() as folder:
        how = transformers.TrainingArguments(
            folder, per_device_train_batch_size=BATCH, max_steps=steps, learning_rate=RATE, lr_scheduler_type="linear",
            weight_decay=0.0, report_to=[], save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True,
            remove_unused_columns=False,
        )  # fmt: skip
        trainer = transformers.Trainer(model, how, train_dataset=rows, data_collator=collate)
        trainer.remove_callback(transformers.PrinterCallback)
        began = time.process_time()
        trainer.train()
        speed = counted[0] / (time.process_time() - began)
    right = _right(model.eval(), base, held, reader.words) if held else 0.0
    model.unload()
    base.model.requires_grad_(False)
    return "(a) Trainer, padded, all positions", speed, 0.0, right


def _right(model: Any, base: LoraStudent, held: Any, words: tuple[int, int]) -> float:
    import torch

    found = []
    with torch.no_grad():
        for item in base._encoded(held[0], "label tokens"):
            logits = model(input_ids=torch.tensor(item[0].ids)[None]).logits[0, -1]
            found.append(float(logits[words[0]] - logits[words[1]]) > 0)
    return float((np.array(found) == held[1]).mean())


if __name__ == "__main__":
    main()
