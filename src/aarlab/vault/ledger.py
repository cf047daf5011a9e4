"""The ledger: an append-only record of everything the lab took in and said.

Each line's hash covers its own content and the hash before it; each hash is signed with the vault's key. Whoever
edits, drops or inserts a line without the key breaks a signature; who has the key (the operator) can rewrite the
whole, which no ledger kept on one machine can prevent: publish the newest hash if that matters to you.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from aarlab.records import Evaluation, Finding, Judgement, LedgerLine, Score, Submission
from aarlab.store import Rows

GENESIS = "0" * 64


def canonical(value: Any) -> bytes:
    """One spelling for one value: the bytes that are hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def digest(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def line_hash(line: LedgerLine) -> str:
    return digest([line.number, line.time, line.kind, line.body, line.previous])


def sign(key: bytes, value: str) -> str:
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()


class Ledger:
    """Appends lines inside the transaction that makes them true."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def append(self, rows: Rows, kind: str, body: dict[str, Any], now: float) -> LedgerLine:
        """Add one line. Times never run backwards, even when the clock does."""
        last = rows.last_line()
        number, previous, time = (last.number + 1, last.hash, max(last.time, now)) if last else (1, GENESIS, now)
        body = json.loads(canonical(body))  # what is hashed is what will be read back
        line = LedgerLine(number, time, kind, body, previous, "")
        line = replace(line, hash=line_hash(line))
        line = replace(line, mac=sign(self.key, line.hash))
        rows.add_line(line)
        return line


def submission_body(row: Submission) -> dict[str, Any]:
    """What a submission is when it comes in; none of it may change later."""
    keep = (
        "id", "researcher", "name", "bundle_hash", "normal_hash", "created", "parent", "track", "claimed_pgr", "note",
        "repeat_of", "ranked", "remark",
    )  # fmt: skip
    return {k: getattr(row, k) for k in keep}


def verdict_body(row: Submission) -> dict[str, Any]:
    """What the lab said about a submission."""
    return {"submission": row.id, **{k: getattr(row, k) for k in ("status", "reason", "answer", "record", "finished")}}


def evaluation_body(row: Evaluation, scores: Iterable[Score]) -> dict[str, Any]:
    """What one finished evaluation rests on: the per-item outcomes and the score rows, by hash."""
    keep = ("submission", "problem", "task", "purpose", "status", "reason", "outcome")
    return {"evaluation": row.id, **{k: getattr(row, k) for k in keep}, "scores": scores_hash(scores)}


def judgement_body(row: Judgement) -> dict[str, Any]:
    """A verdict after an audit, or the operator's own."""
    return {**asdict(row.verdict), "by": row.by, "level": row.level, "cpu_seconds": row.cpu_seconds}


def findings_body(findings: Iterable[Finding]) -> dict[str, Any]:
    """Each audit's number with its interval, and the hash of everything it said."""
    return {
        f.audit: {
            "channel": f.channel,
            "status": f.status,
            "number": [f.value, f.low, f.high],
            "sha256": digest(asdict(f)),
        }
        for f in findings
    }


def scores_hash(scores: Iterable[Score]) -> str:
    return digest([asdict(s) for s in scores])


def break_in(lines: Iterable[LedgerLine], key: bytes | None) -> str | None:
    """The first thing wrong with the chain, in a sentence; None when it is whole."""
    previous, time = GENESIS, float("-inf")
    for number, line in enumerate(lines, 1):
        if line.number != number:
            return f"ledger line {number} is missing (found line {line.number})"
        if line.previous != previous:
            return f"ledger line {number} does not follow from line {number - 1}"
        if line_hash(line) != line.hash:
            return f"ledger line {number} ({line.kind}) was edited: its hash does not fit its content"
        if key is not None and not hmac.compare_digest(sign(key, line.hash), line.mac):
            return f"ledger line {number} ({line.kind}) does not carry the vault's signature"
        if line.time < time:
            return f"ledger line {number} is older than the line before it"
        previous, time = line.hash, line.time
    return None
