"""aarlab: a laboratory for automated alignment researchers."""

__version__ = "0.1.0"
