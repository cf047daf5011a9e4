"""What the dashboard does to labs: it starts `aarlab` processes, or asks a lab's service with the operator's token.

A process started here is nobody's child in earnest: it has a session of its own and writes to labs/NAME.log, so that it
outlives the dashboard and does not hear its terminal's Ctrl-C. It holds a lock on that log while it lives (the kernel
lets go of it however it ends), which is how another dashboard knows that a start is still going on.

Functions return a sentence for the page, and raise errors of `aarlab.errors` with one. They block for up to half a
minute; call them from a thread.
"""

from __future__ import annotations

import fcntl
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, TypedDict

from aarlab import settings as settings_file
from aarlab.client import LabClient
from aarlab.errors import ConfigError, Infrastructure, InputError, LabBusy, UnknownName
from aarlab.fleet import audit as audits
from aarlab.fleet import launch, plan, spec
from aarlab.fleet.lock import holder
from aarlab.problems import base
from aarlab.store import Store

BY = "dashboard"
EVERYONE = "everyone"

PATIENCE = 5.0  # seconds for which a service that is away is asked again
MOST_WORDS = 500  # characters of a process's last line that are shown
LOCK_TRIES, LOCK_PAUSE = 20, 0.02  # somebody who looks whether a process lives holds its lock for a moment
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")

WHOLE = ("researchers", "answers", "seeds")
NUMBERS = ("minutes", "dollars")
WORDS = ("llm", "isolation")
FIELDS = ("problem", "name", *WHOLE, *NUMBERS, *WORDS, "undirected")
"""What the form of a new lab may hold, all of it text; empty fields mean `not given`, as a flag that is left out."""

State = Literal["starting", "running", "failed"]


class Starting(TypedDict):
    """How a start goes. text: the last line that the process wrote, where it failed the reason."""

    state: State
    text: str


# Processes


def start(labs: Path, form: Mapping[str, str]) -> Path:
    """Start `aarlab run` for a new lab below `labs`; its folder, which is there once the process has made it.

    form: see FIELDS; `problem` is needed, `name` is the folder's (default: problem and time), `undirected` is that
    where it is "on", "true" or "1". Raises what `aarlab run` would, as far as that shows without trying; the rest is
    in `starting`.
    """
    flags = _flags(form)
    settings = launch.settings_for(_problem(form), None, **flags)
    folder = _new_folder(labs.resolve(), form.get("name", "").strip(), settings.problem)
    argv = ["run", f"--lab={folder}"]
    argv += [f"--{key}={value}" for key, value in flags.items() if value is not True]
    argv += [f"--{key}" for key, value in flags.items() if value is True]
    _spawn([*argv, "--", settings.problem], _log(folder))
    return folder


def resume(lab: Path) -> str:
    """Start `aarlab resume`. Raises LabBusy for a lab that runs, InputError for one that is over."""
    settings_file.read(lab / "lab.toml")
    if (pid := holder(lab)) is not None:
        raise LabBusy(f"{lab.name} runs already, as process {pid}")
    if _phase(lab) == "done":
        raise InputError(f"{lab.name} is over, and there is nothing to go on with; start a new lab")
    _spawn(["resume", str(lab.resolve())], _log(lab))
    return f"{lab.name} goes on"


def starting(labs: Path, name: str) -> Starting:
    """How the last start or resume of a lab goes. Raises UnknownName where there was none."""
    lab = labs / name
    if "/" in name or name.startswith(".") or not (_log(lab).is_file() or (lab / "lab.toml").is_file()):
        raise UnknownName(f"there is no lab {name!r} in {labs}, and none is being started")
    words = _last_words(_log(lab))
    if holder(lab) is not None and (lab / "run" / "server.json").is_file():
        return {"state": "running", "text": words}
    if _held(_log(lab)):
        return {"state": "starting", "text": words}
    if (lab / "report" / "report.html").is_file() and _phase(lab) == "done":
        return {"state": "running", "text": words}  # it has run to its end meanwhile, and its pages are there
    return {"state": "failed", "text": words or f"{name} does not run, and its process said nothing"}


def stop(lab: Path) -> str:
    """Stop the whole run so that it can be resumed; waits for its end."""
    if holder(lab) is None:
        raise InputError(f"{lab.name} is not running, so there is nothing to stop")
    launch.stop(lab, None, BY)
    return f"{lab.name} is stopped and can be resumed"


# Through the service


def stop_researcher(lab: Path, name: str) -> str:
    with _service(lab) as client:
        client.stop(name, BY)
    return f"{name} is stopped; the others go on"


def restart_researcher(lab: Path, name: str) -> str:
    """Also one that was stopped, has finished or failed."""
    with _service(lab) as client:
        client.restart(name, BY)
    return f"{name} is started again"


def message(lab: Path, name: str, text: str) -> str:
    """Tell a researcher, or EVERYONE, something of 1 to 4000 characters."""
    with _service(lab) as client:
        number = client.message(name, text, BY)["id"]
    return f"message {number} to {name} is sent; language models hear it after their next turn, all can read the post"


