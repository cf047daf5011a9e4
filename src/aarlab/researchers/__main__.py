"""`python -m aarlab.researchers`: one researcher, of the kind AARLAB_KIND, in the current folder."""

from __future__ import annotations

import os
import sys

from aarlab.errors import AarlabError, ConfigError


def main() -> int:
    environment = dict(os.environ)
    kind = environment.get("AARLAB_KIND", "")
    try:
        for name in ("AARLAB_ADDRESS", "AARLAB_TOKEN", "AARLAB_NAME", "AARLAB_DATA"):
            if not environment.get(name):
                raise ConfigError(f"{name} is not set; researchers are started by `aarlab run`")
        if kind == "search":
            from aarlab.researchers.search import main as search

            search(environment)
        elif kind == "scripted":
            from aarlab.researchers.scripted import main as play

            return play(environment)
        else:
            raise ConfigError(f"AARLAB_KIND is {kind!r}; this package starts search and scripted researchers")
    except AarlabError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
