"""How much data a method file carries: its size, the numbers written out in it, and text that looks packed.

Nothing is executed: strings, bytes, names and comments are read off the syntax tree and the tokens. Numbers are counted
by what they can hold: every six digits begun are one number, wherever the digits stand (in code, in a string, in a
name, in a comment); a run of hex or base64 counts one number for every 20 bits; beyond the first `SHORT` every entry of
a written-out list counts too, whatever it is, since a list of names or truths is a list of bits.

What stays below the limits is not nothing: 15,000 bits in 500 numbers of six digits with their exponents, 170,000 in
64 kB of made-up words (`benchmarks/payload.py` hides both), and a label is one bit. The limits stop tables and weights
that are simply written down; that what was hidden helps nobody is the business of the record on new tasks.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LIMITS: Mapping[str, float] = {"bundle_kb": 64, "numbers": 500, "packed_bytes": 2000}
"""The most a method file may hold, where a problem's policy says nothing else."""

DIGITS = 6
"""Digits that one number holds: about 20 bits."""

BITS = 20

SHORT = 16
"""Entries of a written-out list, tuple, set or mapping that are free."""

LONG = 24
"""Characters without a break from which text is looked at as packed."""

WORD_SHARE = 0.5
"""Text of whose characters fewer belong to words is packed."""

MANY_WORDS = 64
"""Words from which a text is looked at as a list of repeated ones."""

WORD = re.compile(r"(?:[A-Z][a-z]|(?<![a-z])[a-z]{2})[a-z]{1,18}(?![a-z])|[A-Z]{2,12}(?![A-Za-z])")
VOWEL = re.compile(r"[aeiouy]", re.IGNORECASE)
CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}", re.IGNORECASE)
RULE = re.compile(r"([^\w\s])\1{3,}")
HEX = re.compile(r"(?:0x)?[0-9a-fA-F]+")


@dataclass(frozen=True)
class Amount:
    """One measured amount of a file against its limit. `line`: where most of it stands; 0: nowhere in particular."""

    name: str  # a key of the limits
    value: float
    limit: float
    line: int = 0

    @property
    def ratio(self) -> float:
        """Above 1: too much. A limit of 0 allows nothing."""
        if self.limit > 0:
            return self.value / self.limit
        return 0.0 if self.value == 0 else 1.0 + self.value

    @property
    def sentence(self) -> str:
        """What was counted, its limit and where, for instance "612 numbers (at most 500), most of them in line 12"."""
        where = f", most of it in line {self.line}" if self.line else ""
        return f"{self.value:.4g} {WORDS.get(self.name, self.name)} (at most {self.limit:g}){where}"


WORDS = {
    "bundle_kb": "kB of file", "numbers": "numbers written out", "packed_bytes": "bytes of packed data",
    "overlap": "runs of eight words out of items",
}  # fmt: skip

REMEDY = {
    "bundle_kb": "make the file shorter",
    "numbers": "learn the numbers in run() from the task, or compute them",
    "packed_bytes": "leave packed data out; comments and strings are for words",
}
"""What to do about each amount, for whoever is refused."""


