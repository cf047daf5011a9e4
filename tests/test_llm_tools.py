"""The model's tools as Inspect calls them: in a real sandbox, against a real lab."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="needs the [llm] extra")

from inspect_ai import Task
from inspect_ai import eval as run_eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool, execute_tools
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolCall, ToolDef, ToolInfo
from inspect_ai.util import SandboxEnvironmentSpec

import toy
from aarlab.llm import prompts
from aarlab.llm.agent import describe_once
from aarlab.llm.calls import Calls
from aarlab.llm.provider import BwrapConfig, config_for
from aarlab.llm.tools import shown, tools
from aarlab.researchers.quoting import fingerprint
from aarlab.researchers.toolbox import Toolbox
from toy_server import ToyServer

NAMES = [
    "brief", "budget", "leaderboard", "submission", "get_method", "forum_read", "forum_search", "submit", "forum_post",
    "finish", "bash", "python", "text_editor",
]  # fmt: skip
OUTPUT = 4000
SECONDS = 10
FIRST = len(toy.BASELINES) + 1  # the number of the first submission: the lab's own baselines come before

Step = tuple[str, dict[str, Any]]


@dataclass
class Day:
    """What one researcher's tools answered, and what the host was told."""

    server: ToyServer
    workspace: Path
    calls: Calls = field(default_factory=Calls)
    finished: list[str] = field(default_factory=list)
    made: dict[str, tuple[str, int]] = field(default_factory=dict)

    def do(self, *steps: Step, session: str = "", sandbox: SandboxEnvironmentSpec | None = None) -> list[str]:
        """Carry out the calls in order, in one sandbox; what the model would read of each.

        session: calls of one name have the same ids, as a conversation that is gone on with.
        """
        session = session or uuid.uuid4().hex
        place = sandbox or SandboxEnvironmentSpec("bwrap", BwrapConfig(workspace=str(self.workspace), disk_mb=64))
        box = Toolbox(self.server.client("r1"), "r1")
        owned = tools(box, self.calls.key, self.finished.append, self.calls.note, SECONDS, OUTPUT)
        said: list[str] = []
        log = run_eval(
            Task(dataset=[Sample("go")], solver=_carry_out(self, owned, steps, said, session),
                 sandbox=place,
            ),
            model="mockllm/model", display="none", score=False, log_dir=str(self.workspace.parent / "logs"),
            acp_server=False, ctl_server=False,
        )[0]  # fmt: skip
        assert log.status == "success", log.error
        return said


@solver
def _carry_out(day: Day, owned: list[Any], steps: tuple[Step, ...], said: list[str], session: str) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        for number, (function, arguments) in enumerate(steps):
            call = ToolCall(id=f"{session}-{number}", function=function, arguments=arguments)
            day.calls.start([call])
            found = await execute_tools([ChatMessageAssistant(content="", tool_calls=[call])], owned)
            message = found.messages[0]
            assert isinstance(message, ChatMessageTool)
            said.append(message.error.message if message.error else message.text)
            day.made |= day.calls.made
        return state

    return solve


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("tools")
    workspace = folder / "workspace"
    workspace.mkdir()
    with ToyServer(folder / "lab") as server:
        yield Day(server, workspace)


def test_every_tool_is_described(day):
    """Names, a description each, and every argument explained."""
    owned = tools(Toolbox(day.server.client("r1"), "r1"), day.calls.key, print, print, SECONDS, OUTPUT)
    described = [ToolDef(t) for t in owned]
    assert [d.name for d in described] == NAMES
    for one in described:
        assert len(one.description) > 20
        assert all(p.description for p in one.parameters.properties.values()), one.name
        assert not one.parallel


def test_a_days_work(day):
    """Write, submit, read one's score, post, fetch a method, run it, finish."""
    write = {"command": f"cat > mine.py <<'X'\n# family: ensemble\n{toy.LEARNER}X\nls"}
    wrote, sent, listed, posted, fetched, there, ran, done = day.do(
        ("bash", write),
        ("submit", {"path": "mine.py", "claimed_pgr": 0.3, "wait_seconds": 60}),
        ("submission", {}),
        ("forum_post", {"kind": "result", "title": "it learns", "body": "0.3 on 5 seeds", "submission": FIRST}),
        ("get_method", {"number": FIRST}),
        ("bash", {"command": "head -3 methods/*-mine.py"}),
        ("python", {"code": "print(6 * 7)"}),
        ("finish", {"reason": "all done"}),
    )
    assert wrote == "mine.py"
    assert sent.startswith(f'Submission {FIRST} "mine": scored, ')
    assert f'- {FIRST} "mine": scored' in listed
    assert posted.startswith("Post 1 is in the forum")
    assert f"is in methods/{FIRST:05d}-mine.py" in fetched
    assert there.startswith("# family: ensemble")
    assert ran == "42"
    assert done
    assert day.finished == ["all done"]
    assert sorted(day.made.values()) == [("post", 1), ("submission", FIRST)]
    assert day.server.client("r1").submission(FIRST)["family"] == "ensemble"


def test_a_call_that_runs_again_makes_nothing_twice(day):
    """The key is the call's id, so that a restarted process does no harm."""
    number = len(day.server.client("r1").posts())
    step = ("forum_post", {"kind": "insight", "title": "once", "body": "only"})
    first, again = day.do(step, session="s"), day.do(step, session="s")
    assert first == again == [f"Post {number + 1} is in the forum (sha256 {fingerprint('only')})."]
    assert len(day.server.client("r1").posts()) == number + 1
    assert day.made["s-0"] == ("post", number + 1)


