"""A search researcher: tries recipes on the open task, submits the promising ones, reads and writes the forum.

It has no language model. It searches the space of recipes (`aarlab.w2s.compose`) from its direction outwards, checks
what it finds on two test sets, takes over what others proved, removes parts that earn nothing, and says what it saw.
Everything it must not forget is in `journal.jsonl` in its workspace; `notebook.md` is the same for people.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aarlab.errors import AarlabError, BudgetSpent, Infrastructure, InputError, NotAllowed
from aarlab.researchers import findings
from aarlab.researchers.bench import Bench, Entry
from aarlab.researchers.directions import direction, simpler
from aarlab.researchers.journal import Journal
from aarlab.researchers.proposals import Proposal, Proposer
from aarlab.w2s.compose import CHOICES, Recipe
from aarlab.w2s.open_task import OpenTask

Json = dict[str, Any]

BEAT_SECONDS = 4.0
READ_SECONDS = 12.0
NARROW_SHARE = 0.35
"""Share of the time spent inside the direction."""
FIRST_DUE, LAST_DUE = 0.15, 0.94
"""When the first answer is asked for and the last at the latest, as shares of the time."""
LEAST_GAIN = 0.005
"""PGR on the open task by which a recipe must beat the best submitted one to be worth an answer."""
REPLIES = 3
ABLATIONS = 2


class Lab(Protocol):
    """The part of `aarlab.client.LabClient` that a researcher uses."""

    def brief(self) -> Json: ...
    def budget(self) -> Json: ...
    def submit(
        self, name: str, source: str, parent: int | None = None, claimed_pgr: float | None = None,
        note: str = "", key: str | None = None, track: str = "inductive",
    ) -> Json: ...  # fmt: skip
    def submission(self, number: int) -> Json: ...
    def methods(self) -> list[Json]: ...
    def method(self, number: int) -> Json: ...
    def posts(self, search: str = "", kind: str | None = None, since: int = 0, limit: int = 100) -> list[Json]: ...
    def post(
        self, kind: str, title: str, body: str, parent: int | None = None, submission: int | None = None,
        key: str | None = None,
    ) -> Json: ...  # fmt: skip
    def heartbeat(self, state: str = "", best_open_pgr: float | None = None, trials: int = 0) -> Json: ...


@dataclass(frozen=True)
class Setup:
    """Who the researcher is and where it works."""

    name: str
    direction: str
    seed: int
    data: Path
    workspace: Path
    minutes: float = 3.5  # taken when the lab does not say how much time is left


class Clock:
    """How much of the research time is gone, as a share: from the lab's own clock where it tells, else from ours."""

    def __init__(self, workspace: Path, minutes: float) -> None:
        self.path = workspace / "clock.txt"
        self.total = 60 * minutes
        self.agreed = False  # whether `total` comes from the lab
        self._before = self._read()
        self._began = time.monotonic()
        self._left: tuple[float, float] | None = None

    def hear(self, reply: Json) -> None:
        """Take `seconds_left` from a reply, if it has one. The first one heard fixes how long the whole is."""
        left = reply.get("seconds_left")
        if not isinstance(left, (int, float)) or left < 0:
            return
        self._left = (float(left), time.monotonic())
        if not self.agreed:
            self.total, self.agreed = max(float(left) + self.ours(), 1.0), True

    def ours(self) -> float:
        """Seconds this researcher has worked, earlier processes included."""
        return self._before + time.monotonic() - self._began

    def share(self) -> float:
        if self._left is not None:
            left, heard = self._left
            return 1 - max(0.0, left - (time.monotonic() - heard)) / max(self.total, 1.0)
        return self.ours() / self.total

    def save(self) -> None:
        self.path.write_text(f"{self.ours():.1f} {self.total:.1f} {int(self.agreed)}\n")

    def _read(self) -> float:
        try:
            ours, total, agreed = self.path.read_text().split()
            self.total, self.agreed = float(total), agreed == "1"
            return float(ours)
        except (OSError, ValueError):
            return 0.0


