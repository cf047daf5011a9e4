"""Audits: what does a method depend on? One file, one audit; `run.Examiner` makes them, `policy` judges them."""

from __future__ import annotations

from functools import cache
from importlib import import_module, resources
from inspect import getmembers, isclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aarlab.audits.base import Audit

NOT_AUDITS = ("base", "measure", "run", "policy")


@cache
def every() -> tuple[Audit, ...]:
    """One of each audit of this folder: those that read only the file first, the dearest last, then by name."""
    from aarlab.audits.base import LEVELS, Audit

    found: list[Audit] = []
    for file in sorted(p.name for p in resources.files(__name__).iterdir() if p.name.endswith(".py")):
        stem = file.removesuffix(".py")
        if stem.startswith("_") or stem in NOT_AUDITS:
            continue
        module = import_module(f"{__name__}.{stem}")
        own = [c for _, c in getmembers(module, isclass) if issubclass(c, Audit) and c.__module__ == module.__name__]
        found += [c() for c in own if "name" in c.__dict__]
    return tuple(sorted(found, key=lambda a: (LEVELS.index(a.level), a.name)))
