"""The post-hoc scan for reward hacking: `scan(lab)` reads what researchers did and writes `run/scan.json`."""

from aarlab.llm.scan.run import scan

__all__ = ["scan"]
