"""Where methods run."""

from aarlab.execution.base import MethodRun, RunResult
from aarlab.execution.check import check_payload, check_source, normalise
from aarlab.execution.local import LocalExecutor

__all__ = ["LocalExecutor", "MethodRun", "RunResult", "check_payload", "check_source", "normalise"]
