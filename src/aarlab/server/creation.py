"""Making a lab folder: all of it or nothing."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast, get_args

from aarlab import settings as settings_file
from aarlab.errors import Infrastructure, InputError
from aarlab.execution.check import check_source, normalise
from aarlab.problems import base as problems
from aarlab.problems.base import Problem
from aarlab.records import ResearcherKind, ResearcherRow, Submission
from aarlab.server import canaries
from aarlab.server.auth import token_hash
from aarlab.server.lab import FLEET, LAB, OPERATOR, VIEWER, Lab
from aarlab.settings import Settings
from aarlab.store import Rows, Store
from aarlab.vault import practice
from aarlab.vault.feedback import Ladder
from aarlab.vault.ledger import Ledger, digest, submission_body
from aarlab.vault.store import create as create_vault
from aarlab.vault.store import export_public, task_card, write_new
from aarlab.w2s import methods

log = logging.getLogger("aarlab.server")

RESERVED = (LAB, OPERATOR, VIEWER, FLEET, "everyone")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


def create_lab(folder: Path, settings: Settings, packs: Sequence[Problem] | None = None) -> dict[str, Any]:
    """Make a lab folder and return its tokens: {"operator", "viewer", "fleet", "researchers": {name: token}}.

    packs: the problems the vault gets, `settings.problem` among them; by default every problem this package ships
    (the others serve transfer). The folder must not exist or be empty; it appears complete or not at all.
    """
    check_folder(folder)
    _check_names(settings)
    if packs is None:
        packs = _all_problems(settings)
        settings = settings.with_(problem=packs[0].name)  # it may have been the path of a folder
    fresh = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.new"
    try:
        fresh.mkdir(parents=True)
        tokens = _fill(fresh, settings, packs)
        os.replace(fresh, folder)
    except OSError as error:
        raise Infrastructure(
            f"{folder}: the lab folder cannot be made ({error.strerror}); free space or choose another place"
        ) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return tokens


def check_folder(folder: Path) -> None:
    """A new lab needs a folder that does not exist or is empty. Raises InputError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty; name a new folder, or go on with `aarlab resume {folder}`")


def _all_problems(settings: Settings) -> list[Problem]:
    first = problems.load(settings.problem)
    return [first, *(problems.load(n) for n in problems.names() if n != first.name)]


def _check_names(settings: Settings) -> None:
    for spec in settings.researchers:
        if spec.kind not in get_args(ResearcherKind):
            raise InputError(
                f"researcher {spec.name} is of kind {spec.kind!r}; known kinds: {', '.join(get_args(ResearcherKind))}"
            )
        if spec.name in RESERVED or not WORD.fullmatch(spec.name):
            raise InputError(
                f"a researcher cannot be named {spec.name!r}; use up to 40 letters, digits, - and _, "
                f"and none of {', '.join(RESERVED)}"
            )


def _fill(folder: Path, settings: Settings, packs: Sequence[Problem]) -> dict[str, Any]:
    problem = next(p for p in packs if p.name == settings.problem)
    for name, mode in (("run", 0o711), ("artifacts", 0o755), ("workspaces", 0o755), ("report", 0o755)):
        (folder / name).mkdir()
        (folder / name).chmod(mode)
    settings_file.write(settings, folder / "lab.toml")
    vault = create_vault(folder, packs, settings)
    export_public(folder, problem)
    canaries.plant(folder)
    if settings.scoring.practice:
        practice.export(folder / "public", vault, problem, settings.scoring.practice)
    tokens = _tokens(settings)
    write_new(folder / "run" / "tokens.json", json.dumps(tokens, indent=1).encode(), 0o600)
    write_new(folder / "lab.db", b"", 0o600)
    store = Store(folder / "lab.db")
    with store.write() as rows:
        _first_rows(rows, settings, problem, tokens, Ledger(vault.key))
    store.close()
    lab = Lab(folder)
    _queue_baselines(lab)
    lab.changed("scores")
    lab.close()
    return tokens


