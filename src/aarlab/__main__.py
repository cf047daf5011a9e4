"""`python -m aarlab` is the command `aarlab`."""

from aarlab.cli import main

main()
