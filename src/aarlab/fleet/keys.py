"""Keys of model providers: which variables of the environment hold them, and how they stay out of everything else.

Keys come from the environment and are handed to the processes that call models, and to nothing else: not to the lab
service, not to search researchers, not to a sandbox, not to a file.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping

KEY_PATTERNS = ("*API_KEY*", "*_KEY", "*_KEY_ID", "*_TOKEN", "*SECRET*", "*PASSWORD*", "*CREDENTIAL*")
"""Names of variables that hold something secret, as shell patterns; upper and lower case alike."""

SHORTEST = 8
"""Characters of a value that is looked for in texts: a shorter one would be found in ordinary words."""


def is_key(name: str) -> bool:
    """Whether a variable of this name holds something secret."""
    return any(fnmatch.fnmatchcase(name.upper(), pattern) for pattern in KEY_PATTERNS)


def without_keys(env: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that calls no model."""
    return {name: value for name, value in env.items() if not is_key(name)}


def with_keys(env: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that calls models: an empty key is a missing one."""
    return {name: value for name, value in env.items() if value.strip() or not is_key(name)}


def redactor(env: Mapping[str, str]) -> Callable[[str], str]:
    """A function that puts `[NAME]` in place of the value of each key of this environment."""
    values = {value.strip(): name for name, value in env.items() if is_key(name) and len(value.strip()) >= SHORTEST}
    if not values:
        return lambda text: text
    longest_first = sorted(values, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(lambda found: f"[{values[found.group()]}]", text)
