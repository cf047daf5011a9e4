"""Canaries: planted words, the watch for them, and who can read the vault."""

from __future__ import annotations

import base64
import codecs
import json
import os
import stat
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy
from aarlab.execution import LocalExecutor, MethodRun
from aarlab.fleet.spec import researcher_spec
from aarlab.sandbox import open_sandbox
from aarlab.sandbox.library import PYTHON
from aarlab.server import app, canaries
from aarlab.server.canaries import ENVIRONMENT, FILE, FILE_NAME, FILE_TEXT, RUN_FILE, VARIABLE, Canaries
from aarlab.server.creation import create_lab
from aarlab.server.lab import Lab
from aarlab.settings import Audit
from aarlab.vault.verify import verify
from sandbox_here import needs_bwrap
from toy_lab import ToyLab

PLACES = (FILE_NAME, FILE_TEXT, RUN_FILE, ENVIRONMENT)
WORDS = Canaries({place: toy.sha(place)[:24] for place in PLACES})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyLab]:
    folder = tmp_path_factory.mktemp("canaries")
    with ToyLab(folder / "lab", packs=[toy.make_pack(folder / "pack", below=0.1)]) as lab:
        yield lab


def word(lab: ToyLab, place: str = FILE_TEXT) -> str:
    return lab.lab.canaries.words[place]


def alarms(lab: ToyLab) -> list[dict[str, Any]]:
    """The bodies of the ledger's alarm lines."""
    lines = lab.get("/ledger", "operator")["lines"]
    return [line["body"] for line in lines if line["kind"] == "alarm"]


def in_note(lab: ToyLab, number: int) -> dict[str, Any]:
    """The operator's view of a submission."""
    found: dict[str, Any] = next(s for s in lab.get("/run", "operator")["submissions"] if s["id"] == number)
    return found


# Planting


def test_words_stand_where_only_the_lab_looks(lab: ToyLab) -> None:
    """Four different words: a file's name, its content, a file of the running service, the server's environment."""
    words = lab.lab.canaries.words
    assert set(words) == set(PLACES)
    assert len(set(words.values())) == 4
    (decoy,) = (lab.folder / "vault").glob("labels-*.csv")
    assert words[FILE_NAME] in decoy.name
    assert words[FILE_TEXT] in decoy.read_text()
    assert (lab.folder / "run" / "labels.key").read_text() == words[RUN_FILE]
    for path in (decoy, lab.folder / "run" / "labels.key", lab.folder / "vault" / FILE):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_labs_have_different_words(tmp_path: Path, lab: ToyLab) -> None:
    """A word says which lab it got out of."""
    for name in ("vault", "run"):
        (tmp_path / name).mkdir()
    canaries.plant(tmp_path)
    other = Canaries.of(tmp_path / "vault").words.values()
    assert len(other) == 4
    assert not {*other} & {*lab.lab.canaries.words.values()}


