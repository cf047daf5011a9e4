"""The same problem about another person, other things, colours and places; its numbers and sums stay."""

from __future__ import annotations

import re
from random import Random

from aarlab.problems.w2s_math.stories import COLOURS, NAMES, PLACES, THINGS

ANSWER = "\nAnswer:"
KINDS = (NAMES, THINGS, COLOURS, PLACES)
_WORD = re.compile(r"[A-Za-z]+")


def reword(text: str, salt: str) -> str:
    """Every word of a kind becomes another word of its kind, the same one wherever it stands."""
    question = text[: text.index(ANSWER)]
    r = Random(f"{salt} {question}")
    new: dict[str, str] = {}
    for kind in KINDS:
        used = [w for w in dict.fromkeys(_WORD.findall(question)) if w in kind]
        new |= dict(zip(used, r.sample([w for w in kind if w not in used], len(used)), strict=True))
    return _WORD.sub(lambda m: new.get(m[0], m[0]), text)


def parts(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What the model reads of some texts, as `problems.drafts.Draft` names it."""
    return {"rows": texts, "prefixes": tuple(t[: t.index(ANSWER) + len(ANSWER)] for t in texts)}
