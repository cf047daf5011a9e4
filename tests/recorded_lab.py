"""A lab folder as a whole run leaves it, made up in seconds: what pages, reports and benchmarks look at.

    .venv/bin/python tests/recorded_lab.py FOLDER --submissions 500 --hostile

Folder, vault, tokens and baselines come from `create_lab`. Research is simulated and written in bulk, as the service
would have written it: rows, ledger lines with the Ladder's answers, per-item outcomes in the vault. Audits, verdicts,
an overruling, record and transfer runs go through the service's own functions with a clock that is set. So
`aarlab ledger verify` passes and `aarlab report` works; only the methods were never run, and no Inspect logs lie under
`transcripts/`: steps name them, and the rows hold the steps.

Two rules of the service are not applied, so that large labs have full tables: submissions after 450 answers rank all
the same, and a researcher may post more than 1,000 times. The machine's count of answers is left alone.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from aarlab.fleet import costs
from aarlab.fleet.plan import NAMES
from aarlab.fleet.usage import Usage
from aarlab.llm import prompts
from aarlab.llm.scan.run import scan
from aarlab.problems import base as problems
from aarlab.records import Call
from aarlab.server.creation import create_lab
from aarlab.server.lab import LAB
from aarlab.settings import Budget, Llm, Prices, ResearcherSpec, Settings
from aarlab.store import Rows
from recorded_base import MANY, MINUTES, MODELS, PROBLEM, SERVER_START, Draft, Json, Recording, leaver, moments
from recorded_forum import SCRIPTS, TURNED, spoil, write_posts
from recorded_research import Research
from recorded_rows import Ending, Writer
from recorded_talks import write_transcripts

KINDS = ("llm", "llm", "search", "llm", "cli", "search", "llm", "search", "human")
"""Of the researchers, in turn."""


def make(
    folder: Path, *, researchers: int = 9, submissions: int = 500, posts: int = 200, seed: int = 0,
    phase: Literal["done", "research"] = "done", events: bool = True, outcomes: bool = True, hostile: bool = False,
    now: float | None = None,
) -> Path:  # fmt: skip
    """Make a lab at `folder`, which must not exist yet, and return it.

    A lab in phase "done" ended an hour before `now` (Unix seconds; the present), one in "research" goes on, with
    submissions waiting. events: transcripts and a scan of them. outcomes: False leaves out the per-item outcomes of all
    but the best few, and so what a report is measured from. hostile: names, posts, states and one method file that try
    what a page must not let happen. The same seed gives the same run, but for keys, tokens and the lab's id.
    """
    create_lab(folder, _settings(researchers, submissions))
    lab = Recording(folder, random.Random(seed), now or time.time(), phase)
    try:
        lab.score_baselines()
        drafts = Research(lab, submissions).run()
        if hostile:
            spoil(drafts)
        Writer(lab, drafts, outcomes).write()
        written = write_posts(lab, drafts, posts, hostile)
        turns = write_transcripts(lab, drafts, written, events, hostile)
        if phase == "done":
            Ending(lab, drafts).run()
        _accounts(lab)
        _states(lab, drafts, turns, hostile)
        _files(lab, drafts)
    finally:
        lab.close()
    if events and submissions <= MANY:
        scan(folder)
    return folder


def _settings(researchers: int, submissions: int) -> Settings:
    """A mixed fleet, and budgets that the run will not pass."""
    answers, dollars = max(20, int(1.1 * submissions) // 10 * 10), 30.0 + round(0.12 * submissions)
    each = max(40, 3 * submissions // researchers)
    budget = Budget(minutes=MINUTES, answers=answers, dollars=dollars, submissions=each)
    crew = tuple(_one(i, researchers) for i in range(researchers))
    return Settings(
        problem=PROBLEM, budget=budget, prices=Prices(models=MODELS), llm=Llm(model=MODELS[0].name), researchers=crew
    )


def _one(index: int, count: int) -> ResearcherSpec:
    """A line of the fleet: directions in words for language models, by key for search, none for people."""
    name = NAMES[index % len(NAMES)] + (f"-{index // len(NAMES) + 1}" if index >= len(NAMES) else "")
    kind = KINDS[index % len(KINDS)]
    if kind == "human":
        return ResearcherSpec(name, kind)
    if kind == "search":
        keys = list(problems.load(PROBLEM, check=False).directions)
        return ResearcherSpec(name, kind, keys[index % len(keys)])
    words = prompts.directions(count=count)[index]
    if kind == "cli":
        return ResearcherSpec(name, kind, words, cli="claude-code")
    return ResearcherSpec(name, kind, words, model=MODELS[(index + index // 3) % len(MODELS)].name)


# What the supervisor and the heartbeats say


def _accounts(lab: Recording) -> None:
    """CPU and wall time of everybody in the supervisor's usage file, and what that costs in the accounts."""
    used = _usage(lab)
    (lab.folder / "run" / "usage.json").write_text(json.dumps(asdict(used)))
    with lab.store.read() as rows:
        spending = {name: vars(account) for name, account in rows.accounts().items()}
        seconds = _method_seconds(lab, rows)
    people = [{"name": name, "role": "researcher", "method_cpu_seconds": s} for name, s in seconds.items()]
    totals = costs.totals(lab.settings, used, {"researchers": people, "spending": spending})
    dollars, minutes = costs.compute(totals), costs.minutes(used)
    with lab.store.write() as rows:
        for name, amount in dollars.items():
            rows.set_compute(name, amount, minutes.get(name, 0.0))
        for name, one in lab.people.items():
            if lab.open_ended and one.is_language_model:  # a call is under way
                rows.set_call(Call(name, f"{name}-now", "reserved", 0.08, 38_000, lab.horizon - 2), None)


