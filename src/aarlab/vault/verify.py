"""Checks a lab against its ledger: the chain, every row it vouches for, every method file and outcome file.

The ledger's lines are replayed: they say what each row must be. What differs, is missing or was never announced is
named. Scores are computed again from the per-item outcomes, and the Ladder's answers again from the scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import Infrastructure, LedgerError, UnknownName
from aarlab.records import Answer, Evaluation, Judgement, LedgerLine, Score, Submission
from aarlab.store import Rows, Store
from aarlab.store.registry import Earlier, Registry, state_file
from aarlab.vault import practice
from aarlab.vault.feedback import Ladder, released_bits
from aarlab.vault.ledger import (
    break_in,
    canonical,
    evaluation_body,
    findings_body,
    judgement_body,
    submission_body,
    verdict_body,
)
from aarlab.vault.store import Vault

TOLERANCE = 1e-9

RANKING = ("overrule", "audit", "settled")
"""Kinds of lines that may change whether a submission ranks, and the sentence beside it."""


@dataclass(frozen=True)
class Report:
    """What `verify` found. `faults` is empty when everything fits; `notes` say what could not be checked."""

    lines: int
    head: str
    answers: int
    bits: float  # released so far at most
    bound: float  # of the whole run
    signed: bool  # the vault's key was there to check the signatures
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    earlier: Earlier | None = None
    practice: int = 0  # answers to lists of predictions
    practice_bits: float = 0.0  # released by them at most, beside `bits`

    def __bool__(self) -> bool:
        return not self.faults

    def text(self) -> str:
        """A few lines for people."""
        out = [
            f"{self.lines} ledger lines, newest hash {self.head[:16]}: "
            + ("everything fits" if self else f"{len(self.faults)} faults"),
            f"answers given: {self.answers}; bits released about the hidden labels: at most {self.bits:.1f} "
            f"(bound of the whole run: {self.bound:.1f})",
        ]
        if self.practice:
            out.append(
                f"practice answers given: {self.practice}; they released at most {self.practice_bits:.1f} bits more"
            )
        if self.earlier and self.earlier.labs:
            out.append(
                f"earlier runs on the same labels on this machine: {self.earlier.labs}, with {self.earlier.answers} "
                f"answers and at most {self.earlier.bits:.1f} bits"
            )
        return "\n".join([*out, *(f"note: {n}" for n in self.notes), *(f"FAULT: {f}" for f in self.faults)])

    def require(self) -> None:
        """Raise LedgerError with the first fault, if there is one."""
        if self.faults:
            more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
            raise LedgerError(self.faults[0] + more)


def verify(lab: Path) -> Report:
    """Check a lab folder; works on a running lab and without its vault."""
    if not (lab / "lab.db").is_file():
        raise UnknownName(f"{lab} is no lab folder: it has no lab.db")
    vault = Vault(lab / "vault") if (lab / "vault" / "secret.json").is_file() else None
    head = _kept_head(lab)  # before the rows: a running lab may write both in between
    store = Store(lab / "lab.db")
    try:
        with store.read() as rows:
            return _Check(lab, vault, rows, head).report()
    finally:
        store.close()


def _kept_head(lab: Path) -> dict[str, Any] | None:
    """Number and hash of the newest line, as the vault remembers them; None where it does not."""
    path = lab / "vault" / "ledger.head"
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return found


class _Check:
    """One pass over a lab."""

    def __init__(self, lab: Path, vault: Vault | None, rows: Rows, head: dict[str, Any] | None) -> None:
        self.lab, self.vault, self.rows, self.head = lab, vault, rows, head
        self.lines = rows.lines()
        self.submissions = {s.id: s for s in rows.submissions()}
        self.evaluations = {e.id: e for e in rows.evaluations()}
        self.practised = rows.practice_answers()
        self.scores: dict[int, list[Score]] = {}
        for score in rows.scores():
            self.scores.setdefault(score.evaluation, []).append(score)
        self.findings, self.judgements = rows.findings(), rows.judgements()
        self.announced: dict[str, set[int]] = {"submission": set(), "verdict": set(), "evaluation": set()}

    def report(self) -> Report:
        faults = list(self._faults())
        answers, _ = self.rows.ladder_state()
        rungs, total = self._terms()
        return Report(
            lines=len(self.lines),
            head=self.lines[-1].hash if self.lines else "",
            answers=answers,
            bits=released_bits(answers, rungs),
            bound=released_bits(max(total, answers), rungs),
            signed=self.vault is not None,
            faults=list(dict.fromkeys(faults)),
            notes=[] if self.vault else ["the vault is not here: signatures, outcomes and scores were not checked"],
            earlier=self._earlier(),
            practice=len(self.practised),
            practice_bits=sum(practice.bits_each(len(row.predictions)) for row in self.practised),
        )

    def _earlier(self) -> Earlier | None:
        """What this machine's other labs were told about the same labels; None when that cannot be read."""
        if not self.lines or "data_hash" not in self.lines[0].body:
            return None
        try:
            registry = Registry(state_file())
            found = registry.earlier(self.lines[0].body["data_hash"], self.lines[0].body["id"])
            registry.close()
        except Infrastructure:
            return None
        return found

    def _terms(self) -> tuple[int, int]:
        """(rungs, answers of the run) as the first line states them."""
        first = self.lines[0].body if self.lines else {}
        return int(first.get("rungs", 0)), int(first.get("answers", 0))

    def _faults(self) -> Iterator[str]:
        broken = break_in(self.lines, self.vault.key if self.vault else None)
        if broken:
            yield broken
        yield from self._cut_off()
        overruled: dict[int, dict[str, Any]] = {
            x.body["submission"]: x.body for x in self.lines if x.kind in RANKING and "ranked" in x.body
        }
        for line in self.lines:
            yield from self._line(line, overruled)
        yield from self._unannounced()
        yield from self._judged()
        yield from self._ladder()
        yield from practice.faults(self.lines, self.practised, self._practice_labels())
        yield from self._phase()

    def _cut_off(self) -> Iterator[str]:
        """The head kept beside the database must still be a line of the ledger."""
        head = self.head
        if self.vault is None or head is None:
            return
        number = int(head["number"])
        if number > len(self.lines):
            yield f"ledger lines {len(self.lines) + 1} to {number} are missing: the end was cut off"
        elif self.lines[number - 1].hash != head["hash"]:
            yield f"ledger line {number} is not the one that the vault remembers"

    def _line(self, line: LedgerLine, overruled: dict[int, dict[str, Any]]) -> Iterator[str]:
        where = f"ledger line {line.number}"
        if line.kind == "submission":
            yield from self._submission(line.body, overruled.get(line.body["id"], {}), where)
        if line.kind in ("answer", "score", "failed") or self._last_audit(line):
            yield from self._evaluation(line.body, where)
        if "answer" in line.body and "submission" in line.body:
            yield from self._verdict(line, where)
        if line.kind == "control" and line.body["action"] == "message":
            yield from self._message(line.body, where)

    def _submission(self, body: dict[str, Any], overruled: dict[str, Any], where: str) -> Iterator[str]:
        number = body["id"]
        self.announced["submission"].add(number)
        row = self.submissions.get(number)
        if row is None:
            yield f"submission {number} is missing from the database ({where})"
            return
        expected = body | {k: v for k, v in overruled.items() if k in ("ranked", "remark")}
        yield from _differences(f"submission {number}", submission_body(row), expected, where)
        yield from self._artifact(body)

    def _artifact(self, body: dict[str, Any]) -> Iterator[str]:
        path = self.lab / "artifacts" / f"{body['bundle_hash']}.py"
        if not path.is_file():
            yield f"artifacts/{path.name} (submission {body['id']}) is missing"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != body["bundle_hash"]:
            yield f"artifacts/{path.name} (submission {body['id']}) was edited"

    def _message(self, body: dict[str, Any], where: str) -> Iterator[str]:
        """What the operator told a researcher stands in the forum as it was said."""
        post = self.rows.post(body["post"])
        if post is None:
            yield f"post {body['post']}, a message of the operator, is missing from the database ({where})"
        elif hashlib.sha256(post.body.encode()).hexdigest() != body["sha256"]:
            yield f"post {body['post']}, a message of the operator, was edited ({where})"

    def _verdict(self, line: LedgerLine, where: str) -> Iterator[str]:
        number = line.body["submission"]
        self.announced["verdict"].add(number)
        row = self.submissions.get(number)
        if row is not None:
            yield from _differences(f"submission {number}", verdict_body(row), line.body, where)

    def _evaluation(self, body: dict[str, Any], where: str) -> Iterator[str]:
        number = body["evaluation"]
        self.announced["evaluation"].add(number)
        row, scores = self.evaluations.get(number), self.scores.get(number, [])
        if row is None:
            yield f"evaluation {number} is missing from the database ({where})"
            return
        found = evaluation_body(row, scores)
        if found.pop("scores") != body["scores"]:
            yield f"the score rows of evaluation {number} (submission {row.submission}) were edited ({where})"
        yield from _differences(f"evaluation {number}", found, body, where)
        if self.vault is not None and body["outcome"] is not None:
            yield from self._outcome(self.vault, row, scores, body["outcome"])

    def _outcome(self, vault: Vault, row: Evaluation, scores: list[Score], expected: str) -> Iterator[str]:
        path = vault.outcome_path(row.id)
        name = f"vault/outcomes/{path.name} (submission {row.submission}, task {row.task})"
        if not path.is_file():
            yield f"{name} is missing"
            return
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            yield f"{name} was edited"
            return
        accuracy = vault.outcomes(row.id).mean(axis=1)
        same = len(accuracy) == len(scores) and np.allclose([s.accuracy for s in scores], accuracy, 0, TOLERANCE)
        if not same:
            yield f"the score rows of evaluation {row.id} do not follow from {name}"

    def _last_audit(self, line: LedgerLine) -> bool:
        """Whether a line ends an audit that was not opened again since."""
        if "findings" not in line.body:
            return False
        number, later = line.body["evaluation"], self.lines[line.number :]
        self.announced["evaluation"].add(number)
        return not any(x.kind == "asked" and x.body["evaluation"] == number and x.body["again"] for x in later)

    def _judged(self) -> Iterator[str]:
        """Findings and verdicts as the ledger keeps them."""
        audits = {x.body["submission"]: x for x in self.lines if "findings" in x.body}
        for number in sorted(audits.keys() | self.findings.keys()):
            line = audits.get(number)
            told, found = line.body["findings"] if line else {}, findings_body(self.findings.get(number, []))
            for audit in sorted(told.keys() | found.keys()):
                if told.get(audit) != found.get(audit):
                    where = f"ledger line {line.number}" if line else "no ledger line"
                    yield f"the finding {audit} of submission {number} was edited ({where})"
        lines = [x for x in self.lines if x.kind in RANKING and "verdict" in x.body]
        for i in range(max(len(lines), len(self.judgements))):
            yield from self._one_judged(lines[i : i + 1], self.judgements[i : i + 1])

    def _one_judged(self, line: list[LedgerLine], row: list[Judgement]) -> Iterator[str]:
        if not line:
            yield f"a verdict on submission {row[0].submission} stands in the database and not in the ledger"
        elif not row:
            yield f"the verdict on submission {line[0].body['submission']} (ledger line {line[0].number}) is missing"
        elif (row[0].submission, plain(judgement_body(row[0]))) != (
            line[0].body["submission"],
            line[0].body["verdict"],
        ):
            yield f"the verdict on submission {row[0].submission} was edited (ledger line {line[0].number})"

    def _unannounced(self) -> Iterator[str]:
        """Rows that the ledger never heard of."""
        for number, row in self.submissions.items():
            if number not in self.announced["submission"]:
                yield f"submission {number} stands in the database and not in the ledger"
            elif _closed(row) and number not in self.announced["verdict"]:
                yield f"submission {number} has status {row.status!r}, and no ledger line says so"
        for number, evaluation in self.evaluations.items():
            if _closed(evaluation) and number not in self.announced["evaluation"]:
                yield f"evaluation {number} has status {evaluation.status!r}, and no ledger line says so"
        for number in self.scores:
            if number not in self.announced["evaluation"]:
                yield f"the score rows of evaluation {number} stand in the database and not in the ledger"

    def _ladder(self) -> Iterator[str]:
        """Replay the answers in their order."""
        if not self.lines or self.lines[0].kind != "lab":
            yield "ledger line 1 does not open a lab"
            return
        first = self.lines[0].body
        start = round(first["start"] / first["step"])
        ladder = Ladder(first["step"], start, start)
        lines = {x.body["number"]: x.body for x in self.lines if x.kind == "answer"}
        given = {number: (submission, answer) for number, submission, answer in self.rows.answers_given()}
        for number in sorted(lines.keys() | given.keys()):
            body, row = lines.get(number), given.get(number)
            if body is None or row is None:
                yield f"answer {number} stands only in the {'database' if body is None else 'ledger'}"
                continue
            expected = Answer(body["answer"], body["record"])
            if row != (body["submission"], expected):
                yield f"answer {number} (submission {body['submission']}) was edited in the database"
            scores = self.scores.get(body["evaluation"], [])
            if scores:
                said, ladder = ladder.answer(float(np.mean([s.accuracy for s in scores])))
                if said != expected:
                    yield f"answer {number} does not follow from its scores: the Ladder says {said.text!r}"

    def _practice_labels(self) -> NDArray[np.int8] | None:
        """The labels in the order of practice lists; None where no list was answered or the vault is not here."""
        if self.vault is None or not self.practised or not self.lines:
            return None
        problem = self.vault.problems[self.lines[0].body["problem"]]
        return self.vault.practice_labels(problem.name, problem.of_role("feedback")[0].name)

    def _phase(self) -> Iterator[str]:
        moves = [x.body for x in self.lines if x.kind == "phase" and "to" in x.body]
        phase, here = self.rows.meta("phase"), moves[-1]["to"] if moves else "research"
        if phase != here:
            yield f"the lab's phase is {phase!r} in the database and {here!r} in the ledger"
        for key in ("finalists", "winner"):
            told = [m[key] for m in moves if key in m]
            if told and self.rows.meta(key) != told[-1]:
                yield f"{key} is {self.rows.meta(key)} in the database and {told[-1]} in the ledger"


def _closed(row: Submission | Evaluation) -> bool:
    return row.status not in ("queued", "running")


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """As it reads back from the ledger: tuples are lists there."""
    found: dict[str, Any] = json.loads(canonical(value))
    return found


def _differences(what: str, found: dict[str, Any], expected: dict[str, Any], where: str) -> Iterator[str]:
    for key, value in found.items():
        if key in expected and expected[key] != value:
            yield f"{what}: {key} is {value!r} in the database and {expected[key]!r} in {where}"
