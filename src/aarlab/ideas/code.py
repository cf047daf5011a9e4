"""Rules that sort a method file into a family by what its code does. Nothing of it is executed.

The rules stand in one order, the rarer mechanism first, and the first that fires decides: a method that filters items
and trains on a mixture of opinions is a filter, because nearly every good method mixes. Values are followed from
assignment to assignment and through the file's own functions. Comments and docstrings count for nothing; what
functions and variables are called counts in two rules, where no library call tells. A method that hides what it does
is sorted wrongly, and no score hangs on that.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from aarlab.audits.code import Code, mentions

PARTS = "aarlab.w2s.parts."

SEARCHES = ("scipy.optimize.differential_evolution", "scipy.optimize.dual_annealing", "cma.", "nevergrad.")
FITS = ("fit", "student_out_of_fold")
"""Methods and functions that train a student, targets second."""


@dataclass(frozen=True)
class Read:
    """A method file, read."""

    code: Code

    @cached_property
    def called(self) -> frozenset[str]:
        """Full names of all calls; those of the lab's own parts without their folder: "train.bagged"."""
        return frozenset(name.removeprefix(PARTS) for _, name in self.code.calls)

    def calls(self, *names: str) -> bool:
        """Whether one of the lab's parts or functions is called, or whatever hangs on it ("evolution.")."""
        return any(c == n or (n.endswith(".") and c.startswith(n)) for c in self.called for n in names)

    def imports(self, *names: str) -> bool:
        return any(m == n or m.startswith(f"{n}.") for _, m in self.code.modules for n in names)

    @cached_property
    def fits(self) -> tuple[ast.Call, ...]:
        """Every training of a student or of any estimator."""
        return tuple(call for call, name in self.code.calls if name.split(".")[-1] in FITS)

    @cached_property
    def targets(self) -> tuple[ast.expr, ...]:
        """What is taught, one for each training: the second argument, or the third of `student_out_of_fold`."""
        found = []
        for call, name in self.code.calls:
            last = name.removeprefix(PARTS).split(".")
            place = {"fit": 1, "student_out_of_fold": 2, "committee": 1, "self_training": 1, "bagged": 1}.get(last[-1])
            given = {k.arg: k.value for k in call.keywords}
            if place is not None and len(call.args) > place:
                found.append(call.args[place])
            elif place is not None and "targets" in given:
                found.append(given["targets"])
        return tuple(found)

    def names_from(self, sign: Callable[[ast.AST], bool]) -> frozenset[str]:
        """Names that hold, at whatever remove, something that `sign` is true of; functions that return it too."""
        names: frozenset[str] = frozenset()
        while True:
            held = names

            def holds(value: ast.AST, held: frozenset[str] = held) -> bool:
                return any(sign(n) for n in ast.walk(value)) or mentions(value, held)

            returned = {
                f.name
                for f in self.code.nodes
                if isinstance(f, ast.FunctionDef)
                for r in ast.walk(f)
                if isinstance(r, ast.Return) and r.value is not None and holds(r.value)
            }
            names = self.code.names_of(holds, held) | returned
            if names == held:
                return names

    def taught(self, sign: Callable[[ast.AST], bool]) -> bool:
        """Whether some training's targets come from what `sign` is true of; rows that are picked do not count."""
        names = self.names_from(sign)
        return any(any(sign(n) for n in _values(t)) or _uses(t, names) for t in self.targets)

    @cached_property
    def words(self) -> frozenset[str]:
        """Names of functions, variables and arguments, in parts: "noisy_channel" -> noisy, channel."""
        names = {n.name for n in self.code.nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        names |= {n.id for n in self.code.nodes if isinstance(n, ast.Name)}
        names |= {n.arg for n in self.code.nodes if isinstance(n, ast.arg)}
        return frozenset(w for name in names for w in re.split(r"[_\d]+", name.lower()) if w)

    def says(self, *starts: str) -> bool:
        return any(w.startswith(starts) for w in self.words)

    @cached_property
    def weak(self) -> int:
        """How often the teacher's labels are read, but for telling the share of ones to a threshold."""
        shares = [c for c, n in self.code.calls if n.endswith("finish.centred")]
        spared = {id(n) for call in shares for n in ast.walk(call)}
        read = [n for n in self.code.nodes if isinstance(n, ast.Attribute) and n.attr == "weak_labels"]
        return sum(id(n) not in spared for n in read)

    @cached_property
    def opinions(self) -> bool:
        """Whether the untrained student is asked."""
        return self.calls("labels.zero_shot", "labels.own", "labels.relative_zero_shot", "labels.opinion") or any(
            _asks(n) for n in self.code.nodes
        )

    def loops(self) -> Iterable[ast.AST]:
        kinds = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp, ast.SetComp)
        return (n for n in self.code.nodes if isinstance(n, kinds))


def _values(node: ast.AST) -> Iterable[ast.AST]:
    """Every node but those that only pick rows: of `y[rows]`, not `rows`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.Subscript) and child is node.slice):
            yield from _values(child)


def _uses(node: ast.AST, names: frozenset[str]) -> bool:
    return any(isinstance(n, ast.Name) and n.id in names for n in _values(node))


def _asks(node: ast.AST) -> bool:
    """The untrained student's opinion, or a part that gives it."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute):
        return node.func.attr in ("zero_shot", "in_context", "relative_zero_shot", "opinion", "own")
    return False


