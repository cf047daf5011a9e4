"""What the run commands of the CLI call: start, resume, look at, stop and hand in to a lab."""

from __future__ import annotations

import os
import signal
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aarlab import settings as settings_file
from aarlab.client import LabClient
from aarlab.errors import ConfigError, InputError, SandboxUnavailable
from aarlab.fleet import costs, models, packs, plan, spec, usage
from aarlab.fleet.lock import LabLock, holder
from aarlab.fleet.progress import Progress
from aarlab.fleet.runner import STOPPED_BY, TERMINAL, Supervisor
from aarlab.fleet.trial import read_method
from aarlab.problems import base
from aarlab.sandbox import open_sandbox
from aarlab.settings import Llm, ResearcherSpec, Settings
from aarlab.w2s import methods

Beside = Callable[[Path], None]

STOP_SECONDS = 30.0
BY = "AARLAB_BY"
"""The environment variable in which whoever starts this process says by which way a person asked for it."""
LLM_MINUTES = 480.0  # of research where a language model is in the fleet and nothing else was said


BUDGETS = ("minutes", "answers", "dollars", "tokens", "researcher_dollars")


def settings_for(problem: str, config: Path | None, **flags: Any) -> Settings:
    """Flags over the config file over the defaults; zero and empty flags mean `not given`."""
    found = settings_file.read(config) if config else Settings(problem=problem)
    given = {k: v for k, v in flags.items() if v}
    for key in BUDGETS:
        if flags.get(key, 0) < 0:
            raise ConfigError(f"--{key.replace('_', '-')} is {flags[key]}; it must be above 0")
    llm = replace(found.llm, **{k: given[k] for k in ("base_url", "prompt", "directions") if k in given})
    llm = replace(llm, model=given.get("llm", llm.model))
    _check_llm_flags(llm.model or any(r.model for r in found.researchers), bool(found.researchers), given)
    crew = found.researchers or _crew(found.problem, llm, given)
    budget = replace(found.budget, **{k: given[k] for k in BUDGETS if k in given})
    if "minutes" not in given and not _sets_minutes(config) and any(one.is_language_model for one in crew):
        budget = replace(budget, minutes=LLM_MINUTES)
    scoring = replace(found.scoring, **({"seeds": given["seeds"]} if "seeds" in given else {}))
    isolation = replace(found.isolation, **({"kind": given["isolation"]} if "isolation" in given else {}))
    return replace(
        found, budget=budget, scoring=scoring, isolation=isolation, llm=llm, researchers=crew,
        fresh=given.get("fresh", found.fresh), port=given.get("port", found.port),
    )  # fmt: skip


def _crew(problem: str, llm: Llm, given: dict[str, Any]) -> tuple[ResearcherSpec, ...]:
    """A fleet of one kind: language models where a model is named, else searches."""
    loaded = base.load(problem, check=False)
    count, undirected = given.get("researchers", 9), "undirected" in given
    if not llm.model:
        return plan.researchers(loaded, count, undirected)
    return plan.language_models(count, given.get("cli", ""), llm.directions, undirected)


def _check_llm_flags(model: object, listed: bool, given: dict[str, Any]) -> None:
    """Flags that mean nothing here are said, not ignored."""
    for flag in ("cli", "directions", "prompt", "base_url"):
        if flag in given and not model:
            raise ConfigError(f"--{flag.replace('_', '-')} needs a language model; name one with --llm MODEL")
    for flag in ("cli", "directions", "undirected", "researchers"):
        if flag in given and listed:
            raise ConfigError(f"--{flag} was given, and the file lists its [[researchers]]; change them there")


def _sets_minutes(config: Path | None) -> bool:
    return config is not None and "minutes" in tomllib.loads(config.read_text("utf-8")).get("budget", {})


def run(settings: Settings, folder: Path | None, beside: Beside = lambda lab: None) -> int:
    """Make a new lab, run it to its report; 0 when done, 130 when stopped and resumable.

    beside: called with the lab's folder once it is there, before the run begins.
    """
    from aarlab.server.creation import check_folder, create_lab

    problem = settings.problem  # a name, or the path of a folder
    settings = replace(settings, problem=base.load(problem, check=False).name)
    lab = folder or plan.new_folder(settings.problem)
    check_folder(lab)  # before a fresh pack is built for nothing
    sandbox = open_sandbox(settings.isolation.kind)
    sandbox.check()
    first = base.load(problem, packs.fresh(problem) if settings.fresh else None)
    first.check_gaps()
    others = [base.load(name) for name in base.names() if name != first.name]
    asked = models.check(settings)
    say(plan.describe(settings))
    for line in [*asked, *([plan.limits(settings)] if asked else [])]:
        say(line)
    if not sandbox.isolated:
        say("isolation is `process`: nothing is isolated and every score is marked unranked")
    create_lab(lab, settings, [first, *others])
    plan.mark_latest(lab)
    return _go_on(lab.resolve(), settings, "start", beside)


