"""What the isolation in force holds, and what goes around it, in sentences: docs/sandboxes.md and docs/integrity.md say
more."""

from __future__ import annotations

from aarlab.dashboard.lab import Json, Snapshot
from aarlab.vault import practice

Facts = dict[str, list[str]]

ISOLATED = [
    "Files: a researcher sees system programs, the Python packages, the open tasks and its own folder; a method sees "
    "the first two. Labels, vault, database, other workspaces and tokens are not hidden there, they are not there.",
    "Network: none. A researcher has one unix socket to the lab's service; a method may not open any socket.",
    "A method starts no program and no process, gets no signal out, and ends with its sandbox; its answer is bytes of "
    "a stated shape, checked outside.",
    "Memory, processes, files and time are limited for each sandbox.",
    "What a method's process tries and may not is refused by the kernel and written down as an alarm.",
]

HOLDS: Facts = {
    "bwrap": [
        "Every researcher and every method run has namespaces of its own (files, processes, network) and a filter of "
        "system calls; mounts, tracing, new namespaces and raw kernel interfaces are refused.",
        *ISOLATED,
    ],
    "gvisor": [
        "Every researcher and every method run has a kernel of its own, written in Go, inside the same namespaces and "
        "filters as under bwrap: the host's kernel is asked for little.",
        *ISOLATED,
    ],
    "process": [
        "Nothing is isolated. Limits on open files, file size, CPU time and memory hold, and a filter makes careless "
        "methods fail as they would in a sandbox.",
    ],
}

LACKS: Facts = {
    "bwrap": [
        "The kernel is the machine's own: a bug that the calls left over can reach is a way out.",
        "Disk is watched, not reserved: a sandbox may write tens to a few hundred MB too much before it is ended.",
        "Load, memory size and kernel version of the machine can be seen.",
    ],
    "gvisor": [
        "A bug in gVisor, and then one in the host's kernel, is a way out.",
        "Disk is watched, not reserved, and a researcher's log may pass its limit for a quarter of a second.",
        "The machine's memory size and number of cores can be seen.",
    ],
    "process": [
        "Methods and researchers run as ordinary processes of the lab's user: they can read the labels, use the "
        "network and stop the lab.",
    ],
}


def isolation(lab: Snapshot) -> Json:
    kind = lab.settings.isolation.kind
    return {"kind": kind, "ranked": lab.ranked, "holds": HOLDS[kind], "lacks": LACKS[kind]}


def not_protected(lab: Snapshot) -> list[str]:
    """What goes around the walls, for this run."""
    found = list(LACKS[lab.settings.isolation.kind])
    if lab.ranked:
        found.append(
            "Time and caches: sandboxes on one machine share processors and memory. How long a run takes and with "
            "which of the fixed words it fails says a few bits about hidden inputs, never about labels."
        )
    if not lab.settings.fresh:
        found.append(
            "The labels of this problem come with the package. Whoever was trained on them or looks them up elsewhere "
            "knows them; a run with --fresh draws new items, where the problem can make some."
        )
    if lab.settings.scoring.practice:
        found.append("Practice mode is on: " + practice.warning(lab.feedback, lab.settings.scoring.practice))
    if lab.settings.audit.reader or lab.settings.llm.reader_model:
        found.append("A reader outside the sandbox is shown the methods, with the rights of who runs it.")
    return [*found, *ALWAYS]


ALWAYS = [
    "Tuning on answers: the bits bound what can be looked up, and say nothing about methods that were chosen because "
    "the feedback task liked them. Judge by the record tasks.",
    "A leak blended weakly into an honest method can pass the audits; on the same task it gains, on the record tasks "
    "it helps only as far as it teaches something that carries over.",
    "Text: names, comments and posts can spell anything, and a language model that reads them can be talked to.",
    "Canaries are random words in decoy files of vault and run folder and in the service's environment. They show some "
    "thefts; who takes only labels, or encrypts, passes.",
    "The operator and the superuser read every label and can rewrite ledger and scores with the vault's key. Publish "
    "the newest hash if somebody must be able to hold you to it.",
    "Python, its packages, the kernel and the place they came from are trusted.",
]
