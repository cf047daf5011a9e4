"""What the lab shows. During research nothing here says more about hidden labels than the Ladder did."""

from __future__ import annotations

from dataclasses import asdict
from statistics import fmean
from typing import Any

from aarlab.execution.check import MOST_BYTES
from aarlab.problems.base import TaskCard
from aarlab.records import Evaluation, Judgement, Post, ResearcherRow, Score, Submission
from aarlab.server import canaries, spending, transcript
from aarlab.server.lab import LAB, Lab
from aarlab.server.verdicts import judgement_view, public_verdict
from aarlab.store import Rows
from aarlab.vault import practice
from aarlab.vault.feedback import HARD_TOP, released_bits
from aarlab.vault.store import public_card, task_card

Json = dict[str, Any]


def submission_view(row: Submission, card: TaskCard, whole: bool = False) -> Json:
    """One submission as its researcher sees it: status words, the Ladder's answer, and what was claimed.

    whole: as the operator sees it, who is also told of canaries.
    """
    quiet = not whole and row.remark.startswith(canaries.MARK)
    return {
        "id": row.id,
        "researcher": row.researcher,
        "name": row.name,
        "status": row.status,
        "reason": row.reason,
        "answer": row.answer,
        "record": row.record,
        "record_pgr": None if row.record is None else round(card.pgr(row.record), 4),
        "ranked": row.ranked or quiet,
        "remark": "" if quiet else row.remark,
        "parent": row.parent,
        "repeat_of": row.repeat_of,
        "claimed_pgr": row.claimed_pgr,
        "track": row.track,
        "note": row.note,
        "bundle_hash": row.bundle_hash,
        "created": round(row.created),
        "finished": None if row.finished is None else round(row.finished),
    }


def submission_views(lab: Lab, rows: Rows, subs: list[Submission], whole: bool = False) -> list[Json]:
    """Submissions with the family that was declared, and where in a transcript each was made (None: in none)."""
    if len(subs) == 1:
        made, families = transcript.places(rows, subs[0].id), {subs[0].id: rows.declared("submission", subs[0].id)}
    else:
        made = transcript.places(rows)
        families = {i.number: i.family for i in rows.ideas("submission", "researcher")}
    return [
        submission_view(s, lab.feedback, whole) | {"family": families.get(s.id, ""), "transcript": made.get(s.id)}
        for s in subs
    ]


def method_view(row: Submission, card: TaskCard) -> Json:
    """A scored method as everybody sees it."""
    keep = (
        "id", "researcher", "name", "answer", "record", "record_pgr", "ranked", "parent", "repeat_of", "track", "note",
        "bundle_hash", "created",
    )  # fmt: skip
    whole = submission_view(row, card)
    return {k: whole[k] for k in keep}


TRACKS = {
    "inductive": "learns from the weak labels; judges every test item alone",
    "transductive": "also learns from the unlabelled test items",
    "group": "also from how the test items of one group hang together",
    "hybrid": "the weak labels and the student's own opinion",
    "teacher-free": "the student's own opinion alone, without the teacher",
}
"""What the usual tracks mean; a problem may add others."""

AUDITED = (
    "Declare the track of a submission. Before the record tasks open, the best submissions run again under changed "
    "conditions: weak labels inverted, shuffled or of another teacher, features of other items, test items a few at a "
    "time, items reworded or of other writers, another task. What a method is measured to use is compared with its "
    "track. A method that uses more or less than it declared ranks on the track that fits, with a note; one "
    "that fits no track does not rank, and the reason is public."
)


def leaderboard(lab: Lab, rows: Rows) -> Json:
    """Records the Ladder announced, the published baselines, and counts of the rest; verdicts once research is over."""
    card = lab.feedback
    ladder = lab.ladder(rows)
    subs = [s for s in rows.submissions() if s.researcher != LAB]
    scored = [s for s in subs if s.status == "scored" and s.repeat_of is None]
    records = sorted((s for s in scored if s.record is not None), key=lambda s: (-(s.record or 0), s.id))
    people = [r.name for r in rows.researchers() if r.role == "researcher"]
    verdicts = verdicts_view(lab, rows)
    return {
        "problem": lab.problem.name,
        "task": card.name,
        "phase": lab.phase(rows),
        "ladder": ladder_view(lab, rows),
        "best": None if not records else {"id": records[0].id, "pgr": round(card.pgr(ladder.accuracy(ladder.best)), 4)},
        "records": [
            {
                **method_view(s, card),
                "accuracy": s.record,
                "pgr": round(card.pgr(s.record or 0), 4),
                "verdict": verdicts.get(s.id),
            }
            for s in records
        ],
        "verdicts": {str(n): v for n, v in verdicts.items()},
        "baselines": {n: {"accuracy": a, "pgr": round(card.pgr(a), 4)} for n, a in card.baselines.items()},
        "no_new_record": sum(s.record is None for s in scored),
        "counts": {name: _counts([s for s in subs if s.researcher == name]) for name in people},
    }


