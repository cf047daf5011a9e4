"""Features of texts from a small language model: hidden layers, log-probabilities, word vectors.

The only module of the package that uses torch, and only inside `LanguageModel`; importing it is cheap. Needs the
`[train]` extra and a GGUF file that transformers can open.

Texts with one prefix (several answers to one question) share its computation: they are laid side by side in one
sequence whose attention mask lets each see the prefix and itself only.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import InputError

BRANCHES = 12
"""Texts that share one prefix's computation at most: attention grows with the square of what lies side by side."""

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total); done and total in tokens. One `what` is one bar."""

LOGPROB_NAMES = ("mean", "least", "least three", "last", "last eight", "length")
"""Columns of the log-probability block over the answer's tokens; the last one is their number."""


@dataclass(frozen=True)
class Wanted:
    """What to take from each text.

    `hidden`: names like `m24` (mean over the tokens after the prefix, after 24 blocks) or `l10` (last token, after
    10 blocks). `logprob`: the six numbers of `LOGPROB_NAMES` over the tokens after the prefix; with `sums` over those
    among them that hold a digit or an operation sign, so that wording around the sums does not count. `words`: pairs
    whose logits are compared after `suffix` is appended to the text (no other feature sees the suffix).
    """

    hidden: tuple[str, ...] = ()
    logprob: bool = False
    sums: bool = False
    suffix: str = ""
    words: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays that `extract` returns."""
        return (*self.hidden, *(["logprob"] if self.logprob else []), *(["words"] if self.words else []))

    @property
    def blocks(self) -> int | None:
        """How many blocks must run; None for all and the output layer."""
        return None if self.logprob or self.words else max(int(name[1:]) for name in self.hidden)


@dataclass(frozen=True)
class _Sequence:
    """One run of the model: a shared prefix of token ids and the branches that follow it."""

    shared: list[int]
    branches: list[list[int]]
    rows: list[int]  # the text of each branch
    starts: list[int]  # where the span begins, counted from the branch's beginning; negative: inside the prefix

    def __len__(self) -> int:
        return len(self.shared) + sum(map(len, self.branches))


class _Enough(Exception):
    """Nothing above this block is wanted."""


class LanguageModel:
    """A frozen causal language model in bfloat16 on the CPU."""

    def __init__(self, file: Path, threads: int = 0) -> None:
        """file: a GGUF file. threads: 0 leaves torch's choice. Raises InputError without the [train] extra."""
        self.torch, transformers = _libraries()
        if threads:
            self.torch.set_num_threads(threads)
        place: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
        with redirect_stderr(
            io.StringIO()
        ):  # opening the file draws a bar that transformers' own switch does not reach
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
            model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=self.torch.float32)
        self.model = model.to(self.torch.bfloat16).eval()
        self.width = int(model.config.hidden_size)
        vocabulary = self.tokenizer.convert_ids_to_tokens(range(model.config.vocab_size))
        self.in_sum = np.array([any(c in "0123456789+-*/=" for c in token or "") for token in vocabulary])

    def word_vectors(self, texts: Sequence[str]) -> NDArray[np.float16]:
        """Mean of the input embeddings of each text, no block run: a bag of words, float16 (n, width)."""
        table = self.model.get_input_embeddings().weight.detach().float().numpy()
        return np.array([table[self._ids(t)].mean(0) for t in texts], np.float16)

    def extract(
        self,
        texts: Sequence[str],
        wanted: Wanted,
        prefixes: Sequence[str] | None = None,
        progress: Progress | None = None,
        batch_tokens: int = 1536,
    ) -> dict[str, NDArray[Any]]:
        """One array per name in `wanted.hidden` (float16 (n, width)), `logprob` (float32 (n, 6)), `words`
        (float32 (n, pairs): logit of the first word minus the second).

        prefixes: what each text begins with and its span does not contain.
        """
        out = self._empty(len(texts), wanted)
        sequences = self._sequences(texts, prefixes, wanted)
        total, done = sum(map(len, sequences)), 0
        for batch in _batches(sequences, batch_tokens):
            self._run(batch, wanted, out)
            done += sum(map(len, batch))
            if progress:
                progress("features", done, total)
        return out

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text).input_ids
        return ids

    def _empty(self, n: int, wanted: Wanted) -> dict[str, NDArray[Any]]:
        out: dict[str, NDArray[Any]] = {name: np.zeros((n, self.width), np.float16) for name in wanted.hidden}
        if wanted.logprob:
            out["logprob"] = np.zeros((n, len(LOGPROB_NAMES)), np.float32)
        if wanted.words:
            out["words"] = np.zeros((n, len(wanted.words)), np.float32)
        return out

    def _sequences(self, texts: Sequence[str], prefixes: Sequence[str] | None, wanted: Wanted) -> list[_Sequence]:
        suffix = self._ids(wanted.suffix) if wanted.words else []
        ids = [self._ids(t) for t in texts]
        if prefixes is None:
            return [_Sequence([], [i + suffix], [row], [0]) for row, i in enumerate(ids)]
        families: dict[str, list[int]] = {}
        for row, prefix in enumerate(prefixes):
            families.setdefault(prefix, []).append(row)
        return [
            self._family(rows[at : at + BRANCHES], ids, len(self._ids(p)), suffix)
            for p, rows in families.items()
            for at in range(0, len(rows), BRANCHES)
        ]

    @staticmethod
    def _family(rows: list[int], ids: list[list[int]], start: int, suffix: list[int]) -> _Sequence:
        first = ids[rows[0]]
        shared = min(start, *(len(ids[r]) - 1 for r in rows))
        while any(ids[r][:shared] != first[:shared] for r in rows):  # a token may straddle the prefix's end
            shared -= 1
        branches = [ids[r][shared:] + suffix for r in rows]
        return _Sequence(first[:shared], branches, rows, [start - shared] * len(rows))

    def _run(self, batch: list[_Sequence], wanted: Wanted, out: dict[str, NDArray[Any]]) -> None:
        torch = self.torch
        ids, places, mask = _layout(batch)
        bias = torch.zeros(mask.shape).masked_fill_(torch.tensor(~mask), torch.finfo(torch.bfloat16).min)
        with torch.no_grad():
            found = self._states(
                wanted, input_ids=torch.tensor(ids), position_ids=torch.tensor(places),
                attention_mask=bias[:, None].to(torch.bfloat16), use_cache=False,
            )  # fmt: skip
            for number, sequence in enumerate(batch):
                self._take(sequence, number, ids[number], found, wanted, out)

    def _states(self, wanted: Wanted, **inputs: Any) -> dict[int, Any]:
        """States after each wanted number of blocks; under -1 what the output layer reads, where all blocks run.

        Read by hooks, so that a state is the same whether the blocks above it run or not.
        """
        found: dict[int, Any] = {}

        def keeper(blocks: int) -> Callable[[Any, Any, Any], None]:
            def keep(module: Any, given: Any, output: Any) -> None:
                found[blocks] = output[0] if isinstance(output, tuple) else output
                if blocks == wanted.blocks:
                    raise _Enough

            return keep

        numbers = {int(name[1:]) for name in wanted.hidden}
        hooks = [self.model.model.layers[n - 1].register_forward_hook(keeper(n)) for n in numbers]
        try:
            found[-1] = self.model.model(**inputs).last_hidden_state
        except _Enough:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def _take(
        self,
        sequence: _Sequence,
        number: int,
        ids: NDArray[np.int64],
        found: dict[int, Any],
        wanted: Wanted,
        out: dict[str, Any],
    ) -> None:
        """Read one sequence's branches out of the model's states."""
        tail = len(self._ids(wanted.suffix)) if wanted.words else 0
        begin = len(sequence.shared)
        for branch, row, start in zip(sequence.branches, sequence.rows, sequence.starts, strict=True):
            end = begin + len(branch) - tail
            first = min(begin + max(start, 0), end - 1)
            for name in wanted.hidden:
                state = found[int(name[1:])][number]
                part = state[first:end].float().mean(0) if name[0] == "m" else state[end - 1].float()
                out[name][row] = part.numpy()
            if wanted.logprob:
                before = np.array([first - 1 if first > begin else len(sequence.shared) - 1, *range(first, end - 1)])
                count = (before >= 0) & (self.in_sum[ids[first:end]] | (not wanted.sums))
                out["logprob"][row] = self._logprob(found[-1][number], before[count], ids[first:end][count])
            if wanted.words:
                out["words"][row] = self._contrast(found[-1][number, end + tail - 1], wanted.words)
            begin += len(branch)

    def _logprob(self, states: Any, before: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Six statistics of the log-probabilities of `tokens`, each read at the state before it."""
        logits = self.model.lm_head(states[before]).float()
        picked = (logits.gather(-1, self.torch.tensor(tokens)[:, None])[:, 0] - logits.logsumexp(-1)).numpy()
        low = np.sort(picked)[:3]
        return np.array([picked.mean(), low[0], low.mean(), picked[-1], picked[-8:].mean(), len(picked)], np.float32)

    def _contrast(self, state: Any, words: tuple[tuple[str, str], ...]) -> list[float]:
        logits = self.model.lm_head(state).float()
        return [float(logits[self._ids(a)[0]] - logits[self._ids(b)[0]]) for a, b in words]


def _libraries() -> tuple[Any, Any]:
    try:
        import gguf  # noqa: F401
        import torch
        import transformers
    except ImportError as error:
        raise InputError(
            f"features need the package {error.name!r}; install it with `pip install 'aarlab[train]'`"
        ) from None
    logging: Any = transformers.utils.logging
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return torch, transformers


def _batches(sequences: list[_Sequence], tokens: int) -> Iterator[list[_Sequence]]:
    """Batches of similar length, longest first, each of at most `tokens` padded tokens (or one sequence)."""
    ordered = sorted(sequences, key=len, reverse=True)
    at = 0
    while at < len(ordered):
        size = max(1, tokens // len(ordered[at]))
        yield ordered[at : at + size]
        at += size


def _layout(batch: list[_Sequence]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Token ids, positions (batch, length) and who may look at whom (batch, length, length)."""
    length = max(map(len, batch))
    ids, places = np.zeros((2, len(batch), length), np.int64)
    branch_of = np.full((len(batch), length), -1)
    for row, sequence in enumerate(batch):
        shared, at = len(sequence.shared), len(sequence.shared)
        ids[row, :shared], places[row, :shared], branch_of[row, :shared] = sequence.shared, np.arange(shared), 0
        for number, branch in enumerate(sequence.branches, 1):
            span = slice(at, at + len(branch))
            ids[row, span], branch_of[row, span] = branch, number
            places[row, span] = np.arange(shared, shared + len(branch))
            at += len(branch)
    same = (branch_of[:, :, None] == branch_of[:, None, :]) | (branch_of[:, None, :] == 0)
    causal = np.tril(np.ones((length, length), bool))
    mask = same & causal
    mask |= np.eye(length, dtype=bool)  # padding looks at itself, so that no row of the softmax is empty
    return ids, places, mask
