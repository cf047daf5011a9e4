"""Settings: what lab.toml holds, and the sentence that wrong values get."""

import pytest

from aarlab import settings
from aarlab.errors import ConfigError
from aarlab.settings import Budget, Llm, ModelPrice, Prices, ResearcherSpec, Settings


def test_what_is_written_is_read_back(tmp_path):
    """lab.toml holds a run's settings exactly."""
    first = Settings(
        budget=Budget(minutes=2.5, answers=7),
        llm=Llm(model="anthropic/x", context_tokens=5),
        prices=Prices(models=(ModelPrice("anthropic/x", 5.0, 25.0, 0.5, 6.25),)),
        researchers=(ResearcherSpec("ada", direction="posterior"), ResearcherSpec("bo", "llm")),
    )
    settings.write(first, tmp_path / "lab.toml")
    assert settings.read(tmp_path / "lab.toml") == first


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[budget]\nanswers = 0", "budget.answers is 0"),
        ("[budget]\nminutes = -1.0", "budget.minutes is -1.0"),
        ("[budget]\nanswer = 5", "unknown key 'answer'"),
        ("[budget]\nanswers = 'many'", "answers is 'many'"),
        ("[scoring]\nfinalists = 11", "1 to 10"),
        ("[isolation]\nkind = 'docker'", "'docker'"),
        ("port = 70000", "port is 70000"),
        ("budget = 3", "must be a table"),
        ("colour = 'red'", "unknown key 'colour'"),
        ("[[researchers]]\nname = 'a'\n[[researchers]]\nname = 'a'", "one name"),
        ("[[researchers]]\nkind = 'search'", "name"),
        ("x = = 1", "lab.toml"),
        ("[[researchers]]\nname = 'a'\nkind = 'robot'", "kinds are search"),
        ("[[researchers]]\nname = 'a'\nkind = 'llm'", "'a' has no model"),
        ("[[researchers]]\nname = 'a'\nkind = 'cli'\nmodel = 'x/y'", "claude-code"),
        (
            "[isolation]\nkind = 'process'\n[[researchers]]\nname = 'a'\nkind = 'llm'\nmodel = 'x/y'",
            "isolates nothing",
        ),
        ("[llm]\nprompt = 'strict'", "llm.prompt is 'strict'"),
        ("[llm]\nsession_turns = 0", "llm.session_turns is 0"),
        ("[budget]\ntokens = -1", "budget.tokens is -1"),
        ("[[prices.models]]\nname = 'a/b'", "input"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, text, words):
    """The sentence says which value is wrong."""
    (tmp_path / "lab.toml").write_text(text)
    with pytest.raises(ConfigError, match="(?s)" + words.replace("[", r"\[")):
        settings.read(tmp_path / "lab.toml")


def test_a_missing_file_asks_whether_this_is_a_lab(tmp_path):
    """The folder was probably mistyped."""
    with pytest.raises(ConfigError, match="is this a lab folder"):
        settings.read(tmp_path / "lab.toml")
