"""What `aarlab audit` and `aarlab overrule` call: audits in a lab, running or not, and of a file on its own."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.audits.base import Level
from aarlab.audits.examination import examined
from aarlab.audits.policy import Policy
from aarlab.audits.run import Examiner, Method
from aarlab.errors import InputError
from aarlab.execution import LocalExecutor, check_source
from aarlab.fleet import spec
from aarlab.fleet.lock import LabLock, holder
from aarlab.fleet.runner import TERMINAL
from aarlab.fleet.trial import TIMEOUT, read_method
from aarlab.problems import audit_task, base
from aarlab.sandbox import open_sandbox
from aarlab.w2s import methods

Json = dict[str, Any]
Tell = Callable[[int, int], None]

LOOK_SECONDS = 0.5
UNFINISHED = ("queued", "running")


def audit_submission(lab: Path, number: int, level: Level | None) -> Json:
    """Audit a submission, in the live service or, where none runs, here. Waits for the end."""
    if holder(lab) is not None:
        client = spec.operator(lab)
        found = client.audit(number, level, TERMINAL)
        while found["status"] in UNFINISHED:
            time.sleep(LOOK_SECONDS)
            found = client.audited(number)
        return found
    with LabLock(lab), progress(f"auditing submission {number}") as tell:
        return _here(lab, number, level, tell)


def _here(lab: Path, number: int, level: Level | None, tell: Tell) -> Json:
    """The service's own steps, without the service."""
    from aarlab.server import audits, controls
    from aarlab.server.__main__ import local_executor, only_server
    from aarlab.server.lab import Lab

    with only_server(lab):
        opened = Lab(lab)
        try:
            with opened.store.write() as rows:
                asked = controls.audit(opened, rows, number, level, TERMINAL)
                evaluation = rows.claim_one(asked, f"{opened.incarnation}:audit")
            if evaluation is not None:
                executor = local_executor(opened.settings, lab)
                try:
                    examined = audits.examine(opened, evaluation, executor, tell)
                    audits.record(opened, evaluation, examined)
                except BaseException:  # also an interrupt: the audit waits in the queue, as after a crash
                    with opened.store.write() as rows:
                        rows.requeue(evaluation, evaluation.failures)
                    raise
                finally:
                    executor.close()
            with opened.store.read() as rows:
                return audits.view(opened, rows, number)
        finally:
            opened.close()


def overrule(lab: Path, number: int, ranked: bool, reason: str, by: str = TERMINAL) -> str:
    """Rank or unrank a submission for good; returns what to print. by: what the ledger keeps of the way."""
    if not reason.strip():
        raise InputError("an overruling needs a --reason: the ledger and the report show it")
    if holder(lab) is not None:
        spec.operator(lab).rank(number, ranked, reason, by)
    else:
        from aarlab.server import controls
        from aarlab.server.lab import Lab

        with LabLock(lab):
            opened = Lab(lab)
            with opened.store.write() as rows:
                controls.overrule(opened, rows, number, ranked, reason, by)
            opened.changed("scores")
            opened.close()
    return f"submission {number} is {'ranked' if ranked else 'not ranked'}: {reason}"


def audit_file(file: Path, problem: str, track: str, level: Level, isolation: str) -> Json:
    """Audit a method file on the problem's open task, in a sandbox and without a lab."""
    source = read_method(file)
    check_source(source)
    loaded = base.load(problem)
    loaded.check_gaps()
    policy, declared = Policy.of(loaded.settings), track or methods.track(source)
    if declared not in policy.tracks:
        raise InputError(f"there is no track {declared!r}; the tracks are {', '.join(policy.tracks)}")
    first, *others = [audit_task.load(loaded, card.name) for card in loaded.of_role("open")]
    sandbox = open_sandbox(isolation)
    sandbox.check()
    with LocalExecutor(sandbox, workers=2) as executor, progress(f"auditing {file.name}") as tell:
        rng = np.random.default_rng(secrets.randbits(64))
        examiner = Examiner(first, executor, rng, tuple(others), 2, TIMEOUT, policy.payload, tell)
        findings = examined(examiner, Method(source), policy, level)
    verdict = policy.judge(declared, findings, first.test_items)
    return {
        "file": str(file), "problem": loaded.name, "task": first.task, "track": declared, "level": level,
        "findings": [asdict(f) for f in findings], "verdict": asdict(verdict),
    }  # fmt: skip


def lines(found: Json) -> list[str]:
    """A page of what was found: one line per audit, then the row and the verdict."""
    verdict = found["verdict"]
    words = {c["channel"]: c["word"] for c in verdict["channels"]} if verdict else {}
    out = [_line(f, words.get(f["channel"], "shown")) for f in found["findings"]]
    if not verdict:
        return [*out, f"no verdict yet: the audit is {found['status']}"]
    out += ["", verdict["row"]] if verdict["row"] else [""]
    moved = f", ranked on {verdict['track']}" if verdict["track"] != verdict["declared"] else ""
    by = " by the operator" if verdict.get("by") == "operator" else ""
    reason = f": {verdict['reason']}" if verdict["reason"] else ""
    return [*out, f"{verdict['outcome']}{by} (declared {verdict['declared']}{moved}){reason}"]


def _line(finding: Json, word: str) -> str:
    shown = finding["status"]
    if finding["value"] is not None:
        shown = f"{finding['value']:.2f}"
        if finding["low"] is not None and finding["high"] is not None:
            shown += f" [{finding['low']:.2f}, {finding['high']:.2f}]"
    return f"{finding['audit']:22} {finding['channel']:17} {shown:20} {word:20} {finding['sentence']}"


@contextmanager
def progress(title: str) -> Iterator[Tell]:
    """A bar on standard error with the time left; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
