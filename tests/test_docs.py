"""The docs say what the code does."""

import tomllib
from dataclasses import asdict, fields
from pathlib import Path

from typer.testing import CliRunner

import aarlab
from aarlab.cli import app
from aarlab.settings import ResearcherSpec, Settings, parse

ROOT = Path(__file__).resolve().parents[1]


def settings_in_docs():
    text = (ROOT / "docs" / "lab.md").read_text()
    return tomllib.loads(text.split("```toml")[1].split("```")[0])


def test_every_setting_is_documented_with_its_default():
    """docs/lab.md is a lab.toml that means the defaults."""
    shown = settings_in_docs()
    assert set(shown["researchers"][0]) == {f.name for f in fields(ResearcherSpec)}
    shown["researchers"] = []
    assert parse(shown, "docs/lab.md") == Settings()
    for section in ("budget", "scoring", "audit", "isolation", "llm", "prices"):
        assert set(shown[section]) == set(asdict(Settings())[section])


def test_every_command_of_the_readme_exists():
    """A command shown in the README answers --help."""
    lines = (ROOT / "README.md").read_text().splitlines()
    shown = {line.split()[1] for line in lines if line.startswith("aarlab ")}
    assert {"run", "status", "try", "submit", "sandbox", "ledger", "report"} <= shown
    for command in shown:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, command


def test_the_readme_names_every_folder_of_the_package():
    """The tree in the README is complete."""
    text = (ROOT / "README.md").read_text()
    package = Path(aarlab.__file__).parent
    for folder in (p for p in package.iterdir() if p.is_dir() and p.name != "__pycache__"):
        assert f"{folder.name}/" in text, folder.name


def test_every_link_in_the_docs_leads_somewhere():
    """Relative links point to files of this repository."""
    import re

    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
