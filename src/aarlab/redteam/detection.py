"""The detection matrix: what audits flag, of honest methods and of hacks, as a table and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from aarlab.audits.policy import DECIDES, ROW, VIOLATIONS, Policy
from aarlab.problems import base
from aarlab.records import Finding, Verdict

Row = dict[str, Any]

CHANNELS = (*[c for c in ROW if c not in ("zero-shot", "new task", "execution")], "payload")
"""The channels of the matrix, in its order."""

BARRED = ("not ranked", "held")


def table(results: Sequence[Row]) -> dict[str, Any]:
    """All numbers of the page. Limits were looked at in even worlds; the numbers are those of the odd ones."""
    ran = [r for r in results if "error" not in r]
    judged = [{**r, "verdicts": verdicts(r)} for r in ran]
    odd = [r for r in judged if r["world"] % 2]
    return {
        "worlds": sorted({r["world"] for r in results}),
        "rows": [_row(group) for group in _grouped(odd)],
        "honest": {name: _honest(half) for name, half in _halves(judged).items()},
        "values": _values(judged),
        "seconds": round(fmean(r["seconds"] for r in ran), 2),
        "not_applicable": sorted({(r["problem"], r["name"], r["error"]) for r in results if "error" in r}),
    }


def verdicts(result: Row) -> dict[str, Verdict]:
    """What the policy of today says of the findings, by declared track."""
    policy = policy_of(result["problem"])
    findings = [Finding(sentence="", **f) for f in result["findings"]]
    return {track: policy.judge(track, findings, result["items"]) for track in policy.tracks}


@lru_cache
def policy_of(problem: str) -> Policy:
    return Policy.of(base.load(problem, check=False).settings)


def _grouped(results: Iterable[Row]) -> list[list[Row]]:
    found: dict[tuple[str, str, str], list[Row]] = {}
    for r in results:
        found.setdefault((r["problem"], r["kind"], r["name"]), []).append(r)
    return list(found.values())


def _halves(results: Sequence[Row]) -> dict[str, list[Row]]:
    honest = [r for r in results if r["kind"] == "honest"]
    return {
        "worlds of even number": [r for r in honest if not r["world"] % 2],
        "worlds of odd number": [r for r in honest if r["world"] % 2],
    }


def _row(group: Sequence[Row]) -> Row:
    """One method on one problem: shares of its worlds."""
    first = group[0]
    own = [r["verdicts"][r["declared"]] for r in group]
    record = [v for r in group for task, v in r["pgr"].items() if task != "feedback"]
    return {
        "problem": first["problem"], "kind": first["kind"], "name": first["name"], "declared": first["declared"],
        "worlds": len(group),
        "feedback": fmean(r["pgr"]["feedback"] for r in group),
        "record": fmean(record),
        "flagged": {c: fmean(any(x.channel == c and x.word in VIOLATIONS for x in v.channels) for v in own)
                    for c in CHANNELS},
        "barred": fmean(v.outcome in BARRED for v in own),
        "moved": fmean(v.track != v.declared and v.outcome not in BARRED for v in own),
        "barred_on_every_track": fmean(all(v.outcome in BARRED for v in r["verdicts"].values()) for r in group),
    }  # fmt: skip


def _honest(results: Sequence[Row]) -> Row:
    """False flags: honest methods that do not rank on the track they declared, with the reason of each."""
    own = [(r, r["verdicts"][r["declared"]]) for r in results]
    barred = [_case(r, v) for r, v in own if v.outcome in BARRED]
    moved = [_case(r, v) for r, v in own if v.outcome not in BARRED and v.track != v.declared]
    return {"verdicts": len(own), "barred": barred, "moved": moved}


def _case(result: Row, verdict: Verdict) -> Row:
    return {k: result[k] for k in ("problem", "name", "world", "declared")} | {
        "outcome": verdict.outcome,
        "track": verdict.track,
        "reason": verdict.reason,
    }


def _values(results: Sequence[Row]) -> list[Row]:
    """Per problem and channel: least and largest number of honest methods in each half, and the limits."""
    out = []
    for problem in dict.fromkeys(r["problem"] for r in results):
        limits = policy_of(problem).channels
        for channel in (c for c in CHANNELS if c in limits):
            row: Row = {
                "problem": problem,
                "channel": channel,
                "low": limits[channel].low,
                "high": limits[channel].high,
            }
            for name, half in _halves([r for r in results if r["problem"] == problem]).items():
                values = [f["value"] for r in half for f in r["findings"] if _counts(f, channel)]
                row[name] = [min(values), max(values)] if values else None
            out.append(row)
    return out


def _counts(finding: Mapping[str, Any], channel: str) -> bool:
    deciding = finding["audit"] in DECIDES.get(channel, (finding["audit"],))
    return finding["channel"] == channel and deciding and finding["status"] == "measured"


def text(found: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    parts = [_summary(found)]
    for problem in dict.fromkeys(r["problem"] for r in found["rows"]):
        for kind, title in (("honest", "honest methods"), ("hack", "hacks")):
            rows = [r for r in found["rows"] if (r["problem"], r["kind"]) == (problem, kind)]
            if rows:
                parts.append(f"### {problem}: {title}\n\n{_matrix(rows)}")
    parts.append(_ranges(found["values"]))
    return "\n\n".join(parts) + "\n"


def _summary(found: Mapping[str, Any]) -> str:
    lines = ["### False flags", "", "| worlds | honest verdicts | not ranked or held | moved to another track |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for name, half in found["honest"].items():
        share = f"{len(half['barred'])} ({len(half['barred']) / max(1, half['verdicts']):.1%})"
        lines.append(f"| {name} | {half['verdicts']} | {share} | {len(half['moved'])} |")
    cases = [(n, c) for n, half in found["honest"].items() for c in (*half["barred"], *half["moved"])]
    if cases:
        lines += ["", "Each of them:", ""]
        lines += [
            f"- {c['problem']} {c['name']}, world {c['world']} ({c['declared']}): {c['outcome']}"
            + (f" on {c['track']}" if c["track"] != c["declared"] else "")
            + f"; {c['reason']}"
            for _, c in cases
        ]
    for problem, name, error in found["not_applicable"]:
        lines.append(f"- {problem} {name} does not run: {error}")
    lines += ["", f"One method in one world takes {found['seconds']:.1f} s of CPU time on average."]
    return "\n".join(lines)


def _matrix(rows: Sequence[Row]) -> str:
    names = [c for c in CHANNELS if any(r["flagged"][c] for r in rows)]
    heads = ["method", "track", "PGR feedback", "PGR record", *names, "not ranked", "moved", "on every track"]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join(["---"] * len(heads)) + " |"]
    for r in rows:
        cells = [r["name"], r["declared"], f"{r['feedback']:.2f}", f"{r['record']:.2f}"]
        cells += [_percent(r["flagged"][c]) for c in names]
        cells += [_percent(r["barred"], always=True), _percent(r["moved"]), _percent(r["barred_on_every_track"])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(share: float, always: bool = False) -> str:
    return f"{100 * share:.0f}" if share or always else ""


def _ranges(values: Sequence[Row]) -> str:
    lines = [
        "### What honest methods measure", "",
        "Least and largest value over all honest methods and worlds; a value outside a limit is a flag only with its "
        "whole interval.", "",
        "| problem | channel | allowed | even worlds | odd worlds |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for row in values:
        halves = [row["worlds of even number"], row["worlds of odd number"]]
        shown = ["-" if h is None else f"{h[0]:.2f} to {h[1]:.2f}" for h in halves]
        lines.append(
            f"| {row['problem']} | {row['channel']} | {row['low']:g} to {row['high']:g} | {' | '.join(shown)} |"
        )
    return "\n".join(lines)


def write(found: Mapping[str, Any], folder: Path) -> Path:
    """detection.json, and the matrix between its two marks in integrity.md where that page is, else detection.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "detection.json").write_text(json.dumps(found, indent=1, default=str) + "\n", "utf-8")
    page = folder / "integrity.md"
    if not page.is_file():
        page = folder / "detection.md"
        page.write_text(text(found), "utf-8")
        return page
    old = page.read_text("utf-8")
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text(found)}\n{END}{after}", "utf-8")
    return page


BEGIN = "<!-- detection: written by python -m aarlab.redteam.calibration --out docs -->"
END = "<!-- detection: end -->"
