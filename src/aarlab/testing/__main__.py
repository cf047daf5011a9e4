"""`python -m aarlab.testing --mind researcher`: the scripted provider, until SIGTERM or the end of its parent.

One JSON line on standard output says where it is: {"url": ..., "openai": ..., "key": ..., "model": ..., "pid": ...}.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading

from aarlab.errors import AarlabError
from aarlab.testing import faults
from aarlab.testing.server import KEY, MODEL, ModelServer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m aarlab.testing", description=__doc__, epilog=faults.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=0, help="0: any free port of the loopback interface")
    parser.add_argument("--mind", default="researcher", help="who answers, with options: researcher:steps=20")
    parser.add_argument("--model", action="append", default=[], metavar="NAME[=MIND]", help="one more known model")
    parser.add_argument("--key", action="append", default=[], help=f"accepted key (default {KEY}); repeatable")
    parser.add_argument("--faults", nargs="*", default=[], metavar="FAULT", help="see below")
    parser.add_argument("--delay", type=float, default=0.0, metavar="SECONDS", help="before every answer")
    parser.add_argument("--retry-after", type=float, default=1.0, metavar="SECONDS", help="what a 429 says")
    given = parser.parse_args(arguments)
    models = {name: mind or None for name, _, mind in (m.partition("=") for m in given.model)}
    try:
        server = ModelServer(
            given.mind, given.faults, models, tuple(given.key or [KEY]), given.delay, given.retry_after, given.port
        )
        with server:
            line = {
                "url": server.url, "openai": f"{server.url}/v1", "key": (given.key or [KEY])[0], "model": MODEL,
                "pid": os.getpid(),
            }  # fmt: skip
            print(json.dumps(line), flush=True)
            _wait()
            print(json.dumps(server.stats()), file=sys.stderr)
    except AarlabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _wait() -> None:
    """Until SIGTERM, SIGINT or another parent."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    parent = os.getppid()
    while not stop.wait(1.0) and os.getppid() == parent:
        pass


if __name__ == "__main__":
    sys.exit(main())
