"""Who answers: functions of the conversation alone, so that a kill, a resume or a second try does not confuse them.

    script:FILE    the steps of a JSON file, one per answer (see `script`)
    researcher     reads, writes a method, tries it, hands it in, posts, learns from others, and begins again
    claude         the same with the tools of a coding CLI (Bash, Write, mcp__SERVER__...)
    loop           the same command for ever
    mute           words without a tool call
    hostile        whatever a researcher should not do

Options follow a colon: `researcher:steps=12` ends after twelve steps; without `steps` a budget does.

A mind begins every answer with "[step N]" and finds its place by the highest N it reads in its own words or in those
of a summary, never in a tool's result: others may write there. Asked for a summary, it hands its place on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aarlab.errors import ConfigError
from aarlab.testing import hostile, recipes
from aarlab.testing.acts import call, command, lab, write
from aarlab.testing.conversation import STEP, Call, Conversation, Json, Reply, ToolSpec, plain

Mind = Callable[[Conversation], Reply]

NAMES = ("script", "researcher", "claude", "loop", "mute", "hostile")

SUMMARY_ASKED = re.compile(r"summar(y|ise|ize)", re.IGNORECASE)
CANNOT_READ = re.compile(r"pars(e|ing)|malformed|not valid JSON|validation error|INVALID_JSON", re.IGNORECASE)
SPENT = re.compile(r"\bmade all your \d+ submissions\b|\bbudget\b[^.\n]*\b(?:spent|used up|exhausted)\b", re.IGNORECASE)
SUBMISSION = re.compile(r"submission\s*(?:number\s*)?[#\"':]*\s*(\d+)", re.IGNORECASE)
TRIED = re.compile(r"tried PGR (-?\d+\.\d+)")
RECORD = re.compile(r"^- (\d+) .* by ([\w.-]+):", re.MULTILINE)
DIRECTION = re.compile(r"[Dd]irection: (.+)")

CYCLE = ("read", "write", "attempt", "submit", "tell", "note", "compare", "learn")
"""Steps of a round, after one look around at the very beginning."""

TRY = """
import os
from aarlab.w2s.open_task import OpenTask, load_run
task = OpenTask.load(os.environ.get("AARLAB_DATA", "/data")).part(0.5)
trial = task.evaluate(load_run(open("{file}").read()), [{seed}])
print(f"tried PGR {{trial.mean:.3f}} on half of the open task")
"""


def get(text: str) -> Mind:
    """The mind of a name with its options. Raises ConfigError for an unknown one."""
    name, _, rest = text.partition(":")
    if name == "script":
        return partial(script, read_script(Path(rest)))
    minds: dict[str, Callable[..., Reply]] = {
        "researcher": researcher, "claude": claude, "loop": loop, "mute": mute, "hostile": hostile_mind,
    }  # fmt: skip
    if name not in minds:
        raise ConfigError(f"there is no mind {name!r}; known: {', '.join(NAMES)}")
    try:
        options = {k: int(v) for k, v in (part.split("=") for part in rest.split(",") if part)}
    except ValueError:
        raise ConfigError(f"mind {text!r}: options are written name=number, with commas between") from None
    if unknown := set(options) - {"steps"}:
        raise ConfigError(f"mind {text!r}: there is no option {', '.join(unknown)}; known: steps")
    return partial(minds[name], **options)


# Minds


def researcher(talk: Conversation, steps: int = 0) -> Reply:
    """Reads, writes, tries, submits, posts, learns; `finish` after `steps` steps or when a budget is spent."""
    if aside := _aside(talk):
        return aside
    number = _next_step(talk)
    over = _over(talk)
    if over or (steps and number > steps):
        return _ending(talk, number, over or "my plan is done")
    if number == 1:
        return _say(1, "I look around first.", _look(talk))
    return _round(talk, number)


def claude(talk: Conversation, steps: int = 9) -> Reply:
    """A researcher inside a coding CLI: after `steps` steps it ends its turn with words, as such programs do."""
    if aside := _aside(talk):
        return aside
    number = _next_step(talk)
    over = _over(talk)
    if over or number > steps:
        return _ending(talk, number, over or "my plan is done")
    if lab(talk, "submit") is None and (search := talk.tool("ToolSearch")) and not talk.result("ToolSearch"):
        query = {"query": "submit leaderboard forum brief budget", "max_results": 20}
        return Reply("I look for the lab's tools.", (call(search, **query),))
    return _say(1, "I look around first.", _look(talk)) if number == 1 else _round(talk, number)


def loop(talk: Conversation, steps: int = 0) -> Reply:
    """The same command again and again; it numbers nothing, so that every answer is the same."""
    if aside := _aside(talk):
        return aside
    found = command(talk, "ls")
    return Reply("I list the files.", (found,) if found else ())


def mute(talk: Conversation, steps: int = 0) -> Reply:
    """Talks and does nothing."""
    return _aside(talk) or Reply(
        f"[step {_next_step(talk)}] I wonder what would be best, and will think about it more."
    )


def hostile_mind(talk: Conversation, steps: int = 0) -> Reply:
    """One attack after the other, then from the beginning."""
    if aside := _aside(talk):
        return aside
    number = max(talk.step(), _from_notebook(talk)) + 1  # what is refused is not tried again
    if steps and number > steps:
        return _ending(talk, number, "nothing else comes to mind")
    names = list(hostile.ATTACKS)
    name = names[(number - 1) % len(names)]
    return _say(number, f"Now: {name}.", hostile.ATTACKS[name](talk))


def script(actions: list[Json], talk: Conversation) -> Reply:
    """The steps of a file, a list of {"text": "...", "calls": [{"name": "bash", "arguments": {"command": "ls"}}]}.

    "$submission" in an argument is the number of the newest submission. After the last step it ends with words.
    """
    if aside := _aside(talk):
        return aside
    number = _next_step(talk)
    if number > len(actions):
        return Reply(f"[step {number}] The script is at its end.", stop="end")
    action = actions[number - 1]
    calls = []
    for made in action.get("calls", ()):
        tool = talk.tool(made["name"]) or ToolSpec(made["name"])
        calls.append(Call(tool.name, _filled(made.get("arguments", {}), submission(talk))))
    return _say(number, action.get("text", ""), calls)


def read_script(path: Path) -> list[Json]:
    """Raises ConfigError with file and reason."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"script {path}: {error}") from None
    good = isinstance(found, list) and all(
        isinstance(a, dict) and all(isinstance(c, dict) and "name" in c for c in a.get("calls", ())) for a in found
    )
    if not good:
        raise ConfigError(
            f'script {path}: a list of {{"text": ..., "calls": [{{"name": ..., "arguments": ...}}]}} is needed'
        )
    return list(found)


