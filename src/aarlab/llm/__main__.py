"""One LLM researcher's process: `python -m aarlab.llm --lab DIR --name NAME`. The supervisor starts it.

Exit code 0: finished for good. 4: another try would end the same way; the last line of stderr says why. Anything
else: start it again, the conversation goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from aarlab.errors import AarlabError


def main(argv: list[str] | None = None) -> int:
    """Work until the research is over."""
    parser = argparse.ArgumentParser(prog="python -m aarlab.llm", description=__doc__)
    parser.add_argument("--lab", type=Path, required=True, help="the lab's folder")
    parser.add_argument("--name", required=True, help="the researcher's name in lab.toml")
    asked = parser.parse_args(argv)
    return run(asked.lab.resolve(), asked.name)


def run(lab: Path, name: str) -> int:
    """The process's whole life; its exit code."""
    from aarlab.llm import seat, session, thrift
    from aarlab.llm.check import CannotGoOn

    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(os.getpid(), signal.SIGINT))
    try:
        taken = seat.take(lab, name)
        thrift.save()
        reason = session.work(taken)
    except CannotGoOn as error:
        print(error, file=sys.stderr)
        return CannotGoOn.exit_code
    except KeyboardInterrupt:
        return 130
    except AarlabError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(reason, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
