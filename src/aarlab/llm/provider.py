"""Inspect's sandbox `bwrap`: a model's commands run in one of the lab's own sandboxes, which lives as long as a sample.

On its own: `inspect eval task.py --sandbox bwrap`, with a workspace that is thrown away, or
`--sandbox bwrap:sandbox.json`, a file with the fields of `BwrapConfig`. The lab's researchers get theirs from
`config_for`.

Nothing of the host's environment comes along, no socket, no token, no network but the sandbox's own loopback. What
Inspect's tools need is there: bash and Python, /var/tmp for Inspect's tool server (`text_editor`, agent bridges), and
its programs run as the one user there is; there is no root, and asking for it is an error.
"""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any, Literal, overload

import anyio
import anyio.to_thread
from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxConnection,
    SandboxEnvironment,
    SandboxEnvironmentLimits,
    SandboxEnvironmentSpec,
    SandboxUnavailableError,
    SandboxUserUnsupportedError,
    sandboxenv,
)
from pydantic import BaseModel, ValidationError

from aarlab.errors import AarlabError, ConfigError, SandboxGone
from aarlab.sandbox.base import Limits, SandboxSpec
from aarlab.sandbox.bwrap import FIRST_UID, mounts_as_root
from aarlab.sandbox.library import library_binds
from aarlab.sandbox.session import Done, Session, TooLarge
from aarlab.settings import ResearcherSpec, Settings

DATA, SHARED = "/data", "/shared"
USER = "researcher"
FILE_SECONDS = 180.0
AT_ONCE = 64  # calls of one sandbox under way
FREE_INDEX, INDICES = 1000, 3000  # of users for sandboxes that no lab numbers
VAR_TMP_MB = 96  # Inspect's tool server takes 35


class BwrapConfig(BaseModel, frozen=True, extra="forbid"):
    """One sandbox of Inspect's as data. Pairs are (path on the host, path inside).

    `workspace`: the folder that appears at /work and is kept; empty: a temporary one. `kind`: bwrap, gvisor or process.
    Limits as in aarlab.sandbox.base.Limits. `uid_index`: tells sandboxes of one host apart; -1: one that is free.
    """

    workspace: str = ""
    kind: str = "bwrap"
    binds: tuple[tuple[str, str], ...] = ()
    extra_binds: tuple[tuple[str, str], ...] = ()
    hidden: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    memory_mb: int = 2048
    cpu_seconds: float = 0.0
    processes: int = 256
    file_mb: int = 512
    disk_mb: int = 2048
    open_files: int = 1024
    tmp_mb: int = 128
    var_tmp_mb: int = VAR_TMP_MB
    uid_index: int = -1


