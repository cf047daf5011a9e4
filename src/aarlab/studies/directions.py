"""Does a direction for each researcher help? Fleets with and without directions, on equal budgets, side by side.

Each repeat is two runs of `aarlab run`, one with the problem's directions and one with the same start for everybody;
which of the two goes first alternates, so that a machine that slows down slows both arms. Each run is a lab of its own
in the study's folder. A study that was stopped goes on where it was: finished runs are kept, a started one is resumed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import tomli_w

from aarlab.errors import Infrastructure, InputError
from aarlab.problems import base
from aarlab.studies import directions_page
from aarlab.vault.feedback import HARD_TOP

Arm = Literal["directed", "undirected"]
ARMS: tuple[Arm, Arm] = ("directed", "undirected")

QUICK = {"minutes": 1.0, "answers": 27, "seeds": 3}
QUICK_SETTINGS: dict[str, Any] = {
    "scoring": {"record_seeds": 4, "finalists": 3},
    "audit": {"finalists": False},
}
"""What `--quick` leaves out: most finalists and seeds of record, and the audits."""

PROGRAM = [sys.executable, "-m", "aarlab"]
STOPPED = 130
PLAN = "study.json"


@dataclass(frozen=True)
class Plan:
    """A study. Zero and empty mean what `aarlab run` means by them."""

    problem: str
    researchers: int = 9
    repeats: int = 3
    llm: str = ""
    base_url: str = ""
    minutes: float = 0.0
    answers: int = 0
    seeds: int = 0
    dollars: float = 0.0  # of each run
    tokens: int = 0
    directions: str = ""
    isolation: str = ""
    quick: bool = False

    def check(self) -> None:
        """Raises InputError."""
        if self.repeats < 1:
            raise InputError(f"--repeats is {self.repeats}; at least 1 is needed, and 2 for an interval")
        if not 2 <= self.researchers <= 64:
            raise InputError(f"--researchers is {self.researchers}; families spread over 2 to 64 researchers")
        if self.directions and not self.llm:
            raise InputError("--directions is for language models (--llm); search researchers know the nine shipped")
        base.load(self.problem, check=False)

    def runs(self) -> Iterator[tuple[int, Arm]]:
        """(repeat, arm) in the order in which they are made."""
        for repeat in range(1, self.repeats + 1):
            yield from ((repeat, arm) for arm in (ARMS if repeat % 2 else reversed(ARMS)))

    def command(self, arm: Arm, lab: Path, config: Path | None) -> list[str]:
        """The run of one arm; the arms differ in one flag."""
        given: dict[str, Any] = {
            "--researchers": self.researchers, "--minutes": self.minutes, "--answers": self.answers,
            "--seeds": self.seeds, "--dollars": self.dollars, "--tokens": self.tokens, "--llm": self.llm,
            "--base-url": self.base_url, "--isolation": self.isolation,
        }  # fmt: skip
        own = ["--undirected"] if arm == "undirected" else []
        own += ["--directions", self.directions] if self.directions and arm == "directed" else []
        own += ["--config", str(config)] if config else []
        flags = [part for name, value in given.items() if value for part in (name, f"{value}")]
        return [*PROGRAM, "run", self.problem, "--lab", str(lab), *flags, *own]


def run(
    problem: str,
    researchers: int,
    repeats: int,
    folder: Path,
    llm: str = "",
    base_url: str = "",
    *,
    minutes: float = 0.0,
    answers: int = 0,
    seeds: int = 0,
    dollars: float = 0.0,
    tokens: int = 0,
    directions: str = "",
    isolation: str = "",
    quick: bool = False,
) -> int:
    """Make or go on with a study and write its page; 0 when all runs are done, 130 when stopped.

    Raises InputError for settings that mean nothing or differ from those the folder was begun with, Infrastructure
    naming the log where a run failed; the page then shows the repeats that are whole.
    """
    short = QUICK if quick else {}
    plan = Plan(
        problem, researchers, repeats, llm, base_url, minutes or float(short.get("minutes", 0)),
        answers or int(short.get("answers", 0)), seeds or int(short.get("seeds", 0)), dollars, tokens, directions,
        isolation, quick,
    )  # fmt: skip
    plan.check()
    begin(plan, folder)
    failed = ""
    for repeat, arm in plan.runs():
        code = one(plan, folder, repeat, arm)
        if code == STOPPED:
            say("stopped; the same command goes on where this one was")
            return STOPPED
        if code != 0:
            failed = f"{arm} run {repeat} ended with code {code}: {last_line(log(folder, repeat, arm))}"
            say(failed)
            break
    whole = complete(plan, folder)
    if whole:
        page = directions_page.write(asdict(plan), [(str(a), n, report(folder, n, a)) for n, a in whole], folder)
        say(f"{directions_page.text(json.loads((folder / 'directions.json').read_text('utf-8')))}\nreport: {page}")
    if failed:
        raise Infrastructure(f"{failed}; see {folder}, mend the cause and give the same command again")
    return 0


def begin(plan: Plan, folder: Path) -> None:
    """Write the plan down, or check that it is the one the folder was begun with; more repeats may be asked for."""
    asked, path = asdict(plan), folder / PLAN
    if path.is_file():
        known = json.loads(path.read_text("utf-8"))
        changed = [k for k in asked if k not in ("repeats", "base_url") and asked[k] != known.get(k)]
        if changed:
            raise InputError(
                f"{folder} holds a study with {changed[0]} {known.get(changed[0])!r}, not {asked[changed[0]]!r}; name "
                "another folder with --out"
            )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asked, indent=1) + "\n", "utf-8")
    total = 2 * plan.repeats * (plan.answers or 45)
    if total > HARD_TOP:
        say(
            f"note: this study may draw {total} answers about one label set; after {HARD_TOP} on this machine, "
            "submissions are scored and not ranked, so that late runs name no winner"
        )


def lab_of(folder: Path, repeat: int, arm: Arm) -> Path:
    return folder / f"{arm}-{repeat}"


def log(folder: Path, repeat: int, arm: Arm) -> Path:
    return folder / f"{arm}-{repeat}.log"


def report(folder: Path, repeat: int, arm: Arm) -> dict[str, Any] | None:
    """What a finished run reported; None where it is not finished."""
    path = lab_of(folder, repeat, arm) / "report" / "report.json"
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found if found["run"]["done"] else None


def complete(plan: Plan, folder: Path) -> list[tuple[int, Arm]]:
    """The runs of all repeats of which both arms are done."""
    found: list[tuple[int, Arm]] = []
    for repeat in range(1, plan.repeats + 1):
        if all(report(folder, repeat, arm) is not None for arm in ARMS):
            found += [(repeat, arm) for arm in ARMS]
    return found


def one(plan: Plan, folder: Path, repeat: int, arm: Arm) -> int:
    """Make one run, or go on with it; its exit code, 0 at once where it is done."""
    lab = lab_of(folder, repeat, arm)
    if report(folder, repeat, arm) is not None:
        return 0
    begun = (lab / "lab.toml").is_file() and (lab / "lab.db").is_file()
    if lab.exists() and not begun:
        shutil.rmtree(lab)  # a run that died while its lab was being made
    config = quick_config(plan, folder) if plan.quick else None
    again = [*PROGRAM, "resume", str(lab)]
    say(f"{'resuming' if begun else 'running'} {arm} {repeat} of {plan.repeats}: {lab}")
    return followed(again if begun else plan.command(arm, lab, config), log(folder, repeat, arm))


def quick_config(plan: Plan, folder: Path) -> Path:
    path = folder / "quick.toml"
    path.write_text(tomli_w.dumps({"problem": plan.problem, **QUICK_SETTINGS}), "utf-8")
    return path


def followed(command: Sequence[str], path: Path) -> int:
    """Run a command with its words in a log. An interrupt stops it in its own time, so that it can be resumed."""
    with path.open("ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, env=dict(os.environ)
        )
        asked = False

        def stop(*_: object) -> None:
            nonlocal asked
            asked = True
            process.send_signal(signal.SIGTERM)

        before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            code = process.wait()
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)
    return STOPPED if asked else code


def last_line(path: Path) -> str:
    lines = path.read_text("utf-8", "replace").strip().splitlines() if path.is_file() else []
    return lines[-1][:300] if lines else "it said nothing"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
