"""Whether a model can be asked at all, said before a run starts rather than by nine processes after it has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import Model, get_model

from aarlab.errors import AarlabError, ConfigError
from aarlab.llm.prices import price_of
from aarlab.settings import ModelPrice

OWN_CLIENT_RETRIES = ("anthropic", "openai", "openai-api", "vllm", "together", "azureai", "grok")
"""Providers whose client would try again by itself and say nothing; Inspect tries again and the meter shows it."""


class CannotGoOn(AarlabError):
    """A researcher's process would end the same way again: a wrong key, an unknown model."""

    exit_code = 4


def check_model(model: str, base_url: str = "") -> Model:
    """The model, not yet asked anything. Raises ConfigError for an unknown name, a missing key or a missing package."""
    try:
        silent: dict[str, Any] = {"max_retries": 0} if model.partition("/")[0] in OWN_CLIENT_RETRIES else {}
        return get_model(model, base_url=base_url or None, **silent)
    except PrerequisiteError as error:
        raise ConfigError(f"model {model!r}: {_sentence(str(error.message))}") from None
    except ValueError as error:
        raise ConfigError(
            f"model {model!r}: {_sentence(str(error))}; names look like anthropic/MODEL, openai/MODEL, google/MODEL "
            "or openai-api/SERVICE/MODEL"
        ) from None
    except ImportError as error:
        raise ConfigError(f"model {model!r}: {error}; install what this provider needs") from None


def check_price(model: str, overrides: Sequence[ModelPrice]) -> None:
    """Raises ConfigError where a budget in dollars could not be kept."""
    if price_of(model, overrides) is None:
        raise ConfigError(
            f"nobody knows the price of {model!r}, and a budget in dollars is set; give its price in lab.toml "
            "([[prices.models]] with name, input, output in dollars per million tokens) or set tokens instead"
        )


def _sentence(text: str) -> str:
    """Inspect's words without its colours; of a missing key, what to type."""
    plain = " ".join(re.sub(r"\[/?[a-z ]*\]", "", text).split()).removeprefix("ERROR: ").rstrip(".")
    missing = re.search(r"No ([A-Z_]+)\b.* defined in the environment", plain)
    return f"its key is missing; `export {missing[1]}=...` and try again" if missing else plain
