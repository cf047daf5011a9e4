"""`python -m aarlab.llm.ready LAB.TOML`: can the fleet of these settings be asked? Said before a run starts.

Prints one JSON object: {"models": {model: its price in words}} or {"error": a sentence}. A process of its own, so that
the supervisor, which lives for days, does not carry an agent framework along.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from aarlab import settings as settings_file
from aarlab.errors import ConfigError
from aarlab.llm import binaries
from aarlab.llm.check import check_model, check_price
from aarlab.llm.prices import price_of
from aarlab.settings import Settings


def main(argv: list[str] | None = None) -> int:
    [path] = sys.argv[1:] if argv is None else argv
    try:
        found: dict[str, Any] = {"models": ready(settings_file.read(Path(path)))}
    except ConfigError as error:
        found = {"error": str(error)}
    print(json.dumps(found))
    return 0


def ready(settings: Settings) -> dict[str, str]:
    """Each model with its price in words. Raises ConfigError naming what is missing and the remedy."""
    fleet = [one for one in settings.researchers if one.is_language_model]
    for cli in sorted({one.cli for one in fleet if one.kind == "cli"}):
        binaries.find(cli)
    prices = {}
    for model in sorted({settings.model_of(one) for one in fleet}):
        check_model(model, settings.llm.base_url)
        if settings.budget.dollars or settings.budget.researcher_dollars:
            check_price(model, settings.prices.models)
        price = price_of(model, settings.prices.models)
        prices[model] = price.text() if price else "no price is known"
    if settings.llm.reader_model:
        check_model(settings.llm.reader_model, settings.llm.base_url)
    return prices


if __name__ == "__main__":
    sys.exit(main())
