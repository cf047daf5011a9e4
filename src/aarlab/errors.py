"""The exceptions of aarlab. Each knows the HTTP status the server answers and the exit code the CLI ends with.

    AarlabError
    ├── InputError              400, exit 2   the caller's input is wrong; the sentence names the value and the remedy
    │   ├── UnknownName         404           no such problem, task, submission, post or researcher
    │   ├── NotApplicable       422           a method needs what this student or problem cannot give; says what
    │   ├── MethodError         422           a method file or its output breaks the contract; carries a fixed `reason`
    │   ├── ConfigError                       lab.toml or a flag
    │   ├── PackError                         a data pack is missing or does not match its checksums
    │   ├── LabBusy             409           the lab folder is in use by a live process
    │   └── LedgerError         409           the ledger, a row or an artifact does not verify
    ├── Unauthorised            401, exit 2   no valid token
    ├── NotAllowed              403, exit 2   a valid token without the right
    ├── BudgetSpent             429, exit 2   a budget is used up; says which and how much
    ├── RateLimited             429, exit 2   too many requests in a short time; says how long to wait
    └── Infrastructure          503, exit 3   our side failed (killed worker, full disk): retried, never charged
        ├── SandboxUnavailable                isolation cannot be set up on this machine
        └── SandboxGone                       a running sandbox ended under its command; it can be started again

An `Infrastructure` error is never shown as a method's failure, and a `MethodError` raised on hidden
data travels to a researcher only as its `reason`.
"""

from __future__ import annotations

from typing import Any


class AarlabError(Exception):
    """Base of all errors that aarlab raises on purpose."""

    http_status = 500
    exit_code = 1


class InputError(AarlabError):
    """The caller's input is wrong."""

    http_status = 400
    exit_code = 2


class UnknownName(InputError):
    """A name that nothing has."""

    http_status = 404


class NotApplicable(InputError):
    """A method needs something that this student or problem does not have (it writes no text, it has no pairs)."""

    http_status = 422


class MethodError(InputError):
    """A method file, or what it returned, breaks the contract.

    `reason` is one of `REASONS`: the only word about the failure that leaves a run on hidden data. `detail` is the
    method's traceback, for operators and for runs on open tasks. `events` (aarlab.execution.base.Event) is what the
    method's process did besides computing until it failed, for operators and audits.
    """

    http_status = 422
    REASONS = (
        "syntax", "no-run", "too-large", "payload", "shape", "dtype", "nan", "range",
        "timed-out", "out-of-memory", "crashed", "forbidden",
    )  # fmt: skip

    def __init__(self, reason: str, message: str, detail: str = "", *, events: tuple[Any, ...] = ()) -> None:
        if reason not in self.REASONS:
            raise ValueError(f"unknown MethodError reason {reason!r}")
        super().__init__(message)
        self.reason = reason
        self.detail = detail
        self.events = events


class ConfigError(InputError):
    """A setting in lab.toml, the environment or a flag cannot be used."""


class PackError(InputError):
    """A data pack is missing, incomplete or does not match its checksums."""


class LabBusy(InputError):
    """Another live process works on this lab folder."""

    http_status = 409


class LedgerError(InputError):
    """The ledger, a database row or an artifact does not verify."""

    http_status = 409


class Unauthorised(AarlabError):
    """The request carries no valid token."""

    http_status = 401
    exit_code = 2


class NotAllowed(AarlabError):
    """The token is valid and does not carry this right."""

    http_status = 403
    exit_code = 2


class BudgetSpent(AarlabError):
    """A budget is used up."""

    http_status = 429
    exit_code = 2


class RateLimited(AarlabError):
    """Too many requests in a short time; the sentence says how long to wait."""

    http_status = 429
    exit_code = 2


class Infrastructure(AarlabError):
    """Something of ours failed; the work is retried and nobody is charged."""

    http_status = 503
    exit_code = 3


class SandboxUnavailable(Infrastructure):
    """The chosen isolation cannot be set up on this machine."""


class SandboxGone(Infrastructure):
    """A sandbox ended, or was ended, while a command ran in it; it can be started again. Says why."""