def _usage(lab: Recording) -> Usage:
    """The supervisor's totals."""
    research = lab.horizon - lab.began - SERVER_START
    used = Usage(research, (lab.horizon if lab.open_ended else lab.clock) - lab.began, supervisor_starts=1)
    for name, one in lab.people.items():
        if one.kind != "human":
            wall = research * (0.75 if name == leaver(lab) else 1.0) - 15
            share = 0.82 if one.kind == "search" else 0.06
            used.wall[name], used.cpu[name] = wall, wall * share * lab.rng.uniform(0.9, 1.1)
            used.restarts[name] = int(name == lab.first)
    return used


def _method_seconds(lab: Recording, rows: Rows) -> dict[str, float]:
    """CPU seconds of method runs by who pays: feedback runs their researcher, all others and audits the lab."""
    owner = {s.id: s.researcher for s in rows.submissions()}
    seconds = dict.fromkeys([*lab.people, LAB], 0.0)
    for score in rows.scores():
        seconds[owner[score.submission] if score.purpose == "feedback" else LAB] += score.cpu_seconds
    seconds[LAB] += sum(j.cpu_seconds for j in rows.judgements())
    return seconds


def _states(lab: Recording, drafts: list[Draft], turns: Mapping[str, int], hostile: bool) -> None:
    """Each researcher's last heartbeat; people have none."""
    with lab.store.write() as rows:
        for name, one in lab.people.items():
            if one.kind == "human":
                continue
            end = moments(lab)[1] if name == leaver(lab) else lab.horizon
            mine = [d for d in drafts if d.researcher == name]
            said = _search_state(mine) if one.kind == "search" else {"state": _spoken_state(lab, one, turns[name])}
            if hostile and name == lab.first:
                said["state"] = f"turn {turns.get(name, 0)}: {SCRIPTS} {TURNED}"
            rows.set_researcher(name, heartbeat=end - lab.rng.uniform(0.5, 6.0), **said)


def _search_state(mine: list[Draft]) -> Json:
    best = max((d for d in mine if d.claimed is not None), key=lambda d: d.claimed or 0, default=None)
    if best is None:
        return {"state": "looking around"}
    return {"state": f"best: {best.name}", "best_open_pgr": best.claimed, "trials": 7 * len(mine) + 12}


def _spoken_state(lab: Recording, one: ResearcherSpec, turn: int) -> str:
    if one.kind == "cli" and not lab.open_ended:
        return "finished: what I meant to try is tried"
    doing = (f"turn {turn}: bash", f"turn {turn}: submit", "waiting for the provider (529), try 3 in 30 s")
    return lab.rng.choice(doing)


# Files


def _files(lab: Recording, drafts: list[Draft]) -> None:
    """Notebooks and logs where the fleet's processes leave them, and the prompts that were used."""
    prompts.write_into(lab.folder / "run" / "prompts")
    (lab.folder / "transcripts").mkdir()
    for name, one in lab.people.items():
        workspace = lab.folder / "workspaces" / name
        workspace.mkdir(mode=0o700)
        if one.kind != "human":
            mine = [d for d in drafts if d.researcher == name]
            text = _lines(lab, mine) if one.kind == "search" else _notebook(one, mine)
            (workspace / "notebook.md").write_text(text, "utf-8")
            (lab.folder / "run" / f"{name}.log").write_text(f"{name}: started\n", "utf-8")
        if one.kind == "cli" and not lab.open_ended:
            (lab.folder / "run" / f"{name}.done").touch()


def _notebook(one: ResearcherSpec, mine: list[Draft]) -> str:
    """A language model's notebook, Markdown."""
    entries = "".join(
        f"\n## #{d.id} {d.name}\n\n- {d.family}, track {d.track}; open {d.claimed}; the lab: {d.outcome_words}\n"
        f"- next: {'keep it' if d.answer and d.answer.record else 'try without the last change'}\n"
        for d in mine[-60:]
    )
    return f"# Notebook of {one.name}\n\nDirection: {one.direction}\n\n1. measure on 4 seeds\n2. hand in\n{entries}"


def _lines(lab: Recording, mine: list[Draft]) -> str:
    """A search researcher's notebook: one line for each thing done."""
    return "".join(f"- {d.created - lab.began:6.1f} s: {d.name}: {d.outcome_words}\n" for d in mine[-200:])


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a lab folder as a whole run leaves it.")
    parser.add_argument("folder", type=Path)
    for name, value in (("researchers", 9), ("submissions", 500), ("posts", 200), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--phase", choices=("done", "research"), default="done")
    parser.add_argument("--no-events", dest="events", action="store_false")
    parser.add_argument("--no-outcomes", dest="outcomes", action="store_false")
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--report", action="store_true", help="write the report as well")
    options = vars(parser.parse_args())
    report_too = options.pop("report")
    began = time.monotonic()
    folder = make(options.pop("folder"), **options)
    print(f"{folder}: made in {time.monotonic() - began:.1f} s")
    if report_too:
        from aarlab.reports import report

        print(report.write(folder))


if __name__ == "__main__":
    main()
