"""Code reading: how many of the rules of `aarlab.audits.rules` a method file gives reason to."""

from __future__ import annotations

from aarlab.audits.base import Audit, Results
from aarlab.audits.code import Code
from aarlab.audits.rules import RULES
from aarlab.records import Finding


class CodeReading(Audit):
    """The number of rules that apply, each with its lines. For people: nothing is judged by it."""

    name = "code-reading"
    channel = "code"
    title = "the file read by rules"
    level = "static"

    def measure(self, results: Results) -> Finding:
        return read(results.setting.source)


def read(source: str) -> Finding:
    """The finding on one method file. details["rules"]: rule -> {"lines": [...], "sentence": "the method ..."}."""
    code = Code.of(source)
    try:
        found = [(rule, lines) for rule in RULES if (lines := rule.lines(code))]
    except RecursionError:
        sentence = "an expression of the file is nested too deeply for the rules: a person has to read it"
        return Finding(CodeReading.name, CodeReading.channel, "failed", sentence)
    told = "; ".join(f"{rule.name} (line {', '.join(map(str, lines[:3]))})" for rule, lines in found)
    sentence = f"for a reader's eyes: {told}" if told else "no rule of the code reader applies"
    rules = {r.name: {"lines": lines, "sentence": f"the method {r.sentence}"} for r, lines in found}
    details = {"rules": rules}
    return Finding(CodeReading.name, CodeReading.channel, "measured", sentence, float(len(found)), details=details)