def test_the_server_puts_its_word_into_its_environment(lab: ToyLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that a thief would look at; nothing of it where the lab is old."""
    monkeypatch.delenv(VARIABLE, raising=False)
    Canaries({}).put_in_environment()
    assert VARIABLE not in os.environ
    lab.lab.canaries.put_in_environment()
    assert os.environ.pop(VARIABLE) == word(lab, ENVIRONMENT)


# Watching

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a sentence": lambda w: f"I found {w}, what is it?",
    "capitals": str.upper,
    "first half": lambda w: w[:12],
    "second half": lambda w: f"x{w[12:]}y",
    "reversed": lambda w: w[::-1],
    "in pieces": lambda w: " + ".join(f'"{w[i : i + 3]}"' for i in range(0, 24, 3)),
    "over lines": lambda w: "\n# ".join(w),
    "hex": lambda w: w.encode().hex(),
    "hex of the reverse": lambda w: w[::-1].encode().hex(),
    "escapes": lambda w: "".join(f"\\x{b:02x}" for b in w.encode()),
    "percent": lambda w: "".join(f"%{b:02X}" for b in w.encode()),
    "codes": lambda w: str([ord(c) for c in w]),
    "base64": lambda w: base64.b64encode(w.encode()).decode(),
    "base64 later": lambda w: base64.b64encode(f"A{w}".encode()).decode(),
    "base64 later still": lambda w: base64.b64encode(f"AB{w} and more".encode()).decode(),
    "url base64": lambda w: base64.urlsafe_b64encode(f"the word is {w}".encode()).decode(),
    "base32": lambda w: base64.b32encode(f"abc{w}def".encode()).decode(),
    "rot13": lambda w: codecs.encode(w, "rot13"),
}


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize("place", PLACES)
def test_a_word_is_found_however_it_is_spelt(how: str, place: str) -> None:
    """Encoded, turned round or cut up, alone and inside a longer text, and the right place is named."""
    sent = SPELLINGS[how](WORDS.words[place])
    assert WORDS.watch(sent) == [place]
    assert WORDS.watch("other", f'def run(task, seed):\n    return """{sent}"""\n') == [place]


@given(st.text(max_size=400), st.binary(max_size=400))
def test_nothing_else_raises_an_alarm(text: str, data: bytes) -> None:
    """Neither words nor encoded noise are taken for a canary."""
    assert WORDS.watch(text, data.hex(), base64.b64encode(data).decode(), repr(data)) == []


def test_hashes_and_shipped_methods_raise_no_alarm(lab: ToyLab) -> None:
    """What researchers do send: sources, bundle hashes, answers."""
    for number in range(50):
        assert lab.lab.canaries.watch(toy.variant(number), toy.sha(str(number))) == []


# Alarms


def test_a_submission_with_a_word_is_unranked_and_its_sender_hears_nothing(lab: ToyLab) -> None:
    """Reply, status, leaderboard and methods say what they say of any submission; operator and ledger know better."""
    plain = lab.score(toy.SHARPER.format(margin=0.11))
    taken = lab.score(toy.LEARNER + f"\n# {word(lab)}\n")
    assert taken.keys() == plain.keys()
    assert (taken["ranked"], taken["remark"], taken["status"]) == (True, "", "scored")
    assert taken["answer"].startswith("new record") or taken["answer"] == "no new record"
    for path in ("/submissions", "/methods", "/leaderboard"):
        for who in ("r1", "r2"):
            assert "canary" not in json.dumps(lab.get(path, who))
            assert '"ranked": false' not in json.dumps(lab.get(path, who))
    seen = in_note(lab, taken["id"])
    assert seen["ranked"] is False
    assert seen["remark"].startswith(canaries.MARK)
    assert FILE_TEXT in seen["remark"]
    assert [s["ranked"] for s in lab.get("/submissions", "operator")["submissions"] if s["id"] == taken["id"]] == [
        False
    ]
    body = {"what": "canary", "where": FILE_TEXT, "who": "r1", "in": "submission", "submission": taken["id"]}
    assert body in alarms(lab)
    assert lab.verify().faults == []


@pytest.mark.parametrize("part", ["name", "note"])
def test_names_and_notes_are_watched(lab: ToyLab, part: str) -> None:
    """Every text of a submission counts."""
    reply = lab.submit(toy.variant(f"'{part}'"), "r2", **{part: f"see {word(lab, RUN_FILE)}"})
    assert reply.status_code == 201
    assert in_note(lab, reply.json()["id"])["ranked"] is False


def test_a_refused_submission_raises_its_alarm_once(lab: ToyLab) -> None:
    """The door's refusal stays what it is; sent a hundred times it is one line for each place."""
    for _ in range(3):
        reply = lab.submit(f"not python {word(lab, FILE_NAME)} (", "r3")
        assert (reply.status_code, reply.json()["reason"]) == (422, "syntax")
    refused = [a for a in alarms(lab) if a["in"] == "refused submission"]
    assert refused == [{"what": "canary", "where": FILE_NAME, "who": "r3", "in": "refused submission"}]


def test_posts_and_heartbeats_are_watched(lab: ToyLab) -> None:
    """A post stands as any other and has its alarm with its number; a heartbeat's alarm comes once."""
    reply = lab.post("/posts", {"kind": "insight", "title": "look", "body": f"key: {word(lab, ENVIRONMENT)}"}, "r2")
    assert reply.status_code == 201
    for _ in range(3):
        assert lab.post("/heartbeat", {"state": word(lab, ENVIRONMENT)}, "r2").status_code == 200
    found = [a for a in alarms(lab) if a["where"] == ENVIRONMENT]
    common = {"what": "canary", "where": ENVIRONMENT, "who": "r2"}
    assert found == [{**common, "in": "post", "post": reply.json()["id"]}, {**common, "in": "heartbeat"}]
    assert lab.verify().faults == []


def test_the_log_says_it_loudly(lab: ToyLab, caplog: pytest.LogCaptureFixture) -> None:
    """One error line that names sender and place."""
    lab.post("/posts", {"kind": "insight", "title": word(lab, RUN_FILE), "body": ""}, "r3")
    (line,) = [r for r in caplog.records if "CANARY" in r.getMessage()]
    assert line.levelname == "ERROR"
    assert "r3 sent the word of the run file" in line.getMessage()


def test_a_word_sent_twice_under_one_key_is_one_alarm(lab: ToyLab) -> None:
    """A repeated request is answered from memory and raises nothing new."""
    before = len(alarms(lab))
    replies = [lab.submit(toy.variant(f"'{word(lab)}'"), "r3", key="again").json() for _ in range(2)]
    assert replies[0] == replies[1]
    assert len(alarms(lab)) == before + 1


def test_an_edited_rank_still_breaks_the_ledger(tmp_path: Path) -> None:
    """Whoever ranks a marked submission in the database without a line is found."""
    with ToyLab(tmp_path / "lab") as lab:
        number = lab.score(toy.LEARNER + f"\n# {word(lab)}\n")["id"]
        with lab.lab.store.write() as rows:
            rows.set_submission(number, ranked=True, remark="")
        assert any("ranked" in fault for fault in lab.verify().faults)


def test_a_marked_submission_is_no_finalist(tmp_path: Path) -> None:
    """Where an unmarked one exists, the marked one is not opened on the record tasks, and people then read why."""
    unaudited = toy.settings(audit=Audit(finalists=False))
    with ToyLab(tmp_path / "lab", unaudited, [toy.make_pack(tmp_path / "pack", below=0.1)]) as lab:
        marked = lab.score(toy.LEARNER + f"\n# {word(lab)}\n")["id"]
        clean = lab.score(toy.SHARPER.format(margin=0.05))["id"]
        run = lab.reach("record")
        assert marked not in run["finalists"]
        assert clean in run["finalists"]
        assert in_note(lab, marked)["remark"].startswith(canaries.MARK)
        assert lab.verify().faults == []


def test_an_old_lab_without_canaries_opens_and_works(tmp_path: Path) -> None:
    """No words, no watch, no error."""
    tokens = create_lab(tmp_path / "lab", toy.settings(), [toy.make_pack(tmp_path / "pack")])
    (tmp_path / "lab" / "vault" / FILE).unlink()
    with ToyLab(tmp_path / "lab", tokens=tokens) as lab:
        assert lab.lab.canaries.words == {}
        assert lab.score(toy.LEARNER)["status"] == "scored"
        assert alarms(lab) == []
    assert verify(tmp_path / "lab").faults == []


def test_an_unreadable_list_is_said_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broken file stops nobody, and somebody is told that nobody watches."""
    (tmp_path / FILE).write_text("{")
    assert Canaries.of(tmp_path).words == {}
    assert "nobody watches" in caplog.text


def test_only_the_canary_is_kept_quiet(lab: ToyLab) -> None:
    """Other reasons not to rank are shown to their researcher as ever."""
    with lab.lab.store.read() as rows:
        row = rows.submissions("r1")[0]
    other = replace(row, ranked=False, remark="not ranked: this lab runs methods without isolation")
    shown = app.views.submission_view(other, lab.lab.feedback)
    assert (shown["ranked"], shown["remark"]) == (False, other.remark)


# The vault


def test_nothing_in_the_vault_is_open_to_others(lab: ToyLab) -> None:
    """Folders 700, files 600, from the first day and after scoring; the database and the tokens too."""
    lab.score(toy.variant("'vault'"))
    vault = lab.folder / "vault"
    assert stat.S_IMODE(vault.stat().st_mode) == 0o700
    inside = list(vault.rglob("*"))
    assert any(p.parent.name == "outcomes" for p in inside)
    for path in inside:
        allowed = 0o700 if path.is_dir() else 0o644 if path.name == "ledger.head" else 0o600
        assert stat.S_IMODE(path.stat().st_mode) | allowed == allowed, path
    for path in (lab.folder / "lab.db", lab.folder / "run" / "tokens.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


LOOK = """
import json, os, sys

def names():
    for top in ("/data", "/work", "/tmp", "/run", "/home", "/root", "/dev/shm", "/var"):
        for folder, folders, files in os.walk(top):
            folders[:] = [f for f in folders if os.path.join(folder, f) not in (sys.prefix, sys.base_prefix)]
            folders[:] = [f for f in folders if f != "site-packages"]
            yield from (os.path.join(folder, name) for name in (*folders, *files))

words, lab = json.load(open("/work/words.json")), sys.argv[1]
seen = {"paths": [p for p in (lab, f"{lab}/vault", f"{lab}/run", f"{lab}/lab.db") if os.path.exists(p)]}
found = list(names())
seen["names"] = [n for n in found if any(w in n for w in words) or "vault" in n or "labels-" in n]
texts = [" ".join(os.environ), " ".join(os.environ.values())]
files = [n for n in found if os.path.isfile(n) and n != "/work/words.json"]
files += [f"/proc/{pid}/{part}" for pid in os.listdir("/proc") if pid.isdigit() for part in ("environ", "cmdline")]
for name in files:
    try:
        texts.append(open(name, "rb").read().decode("latin-1"))
    except OSError:
        pass
seen["words"] = [w for w in words if any(w in t for t in texts)]
seen["files"] = len(files)
print(json.dumps(seen))
"""


@needs_bwrap
def test_a_researcher_sees_nothing_of_the_vault(tmp_path: Path) -> None:
    """No path, no name, no word, in files, environments or command lines of its sandbox."""
    lab = tmp_path / "lab"
    create_lab(lab, toy.settings(), [toy.make_pack(tmp_path / "pack")])
    opened = Lab(lab)
    words = list(opened.canaries.words.values())
    settings = opened.settings
    opened.close()
    (lab / "run" / "api").mkdir()
    (lab / "run" / "api" / "aarlab.sock").touch()
    (lab / "run" / "aarlab.sock").symlink_to(Path("api") / "aarlab.sock")
    spec = researcher_spec(lab, settings, settings.researchers[0], (PYTHON, "-c", LOOK, str(lab)))
    (spec.workspace / "words.json").write_text(json.dumps(words))
    process = open_sandbox("bwrap").start(spec)
    try:
        out, err = process._popen.communicate(timeout=60)
    finally:
        process.close()
    found = json.loads(out)
    assert found.pop("files") >= 4, err.decode()  # it did look: the open task's files at least
    assert found == {"paths": [], "names": [], "words": []}


@needs_bwrap
def test_a_method_sees_nothing_of_the_vault(tmp_path: Path) -> None:
    """A method run on hidden data finds neither the lab's folder nor any of its names."""
    lab = tmp_path / "lab"
    problem = toy.make_pack(tmp_path / "pack")
    create_lab(lab, toy.settings(), [problem])
    opened = Lab(lab)
    draws = opened.vault.draws(problem.name, "feedback", "feedback")[:1]
    inputs = opened.vault.inputs(problem.name, "feedback")
    opened.close()
    source = textwrap.dedent(f"""
        import os, sys
        import numpy as np

        def names():
            for top in ("/tmp", "/run", "/home", "/root", "/var", "/work", "/data"):
                for folder, folders, files in os.walk(top):
                    folders[:] = [f for f in folders if os.path.join(folder, f) not in (sys.prefix, sys.base_prefix)]
                    folders[:] = [f for f in folders if f != "site-packages"]
                    yield from (*folders, *files)

        def run(task, seed):
            found = [os.path.exists(p) for p in ({str(lab)!r}, {str(lab / "vault")!r}, {str(lab / "run")!r})]
            found += [any("vault" in n or "labels" in n for n in names()), {VARIABLE!r} in os.environ]
            out = np.zeros(len(task.test), np.float32)
            out[:len(found)] = found
            return out
    """)
    with LocalExecutor(open_sandbox("bwrap"), workers=1, hidden=(lab,)) as executor:
        found = executor.run(MethodRun(source, inputs, draws, 30)).outputs[0]
    assert np.array_equal(found[:5], np.zeros(5))