def test_refusals_reach_the_model_as_sentences(day):
    """Wrong paths, numbers and arguments: a tool error with a remedy, never the end of the session."""
    big = {"command": "mkdir d; head -c 70000 /dev/zero > big.py; printf '\\xff\\xfe' > odd.py; echo 'x = 1' > no.py"}
    _, missing, folder, large, odd, no_run, unknown, outside, kind, family = day.do(
        ("bash", big),
        ("submit", {"path": "nowhere.py"}),
        ("submit", {"path": "d"}),
        ("submit", {"path": "big.py"}),
        ("submit", {"path": "odd.py"}),
        ("submit", {"path": "no.py"}),
        ("get_method", {"number": 4711}),
        ("get_method", {"number": FIRST, "path": "/etc/passwd"}),
        ("forum_post", {"kind": "rumour", "title": "t", "body": "b"}),
        ("submit", {"path": "mine.py", "family": "magic"}),
    )
    assert 'there is no file "nowhere.py"' in missing
    assert '"d" is a folder' in folder
    assert "70000 bytes; a method file has at most 65536" in large
    assert "not UTF-8 text: byte 0" in odd
    assert "(no-run)" in no_run
    assert "there is no submission 4711" in unknown
    assert '"/etc/passwd"' in outside
    assert "rumour" in kind
    assert "the families are" in family


def test_long_output_is_bounded(day):
    """Ten megabytes, escape codes, a failing command, one that takes too long."""
    flood, escapes, failed, silent, slow = day.do(
        ("bash", {"command": "head -c 10000000 /dev/zero | tr '\\0' 'a'; echo; echo the end"}),
        ("bash", {"command": "printf 'a\\033[2Jb\\r50%%\\r100%%\\n'"}),
        ("bash", {"command": "echo oops >&2; exit 3"}),
        ("bash", {"command": "true"}),
        ("python", {"code": "import time; print('begun', flush=True); time.sleep(60)"}),
    )
    assert len(flood) < OUTPUT + 300
    assert "are left out here" in flood
    assert flood.rstrip().endswith("the end")
    assert escapes == "a\\x1b[2Jb\n50%\n100%"
    assert failed == "oops\n[exit code 3]"
    assert silent == "[no output]"
    assert f"ended after {SECONDS} seconds" in slow


def test_what_the_prompt_promises_is_there(day):
    """Open task, library, others' findings and the editor, where the prompt says; and its code runs."""
    snippet, reading = re.findall(r"In Python: `(.+?)`", prompts.system_prompt())
    lab, ours = day.server.folder, toy.settings()
    score, methods, shared, made, seen, denied = day.do(
        ("python", {"code": f"{toy.LEARNER}\n{snippet}"}),
        ("python", {"code": reading}),
        ("bash", {"command": "ls -d /shared /work; env | grep -ci token; ls /run/aarlab.sock"}),
        ("text_editor", {"command": "create", "path": "/work/notebook.md", "file_text": "day one\n"}),
        ("bash", {"command": "cat notebook.md"}),
        ("bash", {"command": "touch /data/x /shared/x"}),
        sandbox=config_for(lab, ours, ours.researchers[0], kind="bwrap"),
    )
    assert score.startswith("PGR ")
    assert "# name: weak-labels-soft" in methods
    assert "em-posterior" in methods
    assert shared.startswith("ls: cannot access '/run/aarlab.sock'")
    assert "/shared\n/work\n0\n" in shared
    assert "created" in made.lower()
    assert seen == "day one"
    assert denied.count("Read-only file system") == 2


def test_a_full_workspace_is_explained(day):
    """The limit on a file's size, as the command meets it."""
    (said,) = day.do(("bash", {"command": "python3 -c \"raise OSError(28, 'No space left on device')\""}))
    assert "delete what you do not need" in said


def test_what_is_left_out_is_counted():
    """Beginning and end are kept, characters are never torn, and spelling out cannot blow it up."""
    text = shown("ä" * 5000 + "end", 999)
    assert text.startswith("ä" * 100)
    assert text.endswith("end")
    assert "9004 of 10003 bytes" in text
    assert len(shown("\x1b" * 10_000, 900)) < 2200


def test_tools_described_once_say_the_same_and_are_not_copied(day):
    """What goes to a provider is what the framework would have made itself, and a copy of it costs nothing."""
    owned = tools(Toolbox(day.server.client("r1"), "r1"), day.calls.key, print, print, SECONDS, OUTPUT)
    once, fresh = describe_once(owned), [ToolDef(t) for t in owned]
    for ours, theirs in zip(once, fresh, strict=True):
        info = ToolInfo(name=ours.name, description=ours.description, parameters=ours.parameters)
        copy = info.model_copy(deep=True)
        assert copy.parameters is ours.parameters
        assert copy.parameters.model_dump_json(exclude_none=True) == theirs.parameters.model_dump_json(
            exclude_none=True
        )
        changed = ours.parameters.model_copy(update={"required": []}, deep=True)
        assert changed.required == []
        assert ours.parameters.required == theirs.parameters.required