def verdicts_view(lab: Lab, rows: Rows) -> dict[int, Json]:
    """The verdicts that hold. They say something about hidden labels, so there are none while research goes on."""
    if lab.phase(rows) == "research":
        return {}
    return {number: public_verdict(judgement) for number, judgement in rows.standing().items()}


def _counts(subs: list[Submission]) -> Json:
    return {
        "submissions": len(subs),
        "scored": sum(s.status == "scored" for s in subs),
        "records": sum(s.record is not None and s.repeat_of is None for s in subs),
        "pending": sum(s.status in ("queued", "running") for s in subs),
        "failed": sum(s.status in ("failed", "timed_out", "refused") for s in subs),
    }


def ladder_view(lab: Lab, rows: Rows) -> Json:
    ladder = lab.ladder(rows)
    return {
        "start": ladder.accuracy(ladder.start),
        "step": ladder.step,
        "best": ladder.accuracy(ladder.best),
        "next": ladder.accuracy(ladder.best + 1),
        "rungs": ladder.rungs,
    }


def budget(lab: Lab, rows: Rows, who: str) -> Json:
    """Answers, bits, submissions, dollars, tokens and minutes: the fleet's and one's own."""
    rules, taken = lab.budget(rows), rows.answers_taken()
    given, _ = rows.ladder_state()
    rungs = lab.ladder(rows).rungs
    earlier = lab.earlier()
    limit = lab.settings.budget.submissions
    used = rows.count_submissions(who)
    top = (earlier.answers if earlier else 0) + given
    return {
        "answers": {
            "total": rules.total,
            "taken": sum(taken.values()),
            "given": given,
            "share": rules.share,
            "yours": taken.get(who, 0),
            "left_for_you": rules.left(taken, who),
        },
        "submissions": {"limit": limit, "used": used, "left": max(0, limit - used)},
        "bits": {
            "released_at_most": round(released_bits(given, rungs), 1),
            "bound_of_the_run": round(released_bits(rules.total, rungs), 1),
        },
        **spending.view(lab, rows, who),
        "practice": practice_view(lab, rows),
        "label_set": {
            "earlier_runs": earlier.labs if earlier else None,
            "earlier_answers": earlier.answers if earlier else None,
            "earlier_bits_at_most": round(earlier.bits, 1) if earlier else None,
            "answers_in_all": top,
            "hard_top": HARD_TOP,
        },
        "phase": lab.phase(rows),
        "seconds_left": lab.seconds_left(),
    }


def practice_view(lab: Lab, rows: Rows) -> Json:
    """Practice answers and the bits that they released beside the Ladder's."""
    total, given, items = lab.settings.scoring.practice, rows.count_practice(), lab.feedback.test_items
    return {
        "total": total,
        "given": given,
        "left": max(0, total - given),
        "bits_released_at_most": round(practice.released_bits(given, items), 1),
        "note": practice.warning(lab.feedback, total) if total else "off",
    }


def brief(lab: Lab, person: ResearcherRow | None) -> Json:
    """The problem, the rules, and who you are."""
    return {
        **public_card(lab.problem),
        "baselines": list(lab.feedback.baselines),
        "you": None
        if person is None
        else {"name": person.name, "kind": person.kind, "direction": person.direction, "status": person.status},
        "tracks": {name: TRACKS.get(name, "") for name in lab.policy.tracks},
        "audits": AUDITED,
        "scoring": {
            "seeds": lab.settings.scoring.seeds,
            "timeout_per_seed": lab.settings.scoring.timeout,
            "memory_mb": lab.settings.isolation.memory_mb,
            "method_bytes": MOST_BYTES,
            "payload": dict(lab.policy.payload),
            "practice": practice.warning(lab.feedback, total) if (total := lab.settings.scoring.practice) else "off",
        },
    }


def post_view(lab: Lab, rows: Rows, post: Post) -> Json:
    """A post as data: its author, its text, and beside it what the lab itself says of the submission it cites."""
    view = asdict(post)
    view["created"] = round(post.created)
    cited = rows.submission(post.submission) if post.submission is not None else None
    view["verified"] = None if cited is None else verified(cited, lab.feedback)
    view["family"] = rows.declared("post", post.id)
    return view


