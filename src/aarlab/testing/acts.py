"""Tool calls that fit the tools a conversation offers, whatever they are called there."""

from __future__ import annotations

from typing import Any

from aarlab.testing.conversation import Call, Conversation, ToolSpec


def call(tool: ToolSpec, **arguments: Any) -> Call:
    """A call with those of the arguments that the tool knows and that are not None."""
    known = tool.arguments
    return Call(tool.name, {k: v for k, v in arguments.items() if v is not None and (not known or k in known)})


def lab(talk: Conversation, name: str, /, **arguments: Any) -> Call | None:
    """A call of one of the lab's tools; None where it is not offered."""
    tool = talk.tool(name)
    return call(tool, **arguments) if tool else None


def command(talk: Conversation, text: str) -> Call | None:
    """A shell command by whichever shell there is: Inspect's, Claude Code's or Codex's."""
    tool = talk.tool("bash", "Bash", "exec_command", "shell", "shell_command")
    if tool is None:
        return None
    if tool.name == "shell":
        return Call(tool.name, {"command": ["bash", "-lc", text]})
    return call(tool, command=text, cmd=text, description="Run a command")


def write(talk: Conversation, file: str, text: str, home: str = "") -> Call | None:
    """Write a file of the workspace: by an editor where there is one and `home` says where, else by the shell."""
    editor, writer = talk.tool("text_editor", "str_replace_based_edit_tool"), talk.tool("Write")
    if home and editor:
        return call(editor, command="create", path=f"{home}/{file}", file_text=text)
    if home and writer:
        return call(writer, file_path=f"{home}/{file}", content=text)
    return command(talk, f"cat > {file} <<'METHOD'\n{text}METHOD")
