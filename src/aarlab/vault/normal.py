"""When two method files are one method: the same syntax tree, whatever their comments and layout."""

from __future__ import annotations

import ast
import hashlib

from aarlab.errors import MethodError


def bundle_hash(source: str) -> str:
    """SHA-256 of the file; the artifact's address."""
    return hashlib.sha256(source.encode()).hexdigest()


def normal_hash(source: str) -> str:
    """SHA-256 of the syntax tree. Raises MethodError where there is none."""
    try:
        tree = ast.dump(ast.parse(source))
    except SyntaxError as error:
        raise MethodError("syntax", f"line {error.lineno}: {error.msg}") from None
    except (RecursionError, MemoryError, ValueError):
        raise MethodError("syntax", "the file nests too deeply or holds characters that Python refuses") from None
    return hashlib.sha256(tree.encode("utf-8", "surrogatepass")).hexdigest()
