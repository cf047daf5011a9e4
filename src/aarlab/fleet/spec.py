"""The sandbox of one researcher, described once: the supervisor starts it, `aarlab sandbox` opens it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aarlab.client import LabClient
from aarlab.errors import UnknownName
from aarlab.sandbox.base import Limits, SandboxSpec
from aarlab.sandbox.library import PYTHON, library_binds
from aarlab.settings import ResearcherSpec, Settings

ADDRESS = "/run/aarlab.sock"
DATA = "/data"


def tokens(lab: Path) -> dict[str, Any]:
    """{"operator": token, "viewer": token, "fleet": token, "researchers": {name: token}}."""
    found: dict[str, Any] = json.loads((lab / "run" / "tokens.json").read_text())
    return found


def operator(lab: Path, patience: float = 10.0) -> LabClient:
    """A client of the lab's service with the operator's rights; `patience` in seconds."""
    return LabClient(lab / "run" / "aarlab.sock", tokens(lab)["operator"], patience)


def fleet(lab: Path, patience: float = 10.0) -> LabClient:
    """A client with the rights of the fleet's own processes: accounts and transcripts of every researcher."""
    return LabClient(lab / "run" / "aarlab.sock", tokens(lab)["fleet"], patience)


def find(settings: Settings, name: str) -> ResearcherSpec:
    """The researcher of that name; the first one for an empty name."""
    if not name:
        return settings.researchers[0]
    for one in settings.researchers:
        if one.name == name:
            return one
    raise UnknownName(f"no researcher {name!r}; this lab has {', '.join(r.name for r in settings.researchers)}")


def researcher_spec(lab: Path, settings: Settings, one: ResearcherSpec, argv: tuple[str, ...]) -> SandboxSpec:
    """Workspace, open tasks, one socket, token; nothing else of the lab."""
    workspace = lab / "workspaces" / one.name
    workspace.mkdir(parents=True, exist_ok=True)
    isolation = settings.isolation
    index = settings.researchers.index(one)
    env = {
        "AARLAB_ADDRESS": ADDRESS,
        "AARLAB_TOKEN": tokens(lab)["researchers"][one.name],
        "AARLAB_DATA": DATA,
        "AARLAB_KIND": one.kind,
        "AARLAB_NAME": one.name,
        "AARLAB_DIRECTION": one.direction,
        "AARLAB_SEED": str(index),
        "AARLAB_MINUTES": str(settings.budget.minutes),
        "AARLAB_ACTIONS": "/actions.json" if one.file else "",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    files = ((Path(one.file).resolve(), "/actions.json"),) if one.file else ()
    return SandboxSpec(
        argv=argv or (PYTHON, "-m", "aarlab.researchers"),
        workspace=workspace,
        read_only=(*library_binds(), (lab / "public", DATA), *files),
        sockets=((lab / "run" / "aarlab.sock", ADDRESS),),
        env=env,
        limits=Limits(
            memory_mb=isolation.researcher_memory_mb,
            cpu_seconds=0,
            processes=isolation.researcher_processes,
            file_mb=isolation.file_mb,
            disk_mb=isolation.workspace_mb,
        ),
        uid_index=index,
        hidden=(lab,),
    )