def resume(lab: Path, beside: Beside = lambda lab: None) -> int:
    """Go on with a lab until its report is written. beside: as in `run`."""
    settings = settings_file.read(lab / "lab.toml")
    models.check(settings)
    return _go_on(lab, settings, "resume", beside)


def _go_on(lab: Path, settings: Settings, action: str, beside: Beside) -> int:
    by = os.environ.pop(BY, TERMINAL)[:40] or TERMINAL
    sandbox = open_sandbox(settings.isolation.kind)
    sandbox.check()
    say(f"lab: {lab}")
    beside(lab)
    with LabLock(lab), Progress() as progress:
        supervisor = Supervisor(lab, settings, sandbox, progress, action, by)
        done = supervisor.run()
    if supervisor.reason:
        say(f"{supervisor.reason}; see to it and go on with `aarlab resume {lab}`")
        return 3
    if not done:
        say(f"stopped; go on with `aarlab resume {lab}`")
        return 130
    return finish(lab)


def finish(lab: Path) -> int:
    """Write the report and say what came out."""
    from aarlab.reports.report import headline, write

    for line in models.read_afterwards(lab):
        say(line)
    page = write(lab)
    say(headline(lab))
    say(f"report: {page}")
    return 0


def status(lab: Path) -> dict[str, Any]:
    """What `aarlab status` shows: from the live service, else from the lab folder."""
    settings = settings_file.read(lab / "lab.toml")
    view = live_or_stored(lab)
    used = usage.read(lab / "run")
    totals = costs.totals(settings, used, view)
    left = max(0.0, settings.budget.minutes * 60 - used.research_seconds)
    return {**view, "usage": totals, "seconds_left": left, "supervisor": holder(lab), "lab": str(lab)}


def live_or_stored(lab: Path) -> dict[str, Any]:
    """The operator's view of a run, whether or not its service is up."""
    if holder(lab) is not None:
        return spec.operator(lab).run()
    from aarlab.server.lab import Lab
    from aarlab.server.views import run_view

    opened = Lab(lab)
    try:
        with opened.store.read() as rows:
            return run_view(opened, rows)
    finally:
        opened.close()


def stop(lab: Path, name: str | None, by: str = TERMINAL) -> str:
    """Stop one researcher for good, or ask the supervisor to stop the run. by: what the ledger keeps of the way."""
    settings = settings_file.read(lab / "lab.toml")
    if name:
        spec.find(settings, name)
        live(lab).stop(name, by)
        return f"{name} is stopped; the others go on"
    pid = holder(lab)
    if pid is None:
        return f"{lab} is not running; go on with `aarlab resume {lab}`"
    (lab / "run" / STOPPED_BY).write_text(by, "utf-8")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while holder(lab) is not None:
        if time.monotonic() > deadline:
            raise InputError(f"process {pid} has not stopped within {STOP_SECONDS:g} s; look at {lab}/run/*.log")
        time.sleep(0.1)
    return f"stopped; go on with `aarlab resume {lab}`"


def live(lab: Path) -> LabClient:
    """The operator's client of a running lab. Raises InputError when none runs."""
    if holder(lab) is None:
        raise InputError(f"{lab} is not running; start it with `aarlab resume {lab}`")
    return spec.operator(lab)


def submit(lab: Path, file: Path, name: str, wait: float, track: str = "") -> dict[str, Any]:
    """Hand a method in as the person at the terminal."""
    source = read_method(file)
    client = live(lab)
    row = client.submit(name or file.stem, source, track=track or methods.track(source))
    return client.wait(row["id"], wait)


def shell(lab: Path, name: str, command: tuple[str, ...]) -> int:
    """A shell, or one command, in a researcher's sandbox, on this terminal."""
    settings = settings_file.read(lab / "lab.toml")
    sandbox = open_sandbox(settings.isolation.kind)
    if not sandbox.isolated:
        raise SandboxUnavailable("isolation is `process`: there is no sandbox to open; use isolation bwrap")
    one = spec.find(settings, name)
    what = spec.researcher_spec(lab, settings, one, command or ("/bin/bash", "--norc", "-i"))
    if holder(lab) is None:
        say(f"note: {lab} is not running, so the lab's socket does not answer")
    return sandbox.attach(what)


def verify(lab: Path) -> dict[str, Any]:
    """What `ledger verify` found, with the sentence to print under `text`."""
    from aarlab.vault.verify import verify as verify_lab

    found = verify_lab(lab)
    return {**asdict(found), "ok": bool(found), "text": found.text()}


def say(text: str) -> None:
    print(text, file=sys.stderr)
