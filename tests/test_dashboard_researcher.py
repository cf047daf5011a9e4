"""A researcher's page: steps, notebook, cost, submissions, and who may stop it."""

from __future__ import annotations

import json
import os
import shutil
import time
from types import SimpleNamespace

import pytest

from aarlab.dashboard import researcher, steps
from aarlab.dashboard.lab import WatchedLab
from aarlab.errors import InputError, UnknownName
from aarlab.records import EventRow, LedgerLine
from dashboard_pages import check_page, parts, shown
from recorded_lab import make

HOSTILE = "<script>alert(1)</script> <img src=x onerror=y> \u202eturned\u202c"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("labs")


@pytest.fixture(scope="module")
def lab(root):
    """A finished run of nine, with hostile words."""
    found = WatchedLab(make(root / "recorded", submissions=90, posts=60, hostile=True))
    yield found
    found.close()


@pytest.fixture(scope="module")
def small(root):
    return make(root / "original", researchers=3, submissions=6, posts=3, events=False)


@pytest.fixture
def fresh(tmp_path, small):
    """A small lab that a test may change."""
    found = WatchedLab(shutil.copytree(small, tmp_path / "small"))
    yield found
    found.close()


def page(lab, name, **query):
    return researcher.page(lab.snapshot(), lab.store, name, query)


def of_kind(lab, kind):
    return next(r.name for r in lab.snapshot().people if r.kind == kind)


def add_steps(lab, name, *bodies, kind="note"):
    rows = [
        EventRow(0, name, f"key-{i}", 1, i, kind, b if isinstance(b, str) else json.dumps(b), 1e9 + i)
        for i, b in enumerate(bodies)
    ]
    with lab.store.write() as c:
        numbers = c.add_events(name, rows)
    lab.look()
    return numbers


# All of it


def test_each_researcher_has_a_page(lab):
    """A language model, an outside program, a search and a person; each with its twin and live parts."""
    for row in lab.snapshot().people:
        found = page(lab, row.name)
        json.dumps(found)
        html = shown(lab, "researchers", found)
        check_page(html)
        assert len(html) < 100_000
        made = parts(lab, "researchers", found)
        for name in ("part_head", "part_timeline"):
            assert f'id="{name}"' in made[name].partition(">")[0]


def test_the_head_says_who_it_is(lab):
    name = of_kind(lab, "llm")
    found = page(lab, name)
    best = max((e for e in lab.snapshot().entries if e.submission.researcher == name), key=lambda e: e.pgr.mean)
    assert found["model"] == "anthropic/claude-opus-4-6"
    assert found["condition"] == "finished"
    assert found["best"]["submission"] == best.submission.id
    assert found["turn"] > 10
    assert found["minutes"] > 100
    assert page(lab, of_kind(lab, "cli"))["model"].startswith("claude-code with ")
    assert page(lab, of_kind(lab, "search"))["model"] == ""


def test_the_cost_is_split_by_model_and_compute(lab):
    """Dollars add up, calls and tokens are counted by kind."""
    name = of_kind(lab, "llm")
    cost, account = page(lab, name)["costs"], lab.snapshot().accounts[name]
    assert cost["dollars"] == pytest.approx(cost["llm_dollars"] + cost["compute_dollars"])
    assert cost["calls"] == account.calls > 0
    kinds = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    other = page(lab, "dana")["costs"]  # who lost no call; what is lost is charged as reserved, without kinds
    assert sum(other[k] for k in kinds) == other["tokens"] > 0
    assert cost["dollars_per_hour"] == pytest.approx(cost["dollars"] / cost["hours"])
    html = shown(lab, "researchers", page(lab, name))
    assert f"{cost['output_tokens']:,} out" in html


def test_an_unknown_name_is_one_sentence(lab):
    with pytest.raises(UnknownName, match=r"there is no researcher 'nobody' in this lab; it has ada, bea"):
        page(lab, "nobody")
    with pytest.raises(UnknownName):
        page(lab, "operator")


# Submissions


def test_all_submissions_come_in_pages(lab):
    """Newest first, each once, with what the lab measured."""
    name = max({s.researcher for s in lab.snapshot().submissions.values()}, key=lambda n: page(lab, n)["submissions"])
    first = page(lab, name)
    assert first["pages"] > 1
    rows = [s for n in range(1, first["pages"] + 1) for s in page(lab, name, page=str(n))["handed_in"]]
    mine = [s.id for s in lab.snapshot().submissions.values() if s.researcher == name]
    assert [s["id"] for s in rows] == sorted(mine, reverse=True)
    for row in rows:
        entry = lab.snapshot().entry(row["id"])
        if entry is not None:
            assert row["pgr"]["mean"] == entry.pgr.mean
    assert all("record" not in row for row in rows)  # numbers of record are the leaderboard's, once they are open
    with pytest.raises(InputError, match="page is '0'"):
        page(lab, name, page="0")


