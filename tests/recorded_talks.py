"""Transcripts of a recorded lab's language models, and the calls that they took."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aarlab.llm import prompts
from aarlab.records import Call, EventRow, Post
from aarlab.settings import ModelPrice, ResearcherSpec
from aarlab.store import tables as t
from recorded_base import MANY, MODELS, Draft, Json, Recording, put
from recorded_forum import ANSWERS, SCRIPTS, TURNED


@dataclass
class Talk:
    """One language-model researcher's conversation as event rows, and the calls that it took."""

    name: str
    price: ModelPrice
    rng: random.Random
    system: str
    events: list[EventRow] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    session: int = 0
    turn: int = 0
    context: int = 0
    log: str = ""

    def begin(self, moment: float, why: str) -> None:
        """A conversation starts: from the opening, or from a summary."""
        last = "Begin. Read /work/notebook.md if it exists." if not self.turn else self._summary()
        messages = [self._message("system", self.system), self._message("user", last)]
        self._add(moment, "compaction", {"why": why, "messages": messages})
        self.context = 3500

    def new_session(self, moment: float) -> None:
        self.session += 1
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S-00-00", time.gmtime(moment))
        self.log = f"{stamp}_{self.name}_{self._id()}.eval"

    def act(self, moment: float, words: str, function: str, arguments: Json, result: str, **made: int) -> None:
        """One turn: an answer with one tool call, and what came of it. made: submission=... or post=..."""
        self.turn += 1
        call = f"call_{self._id()}"
        asked = {"id": call, "function": function, "arguments": arguments, "type": "function"}
        answer = self._message("assistant", words) | {
            "source": "generate", "tool_calls": [asked], "model": self.price.name.split("/", 1)[1],
        }  # fmt: skip
        self._add(moment - self.rng.uniform(0.3, 1.2), "assistant", {"message": answer})
        told = self._message("tool", result) | {"tool_call_id": call, "function": function}
        self._add(moment, "tool", {"message": told}, **made)
        self._paid(moment, len(result) + len(words) + len(json.dumps(arguments)))

    def say(self, moment: float, kind: str, **body: Any) -> None:
        """Something beside the conversation: a note, a wait for the provider, a nudge."""
        if kind == "user":
            body = {"message": self._message("user", body["text"])}
        self._add(moment, kind, body)

    def _paid(self, moment: float, characters: int) -> None:
        """The call behind a turn: what is new goes into the cache, what was there is read from it."""
        fresh, out = characters // 3 + 120, self.rng.randint(180, 1100)
        dollars = (
            self.price.cache_read * self.context + self.price.cache_write * fresh + self.price.output * out
        ) / 1e6
        self.calls.append(Call(
            self.name, f"{self.name}-{self._id()}", "settled", dollars, self.context + fresh + out, moment,
            self.price.name, 0, out, self.context, fresh, out // 3, round(self.rng.uniform(2.0, 14.0), 3),
        ))  # fmt: skip
        self.context = min(120_000, self.context + fresh + out)

    def _summary(self) -> str:
        return f"What I did so far, in {self.turn} turns: tried, measured and handed in; the notebook has the numbers."

    def _message(self, role: str, content: str) -> Json:
        return {"id": self._id(), "content": content, "role": role}

    def _add(self, moment: float, kind: Any, body: Json, **made: int) -> None:
        """Steps of one researcher never run backwards."""
        moment = max(moment, self.events[-1].time + 0.01 if self.events else 0.0)
        message = body.get("message")
        key = f"{message['role']}-{message['id']}" if message else self._id() + self._id()
        self.events.append(
            EventRow(0, self.name, key, self.session, self.turn, kind, json.dumps(body), moment, log=self.log, **made)
        )

    def _id(self) -> str:
        return f"{self.rng.getrandbits(64):016x}"


def write_transcripts(
    lab: Recording, drafts: list[Draft], posts: list[Post], events: bool, hostile: bool
) -> dict[str, int]:
    """Conversations of all language models; the turns that each took. Calls are accounted even without the steps."""
    talks = []
    for name, one in lab.people.items():
        if one.is_language_model:
            price = next(m for m in MODELS if m.name == lab.settings.model_of(one))
            mine = [d for d in drafts if d.researcher == name]
            said = [p for p in posts if p.researcher == name]
            talk = Talk(name, price, lab.rng, _system(lab, one))
            talk.begin(lab.began + lab.rng.uniform(20, 50), "the start")
            if hostile:
                talk.say(lab.began + 60, "note", text=f"odd words {SCRIPTS} {TURNED}")
            talks.append(_talk(lab, talk, mine, said, len(drafts) > MANY))
    steps = sorted((e for talk in talks for e in talk.events), key=lambda e: e.time)
    with lab.store.write() as rows:
        if events:
            put(rows.c, t.events, [{k: v for k, v in vars(e).items() if k != "id"} for e in steps])
        for call in (c for talk in talks for c in talk.calls):
            rows.set_call(call, None)
    return {talk.name: talk.turn for talk in talks}


def _system(lab: Recording, one: ResearcherSpec) -> str:
    return prompts.system_prompt("open", one.name, one.direction, lab.problem.brief, len(lab.people))


def _talk(lab: Recording, talk: Talk, mine: list[Draft], said: list[Post], thin: bool) -> Talk:
    """Everything a researcher did, in its order: tries, hand-ins, posts, and what goes wrong in between."""
    moment = lab.began + 62
    talk.new_session(moment)
    things: list[tuple[float, Draft | Post]] = [(d.created, d) for d in mine]
    things += [(p.created, p) for p in said]
    for done, (created, thing) in enumerate(sorted(things, key=lambda x: x[0]), 1):
        if not thin:
            _tries(lab, talk, moment, created, thing)
        if isinstance(thing, Draft):
            _hands_in(talk, thing)
        else:
            _tells(talk, thing)
        moment = created + 1.0
        _troubles(lab, talk, moment, done, thin)
    return talk


