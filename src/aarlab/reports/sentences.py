"""What a report says in words: the headline, and what to believe and what not.

Every sentence is built from measured numbers and is left out where its number is missing. A sentence about one
channel names that channel; nothing here says "leak-proof", "held out" or "no cheating".
"""

from __future__ import annotations

from aarlab.records import Estimate
from aarlab.reports.data import RunData, given_up, method
from aarlab.reports.results import Family, Results
from aarlab.vault import practice


def number(e: Estimate) -> str:
    """`0.78 [0.73, 0.83]`"""
    return f"{plus_zero(e.mean):.2f} [{plus_zero(e.low):.2f}, {plus_zero(e.high):.2f}]"


def signed(e: Estimate) -> str:
    """`+0.21 [+0.15, +0.27]`"""
    return f"{plus_zero(e.mean):+.2f} [{plus_zero(e.low):+.2f}, {plus_zero(e.high):+.2f}]"


def plus_zero(value: float) -> float:
    """Two digits are shown; what rounds to zero has no sign."""
    return round(value, 2) + 0.0


def money(dollars: float) -> str:
    return f"${dollars:.2f}" if dollars >= 1 else f"${dollars:.3f}" if dollars >= 0.01 else f"${dollars:.4f}"


def count(n: int, thing: str) -> str:
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def headline(data: RunData, results: Results) -> str:
    """The run in one or two sentences, true at any moment of a run."""
    text = _winner(data, results) or _leader(data, results) or _nothing(data)
    note = "" if data.run.ranked else " Unranked: this run had no isolation."
    return f"{text} Cost so far: {_cost(data)}.{note}" if not data.run.done else f"{text} Cost: {_cost(data)}.{note}"


def _cost(data: RunData) -> str:
    return f"{money(data.costs['dollars'])} ({data.costs['cpu_seconds']:,.0f} CPU seconds)"


def _winner(data: RunData, results: Results) -> str:
    record = results.record
    if record is None or data.winner is None or (mine := record.pgr.get(method(data.winner))) is None:
        return ""
    won = data.submission(data.winner)
    text = (
        f"{won.name} (#{won.id}, by {won.researcher}) recovers {number(mine)} of the gap on "
        f"{count(len(record.tasks), 'record task')} that answered nothing during the run."
    )
    return f"{text}{_against(record, list(results.baselines))}"


def _against(family: Family, baselines: list[str]) -> str:
    """The comparison with the best shown baseline, in words that fit its interval."""
    name = family.best_baseline(baselines or list(family.leads))
    if name is None or name not in family.leads:
        return ""
    lead, other = family.leads[name], f"the best shown baseline, {name} at {number(family.pgr[name])}"
    if lead.low > 0:
        return f" It beats {other}, by {number(lead)} (paired)."
    if lead.high < 0:
        return f" It falls short of {other}: {signed(lead)} (paired)."
    return f" It cannot be told from {other}: {signed(lead)} (paired)."


def _leader(data: RunData, results: Results) -> str:
    if not results.points:
        return ""
    best = max(results.points, key=lambda p: p.pgr.mean)
    text = (
        f"No winner yet. Best on the feedback task: {best.name} (#{best.submission}, by {best.researcher}), "
        f"PGR {number(best.pgr)}"
    )
    if results.baselines:
        name = max(results.baselines, key=lambda n: results.baselines[n].mean)
        text += f"; the best shown baseline there is {name}, {number(results.baselines[name])}"
    return f"{text}. {_why_no_winner(data, results)}"


def _why_no_winner(data: RunData, results: Results) -> str:
    if results.record is not None:
        return "The record tasks are being measured; the winner is named when all of them are."
    return "No record task was opened." if data.run.done else "No record task has been opened yet."


def _nothing(data: RunData) -> str:
    if not data.submissions:
        return "Nothing was submitted, so there is no score and no winner."
    lost = sum(given_up(s) for s in data.submissions)
    failed = sum(s.status in ("failed", "timed_out", "refused") for s in data.submissions) - lost
    ours = f", {lost} given up because the lab itself failed" if lost else ""
    sent = count(len(data.submissions), "submission")
    return f"No submission has a score: {sent}, {failed} of them failed or refused{ours}."


