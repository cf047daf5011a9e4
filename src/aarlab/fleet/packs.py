"""Building data packs from the command line, with progress, and fresh secret packs for a run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from aarlab.errors import InputError
from aarlab.problems import base, build, new


def build_pack(name: str, out: Path | None, from_scratch: bool, fresh: bool) -> str:
    """Rebuild a pack and compare it with the shipped one (`--from-scratch`), or draw new items (`--fresh`)."""
    shipped = base.load(name, check=True)
    if not (from_scratch or fresh):
        raise InputError(f"say what to build: `aarlab problem build {name} --from-scratch` or `--fresh`")
    target = out or Path("cache") / name
    with bars() as progress:
        built = build.build(name, target, fresh=fresh, progress=progress)
    return str(built) if fresh else f"{built}\n{build.compare(target, shipped.folder)}"


def from_paper_data(folder: Path, source: Path, options: new.Options) -> new.Made:
    """Make a problem folder out of a data folder."""
    with bars() as progress:
        return new.from_paper_data(folder, source, options, progress=progress)


def fresh(name: str) -> Path:
    """A new secret pack in a private temporary folder; the lab copies it into its vault."""
    target = Path(tempfile.mkdtemp(prefix="aarlab-fresh-"))
    with bars() as progress:
        build.build(name, target, fresh=True, progress=progress)
    return target


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """One progress bar per step of a build, each with the time left."""
    columns = (TextColumn("{task.description:32}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def step(what: str, done: int, total: int) -> None:
        progress.start()  # not before: an error on the way to the first step leaves the terminal as it is
        if what not in tasks:
            tasks[what] = progress.add_task(what, total=total)
        progress.update(tasks[what], completed=done, total=total)

    try:
        yield step
    finally:
        if tasks:
            progress.stop()
