"""Group-relative policy optimisation of what a student writes, through TRL's GRPOTrainer.

    A_j = (r_j - mean r) / std r          over the `group` texts written for one prompt
    minimise  -mean over tokens of  min(w A, clip(w, 0.8, 1.2) A) + kl * KL(student || untrained student)

w is the ratio of a token's probability now to when it was written (Shao et al. 2024, DeepSeekMath; the mean over all
tokens of a step as in Yu et al. 2025, DAPO, TRL's default). Only a low-rank adapter moves. It sits on a twin of the
model: other modules over the same weights. So a reward may ask a teacher that is made of the same model, and the
student is the same before and after.
"""

from __future__ import annotations

import copy
import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from aarlab.errors import InputError
from aarlab.w2s.students.reinforcement import Progress, Reinforcement, Reward
from aarlab.w2s.task import Floats


@dataclass(frozen=True)
class Tuned:
    """What reinforcement leaves: the adapter's tensors by name, and per step mean reward and mean length in tokens."""

    state: dict[str, Any]
    rewards: Floats
    lengths: Floats


def optimise(
    model: Any,
    tokenizer: Any,
    adapter: Any,
    prompts: Sequence[str],
    reward: Reward,
    settings: Reinforcement,
    seed: int = 0,
    progress: Progress | None = None,
    vllm: bool | None = None,
) -> Tuned:
    """Reinforce texts that `model` (a transformers causal model, no adapter on it) writes after `prompts`.

    adapter: a peft LoraConfig. prompts: exactly as the model reads them, chat template included; one too long for the
    model loses its beginning. vllm: write with vLLM beside the trainer; None: where CUDA, the package, and a model that
    it can load by name are at hand. Raises InputError for no prompts, for texts longer than the model allows, for
    rewards that are not one finite number per text, and without the [train] extra.
    """
    if not prompts:
        raise InputError("no prompts to write after; give at least one")
    trl, datasets = _libraries()
    vllm = _can_vllm(model) if vllm is None else vllm
    prompts = _fitted(tokenizer, prompts, model.config.get_text_config().max_position_embeddings - settings.tokens)
    rows = list(range(len(prompts))) * -(-settings.prompts // len(prompts))  # a step may need more than there are
    asked = datasets.Dataset.from_dict({"prompt": [prompts[row] for row in rows], "row": rows})
    trained = [parameter.requires_grad for parameter in model.parameters()]
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of trl and peft about names in transformers
            trainer = trl.GRPOTrainer(
                model=_twin(model), processing_class=tokenizer, peft_config=adapter, train_dataset=asked,
                reward_funcs=_scored(reward), args=_arguments(trl, model, settings, seed, folder, vllm),
            )  # fmt: skip
            curve = _quiet(trainer, settings, progress)
            trainer.train()
    finally:
        _frozen_as_before(model, trained)
    found = _peft().get_peft_model_state_dict(trainer.model, save_embedding_layers=False)
    state = {name: value.detach().clone() for name, value in found.items()}
    return Tuned(state, np.array(curve["reward"], np.float32), np.array(curve["completions/mean_length"], np.float32))


@contextmanager
def wearing(model: Any, adapter: Any, state: dict[str, Any]) -> Iterator[Any]:
    """The model itself with a tuned adapter on, for as long as the block runs; afterwards it is as it was."""
    peft = _peft()
    trained = [parameter.requires_grad for parameter in model.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        dressed = peft.get_peft_model(model, adapter)
    try:
        peft.set_peft_model_state_dict(dressed, state)
        yield dressed.eval()
    finally:
        dressed.unload()
        if hasattr(model, "peft_config"):
            del model.peft_config
        _frozen_as_before(model, trained)


def _frozen_as_before(model: Any, trained: list[bool]) -> None:
    for parameter, before in zip(model.parameters(), trained, strict=True):
        parameter.requires_grad_(before)


def _twin(model: Any) -> Any:
    """Other modules over the same weights: an adapter put on the twin does not show on the model.

    A GGUF file's mark is taken away, for its weights were opened into plain numbers and a trainer refuses the mark.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is not None and quantizer.quantization_config.quant_method == "gguf":
        twin.is_quantized = False
    return twin


def _fitted(tokenizer: Any, prompts: Sequence[str], room: int) -> list[str]:
    """Prompts of at most `room` tokens; the ends of those that are longer."""
    if room < 1:
        raise InputError("the texts to be written are as long as all that the model reads; set fewer tokens")
    out = list(prompts)
    for row, prompt in enumerate(prompts):
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if len(ids) > room:
            out[row] = tokenizer.decode(ids[-room:])
    return out


def _can_vllm(model: Any) -> bool:
    named = bool(model.name_or_path) and getattr(model, "hf_quantizer", None) is None
    return named and model.device.type == "cuda" and importlib.util.find_spec("vllm") is not None


def _arguments(trl: Any, model: Any, settings: Reinforcement, seed: int, folder: str, vllm: bool) -> Any:
    cuda = model.device.type == "cuda"
    half = str(model.dtype) == "torch.bfloat16"
    return trl.GRPOConfig(
        output_dir=folder, seed=seed, max_steps=settings.steps, learning_rate=settings.rate,
        lr_scheduler_type="constant", per_device_train_batch_size=settings.micro,
        gradient_accumulation_steps=settings.texts // settings.micro, num_generations=settings.group,
        max_completion_length=settings.tokens, temperature=settings.temperature, top_p=settings.top_p,
        beta=settings.kl, use_cpu=not cuda, bf16=half, gradient_checkpointing=cuda, use_vllm=vllm,
        vllm_mode="colocate", logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
    )  # fmt: skip


def _scored(reward: Reward) -> Callable[..., list[float]]:
    """A reward as TRL calls it: with texts and the data set's columns, by keyword."""

    def scored(completions: list[str], row: list[int], **_: Any) -> list[float]:
        found = np.asarray(reward(np.asarray(row, np.int64), completions), float)
        if found.shape != (len(completions),) or not np.isfinite(found).all():
            raise InputError(
                f"the reward gave shape {found.shape} for {len(completions)} texts; one finite number each is needed"
            )
        return [float(value) for value in found]

    return scored


def _quiet(trainer: Any, settings: Reinforcement, progress: Progress | None) -> dict[str, list[float]]:
    """Have the trainer print nothing, and what it logs collected by name, one entry per step."""
    import transformers

    curve: dict[str, list[float]] = {"reward": [], "completions/mean_length": []}

    def on_log(self: Any, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs is None or "reward" not in logs:
            return
        for name, values in curve.items():
            values.append(float(logs[name]))
        if progress:
            progress("reinforcement", len(curve["reward"]), settings.steps)

    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(type("Collector", (transformers.TrainerCallback,), {"on_log": on_log})())
    return curve


def _peft() -> Any:
    import peft

    return peft


def _libraries() -> tuple[Any, Any]:
    try:
        import datasets
        import peft  # noqa: F401
        import trl
    except ImportError as error:
        raise InputError(
            f"reinforcement needs the package {error.name!r}; install it with `pip install 'aarlab[train]'`"
        ) from None
    return trl, datasets
