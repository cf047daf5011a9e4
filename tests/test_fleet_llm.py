"""LLM researchers under the supervisor: keys, exit codes, restarts, stalls, who is in the fleet."""

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest

import toy
from aarlab import settings as settings_file
from aarlab.errors import ConfigError
from aarlab.fleet import host, keys, launch, models, plan, progress
from aarlab.fleet.host import HostWorker, Nursery
from aarlab.fleet.runner import Supervisor
from aarlab.llm.ready import ready
from aarlab.sandbox import open_sandbox
from aarlab.server.creation import create_lab
from aarlab.settings import Budget, Llm, ResearcherSpec
from aarlab.testing import ModelServer
from toy_server import ToyServer

KEY = "sk-ant-very-secret-0123456789"
MODEL = "anthropic/scripted"


def until(true, seconds=60.0):
    """Wait for something to become true; what it was."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return found


# Keys


@pytest.mark.parametrize(
    "name",
    ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "HF_TOKEN", "my_api_key",
     "GOOGLE_APPLICATION_CREDENTIALS", "AZUREAI_OPENAI_API_KEY_2", "DB_PASSWORD"],
)  # fmt: skip
def test_a_key_is_known_by_its_name(name):
    assert keys.without_keys({name: "x", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "AARLAB_STATE", "KEYBOARD", "OPENAI_BASE_URL", "TOKENIZERS_PARALLELISM"]
)
def test_other_variables_stay(name):
    assert keys.without_keys({name: "x"}) == {name: "x"}


def test_an_empty_key_is_a_missing_one():
    assert keys.with_keys({"A_API_KEY": " ", "B_API_KEY": "x", "EMPTY": ""}) == {"B_API_KEY": "x", "EMPTY": ""}


def test_a_redactor_replaces_values_by_their_names():
    """The longest first, nothing too short to be a key, nothing where there is no key."""
    clean = keys.redactor(
        {"A_API_KEY": "12345678", "B_API_KEY": "12345678-and-more", "C_TOKEN": "abc", "PATH": "/usr/bin"}
    )
    assert clean("12345678-and-more, 12345678, abc, /usr/bin") == "[B_API_KEY], [A_API_KEY], abc, /usr/bin"
    assert keys.redactor({"PATH": "/usr/local/bin"})("/usr/local/bin") == "/usr/local/bin"


# Who is in the fleet


def test_a_model_makes_a_fleet_of_language_models():
    """Nine directions in words, eight hours unless something else is said."""
    made = launch.settings_for("w2s-math", None, llm=MODEL)
    assert {one.kind for one in made.researchers} == {"llm"}
    assert len({one.direction for one in made.researchers}) == 9
    assert made.llm.model == MODEL
    assert made.budget.minutes == launch.LLM_MINUTES
    assert launch.settings_for("w2s-math", None, llm=MODEL, minutes=5.0).budget.minutes == 5.0
    assert launch.settings_for("w2s-math", None).budget.minutes == Budget().minutes


def test_flags_of_language_models(tmp_path):
    """Program, directions of one's own or none, budgets."""
    (tmp_path / "d.txt").write_text("Look left.\nLook right.\n")
    made = launch.settings_for(
        "w2s-math", None, llm=MODEL, cli="claude-code", directions=str(tmp_path / "d.txt"), researchers=3, dollars=2.0,
        researcher_dollars=1.0, tokens=1000, base_url="http://127.0.0.1:1", prompt="prescribed",
    )  # fmt: skip
    assert [(r.kind, r.cli, r.direction) for r in made.researchers] == [
        ("cli", "claude-code", d) for d in ("Look left.", "Look right.", "Look left.")
    ]
    assert (made.budget.dollars, made.budget.researcher_dollars, made.budget.tokens) == (2.0, 1.0, 1000)
    assert (made.llm.prompt, made.llm.base_url) == ("prescribed", "http://127.0.0.1:1")
    assert {r.direction for r in launch.settings_for("w2s-math", None, llm=MODEL, undirected=True).researchers} == {""}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"cli": "codex"}, "--cli needs a language model"),
        ({"base_url": "http://x"}, "--base-url needs a language model"),
        ({"llm": MODEL, "cli": "cursor"}, "claude-code, codex"),
        ({"llm": MODEL, "directions": "none.txt"}, "none.txt"),
        ({"llm": MODEL, "prompt": "strict"}, "'open' or 'prescribed'"),
        ({"llm": MODEL, "researchers": 101}, "1 to 100"),
        ({"llm": MODEL, "tokens": -1}, "--tokens is -1"),
        ({"llm": MODEL, "researcher_dollars": -1.0}, "--researcher-dollars is -1"),
    ],
)
def test_flags_that_mean_nothing_are_refused(flags, words):
    with pytest.raises(ConfigError, match=words):
        launch.settings_for("w2s-math", None, **flags)


