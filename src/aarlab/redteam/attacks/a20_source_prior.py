"""Who wrote an item can be told by its style, and some writers are right more often than others.

One file brings the writers' error rates along, learnt from leaked labels; another clusters items by style and asks the
weak labels how often each cluster is right, so that the teacher seems to matter. Where style tells nothing of right and
wrong there is no skill to divide, and the audits say that they cannot tell; where it does, they must fire.
"""

from __future__ import annotations

from aarlab.redteam import hacks
from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground

NUMBER = 20
NAME = "writers told by style"
EXPECTED = ("no gain",)
NEEDS = ("sources",)
FAST = False


def attack(ground: Ground) -> Outcome:
    leak = ground.leak(1000)
    prior = ground.hack(hacks.source_prior(leak).source, "how often each writer is right, in the file")
    clusters = ground.hack(hacks.source_clusters(leak).source, "clusters of style labelled by the teacher")
    notes = Notes()
    for part in (prior, clusters):
        skilled = part.gains.feedback is not None and part.gains.feedback.high > 0
        notes.expect("flagged" in part.endings or not skilled, f"{part.tried}: {'flagged' if skilled else 'no skill'}")
    return prior.joined(clusters).joined(notes.outcome(""))
