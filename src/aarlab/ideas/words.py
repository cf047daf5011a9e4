"""Rules that sort a post into a family by its words. Less sure than rules on code: people name what they leave out."""

from __future__ import annotations

import json
import re

from aarlab.errors import InputError
from aarlab.ideas.code import classify_code
from aarlab.w2s.compose import Recipe

SIGNS: dict[str, str] = {
    "self-training": r"self[- ]?train|pseudo[- ]?label|born[- ]again|relabel|bootstrap(?:ping|ped)|own predictions",
    "ensemble": r"ensemble|committee|bagg|majority vot|product of (?:experts|opinions)|averag\w+ (?:several|of) heads"
    r"|teacher and (?:the )?(?:untrained )?student|both opinions|mixture|co-?training",
    "distillation": r"distil|teacher'?s? probabilities|soft targets|kl divergence|student learn\w* from a student",
    "data filtering": r"filter|discard|drop(?:ping|ped)? (?:items|labels|examples|the)|keep(?:ing)? only|surest"
    r"|prun(?:e|ing)|subset of (?:the )?items|small[- ]loss|select\w* items",
    "confidence weighting": r"re-?weight|weight(?:ed|ing|s)?\b|noisy[- ]channel|posterior|\bEM\b|label smooth|learnab"
    r"|temper(?:ed|ature)|calibrat|trust(?:ed)? more",
    "loss function": r"loss function|auxiliary loss|confidence loss|regulari[sz]|focal|hinge|entropy (?:penalty|term)"
    r"|gradient clip",
    "unsupervised elicitation": r"elicit|zero[- ]?shot|without (?:a |the )?(?:teacher|labels?)"
    r"|already (?:knows|believes)|in[- ]context|logical consisten",
    "curriculum": r"curricul|easy (?:items )?first|easy[- ]to[- ]hard|warm[- ]?up|in stages|two[- ]stage|anneal",
    "model internal": r"\blayers?\b|hidden state|activation|probe|steering|truth direction|\bccs\b|principal comp"
    r"|bottleneck|internals|residual stream|attention head",
    "evolutionary": r"evolution|genetic|mutat|cross(?:ed|over)\b|random search|hill[- ]climb|population of",
}
"""Words of each family; "other" has none."""

TITLE = 2
"""How much a sign in the title counts."""


def classify_text(text: str, title: str = "") -> str | None:
    """The family that most different signs of a post point to; None where none does, or two equally many.

    A post that carries a recipe (`aarlab.w2s.compose`) is sorted by the method that the recipe writes.
    """
    recipe = _recipe(text)
    if recipe is not None:
        return classify_code(recipe.source())
    counts = {family: _count(pattern, text) + TITLE * _count(pattern, title) for family, pattern in SIGNS.items()}
    most = max(counts.values())
    first = [family for family, n in counts.items() if n == most]
    return first[0] if most and len(first) == 1 else None


def _count(pattern: str, text: str) -> int:
    """How many different words of a family a text has."""
    return len({m.lower() for m in re.findall(pattern, text[:20_000], re.IGNORECASE)})


def _recipe(text: str) -> Recipe | None:
    found = re.search(r"^Recipe: `(\{.*\})`", text, re.MULTILINE)
    if found is None:
        return None
    try:
        return Recipe.from_changes(json.loads(found[1]))
    except (ValueError, TypeError, InputError):
        return None
