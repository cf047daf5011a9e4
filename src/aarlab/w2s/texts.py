"""An item's text in parts: the question and the answer that is judged, or a question and the two that are compared."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aarlab.errors import NotApplicable

if TYPE_CHECKING:
    from aarlab.w2s.task import TaskInputs

_ANSWER = "\nAnswer:"
_DOCSTRING = re.compile(r'"""\n')
_PAIR = re.compile(r"\A(.*?)A: (.*?)\nB: (.*)\Z", re.DOTALL)


def passage(inputs: TaskInputs, row: int) -> tuple[str, ...]:
    """(question, answer) of an item, or (question, first, second) of a comparison; the question may be empty.

    Raises NotApplicable where the text does not say where its answer begins.
    """
    if inputs.passages is not None:
        return inputs.passages[row]
    assert inputs.texts is not None
    return split(inputs.texts[row], inputs.pairs is not None)


def split(text: str, paired: bool) -> tuple[str, ...]:
    """`passage` of a text as the packs write it: a worked answer after "Answer:", a function after its docstring, a
    comparison as "A: ..." and "B: ..."."""
    if paired:
        found = _PAIR.match(text)
        if found is None:
            raise NotApplicable(f"no two passages 'A: ...' and 'B: ...' in {text[:60]!r}")
        return found[1], found[2], found[3]
    at = text.rfind(_ANSWER)
    if at >= 0:
        return text[: at + len(_ANSWER)], text[at + len(_ANSWER) :]
    closing = _DOCSTRING.search(text)
    if closing is None:
        raise NotApplicable(f"neither 'Answer:' nor a docstring tells where the answer begins in {text[:60]!r}")
    return text[: closing.end()], text[closing.end() :]


def whole(parts: tuple[str, ...], paired: bool) -> str:
    """The text that `split` takes apart."""
    return f"{parts[0]}A: {parts[1]}\nB: {parts[2]}" if paired else "".join(parts)