def config_for(lab: Path, settings: Settings, one: ResearcherSpec, **changes: Any) -> SandboxEnvironmentSpec:
    """The sandbox of a lab's LLM researcher: /work, /data, /shared and the library; neither token nor socket.

    `changes`: fields of BwrapConfig that are to be otherwise.
    """
    workspace, shared = lab / "workspaces" / one.name, lab / "run" / "shared" / one.name
    workspace.mkdir(parents=True, exist_ok=True)
    shared.mkdir(parents=True, exist_ok=True)
    shared.chmod(0o755)  # the sandbox's user reads it
    isolation = settings.isolation
    fields: dict[str, Any] = {
        "workspace": str(workspace),
        "kind": isolation.kind,
        "binds": ((str(lab / "public"), DATA), (str(shared), SHARED)),
        "hidden": (str(lab),),
        "env": (("AARLAB_DATA", DATA), ("OPENBLAS_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "1")),
        "memory_mb": isolation.researcher_memory_mb,
        "processes": isolation.researcher_processes,
        "file_mb": isolation.file_mb,
        "disk_mb": isolation.workspace_mb,
        "uid_index": settings.researchers.index(one),
    }
    return SandboxEnvironmentSpec("bwrap", BwrapConfig(**{**fields, **changes}))


def sandbox_spec(config: BwrapConfig, workspace: Path) -> SandboxSpec:
    """What the lab's sandboxes are started from."""
    return SandboxSpec(
        argv=(),
        workspace=workspace,
        read_only=(*library_binds(), *((Path(h), i) for h, i in (*config.binds, *config.extra_binds))),
        sockets=(),
        env=dict(config.env),
        limits=Limits(
            memory_mb=config.memory_mb,
            cpu_seconds=config.cpu_seconds,
            processes=config.processes,
            file_mb=config.file_mb,
            disk_mb=config.disk_mb,
            open_files=config.open_files,
            tmp_mb=config.tmp_mb,
            var_tmp_mb=config.var_tmp_mb,
        ),
        uid_index=config.uid_index if config.uid_index >= 0 else free_index(),
        hidden=tuple(Path(h) for h in config.hidden),
    )


_INDICES = itertools.count()


def free_index() -> int:
    """A number for a sandbox that belongs to no lab, unlikely to be in use by another process."""
    return FREE_INDEX + (7 * os.getpid() + next(_INDICES)) % INDICES


def read_config(config: BaseModel | str | None) -> BwrapConfig:
    """Raises ConfigError."""
    if config is None:
        return BwrapConfig()
    if isinstance(config, BwrapConfig):
        return config
    try:
        if isinstance(config, str):
            return BwrapConfig(**json.loads(Path(config).read_text("utf-8")))
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise ConfigError(f"{config}: not the fields of a bwrap sandbox as JSON: {error}") from None
    raise ConfigError(f"a bwrap sandbox takes a file of JSON or a BwrapConfig, not {type(config).__name__}")


class TimedOut(TimeoutError):
    """A command was killed at its timeout; Inspect shows a model what it had said until then."""

    def __init__(self, message: str, truncated_output: str) -> None:
        super().__init__(message)
        self.truncated_output = truncated_output


@sandboxenv(name="bwrap")
class BwrapSandboxEnvironment(SandboxEnvironment):
    """One of the lab's sandboxes, as Inspect sees it."""

    def __init__(self, session: Session, workspace: Path, temporary: bool) -> None:
        super().__init__()
        self.session, self.workspace, self.temporary = session, workspace, temporary
        self._threads = anyio.CapacityLimiter(AT_ONCE)

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        return BwrapConfig(**config)

    @classmethod
    async def sample_init(
        cls, task_name: str, config: BaseModel | str | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        found = read_config(config)
        workspace = Path(found.workspace or tempfile.mkdtemp(prefix="aarlab-"))
        session = Session(sandbox_spec(found, workspace), found.kind)
        one = cls(session, workspace, temporary=not found.workspace)
        try:
            await anyio.to_thread.run_sync(session.start)
        except BaseException:
            one.remove()
            raise
        return {"default": one}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: BaseModel | str | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        with anyio.CancelScope(shield=True):
            for one in environments.values():
                await anyio.to_thread.run_sync(one.as_type(BwrapSandboxEnvironment).remove)

    def remove(self) -> None:
        """End the sandbox; its workspace goes too if it was a temporary one."""
        self.session.close()
        if self.temporary:
            shutil.rmtree(self.workspace, ignore_errors=True)

    def default_polling_interval(self) -> float:
        return 0.2

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """As Inspect defines it. Of output above the limit the last part is given; a timeout is not tried again."""
        self._check_user(user)
        stdin = input.encode(errors="replace") if isinstance(input, str) else input or b""
        limit, cancelled = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE, threading.Event()

        def run() -> Done:
            return self.session.exec(
                cmd, stdin=stdin, env=env, cwd=cwd or "", timeout=timeout, limit=limit, cancelled=cancelled
            )

        try:
            done = await self._in_thread(run)
        finally:
            cancelled.set()
        out, err = done.out.decode(errors="replace"), done.err.decode(errors="replace")
        if done.timed_out:
            raise TimedOut(f"the command did not end within {timeout} s and was killed", f"{err}\n{out}".strip())
        return ExecResult(done.code == 0, done.code, out, f"{err}\n{done.note}\n" if done.note else err)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        content = contents.encode(errors="replace") if isinstance(contents, str) else contents
        await self._in_thread(lambda: self.session.write(file, content, FILE_SECONDS))

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        limit = SandboxEnvironmentLimits.MAX_READ_FILE_SIZE
        try:
            content = await self._in_thread(lambda: self.session.read(file, limit, FILE_SECONDS))
        except TooLarge:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None) from None
        return str(content, "utf-8") if text else bytes(content)

    async def connection(self, *, user: str | None = None) -> SandboxConnection:
        """A shell of the host's root (or of the sandbox's owner) among the sandbox's processes, as its user.

        It is in all its namespaces and has no rights there, but neither its limits nor its filter.
        """
        self._check_user(user)
        process = self.session.process
        if process is None:
            raise ConnectionError("the sandbox does not run; its next command starts it")
        return SandboxConnection(type="bwrap", command=shlex.join(self._shell(process.inside_pid)))

    def _shell(self, pid: int) -> list[str]:
        if self.session.kind == "process":
            return ["env", "-C", str(self.workspace), "bash"]
        if self.session.kind != "bwrap":
            raise NotImplementedError(f"no shell can be opened in a running sandbox of kind {self.session.kind}")
        uid = str(FIRST_UID + self.session.spec.uid_index)
        whole = ["nsenter", "-t", str(pid), "-m", "-p", "-n", "-i", "-u", "-r", "--wdns=/work"]
        who = ["-S", uid, "-G", uid] if mounts_as_root() else ["-U", "--preserve-credentials"]
        return [*whole, *who, "/usr/bin/env", "-i", "HOME=/work", f"USER={USER}", "TERM=xterm", "/bin/bash", "-l"]

    def _check_user(self, user: str | None) -> None:
        if user in (None, USER):
            return
        raise SandboxUserUnsupportedError(f"there is no user {user!r} in a bwrap sandbox, only {USER!r}")

    async def _in_thread(self, do: Any) -> Any:
        """Errors as Inspect names them: one that ended the sandbox leaves the sample running."""
        try:
            return await anyio.to_thread.run_sync(do, abandon_on_cancel=True, limiter=self._threads)
        except SandboxGone as error:
            raise SandboxUnavailableError(str(error)) from None
        except TooLarge:
            raise
        except AarlabError as error:
            raise SandboxUnavailableError(f"the sandbox cannot run the command: {error}") from None
        except (TimeoutError, PermissionError, FileNotFoundError, IsADirectoryError):
            raise
        except OSError as error:  # a full disk, a broken file system
            raise SandboxUnavailableError(f"the sandbox cannot do that: {error}") from None
