"""Building data packs from the command line, with progress, and fresh secret packs for a run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.progress import Progress, TextColumn, TimeRemainingColumn

from aarlab.errors import InputError
from aarlab.problems import base, build


def report_build(name: str, out: Path | None, from_scratch: bool, fresh: bool) -> str:
    """Rebuild a pack and compare it with the shipped one (`--from-scratch`), or draw new items (`--fresh`)."""
    shipped = base.load(name, check=True)
    if not (from_scratch or fresh):
        raise InputError(f"say what to build: `aarlab problem build {name} --from-scratch` or `--fresh`")
    target = out or Path("cache") / name
    with bar() as progress:
        build.build(name, target, fresh=fresh, progress=progress)
    if fresh:
        return f"{target}: a fresh pack; run it with a lab.toml or `aarlab run {name} --fresh`"
    return str(build.compare(target, shipped.folder))


def fresh(name: str) -> Path:
    """A new secret pack in a private temporary folder; the lab moves it into its vault."""
    target = Path(tempfile.mkdtemp(prefix="aarlab-fresh-"))
    with bar() as progress:
        build.build(name, target, fresh=True, progress=progress)
    return target