def test_a_mixed_fleet_is_a_list_in_the_file(tmp_path):
    """6 language models, 2 searches, 1 person; flags that would change the list are refused."""
    kinds = ["llm"] * 6 + ["search"] * 2 + ["human"]
    listed = "".join(f'[[researchers]]\nname = "r{i}"\nkind = "{kind}"\n' for i, kind in enumerate(kinds))
    (tmp_path / "lab.toml").write_text(f'[llm]\nmodel = "{MODEL}"\n{listed}')
    made = launch.settings_for("w2s-math", tmp_path / "lab.toml")
    assert [r.kind for r in made.researchers] == kinds
    assert "6 llm, 2 search and 1 human researchers" in plan.describe(made)
    assert made.budget.minutes == launch.LLM_MINUTES
    crew = Supervisor(tmp_path_lab(tmp_path, made), made, open_sandbox("bwrap"), lambda view: None).workers
    assert [type(w).__name__ for w in crew] == ["HostWorker"] * 6 + ["Worker"] * 2
    with pytest.raises(ConfigError, match=r"\[\[researchers\]\]"):
        launch.settings_for("w2s-math", tmp_path / "lab.toml", researchers=3)


def tmp_path_lab(tmp_path, made):
    (tmp_path / "lab" / "run").mkdir(parents=True)
    return tmp_path / "lab"


# Before a run


