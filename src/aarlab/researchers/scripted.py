"""A researcher that plays a list of actions from a file, for tests and demonstrations.

The file is a JSON list, or TOML with `[[action]]` tables. Every action has `do`; `as` names its reply, and "$name.id"
in a later action stands for an entry of that reply (the whole string is replaced). `expect` maps entries of the reply
to values they must have; an action that must fail names the error's class in `error`.

    submit   file | source | baseline, name, parent, claimed_pgr, track       hand in a method
    wait     submission, timeout                                      until it is scored or has failed
    post     kind, title, body, parent, submission                    write to the forum
    reply    to, kind, title, body                                    answer a post
    search   text, kind                                               posts that match: {"posts": [...], "count": n}
    read     what: brief | budget | leaderboard | methods             look something up
    method   submission                                               a verified method with its source
    sync     (nothing)                                                forum and methods as files in the workspace
    heartbeat  state
    sleep    seconds
    run      command (a list), timeout                                a program; reply: code, output
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aarlab import errors
from aarlab.errors import AarlabError, ConfigError, InputError
from aarlab.researchers import findings
from aarlab.researchers.journal import Journal
from aarlab.w2s import methods

Json = dict[str, Any]
MOST_OUTPUT = 20_000


class ScriptFailed(InputError):
    """An action ended otherwise than the script expects."""


class Script:
    """Plays actions against `lab`. Actions already in the journal of `workspace` are not played again."""

    def __init__(self, lab: Any, actions: list[Json], workspace: Path, name: str, home: Path | None = None) -> None:
        self.lab, self.actions, self.workspace, self.name = lab, actions, workspace, name
        self.home = home or workspace
        self.journal = Journal(workspace / "actions.jsonl")
        self.replies: dict[str, Any] = {e["as"]: e["reply"] for e in self.journal.of("done") if e["as"]}

    def play(self) -> None:
        """Play what is left. Raises ScriptFailed naming the action."""
        for number in range(len(self.journal.of("done")), len(self.actions)):
            asked = self.actions[number]
            action = self._filled(asked)
            reply = self._do(number, action)
            self._check(number, action, reply)
            if asked.get("as"):
                self.replies[asked["as"]] = reply
            self.journal.add("done", number=number, do=action["do"], **{"as": asked.get("as"), "reply": reply})

    def _do(self, number: int, action: Json) -> Any:
        play: dict[str, Callable[[Json, str], Any]] = {
            "submit": self._submit, "wait": self._wait, "post": self._post, "reply": self._reply,
            "search": self._search, "read": self._read, "method": self._method, "sync": self._sync,
            "heartbeat": self._heartbeat, "sleep": self._sleep, "run": self._run,
        }  # fmt: skip
        do = action.get("do")
        if do not in play:
            raise ScriptFailed(f"action {number + 1}: do is {do!r}; known: {', '.join(play)}")
        try:
            reply = play[do](action, f"{self.name}-script-{number}")
        except AarlabError as error:
            if action.get("error") == type(error).__name__:
                return {"error": str(error), "kind": type(error).__name__}
            raise ScriptFailed(f"action {number + 1} ({do}): {type(error).__name__}: {error}") from error
        except KeyError as error:
            raise ScriptFailed(f"action {number + 1} ({do}): entry {error} is missing") from None
        if "error" in action:
            raise ScriptFailed(f"action {number + 1} ({do}) should have failed with {action['error']}; it did not")
        return reply

    def _check(self, number: int, action: Json, reply: Any) -> None:
        for path, wanted in action.get("expect", {}).items():
            found = _entry(reply, path)
            if found != wanted:
                raise ScriptFailed(
                    f"action {number + 1} ({action['do']}): {path} is {found!r}; the script expects {wanted!r}"
                )

    def _filled(self, value: Any) -> Any:
        """The value with every "$name.entry" replaced by what that reply holds."""
        if isinstance(value, dict):
            return {k: self._filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._filled(v) for v in value]
        if isinstance(value, str) and value.startswith("$"):
            name, _, path = value[1:].partition(".")
            if name not in self.replies:
                raise ScriptFailed(f"{value}: no earlier action is named {name!r}")
            return _entry(self.replies[name], path) if path else self.replies[name]
        return value

    # Actions

    def _submit(self, a: Json, key: str) -> Json:
        if "baseline" in a:
            source = methods.source(a["baseline"])
        else:
            source = a["source"] if "source" in a else (self.home / a["file"]).read_text("utf-8")
        name = a.get("name") or a.get("baseline") or Path(a.get("file", "method.py")).stem
        reply: Json = self.lab.submit(
            name, source, parent=a.get("parent"), claimed_pgr=a.get("claimed_pgr"), key=key,
            track=a.get("track") or methods.track(source),
        )  # fmt: skip
        return reply

    def _wait(self, a: Json, key: str) -> Json:
        reply: Json = self.lab.wait(a["submission"], a.get("timeout", 120))
        return reply

    def _post(self, a: Json, key: str) -> Json:
        reply: Json = self.lab.post(
            a["kind"], a["title"], a.get("body", ""), parent=a.get("parent"), submission=a.get("submission"), key=key
        )
        return reply

    def _reply(self, a: Json, key: str) -> Json:
        title = a.get("title", f"Reply to {a['to']}")
        return self._post({"kind": "insight", **a, "title": title, "parent": a["to"]}, key)

    def _search(self, a: Json, key: str) -> Json:
        found = self.lab.posts(search=a.get("text", ""), kind=a.get("kind"))
        return {"posts": found, "count": len(found)}

    def _read(self, a: Json, key: str) -> Any:
        if a["what"] not in ("brief", "budget", "leaderboard", "methods"):
            raise InputError(f"what is {a['what']!r}; brief, budget, leaderboard or methods can be read")
        return getattr(self.lab, a["what"])()

    def _method(self, a: Json, key: str) -> Json:
        reply: Json = self.lab.method(a["submission"])
        return reply

    def _sync(self, a: Json, key: str) -> Json:
        news = findings.sync(self.lab, self.workspace)
        return {"posts": len(news.posts), "methods": len(news.methods)}

    def _heartbeat(self, a: Json, key: str) -> Json:
        reply: Json = self.lab.heartbeat(a.get("state", ""))
        return reply

    def _sleep(self, a: Json, key: str) -> Json:
        time.sleep(float(a["seconds"]))
        return {}

    def _run(self, a: Json, key: str) -> Json:
        try:
            done = subprocess.run(
                a["command"], cwd=self.workspace, timeout=a.get("timeout", 60),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"code": None, "output": "timed out"}
        except OSError as error:
            return {"code": None, "output": str(error)}
        return {"code": done.returncode, "output": done.stdout[-MOST_OUTPUT:]}


def read(path: Path) -> list[Json]:
    """The actions of a JSON or TOML file. Raises ConfigError with file and reason."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        found = json.loads(text)
    except ValueError as in_json:
        try:
            found = tomllib.loads(text).get("action")
        except tomllib.TOMLDecodeError as in_toml:
            raise ConfigError(f"{path}: neither JSON ({in_json}) nor TOML ({in_toml})") from None
    if not isinstance(found, list) or not all(isinstance(a, dict) and "do" in a for a in found):
        raise ConfigError(f"{path}: a list of actions is needed, each a table with `do`")
    return found


def _entry(reply: Any, path: str) -> Any:
    """The entry at a dotted path; None where there is none."""
    for part in path.split("."):
        if isinstance(reply, Mapping):
            reply = reply.get(part)
        elif isinstance(reply, list) and part.lstrip("-").isdigit() and -len(reply) <= int(part) < len(reply):
            reply = reply[int(part)]
        else:
            return None
    return reply


def main(environment: dict[str, str]) -> int:
    """Play AARLAB_ACTIONS in the current folder; 0 when everything went as the script expects."""
    from aarlab.client import LabClient

    path = Path(environment.get("AARLAB_ACTIONS") or "actions.json")
    with LabClient(environment["AARLAB_ADDRESS"], environment["AARLAB_TOKEN"]) as lab:
        try:
            Script(lab, read(path), Path.cwd(), environment["AARLAB_NAME"], path.parent).play()
        except ScriptFailed as failure:
            print(f"{path}: {failure}", file=sys.stderr)
            return errors.InputError.exit_code
    return 0