# Steps


def walked(lab, name):
    """The whole timeline, page by page."""
    found, query = [], {}
    while True:
        made = page(lab, name, **query)
        found += made["timeline"]
        assert made["newest"] == (not query)
        if made["older"] is None:
            return found
        query = {"before": str(made["older"])}


def test_every_step_is_on_one_page(lab):
    """Newest first, from the last words back to the opening."""
    name = of_kind(lab, "llm")
    with lab.store.read() as rows:
        numbers = [e.id for e in rows.events(name)]
    assert [s["id"] for s in walked(lab, name)] == numbers[::-1]
    assert page(lab, name)["steps"]


def test_steps_in_words(lab):
    """What a model called, what came of it, and how its conversation began."""
    found = {s["kind"]: s for s in walked(lab, of_kind(lab, "llm"))}
    assert found["compaction"]["line"] == "the start"
    assert "[system]" in found["compaction"]["detail"]
    assert found["tool"]["word"] == "result"
    assert "→" in found["tool"]["line"]
    assert found["assistant"]["detail"]
    made = [s for s in walked(lab, of_kind(lab, "llm")) if s["submission"]]
    assert made
    assert all(s["submission"] in lab.snapshot().submissions for s in made)


def test_one_step_can_be_looked_at(lab):
    """It comes first and open, in full."""
    name = of_kind(lab, "llm")
    longest = max(walked(lab, name), key=lambda s: s["characters"])
    found = page(lab, name, step=str(longest["id"]))
    assert found["timeline"][0]["id"] == found["step"] == longest["id"]
    assert f'<li id="step-{longest["id"]}"><details open>' in shown(lab, "researchers", found)
    other = next(s["id"] for s in walked(lab, of_kind(lab, "cli")))
    with pytest.raises(UnknownName, match=f"{name} has no step {other}"):
        page(lab, name, step=str(other))
    with pytest.raises(InputError, match="before is 'x'"):
        page(lab, name, before="x")


def test_older_pages_are_not_live(lab):
    """Live updates bring the newest page, so that another one has nothing for them to replace."""
    name = of_kind(lab, "llm")
    assert 'id="part_timeline"' in shown(lab, "researchers", page(lab, name))
    older = page(lab, name, before=str(page(lab, name)["older"]))
    html = shown(lab, "researchers", older)
    assert 'id="part_timeline"' not in html
    assert 'id="part_head"' in html


STRANGE = [
    {"message": {"role": "assistant", "content": [{"type": "reasoning", "reasoning": "hm"}, {"type": "image"}, 7]}},
    {"message": {"role": "assistant", "content": None, "tool_calls": [{"function": "f", "arguments": [1]}, None, "x"]}},
    {"message": {"role": "tool", "content": "", "error": {"message": "denied"}, "function": None}},
    {"message": "no message"}, {"text": HOSTILE}, {}, [], "text", 7, None, {"why": None, "messages": ["x", None]},
    {"function": "f", "arguments": "no json", "result": [{"type": "text", "text": "r"}]},
]  # fmt: skip


@pytest.mark.parametrize("kind", ["assistant", "tool", "user", "compaction", "note", "retry"])
@pytest.mark.parametrize("body", STRANGE)
def test_steps_of_any_shape_have_a_line(body, kind):
    """The lab keeps whatever JSON a process sent."""
    row = EventRow(1, "r1", "k", 1, 1, kind, json.dumps(body), 0.0)
    found = steps.step(row, len(row.body))
    assert isinstance(found["line"], str)
    assert isinstance(found["detail"], str)
    assert not found["cut"]


def test_what_a_model_thought_and_called():
    body = {"message": {
        "role": "assistant", "content": [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "now"}],
        "tool_calls": [{"function": "bash", "arguments": {"command": "ls\npwd"}}, {"function": "brief"}],
    }}  # fmt: skip
    row = EventRow(1, "r1", "k", 1, 1, "assistant", json.dumps(body), 0.0)
    found = steps.step(row, len(row.body))
    assert found["line"] == "bash: ls pwd; brief"
    assert found["detail"] == "[thinks] hm\n\nnow\n\n→ bash\ncommand: ls\npwd\n\n→ brief"


