"""Reading source in many threads."""

from __future__ import annotations

import ast
import gc
import inspect
import threading
from collections.abc import Iterator

import pytest

from aarlab import settings, syntax


@pytest.fixture
def busy_collector() -> Iterator[None]:
    """A callback of the garbage collector, as some libraries set one: threads change while it runs."""

    def callback(phase: str, info: dict[str, int]) -> None:
        for _ in range(200):
            pass

    gc.callbacks.append(callback)
    yield
    gc.callbacks.remove(callback)


def test_good_files_are_read_by_many_threads_at_once(busy_collector: None) -> None:
    source, errors = inspect.getsource(settings), []

    def read(depth: int) -> None:
        if depth:
            return read(depth - 1)
        try:
            for _ in range(30):
                syntax.parse(source)
        except SystemError as error:
            errors.append(error)

    threads = [threading.Thread(target=read, args=(10 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_what_never_works_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def broken(source: str) -> ast.Module:
        asked.append(source)
        raise SystemError("recursion depth mismatch")

    monkeypatch.setattr(ast, "parse", broken)
    with pytest.raises(SystemError):
        syntax.parse("x = 1")
    assert len(asked) == syntax.TRIES


@pytest.mark.parametrize("source", ["x = (", "x = 1\0"])
def test_what_is_no_python_is_said_once(source: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        syntax.parse(source)
