"""The Inspect logs of a lab: where they are, and how those of killed processes are made whole."""

from __future__ import annotations

import contextlib
from pathlib import Path

from inspect_ai.log import RecoveryNotAvailable, read_eval_log, recover_eval_log

FOLDER = "transcripts"


def recover(lab: Path, name: str = "") -> list[str]:
    """Complete the logs that a killed process left open, in place; their file names.

    name: one researcher's only. A log whose process still lives is left alone, by Inspect.
    """
    done = []
    for path in sorted((lab / FOLDER).glob(f"*_{name or '*'}_*.eval")):
        with contextlib.suppress(RecoveryNotAvailable, OSError, ValueError):
            if read_eval_log(str(path), header_only=True).status == "started":
                recover_eval_log(str(path), overwrite=True, incomplete_action="error")
                done.append(path.name)
    return done
