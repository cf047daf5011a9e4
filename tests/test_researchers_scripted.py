"""Rules of a scripted researcher: it plays its actions in order, checks the replies, and never plays one twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toy
from aarlab.errors import ConfigError
from aarlab.researchers.scripted import Script, ScriptFailed, read
from aarlab.settings import Budget
from toy_server import ToyServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyServer]:
    settings = replace(toy.settings(3), budget=Budget(minutes=1.0, answers=12, submissions=10))
    with ToyServer(tmp_path_factory.mktemp("script") / "lab", settings) as running:
        yield running


def play(server: ToyServer, folder: Path, actions: list[dict[str, Any]], who: str = "r1") -> Script:
    script = Script(server.client(who), actions, folder, who)
    script.play()
    return script


def test_a_day_of_a_scripted_researcher(server: ToyServer, tmp_path: Path) -> None:
    """Submit a file, wait, post about it, reply, search, sync, look up the budget, run a command."""
    (tmp_path / "mine.py").write_text(toy.LEARNER)
    script = play(
        server,
        tmp_path,
        [
            {"do": "submit", "file": "mine.py", "claimed_pgr": 0.4, "as": "sub"},
            {"do": "wait", "submission": "$sub.id", "timeout": 30, "as": "row", "expect": {"status": "scored"}},
            {"do": "post", "kind": "result", "title": "Quokka", "body": "see", "submission": "$sub.id", "as": "post"},
            {"do": "reply", "to": "$post.id", "body": "indeed"},
            {"do": "search", "text": "Quokka", "as": "found", "expect": {"posts.0.title": "Quokka"}},
            {"do": "method", "submission": "$sub.id", "expect": {"source": toy.LEARNER}},
            {"do": "sync"},
            {"do": "read", "what": "budget", "expect": {"submissions.used": 1}},
            {"do": "heartbeat", "state": "busy", "expect": {"stop": False}},
            {"do": "run", "command": ["sh", "-c", "ls findings | wc -l; exit 3"], "expect": {"code": 3}},
            {"do": "sleep", "seconds": 0},
        ],
    )
    assert script.replies["row"]["claimed_pgr"] == 0.4
    assert list((tmp_path / "findings").glob("*quokka*"))


def test_played_actions_are_not_played_again(server: ToyServer, tmp_path: Path) -> None:
    """A restart goes on after the last finished action, with the replies that were named."""
    submit = {"do": "submit", "source": toy.variant(5), "name": "five", "as": "sub"}
    with pytest.raises(ScriptFailed, match="action 2"):
        play(server, tmp_path, [submit, {"do": "read", "what": "nonsense"}], "r2")
    again = play(server, tmp_path, [submit, {"do": "wait", "submission": "$sub.id", "timeout": 30}], "r2")
    assert len(server.client("r2").submissions()) == 1
    assert again.replies["sub"]["name"] == "five"


def test_an_error_can_be_expected(server: ToyServer, tmp_path: Path) -> None:
    """`error` names the class an action must fail with; success is then the failure."""
    play(server, tmp_path / "a", [{"do": "submit", "source": "def run(", "error": "MethodError"}], "r3")
    with pytest.raises(ScriptFailed, match="should have failed"):
        play(server, tmp_path / "b", [{"do": "read", "what": "brief", "error": "NotAllowed"}], "r3")


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ({"do": "dance"}, "'dance'"),
        ({"do": "wait"}, "entry 'submission' is missing"),
        ({"do": "wait", "submission": "$nobody.id"}, "'nobody'"),
        ({"do": "read", "what": "brief", "expect": {"problem": "x"}}, "expects 'x'"),
    ],
)
def test_a_script_that_goes_wrong_names_the_action(
    server: ToyServer, tmp_path: Path, action: dict[str, Any], words: str
) -> None:
    """ScriptFailed says which action, what came and what was expected."""
    with pytest.raises(ScriptFailed, match=words):
        play(server, tmp_path, [action], "r3")


def test_scripts_are_json_or_toml(tmp_path: Path) -> None:
    """Both are read; anything else is one sentence."""
    actions = [{"do": "sleep", "seconds": 0}]
    (tmp_path / "a.json").write_text(json.dumps(actions))
    (tmp_path / "a.toml").write_text('[[action]]\ndo = "sleep"\nseconds = 0\n')
    assert read(tmp_path / "a.json") == read(tmp_path / "a.toml") == actions
    for text in ("{", '{"do": "sleep"}', '[{"seconds": 1}]', "= 3"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ConfigError, match=r"bad\.json"):
            read(tmp_path / "bad.json")
    with pytest.raises(ConfigError, match="gone"):
        read(tmp_path / "gone.json")