def test_a_step_of_megabytes_is_cut_by_the_database(fresh):
    """The page stays small and quick; what the conversation began with is still named."""
    huge = {"why": 'cut "here"', "messages": [{"role": "user", "content": "x" * 3_000_000}]}
    numbers = add_steps(fresh, "ada", *[huge] * 5, kind="compaction")
    began = time.process_time()
    found = page(fresh, "ada")
    html = shown(fresh, "researchers", found)
    assert time.process_time() - began < 10
    assert found["timeline"][0]["line"] == 'cut "here"'
    assert found["timeline"][0]["cut"]
    assert len(html) < 100_000
    assert f"?step={numbers[-1]}#step-{numbers[-1]}" in html
    assert len(shown(fresh, "researchers", page(fresh, "ada", step=str(numbers[-1])))) < 200_000


def test_hostile_words_stay_words(fresh):
    """In steps, states, directions, names of files and the notebook."""
    call = {"function": HOSTILE, "arguments": {HOSTILE: HOSTILE}}
    message = {"message": {"role": "assistant", "content": HOSTILE * 20, "tool_calls": [call]}}
    add_steps(fresh, "ada", {"text": HOSTILE}, message, {"why": HOSTILE, "text": HOSTILE + "\n" + HOSTILE})
    (fresh.folder / "workspaces" / "ada").mkdir(parents=True, exist_ok=True)
    (fresh.folder / "workspaces" / "ada" / "notebook.md").write_text(HOSTILE * 30)
    (fresh.folder / "transcripts").mkdir(exist_ok=True)
    (fresh.folder / "transcripts" / "2026_ada_<b>.eval").write_text("x")
    with fresh.store.write() as rows:
        rows.set_researcher("ada", state=HOSTILE, direction=HOSTILE)
    fresh.look()
    found = check_page(shown(fresh, "researchers", page(fresh, "ada")))
    assert "\u202e" not in found.text
    assert "\\u202eturned" in found.text


# Those without a conversation


def test_a_search_researcher_is_told_by_what_it_did(lab):
    """Submissions, posts and what it said last, each once."""
    name = of_kind(lab, "search")
    found = walked(lab, name)
    assert not page(lab, name)["steps"]
    kinds = [a["kind"] for a in found]
    assert kinds[0] == "heartbeat"
    mine = [s.id for s in lab.snapshot().submissions.values() if s.researcher == name]
    handed_in = [a["submission"] for a in found if a["kind"] in ("submission", "record")]
    assert sorted(handed_in) == sorted(mine)
    with lab.store.read() as rows:
        posts = rows.matching_posts(by=name)
    assert sorted(a["post"] for a in found if a["post"]) == sorted(posts)
    times = [a["time"] for a in found[1:]]
    assert times == sorted(times, reverse=True)


def test_a_language_model_without_steps_has_actions_too(fresh):
    assert not page(fresh, "ada")["steps"]
    assert walked(fresh, "ada")


def test_what_a_person_did_to_it_is_there(fresh):
    with fresh.store.write() as rows:
        last = rows.last_line()
        body = {"action": "message", "by": "dashboard", "to": "ada", "post": 3}
        rows.add_line(LedgerLine(last.number + 1, 4e9, "control", body, last.hash, "h" * 64))
    fresh.look()
    told = next(a for a in page(fresh, "ada")["timeline"] if a["kind"] == "control")
    assert (told["line"], told["post"]) == ("message, by dashboard", 3)
    assert not [a for a in page(fresh, "bea")["timeline"] if a["kind"] == "control"]


# Notebook and transcripts


@pytest.fixture
def workspace(fresh):
    folder = fresh.folder / "workspaces" / "ada"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notebook.md").unlink(missing_ok=True)
    return folder


def test_the_notebook_is_quoted(fresh, workspace):
    (workspace / "notebook.md").write_text("# What I know\n\n- ridge helps\n")
    found = page(fresh, "ada")
    assert found["notebook"]["text"].startswith("# What I know")
    assert "<h3>What I know</h3>" in shown(fresh, "researchers", found)


def test_a_large_notebook_shows_its_end(fresh, workspace):
    (workspace / "notebook.md").write_text("".join(f"line {i}\n" for i in range(100_000)))
    found = page(fresh, "ada")["notebook"]
    assert found["cut"]
    assert len(found["text"]) == researcher.NOTEBOOK_BYTES
    assert found["end"].endswith("line 99999\n")
    assert found["end"].startswith("line ")
    assert len(found["end"]) <= researcher.NOTEBOOK_SHOWN


