"""The command line: wrong input gets one sentence, exit code 2, and nothing is written."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

import toy
from aarlab.cli import app
from aarlab.fleet.lock import LabLock
from aarlab.problems import base
from aarlab.server.creation import create_lab
from aarlab.settings import write as write_settings
from aarlab.store import Store
from toy_server import ToyServer

GOOD = "def run(task, seed):\n    return task.student.fit(task.train, task.weak_labels, seed=seed).predict(task.test)\n"


def aarlab(*argv, cwd, env=None, timeout=60):
    """Run the real command in an empty folder."""
    command = [sys.executable, "-m", "aarlab", *map(str, argv)]
    clean = {"PATH": os.environ["PATH"], "HOME": str(cwd), "AARLAB_STATE": str(cwd / "state"), **(env or {})}
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=timeout)


def refused(found, *words):
    """One sentence on stderr that has these words, and exit code 2."""
    assert found.returncode == 2, found.stderr
    sentence = [line for line in found.stderr.splitlines() if line.startswith("aarlab: ")]
    assert len(sentence) == 1, found.stderr
    for word in words:
        assert word in sentence[0]


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setenv("AARLAB_STATE", str(tmp_path / "state"))
    create_lab(tmp_path / "lab", toy.settings(), [toy.make_pack(tmp_path / "pack")])
    return tmp_path / "lab"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("run", "w2s-nope"), ("w2s-nope", "w2s-math")),
        (("run", "--researchers", "99"), ("99", "1 to 64")),
        (("run", "--minutes", "-3"), ("--minutes", "-3")),
        (("run", "--answers", "-1"), ("--answers", "-1")),
        (("run", "--isolation", "docker"), ("docker", "bwrap")),
        (("run", "--port", "99999"), ("99999",)),
        (("run", "--config", "none.toml"), ("none.toml", "not found")),
        (("status",), ("no lab", "aarlab run")),
        (("status", "elsewhere"), ("elsewhere", "lab.toml")),
        (("resume", "elsewhere"), ("elsewhere", "lab.toml")),
        (("try", "none.py"), ("none.py", "no such file")),
        (("problem", "build", "w2s-math"), ("--from-scratch", "--fresh")),
        (("problem", "check", "w2s-nope"), ("w2s-nope",)),
    ],
)
def test_wrong_arguments(tmp_path, argv, words):
    """The sentence names the value and the remedy, and no file appears."""
    refused(aarlab(*argv, cwd=tmp_path), *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def ran(task, seed):\n    pass\n", ("no function `run`",)),
        ("def run(task, seed)\n    pass\n", ("line 1",)),
        ("def run(task, seed):\n    return [0.5]\n", ("shape",)),
        ("def run(task, seed):\n    return task.weak_labels.astype(int)\n", ()),
        ("import numpy as np\ndef run(task, seed):\n    return np.full(len(task.test), np.nan)\n", ("NaN",)),
        ("import numpy as np\ndef run(task, seed):\n    return np.full(len(task.test), 1.5)\n", ("1.5",)),
        ("def run(task, seed):\n    return task.no_such_thing\n", ("no_such_thing",)),
        ("import subprocess\ndef run(task, seed):\n    subprocess.run(['true'])\n", ("may not do",)),
        ("def run(task, seed):\n    x = bytearray(8 << 30)\n", ("memory",)),
    ],
)
def test_a_wrong_method_is_explained(tmp_path, source, words):
    """`aarlab try` says what is wrong with a method; its traceback comes before the sentence."""
    (tmp_path / "m.py").write_text(source)
    refused(aarlab("try", "m.py", "--seeds", "1", cwd=tmp_path), *words)


def test_try_prints_pgr_and_the_traceback_of_a_failure(tmp_path):
    """A good method gets its PGR, a bad one the line that failed."""
    (tmp_path / "good.py").write_text(GOOD)
    found = aarlab("try", "good.py", "--seeds", "2", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "PGR" in found.stdout
    (tmp_path / "bad.py").write_text("def run(task, seed):\n    return 1 / 0\n")
    assert "line 2" in aarlab("try", "bad.py", "--seeds", "1", cwd=tmp_path).stderr


def test_a_lab_in_use_is_not_run_twice(lab):
    """The second supervisor is told the first one's process id."""
    with LabLock(lab):
        refused(aarlab("resume", lab, cwd=lab.parent), "in use", str(os.getpid()))


