"""What a call to a language model costs: the kept table of `genai-prices`, or the run's own `[[prices.models]]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aarlab.settings import ModelPrice

LOCAL = ("vllm", "hf", "sglang", "ollama", "llama-cpp-python", "transformer_lens", "nnterp", "mockllm", "none")
"""Inspect's providers that run on one's own machine: their calls cost compute, not dollars a token."""

VENDORS = {"bedrock": "aws", "azureai": "azure", "grok": "x-ai", "together": "together", "hf-inference-providers": ""}
"""Inspect's name of a provider -> the price table's, where they differ."""

SAMPLE = 1000  # tokens priced at a time: far below the thresholds from which long prompts cost more


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens. `source`: where the numbers come from."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    source: str

    def text(self) -> str:
        return (
            f"${self.input:g} in, ${self.output:g} out, ${self.cache_read:g} from cache, "
            f"${self.cache_write:g} into cache per million tokens ({self.source})"
        )


def price_of(model: str, overrides: Sequence[ModelPrice] = ()) -> Price | None:
    """The price of an Inspect model name such as `anthropic/claude-opus-4-6`; None where nobody knows one."""
    for own in overrides:
        if own.name == model:
            return Price(own.input, own.output, own.cache_read, own.cache_write, "lab.toml")
    vendor, _, name = model.partition("/")
    if vendor in LOCAL:
        return Price(0.0, 0.0, 0.0, 0.0, "a local model")
    if vendor == "openai-api":  # openai-api/SERVICE/MODEL: a compatible server; only a service in the table has a price
        vendor, _, name = name.partition("/")
    return _listed(VENDORS.get(vendor, vendor), name)


def dollars(price: Price | None, usage: Mapping[str, Any]) -> float:
    """Cost of one call. usage: token counts as `LabClient.settle` takes them; input excludes what the cache held."""
    if price is None:
        return 0.0
    parts = (
        (price.input, "input_tokens"), (price.output, "output_tokens"),
        (price.cache_read, "cache_read_tokens"), (price.cache_write, "cache_write_tokens"),
    )  # fmt: skip
    return sum(rate * (usage.get(count) or 0) for rate, count in parts) / 1e6


def _listed(vendor: str, name: str) -> Price | None:
    from genai_prices import Usage, calc_price

    def rate(**tokens: int) -> float:
        return float(calc_price(Usage(**tokens), model_ref=name, provider_id=vendor).total_price) * 1e6 / SAMPLE

    try:
        plain = rate(input_tokens=SAMPLE, output_tokens=0)
        return Price(
            input=plain,
            output=rate(input_tokens=0, output_tokens=SAMPLE),
            cache_read=rate(input_tokens=SAMPLE, output_tokens=0, cache_read_tokens=SAMPLE),
            cache_write=rate(input_tokens=SAMPLE, output_tokens=0, cache_write_tokens=SAMPLE),
            source="genai-prices",
        )
    except LookupError:
        return None
