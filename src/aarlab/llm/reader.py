"""A language model that reads what a fleet made: which family an idea is of, and whatever else is asked in one prompt.

It reads after a run, from the host, with the operator's key; what it costs is outside the fleet's budgets. Its words
rank nothing. What it reads was written by researchers and is quoted as data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from inspect_ai.model import GenerateConfig

from aarlab.errors import Infrastructure
from aarlab.ideas import families
from aarlab.ideas.gather import unread
from aarlab.llm.check import check_model
from aarlab.records import IdeaRow
from aarlab.store import Store

CONFIG = GenerateConfig(max_tokens=2048, max_retries=3, timeout=180)
MOST_FAILURES = 3
"""Calls in a row that may fail before the reading is given up."""

Reader = Callable[[str], str]


def reader(model: str, base_url: str = "") -> Reader:
    """A function from prompt to answer. Raises ConfigError for an unknown model or a missing key; the function raises
    Infrastructure where the provider fails."""
    asked = check_model(model, base_url)
    runner = asyncio.Runner()  # one loop for all calls: the provider's client belongs to the loop it first ran in

    def ask(prompt: str) -> str:
        try:
            return runner.run(asked.generate(prompt, config=CONFIG)).completion
        except Exception as error:  # each provider raises its own
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Infrastructure(f"{model} did not answer: {first[:300]}") from None

    return ask


def sort_ideas(lab: Path, read: Reader) -> tuple[int, int]:
    """Let a model class everything in a lab that no model has classed yet; (classed, left). Goes on where it was.

    A lab that is running may be read too. Gives up after `MOST_FAILURES` failures in a row, keeping what it has.
    """
    store = Store(lab / "lab.db")
    try:
        with store.read() as rows:
            submissions = [s for s in rows.submissions() if s.researcher != "lab"]
            sources = {s.id: _source(lab, s.bundle_hash) for s in submissions}
            waiting = list(unread(submissions, rows.posts(), sources, rows.ideas()))
        classed = failures = 0
        for kind, number, text in waiting:
            try:
                family = families.read(text, read)
            except Infrastructure:
                failures += 1
                if failures == MOST_FAILURES:
                    break
                continue
            failures = 0
            if family is not None:
                with store.write() as rows:
                    rows.set_idea(IdeaRow(kind, number, family, "llm"))
                classed += 1
        return classed, len(waiting) - classed
    finally:
        store.close()


def _source(lab: Path, bundle_hash: str) -> str:
    try:
        return (lab / "artifacts" / f"{bundle_hash}.py").read_text("utf-8")
    except OSError:
        return ""
