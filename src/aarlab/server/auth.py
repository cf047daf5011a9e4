"""Who asks: identity comes from the token and from nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fastapi import Request

from aarlab.errors import NotAllowed, Unauthorised
from aarlab.server.lab import Lab


def token_hash(token: str) -> str:
    """What the database keeps of a token. Tokens carry 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True)
class Identity:
    name: str
    role: str  # researcher | operator | viewer

    def require_operator(self) -> None:
        if self.role != "operator":
            raise NotAllowed(f"{self.name} may not do this; it needs the operator's token")

    def require_writer(self) -> None:
        if self.role == "viewer":
            raise NotAllowed("the viewer's token only reads")


class Door:
    """Knows all tokens of a lab, hashed; they are fixed when the lab is made."""

    def __init__(self, lab: Lab) -> None:
        with lab.store.read() as rows:
            self.known = {r.token_hash: Identity(r.name, r.role) for r in rows.researchers() if r.token_hash}

    def identity(self, request: Request) -> Identity:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = self.known.get(token_hash(token.strip())) if scheme.lower() == "bearer" else None
        if found is None:
            raise Unauthorised("no valid token; send the header `Authorization: Bearer TOKEN`")
        return found
