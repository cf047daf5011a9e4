"""The study's page in Markdown and its table on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

Json = Mapping[str, Any]

SIMULATED: Mapping[str, tuple[float, ...]] = {
    "exact": (0.01, 0.11, 0.43, 1.54),
    "rounded to 1 point": (0.0, 0.11, 0.30, 0.96),
    "rounded to 2 points": (0.0, 0.08, 0.23, 0.76),
    "Gauss 1 point": (0.0, 0.06, 0.17, 0.61),
    "Gauss 2 points": (0.0, 0.0, 0.08, 0.33),
    "Ladder of the lab": (0.0, 0.0, 0.0, 0.05),
}
"""PGR stolen by 10, 50, 150 and 450 answers in simulations: 1,300 synthetic items, a base wrong on 40 % at random, a
gap of 19 points."""


def text(found: Json) -> str:
    """PGR stolen and PGR tuned, for a terminal."""
    marks, tuned = found["marks"], found["direction"]
    where = f"{found['problem']} {found['task']} ({found['items']} items, gap {100 * found['gap']:.1f} points)"
    lines = [f"PGR stolen on {where} by so many answers"]
    lines.append(" " * 28 + "".join(f"{k:>9,}" for k in marks) + f"   best attack at {marks[-1]:,}")
    for m in found["mechanisms"]:
        cells = _at_marks(m, marks)
        numbers = "".join(f"{b['pgr']['mean']:>9.3f}" for b in cells)
        lines.append(f"  {m['name']:26}{numbers}   {cells[-1]['attack']}")
    lines += ["", f"PGR of {tuned['weights']} weights tuned on {tuned['answers'][-1]} answers"]
    lines.append(" " * 28 + "".join(f"{p:>17}" for p in tuned["places"]))
    start = tuned["mechanisms"][0]["pgr"][0]
    rows = [("before", start), *((m["name"], m["pgr"][-1]) for m in tuned["mechanisms"])]
    lines += [f"  {name:26}" + "".join(f"{e['mean']:>17.2f}" for e in row) for name, row in rows]
    return "\n".join(lines)


def render(found: Json, plot: str) -> str:
    """The whole page; `plot` is the drawing's file name."""
    loader = jinja2.PackageLoader("aarlab.studies", ".")
    names = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    tuned = found["direction"]
    exact, ladder, practice = (_named(found, n) for n in ("exact", "Ladder of the lab", "practice mode"))
    first, last = tuned["mechanisms"][0]["pgr"][0], tuned["mechanisms"][0]["pgr"][-1]
    return names.get_template("exfiltration.md.j2").render(
        f=found, d=tuned, p=found["paper"], plot=plot, points=_points, two=lambda e: f"{e['mean']:.2f}", at=_at,
        fifths=", ".join(_points(w, 0) for w in found["wrong_by_certainty"]), most=found["answers"][-1],
        exact=exact, ladder=ladder, ten=_at_marks(practice, [10])[0], top=tuned["trained_on_labels"],
        small=_named(found["paper"], "practice mode"),
        flips=practice["attacks"]["flips"][found["answers"].index(10)] / found["gap"],
        first=first, last=last, transfer=_transfer(first[2], last[2]),
        stolen=_stolen(found), gained=_gained(found), bits=_bits(found), bound=_bound(found, ladder),
        tuned=_tuned(tuned), compared=_compared(found["paper"]),
    )  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])


def _points(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f}"


def _named(found: Json, name: str) -> Json:
    row: Json = next(m for m in found["mechanisms"] if m["name"] == name)
    return row


def _at_marks(m: Json, marks: Sequence[int]) -> list[Json]:
    return [b for b in m["best"] if b["answers"] in marks]


def _at(m: Json, answers: int) -> float:
    """The gain at the last point up to so many answers."""
    return float([b for b in m["best"] if b["answers"] <= answers][-1]["gain"]["mean"])


def _transfer(before: Json, after: Json) -> str:
    """What happened on the new tasks, where that is clear."""
    if after["low"] > before["high"]:
        return ": here it teaches something that does, and they rise too, less than the vault"
    if after["high"] < before["low"]:
        return ": here it teaches nothing of the kind, and they fall"
    return ": here they do not rise"


def _heads(marks: Sequence[int]) -> list[str]:
    return ["answers", *(f"{k:,}" for k in marks)]


def _stolen(found: Json) -> str:
    rows = [
        [m["name"], *(_pgr(b, m["limit"]) for b in _at_marks(m, found["marks"]))]
        for m in found["mechanisms"]
    ]  # fmt: skip
    return table(_heads(found["marks"]), rows)


def _pgr(b: Json, limit: int) -> str:
    if limit and b["answers"] > limit:
        return "no more answers"
    if b["attack"] == "none":
        return "0"
    e, attack = b["pgr"], b["attack"].replace("message passing", "passing").replace(" items an answer", " an answer")
    return f"{e['mean']:.3f} [{e['low']:.3f}, {e['high']:.3f}] {attack.replace(', all items', ', all')}"


def _gained(found: Json) -> str:
    marks = found["marks"]
    rows = [[m["name"], *(_points(b["gain"]["mean"], 2) for b in _at_marks(m, marks))] for m in found["mechanisms"]]
    return table(_heads(marks), rows)


def _bits(found: Json) -> str:
    rows = []
    for m in found["mechanisms"]:
        b = m["bits"]
        rows.append([m["name"], f"{b['bound_each']:.2f}", f"{b['random_list']:.2f}", f"{b['single_flip']:.2g}"])
    return table(["mechanism", "bound", "carried by a random list", "carried by one flip"], rows)


def _bound(found: Json, ladder: Json) -> str:
    marks, bits = found["marks"], ladder["bits"]
    rows = [
        ["bits, at most", *(f"{bits['bound'][str(k)]:.0f}" for k in marks)],
        ["points that these can buy, at most", *(_points(bits["look_up"][str(k)], 1) for k in marks)],
        ["points that the best attack got", *(_points(b["gain"]["mean"], 2) for b in _at_marks(ladder, marks))],
    ]
    return table(_heads(marks), rows)


def _tuned(tuned: Json) -> str:
    rows = []
    for m in tuned["mechanisms"]:
        for i, place in enumerate(tuned["places"]):
            cells = [f"{row[i]['mean']:.2f} [{row[i]['low']:.2f}, {row[i]['high']:.2f}]" for row in m["pgr"]]
            rows.append([m["name"] if i == 0 else "", place, *cells])
    return table(["mechanism", "PGR on", *(f"{k} answers" for k in tuned["answers"])], rows)


def _compared(paper: Json) -> str:
    marks, rows = paper["answers"], []
    for m in paper["mechanisms"]:
        own, known = [f"{e['mean']:.2f}" for e in m["pgr"]], SIMULATED.get(m["name"], ())
        rows.append([m["name"], *(f"{o} / {known[i]:.2f}" if i < len(known) else o for i, o in enumerate(own))])
    return table(_heads(marks), rows)
