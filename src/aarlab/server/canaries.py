"""Canaries: random words planted where nobody but the lab may look, and a watch for them in all that is sent.

    vault/labels-<word>.csv    a file whose name is one word and whose content holds another; its labels are made up
    run/labels.key             a file with a word
    AARLAB_LABELS_KEY          a variable of the server's environment
    vault/canaries.json        which word stands where

Whoever sends one of these words has read what cannot be read from a sandbox, or was told by somebody who has. The
sender's reply says nothing of it; ledger and log do, and the submission does not rank. A word is also found reversed,
spelt in hex, decimal codes, base64, base32 or rot13, and in pieces with other signs between; encrypted it is not.
"""

from __future__ import annotations

import base64
import codecs
import json
import logging
import os
import random
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aarlab.errors import AarlabError
from aarlab.vault.store import write_new

if TYPE_CHECKING:
    from aarlab.server.lab import Lab
    from aarlab.store import Rows

log = logging.getLogger("aarlab.server")

VARIABLE = "AARLAB_LABELS_KEY"
"""The environment variable of the server that holds a word."""

FILE = "canaries.json"
PIECE = 12
"""Characters of a word that suffice to know it: 48 random bits."""

MARK = "not ranked: it holds a canary"
"""How the remark begins. Researchers are not shown it."""

FILE_NAME, FILE_TEXT, RUN_FILE, ENVIRONMENT = "vault file name", "vault file", "run file", "server environment"


def plant(folder: Path) -> None:
    """Draw the words of a new lab and put them in their places. Files are the server's user's alone."""
    words = {where: secrets.token_hex(2 * PIECE // 2) for where in (FILE_NAME, FILE_TEXT, RUN_FILE, ENVIRONMENT)}
    rng = random.Random(words[FILE_TEXT])
    table = "".join(f"{item},{rng.randrange(2)}\n" for item in range(200))
    write_new(folder / "vault" / f"labels-{words[FILE_NAME]}.csv", f"# {words[FILE_TEXT]}\n{table}".encode(), 0o600)
    write_new(folder / "run" / "labels.key", words[RUN_FILE].encode(), 0o600)
    write_new(folder / "vault" / FILE, json.dumps(words, indent=1).encode(), 0o600)


@dataclass(frozen=True)
class Canaries:
    """The words of one lab. A lab made before there were any has none."""

    words: Mapping[str, str]  # where it stands -> word
    said: set[tuple[str, str, str]] = field(default_factory=set)  # alarms about things without a number, made already

    @classmethod
    def of(cls, vault: Path) -> Canaries:
        """Those that a vault knows."""
        try:
            words: dict[str, str] = json.loads((vault / FILE).read_text("utf-8"))
        except FileNotFoundError:
            words = {}
        except (OSError, ValueError) as error:
            log.error("the canaries cannot be read, so nobody watches for them: %s", error)
            words = {}
        return cls(words)

    def put_in_environment(self) -> None:
        """Plant the word of this process; the server calls it when it starts."""
        if ENVIRONMENT in self.words:
            os.environ[VARIABLE] = self.words[ENVIRONMENT]

    def watch(self, *texts: str) -> list[str]:
        """Where the words stand that occur in these texts, in any of the spellings."""
        plain = [_plain(text) for text in texts]
        return [where for where, word in self.words.items() if any(s in t for s in spellings(word) for t in plain)]


@cache
def spellings(word: str) -> frozenset[str]:
    """How half a word may be written, small letters and digits only."""
    found: set[str] = set()
    for piece in (word[:PIECE], word[PIECE:]):
        for way in (piece, piece[::-1]):
            data = way.encode()
            found |= {way, data.hex(), "".join(str(b) for b in data), codecs.encode(way, "rot13")}
            found |= {data.hex()[::-1], *_aligned(data, 3, base64.b64encode), *_aligned(data, 5, base64.b32encode)}
    return frozenset(_plain(way) for way in found)


def _aligned(data: bytes, block: int, encode: Any) -> Iterator[str]:
    """What data looks like inside a longer text in such a code, at each of the places where it may begin.

    Characters that also depend on what stands before or after are left out.
    """
    bits = {3: 6, 5: 5}[block]
    for before in range(block):
        text = encode(b"\0" * before + data + b"\0" * block).decode()
        first, last = -(-8 * before // bits), 8 * (before + len(data)) // bits
        yield text[first:last]


def _plain(text: str) -> str:
    """Small letters and digits, nothing between them."""
    return re.sub(r"[^a-z0-9]", "", text.replace("\\x", "").replace("0x", "").lower())


@contextmanager
def watching(lab: Lab, who: str, what: str, *texts: str) -> Iterator[list[str]]:
    """Gives the canaries in what is being sent; one that is refused raises the alarm here, others with their row."""
    heard = lab.canaries.watch(*texts)
    try:
        yield heard
    except AarlabError:
        raise_once(lab, who, f"refused {what}", heard)
        raise


def raise_once(lab: Lab, who: str, what: str, heard: list[str]) -> None:
    """An alarm about something without a number: once for each sender, kind and place while the server runs."""
    new = [where for where in heard if (who, what, where) not in lab.canaries.said]
    if new:
        lab.canaries.said.update((who, what, where) for where in new)
        with lab.store.write() as rows:
            alarm(lab, rows, who, what, new)


def alarm(lab: Lab, rows: Rows, who: str, what: str, heard: list[str], **number: int) -> None:
    """Write the ledger line and the log. number: submission=... or post=..."""
    for where in heard:
        log.error(
            "CANARY: %s sent the word of the %s in a %s %s; it got out of the lab", who, where, what, number or ""
        )
        lab.ledger.append(
            rows, "alarm", {"what": "canary", "where": where, "who": who, "in": what, **number}, lab.now()
        )


def remark(heard: list[str]) -> str:
    """Why a submission with a canary is not ranked; empty where there is none."""
    return (
        f"{MARK} of the lab ({', '.join(heard)}), which no researcher can know from what it may read" if heard else ""
    )
