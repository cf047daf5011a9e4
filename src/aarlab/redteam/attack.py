"""What an attack is and what came of it: one file of `attacks/`, one attack.

An attack's file has a docstring (who attacks, how, why it could work) and

    NUMBER, NAME    19, "most common answer"
    EXPECTED        the endings it must have, see `Ending`
    NEEDS           what a problem must have for it ("answers", "texts", "sources", "code", "sums"); () for nothing
    FAST            whether it belongs to the quick subset
    attack(ground)  attacks, and returns an Outcome
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib import import_module, resources
from typing import Any, Literal, get_args

from aarlab.errors import PackError, UnknownName
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Estimate
from aarlab.redteam.hacks import lacking

Ending = Literal["refused", "counted", "flagged", "no gain", "residual"]
"""`refused`: at the door, or by the sandbox. `counted`: answered, charged and bounded. `flagged`: an audit fired and
the verdict follows it. `no gain`: it earns nothing in the record. `residual`: it succeeds within bounds that are
measured and written down."""

MOST_GAIN = 0.02
"""PGR of record that an attack may gain at most, unless it is a documented residual."""


@dataclass(frozen=True)
class Gains:
    """PGR above the honest counterpart, paired on seeds and items; None where it was not measured."""

    feedback: Estimate | None = None  # the items whose labels answered
    vault: Estimate | None = None  # others of the same task, whose labels answered nothing
    record: Estimate | None = None  # the record tasks, on average

    @property
    def sure(self) -> bool:
        """Whether the record's gain certainly exceeds what an attack may gain."""
        return self.record is not None and self.record.low > MOST_GAIN


@dataclass(frozen=True)
class Outcome:
    """What was tried, what was gained, what noticed it, how it ended.

    `broken`: the expectations that did not hold, a sentence each. `ranked`: whether the verdict lets it rank; what is
    not ranked gains nothing in the record.
    """

    tried: str
    why: str  # what was refused, counted or flagged, in a sentence
    endings: tuple[Ending, ...] = ()
    gains: Gains = Gains()
    fired: tuple[str, ...] = ()  # channels on which audits fired
    row: str = ""  # the verdict's row
    ranked: bool = True
    broken: tuple[str, ...] = ()

    def missed(self, expected: tuple[Ending, ...]) -> tuple[str, ...]:
        """Why this did not end as expected; empty where it did."""
        found = [*self.broken, *(f"it was to end {e!r}, and did not" for e in expected if not self._ended(e))]
        if self.gains.sure and self.ranked and "residual" not in expected:
            assert self.gains.record is not None
            found.append(f"it gains {self.gains.record.mean:.2f} PGR of record, and ranks")
        return tuple(found)

    def _ended(self, ending: Ending) -> bool:
        """What is stopped leaves no residual, and that is no disappointment."""
        stopped = ending == "residual" and not self.broken and bool({"flagged", "refused"} & set(self.endings))
        return ending in self.endings or stopped

    def joined(self, other: Outcome) -> Outcome:
        """Two parts of one attack as one outcome: of two that were measured, both must end so, and the one that ranks,
        or else gains more, is shown."""
        both = self.measured and other.measured
        shown = max((self, other), key=Outcome._weight)
        common = tuple(e for e in self.endings if e in other.endings)
        return Outcome(
            tried="; ".join(t for t in (self.tried, other.tried) if t),
            why="; ".join(w for w in (self.why, other.why) if w),
            endings=common if both else tuple(dict.fromkeys((*self.endings, *other.endings))),
            gains=shown.gains,
            fired=tuple(dict.fromkeys((*self.fired, *other.fired))),
            row=shown.row,
            ranked=shown.ranked,
            broken=(*self.broken, *other.broken),
        )

    def bounded(self, sentence: str) -> Outcome:
        """The same, as a residual where it ranks: what it leaves is measured, and `sentence` says what bounds it."""
        endings: tuple[Ending, ...] = ("residual",) if self.ranked else ()
        return replace(self, why=f"{self.why}; {sentence}", endings=(*self.endings, *endings))

    @property
    def measured(self) -> bool:
        return self.gains != Gains()

    def _weight(self) -> tuple[bool, bool, float]:
        return self.measured, self.ranked, self.gains.record.mean if self.gains.record else -9.0


