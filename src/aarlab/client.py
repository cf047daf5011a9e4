"""How researchers, scripts and people talk to a lab.

lab = LabClient("/run/aarlab.sock", token)
submission = lab.submit("my method", source)
print(lab.wait(submission["id"], timeout=120)["answer"])
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from aarlab import errors

Json = dict[str, Any]

PATIENCE = 60.0
"""Seconds for which a lab that cannot be reached is tried again: it may be restarting."""

SOCKET_PATH = 107
"""Bytes of a path that a unix socket address can hold."""


class LabClient:
    """One lab, as one token sees it. Methods return the lab's JSON; errors are those of aarlab.errors.

    address: the path of a unix socket, or http://127.0.0.1:PORT. A request that may have been lost is sent again
    under the same Idempotency-Key, so that nothing happens twice.
    """

    def __init__(self, address: str | Path, token: str, patience: float = PATIENCE) -> None:
        address = str(address)
        self.patience = patience
        self._folder: int | None = None
        headers = {"Authorization": f"Bearer {token}"}
        if address.startswith("http://"):
            transport = httpx.HTTPTransport(verify=False)  # no TLS here: reading certificates would take 20 ms
            self._http = httpx.Client(base_url=address, headers=headers, timeout=30.0, transport=transport)
        else:
            transport = httpx.HTTPTransport(uds=self._short(address), verify=False)
            self._http = httpx.Client(base_url="http://lab", headers=headers, timeout=30.0, transport=transport)

    def _short(self, path: str) -> str:
        if len(os.fsencode(path)) <= SOCKET_PATH:
            return path
        self._folder = os.open(os.path.dirname(path), os.O_PATH)
        return f"/proc/self/fd/{self._folder}/{os.path.basename(path)}"

    # Reading

    def health(self) -> Json:
        return self._get("/v1/health")

    def brief(self) -> Json:
        """The problem, its tasks, the rules of scoring, and who you are."""
        return self._get("/v1/brief")

    def budget(self) -> Json:
        """Answers, bits, submissions, dollars, tokens and minutes left, the fleet's and your own."""
        return self._get("/v1/budget")

    def leaderboard(self) -> Json:
        return self._get("/v1/leaderboard")

    def practice_rules(self) -> Json:
        """Whether practice mode is on, its items, and the answers left to the fleet."""
        return self._get("/v1/practice")

    def submissions(self) -> list[Json]:
        """Your own, oldest first."""
        found: list[Json] = self._get("/v1/submissions")["submissions"]
        return found

    def submission(self, number: int) -> Json:
        return self._get(f"/v1/submissions/{number}")

    def methods(self) -> list[Json]:
        """Every scored method of every researcher, oldest first, without its source."""
        found: list[Json] = self._get("/v1/methods")["methods"]
        return found

    def method(self, number: int) -> Json:
        """One scored method; `source` is its file."""
        return self._get(f"/v1/methods/{number}")

    def posts(self, search: str = "", kind: str | None = None, since: int = 0, limit: int = 100) -> list[Json]:
        """The newest posts that match, oldest first. `since`: the number of the last one you know."""
        asked: dict[str, str | int] = {"search": search, "since": since, "limit": limit}
        if kind is not None:
            asked["kind"] = kind
        found: list[Json] = self._get("/v1/posts", asked)["posts"]
        return found

    def read_post(self, number: int) -> Json:
        """One post with its replies."""
        return self._get(f"/v1/posts/{number}")

    def wait(self, number: int, timeout: float = 600.0) -> Json:
        """A submission once it is scored or has failed; after `timeout` seconds, as it is then."""
        end = time.monotonic() + timeout
        while True:
            left = max(0.0, end - time.monotonic())
            found = self._get(f"/v1/submissions/{number}", {"wait": round(min(left, 20.0), 3)})
            if found["status"] not in ("queued", "running") or left <= 0:
                return found

    # Writing

    def submit(
        self, name: str, source: str, parent: int | None = None, claimed_pgr: float | None = None,
        note: str = "", key: str | None = None, track: str = "inductive", family: str = "",
    ) -> Json:  # fmt: skip
        """Hand in a method file; returns at once, usually with status `queued`.

        track: which information the method uses, one of the tracks of `brief()`. family: of which family of ideas it
        is, one of `aarlab.ideas.families.FAMILIES`; empty to leave that to others.
        """
        body = {
            "name": name, "source": source, "parent": parent, "claimed_pgr": claimed_pgr, "note": note, "track": track,
            "family": family,
        }  # fmt: skip
        return self._post("/v1/submissions", body, key)

    def post(
        self, kind: str, title: str, body: str, parent: int | None = None, submission: int | None = None,
        key: str | None = None, family: str = "",
    ) -> Json:  # fmt: skip
        """Write to the forum. kind: result, hypothesis, insight or error. Raises RateLimited where it is too much."""
        text = {
            "kind": kind, "title": title, "body": body, "parent": parent, "submission": submission, "family": family,
        }  # fmt: skip
        return self._post("/v1/posts", text, key)

    def practice(self, predictions: Sequence[int]) -> Json:
        """The rounded accuracy of one 0 or 1 per item of the public list, where the lab has practice mode on."""
        return self._post("/v1/practice", {"predictions": [int(p) for p in predictions]})

    def heartbeat(
        self, state: str = "", best_open_pgr: float | None = None, trials: int = 0, heard: int | None = None
    ) -> Json:
        """Say that you live; the reply's `stop` says when to end.

        heard: number of the newest message of the operator that you know, 0 for none; the reply's `messages` are
        those after it, [{id, text, time}]. None: they are not asked for.
        """
        body = {"state": state, "best_open_pgr": best_open_pgr, "trials": trials}
        return self._post("/v1/heartbeat", body if heard is None else {**body, "heard": heard})

    # The fleet: accounts and transcripts of researchers that are language models

    def reserve(self, researcher: str, key: str, dollars: float, tokens: int) -> Json:
        """Set a call's probable price aside; under the same key again, in place of the first.

        Raises BudgetSpent where the researcher or the fleet has nothing left.
        """
        body = {"researcher": researcher, "key": key, "dollars": dollars, "tokens": tokens}
        return self._post("/v1/spending/reserve", body)

    def settle(self, researcher: str, key: str, usage: Mapping[str, Any], dollars: float) -> Json:
        """Account a call at what it cost; returns the researcher's account. Once for each key, however often asked.

        usage: model, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, seconds.
        """
        body = {"researcher": researcher, "key": key, "usage": dict(usage), "dollars": dollars}
        return self._post("/v1/spending/settle", body)

    def release(self, researcher: str, key: str | None = None) -> Json:
        """Drop the reservation of a call that was not made; without a key, charge all that a dead process left."""
        return self._post("/v1/spending/release", {"researcher": researcher, "key": key})

    def add_events(self, researcher: str, events: Sequence[Json]) -> list[int]:
        """Write steps of a transcript, all or none; their numbers. One whose key is known is left as it was.

        Each: {key, session, turn, kind, body, submission, post, log}; kind assistant, tool, user, compaction, note or
        retry; body any JSON object of up to 4 MB.
        """
        found: list[int] = self._post("/v1/events", {"researcher": researcher, "events": list(events)})["ids"]
        return found

    def turn(
        self,
        researcher: str,
        events: Sequence[Json] = (),
        settled: Sequence[Json] = (),
        reserve: Json | None = None,
        says: Json | None = None,
    ) -> Json:
        """`add_events`, `settle`, `heartbeat` and `reserve` in one request, in this order.

        settled: {key, usage, dollars}; says: {state, heard}; reserve: {key, dollars, tokens}. The reply to `says`, or
        {}. Raises BudgetSpent where the reservation is refused; the rest is kept then.
        """
        body = {"researcher": researcher, "events": list(events), "settled": list(settled)}
        return self._post("/v1/turn", {**body, "says": says, "reserve": reserve})

    def events(self, researcher: str = "", since: int = 0, limit: int = 1000) -> list[Json]:
        """Steps after number `since`, oldest first, of one researcher or of all: as many as fit into one reply.

        Empty only where there are no more.
        """
        asked: dict[str, str | int] = {"researcher": researcher, "since": since, "limit": limit}
        found: list[Json] = self._get("/v1/events", asked)["events"]
        return found

    def classify(self, ideas: Sequence[Json]) -> Json:
        """Keep families that rules or a model found: {kind: submission or post, number, family, by: rules or llm}."""
        return self._post("/v1/ideas", {"ideas": list(ideas)})

    # The operator

    def run(self) -> Json:
        return self._get("/v1/run")

    def ledger(self, since: int = 0) -> list[Json]:
        lines: list[Json] = self._get("/v1/ledger", {"since": since})["lines"]
        return lines

    def control(self, action: str, by: str = "operator", reason: str = "", key: str | None = None) -> Json:
        """Keep in the ledger that the run was started, resumed or stopped (`action`: start, resume, stop)."""
        return self._post("/v1/controls", {"action": action, "by": by, "reason": reason}, key)

    def phase(self, phase: str, reason: str = "", by: str = "operator") -> Json:
        """Ask the lab to go on to `audit`, `record`, `transfer` or `done`; it does so as the work is finished.

        by: the way in which this was asked for, for the ledger; so in every control below.
        """
        return self._post("/v1/phase", {"phase": phase, "reason": reason, "by": by})

    def clock(
        self, seconds_left: float, compute: Mapping[str, float] | None = None,
        minutes: Mapping[str, float] | None = None,
    ) -> Json:  # fmt: skip
        """Tell the lab how long the research phase still lasts, and what it cannot see by itself.

        compute: name -> dollars that computing has cost so far. minutes: name -> wall time of its process so far.
        Names left out keep what they had.
        """
        body = {"seconds_left": seconds_left, "compute": dict(compute or {}), "minutes": dict(minutes or {})}
        return self._post("/v1/clock", body)

    def stop(self, researcher: str, by: str = "operator") -> Json:
        return self._post(f"/v1/researchers/{quote(researcher, safe='')}/stop", {"by": by})

    def restart(self, researcher: str, by: str = "operator") -> Json:
        """Have a researcher's process started anew, whether it runs, was stopped, has finished or failed."""
        return self._post(f"/v1/researchers/{quote(researcher, safe='')}/restart", {"by": by})

    def message(self, to: str, text: str, by: str = "operator") -> Json:
        """Tell a researcher, or `everyone`, something of 1 to 4000 characters: {"id", "to"}.

        It becomes a post that all can read. A language model is also told it, after the tools of its next turn; a
        search researcher only has the post.
        """
        return self._post(f"/v1/researchers/{quote(to, safe='')}/message", {"text": text, "by": by})

    def rank(self, number: int, ranked: bool, reason: str, by: str = "operator") -> Json:
        """Rank or unrank a submission; the ledger keeps the reason."""
        return self._post(f"/v1/submissions/{number}/rank", {"ranked": ranked, "reason": reason, "by": by})

    def audit(self, number: int, level: str | None = None, by: str = "operator") -> Json:
        """Queue the audit of a submission and show what is known of it."""
        return self._post(f"/v1/submissions/{number}/audit", {"level": level, "by": by})

    def audited(self, number: int) -> Json:
        """What audits said of a submission so far."""
        return self._get(f"/v1/submissions/{number}/audit")

    # Plumbing

    def _get(self, path: str, query: Mapping[str, str | int | float] | None = None) -> Json:
        return self._send("GET", path, params=query)

    def _post(self, path: str, body: Json, key: str | None = None) -> Json:
        headers = {"Idempotency-Key": key or uuid.uuid4().hex, "Content-Type": "application/json"}
        return self._send("POST", path, content=_encoded(body), headers=headers)

    def _send(self, verb: str, path: str, **request: Any) -> Json:
        """One request; a lab that is away for a moment is tried again with growing pauses."""
        end, pause = time.monotonic() + self.patience, 0.1
        while True:
            try:
                reply = self._http.request(verb, path, **request)
            except httpx.TransportError as error:
                trouble: errors.AarlabError = errors.Infrastructure(f"the lab cannot be reached ({error})")
            else:
                if reply.status_code < 400:
                    found: Json = reply.json()
                    return found
                trouble = _error(reply)
            if not isinstance(trouble, errors.Infrastructure) or time.monotonic() + pause > end:
                raise trouble
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def close(self) -> None:
        self._http.close()
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def __enter__(self) -> LabClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _encoded(body: Json) -> bytes:
    """JSON, short where it can be. Raises InputError for numbers that JSON has no word for."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as models write them: the lab says what it makes of it
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError) as error:
        raise errors.InputError(f"this cannot be sent as JSON: {error}") from None


def _error(reply: httpx.Response) -> errors.AarlabError:
    """The error class that the lab named, with its sentence."""
    try:
        body = reply.json()
        sentence, kind = str(body["error"]), str(body["kind"])
    except (ValueError, KeyError, TypeError):
        return errors.Infrastructure(f"the lab answered {reply.status_code} without a reason")
    if kind == "MethodError":
        return errors.MethodError(body.get("reason", "crashed"), sentence)
    found = getattr(errors, kind, errors.AarlabError)
    if not (isinstance(found, type) and issubclass(found, errors.AarlabError)):
        found = errors.AarlabError
    return found(sentence)
