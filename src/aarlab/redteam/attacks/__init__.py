"""One file, one attack; `aarlab.redteam.attack` says what is in it."""
