"""Nine accounts, new registrations, a restarted server, a second run on the same labels: more budget by other names.

Answers are counted for the fleet and kept in the lab's database, researchers are named when a lab is made, and the
machine counts the answers that all labs gave about one set of labels.
"""

from __future__ import annotations

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground, taken

NUMBER = 8
NAME = "fresh accounts, restarts, second runs"
EXPECTED = ("counted", "refused")
NEEDS = ()
FAST = False

SOURCE = "import numpy as np\n\ndef run(task, seed):\n    return np.full(len(task.test), {value})\n"


def attack(ground: Ground) -> Outcome:
    notes = Notes()
    with ground.lab(answers=10) as lab:
        rows, refused = taken(lab, [SOURCE.format(value=0.1 + i / 1000) for i in range(27)])
        notes.expect((len(rows), refused) == (10, 17), "nine accounts get 10 answers, 17 are refused")
        for path in ("/v1/researchers", "/v1/register", "/v1/tokens"):
            status, _ = lab.reply("POST", path, "r1", {"name": "r10"})
            notes.expect(status in (404, 405), f"no account at {path}")
        lab.restart()
        notes.expect(lab.refusal(SOURCE.format(value=0.5)) == "BudgetSpent", "a restart forgets nothing")
        notes.expect(bool(lab.verify()), "the ledger verifies")
    with ground.lab(answers=10) as second:
        earlier = second.client("r1").budget()["label_set"]
        notes.expect(earlier["earlier_answers"] >= 10, "a second run on these labels carries the first one's answers")
    return notes.outcome("27 asks by nine accounts, three registrations, a restart, a second lab", "counted", "refused")
