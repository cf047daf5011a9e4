"""The fine-tuned student: a language model with low-rank adapters, behind the contract of `students.base`."""

from __future__ import annotations

import hashlib
import importlib
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aarlab.errors import InputError, NotApplicable
from aarlab.w2s.heads import checked, expit
from aarlab.w2s.students.base import Head, Moving
from aarlab.w2s.students.lora import models
from aarlab.w2s.students.lora.config import LoraConfig, configuration
from aarlab.w2s.students.lora.prompts import Encoded, Prompter
from aarlab.w2s.students.reinforcement import Progress, Reinforced, Reinforcement, Reward
from aarlab.w2s.task import Floats, Items, StudentSpec

if TYPE_CHECKING:
    from aarlab.w2s.students.lora.heads import Item, Reader
    from aarlab.w2s.students.lora.network import Network

CENTRED = 160
"""Items whose median the likelihood head's first offset takes away, so that training begins undecided."""

RIDGE = 0.2
"""For methods that fit heads on this student's features, as in the shipped problems."""


class LoraHead:
    """A trained adapter and head: the vector (d,), and the student whose model wears it when it is asked."""

    def __init__(self, student: LoraStudent, values: Floats, paired: bool) -> None:
        self.student, self.paired = student, paired
        self._values = np.asarray(values, np.float32)

    def logits(self, items: Items) -> Floats:
        """Log-odds of label 1, (n,)."""
        return self.student._judged(items, self._values, self.paired)

    def predict(self, items: Items) -> Floats:
        """P(label = 1), (n,)."""
        return expit(self.logits(items))

    def parameters(self) -> Floats:
        """The adapters' tensors in the model's order, then the head's numbers, (d,)."""
        return self._values.copy()

    def with_parameters(self, values: Floats) -> LoraHead:
        if np.shape(values) != self._values.shape:
            raise InputError(f"parameters of shape {np.shape(values)}; this head has {self._values.shape}")
        return LoraHead(self.student, values, self.paired)