# Finding one's place


def _next_step(talk: Conversation) -> int:
    """One more than the last step whose calls arrived; the notebook counts where nothing else is left."""
    done = max(talk.step(), _from_notebook(talk))
    last = next((t for t in reversed(talk.turns) if t.role == "assistant"), None)
    if last is None or f"[step {done}]" not in last.text:
        return done + 1
    results = [t.text for t in talk.turns if t.role == "tool" and t.call in {c.id for c in last.calls}]
    lost = not last.calls or any(CANNOT_READ.search(r[:300]) for r in results)
    return done if lost and talk.tools and _tries(talk, done) < 3 else done + 1


def _tries(talk: Conversation, number: int) -> int:
    return sum(t.role == "assistant" and f"[step {number}]" in t.text for t in talk.turns)


def _from_notebook(talk: Conversation) -> int:
    """The step that the notebook, read with the shell, says was reached."""
    notes = (text for made, text in talk.results() if "tail -n 3 notebook.md" in str(made.arguments))
    return max((int(n) for text in notes for n in STEP.findall(text)), default=0)


def submission(talk: Conversation) -> int | None:
    """The number of the researcher's newest submission, from its result or from a summary."""
    for made, text in talk.results():
        if plain(made.name) == "submit" and (found := SUBMISSION.search(text)):
            return int(found[1])
    mentioned = [
        int(n) for t in talk.turns if t.role != "tool" and STEP.search(t.text) for n in SUBMISSION.findall(t.text)
    ]
    return mentioned[-1] if mentioned else None


