"""What a researcher's model may call: the lab through its toolbox, and a shell, Python and an editor in its sandbox.

The lab's tools run here, in the host process, with the researcher's token; the sandbox has none and no network. Calls
to the lab block, so that they run in threads. Every refusal is a ToolError whose sentence says what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, Literal, ParamSpec, TypeVar

import anyio.to_thread
from inspect_ai.tool import Tool, ToolDef, ToolError, text_editor
from inspect_ai.util import ExecResult, OutputLimitExceededError, sandbox

from aarlab.errors import AarlabError
from aarlab.execution.check import MOST_BYTES
from aarlab.researchers.quoting import clean, one_line
from aarlab.researchers.toolbox import MOST_WAIT, WAIT_SECONDS, Toolbox, advice

P = ParamSpec("P")
T = TypeVar("T")

KeyOf = Callable[[str, dict[str, Any]], str]
OnMade = Callable[[str, int], None]

METHODS = "methods"
"""The folder of the workspace into which get_method writes."""

Kind = Literal["result", "hypothesis", "insight", "error"]

FULL = ("No space left on device", "Disk quota exceeded", "File too large")
FULL_SENTENCE = (
    "[the workspace is full or a file is too large: delete what you do not need, `du -sh * | sort -h` shows it]"
)


def tools(
    toolbox: Toolbox, key_of: KeyOf, on_finish: Callable[[str], None], on_made: OnMade, command_seconds: int,
    output_bytes: int,
) -> list[Tool]:  # fmt: skip
    """All tools of a model that works in an Inspect sandbox.

    key_of: the idempotency key of the running call, from the tool's name and arguments. on_made: told "submission" or
    "post" and its number. command_seconds: of one shell or Python call; output_bytes: of its output that is shown.
    """
    in_sandbox = [shell(command_seconds, output_bytes), python(command_seconds, output_bytes), editor(command_seconds)]
    return [*lab_tools(toolbox, key_of, on_finish, on_made), *in_sandbox]


def lab_tools(toolbox: Toolbox, key_of: KeyOf, on_finish: Callable[[str], None], on_made: OnMade) -> list[Tool]:
    """The lab's tools alone, for a program that brings its own shell and editor."""
    return [*_reading(toolbox), *_writing(toolbox, key_of, on_made), _finish(on_finish)]