@pytest.fixture
def no_keys(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_a_missing_key_is_named_before_anything_is_made(no_keys):
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        models.check(launch.settings_for("w2s-math", None, llm="anthropic/claude-opus-4-6"))


def test_a_model_without_a_price_and_a_budget_in_dollars_do_not_go_together(no_keys, monkeypatch):
    """Only the price is missing: tokens may be limited instead."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with pytest.raises(ConfigError, match=r"prices\.models"):
        ready(launch.settings_for("w2s-math", None, llm="anthropic/no-such-model", dollars=1.0))
    made = launch.settings_for("w2s-math", None, llm="anthropic/no-such-model", tokens=1000)
    assert ready(made) == {"anthropic/no-such-model": "no price is known"}


def test_the_price_is_told_before_a_run(no_keys, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    told = ready(launch.settings_for("w2s-math", None, llm="anthropic/claude-opus-4-6", dollars=1.0))
    assert "per million tokens" in told["anthropic/claude-opus-4-6"]


@pytest.mark.parametrize("model", ["nonsense", "no-such-provider/x"])
def test_an_unknown_model_is_named(model):
    with pytest.raises(ConfigError, match=model):
        ready(launch.settings_for("w2s-math", None, llm=model))


def test_a_missing_extra_is_named():
    with pytest.raises(ConfigError, match=r"pip install 'aarlab\[llm\]'"):
        models.needs_extra("no_such_package", "llm")


def test_searches_ask_no_model():
    assert models.check(launch.settings_for("w2s-math", None)) == []


# The processes


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A served toy lab with two LLM researchers, and a scripted provider behind a key."""
    monkeypatch.setenv("AARLAB_STATE", str(tmp_path / "state"))
    with ModelServer("researcher:steps=400", keys=(KEY,), delay=0.2) as provider:
        for name, value in {**provider.environment(), "ANTHROPIC_API_KEY": KEY}.items():
            monkeypatch.setenv(name, value)
        crew = (ResearcherSpec("r1", "llm"), ResearcherSpec("r2", "llm"))
        made = toy.settings(researchers=2, llm=Llm(model=MODEL))
        with ToyServer(tmp_path / "lab", replace(made, researchers=crew), sandboxed=True) as server:
            yield SimpleNamespace(server=server, folder=server.folder, crew=crew, provider=provider)


@pytest.fixture
def nursery(lab):
    found = Nursery(lab.folder)
    yield found
    found.close()


def row(lab, name="r1"):
    with lab.server.client("operator") as client:
        return next(r for r in client.run()["researchers"] if r["name"] == name)


def turning(lab, worker):
    """Once it is past its first turns."""

    def past():
        worker.watch(row(lab, worker.one.name)["heartbeat"])
        return row(lab, worker.one.name)["state"].startswith(("turn 2", "turn 3", "turn 4"))

    until(past, 90)


@pytest.mark.slow
def test_a_researcher_lives_dies_and_lives_again(lab, nursery):
    """Its time is counted; killed it comes back and goes on, its open call is charged; it ends when asked."""
    worker = HostWorker(lab.folder, lab.crew[0], nursery)
    turning(lab, worker)
    first = until(lambda: worker.pid)
    assert worker.account()[0] > 0.1
    assert psutil.Process(first).nice() == min(19, psutil.Process().nice() + 10)
    os.kill(first, 9)
    until(lambda: (worker.watch(), worker.restarts)[1])
    assert worker.state == "restarting"
    assert "signal 9" in row(lab)["state"]
    until(lambda: (worker.watch(), worker.pid not in (None, first))[1])
    assert worker.state == "working"
    before = row(lab)["heartbeat"]
    until(lambda: row(lab)["heartbeat"] > before and row(lab)["state"].startswith("turn"))
    second = worker.pid
    worker.stop()
    assert worker.state == "stopped"
    assert not psutil.pid_exists(second)
    with lab.server.client("operator") as client:
        assert client.run()["spending"]["r1"]["outstanding_tokens"] == 0


@pytest.mark.slow
def test_what_dies_with_what(lab, nursery):
    """The nursery's end is its children's; a researcher has the key, its commands and the service do not."""
    worker = HostWorker(lab.folder, lab.crew[0], nursery)
    turning(lab, worker)
    process = psutil.Process(until(lambda: worker.pid))
    children = process.children(recursive=True)
    assert process.environ()["ANTHROPIC_API_KEY"] == KEY
    assert children, "the sandbox of its commands"
    for child in children:
        assert KEY not in child.environ().values()
    nursery.process.kill()
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 10)
    until(lambda: (worker.watch(), worker.restarts)[1])


