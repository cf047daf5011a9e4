"""What of the host's Python every sandbox sees: an interpreter, its packages, and a whitelist of aarlab."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from functools import cache
from pathlib import Path

ENVIRONMENT = "/opt/env"
PYTHON = f"{ENVIRONMENT}/bin/python"
"""The interpreter inside a sandbox."""
SITE = f"{ENVIRONMENT}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
LIBRARY = "/opt/aarlab"
"""Where the whitelisted part of aarlab lies inside; on PYTHONPATH."""

PACKAGE = Path(__file__).resolve().parents[1]
WHITELIST = (
    "__init__.py", "errors.py", "records.py", "statistics", "client.py", "w2s", "researchers",
    "execution/worker.py", "execution/trace.py", "sandbox/seccomp.py", "sandbox/enter.py",
)  # fmt: skip
NEEDED = ("numpy", "scipy", "sklearn", "optuna", "httpx")


@cache
def library_binds() -> tuple[tuple[Path, str], ...]:
    """(host path, path inside) of the interpreter, the installed packages and the whitelist of aarlab.

    aarlab's problem builders, packs and vault code are in none of them: `masks` covers an installed copy.
    """
    binds = []
    prefix = python_prefix()
    if not under(prefix, Path("/usr")):
        binds.append((prefix, str(prefix)))
    sites = site_folders()
    binds.append((sites[0], SITE))
    binds += [(folder, f"/opt/site/{i}") for i, folder in enumerate(sites[1:], 1)]
    binds += [(PACKAGE / name, f"{LIBRARY}/aarlab/{name}") for name in WHITELIST if (PACKAGE / name).exists()]
    return tuple(binds)


def python_prefix() -> Path:
    """The folder the interpreter is installed in, symbolic links resolved."""
    return Path(sys.base_prefix).resolve()


def interpreter() -> Path:
    """The real interpreter that runs us, as a path that exists inside too."""
    found = getattr(sys, "_base_executable", None) or sys.executable
    return Path(found).resolve()


def site_folders() -> list[Path]:
    """Folders of installed packages: the environment's own first, then any other that holds a package we need."""
    paths = sysconfig.get_paths()
    folders = [Path(paths["purelib"]), Path(paths["platlib"])]
    for name in NEEDED:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            folders.append(Path(spec.origin).parent.parent)
    seen = {os.path.realpath(f): Path(os.path.realpath(f)) for f in folders if f.is_dir()}
    return list(seen.values())


def sites_inside() -> list[str]:
    """The folders of `site_folders`, as a sandbox sees them."""
    return [SITE, *(f"/opt/site/{i}" for i in range(1, len(site_folders())))]


def masks(binds: tuple[tuple[Path, str], ...], hidden: tuple[Path, ...] = ()) -> list[str]:
    """Folders inside that must be covered: an installed or checked-out aarlab, and `hidden`, under a bound folder."""
    secret = [PACKAGE, *(h.resolve() for h in hidden)]
    checkout = PACKAGE.parents[1]
    if (checkout / "pyproject.toml").is_file():
        secret += [checkout / name for name in ("src", "tests", ".git", "docs", "examples", "benchmarks")]
    found = []
    for host, inside in binds:
        if host.is_dir():
            found += [_inside(p, host.resolve(), inside) for p in secret if p.is_dir() and under(p, host.resolve())]
            installed = host / "aarlab"
            if inside.endswith("-packages") and installed.is_dir():
                found.append(f"{inside}/aarlab")
    return sorted({f for f in found if not f.startswith(f"{LIBRARY}/")})


def under(path: Path, folder: Path) -> bool:
    """Whether `path` is `folder` or lies in it."""
    return path == folder or folder in path.parents


def _inside(path: Path, host: Path, inside: str) -> str:
    return str(Path(inside) / path.relative_to(host))


def environment(workspace: bool) -> dict[str, str]:
    """The variables every sandboxed program starts with; nothing of the host's is passed on."""
    extra = [f"/opt/site/{i}" for i in range(1, len(site_folders()))]
    return {
        "PATH": f"{ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/work" if workspace else "/",
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "USER": "researcher",
        "PYTHONPATH": ":".join([LIBRARY, *extra]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "MALLOC_ARENA_MAX": "2",  # an arena a thread would count against the address-space limit
    }


def configuration() -> str:
    """The pyvenv.cfg that makes `ENVIRONMENT` a virtual environment of the host's interpreter."""
    version = ".".join(str(v) for v in sys.version_info[:3])
    return f"home = {interpreter().parent}\ninclude-system-site-packages = false\nversion = {version}\n"
