"""The trusted core: hidden labels, secret seeds, grading, the Ladder and the ledger. Nothing here runs in a sandbox."""