def verified(row: Submission, card: TaskCard) -> Json:
    whole = submission_view(row, card)
    return {k: whole[k] for k in ("id", "researcher", "name", "status", "answer", "record", "record_pgr", "ranked")}


def run_view(lab: Lab, rows: Rows) -> Json:
    """Everything, exact scores included: for the operator's eyes only."""
    evaluations = rows.evaluations()
    scores: dict[int, list[Score]] = {}
    for score in rows.scores():
        scores.setdefault(score.evaluation, []).append(score)
    subs = rows.submissions()
    last = rows.last_line()
    phase, target = lab.phase(rows), lab.target(rows)
    return {
        "lab": {**rows.meta("lab"), "folder": str(lab.folder), "isolation": lab.settings.isolation.kind},
        "settings": asdict(lab.settings),
        "problem": {"name": lab.problem.name, "title": lab.problem.title, "brief": lab.problem.brief},
        "tasks": {p.name: [task_card(c) for c in p.tasks.values()] for p in lab.vault.problems.values()},
        "phase": phase,
        "target": target,
        "settled": phase == target and rows.pending() == 0,
        "progress": _progress(evaluations),
        "ladder": ladder_view(lab, rows),
        "budget": budget(lab, rows, "operator"),
        "leaderboard": leaderboard(lab, rows),
        "best_feedback": _best_feedback(lab, subs, evaluations, scores),
        "researchers": [
            _person(r, subs, evaluations, scores, rows.judgements())
            for r in rows.researchers()
            if r.role not in ("viewer", "fleet")
        ],
        "spending": spending.table(rows),
        "submissions": submission_views(lab, rows, subs, whole=True),
        "evaluations": [_evaluation(e, scores.get(e.id, [])) for e in evaluations],
        "finalists": rows.meta("finalists", []),
        "audits": [judgement_view(j) | {"submission": j.submission} for j in rows.judgements()],
        "winner": rows.meta("winner"),
        "posts": [post_view(lab, rows, p) for p in rows.posts()],
        "ideas": [asdict(i) for i in rows.ideas()],
        "ledger": {"lines": last.number if last else 0, "head": last.hash if last else ""},
    }


def _progress(evaluations: list[Evaluation]) -> Json:
    out: Json = {}
    for e in evaluations:
        counts = out.setdefault(e.purpose, {"total": 0, "queued": 0, "running": 0, "scored": 0, "failed": 0})
        counts["total"] += 1
        counts[e.status if e.status in counts else "failed"] += 1
    return out


def _evaluation(e: Evaluation, scores: list[Score]) -> Json:
    view = {k: v for k, v in asdict(e).items() if k != "lease"}
    view["accuracy"] = fmean(s.accuracy for s in scores) if scores else None
    view["pgr"] = fmean(s.pgr for s in scores) if scores else None
    view["scores"] = [
        {
            "seed_index": s.seed_index,
            "accuracy": s.accuracy,
            "pgr": s.pgr,
            "items": s.items,
            "cpu_seconds": s.cpu_seconds,
        }
        for s in scores
    ]
    return view


def _person(
    row: ResearcherRow, subs: list[Submission], evaluations: list[Evaluation], scores: dict[int, list[Score]],
    judgements: list[Judgement],
) -> Json:  # fmt: skip
    mine = {s.id for s in subs if s.researcher == row.name}
    spent = [s.cpu_seconds for e in evaluations if e.submission in mine for s in scores.get(e.id, [])]
    spent += [j.cpu_seconds for j in judgements if row.role == "lab"]  # audits are the lab's own cost
    view = {k: v for k, v in asdict(row).items() if k not in ("token_hash", "options")}
    return {**view, **_counts([s for s in subs if s.id in mine]), "method_cpu_seconds": round(sum(spent), 3)}


def _best_feedback(
    lab: Lab, subs: list[Submission], evaluations: list[Evaluation], scores: dict[int, list[Score]]
) -> Json | None:
    """The highest exact feedback score of a researcher so far."""
    of = {s.id: s for s in subs}
    means = [
        (fmean(s.accuracy for s in scores[e.id]), e.submission)
        for e in evaluations
        if e.purpose == "feedback" and e.id in scores
    ]
    if not means:
        return None
    accuracy, number = max(means)
    return {
        "id": number, "researcher": of[number].researcher, "name": of[number].name,
        "accuracy": accuracy, "pgr": lab.feedback.pgr(accuracy),
    }  # fmt: skip
