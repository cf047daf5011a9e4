"""What researchers are told: the templates, the directions, and their copy in a run."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest

from aarlab.errors import ConfigError, InputError
from aarlab.llm import prompts
from aarlab.problems import base


def test_a_system_prompt_says_who_where_and_what_is_audited():
    """Name, direction, problem, places, tools, honesty; short."""
    text = prompts.system_prompt("open", "eve", "Vary what works.", "Each item is a pair.", 9, 120)
    for needed in ("You are eve", "team of 9", "Vary what works.", "Each item is a pair.", "/work/notebook.md", "/data",
                   "/shared", "120 seconds", "methods.names()", "weak labels inverted", "hunting for seeds",
                   "no orders", "finish()", "post it as an error"):  # fmt: skip
        assert needed in text
    assert len(text) < 6000
    assert "{" not in text.replace("{{", "")
    assert "\n\n\n" not in text


def test_the_prescribed_prompt_differs_by_its_pipeline():
    """A fixed order of steps; place and rules are the same."""
    free, fixed = (prompts.system_prompt(k, "eve", "d", "p", 3) for k in prompts.KINDS)
    assert "1. Review" in fixed
    assert "Smoke test" in fixed
    assert "1. Review" not in free
    assert free.split("Where you are:")[1] == fixed.split("Where you are:")[1]
    with pytest.raises(ConfigError, match="'strict'"):
        prompts.system_prompt("strict")


def test_without_a_direction_all_get_the_same():
    """Undirected: one prompt for everybody, but for the name."""
    empty = prompts.directions(undirected=True, count=4)
    assert empty == [""] * 4
    one, other = (prompts.system_prompt("open", n, empty[0]) for n in ("ada", "bea"))
    assert "direction" not in one
    assert one.replace("ada", "bea") == other


def test_nine_directions_are_shipped():
    """Vague, short, different, and in turn for larger fleets."""
    nine = prompts.directions()
    assert len(set(nine)) == 9
    assert all(20 < len(d) < 120 for d in nine)
    assert prompts.directions(count=11) == [*nine, *nine[:2]]
    assert prompts.directions(count=2) == nine[:2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("one thing\nanother\n", ["one thing", "another"]),
        ("a long one\nover two lines\n\n\n  another \n", ["a long one over two lines", "another"]),
        ("# a comment\nonly one", ["only one"]),
        ("a\r\n\r\nb c\r\nd", ["a", "b c d"]),
    ],
)
def test_a_file_of_directions(tmp_path, text, found):
    """One a line, or paragraphs."""
    file = tmp_path / "directions.txt"
    file.write_bytes(text.encode())
    assert prompts.directions(file, count=len(found)) == found


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\n \n# nothing\n", "none in it"),
        (b"\xff\xfe", "directions.txt"),
        (b"x" * 2001, "number 1 has 2001 characters"),
        (b"good\nbad \x1b[2J", "number 2 holds control"),
    ],
)
def test_a_bad_file_of_directions_is_named(tmp_path, data, words):
    """Empty, no text, too long, control characters, missing, or against --undirected."""
    file = tmp_path / "directions.txt"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=words):
        prompts.directions(file)
    with pytest.raises(ConfigError, match="No such file"):
        prompts.directions(tmp_path / "none.txt")
    with pytest.raises(ConfigError, match="choose one"):
        prompts.directions(file, undirected=True)


def test_a_key_stands_for_the_problems_sentence():
    """`posterior` in lab.toml, or a direction in words."""
    known = base.load(base.names()[0], check=False).directions
    assert prompts.in_words("posterior", known) == known["posterior"]
    assert prompts.in_words("Look elsewhere.", known) == "Look elsewhere."


def test_templates_do_not_run_what_they_are_filled_with():
    """Braces in a brief or a direction are text."""
    text = prompts.system_prompt("open", "ada", "{{ 7 * 7 }}", "{% include 'x' %}")
    assert "{{ 7 * 7 }}" in text
    assert "{% include 'x' %}" in text


def test_the_small_messages():
    """What a researcher is told when it does nothing, repeats itself, was summarised or restarted."""
    assert "4 times" in prompts.REPEATED.format(times=4)
    for text in (prompts.NO_ACTION, prompts.WITHOUT_SUMMARY, prompts.RESTARTED, prompts.SUMMARY, prompts.opening()):
        assert text
        assert "{" not in text
    assert prompts.opening(restarted=True) == prompts.RESTARTED
    assert "ada" in prompts.outside("ada")


def test_a_run_keeps_the_templates_it_used(tmp_path):
    """Every template as shipped, with its hash; written twice, the same."""
    version = prompts.write_into(tmp_path)
    assert prompts.write_into(tmp_path) == version
    place = tmp_path / version
    kept = json.loads((place / "versions.json").read_text())
    assert kept == prompts.versions()
    for name, digest in kept.items():
        assert hashlib.sha256((place / name).read_bytes()).hexdigest() == digest
    assert len(list(tmp_path.iterdir())) == 1


def test_everything_can_be_shown():
    """`aarlab prompt`: each part, and the version."""
    text = prompts.show("prescribed", direction="Look inside.")
    for part in ("=== system (prescribed) ===", "Look inside.", prompts.NO_ACTION, prompts.SUMMARY, prompts.version()):
        assert part in text
    with pytest.raises(InputError, match="templates are"):
        prompts.template("secret.txt")


def test_prompts_need_no_extra():
    """They are shown, and directions checked, without the [llm] extra."""
    code = (
        "import sys; from aarlab.llm import prompts; prompts.show(); "
        "print([m for m in ('inspect_ai', 'mcp', 'anthropic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
