"""What was read in method files, by the hash of the file, which is its address: one is read once, whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aarlab.dashboard.kept import Kept
from aarlab.ideas.complexity import Complexity, complexity
from aarlab.ideas.families import By
from aarlab.ideas.gather import of_code

FAMILY: Kept[str, Mapping[By, str]] = Kept(30_000)
SIZE: Kept[str, tuple[Complexity | None]] = Kept(30_000)


def family_of(folder: Path, bundle_hash: str) -> Mapping[By, str] | None:
    """A method file's family in the words of its header and of rules; None where the file of the lab is gone."""
    found = FAMILY.get(bundle_hash)
    if found is None and (text := _source(folder, bundle_hash)) is not None:
        found = FAMILY.put(bundle_hash, of_code(text))
    return found


def size_of(folder: Path, bundle_hash: str) -> Complexity | None:
    """How much code a method file is; None where it is gone or no Python."""
    found = SIZE.get(bundle_hash)
    if found is None and (text := _source(folder, bundle_hash)) is not None:
        found = SIZE.put(bundle_hash, (complexity(text),))
    return None if found is None else found[0]


def _source(folder: Path, bundle_hash: str) -> str | None:
    try:
        return (folder / "artifacts" / f"{bundle_hash}.py").read_text("utf-8", "replace")
    except OSError:
        return None
