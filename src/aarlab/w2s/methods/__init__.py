"""Complete method files, one method each. Read one, copy it, change it, submit it.

A file starts with comment lines that say what it is:

    # name: confident-weak-labels
    # family: data filtering                 one of FAMILIES
    # track: inductive                       what it may use, a track of the problems' policies
    # origin: human baselines, 2026 study    where it comes from
    # claim: PGR 0.23 on chat preference     what its source reports, where it reports a number

then a docstring with mechanism, equation and source, then `run(task, seed)`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from importlib import resources

from aarlab.errors import UnknownName

SHOWN = ("weak-labels-hard", "weak-labels-soft", "confident-weak-labels", "zero-shot-elicitation")
"""The baselines that every researcher of a lab is shown with their scores; the Ladder starts at one of them."""

FAMILIES = (
    "self-training", "ensemble", "distillation", "data filtering", "confidence weighting", "loss function",
    "unsupervised elicitation", "curriculum", "model internal", "evolutionary", "other",
)  # fmt: skip
"""The families into which the 2026 study sorts ideas."""


@dataclass(frozen=True)
class About:
    """What a method file says of itself. `title`: the first sentence of its docstring."""

    name: str
    family: str
    origin: str
    title: str
    track: str
    claim: str = ""


def names() -> list[str]:
    """The names of all methods here, as submissions and reports write them."""
    files = (p.name for p in resources.files(__name__).iterdir())
    return sorted(f[:-3].replace("_", "-") for f in files if f.endswith(".py") and not f.startswith("_"))


def source(name: str) -> str:
    """The text of a method file. Raises UnknownName."""
    if name not in names():
        raise UnknownName(f"there is no method {name!r}; known methods: {', '.join(names())}")
    return resources.files(__name__).joinpath(f"{name.replace('-', '_')}.py").read_text("utf-8")


def about(name: str) -> About:
    """The header of a method file. Raises UnknownName."""
    text = source(name)
    header = dict(re.findall(r"^# (name|family|track|origin|claim): (.+)$", text.split('"""', 1)[0], re.MULTILINE))
    words = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    return About(title=" ".join(words.split()), **header)


def track(source: str) -> str:
    """The track in a method file's header; "inductive" where it names none."""
    found = re.search(r"^# track: (\S+)", source[:4000], re.MULTILINE)
    return found[1] if found else "inductive"