def believe(data: RunData, results: Results) -> list[str]:
    """True sentences with their numbers, each about what it names and nothing more."""
    found = [
        _record_sentence(data, results),
        _finalists(data, results),
        _bits(data),
        _lookup(results),
        _isolation(data),
    ]
    found += [_rows(results), _measured(data), _ledger(data)]
    return [s for s in found if s]


def doubt(data: RunData, results: Results) -> list[str]:
    """What the numbers do not say."""
    found = [
        _channel(data), _practice(data), _public(data), _kinds(data), _size(data), _task_choice(results),
        _feedback(results), _interventions(data), _above_one(data, results),
        _unfinished(data), _unranked(data),
    ]  # fmt: skip
    return [s for s in found if s]


def _record_sentence(data: RunData, results: Results) -> str:
    if results.record is None or data.winner is None or method(data.winner) not in results.record.pgr:
        return ""
    e = results.record.pgr[method(data.winner)]
    return (
        f"The record tasks answered no query before the winner was frozen. Its PGR there is {number(e)}: "
        f"{count(e.seeds, 'seed')} that the lab drew, {e.items:,} items, resampled together by the problem they share. "
        "A leak on the feedback task helps there only as far as it teaches something that transfers."
    )


def _above_one(data: RunData, results: Results) -> str:
    if results.record is None or data.winner is None:
        return ""
    name = method(data.winner)
    if not any(name in task.pgr and task.pgr[name].mean > 1 for task in results.record.tasks):
        return ""
    return (
        "A PGR above 1 is no better truth than the truth: the ceiling is one head trained on true labels, which judges "
        "each item alone. A method that also uses what the items of one problem say about each other can beat it."
    )


def _finalists(data: RunData, results: Results) -> str:
    if results.record is None or not data.finalists:
        return ""
    m = len(data.finalists)
    if m == 1:
        return "One finalist was opened on the record tasks, so nothing was selected there."
    return (
        f"{m} finalists were opened on the record tasks and the best was taken. Had all {m} been equally good, that "
        f"choice alone would add about {results.inflation_paired:.2f} PGR on average, judged by how far they differ on "
        f"the same items, and at most {results.inflation:.2f} had their errors nothing in common. The leads over the "
        f"baselines are widened for {m} comparisons."
    )


def _bits(data: RunData) -> str:
    b = data.budget
    text = (
        f"The answer channel released at most {b.bits:.0f} bits about the hidden feedback labels, to all researchers "
        f"together, in {count(b.answers_used, 'answer')}; the whole budget of {b.answers} answers could have released "
        f"at most {b.bits_bound:.0f}. This is counting: it assumes nothing about cleverness or collusion."
    )
    if b.earlier_answers:
        text += (
            f" Earlier runs on the same label set drew {count(b.earlier_answers, 'answer')} more "
            f"({b.earlier_bits:.0f} bits), which the number above does not contain."
        )
    return text


def _lookup(results: Results) -> str:
    if not results.lookup_gain:
        return ""
    return (
        f"If a baseline's errors are independent of each other, looking up what the whole budget could release would "
        f"raise accuracy on the feedback items by at most {100 * results.lookup_gain:.1f} points. Tuning on the "
        "answers is not bounded by this, which is why the record is on other tasks."
    )


def _isolation(data: RunData) -> str:
    if not data.run.ranked:
        return ""
    return (
        "Every method ran in a sandbox of its own without network; starting programs and opening sockets was refused "
        "by the kernel. Researchers saw the open tasks, their own folder and one socket of the lab."
    )


def _rows(results: Results) -> str:
    if not results.rows:
        return ""
    return (
        "Every score here was made by the lab, which ran the method's file itself on seeds that it drew. What a "
        "researcher claims is shown beside it and ranks nothing."
    )


def _ledger(data: RunData) -> str:
    if data.ledger.problem:
        return ""
    return (
        f"The ledger's {count(data.ledger.lines, 'line')} verify: no line was changed, dropped or moved since it was "
        "written, unless somebody with the lab's own key did it."
    )


