"""Which sandboxes work on this machine: `needs_bwrap` and `needs_runsc` mark the tests that cannot do without."""

from __future__ import annotations

import pytest

from aarlab.errors import SandboxUnavailable
from aarlab.sandbox import open_sandbox


def why_not(kind: str) -> str:
    """Why sandboxes of this kind do not work; empty where they do."""
    try:
        open_sandbox(kind).check()
    except SandboxUnavailable as error:
        return str(error)
    return ""


WHY_NO_BWRAP, WHY_NO_RUNSC = why_not("bwrap"), why_not("gvisor")
needs_bwrap = pytest.mark.skipif(bool(WHY_NO_BWRAP), reason=f"bwrap cannot work here: {WHY_NO_BWRAP}")
needs_runsc = pytest.mark.skipif(bool(WHY_NO_RUNSC), reason=f"gVisor cannot work here: {WHY_NO_RUNSC}")
