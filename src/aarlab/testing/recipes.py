"""Small real methods, one per family and endless in their numbers, for minds that cannot think of any."""

from __future__ import annotations

import hashlib
import textwrap

IMPORTS = """
import numpy as np

from aarlab.w2s.heads import expit, logit
from aarlab.w2s.parts import denoise, labels, losses, train
"""

BODIES: dict[str, str] = {
    "confidence weighting": """
        sure = np.abs(task.weak_labels - 0.5) * 2
        weights = {low} + sure ** {power}
        head = task.student.fit(task.train, task.weak_labels > 0.5, weights, seed=seed)
        return head.predict(task.test)
        """,
    "data filtering": """
        kept = np.flatnonzero(denoise.confident(task.weak_labels, keep={share}))
        head = task.student.fit(task.train[kept], task.weak_labels[kept] > 0.5, seed=seed)
        return head.predict(task.test)
        """,
    "self-training": """
        where = train.folds(task.train.groups, 3, np.random.default_rng(seed))
        seen = train.student_out_of_fold(task.student, task.train, task.weak_labels, where, seed)
        taught = denoise.mixed(seen, task.weak_labels, float(task.weak_labels.mean()), trust={share})
        return task.student.fit(task.train, taught, seed=seed).predict(task.test)
        """,
    "ensemble": """
        theirs = labels.rank_logit(logit(task.weak_labels), task.train.paired)
        own = labels.rank_logit(task.student.zero_shot(task.train), task.train.paired)
        both = expit(np.float32(1.5) * (np.float32({share}) * theirs + np.float32(1 - {share}) * own))
        return task.student.fit(task.train, both, seed=seed).predict(task.test)
        """,
    "distillation": """
        first = task.student.fit(task.train, task.weak_labels, seed=seed)
        own = labels.as_bold(first.logits(task.train), task.weak_labels)
        taught = (1 - {share}) * task.weak_labels + {share} * own
        return task.student.fit(task.train, taught, seed=seed + 1).predict(task.test)
        """,
    "loss function": """
        own = losses.Hardened(float(task.weak_labels.mean()))

        def moving(logits, rows, progress):
            a = losses.warmed({share}, progress, 0.1)
            return (1 - a) * task.weak_labels[rows] + a * own(logits)

        return task.student.fit(task.train, task.weak_labels, seed=seed, moving=moving).predict(task.test)
        """,
    "unsupervised elicitation": """
        odds = labels.consistent(task.train, labels.zero_shot(task.train, {sharp}, student=task.student))
        middle = 0 if task.train.paired else np.median(odds)
        return task.student.fit(task.train, odds > middle, seed=seed).predict(task.test)
        """,
    "curriculum": """
        taught = task.weak_labels > 0.5
        easy = np.flatnonzero(denoise.confident(task.weak_labels, keep={share}))
        first = task.student.fit(task.train[easy], taught[easy], seed=seed, effort=0.4)
        head = task.student.fit(task.train, taught, seed=seed, start=first, effort=0.6, rate=0.5)
        return head.predict(task.test)
        """,
    "model internal": """
        heads = [s.fit(task.train, task.weak_labels, seed=seed) for s in task.student.views()]
        spread = [max(float(h.logits(task.train).std()), 1e-6) ** {share} for h in heads]
        said = [h.logits(task.test) / s for h, s in zip(heads, spread, strict=True)]
        return expit(np.mean(said, axis=0))
        """,
    "evolutionary": """
        rng = np.random.default_rng(seed)
        half = rng.permutation(len(task.train))
        held, rest = half[: len(half) // 4], half[len(half) // 4 :]
        best, found = -1.0, None
        for power in {share} + rng.random(3):
            weights = np.abs(task.weak_labels[rest] - 0.5) ** power + 0.01
            head = task.student.fit(task.train[rest], task.weak_labels[rest] > 0.5, weights, seed=seed)
            agreed = np.corrcoef(head.logits(task.train[held]), task.weak_labels[held])[0, 1]
            if agreed > best:
                best, found = agreed, head
        return found.predict(task.test)
        """,
}
"""Family -> the body of run(task, seed). Each takes about a second on the shipped problems."""

TRACKS = {"ensemble": "hybrid", "unsupervised elicitation": "teacher-free"}
"""What the others do not use: the untrained student's own opinion."""

WORDS: dict[str, tuple[str, ...]] = {
    "unsupervised elicitation": ("elicit", "already believes"),
    "confidence weighting": ("reweight", "deserve more trust", "noisy channel", "posterior"),
    "ensemble": ("combination", "combine", "opinion and the student's own", "ensemble"),
    "distillation": ("distil", "learn from a student"),
    "data filtering": ("simplest rule", "filter", "simplicity", "leave out"),
    "curriculum": ("learnab", "easier to learn", "curriculum", "order in which"),
    "evolutionary": ("evolution", "vary what works"),
    "model internal": ("internal", "inside the student", "layers"),
    "loss function": ("loss function",),
    "self-training": ("self-train", "relabel"),
}
"""Family -> words of a direction that point to it; the order is the order of asking."""


def family_for(direction: str, name: str) -> str:
    """The family that a direction's words name; without such words, one that depends on the researcher's name."""
    said = direction.lower()
    for family, words in WORDS.items():
        if any(word in said for word in words):
            return family
    return list(BODIES)[int(fraction(name, 0) * len(BODIES))]


def fraction(name: str, number: int) -> float:
    """A fixed number in [0, 1) for a name and a number."""
    digest = hashlib.sha256(f"{name}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def source(family: str, name: str, number: int, partner: str = "") -> str:
    """A method file of a family, the `number`th of researcher `name`: no two have the same syntax tree.

    partner: another family whose answer is averaged in, as ranks.
    """
    partner = partner if partner in BODIES and partner != family else ""
    share = fraction(name, number)
    numbers = {
        "share": f"{0.3 + 0.5 * share:.4f}", "power": f"{0.5 + 1.5 * share:.4f}", "low": f"{0.02 + 0.2 * share:.4f}",
        "sharp": f"{1.0 + share:.4f}",
    }  # fmt: skip
    title = f"{family}, variation {number} of {name}" + (f", joined with {partner}" if partner else "")
    header = f"# name: {slug(family)}-{name}-{number}\n# family: {family}\n# track: {track(family, partner)}"
    parts = [f'{header}\n"""{title}."""', IMPORTS.strip()]
    if partner:
        parts += [_function("own", family, numbers), _function("theirs", partner, numbers), JOINED.strip()]
    else:
        parts.append(_function("run", family, numbers))
    return "\n\n\n".join(parts) + "\n"


JOINED = """
def run(task, seed):
    said = [method(task, seed) for method in (own, theirs)]
    ranks = np.mean([labels.rank_logit(logit(p, 1e-6)) for p in said], axis=0)
    positive = float(np.mean([p > 0.5 for p in said]))
    return expit(ranks - np.quantile(ranks, 1 - positive))
"""


def track(family: str, partner: str = "") -> str:
    """The track on which a method of these families may be handed in."""
    if not partner or partner == family:
        return TRACKS.get(family, "inductive")
    return "hybrid" if family in TRACKS or partner in TRACKS else "inductive"


def slug(family: str) -> str:
    return family.replace(" ", "-")


def _function(name: str, family: str, numbers: dict[str, str]) -> str:
    body = textwrap.dedent(BODIES[family]).strip("\n")
    for key, value in numbers.items():
        body = body.replace("{" + key + "}", value)
    return f"def {name}(task, seed):\n{textwrap.indent(body, '    ')}".rstrip()
