"""Putting one researcher's process together: its clients, its tools, its model, its first words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from inspect_ai.model import ChatMessage

from aarlab import settings as settings_file
from aarlab.client import LabClient
from aarlab.errors import ConfigError
from aarlab.fleet import keys, spec
from aarlab.llm import binaries, check, prompts, session, tools, transcripts
from aarlab.llm.agent import researcher
from aarlab.llm.cli_agents import Program, Proposals
from aarlab.llm.desk import Desk
from aarlab.llm.meter import Meter
from aarlab.llm.prices import price_of
from aarlab.llm.provider import config_for
from aarlab.llm.session import Seat
from aarlab.problems import base
from aarlab.researchers import findings
from aarlab.researchers.toolbox import Toolbox
from aarlab.settings import ResearcherSpec, Settings

PATIENCE = 600.0  # seconds for which a lab that is away is waited for, with the conversation kept
PROGRAM_MEMORY_MB, PROGRAM_PROCESSES = 4096, 256  # least, for the runtimes of Claude Code and Codex
OUTPUT_BYTES = 16 * 1024  # of one command that reach the model


def take(lab: Path, name: str) -> Seat:
    """The seat of a researcher of this lab. Raises CannotGoOn for a model that can not be asked."""
    settings = settings_file.read(lab / "lab.toml")
    one = spec.find(settings, name)
    tokens = spec.tokens(lab)
    address = lab / "run" / "aarlab.sock"
    client = LabClient(address, tokens["researchers"][name], PATIENCE)
    fleet = LabClient(address, tokens["fleet"], PATIENCE)
    model_name = settings.model_of(one)
    try:
        model = check.check_model(model_name, settings.llm.base_url)
        if settings.budget.dollars or settings.budget.researcher_dollars:
            check.check_price(model_name, settings.prices.models)
        changes = _for_program(settings, one)
    except ConfigError as error:
        raise check.CannotGoOn(str(error)) from None
    transcripts.recover(lab, name)
    prompts.write_into(lab / "run" / "prompts")
    (lab / transcripts.FOLDER).mkdir(exist_ok=True)
    shared = lab / "run" / "shared" / name
    desk = Desk(client, fleet, name, settings.llm, shared, keys.redactor(os.environ))
    program = Program(one.cli, settings.llm.command_seconds) if one.kind == "cli" else None
    if program is not None:
        desk.calls = Proposals()
    findings.sync(client, shared)
    meter = Meter(desk.outbox, price_of(model_name, settings.prices.models), settings.llm.max_output_tokens,
                  session.tell(desk))  # fmt: skip
    owned = tools.tools(
        Toolbox(client, name), desk.calls.key, desk.finish, desk.calls.note, settings.llm.command_seconds, OUTPUT_BYTES
    )
    return Seat(
        desk=desk,
        meter=meter,
        llm=settings.llm,
        model=model,
        tools=owned,
        opening=first_words(settings, one, client),
        again=first_words(settings, one, client, restarted=True),
        sandbox=config_for(lab, settings, one, **changes),
        transcripts=lab / transcripts.FOLDER,
        agent=program or researcher,
    )


def _for_program(settings: Settings, one: ResearcherSpec) -> dict[str, Any]:
    """How the sandbox of an outside program differs: the program itself, and what its runtime needs."""
    if one.kind != "cli":
        return {}
    isolation = settings.isolation
    return {
        "extra_binds": binaries.binds(one.cli),
        "memory_mb": max(PROGRAM_MEMORY_MB, isolation.researcher_memory_mb),
        "processes": max(PROGRAM_PROCESSES, isolation.researcher_processes),
    }


def first_words(
    settings: Settings, one: ResearcherSpec, lab: LabClient, restarted: bool = False
) -> list[ChatMessage]:  # fmt: skip
    """The system prompt and the first message. restarted: of a conversation after another one."""
    problem = base.load(settings.problem, check=False)
    system = prompts.system_prompt(
        one.prompt or settings.llm.prompt,
        name=one.name,
        direction=prompts.in_words(one.direction, problem.directions),
        problem=lab.brief()["brief"],
        researchers=len(settings.researchers),
        command_seconds=settings.llm.command_seconds,
    )
    return session.opening(system, prompts.opening(restarted))