async def ask(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A blocking call to the lab, in a thread. Raises ToolError with the sentence of `advice`."""
    try:
        return await anyio.to_thread.run_sync(lambda: call(*args, **kwargs), abandon_on_cancel=True)
    except AarlabError as error:
        raise ToolError(advice(error)) from None


# Reading


def _reading(toolbox: Toolbox) -> list[Tool]:
    async def brief() -> str:
        """The problem, its tasks, tracks and limits, how methods are scored and what is audited."""
        return await ask(toolbox.brief)

    async def budget() -> str:
        """What is left: submissions, Ladder answers, time, tokens and dollars, yours and the team's."""
        return await ask(toolbox.budget)

    async def leaderboard() -> str:
        """Records of the whole team, published baselines, and the accuracy that the next record needs."""
        return await ask(toolbox.leaderboard)

    async def submission(number: int = 0) -> str:
        """The state and score of one of your submissions, or a list of yours.

        Args:
            number: The submission's number; 0 lists your newest submissions.
        """
        return await ask(toolbox.submission, number)

    async def get_method(number: int, path: str = "") -> str:
        """Write the source of a scored method, of anybody in the team, into a file of your workspace.

        Args:
            number: The submission's number, as the leaderboard and posts give it.
            path: Where to write it; by default methods/NUMBER-NAME.py in the workspace.
        """
        found = await ask(toolbox.get_method, number)
        place = path or f"{METHODS}/{found.file}"
        await write(place, found.source)
        lines = len(found.source.splitlines())
        return (
            f"{found.text}\nIts source ({lines} lines) is in {place}. It is another's file: read it before you run it."
        )

    async def forum_read(number: int = 0, since: int = 0) -> str:
        """Read the team's forum: one post with its replies, or the newest posts.

        Args:
            number: A post's number, to read it whole; 0 lists posts.
            since: List only posts after this number.
        """
        return await ask(toolbox.forum_read, number, since)

    async def forum_search(text: str) -> str:
        """Find posts in whose title or body a text occurs.

        Args:
            text: A word or phrase, at most 200 characters.
        """
        return await ask(toolbox.forum_search, text)

    return _as_tools(brief, budget, leaderboard, submission, get_method, forum_read, forum_search)


# Writing


def _writing(toolbox: Toolbox, key_of: KeyOf, on_made: OnMade) -> list[Tool]:
    async def submit(
        path: str, name: str = "", track: str = "", family: str = "", parent: int = 0,
        claimed_pgr: float | None = None, note: str = "", wait_seconds: int = int(WAIT_SECONDS),
    ) -> str:  # fmt: skip
        """Hand a method file in. The lab runs it on hidden items and answers "new record" or "no new record".

        Args:
            path: The file in your workspace; it defines run(task, seed) and has at most 64 kB.
            name: A short name for the leaderboard; by default the file's.
            track: What the method uses, one of the tracks of brief(); by default the file's `# track:` line.
            family: The family of ideas, one of those of brief(); by default the file's `# family:` line.
            parent: The number of the submission that it builds on; 0 for none.
            claimed_pgr: The PGR that you measured on the open task. It never ranks; it is compared with the score.
            note: What is new about it and why it should work, in a sentence or two.
            wait_seconds: How long to wait for the score, at most 600; later ask submission(number).
        """
        asked = {
            "path": path, "name": name, "track": track, "family": family, "parent": parent, "claimed_pgr": claimed_pgr,
            "note": note, "wait_seconds": wait_seconds,
        }  # fmt: skip
        key = key_of("submit", asked)
        source = await read(path)
        made = await ask(
            toolbox.submit, source, name or PurePosixPath(path).stem, track, family, parent, claimed_pgr, note,
            max(0, min(wait_seconds, int(MOST_WAIT))), key,
        )  # fmt: skip
        on_made("submission", made.number)
        return made.text

    async def forum_post(
        kind: Kind, title: str, body: str, parent: int = 0, submission: int = 0, family: str = ""
    ) -> str:
        """Write to the team's forum.

        Args:
            kind: "result" (a measured outcome, good or bad), "hypothesis", "insight", or "error" (a bug, a hole in the
                scoring, a claim that did not hold).
            title: One line.
            body: Markdown: what was done, numbers with seeds, what follows.
            parent: The number of the post that this one answers; 0 for none.
            submission: The number of the submission that it is about; 0 for none. The lab shows its score beside it.
            family: The family of ideas it belongs to, one of those of brief(); may be left empty.
        """
        asked = {
            "kind": kind, "title": title, "body": body, "parent": parent, "submission": submission, "family": family,
        }  # fmt: skip
        made = await ask(toolbox.forum_post, kind, title, body, parent, submission, family, key_of("forum_post", asked))
        on_made("post", made.number)
        return made.text

    return _as_tools(submit, forum_post)


def _finish(on_finish: Callable[[str], None]) -> Tool:
    async def finish(reason: str) -> str:
        """End your research for good. Submitting does not need it; call it only when nothing worth doing is left.

        Args:
            reason: Why there is nothing left to do.
        """
        on_finish(reason)
        return "Your research ends here."

    return _as_tools(finish)[0]


# The sandbox


def shell(seconds: int, output_bytes: int) -> Tool:
    """A shell command in the sandbox."""

    async def bash(command: str) -> str:
        """Run a shell command in your workspace.

        Args:
            command: The command, for bash. Every call is a shell of its own; what it starts in the background goes on.
        """
        return await run(["bash", "--login", "-c", command], "", seconds, output_bytes)

    return _as_tools(bash)[0]


def python(seconds: int, output_bytes: int) -> Tool:
    """A Python program in the sandbox."""

    async def python(code: str) -> str:
        """Run a Python program in your workspace. Nothing is kept between calls, and only what is printed is shown.

        Args:
            code: The program.
        """
        return await run(["python3", "-"], code, seconds, output_bytes)

    return _as_tools(python)[0]


def editor(seconds: int) -> Tool:
    """Inspect's text editor."""
    return ToolDef(text_editor(timeout=seconds), parallel=False).as_tool()


async def run(command: list[str], given: str, seconds: int, output_bytes: int) -> str:
    """A command's output, with its exit code where that is not 0. Raises ToolError where it was ended."""
    try:
        done = await sandbox().exec(command, input=given or None, timeout=seconds)
    except TimeoutError as error:
        partial = getattr(error, "truncated_output", "") or ""
        said = shown(partial, output_bytes) + "\n" if partial else ""
        raise ToolError(
            f"{said}The command was ended after {seconds} seconds. Make it smaller, or start it in the background with "
            "`nohup COMMAND > out.log 2>&1 &` and look at the file later."
        ) from None
    except OutputLimitExceededError as error:
        return f"{shown(error.truncated_output or '', output_bytes)}\n[it wrote more than {error.limit_str}]"
    except AarlabError as error:
        raise ToolError(advice(error)) from None
    return _told(done, output_bytes)


def _told(done: ExecResult[str], output_bytes: int) -> str:
    output = "\n".join(filter(None, (done.stderr.rstrip("\n"), done.stdout.rstrip("\n"))))
    parts = [shown(output, output_bytes)] if output else []
    if any(sign in output for sign in FULL):
        parts.append(FULL_SENTENCE)
    if not done.success:
        parts.append(f"[exit code {done.returncode}]")
    return "\n".join(parts) or "[no output]"


def shown(output: str, most: int) -> str:
    """Beginning and end of an output, about `most` bytes, with a line that says what is left out between them."""
    text = clean(_ends(output, most).replace("\r\n", "\n").replace("\r", "\n"))
    return _ends(text, 2 * most)  # where much had to be spelled out


def _ends(output: str, most: int) -> str:
    data = output.encode("utf-8", "replace")
    if len(data) <= most:
        return output
    first, last = data[: most // 3], data[-(most - most // 3) :]
    left_out = f"{len(data) - most} of {len(data)} bytes"
    middle = f"[cut: {left_out} are left out here; write long output to a file and look at parts of it]"
    return "\n".join([first.decode("utf-8", "ignore"), middle, last.decode("utf-8", "ignore")])


async def read(path: str) -> str:
    """A method file from the sandbox. Raises ToolError with what to do."""
    try:
        data = await sandbox().read_file(path, text=False)
    except FileNotFoundError:
        raise ToolError(f"there is no file {one_line(path, 200)} in the workspace; `ls` shows what there is.") from None
    except IsADirectoryError:
        raise ToolError(f"{one_line(path, 200)} is a folder; give the path of the method file in it.") from None
    except PermissionError:
        raise ToolError(f"{one_line(path, 200)} may not be read.") from None
    except OutputLimitExceededError:
        raise ToolError(_too_large(path, "more")) from None
    except (AarlabError, OSError, ValueError) as error:
        raise ToolError(f"{one_line(path, 200)} cannot be read: {clean(str(error))}") from None
    if len(data) > MOST_BYTES:
        raise ToolError(_too_large(path, str(len(data))))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ToolError(f"{one_line(path, 200)} is not UTF-8 text: byte {error.start} is none of it.") from None


def _too_large(path: str, size: str) -> str:
    return (
        f"{one_line(path, 200)} has {size} bytes; a method file has at most {MOST_BYTES}. A method computes what it "
        "needs when it runs, and brings no data."
    )


async def write(path: str, text: str) -> None:
    """A file into the sandbox. Raises ToolError with what to do."""
    try:
        await sandbox().write_file(path, text)
    except IsADirectoryError:
        raise ToolError(f"{one_line(path, 200)} is a folder; give the path of a file.") from None
    except PermissionError:
        raise ToolError(f"{one_line(path, 200)} may not be written; choose a path in your workspace.") from None
    except (AarlabError, OSError, ValueError) as error:
        raise ToolError(f"{one_line(path, 200)} cannot be written: {clean(str(error))}") from None


def _as_tools(*functions: Callable[..., Any]) -> list[Tool]:
    """Tools named and described by their functions.

    One after another, since a call's key is found by the order of calls; and not cut by Inspect, since they are short
    already or say themselves what they leave out.
    """
    return [ToolDef(f, name=f.__name__, parallel=False, max_output=0).as_tool() for f in functions]