def test_links_out_of_the_workspace_are_not_followed(fresh, workspace):
    """The researcher owns its workspace: a notebook may be a link to any file of this machine."""
    secret = fresh.folder / "run" / "tokens.json"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("the operator's token")
    for target in (secret, "../../run/tokens.json", "/etc/passwd"):
        (workspace / "notebook.md").symlink_to(target)
        found = page(fresh, "ada")["notebook"]
        assert found["text"] == ""
        assert "Links are not followed" in found["why"]
        (workspace / "notebook.md").unlink()
    os.rename(workspace, workspace.with_name("elsewhere"))
    workspace.symlink_to(fresh.folder / "run")
    (fresh.folder / "run" / "notebook.md").write_text("not mine")
    assert page(fresh, "ada")["notebook"]["text"] == ""


def test_what_is_no_plain_file_is_not_waited_for(fresh, workspace):
    """A pipe nobody writes to, a folder, and nothing at all."""
    os.mkfifo(workspace / "notebook.md")
    assert "no plain file" in page(fresh, "ada")["notebook"]["why"]
    (workspace / "notebook.md").unlink()
    (workspace / "notebook.md").mkdir()
    assert page(fresh, "ada")["notebook"]["text"] == ""
    (workspace / "notebook.md").rmdir()
    assert page(fresh, "ada")["notebook"]["why"] == "There is no notebook.md in its workspace."
    (workspace / "notebook.md").write_bytes(b"\xff\xfe\x00")
    check_page(shown(fresh, "researchers", page(fresh, "ada")))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../vault"])
def test_a_name_is_no_path(fresh, name):
    (fresh.folder / "workspaces" / "notebook.md").parent.mkdir(exist_ok=True)
    (fresh.folder / "workspaces" / "notebook.md").write_text("above")
    assert researcher.notebook(fresh.snapshot(), name)["text"] == ""


def test_transcripts_are_those_of_the_name(fresh):
    """Also where one name ends like another, and where Inspect wrote a name in its own way."""
    folder = fresh.folder / "transcripts"
    folder.mkdir(exist_ok=True)
    for name in (
        "t1_ada_a1.eval",
        "t2_ada_a2.eval",
        "t3_x_ada_b1.eval",
        "t4_ada-2_c.eval",
        "t5_ada_d.json",
        "ada.eval",
    ):
        (folder / name).write_bytes(b"12345")
    found = researcher.transcripts(fresh.snapshot(), "ada")
    assert [(f["file"], f["bytes"]) for f in found] == [("t2_ada_a2.eval", 5), ("t1_ada_a1.eval", 5)]
    assert [f["file"] for f in researcher.transcripts(fresh.snapshot(), "ada_2")] == ["t4_ada-2_c.eval"]


# Chart and controls


def test_the_chart_has_its_points_and_the_fleets_best(lab):
    found = lab.snapshot()
    name = of_kind(lab, "search")
    rows = researcher.rows(found, name)
    mine = [e for e in found.entries if e.submission.researcher == name]
    assert [(r["submission"], r["pgr"], r["fleet_best"]) for r in rows] == [
        (e.submission.id, e.pgr.mean, e.best) for e in mine
    ]
    drawn = json.dumps(researcher.draw(found, 760, name).to_dict(validate=False))
    assert drawn.count('"tip"') == len({e.submission.id for e in mine} | {found.best.submission.id})
    assert researcher.draw(found, 760, "nobody") is None
    assert researcher.rows(found, "nobody") == []


def test_controls_are_for_operators(lab):
    """Stop asks first; a person has no process to restart; nobody else gets a form."""
    html = shown(lab, "researchers", page(lab, "ada"))
    for what in ("stop", "restart", "message"):
        assert f'action="/labs/recorded/researchers/ada/{what}"' in html
    assert 'data-confirm="Stop ada?' in html
    assert html.count('name="csrf" value="c5rf"') == 3
    assert 'maxlength="4000"' in html
    assert "/restart" not in shown(lab, "researchers", page(lab, of_kind(lab, "human")))
    assert "<form" not in shown(lab, "researchers", page(lab, "ada"), role="viewer")


def test_a_stopped_one_is_started_again(lab):
    stopped = next(r.name for r in lab.snapshot().people if r.status == "stopped")
    html = shown(lab, "researchers", page(lab, stopped))
    assert f"/researchers/{stopped}/stop" not in html
    assert "Start again" in html


def test_a_model_that_settings_do_not_name():
    """Somebody who handed something in without being of the fleet."""
    person = SimpleNamespace(name="guest")
    lab = SimpleNamespace(settings=SimpleNamespace(researchers=()))
    assert researcher.model(lab, person) == ""
