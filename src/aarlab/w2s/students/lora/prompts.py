"""From passages to token ids: what the model reads, where its answer begins, and what is cut where it is too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aarlab.errors import InputError
from aarlab.w2s.task import Ints

Passage = tuple[str, ...]

_ASKED = {
    False: ("\n\nIs the answer above correct? Reply with True or False.", "\nCorrect:", ("True", "False")),
    True: ("\n\nWhich answer is better? Reply with A or B.", "\nBetter:", ("A", "B")),
}
"""By paired: the question in the chat template, the question in plain text, the words for label 1 and label 0."""


@dataclass(frozen=True)
class Encoded:
    """One text for the model. ids: (t,); start: the first token whose likelihood counts; cut: tokens left out."""

    ids: Ints
    start: int = 1
    cut: int = 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Prompter:
    """Writes items for one head. tokenizer: of transformers, a fast one."""

    tokenizer: Any
    context: int
    chat: bool = False

    def answers(self, passages: Sequence[Passage]) -> list[tuple[Encoded, ...]]:
        """Per item its question and answer as one text, or one text per side of a comparison."""
        return [tuple(self._answered(parts[0], answer) for answer in parts[1:]) for parts in passages]

    def labelled(
        self, passages: Sequence[Passage], paired: bool, shown: Sequence[tuple[Passage, bool]] = ()
    ) -> list[tuple[Encoded, ...]]:
        """Per item one text after which a label token follows; `shown`: items before it, with labels."""
        examples = "".join(self._example(parts, label, paired) for parts, label in shown)
        return [(self._asked(examples, parts, paired),) for parts in passages]

    def label_tokens(self, paired: bool) -> tuple[list[int], int, int]:
        """Tokens both label words begin with, then the token that tells label 1, and that of label 0."""
        space = "" if self.chat else " "
        yes, no = (self._ids(space + word) for word in _ASKED[paired][2])
        for at, (a, b) in enumerate(zip(yes, no, strict=False)):
            if a != b:
                return yes[:at], a, b
        raise InputError(f"this tokenizer cannot tell {_ASKED[paired][2]} apart; use the likelihood head")

    def written(self, prompt: str) -> str:
        """A prompt as the model reads it before it writes."""
        return self._template(prompt) if self.chat else prompt

    def _answered(self, question: str, answer: str) -> Encoded:
        before, kept = (question, 0)
        if self.chat and question.strip():
            before = self._template(question.strip())
            kept = before.index(question.strip())
        return self._encode(before + answer, len(before), kept)

    def _asked(self, examples: str, parts: Passage, paired: bool) -> Encoded:
        chat, plain, _ = _ASKED[paired]
        body = examples + _laid_out(parts, paired)
        common = self.label_tokens(paired)[0]
        if not self.chat:
            return self._encode(body + plain, len(body), 0, len(plain), common)
        content = (body + chat).strip()
        text = self._template(content)
        at = text.index(content)
        return self._encode(text, at, at, len(text) - at - len(content) + len(chat), common)

    def _example(self, parts: Passage, label: bool, paired: bool) -> str:
        _, plain, words = _ASKED[paired]
        return f"{_laid_out(parts, paired)}{plain} {words[0] if label else words[1]}\n\n"

    def _template(self, content: str) -> str:
        if not self.tokenizer.chat_template:
            raise InputError("this model's tokenizer has no chat template; use chat=False")
        text: str = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        return text

    def _encode(self, text: str, answer: int, kept: int, tail: int = 0, after: Sequence[int] = ()) -> Encoded:
        """Characters: the answer begins at `answer`; the first `kept` and the last `tail` are never cut. `after`: token
        ids appended. Cuts from the left of what lies between."""
        found = self.tokenizer(text, return_offsets_mapping=True, add_special_tokens=not self.chat)
        ends = np.array([end for _, end in found["offset_mapping"]], np.int64)
        head, last = int((ends <= kept).sum()) if kept else 0, int((ends > len(text) - tail).sum()) if tail else 1
        room = self.context - head - len(after)
        if room <= last:
            raise InputError(
                f"context is {self.context} tokens; what frames an item takes {head + last + len(after)} and the item "
                "must have room too: give more"
            )
        cut = max(0, len(ends) - head - room)
        ids = [*found["input_ids"][:head], *found["input_ids"][head + cut :], *after]
        start = int((ends <= answer).sum()) - cut
        return Encoded(np.array(ids, np.int64), min(max(start, head, 1), len(ids)), cut)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def _laid_out(parts: Passage, paired: bool) -> str:
    if not paired:
        return parts[0] + parts[1]
    question = f"{parts[0].strip()}\n\n" if parts[0].strip() else ""
    return f"{question}Answer A: {parts[1].strip()}\n\nAnswer B: {parts[2].strip()}"
