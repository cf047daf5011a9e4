"""The training loop: AdamW on one float32 vector, in steps of a fixed number of items whatever memory holds.

    minimise  mean over a step's items of  w_i (log(1 + exp(z_i)) - t_i z_i)        w: mean 1 over all items

A step's passes add their gradients up, so its size in items does not depend on memory. Weights are not normalised
anew within a step: an item pulls in proportion to its weight whoever shares its step.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from aarlab.w2s.students.base import Moving
from aarlab.w2s.students.lora.batches import steps
from aarlab.w2s.students.lora.heads import Item, Reader
from aarlab.w2s.students.lora.network import Network, Worn
from aarlab.w2s.task import Floats, Ints

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total); done and total in tokens. One `what` is one bar."""


@dataclass(frozen=True)
class Job:
    """What is trained on. rows: (n,) the caller's numbers of the items, for moving targets."""

    items: list[Item]
    rows: Ints
    targets: Floats
    weights: Floats  # of mean 1
    seed: int
    steps: int
    rate: float  # the highest
    moving: Moving | None = None

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens that each item takes."""
        return lengths(self.items)


def lengths(items: list[Item]) -> list[int]:
    """Tokens an item takes in a batch of its like: its longest text times its texts."""
    return [len(item) * max(map(len, item)) for item in items]


def train(
    network: Network, reader: Reader, job: Job, start: Floats | None, head: Floats,
    file: Path | None = None, progress: Progress | None = None,
) -> Floats:  # fmt: skip
    """Everything that training moved, (d,). start: a vector to go on from; head: the head's first numbers.

    file: checkpoints go there and are gone on from, also that of a training that has finished.
    """
    with torch.random.fork_rng(), network.worn(head, job.seed, training=True) as worn:
        if start is not None:
            worn.write(torch.from_numpy(start).to(network.loaded.device))
        values = worn.read()
        optimiser = torch.optim.AdamW([values], lr=job.rate, weight_decay=0.0)
        done = _resumed(file, values, optimiser)
        worn.write(values)
        _loop(network, reader, job, worn, values, optimiser, done, file, progress)
        found: Floats = values.cpu().numpy().copy()
    return found


def _loop(
    network: Network, reader: Reader, job: Job, worn: Worn, values: Any, optimiser: Any,
    done: int, file: Path | None, progress: Progress | None,
) -> None:  # fmt: skip
    size = np.array([sum(map(len, item)) for item in job.items])
    plan = list(steps(job.lengths, network.config.batch, job.steps, job.seed))
    total, seen = int(sum(size[rows].sum() for rows in plan)), 0
    for step, rows in enumerate(plan):
        seen += int(size[rows].sum())
        if step < done:
            continue
        for group in optimiser.param_groups:
            group["lr"] = job.rate * share(step, job.steps, network.config.warm_up, network.config.schedule)
        values.grad = _gradient(network, reader, job, worn, rows, step)
        torch.nn.utils.clip_grad_norm_([values], network.config.clip)
        optimiser.step()
        worn.write(values)
        if file is not None and ((step + 1) % network.config.save_every == 0 or step + 1 == job.steps):
            _save(file, step + 1, values, optimiser)
        if progress:
            progress("training", seen, total)


def _gradient(network: Network, reader: Reader, job: Job, worn: Worn, rows: Ints, step: int) -> Any:
    """The gradient (d,) of one step, in as many passes as memory needs."""
    torch.manual_seed(job.seed * 1_000_003 + step)  # dropout alone draws from it
    total = torch.zeros(sum(worn.sizes), device=network.loaded.device)

    def one(part: Ints) -> None:
        worn.forget()  # what a failed pass may have left
        _pass(network, reader, job, worn, part, len(rows), step)
        total.add_(worn.gradient())

    network.visit(job.lengths, rows, one)
    return total


def _pass(network: Network, reader: Reader, job: Job, worn: Worn, part: Ints, size: int, step: int) -> None:
    z = reader.logits(network, [job.items[i] for i in part], worn.head)
    targets = job.targets[part]
    if job.moving is not None:
        targets = job.moving(z.detach().cpu().numpy(), job.rows[part], step / job.steps)
    t = torch.as_tensor(np.asarray(targets, np.float32), device=z.device)
    w = torch.as_tensor(job.weights[part], device=z.device)
    ((functional.softplus(z) - t * z) * w).sum().div(size).backward()


def share(step: int, steps: int, warm_up: float, schedule: str) -> float:
    """Share of the highest rate at a step (counted from 0): up in a line, then down to zero, or constant."""
    rising = warm_up * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 1.0 if schedule == "constant" else (steps - step) / max(steps - rising, 1)


def _save(file: Path, step: int, values: Any, optimiser: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    torch.save({"step": step, "values": values.detach(), "optimiser": optimiser.state_dict()}, partial)
    partial.replace(file)


def _resumed(file: Path | None, values: Any, optimiser: Any) -> int:
    """Steps already done; `values` and the optimiser take over what a checkpoint holds."""
    if file is None or not file.is_file():
        return 0
    found = torch.load(file, weights_only=True, map_location=values.device)
    values.copy_(found["values"])
    optimiser.load_state_dict(found["optimiser"])
    return int(found["step"])
