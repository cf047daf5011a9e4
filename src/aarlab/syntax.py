"""Python source as a tree, read safely by many threads at once."""

from __future__ import annotations

import ast

TRIES = 20


def parse(source: str) -> ast.Module:
    """`ast.parse`. Raises what it raises: SyntaxError, ValueError, RecursionError, MemoryError.

    CPython 3.11 counts the depth of a tree under construction once for the whole process. If another thread parses
    meanwhile (the interpreter changes threads there where a garbage collector's callback runs), the count does not
    agree and a good file raises SystemError. It is read again then.
    """
    for _ in range(TRIES - 1):
        try:
            return ast.parse(source)
        except SystemError:
            continue
    return ast.parse(source)
