"""The dashboard: pages about labs, read from their folders, in a process of its own.

Nothing here runs inside a lab's service, and no socket of a researcher leads here. What changes a lab goes through its
service with the operator's token (`controls`), or starts an `aarlab` command.
"""