def test_keys_reach_no_file_of_a_lab(lab, nursery):
    """Neither its log, nor its transcript, nor the database."""
    worker = HostWorker(lab.folder, lab.crew[0], nursery)
    turning(lab, worker)
    worker.stop()
    for path in (p for p in lab.folder.rglob("*") if p.is_file()):
        assert KEY.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_wrong_key_is_final_and_said(lab, nursery, monkeypatch):
    """Exit code 4: no restart, the last line is the state, and the key is not in it."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-wrong-key-42-42")
    worker = HostWorker(lab.folder, lab.crew[0], nursery)
    until(lambda: (worker.watch(), worker.state.startswith("failed"))[1], 90)
    assert worker.restarts == 0
    assert row(lab)["state"].startswith("failed")
    assert "sk-ant-wrong" not in worker.state
    time.sleep(0.2)
    worker.watch()
    assert worker.pid is None


@pytest.mark.slow
def test_silence_is_a_stall(lab, nursery):
    """No heartbeat for too long: it is ended and started again."""
    worker = HostWorker(lab.folder, lab.crew[0], nursery)
    turning(lab, worker)
    first = worker.pid
    worker.stall_seconds = 0.05
    until(lambda: (worker.watch(12.0), worker.restarts)[1])
    worker.stall_seconds = host.STALL_SECONDS
    assert "no sign of life" in row(lab)["state"]
    until(lambda: (worker.watch(), worker.pid not in (None, first))[1])


def test_what_finished_stays_finished(tmp_path):
    """A resumed run does not wake a researcher that said it was done."""
    (tmp_path / "run").mkdir()
    worker = HostWorker(tmp_path, ResearcherSpec("r1", "llm"), Nursery(tmp_path))
    assert worker.state == "waiting"
    (tmp_path / "run" / "r1.log").write_text("something\nfinished: no idea is left\n")
    (tmp_path / "run" / "tokens.json").write_text(json.dumps({"researchers": {"r1": "x"}, "fleet": "y"}))
    worker._ended(0)
    assert worker.state == "finished: no idea is left"
    assert HostWorker(tmp_path, ResearcherSpec("r1", "llm"), Nursery(tmp_path)).state == "finished"


def test_what_a_library_prints_is_no_answer_of_the_nursery(tmp_path):
    """Its supervisor reads lines of JSON; anything else would end the fleet."""
    folder = tmp_path / "lab"
    create_lab(folder, toy.settings(), [toy.make_pack(tmp_path / "pack")])
    program = (
        "from aarlab.llm import nursery\n"
        "nursery.warm = lambda settings: print('welcome to a library')\n"
        f"nursery.main(['--lab', {str(folder)!r}, '--parent', {str(os.getpid())!r}])"
    )
    ended = subprocess.run([sys.executable, "-c", program], input="", capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "welcome to a library" in ended.stderr


# What is shown


def test_a_fleet_with_language_models_shows_words_and_spending(lab):
    """The state in words, tokens and dollars; the reason of a failure."""
    with lab.server.client("r1") as client:
        client.heartbeat("waiting for the provider (529), try 3 in 8 s")
    with lab.server.client("operator") as client:
        view = client.run()
    view |= {"usage": {"dollars": 1.25, "researchers": {"r1": {"dollars": 1.25}}}, "seconds_left": 60.0}
    view["spending"]["r1"]["tokens"] = 1_234_567
    view["workers"] = {"r1": "working", "r2": "failed: wrong key"}
    shown = draw(view)
    for words in ("waiting for the provider", "1.23M", "1.25", "failed: wrong key"):
        assert words in shown
    assert progress.troubles(view) == {"r2": "failed: wrong key"}


def draw(view):
    from rich.console import Console

    console = Console(width=120, record=True, file=io.StringIO())
    console.print(progress.table(view))
    return console.export_text()


# The whole fleet


def resume(folder, **env):
    argv = [sys.executable, "-m", "aarlab", "resume", str(folder)]
    return subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, timeout=240)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A lab folder with two LLM researchers that nobody serves yet."""
    monkeypatch.setenv("AARLAB_STATE", str(tmp_path / "state"))
    made = toy.settings(
        researchers=2, llm=Llm(model=MODEL), budget=Budget(minutes=10, answers=20, submissions=5),
        audit=settings_file.Audit(finalists=False),
    )  # fmt: skip
    crew = (ResearcherSpec("r1", "llm"), ResearcherSpec("r2", "llm"))
    create_lab(tmp_path / "lab", replace(made, researchers=crew), [toy.make_pack(tmp_path / "pack")])
    return tmp_path / "lab"


def test_without_any_key_a_run_does_not_start(folder):
    """One sentence that names the variable, exit code 2."""
    done = resume(folder, ANTHROPIC_API_KEY="")
    assert done.returncode == 2
    assert "ANTHROPIC_API_KEY" in done.stderr


@pytest.mark.slow
def test_a_fleet_that_cannot_go_on_stops_and_says_why(folder):
    """All keys wrong: exit code 3, the reason, and research is not over: it waits for a better key."""
    with ModelServer("researcher", keys=(KEY,)) as provider:
        done = resume(folder, **provider.environment() | {"ANTHROPIC_API_KEY": "sk-ant-wrong-key-42-42"})
    assert done.returncode == 3, done.stderr
    assert "no researcher can go on" in done.stderr
    assert "aarlab resume" in done.stderr
    assert launch.live_or_stored(folder)["phase"] == "research"


@pytest.mark.slow
def test_research_ends_when_every_language_model_is_done(folder):
    """Both say that they have finished: ten minutes are not waited for, the report is written."""
    with ModelServer("researcher:steps=3", keys=(KEY,)) as provider:
        done = resume(folder, **provider.environment() | {"ANTHROPIC_API_KEY": KEY})
    assert done.returncode == 0, done.stderr
    assert (folder / "report" / "report.html").is_file()
    assert launch.live_or_stored(folder)["phase"] == "done"