def _tried(talk: Conversation) -> float | None:
    texts = [*(text for _, text in talk.results()), *(t.text for t in reversed(talk.turns) if t.role != "tool")]
    return next((float(found[1]) for text in texts if (found := TRIED.search(text))), None)


def _over(talk: Conversation) -> str:
    """Why there is nothing left to do: what the newest submission was refused for. Others' words do not count."""
    handed = {c.id for t in talk.turns[-6:] for c in t.calls if plain(c.name) == "submit"}
    refused = any(t.role == "tool" and t.call in handed and SPENT.search(t.text) for t in talk.turns[-6:])
    return "my submissions are spent" if refused else ""


def _aside(talk: Conversation) -> Reply | None:
    """The answer to what is no step of research: a summary, or a question without tools."""
    asked = talk.last.text if talk.last.role == "user" else ""
    if (not talk.tools and SUMMARY_ASKED.search(asked)) or "detailed summary of the conversation" in asked:
        return Reply(_summary(talk), stop="end")
    if not talk.tools:
        return Reply(json.dumps({"title": "Weak-to-strong research", "isNewTopic": False}), stop="end")
    return None


def _summary(talk: Conversation) -> str:
    number, tried = submission(talk), _tried(talk)
    facts = [
        f"I am {talk.researcher()} and have done everything up to [step {talk.step()}].",
        f"My newest is submission {number}." if number else "Nothing is handed in yet.",
        f"I tried PGR {tried:.3f} with my newest method on the open task; its file is in the workspace."
        if tried is not None
        else "Nothing is measured yet.",
    ]
    return f"<analysis>\nThe steps are numbered.\n</analysis>\n\n<summary>\n{' '.join(facts)}\n</summary>"


# The steps of a researcher


def _round(talk: Conversation, number: int) -> Reply:
    what, turn = CYCLE[(number - 2) % len(CYCLE)], (number - 2) // len(CYCLE)
    direction = DIRECTION.search(talk.opening())
    family = recipes.family_for(direction[1] if direction else "", talk.researcher())
    steps: Mapping[str, Callable[[Conversation, str, int], tuple[str, list[Call]]]] = {
        "read": _read, "write": _write, "attempt": _attempt, "submit": _submit, "tell": _tell, "note": _note,
        "compare": _compare, "learn": _learn,
    }  # fmt: skip
    words, calls = steps[what](talk, family, turn)
    return _say(number, words, calls)


def _look(talk: Conversation) -> list[Call]:
    notes = command(talk, "pwd; tail -n 3 notebook.md 2>/dev/null; ls; ls /data /shared 2>/dev/null")
    return _made(lab(talk, "brief"), notes)


def _read(talk: Conversation, family: str, turn: int) -> tuple[str, list[Call]]:
    return "What have the others found?", _made(lab(talk, "leaderboard"), lab(talk, "forum_read", since=0))


def _write(talk: Conversation, family: str, turn: int) -> tuple[str, list[Call]]:
    partner = _learnt(talk) if turn else ""
    text = recipes.source(family, talk.researcher(), turn, partner)
    joined = f" joined with {partner}" if partner and partner != family else ""
    return f"I write a method of the family {family}{joined}.", _made(
        write(talk, _file(turn), text, _home(talk) if turn % 2 == 0 else "")
    )


def _attempt(talk: Conversation, family: str, turn: int) -> tuple[str, list[Call]]:
    code = TRY.format(file=_file(turn), seed=turn)
    python = talk.tool("python")
    attempt = call(python, code=code) if python else command(talk, f"python3 - <<'END'\n{code.strip()}\nEND")
    return "I try it on the open task.", _made(attempt)


