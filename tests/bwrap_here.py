"""Whether bubblewrap works on this machine: `needs_bwrap` marks the tests that cannot do without."""

from __future__ import annotations

import pytest

from aarlab.errors import SandboxUnavailable
from aarlab.sandbox import open_sandbox


def available() -> str:
    """Why it does not work; empty where it does."""
    try:
        open_sandbox("bwrap").check()
    except SandboxUnavailable as error:
        return str(error)
    return ""


WHY_NOT = available()
needs_bwrap = pytest.mark.skipif(bool(WHY_NOT), reason=f"bwrap cannot work here: {WHY_NOT}")