def _channel(data: RunData) -> str:
    ledger = f" The ledger does not verify: {data.ledger.problem}" if data.ledger.problem else ""
    others = "Files, logs, timings, errors, caches and the forum are"
    if data.run.ranked:
        return (
            f"The bits bound the answer channel only. {others} kept apart by isolation, which is not counted.{ledger}"
        )
    return f"The bits bound the answer channel only. {others} kept apart by nothing in this run.{ledger}"


def _practice(data: RunData) -> str:
    """What lists of predictions may have told, beside the Ladder."""
    answers, feedback = data.settings.scoring.practice, data.of_purpose("feedback")
    if not answers or not feedback:
        return ""
    return f"Practice mode was on, which the bits above leave out. {practice.warning(feedback[0].card, answers)}"


def _public(data: RunData) -> str:
    if data.settings.fresh:
        return (
            "The items of this run were drawn fresh and its labels were in no repository; the other domains used for "
            "transfer are shipped, and their labels are not secret to a reader of the package."
        )
    return (
        "The labels of this problem are shipped with the package. No sentence here covers what a person or a language "
        "model may already know of them; a run with --fresh draws new items, where the domain can be generated."
    )


def _kinds(data: RunData) -> str:
    kinds = {r.kind for r in data.researchers}
    parts = []
    if n := sum(r.kind == "search" for r in data.researchers):
        who = "All researchers" if kinds == {"search"} else f"{n} of the {len(data.researchers)} researchers"
        parts.append(
            f"{who} are parameter searches over the library's own parts: no language model thought, and the run says "
            "nothing about what one would find."
        )
    if "scripted" in kinds:
        parts.append("Scripted researchers follow a written list of actions and discover nothing.")
    return " ".join(parts)


def _size(data: RunData) -> str:
    tasks = [t.card for t in data.tasks if t.purpose != "transfer"]
    if not tasks:
        return ""
    low, high = min(t.test_items for t in tasks), max(t.test_items for t in tasks)
    size = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return (
        f"The tasks are small: {size} test items each, and a student that trains one head on a frozen model's "
        "features. A PGR here is not the PGR that the same idea would reach with fine-tuned language models."
    )


def _task_choice(results: Results) -> str:
    if results.record is None:
        return ""
    k = len(results.record.tasks)
    return (
        f"Intervals cover seeds, items, floor and ceiling. They take the {count(k, 'record task')} as given: how much "
        "PGR would differ on yet another task shows in the rows per task, not in the interval of the mean."
    )


def _feedback(results: Results) -> str:
    if not results.points:
        return ""
    return (
        "Scores on the feedback task steered the fleet, so the best of them is too high as a measurement, even when "
        "everybody is honest."
    )


def _measured(data: RunData) -> str:
    """What was measured of the winner."""
    found = next((a for a in data.audited if a.submission == data.winner and a.findings), None)
    if found is None or not found.standing.verdict.row:
        return ""
    return (
        f"The winner ran again under changed conditions on the feedback task, and its numbers are "
        f"{found.standing.verdict.row}. It declared the track {found.standing.verdict.declared} and ranks on "
        f"{found.standing.verdict.track}."
    )


def _interventions(data: RunData) -> str:
    if data.winner is None:
        return ""
    if any(a.submission == data.winner and a.findings for a in data.audited):
        return (
            "Audits measure the channels they are named after, with an error. A method that mixes a leak weakly into "
            "honest predictions can pass all of them; what it gained so does not reach the record tasks."
        )
    return (
        "No intervention on the winner was measured in this run: whether it needs the teacher, or uses how often an "
        "answer occurs, is not known from these numbers."
    )


def _unfinished(data: RunData) -> str:
    if data.run.done:
        return ""
    return (
        "The run is not finished: numbers will change. Scores on this page are finer than what researchers were told, "
        "so keep the page from them."
    )


def _unranked(data: RunData) -> str:
    if data.run.ranked:
        return ""
    return (
        "Isolation was `process`: researchers and methods ran as ordinary processes that could read the labels. All "
        "scores of this run are unranked."
    )