def _tokens(settings: Settings) -> dict[str, Any]:
    return {
        "operator": secrets.token_urlsafe(32),
        "viewer": secrets.token_urlsafe(32),
        "fleet": secrets.token_urlsafe(32),
        "researchers": {spec.name: secrets.token_urlsafe(32) for spec in settings.researchers},
    }


def _first_rows(rows: Rows, settings: Settings, problem: Problem, tokens: Mapping[str, Any], ledger: Ledger) -> None:
    now = time.time()
    card = problem.of_role("feedback")[0]
    ladder = Ladder.from_card(card, settings.scoring.step)
    about = {
        "id": secrets.token_hex(16),
        "created": now,
        "version": version("aarlab"),
        "problem": problem.name,
        "data_hash": problem.data_hash,
    }
    rows.set_meta("lab", about)
    rows.set_meta("ladder", {"step": ladder.step, "start": ladder.start})
    rows.set_meta("phase", "research")
    rows.set_meta("target", "research")
    rows.add_researcher(ResearcherRow(LAB, "scripted", "", role="lab"))
    rows.add_researcher(
        ResearcherRow(OPERATOR, "human", "", role="operator", token_hash=token_hash(tokens["operator"]))
    )
    rows.add_researcher(ResearcherRow(VIEWER, "human", "", role="viewer", token_hash=token_hash(tokens["viewer"])))
    rows.add_researcher(ResearcherRow(FLEET, "human", "", role="fleet", token_hash=token_hash(tokens["fleet"])))
    for spec in settings.researchers:
        token = token_hash(tokens["researchers"][spec.name])
        rows.add_researcher(ResearcherRow(spec.name, cast(ResearcherKind, spec.kind), spec.direction, token_hash=token))
    body = {
        **about,
        "step": ladder.step,
        "start": ladder.accuracy(ladder.start),
        "rungs": ladder.rungs,
        "answers": settings.budget.answers,
        "practice": settings.scoring.practice,
        "researchers": [r.name for r in settings.researchers],
        "cards": digest([task_card(c) for c in problem.tasks.values()]),
    }
    ledger.append(rows, "lab", body, now)


def _queue_baselines(lab: Lab) -> None:
    """The shown baselines, as submissions of the lab itself."""
    for name in lab.feedback.baselines:
        source = methods.source(name)
        check_source(source)
        bundle = lab.keep_artifact(source)
        with lab.store.write() as rows:
            now = lab.now()
            track = methods.about(name).track
            row = Submission(0, LAB, name, "queued", bundle, normalise(source), now, ranked=lab.ranks, track=track)
            row = rows.add_submission(row)
            rows.add_evaluation(row.id, lab.problem.name, lab.feedback.name, "baseline", now)
            lab.ledger.append(rows, "submission", submission_body(row), now)


def add_fleet_token(lab: Lab) -> None:
    """Give a lab that was made before there was one the fleet's token: in run/tokens.json, and its hash as a row.

    A lab whose tokens.json is gone is served to those who know their tokens.
    """
    path = lab.folder / "run" / "tokens.json"
    try:
        tokens: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s), so no language model can research in this lab", path, error)
        return
    with lab.store.write() as rows:
        known = next((r for r in rows.researchers() if r.role == "fleet"), None)
        if "fleet" not in tokens:
            tokens["fleet"] = secrets.token_urlsafe(32)
            fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
            write_new(fresh, json.dumps(tokens, indent=1).encode(), 0o600)
            os.replace(fresh, path)
        hashed = token_hash(tokens["fleet"])
        if known is None:
            taken = rows.researcher(FLEET) is not None  # by a researcher, when the name was free
            row = ResearcherRow("the fleet" if taken else FLEET, "human", "", role="fleet", token_hash=hashed)
            rows.add_researcher(row)
        elif known.token_hash != hashed:
            rows.set_researcher(known.name, token_hash=hashed)