def _weak(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "weak_labels"


def _said(node: ast.AST) -> bool:
    """What a trained student says of train items."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if node.func.attr in ("out_of_fold", "student_out_of_fold", "cross_val_predict"):
        return True
    asked = node.func.attr in ("logits", "predict", "predict_proba", "decision_function")
    return asked and any(mentions(a, attributes=("train",)) for a in node.args)


# The rules, one function each


def _evolution(r: Read) -> bool:
    return r.calls("evolution.", *SEARCHES) or r.calls("?.with_parameters") or r.imports("cma", "nevergrad", "deap")


def _writer(r: Read) -> bool:
    return r.imports("aarlab.w2s.critic") or any(n.split(".")[-1] in ("reinforce", "generate") for n in r.called)


def _ordered(r: Read) -> bool:
    """A training that starts where another ended."""
    return any(k.arg in ("start", "warm_start") for call in r.fits for k in call.keywords)


def _imitates(r: Read) -> bool:
    return r.says("distil") or "kl" in r.words


def _loss(r: Read) -> bool:
    return any(k.arg == "moving" for call in r.fits for k in call.keywords) or r.calls("losses.")


def _no_teacher(r: Read) -> bool:
    mixed = r.calls("labels.mixture", "labels.posterior")
    return r.opinions and not r.weak and not mixed


def _channel(r: Read) -> bool:
    return r.calls("labels.posterior", "denoise.learnable") or r.says("posterior", "channel", "smooth", "soften")


def _rounds(r: Read) -> bool:
    return r.calls("train.self_training")


def _filter(r: Read) -> bool:
    parts = ("denoise.confident", "denoise.agreeing", "denoise.beyond", "denoise.top_per_class")
    return r.calls(*parts) or any(
        isinstance(a, ast.Subscript) and mentions(a.value, attributes=("train",)) and not _drawn(r, a.slice)
        for call in r.fits
        for a in call.args[:1]
    )


def _drawn(r: Read, rows: ast.AST) -> bool:
    """Whether rows are drawn at random, as for a bag, or are a fold."""
    names = r.names_from(lambda n: isinstance(n, ast.Attribute) and n.attr in ("choice", "integers", "permutation"))
    folds = r.names_from(lambda n: isinstance(n, ast.Attribute) and n.attr in ("folds", "split"))
    return _uses(rows, names | folds)


def _weighted(r: Read) -> bool:
    named = any(k.arg in ("weights", "sample_weight") for call in r.fits for k in call.keywords)
    third = any(name.split(".")[-1] == "fit" and len(call.args) > 2 for call, name in r.code.calls)
    return named or third


def _both(r: Read) -> bool:
    """Targets made of the teacher's word and the untrained student's."""
    return r.calls("labels.mixture") or (r.taught(_asks) and r.taught(_weak))


def _relabelled(r: Read) -> bool:
    return r.calls("denoise.relabelled", "denoise.smoothed") or r.taught(_said)


def _many(r: Read) -> bool:
    """Several heads, bags or views that answer together."""
    if r.calls("train.bagged", "spaces.each", "spaces.halves") or "views" in {n.split(".")[-1] for n in r.called}:
        return True
    return any(any(n in r.fits for n in ast.walk(loop)) for loop in r.loops())


def _inside(r: Read) -> bool:
    """One layer, some layers or a few directions of them; a head on all that the student shows is no such thing."""
    parts = ("spaces.narrow_layers", "spaces.wide_layers", "spaces.bottleneck", "aarlab.w2s.components.principal")
    one = any(
        name.endswith(".features") and any(isinstance(a, (ast.Constant, ast.Subscript)) for a in call.args[1:])
        for call, name in r.code.calls
    )
    return one or r.calls(*parts) or r.calls("sklearn.decomposition.PCA", "numpy.linalg.svd")


def _blended(r: Read) -> bool:
    return r.calls("finish.blended") or (r.opinions and bool(r.weak))


RULES: tuple[tuple[str, str, Callable[[Read], bool]], ...] = (
    ("evolutionary", "searches without gradients, or moves a head's parameters itself", _evolution),
    ("other", "reinforces or uses a writer of text", _writer),
    ("curriculum", "starts a training where another ended", _ordered),
    ("distillation", "names a divergence or distillation among its functions and variables", _imitates),
    ("loss function", "gives training moving targets", _loss),
    ("unsupervised elicitation", "asks the untrained student and never reads the teacher's labels", _no_teacher),
    ("confidence weighting", "estimates a channel or softens labels that it doubts", _channel),
    ("self-training", "teaches the student its own word in rounds (train.self_training)", _rounds),
    ("data filtering", "trains on a part of the train items that is picked, not drawn", _filter),
    ("confidence weighting", "gives items weights", _weighted),
    ("ensemble", "teaches the product of teacher and untrained student", _both),
    ("self-training", "teaches what students say of the train items", _relabelled),
    ("ensemble", "trains several heads, bags or views", _many),
    ("model internal", "picks or squeezes layers of the model", _inside),
    ("ensemble", "blends the untrained student's score into its answer", _blended),
)
"""(family, what the code does, the rule), in the order in which they are asked."""


def read(source: str) -> Read | None:
    """A method file; None where it cannot be read as Python."""
    try:
        return Read(Code.of(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def classify_code(source: str) -> str | None:
    """The family of a method file by the first rule that fires, "other" where none does.

    None for a file that is no Python: it is no idea that rules can read.
    """
    found = read(source)
    if found is None:
        return None
    try:
        return next((family for family, _, rule in RULES if rule(found)), "other")
    except RecursionError:
        return None


def reasons(source: str) -> list[str]:
    """What every rule that fires says of a method file, the deciding one first."""
    found = read(source)
    return [] if found is None else [f"{family}: {what}" for family, what, rule in RULES if rule(found)]
