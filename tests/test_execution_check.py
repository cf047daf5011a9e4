"""Judging method files by their syntax tree."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.errors import MethodError
from aarlab.execution.check import MOST_BYTES, check_source, normalise

GOOD = "import numpy as np\n\ndef run(task, seed):\n    return np.full(len(task.test), 0.5)\n"


@pytest.mark.parametrize(
    "source",
    [
        GOOD,
        "def run(task, seed=0): pass",
        "def run(*args): pass",
        "def run(task, seed, scale=1.0): pass",
        "def run(a): pass\ndef run(task, seed): pass",
    ],
)
def test_a_method_file_passes(source: str) -> None:
    """Anything with a top-level `run` that can be called as run(task, seed)."""
    check_source(source)


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        ("def run(task, seed):\n  return (", "syntax", "line 2"),
        ("def run(task, seed):\nreturn 1", "syntax", "line 2"),
        ("x = 1\0", "syntax", "null byte"),
        ("\udc80", "syntax", "not text"),
        ("(" * 5000 + ")" * 5000, "syntax", "too deeply|too many"),
        ("x = " + "1+" * 30_000 + "1", "syntax", "nested too deeply"),
        ("def train(task, seed): pass", "no-run", "no function `run`"),
        ("class run: pass", "no-run", "no function `run`"),
        ("async def run(task, seed): pass", "no-run", "no function `run`"),
        ("if True:\n    def run(task, seed): pass", "no-run", "no function `run`"),
        ("def run(task): pass", "no-run", "line 1"),
        ("x = 1\ndef run(task, seed, extra): pass", "no-run", "line 2"),
        ("def run(task, seed, *, key): pass", "no-run", "line 1"),
        ("#" * (MOST_BYTES + 1), "too-large", str(MOST_BYTES)),
        (f"X = 0x{'7' * 5000}", "syntax", "integer"),
        ("é" * (MOST_BYTES // 2 + 1), "too-large", str(MOST_BYTES)),
        ("", "no-run", "no function `run`"),
    ],
)
def test_what_is_no_method_file_is_refused_with_its_line(source: str, reason: str, words: str) -> None:
    """One sentence with a fixed reason; the line is named where there is one."""
    with pytest.raises(MethodError, match=words) as caught:
        check_source(source)
    assert caught.value.reason == reason


def test_nothing_is_executed_at_the_door() -> None:
    """Top-level code, decorators and defaults stay text."""
    check_source("raise SystemExit(1)\n@print\ndef run(task, seed=exit(3)): pass")


def test_comments_and_layout_do_not_change_the_hash() -> None:
    """A comment, blank lines and spaces leave the normal hash alone; a changed number does not."""
    other = (
        "# a comment\nimport numpy  as  np\n\n\n\ndef run(task,seed):\n  return np.full( len(task.test),0.5 )  # half"
    )
    assert normalise(GOOD) == normalise(other)
    assert normalise(GOOD) != normalise(GOOD.replace("0.5", "0.25"))


@given(st.text(max_size=200))
def test_no_text_breaks_the_check(text: str) -> None:
    """Whatever arrives, the answer is acceptance or a MethodError."""
    with contextlib.suppress(MethodError):
        check_source(text)
        assert "run" in text