class LoraStudent:
    """A language model that is fine-tuned. All students of one model in a process share its weights.

    config: settings, or the name of a model. checkpoints: a folder; a training that was stopped goes on from there and
    one that has finished is read back. progress: called as progress(what, done, total) in tokens. share: of the
    model's blocks that run (see `smaller`). voice: an adapter it writes with (see `reinforce`). Raises InputError
    without the [train] extra.
    """

    def __init__(
        self,
        config: LoraConfig | str = "smollm2-135m",
        *,
        checkpoints: str | Path | None = None,
        progress: Progress | None = None,
        share: float = 1.0,
        voice: dict[str, Any] | None = None,
    ) -> None:
        if not 0 < share <= 1:
            raise InputError(f"share is {share}; a student runs more than 0 and at most all of its model's blocks")
        models.libraries()
        self.config = configuration(config) if isinstance(config, str) else config
        self.checkpoints = None if checkpoints is None else Path(checkpoints)
        self.progress, self.share, self.voice = progress, share, voice
        self.cut: dict[bytes, int] = {}  # tokens left out of each text that was too long
        self._features: dict[tuple[bytes, str], Floats] = {}

    @cached_property
    def network(self) -> Network:
        """The model, opened when first needed."""
        loaded = models.load(self.config.model, self.config.dtype, self.config.device, self.config.threads)
        found: Network = _module("network").Network(loaded, self.config, max(1, round(self.share * loaded.blocks)))
        return found

    @property
    def model(self) -> Any:
        """The transformers model, without adapters."""
        return self.network.loaded.model

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.network.loaded.tokenizer

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of features: m or l (mean over the answer, last token) and the number of blocks run."""
        depth = self.network.depth
        numbers = sorted({max(1, round(depth * part)) for part in (1 / 3, 2 / 3, 5 / 6, 1)})
        return tuple(f"{kind}{number}" for number in numbers for kind in "ml")

    @cached_property
    def spec(self) -> StudentSpec:
        """What methods that fit heads on frozen features read: two thirds up, mean and last token."""
        number = max(1, round(self.network.depth * 2 / 3))
        return StudentSpec((f"m{number}", f"l{number}"), (1.0, 1.0), RIDGE)

    @property
    def truncated(self) -> int:
        """Texts so far that were longer than the context and lost the beginning of their question."""
        return len(self.cut)

    def features(self, items: Items, layer: str) -> Floats:
        """The untrained model's states, float32 (n, width): `m20` is the mean over the answer after 20 blocks, `l20`
        the last token. Of a comparison the first minus the second. Remembered per item."""
        if layer[:1] not in ("m", "l") or not layer[1:].isdigit() or not 0 < int(layer[1:]) <= self.network.depth:
            raise KeyError(f"no layer {layer!r}; this student has {', '.join(self.layers)}")
        encoded = self._encoded(items, "likelihood")
        self._extract([text for item in encoded for text in item], layer)
        sides = [[self._features[text.ids.tobytes(), layer] for text in item] for item in encoded]
        return np.array([s[0] if len(s) == 1 else s[0] - s[1] for s in sides], np.float32)

    def zero_shot(self, items: Items) -> Floats:
        """The untrained model's opinion, (n,): the label tokens' contrast where they are its head, else the answer's
        log-probability (of a comparison the first minus the second)."""
        kind = "label tokens" if self._kind(items.paired) == "label tokens" else "likelihood"
        return self._opinion(self._encoded(items, kind), self._reader(kind, items.paired))

    def in_context(self, items: Items, shown: Items, labels: ArrayLike) -> Floats:
        """Log-odds (n,) of the label tokens after the shown items with their labels (k,), in one prompt."""
        known = np.asarray(labels, np.float32)
        if known.shape != (len(shown),):
            raise InputError(f"{known.shape} labels for {len(shown)} shown items; give one each")
        examples = [(parts, bool(y > 0.5)) for parts, y in zip(shown.passages, known, strict=True)]
        encoded = self._prompter.labelled(items.passages, items.paired, examples)
        return self._opinion(self._counted(encoded), self._reader("label tokens", items.paired))

    def fit(
        self,
        items: Items,
        targets: ArrayLike,
        weights: ArrayLike | None = None,
        seed: int = 0,
        *,
        start: Head | None = None,
        effort: float = 1.0,
        rate: float = 1.0,
        moving: Moving | None = None,
    ) -> LoraHead:
        """Train adapters and a head on P(label = 1) targets, (n,), with non-negative weights (n,).

        effort multiplies the epochs, rate the learning rate. An item of weight 0 is left out. Moving targets are asked
        in every pass, for the few items it holds; such a training is not checkpointed.
        """
        if not (effort > 0 and rate > 0):
            raise InputError(f"effort is {effort} and rate is {rate}; both must be above 0")
        y, w = checked(len(items), targets, weights)
        rows = np.flatnonzero(w > 0)
        kind = self._kind(items.paired)
        encoded, reader = self._encoded(items[rows], kind), self._reader(kind, items.paired)
        self.network.prepare([text for item in encoded for text in item])
        train = _module("train")
        count = max(1, round(self.config.epochs * effort * len(rows) / self.config.batch))
        job = train.Job(
            encoded, rows, y[rows], (w[rows] / w[rows].mean()).astype(np.float32), seed, count,
            self.config.learning_rate * rate, moving,
        )  # fmt: skip
        before = self._started(start)
        head = self._first(encoded, reader, items.paired, seed)
        file = None if self.checkpoints is None or moving else self._file(job, before, head)
        return LoraHead(self, train.train(self.network, reader, job, before, head, file, self.progress), items.paired)

    def smaller(self, share: float) -> LoraStudent:
        """The same model with its upper blocks left out: an early exit at that share of its depth."""
        if not 0 < share <= 1:
            raise InputError(f"share is {share}; a smaller student has between 0 and 1 of the capacity")
        return LoraStudent(
            self.config,
            checkpoints=self.checkpoints,
            progress=self.progress,
            share=share * self.share,
            voice=self.voice,
        )

    def views(self) -> list[LoraStudent]:
        """Two depths of one model: two thirds of the blocks, and all."""
        return [self.smaller(2 / 3), self]

    def generate(self, prompts: Sequence[str], tokens: int, seed: int = 0) -> list[str]:
        """Text of at most `tokens` tokens that the model writes after each prompt, sampled: untrained, or as it was
        reinforced."""
        if tokens < 1:
            raise InputError(f"tokens is {tokens}; at least 1 must be written")
        written = [self._prompter.written(prompt) for prompt in prompts]
        if not written:
            return []
        writing = _module("generate")
        place = models.locate(self.config.model)
        plain = self.voice is None and self.share == 1 and (isinstance(place, str) or place.is_dir())
        if plain and writing.can_vllm(self.network):
            found: list[str] = writing.generate_vllm(str(place), written, tokens, seed, self.config.context)
            return found
        with self._speaking():
            texts: list[str] = writing.generate(self.network, written, tokens, seed, self.config.context)
        return texts

    def _speaking(self) -> AbstractContextManager[Any]:
        if self.voice is None:
            return nullcontext()
        found: AbstractContextManager[Any] = _module("grpo").wearing(self.model, self._voice(), self.voice)
        return found

    def reinforce(
        self,
        prompts: Sequence[str],
        reward: Reward,
        seed: int = 0,
        settings: Reinforcement | None = None,
        progress: Progress | None = None,
    ) -> Reinforced:
        """Train an adapter so that texts of high reward become likelier; this student itself stays as it is.

        Raises NotApplicable for a student that was reinforced before or runs only a part of its blocks.
        """
        if self.voice is not None or self.share < 1:
            raise NotApplicable("only a whole, untrained student can be reinforced; start from that one")
        written = [self._prompter.written(prompt) for prompt in prompts]
        tuned = _module("grpo").optimise(
            self.model, self.tokenizer, self._voice(), written, reward, settings or Reinforcement(), seed, progress
        )
        return Reinforced(self._like(1.0, tuned.state), tuned.rewards, tuned.lengths)

    def _like(self, share: float, voice: dict[str, Any] | None) -> LoraStudent:
        return LoraStudent(self.config, checkpoints=self.checkpoints, progress=self.progress, share=share, voice=voice)

    def _voice(self) -> Any:
        """The peft configuration of an adapter for writing: on every block, whatever is frozen otherwise."""
        peft = models.libraries()[2]
        return peft.LoraConfig(
            r=self.config.rank, lora_alpha=self.config.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        )

    def _kind(self, paired: bool) -> str:
        if self.config.head != "auto":
            return self.config.head
        return "scalar" if paired else "likelihood"

    @cached_property
    def _prompter(self) -> Prompter:
        return Prompter(self.tokenizer, self.config.context, self.config.chat)

    def _reader(self, kind: str, paired: bool) -> Reader:
        words = self._prompter.label_tokens(paired)[1:] if kind == "label tokens" else (0, 0)
        found: Reader = _module("heads").Reader(kind, words)
        return found

    def _encoded(self, items: Items, kind: str) -> list[Item]:
        """Raises NotApplicable where the problem ships no texts."""
        passages = items.passages
        if kind == "label tokens":
            return self._counted(self._prompter.labelled(passages, items.paired))
        return self._counted(self._prompter.answers(passages))

    def _counted(self, encoded: list[Item]) -> list[Item]:
        long = {text.ids.tobytes(): text.cut for item in encoded for text in item if text.cut}
        if long.keys() - self.cut.keys():
            warnings.warn(
                f"{len(long)} texts are longer than the context of {self.config.context} tokens and lost up to "
                f"{max(long.values())} tokens from the beginning of their question",
                stacklevel=2,
            )
        self.cut.update(long)
        return encoded

    def _started(self, start: Head | None) -> Floats | None:
        if start is None:
            return None
        if not isinstance(start, LoraHead) or start.student.share != self.share:
            raise InputError(f"a LoRA student cannot start from this {type(start).__name__}; give a head of its own")
        return start.parameters()

    def _first(self, encoded: list[Item], reader: Reader, paired: bool, seed: int) -> Floats:
        """The head's first numbers."""
        head = reader.first(self.network.loaded.width)
        if reader.kind == "likelihood" and not paired:
            chosen = np.random.default_rng(seed).permutation(len(encoded))[:CENTRED]
            head[1] = -head[0] * np.median(self._opinion([encoded[i] for i in chosen], reader))
        return head

    def _judged(self, items: Items, values: Floats, paired: bool) -> Floats:
        """Log-odds under a trained vector."""
        if items.paired != paired:
            raise InputError("this head was trained on " + ("comparisons" if paired else "single answers") + " alone")
        kind = self._kind(paired)
        reader = self._reader(kind, paired)
        with self.network.worn(reader.first(self.network.loaded.width)) as worn:
            if len(values) != sum(worn.sizes):
                raise InputError(f"{len(values)} parameters for a student of {sum(worn.sizes)}; give a head of its own")
            worn.write(_torch().from_numpy(values).to(self.network.loaded.device))
            return self._asked(self._encoded(items, kind), reader, worn.head)

    def _opinion(self, encoded: list[Item], reader: Reader) -> Floats:
        """What the untrained model says, before the likelihood head's scale and offset, (n,)."""
        plain = np.array([1, 0], np.float32)
        return self._asked(encoded, reader, _torch().tensor(plain, device=self.network.loaded.device))

    def _asked(self, encoded: list[Item], reader: Reader, head: Any) -> Floats:
        self.network.prepare([text for item in encoded for text in item])
        out = np.zeros(len(encoded), np.float32)

        def ask(rows: Any) -> Floats:
            with _torch().no_grad():
                found: Floats = reader.logits(self.network, [encoded[i] for i in rows], head).float().cpu().numpy()
            return found

        for rows, found in self.network.visit(_module("train").lengths(encoded), np.arange(len(encoded)), ask):
            out[rows] = found
        return out

    def _extract(self, texts: list[Encoded], layer: str) -> None:
        new = list({t.ids.tobytes(): t for t in texts if (t.ids.tobytes(), layer) not in self._features}.values())

        def take(rows: Any) -> None:
            part = [new[i] for i in rows]
            with _torch().no_grad():
                states = self.network.hidden(part, int(layer[1:])).float().cpu().numpy()
            for text, state in zip(part, states, strict=True):
                span = state[min(text.start, len(text) - 1) : len(text)]
                self._features[text.ids.tobytes(), layer] = span.mean(0) if layer[0] == "m" else span[-1].copy()

        self.network.visit([len(text) for text in new], np.arange(len(new)), take)

    def _file(self, job: Any, before: Floats | None, head: Floats) -> Path:
        """A checkpoint's name: a digest of everything that the result depends on."""
        assert self.checkpoints is not None
        quiet = replace(self.config, micro_tokens=1, threads=0, cache_bytes=0, checkpointing=None, save_every=1)
        digest = hashlib.sha256(repr((asdict(quiet), self.share, job.seed, job.steps, job.rate)).encode())
        for item in job.items:
            for text in item:
                digest.update(text.ids.tobytes() + b"|%d;" % text.start)
        for values in (job.targets, job.weights, head, np.zeros(0) if before is None else before):
            digest.update(np.ascontiguousarray(values).tobytes() + b"|")
        return self.checkpoints / f"{digest.hexdigest()[:24]}.pt"


def _module(name: str) -> Any:
    """A module of this package that needs torch, loaded on use."""
    return importlib.import_module(f"aarlab.w2s.students.lora.{name}")


def _torch() -> Any:
    return models.libraries()[0]
