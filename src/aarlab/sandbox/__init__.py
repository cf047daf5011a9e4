"""Where untrusted code runs: `bwrap` and `gvisor` isolate, `process` does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aarlab.sandbox.base import Sandbox


def open_sandbox(kind: str) -> Sandbox:
    """The sandbox of that name. Raises ConfigError for another."""
    if kind == "bwrap":
        from aarlab.sandbox.bwrap import BwrapSandbox

        return BwrapSandbox()
    if kind == "gvisor":
        from aarlab.sandbox.gvisor import GvisorSandbox

        return GvisorSandbox()
    if kind == "process":
        from aarlab.sandbox.process import ProcessSandbox

        return ProcessSandbox()
    from aarlab.errors import ConfigError

    raise ConfigError(f"there is no sandbox {kind!r}; it is 'bwrap', 'gvisor' or 'process'")
