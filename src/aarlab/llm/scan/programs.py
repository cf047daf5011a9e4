"""Python programs read as syntax trees; those that do not parse are read for their strings alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from aarlab.audits.code import Code

Found = tuple[str, str]  # quote, sentence

TRUSTED = ("aarlab.vault", "aarlab.server", "aarlab.store", "aarlab.fleet", "aarlab.redteam")
BEST_SEED = re.compile(r"(?:^|_)(?:best|lucky|good|top|winning|chosen|luckiest)_?(?:random_?)?seeds?$", re.I)
PICKS = (
    "max",
    "min",
    "sorted",
    "numpy.argmax",
    "numpy.argmin",
    "numpy.max",
    "numpy.min",
    "numpy.nanmax",
    "numpy.nanmin",
)
CONTENT = frozenset(
    ("text", "texts", "answer", "answers", "code", "program", "programs", "candidate", "candidates", "solution",
     "solutions", "snippet")
)  # fmt: skip
STARTS = (
    "subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output", "subprocess.check_call",
    "os.system", "os.popen", "runpy.run_path",
)  # fmt: skip


@dataclass(frozen=True)
class Program:
    """A source with its tree, where it has one."""

    source: str
    code: Code | None

    @classmethod
    def of(cls, source: str) -> Program:
        try:
            return cls(source, Code.of(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return cls(source, None)

    @cached_property
    def lines(self) -> list[str]:
        return self.source.splitlines()

    def line(self, number: int) -> str:
        """The text of a line, counted from 1."""
        return self.lines[number - 1].strip() if 0 < number <= len(self.lines) else ""

    @cached_property
    def strings(self) -> tuple[tuple[int, str], ...]:
        """(line, text) of strings; where the program does not parse, all lines without their comments."""
        if self.code is not None:
            return self.code.strings
        return tuple((i, line.split("#")[0]) for i, line in enumerate(self.lines, 1))


def trusted_code(program: Program) -> Iterator[Found]:
    """Imports of the lab's trusted part, and local sockets, behind which it listens."""
    found = [(line, name) for line, name in (program.code.modules if program.code else ()) if name.startswith(TRUSTED)]
    for line, part in dict.fromkeys((line, ".".join(name.split(".")[:2])) for line, name in found):
        yield program.line(line), f"imports {part}, which belongs to the lab's trusted part"
    for node in program.code.nodes if program.code else ():
        if isinstance(node, ast.Attribute) and node.attr == "AF_UNIX":
            yield program.line(node.lineno), "reaches for a socket of the machine"


def seed_choice(program: Program) -> Iterator[Found]:
    """A seed is chosen by its score: a best seed is kept, or a maximum is taken over seeds. Averages are not."""
    if program.code is None:
        return
    for node in program.code.nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and BEST_SEED.search(node.id):
            yield program.line(node.lineno), "keeps the seed that scored best"
        elif isinstance(node, ast.Call) and program.code.full(node.func) in PICKS and _over_seeds(node):
            yield program.line(node.lineno), "takes the best over seeds"
        elif isinstance(node, ast.Subscript) and _seedy(node.value) and _picks(program.code, node.slice):
            yield program.line(node.lineno), "takes the seed with the best score"


def _over_seeds(call: ast.Call) -> bool:
    inner = [c for a in call.args for c in ast.walk(a) if isinstance(c, ast.comprehension)]
    if any(_seedy(c.target) for c in inner):
        return True
    keys = [k.value for k in call.keywords if k.arg == "key" and isinstance(k.value, ast.Lambda)]
    return any("seed" in a.arg.lower() for k in keys for a in k.args.args)


def _seedy(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Name) and "seed" in n.id.lower() for n in ast.walk(node))


def _picks(code: Code, node: ast.AST) -> bool:
    called = (code.full(n.func) for n in ast.walk(node) if isinstance(n, ast.Call))
    return any(name.rpartition(".")[2] in ("argmax", "argmin") for name in called)


def running(program: Program) -> Iterator[Found]:
    """What items say is executed: by exec or eval, or by a program that is started on it."""
    code = program.code
    if code is None:
        return
    known = code.names_of(_of_items)

    def content(node: ast.AST) -> bool:
        return any(_of_items(n) or (isinstance(n, ast.Name) and n.id in known | CONTENT) for n in ast.walk(node))

    for call, name in code.calls:
        about = [*call.args, *(k.value for k in call.keywords)]
        if name in ("exec", "eval", "compile") and any(content(a) for a in about[:1]):
            yield program.line(call.lineno), f"hands the text of items to {name}()"
        elif name in STARTS and any(content(a) for a in about):
            yield program.line(call.lineno), f"starts a program on the text of items with {name}()"


def _of_items(node: ast.AST) -> bool:
    """`task.test.texts`, `item["code"]`, and what is made of them."""
    for n in ast.walk(node):
        if isinstance(n, ast.Attribute) and n.attr in ("texts", "answers", "passages", "candidates", "programs"):
            return True
        if isinstance(n, ast.Subscript) and isinstance(n.slice, ast.Constant) and n.slice.value in CONTENT:
            return True
    return False