def test_a_folder_with_files_is_not_made_a_lab(tmp_path):
    """Nothing is overwritten."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    refused(aarlab("run", "--lab", "mine", cwd=tmp_path), "mine", "not empty")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_corrupt_pack_is_named(tmp_path):
    """One changed byte in a pack stops the load, with the file's name."""
    name = base.names()[0]
    pack = tmp_path / "pack"
    shutil.copytree(base.load(name).folder, pack)
    victim = next(pack.glob("feedback.inputs.npz"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(base.PackError, match=r"feedback\.inputs\.npz.*corrupt"):
        base.load(name, folder=pack)


def test_a_taken_port_is_named(lab):
    """The service cannot listen: the run ends with the port in the sentence."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        from aarlab import settings as settings_file

        chosen = settings_file.read(lab / "lab.toml").with_(port=port)
        write_settings(chosen, lab / "lab.toml")
        found = aarlab("resume", lab, cwd=lab.parent)
    assert found.returncode in (2, 3)
    assert str(port) in found.stderr


def fill(path):
    """Write until the file system has no room left."""
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while file.write(b"0" * 4096):
            pass


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_reported_and_the_run_goes_on_once_there_is_room(tmp_path, monkeypatch):
    """A lab on a file system without a free byte: exit code 3, the disk named, and resume finishes after a clean-up."""
    monkeypatch.setenv("AARLAB_STATE", str(tmp_path / "state"))
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting a tmpfs")
    try:
        from aarlab.settings import Budget

        settings = toy.settings(researchers=1, budget=Budget(minutes=0.1, answers=3))
        create_lab(small / "lab", settings, [toy.make_pack(tmp_path / "pack")])
        filler = small / "filler"
        fill(filler)
        full = aarlab("resume", small / "lab", cwd=tmp_path, timeout=120)
        assert full.returncode == 3, full.stderr
        assert "disk" in full.stderr or "space" in full.stderr
        filler.unlink()
        again = aarlab("resume", small / "lab", cwd=tmp_path, timeout=120)
        assert again.returncode == 0, again.stderr
    finally:
        subprocess.run(["umount", "-l", small], check=False)


def test_help_starts_fast_and_imports_nothing_heavy():
    """`import aarlab` and the command line itself load no numerical or server library."""
    heavy = "{'numpy', 'scipy', 'sklearn', 'sqlalchemy', 'fastapi', 'optuna', 'altair', 'httpx'}"
    for module in ("aarlab", "aarlab.cli"):
        code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == "[]", module


def test_status_stop_and_report_of_a_lab_that_does_not_run(lab):
    """They say what can be done instead of failing."""
    assert "r1" in aarlab("status", lab, cwd=lab.parent).stdout
    stopped = aarlab("stop", "--lab", lab, cwd=lab.parent)
    assert stopped.returncode == 0
    assert "resume" in stopped.stdout
    refused(aarlab("stop", "r1", "--lab", lab, cwd=lab.parent), "not running")
    refused(aarlab("stop", "nobody", "--lab", lab, cwd=lab.parent), "nobody", "r1")
    report = aarlab("report", lab, cwd=lab.parent)
    assert report.returncode == 0, report.stderr
    assert report.stdout.strip().endswith("report.html")


def test_ledger_verify_names_what_was_edited(lab):
    """Exit code 0 for a clean lab; 2, and the file, for an edited one."""
    assert aarlab("ledger", "verify", lab, cwd=lab.parent).returncode == 0
    victim = next((lab / "artifacts").glob("*.py"))
    victim.write_text(victim.read_text() + "\n# edited\n")
    found = aarlab("ledger", "verify", lab, cwd=lab.parent)
    assert found.returncode == 2
    assert victim.stem[:12] in found.stdout


# Restart and message


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A real service, and somebody who holds the lab as its supervisor would."""
    home = tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AARLAB_STATE", str(home / "state"))
        with ToyServer(home / "lab") as server, LabLock(server.folder):
            yield server


def controls(folder):
    store = Store(folder / "lab.db")
    with store.read() as rows:
        found = [line.body for line in rows.lines_of("control")]
    store.close()
    return found


def test_a_message_to_one_or_to_everyone(live):
    """A post that all can read, what a language model is told, and a line of the ledger that names the way."""
    cwd = live.folder.parent
    said = aarlab("message", live.folder, "r1", "Try fewer items.", cwd=cwd)
    assert said.returncode == 0, said.stderr
    number = int(re.fullmatch(r"message (\d+) to r1 is sent\n", said.stdout)[1])
    assert live.client("r2").read_post(number)["body"] == "Try fewer items."
    assert {"id": number, "text": "Try fewer items."}.items() <= live.client("r1").heartbeat("", heard=0)["messages"][
        0
    ].items()
    all_ = aarlab("message", live.folder, "everyone", "An hour is left.", "--json", cwd=cwd)
    assert json.loads(all_.stdout) == {"id": number + 1, "to": "everyone"}
    assert [(c["action"], c["by"], c["to"]) for c in controls(live.folder)[-2:]] == [
        ("message", "command line", "r1"), ("message", "command line", "everyone"),
    ]  # fmt: skip
    assert live.verify().faults == []


def test_a_restart_is_asked_for(live):
    """Also of one that was stopped; the supervisor finds the count in the run's view."""
    cwd = live.folder.parent
    assert aarlab("stop", "r2", "--lab", live.folder, cwd=cwd).returncode == 0
    asked = aarlab("restart", live.folder, "r2", cwd=cwd)
    assert (asked.returncode, asked.stdout) == (0, "r2 is started again\n")
    again = aarlab("restart", live.folder, "r2", "--json", cwd=cwd)
    assert json.loads(again.stdout) == {"name": "r2", "status": "waiting", "restarts": 2}
    assert live.client("operator").run()["restarts_asked"] == {"r2": 2}
    last = controls(live.folder)[-1]
    assert (last["action"], last["by"], last["researcher"]) == ("restart researcher", "command line", "r2")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("restart", "{lab}", "nobody"), ("nobody", "r1, r2, r3")),
        (("restart", "{lab}", "everyone"), ("everyone", "r1")),
        (("restart", "{lab}", ""), ("''", "r1")),
        (("message", "{lab}", "nobody", "hello"), ("nobody", "r1", "everyone")),
        (("message", "{lab}", "r1", ""), ("text", "at least 1")),
        (("message", "{lab}", "r1", "x" * 4001), ("text", "at most 4000")),
        (("message", "elsewhere", "r1", "hello"), ("elsewhere", "lab.toml")),
    ],
)
def test_a_control_that_cannot_be(live, argv, words):
    """One sentence that names the value and what would do; no line."""
    known = controls(live.folder)
    refused(aarlab(*(a.format(lab=live.folder) for a in argv), cwd=live.folder.parent), *words)
    assert controls(live.folder) == known


def test_controls_of_a_lab_that_does_not_run(lab):
    for argv in (("restart", lab, "r1"), ("message", lab, "r1", "hello")):
        refused(aarlab(*argv, cwd=lab.parent), "not running", f"aarlab resume {lab}")
        refused(aarlab(argv[0], lab, "nobody", *argv[3:], cwd=lab.parent), "nobody", "r1")


def test_the_reference_names_every_command_and_no_other():
    """docs/cli.md against the commands that there are; controls of the browser have their twin."""
    text = (Path(__file__).parents[1] / "docs" / "cli.md").read_text()
    shown = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `aarlab ")}
    named = {words.split()[1] for words in shown}
    assert named == set(typer.main.get_command(app).commands)
    for words in ("restart LAB RESEARCHER", "message LAB RESEARCHER TEXT"):
        assert f"aarlab {words}" in shown
        told = CliRunner().invoke(app, [words.split()[0], "--help"]).output
        assert "Example" in told
        assert "--json" in told