class SearchResearcher:
    """One researcher. `run` returns when the time or the budget is out or the lab says so."""

    def __init__(self, lab: Lab, setup: Setup) -> None:
        self.lab, self.setup = lab, setup
        setup.workspace.mkdir(parents=True, exist_ok=True)
        self.plan = direction(setup.direction)
        self.journal = Journal(setup.workspace / "journal.jsonl")
        self.clock = Clock(setup.workspace, setup.minutes)
        self.bench = Bench(OpenTask.load(setup.data), 1000 * (setup.seed + 1))
        self.proposer = Proposer(self.plan, setup.seed)
        self.stopping = False
        self.beaten = self.read = self.budgeted = -1e9
        self.left = 1
        self.adopted: dict[str, int] = {}  # recipe key -> submission of another researcher
        self.posts_of: dict[int, int] = {}  # submission -> post that reports it
        self._remember()

    # The loop

    def run(self) -> None:
        self._resend()
        self._once("hypothesis", self._first_title(), self._first_body())
        while not self._over():
            try:
                self._beat()
                self._read_others()
                self._hear_answers()
                self._submit_if_due()
                if not self.stopping:
                    self._try_one()
                    self._tell_what_was_learnt()
            except Infrastructure as error:
                self._note(f"the lab was away: {error}")
                time.sleep(1.0)
            except NotAllowed as error:
                self._note(f"the lab ended this: {error}")
                break
        self._note(f"stopped after {len(self.bench.entries)} recipes")
        self.journal.close()

    def stop(self, *_: Any) -> None:
        self.stopping = True

    def _over(self) -> bool:
        if self.stopping or self.clock.share() >= 1.0:
            return True
        return self.left <= 0 and not self._waiting()

    def _beat(self) -> None:
        if time.monotonic() - self.beaten < BEAT_SECONDS:
            return
        best = self.bench.best()[:1]
        state = f"best: {best[0].recipe.title()}" if best else "looking around"
        reply = self.lab.heartbeat(state, round(best[0].mean, 4) if best else None, len(self.bench.entries))
        self.beaten = time.monotonic()
        self.clock.hear(reply)
        self.clock.save()
        self.stopping = self.stopping or bool(reply.get("stop"))

    # Trying

    def _try_one(self) -> None:
        proposal = self.proposer.next(wide=self.clock.share() > NARROW_SHARE)
        key = proposal.recipe.key()
        try:
            entry = self.bench.try_out(proposal.recipe)
        except Exception as error:  # any failure of a method, whatever it is, is a finding
            self._report_error(proposal.recipe, error)
            self.journal.add("broken", key=key, recipe=proposal.recipe.changes())
            self.proposer.tell(proposal, -1.0)
            return
        self.proposer.tell(proposal, entry.value)
        self._record(entry, proposal)
        if key in self.adopted and entry.full:
            self._reply_to(self.adopted[key], entry)

    def _record(self, entry: Entry, proposal: Proposal) -> None:
        self.journal.add(
            "trial", key=entry.recipe.key(), recipe=entry.recipe.changes(), look=entry.look, scores=entry.scores,
            seconds=round(entry.seconds, 3), why=proposal.why, parent=proposal.parent,
        )  # fmt: skip
        if entry.full and self.bench.best()[0] is entry:
            self._note(f"best so far, open PGR {entry.mean:.3f}: {entry.recipe.title()} ({proposal.why})")

    def _remember(self) -> None:
        """Refill bench and sampler from the journal."""
        for event in self.journal.of("trial"):
            recipe = Recipe.from_changes(event["recipe"])
            entry = Entry(recipe, event["look"], list(event["scores"]), event["seconds"])
            self.bench.restore(entry)
            self.proposer.tell(Proposal(recipe, event["why"], event["parent"]), entry.value)
        for event in self.journal.of("broken"):
            self.proposer.tell(Proposal(Recipe.from_changes(event["recipe"]), "broken"), -1.0)
        for event in self.journal.of("adopted"):
            self.adopted[event["key"]] = event["submission"]
        for event in self.journal.of("report"):
            self.posts_of[event["submission"]] = event["post"]

    # Submitting

    def _submit_if_due(self) -> None:
        if time.monotonic() - self.budgeted > BEAT_SECONDS:
            budget = self.lab.budget()
            self.clock.hear(budget)
            self.left = min(budget["answers"]["left_for_you"], budget["submissions"]["left"])
            self.budgeted = time.monotonic()
        sent = self.journal.of("submit")
        if self.left <= 0 or self._waiting():
            return
        due = FIRST_DUE + (LAST_DUE - FIRST_DUE) * len(sent) / max(len(sent) + self.left - 1, 1)
        late = self.clock.share() - due
        if late < 0:
            return
        entry = self._candidate(late)
        if entry is not None:
            self._submit(entry)

    def _candidate(self, late: float) -> Entry | None:
        """The recipe worth an answer now: clearly better than the best submitted one, or, once overdue, about as good
        and of another kind."""
        sent = {e["key"] for e in self.journal.of("submit")} | set(self.adopted)
        fresh = [e for e in self.bench.best() if e.recipe.key() not in sent]
        known = [e for e in self.bench.best() if e.recipe.key() in sent]
        if not fresh:
            return None
        if not known:
            return fresh[0]
        gain, error = self.bench.difference(fresh[0], known[0])
        if gain > max(LEAST_GAIN, 0.5 * error):
            return fresh[0]
        titles = {e.recipe.title() for e in known}
        others = [e for e in fresh if e.recipe.title() not in titles and e.value > known[0].value - 0.02]
        return others[0] if others and late > 0.08 else None

    def _submit(self, entry: Entry) -> None:
        recipe = entry.recipe
        parent = self._parent_of(recipe)
        body = {
            "name": recipe.title(),
            "source": recipe.source(),
            "parent": parent,
            "claimed_pgr": round(entry.mean, 4),
            "note": f"open task: {_scores(entry)}",
            "key": f"{self.setup.name}-{recipe.key()}",
            "track": recipe.track(),
        }
        self.journal.add("submit", key=recipe.key(), body=body)
        self._send(recipe.key(), body)

    def _send(self, key: str, body: Json) -> None:
        try:
            reply = self.lab.submit(**body)
        except BudgetSpent as error:
            self.journal.add("submitted", key=key, id=None)
            self.left = 0
            self._note(str(error))
            return
        except NotAllowed:
            self.journal.add("submitted", key=key, id=None)
            self.stopping = True
            return
        except InputError as error:  # refused at the door: not sent again
            self.journal.add("submitted", key=key, id=None)
            self._note(f"submission refused: {error}")
            return
        self.journal.add("submitted", key=key, id=reply["id"])
        self.left -= 1
        self._note(f"submission {reply['id']}: {body['name']}, claimed {body['claimed_pgr']}")

    def _resend(self) -> None:
        """Carry out what an earlier process intended and could not confirm; the keys make it harmless."""
        for event in self.journal.unconfirmed("submit", "submitted"):
            self._send(event["key"], event["body"])
        for event in self.journal.unconfirmed("post", "posted"):
            self._send_post(event["key"], event["body"])

    def _waiting(self) -> list[Json]:
        answered = {e["id"] for e in self.journal.of("answer")}
        return [e for e in self.journal.of("submitted") if e["id"] is not None and e["id"] not in answered]

    def _hear_answers(self) -> None:
        for event in self._waiting():
            row = self.lab.submission(event["id"])
            if row["status"] in ("queued", "running"):
                continue
            self.journal.add("answer", id=row["id"], key=event["key"], status=row["status"], answer=row.get("answer"))
            self._note(f"submission {row['id']}: {row['status']}, {row.get('answer')}")
            self._report_answer(row, self.bench.entries.get(event["key"]))

    def _parent_of(self, recipe: Recipe) -> int | None:
        found = [e["parent"] for e in self.journal.of("trial") if e["key"] == recipe.key()]
        return next((int(p) for p in found if p is not None), None)

    # Reading others

    def _read_others(self) -> None:
        if time.monotonic() - self.read < READ_SECONDS:
            return
        self.read = time.monotonic()
        news = findings.sync(self.lab, self.setup.workspace)
        for post in news.posts:
            if post["kind"] == "result" and post.get("submission") and post["researcher"] != self.setup.name:
                self.posts_of.setdefault(post["submission"], post["id"])
        for method in news.methods:
            if method.researcher == self.setup.name:
                continue
            recipe = Recipe.from_source(method.source)
            if recipe is None or recipe.key() in self.adopted:
                continue
            self.adopted[recipe.key()] = method.id
            self.journal.add("adopted", key=recipe.key(), submission=method.id)
            if method.record_pgr is not None:  # the lab announced it: worth building on
                self.proposer.adopt(recipe, method.id)
                self._note(f"read submission {method.id} of {method.researcher}: {method.name}, {method.record_pgr}")

    # Writing

    def _report_answer(self, row: Json, entry: Entry | None) -> None:
        if row["status"] != "scored":
            text = f"Submission {row['id']} ended as {row['status']} ({row.get('reason') or 'no reason given'})."
            self._once("error", f"{row['name']}: {row['status']}", text, submission=row["id"])
            return
        recipe = "" if entry is None else f"\n\nRecipe: `{entry.recipe.to_json()}`\nOpen task: {_scores(entry)}."
        parent = f"\nBuilds on submission {row['parent']}." if row.get("parent") else ""
        body = f"{row['name']}: {row.get('answer')}.{recipe}{parent}"
        reply = self._once("result", f"{row['name']}: {row.get('answer')}", body, submission=row["id"])
        if reply is not None:
            self.posts_of[row["id"]] = reply
            self.journal.add("report", submission=row["id"], post=reply)

    def _report_error(self, recipe: Recipe, error: Exception) -> None:
        last = traceback.format_exception_only(error)[-1].strip()
        title = f"{type(error).__name__} in {recipe.title()}"
        self._note(f"{title}: {last}")
        self._once("error", title, f"On the open task: `{last}`\n\nRecipe: `{recipe.to_json()}`")

    def _reply_to(self, submission: int, entry: Entry) -> None:
        """Say how another's method does on our seeds: a replication."""
        post = self.posts_of.get(submission)
        mine = [e for e in self.bench.best() if e.recipe.key() not in self.adopted]
        if post is None or not mine or len(self.journal.of("reply")) >= REPLIES:
            return
        gain, error = self.bench.difference(entry, mine[0])
        text = (
            f"Tried on my seeds and with the open task's train and test exchanged: {_scores(entry)}.\n"
            f"Against my best ({mine[0].recipe.title()}): {gain:+.3f} ± {error:.3f}, paired."
        )
        if self._once("result", f"Replication of submission {submission}", text, parent=post) is not None:
            self.journal.add("reply", submission=submission)

    def _tell_what_was_learnt(self) -> None:
        share = self.clock.share()
        if share > 0.5 and len(self.bench.entries) >= 20 and not self.journal.of("summary"):
            self.journal.add("summary")
            self._once("insight", f"What {len(self.bench.entries)} trials say about each choice", self._summary())
        done = self.journal.of("ablation")
        best = self.bench.best()[:1]
        if not best or len(done) >= ABLATIONS or share < (0.4, 0.75)[len(done)]:
            return
        if best[0].recipe.key() not in {e["key"] for e in done}:
            self._ablate(best[0])

    def _ablate(self, entry: Entry) -> None:
        """Take the best recipe's parts away one by one, on the same seeds: what earns its place?"""
        self.journal.add("ablation", key=entry.recipe.key())
        lines = []
        for part, left in simpler(entry.recipe):
            self._beat()
            proposal = Proposal(left, f"the best without {part}", self._parent_of(entry.recipe))
            try:
                other = self.bench.try_out(left, thorough=True)
            except Exception as error:
                self._report_error(left, error)
                continue
            self.proposer.tell(proposal, other.value)
            self._record(other, proposal)
            loss, error_of = self.bench.difference(other, entry)
            lines.append(f"- without `{part}` = {getattr(entry.recipe, part)!r}: {loss:+.3f} ± {error_of:.3f}")
        if lines:
            text = f"Open-task PGR, paired over {len(entry.scores)} evaluations ({_scores(entry)} whole):\n\n"
            self._once("insight", f"Parts of {entry.recipe.title()}", text + "\n".join(lines))

    def _summary(self) -> str:
        lines = ["Mean first-look PGR by choice (number of recipes):", ""]
        entries = list(self.bench.entries.values())
        for name, menu in CHOICES.items():
            cells = []
            for choice in menu:
                looks = [e.look for e in entries if getattr(e.recipe, name) == choice]
                if looks:
                    cells.append(f"{choice} {np.mean(looks):.2f} ({len(looks)})")
            lines.append(f"- {name}: " + ", ".join(cells))
        best = self.bench.best()[:1]
        if best:
            lines += ["", f"Best: {best[0].recipe.title()}, {_scores(best[0])}, `{best[0].recipe.to_json()}`"]
        return "\n".join(lines)

    def _first_title(self) -> str:
        return f"{self.setup.direction or 'undirected'}: where I start"

    def _first_body(self) -> str:
        starts = "\n".join(f"- {r.canonical().title()}" for r in self.plan.starts)
        return f"{self.plan.hypothesis}\n\nFirst I try:\n{starts}"

    def _once(
        self, kind: str, title: str, body: str, parent: int | None = None, submission: int | None = None
    ) -> int | None:
        """Post, once for each title; returns the post's number, None when it was posted before or refused."""
        key = hashlib.sha256(f"{kind} {title} {submission}".encode()).hexdigest()[:12]
        if any(e["key"] == key for e in self.journal.of("post")):
            return None
        text: Json = {
            "kind": kind,
            "title": title[:300],
            "body": body[:20000],
            "parent": parent,
            "submission": submission,
        }
        text["key"] = f"{self.setup.name}-post-{key}"
        self.journal.add("post", key=key, body=text)
        return self._send_post(key, text)

    def _send_post(self, key: str, text: Json) -> int | None:
        try:
            reply = self.lab.post(**text)
        except Infrastructure:
            raise
        except AarlabError as error:
            self.journal.add("posted", key=key, id=None)
            self._note(f"post refused: {error}")
            return None
        self.journal.add("posted", key=key, id=reply["id"])
        return int(reply["id"])

    def _note(self, text: str) -> None:
        """One line in the notebook."""
        with (self.setup.workspace / "notebook.md").open("a", encoding="utf-8") as file:
            file.write(f"- {self.clock.ours():6.1f} s: {text}\n")


def _scores(entry: Entry) -> str:
    if len(entry.scores) < 2:
        return f"PGR {entry.mean:.3f}"
    error = float(np.std(entry.scores, ddof=1)) / len(entry.scores) ** 0.5
    return f"PGR {entry.mean:.3f} ± {error:.3f} over {len(entry.scores)} evaluations"


def main(environment: dict[str, str]) -> None:
    """Run in the current folder, as the environment says."""
    from aarlab.client import LabClient

    setup = Setup(
        name=environment["AARLAB_NAME"],
        direction=environment.get("AARLAB_DIRECTION", ""),
        seed=int(environment.get("AARLAB_SEED", "0")),
        data=Path(environment["AARLAB_DATA"]),
        workspace=Path(os.getcwd()),
        minutes=float(environment.get("AARLAB_MINUTES") or 3.5),
    )
    with LabClient(environment["AARLAB_ADDRESS"], environment["AARLAB_TOKEN"]) as lab:
        researcher = SearchResearcher(lab, setup)
        signal.signal(signal.SIGTERM, researcher.stop)
        signal.signal(signal.SIGINT, researcher.stop)
        researcher.run()