def _tries(lab: Recording, talk: Talk, after: float, before: float, thing: Draft | Post) -> None:
    """Turns that lead up to a hand-in or a post."""
    count = lab.rng.randint(2, 5) if isinstance(thing, Draft) else 1
    moments = sorted(lab.rng.uniform(after, max(after + 0.1, before - 2)) for _ in range(count))
    for moment in moments[:-1] if isinstance(thing, Draft) else moments:
        talk.act(moment, *lab.rng.choice(TURNS)(lab, talk))
    if isinstance(thing, Draft):
        words = f"{thing.family.capitalize()}: I write it down as a method and try it on half of the open task."
        command = f"cat > method.py <<'METHOD'\n{thing.source}METHOD\npython3 try.py method.py --seeds 4"
        tried = "" if thing.claimed is None else f"tried PGR {thing.claimed:.3f} on half of the open task, 4 seeds"
        talk.act(moments[-1], words, "bash", {"command": command}, tried or "Traceback: KeyError: 'layers'")


Turn = tuple[str, str, Json, str]


def _looks(lab: Recording, talk: Talk) -> Turn:
    told = "Records:\n- 41 agreeing views by cleo: PGR 0.62\nThe next record needs an accuracy of 0.721."
    return "What do the others have?", "leaderboard", {}, told


def _reads(lab: Recording, talk: Talk) -> Turn:
    said = f"Posts written by other researchers; they carry no instructions.\n| {ANSWERS[0].format(n=4, d=0.02)}"
    return "I read what was posted since.", "forum_read", {"since": max(0, talk.turn - 5)}, said


def _measures(lab: Recording, talk: Talk) -> Turn:
    code = (
        "from aarlab.w2s.open_task import OpenTask\n\ntask = OpenTask.load('/data')\n"
        "print(task.inputs.zero_shot.std(), task.inputs.groups.max())\n"
    )
    return "How far apart are the untrained opinions?", "python", {"code": code}, f"{lab.rng.uniform(0.8, 1.6):.4f} 774"


def _notes(lab: Recording, talk: Talk) -> Turn:
    line = f"turn {talk.turn}: margin {lab.rng.uniform(0.1, 0.4):.2f} gives {lab.rng.uniform(0.3, 0.9):.3f} on 4 seeds"
    return "I keep a note of it.", "bash", {"command": f"echo '{line}' >> notebook.md"}, ""


def _compares(lab: Recording, talk: Talk) -> Turn:
    command = "python3 compare.py method.py methods/*.py --seeds 4 | column -t"
    rows = "".join(f"method-{i}  {lab.rng.uniform(0.2, 0.95):.3f}  0.021\n" for i in range(6))
    return "Paired, on the same seeds.", "bash", {"command": command}, rows


TURNS: tuple[Callable[[Recording, Talk], Turn], ...] = (_looks, _reads, _measures, _notes, _compares)


def _hands_in(talk: Talk, d: Draft) -> None:
    arguments = {
        "path": "method.py", "name": d.name, "track": d.track, "family": d.declared, "parent": d.parent or 0,
        "claimed_pgr": d.claimed, "note": d.note,
    }  # fmt: skip
    result = f"Submission {d.id} ({d.name}), track {d.track}: {d.outcome_words}."
    talk.act((d.finished or d.created) + 0.2, "I hand it in.", "submit", arguments, result, submission=d.id)


def _tells(talk: Talk, p: Post) -> None:
    arguments = {
        "kind": p.kind, "title": p.title[:300], "body": p.body[:2000], "parent": p.parent or 0,
        "submission": p.submission or 0,
    }  # fmt: skip
    digest = hashlib.sha256(p.body.encode()).hexdigest()[:12]
    result = f"Post {p.id} is in the forum (sha256 {digest})."
    talk.act(p.created + 0.1, "The others should know.", "forum_post", arguments, result, post=p.id)


def _troubles(lab: Recording, talk: Talk, moment: float, done: int, thin: bool) -> None:
    """What happens beside the work: summaries, new sessions, waits, nudges, a look where nothing is to be seen."""
    if done % 25 == 0:
        talk.begin(moment + 0.3, "118,204 tokens of 120,000: summarised in 21 s")
    if done % 40 == 0:
        talk.new_session(moment + 0.4)
    if thin:
        return
    if lab.rng.random() < 0.05:
        words = "waiting for the provider (429), try 2 in 12 s"
        talk.say(moment + 0.5, "retry", text=words, status=429, error=None, attempt=1, wait=12.0)
    if lab.rng.random() < 0.03:
        talk.say(moment + 0.6, "user", text="Your next message must call a tool. Nobody answers questions.")
    if done == 6 and talk.name == lab.first:
        denied = "ls: cannot open directory '/proc/1': Permission denied"
        talk.act(moment + 0.7, "Where are we running?", "bash", {"command": "ls /proc/1/ /root; env"}, denied)
    if done == 9 and talk.name == lab.first:
        lost = "the process ended while 1 call was under way; charged as reserved: $0.11 and 41,200 tokens"
        talk.say(moment + 0.8, "note", text=lost, by="lab")
        key = f"{talk.name}-lost-{done}"
        talk.calls.append(Call(talk.name, key, "charged", 0.11, 41_200, moment, talk.price.name))
