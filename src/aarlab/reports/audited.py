"""What audits said of the submissions, for the report: rows, the kept share of a gain, and the ranges of the plot."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aarlab.audits.policy import ROW, deciding
from aarlab.records import ChannelVerdict, Finding, Judgement
from aarlab.reports import figures
from aarlab.reports.data import Audited, RunData
from aarlab.reports.results import Results


@dataclass(frozen=True)
class Kept:
    """The new-task check: how much of the PGR on the feedback task a finalist kept on the record tasks."""

    submission: int
    feedback: float
    record: float
    share: float | None  # None where there was nothing to keep


def kept(results: Results) -> dict[int, Kept]:
    """By submission, once the record tasks were opened. A share is given where the feedback PGR is surely above 0."""
    found = {}
    for row in results.rows:
        if row.record is not None:
            share = row.record.mean / row.pgr.mean if row.pgr.low > 0 else None
            found[row.submission.id] = Kept(row.submission.id, row.pgr.mean, row.record.mean, share)
    return found


def document(data: RunData, results: Results) -> list[dict[str, Any]]:
    """One object per audited or overruled submission, finalists first."""
    shares = kept(results)
    return [
        {
            "submission": a.submission, "name": (s := data.submission(a.submission)).name, "researcher": s.researcher,
            "finalist": a.submission in data.finalists, "verdict": _verdict(a.standing),
            "history": [_verdict(j) for j in a.judgements], "findings": [asdict(f) for f in a.findings],
            "kept": asdict(shares[a.submission]) if a.submission in shares else None,
        }
        for a in data.audited
    ]  # fmt: skip


def _verdict(row: Judgement) -> dict[str, Any]:
    return {
        **asdict(row.verdict), "channels": [asdict(c) for c in row.verdict.channels], "by": row.by, "time": row.time,
        "rerun": row.evaluation, "level": row.level,
    }  # fmt: skip


def overrulings(data: RunData) -> list[Judgement]:
    """What the operator said, oldest first."""
    spoken = [j for a in data.audited for j in a.judgements if j.by == "operator"]
    return sorted(spoken, key=lambda j: j.time)


def alarm(body: dict[str, Any]) -> str:
    """One alarm in words: what was noticed, then whatever else its ledger line says."""
    more = ", ".join(f"{k} {v}" for k, v in sorted(body.items()) if k != "what" and v not in (None, "", [], {}))
    words = {"denied": "denied attempts", "canary": "a canary was touched"}
    what = str(body.get("what", "alarm"))
    return f"{words.get(what, what)}: {more}" if more else words.get(what, what)


def chart(data: RunData, width: int) -> Any:
    """The plot of all audited submissions; None where nothing was measured."""
    shown = [a for a in data.audited if a.findings]
    if not shown:
        return None
    found = {a.submission: deciding(a.findings) for a in shown}
    names = [n for n in ROW if any(n in f and f[n].measured for f in found.values())]
    labels = {a.submission: f"#{a.submission} {data.submission(a.submission).name}" for a in shown}
    panels = [_panel(n, [(labels[a.submission], a, found[a.submission]) for a in shown]) for n in names]
    return figures.audits(panels, list(labels.values()), width) if panels else None


def _panel(name: str, rows: list[tuple[str, Audited, dict[str, Finding]]]) -> figures.Channel:
    marks = []
    for label, audited, found in rows:
        finding = found.get(name)
        if finding is None or finding.value is None:
            continue
        limit = next((c for c in audited.standing.verdict.channels if c.channel == name), None)
        limit = limit or ChannelVerdict(name, "not judged", "")
        marks.append(
            figures.Measured(label, finding.value, finding.low, finding.high, limit.low, limit.high, limit.word)
        )
    return figures.Channel(name, tuple(marks))
