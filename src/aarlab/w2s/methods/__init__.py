"""Complete method files, one method each: the shown baselines. Read one, copy it, change it, submit it."""

from __future__ import annotations

from importlib import resources

from aarlab.errors import UnknownName


def names() -> list[str]:
    """The names of all methods here, as submissions and reports write them."""
    files = (p.name for p in resources.files(__name__).iterdir())
    return sorted(f[:-3].replace("_", "-") for f in files if f.endswith(".py") and not f.startswith("_"))


def source(name: str) -> str:
    """The text of a method file. Raises UnknownName."""
    if name not in names():
        raise UnknownName(f"there is no method {name!r}; known methods: {', '.join(names())}")
    return resources.files(__name__).joinpath(f"{name.replace('-', '_')}.py").read_text("utf-8")
