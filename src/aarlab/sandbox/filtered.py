"""The first program inside gVisor: put the filter on, then become the program.

Run as `python -I -S filtered.py PROGRAM ARGUMENT...`. Limits, user and rights are set by then; what bwrap would take as
`--seccomp` has to be put on from inside, since the calls it refuses are answered by gVisor and not by the host.
"""

from __future__ import annotations

import os
import sys

LIBRARY = "/opt/aarlab"


def main(argv: list[str]) -> None:
    sys.path.insert(0, LIBRARY)
    from aarlab.sandbox import seccomp

    seccomp.install(seccomp.sandbox_filter())
    os.umask(0o022)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
