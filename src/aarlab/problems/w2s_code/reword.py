"""The same function under another name, with other names of its parameter and variables."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from itertools import pairwise
from random import Random

FUNCTIONS = ("compute", "solve", "answer", "apply", "g", "run")
PARAMETERS = ("values", "data", "given", "inputs", "arg", "z")
VARIABLES = ("a", "b", "c", "h", "p", "q", "r", "t", "u", "item", "entry", "acc", "temp", "final", "good", "new")


def reword(text: str, salt: str) -> str:
    """Lines, layout and meaning stay; the docstring speaks of the parameter by its new name."""
    new = _names(text, salt)
    lines = text.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for before, token in reversed(list(pairwise(tokens))):
        (row, begin), (_, end) = token.start, token.end
        if token.type == tokenize.NAME and before.string != ".":
            written = new.get(token.string, token.string)
        elif token.type == tokenize.STRING and token.string.startswith('"""'):
            written = re.sub(r"(?<= in )\w+", lambda m: new.get(m[0], m[0]), token.string)
        else:
            continue
        lines[row - 1] = lines[row - 1][:begin] + written + lines[row - 1][end:]
    return "".join(lines)


def _names(text: str, salt: str) -> dict[str, str]:
    """New names. Functions with one docstring get one name and one parameter."""
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    shared, own = Random(f"{salt} {ast.get_docstring(function)}"), Random(f"{salt} {text}")
    nodes = list(ast.walk(function))
    bound = {n.arg for n in nodes if isinstance(n, ast.arg)}
    bound |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    parameter = function.args.args[0].arg
    inner = sorted(bound - {parameter})
    new = dict(zip(inner, own.sample([v for v in VARIABLES if v not in bound], len(inner)), strict=True))
    return {**new, function.name: shared.choice(FUNCTIONS), parameter: shared.choice(PARAMETERS)}


def parts(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What the model reads of some texts, as `problems.drafts.Draft` names it."""
    heads = tuple(t[: t.index("\n") + 1] for t in texts)
    ends = [t.index('"""\n') + 4 for t in texts]
    return {
        "rows": texts,
        "prefixes": tuple(t[:end] for t, end in zip(texts, ends, strict=True)),
        "controls": tuple(head + t[end:] for head, t, end in zip(heads, texts, ends, strict=True)),
        "control_prefixes": heads,
    }