def audit(lab: Path, number: int) -> str:
    """Queue the audit of a submission, as thorough as the lab's settings say."""
    if holder(lab) is None and _phase(lab) == "done":
        raise InputError(f"{lab.name} is over; audit it with `aarlab audit {number} --lab {lab}`")
    with _service(lab) as client:
        status = client.audit(number, by=BY)["status"]
    return f"the audit of submission {number} is {'made' if status == 'scored' else status}"


def end_research(lab: Path, reason: str) -> str:
    """No more submissions; the lab audits and measures the finalists."""
    with _service(lab) as client:
        client.phase("done", reason.strip() or "the operator ended it", BY)
    return "research ends; the finalists are audited and measured now"


def overrule(lab: Path, number: int, ranked: bool, reason: str) -> str:
    """Rank or unrank a submission, in a lab that runs or not."""
    if not reason.strip():
        raise InputError("an overruling needs a reason: the ledger and the report show it")
    return audits.overrule(lab, number, ranked, reason, BY)


@contextmanager
def _service(lab: Path) -> Iterator[LabClient]:
    """The operator's client. Raises InputError for a lab that does not run."""
    if holder(lab) is None:
        raise InputError(f"{lab.name} is not running; resume it first")
    with spec.operator(lab, PATIENCE) as client:
        yield client


def _phase(lab: Path) -> str:
    if not (lab / "lab.db").is_file():
        raise InputError(f"{lab} has no lab.db; it is no lab folder, or its creation was cut short")
    store = Store(lab / "lab.db")
    try:
        with store.read() as rows:
            return str(rows.meta("phase", "research"))
    finally:
        store.close()


# The form


def _flags(form: Mapping[str, str]) -> dict[str, str | int | float | bool]:
    """The flags of `aarlab run`. Raises ConfigError naming the field, its value and what it may be."""
    unknown = set(form) - {*FIELDS, "csrf"}
    if unknown:
        raise ConfigError(f"the form has no field {min(unknown)!r}; it has {', '.join(FIELDS)}")
    given = {key: value.strip() for key, value in form.items() if value.strip()}
    flags: dict[str, str | int | float | bool] = {key: given[key] for key in WORDS if key in given}
    flags |= {key: int(_number(key, given[key], whole=True)) for key in WHOLE if key in given}
    flags |= {key: _number(key, given[key]) for key in NUMBERS if key in given}
    if "undirected" in given:
        if given["undirected"] not in ("on", "true", "1"):
            raise ConfigError(f"undirected is {given['undirected']!r}; it is 'on', or empty")
        flags["undirected"] = True
    return flags


def _number(key: str, text: str, whole: bool = False) -> float:
    kind = "a whole number" if whole else "a number"
    try:
        value = float(int(text) if whole else float(text))
    except (ValueError, OverflowError):
        value = math.nan
    if not 0 < value < math.inf:
        raise ConfigError(f"{key} is {text[:40]!r}; it must be {kind} above 0")
    return value


def _problem(form: Mapping[str, str]) -> str:
    """A problem's name, or the whole path of its folder, so that it holds wherever the process runs."""
    problem = form.get("problem", "").strip()
    if not problem:
        raise ConfigError(f"a lab needs a problem; it is one of {', '.join(base.names())}, or a folder")
    return str(Path(problem).resolve()) if Path(problem).is_dir() else problem


def _new_folder(labs: Path, name: str, problem: str) -> Path:
    name = name or plan.new_folder(base.load(problem, check=False).name).name
    if not NAME.fullmatch(name) or name == plan.LATEST:
        raise ConfigError(
            f"a lab cannot be named {name[:100]!r}; use up to 100 letters, digits, - and _, and not {plan.LATEST}"
        )
    if (labs / name).exists():
        raise InputError(f"{labs / name} exists; choose another name, or resume that lab")
    return labs / name


# The process


def _spawn(words: Sequence[str], log: Path) -> None:
    """Start `aarlab WORDS`, detached. Raises LabBusy where a process that was started for this lab still lives."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab", opener=_private) as file:
            if not _locked(file, LOCK_TRIES):
                raise LabBusy(f"{log.stem} is being started already; {log} says how far it is")
            file.truncate(0)
            process = subprocess.Popen(
                [sys.executable, "-m", "aarlab", *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True, env={**os.environ, launch.BY: BY},
            )  # fmt: skip
    except OSError as error:
        raise Infrastructure(
            f"{log}: {error.strerror}; nothing was started, free some space or choose another place"
        ) from None
    threading.Thread(target=process.wait, name=log.stem, daemon=True).start()  # or it stays a zombie


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _locked(file: BinaryIO, tries: int = 1) -> bool:
    """Take the lock of a log; it belongs to the open file, so a process that inherits this one holds it too."""
    for attempt in range(tries):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE if attempt + 1 < tries else 0)
        else:
            return True
    return False


def _held(log: Path) -> bool:
    if not log.is_file():
        return False
    with open(log, "rb") as file:
        return not _locked(file)


def _log(lab: Path) -> Path:
    return lab.parent / f"{lab.name}.log"


def _last_words(log: Path) -> str:
    """The error of the command line if there is one, else the last line."""
    if not log.is_file():
        return ""
    with open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    said = [line.removeprefix("aarlab: ") for line in lines if line.startswith("aarlab: ")]
    return (said or lines or [""])[-1][:MOST_WORDS]