def _submit(talk: Conversation, family: str, turn: int) -> tuple[str, list[Call]]:
    tried = _tried(talk)
    partner = _learnt(talk) if turn else ""
    handed = lab(
        talk, "submit", path=_file(turn), name=f"{recipes.slug(family)}-{talk.researcher()}-{turn}", family=family,
        track=recipes.track(family, partner), parent=submission(talk) if turn else None,
        claimed_pgr=None if tried is None else round(min(1.5, max(-0.5, tried)), 3), wait_seconds=60,
        note=f"round {turn + 1}",
    )  # fmt: skip
    return f"I tried PGR {tried:.3f} and hand it in." if tried is not None else "I hand it in.", _made(handed)


def _tell(talk: Conversation, family: str, turn: int) -> tuple[str, list[Call]]:
    number, tried = submission(talk), _tried(talk)
    claim = f"On half of the open task I tried PGR {tried:.3f}." if tried is not None else "I could not measure it."
    body = f"{family}, round {turn + 1}. {claim}" + (f" See submission {number}." if number else "")
    post = lab(
        talk, "forum_post", kind="result" if number else "insight", title=f"{family}: round {turn + 1}", body=body,
        submission=number, family=family,
    )  # fmt: skip
    return f"I tell the others about submission {number}." if number else "I tell the others.", _made(post)


def _note(talk: Conversation, family: str, turn: int) -> tuple[str, list[Call]]:
    number, step = submission(talk), (turn + 1) * len(CYCLE) - 1
    line = f"[step {step}] round {turn + 1}: {family}, submission {number}, PGR {_tried(talk)}"
    return "I keep a note of it.", _made(command(talk, f"echo '{line}' >> notebook.md"), lab(talk, "budget"))


def _compare(talk: Conversation, family: str, turn: int) -> tuple[str, list[Call]]:
    return "Where do I stand?", _made(lab(talk, "leaderboard"), lab(talk, "forum_search", text=family, query=family))


def _learn(talk: Conversation, family: str, turn: int) -> tuple[str, list[Call]]:
    best = _others(talk)
    if best is None:
        return "Nobody else has a method yet.", _made(lab(talk, "forum_read", since=0))
    return f"I read the method of submission {best}.", _made(
        lab(talk, "get_method", number=best, path=f"other_{best}.py")
    )


def _ending(talk: Conversation, number: int, why: str) -> Reply:
    """Finish; where there is no such tool, end with words."""
    finish = lab(talk, "finish", reason=why)
    return (
        _say(number, f"I am done: {why}.", _made(finish))
        if finish
        else Reply(f"[step {number}] Done: {why}.", stop="end")
    )


def _others(talk: Conversation) -> int | None:
    """The best method on the newest leaderboard that is another researcher's."""
    me = talk.researcher()
    return next((int(n) for n, who in RECORD.findall(talk.result("leaderboard")) if who != me), None)


def _learnt(talk: Conversation) -> str:
    """The family of the method that was read last, by its name or its file's header."""
    text = next((text for made, text in talk.results() if plain(made.name) == "get_method"), "")
    return next((f for f in recipes.BODIES if recipes.slug(f) in text or f"# family: {f}" in text), "")


def _home(talk: Conversation) -> str:
    """The workspace's path, as the first look around has shown it; empty where that is forgotten."""
    seen = (text for made, text in talk.results() if "pwd; tail" in str(made.arguments))
    found = re.search(r"^(/[\w./-]+)$", next(seen, ""), re.MULTILINE)
    return found[1] if found else ""


def _file(turn: int) -> str:
    return f"method_{turn}.py"


def _made(*calls: Call | None) -> list[Call]:
    return [c for c in calls if c is not None]


def _say(number: int, words: str, calls: list[Call]) -> Reply:
    return Reply(f"[step {number}] {words}".strip(), tuple(calls))


def _filled(value: Any, number: int | None) -> Any:
    if isinstance(value, dict):
        return {k: _filled(v, number) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, number) for v in value]
    return number if value == "$submission" else value