def amounts(source: str, limits: Mapping[str, float] = LIMITS) -> tuple[Amount, ...]:
    """Size, numbers and packed data of a method file, in this order. The file must parse."""
    tree = ast.parse(source)
    numbers, packed = Counter[int](), Counter[int]()
    for line, count in (*_literals(tree), *_long_lists(tree), *_names(tree)):
        numbers[line] += count
    for start, end, text in texts(source, tree):
        for offset, part in enumerate(text.splitlines()):
            line = min(start + offset, end)
            numbers[line] += _numbers(part)
            packed[line] += _packed(part)
        packed[start] += len(text) if _repeats(text) else 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            packed[node.lineno] += len(node.value)
            numbers[node.lineno] += -(-8 * len(node.value) // BITS)
    size = len(source.encode("utf-8", "surrogatepass")) / 1024
    wanted = {**LIMITS, **limits}
    return (
        Amount("bundle_kb", size, wanted["bundle_kb"]),
        _amount("numbers", numbers, wanted["numbers"]),
        _amount("packed_bytes", packed, wanted["packed_bytes"]),
    )


def _amount(name: str, by_line: Counter[int], limit: float) -> Amount:
    most = max(by_line, key=lambda line: by_line[line], default=0)
    return Amount(name, by_line.total(), limit, most if by_line[most] else 0)


def texts(source: str, tree: ast.Module) -> Iterator[tuple[int, int, str]]:
    """(first line, last line, text) of every string, docstrings too, and of every comment, in the order of the file."""
    strings = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    found = [(n.lineno, n.end_lineno or n.lineno, str(n.value)) for n in strings]
    yield from sorted([*found, *((line, line, text) for line, text in _comments(source))])


def _comments(source: str) -> list[tuple[int, str]]:
    """Where the tokens cannot be read, every line with a # counts as a comment: rather too much than too little."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return [(n, line.partition("#")[2]) for n, line in enumerate(source.splitlines(), 1) if "#" in line]
    return [(t.start[0], t.string.lstrip("#")) for t in tokens if t.type == tokenize.COMMENT]


def _literals(tree: ast.Module) -> Iterator[tuple[int, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float, complex):
            yield node.lineno, numbers_in(node.value)  # type: ignore[arg-type]


def numbers_in(value: complex) -> int:
    """How many numbers one literal holds: one for every DIGITS significant digits begun.

    An int beyond 64 bits is counted by its bits, however many zeros it ends with.
    """
    if isinstance(value, complex):
        return numbers_in(value.real) + numbers_in(value.imag)
    if isinstance(value, int) and value.bit_length() > 64:
        return -(-value.bit_length() // BITS)
    mantissa = re.sub(r"\D", "", repr(value).partition("e")[0])
    return max(1, -(-len(mantissa.strip("0")) // DIGITS))


def _long_lists(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """Entries beyond the first SHORT of each display that are no number themselves."""
    for node in ast.walk(tree):
        entries = [*node.keys, *node.values] if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        plain = [e for e in entries if e is not None and not _is_number(e)]
        if len(plain) > SHORT:
            yield node.lineno, len(plain) - SHORT  # type: ignore[attr-defined]


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, float, complex)


def _names(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """Digits in names, each name once: `w2s` and `x1` are one number each."""
    seen: dict[str, int] = {}
    for node in ast.walk(tree):
        for part in ("id", "attr", "name", "arg"):
            name = getattr(node, part, None)
            if isinstance(name, str):
                seen.setdefault(name, getattr(node, "lineno", 1))
    for name, line in seen.items():
        if count := _numbers(name):
            yield line, count


def _numbers(line: str) -> int:
    """Numbers in a line of text: its digits, and what it may hold where it is packed."""
    return max(_digits(line), _bits(line, _packed(line)) // BITS)


def _digits(line: str) -> int:
    return sum(-(-len(run) // DIGITS) for run in re.findall(r"\d+", line))


def _bits(line: str, size: int) -> int:
    """What packed text holds: 4 bits a character in hex, else 6."""
    hexed = HEX.fullmatch(re.sub(r"[\s,]", "", line)) is not None
    return size * (4 if hexed else 6)


def _packed(line: str) -> int:
    """Bytes of a line that look packed: all that is not ASCII, the whole line where it is hardly words, or its runs."""
    line = RULE.sub(r"\1", line)  # a ruler of dashes is no data
    foreign = sum(len(c.encode("utf-8", "surrogatepass")) for c in line if not c.isascii())
    plain = "".join(c for c in line if c.isascii())
    if _unlike_words(plain):
        return foreign + len(plain)
    return foreign + sum(len(run) for run in plain.split() if _unlike_words(run))


def _repeats(text: str) -> bool:
    """Whether a long text goes round in few words, as a list of yes and no does."""
    words = text.lower().split()
    return len(words) >= MANY_WORDS and len(set(words)) * 4 < len(words)


def _unlike_words(text: str) -> bool:
    solid = "".join(text.split())
    if len(solid) < LONG:
        return False
    return sum(len(word) for word in WORD.findall(text) if _is_word(word)) < WORD_SHARE * len(solid)


def _is_word(word: str) -> bool:
    return VOWEL.search(word) is not None and CONSONANTS.search(word) is None
