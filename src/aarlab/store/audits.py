"""Rows of what audits found, and of the verdicts that followed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, delete, insert, select

from aarlab.records import ChannelVerdict, Finding, Judgement, Verdict
from aarlab.store import tables as t
from aarlab.store.base import Base


class AuditRows(Base):
    def set_findings(self, evaluation: int, submission: int, findings: Iterable[Finding]) -> None:
        """Keep what an audit's evaluation found, in place of what it found before."""
        self.c.execute(delete(t.findings).where(t.findings.c.evaluation == evaluation))
        for finding in findings:
            values = {**asdict(finding), "details": json.dumps(finding.details)}
            self.c.execute(insert(t.findings).values(evaluation=evaluation, submission=submission, **values))

    def findings(self, submission: int | None = None) -> dict[int, list[Finding]]:
        """Findings by submission, in the order in which the audits reported; of one, or of all."""
        query = select(t.findings).order_by(t.findings.c.id)
        if submission is not None:
            query = query.where(t.findings.c.submission == submission)
        found: dict[int, list[Finding]] = {}
        for row in self.c.execute(query):
            found.setdefault(row.submission, []).append(_finding(row))
        return found

    def add_judgement(self, row: Judgement) -> None:
        verdict = {**asdict(row.verdict), "channels": json.dumps([asdict(c) for c in row.verdict.channels])}
        values = {k: getattr(row, k) for k in ("submission", "evaluation", "time", "by", "level", "cpu_seconds")}
        self.c.execute(insert(t.verdicts).values(**verdict, **values))

    def judgements(self, submission: int | None = None) -> list[Judgement]:
        """All verdicts, or those on one submission, oldest first."""
        query = select(t.verdicts).order_by(t.verdicts.c.id)
        if submission is not None:
            query = query.where(t.verdicts.c.submission == submission)
        return [_judgement(r) for r in self.c.execute(query)]

    def standing(self) -> dict[int, Judgement]:
        """The verdict that holds on each judged submission: the operator's last word, else the lab's."""
        found: dict[int, Judgement] = {}
        for row in self.judgements():
            known = found.get(row.submission)
            if known is None or known.by == "lab" or row.by == "operator":
                found[row.submission] = row
        return found


def _finding(row: Row[Any]) -> Finding:
    values = {k: v for k, v in row._mapping.items() if k not in ("id", "submission", "evaluation")}
    return Finding(**{**values, "details": json.loads(row.details)})


def _judgement(row: Row[Any]) -> Judgement:
    channels = tuple(ChannelVerdict(**c) for c in json.loads(row.channels))
    verdict = Verdict(row.outcome, row.declared, row.track, row.reason, row.row, channels)
    keep = ("submission", "evaluation", "time", "by", "level", "cpu_seconds")
    return Judgement(verdict=verdict, **{k: row._mapping[k] for k in keep})