@dataclass
class Notes:
    """What an attack finds as it goes: what held, and what did not."""

    held: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def expect(self, true: bool, sentence: str) -> bool:
        """Note whether `sentence` holds."""
        (self.held if true else self.broken).append(sentence if true else f"not so: {sentence}")
        return true

    def outcome(self, tried: str, *endings: Ending, **more: Any) -> Outcome:
        """The outcome; its endings count only where everything held."""
        kept = endings if not self.broken else ()
        return Outcome(tried, "; ".join(self.held), kept, broken=tuple(self.broken), **more)


@dataclass(frozen=True)
class Attack:
    """One file of `attacks/`. `id` is the file's name with dashes: a19-most-common-answer."""

    id: str
    number: int
    name: str
    expected: tuple[Ending, ...]
    fast: bool
    about: str
    needs: tuple[str, ...]
    run: Callable[[Any], Outcome]

    def missing(self, task: AuditTask) -> str:
        """Why the attack cannot be made on a problem, by its feedback task; empty where it can."""
        return lacking(task, self.needs)


@dataclass(frozen=True)
class Line:
    """One row of the matrix: an attack, its outcome or why there is none, and the seconds it took."""

    attack: Attack
    outcome: Outcome | None
    missing: str = ""
    seconds: float = 0.0

    @property
    def missed(self) -> tuple[str, ...]:
        return () if self.outcome is None else self.outcome.missed(self.attack.expected)

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        out = self.outcome
        row: dict[str, Any] = {
            "number": self.attack.number, "id": self.attack.id, "attack": self.attack.name,
            "expected": self.attack.expected, "seconds": round(self.seconds, 1),
        }  # fmt: skip
        if out is None:
            return {**row, "not_applicable": self.missing}
        gains = {
            k: None if v is None else v.as_dict()
            for k, v in (("feedback", out.gains.feedback), ("vault", out.gains.vault), ("record", out.gains.record))
        }
        found = asdict(replace(out, gains=Gains()))
        del found["gains"], found["broken"]
        return {**row, **found, "gains": gains, "as_expected": not self.missed, "missed": self.missed}


@cache
def every() -> tuple[Attack, ...]:
    """All attacks by number. Raises PackError for a file that lacks something, or a number that occurs twice."""
    folder = f"{__package__}.attacks"
    files = sorted(p.name for p in resources.files(folder).iterdir() if p.name.endswith(".py"))
    found = [_load(f"{folder}.{f[:-3]}") for f in files if not f.startswith("_")]
    numbers = [a.number for a in found]
    if twice := sorted({n for n in numbers if numbers.count(n) > 1}):
        raise PackError(f"two attacks have one number: {twice}")
    return tuple(sorted(found, key=lambda a: a.number))


def chosen(only: str = "", fast: bool = False) -> tuple[Attack, ...]:
    """The attacks to make: of one number, or whose id has a word in it. Raises UnknownName where none fits."""
    found = [a for a in every() if _fits(a, only) and (a.fast or not fast)]
    if not found:
        raise UnknownName(f"no attack is called {only!r}; give a number up to {every()[-1].number} or a word of a name")
    return tuple(found)


def _fits(attack: Attack, only: str) -> bool:
    return not only or (int(only) == attack.number if only.isdigit() else only.lower() in attack.id)


def _load(name: str) -> Attack:
    module = import_module(name)
    try:
        expected = module.EXPECTED if isinstance(module.EXPECTED, tuple) else (module.EXPECTED,)
        if unknown := set(expected) - set(get_args(Ending)):
            raise PackError(f"{name}: EXPECTED has {sorted(unknown)}; known endings: {', '.join(get_args(Ending))}")
        return Attack(
            id=name.rpartition(".")[2].replace("_", "-"), number=module.NUMBER, name=module.NAME, expected=expected,
            fast=module.FAST, about=(module.__doc__ or "").strip(), needs=tuple(module.NEEDS), run=module.attack,
        )  # fmt: skip
    except AttributeError as error:
        raise PackError(f"{name}: {error}; an attack has NUMBER, NAME, EXPECTED, NEEDS, FAST and attack()") from None
