"""The house rules of docs/architecture.md, read off the imports of every file."""

import ast
import graphlib
from pathlib import Path

import pytest

import aarlab

PACKAGE = Path(aarlab.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

ONLY_IN = {
    "sqlalchemy": ("store/",),
    "sqlite3": ("store/",),
    "fastapi": ("server/", "dashboard/"),
    "starlette": ("server/", "dashboard/", "testing/"),
    "uvicorn": ("server/", "dashboard/", "testing/", "llm/mcp_server.py"),
    "httpx": ("client.py",),
    "torch": ("w2s/features.py", "w2s/students/lora/"),
    "transformers": ("w2s/features.py", "w2s/students/lora/"),
    "peft": ("w2s/students/lora/",),
    "trl": ("w2s/students/lora/",),
    "optuna": ("researchers/",),
    "altair": ("reports/", "dashboard/"),
    "typer": ("cli.py",),
    "inspect_ai": ("llm/",),
    "inspect_swe": ("llm/",),
    "inspect_scout": ("llm/scan/",),
    "genai_prices": ("llm/",),
    "mcp": ("llm/",),
}

MAY_IMPORT = {
    "w2s": {"statistics", "records", "errors"},
    "statistics": {"records", "errors"},
    "calibration": {"statistics", "records", "errors"},
    "published": {"statistics", "records", "errors"},
    "client": {"errors", "records"},
    "researchers": {"w2s", "client", "records", "errors", "statistics"},
    "sandbox": {"errors", "records"},
    "syntax": set(),
    "execution": {"sandbox", "w2s", "errors", "records", "syntax"},
    "problems": {"w2s", "statistics", "records", "errors"},
    "store": {"records", "errors"},
    "testing": {"errors"},
    "audits": {"syntax", "execution", "problems", "w2s", "statistics", "records", "errors"},
    "ideas": {"syntax", "audits", "w2s", "records", "errors"},
    "studies": {"vault", "problems", "ideas", "reports", "w2s", "statistics", "records", "errors"},
    "baselines": {"problems", "reports", "w2s", "statistics", "records", "errors"},
    "vault": {"audits", "problems", "execution", "store", "w2s", "statistics", "records", "errors", "settings"},
}


def imports(path):
    """Full names of everything a file imports, inside functions too; type-checking imports do not count."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(name):
    """aarlab.vault.store -> vault."""
    return name.split(".")[1]


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_spoken_to_in_one_place(library):
    """SQL only in store, the lab's HTTP only in server and client, torch only in feature extraction, and so on."""
    for path in FILES:
        inside = path.relative_to(PACKAGE).as_posix()
        if any(name.split(".")[0] == library for name in imports(path)):
            assert inside.startswith(ONLY_IN[library]), inside


@pytest.mark.parametrize("where", MAY_IMPORT)
def test_imports_flow_one_way(where):
    """A part imports only what lies under it; the researcher's side knows nothing of the trusted one."""
    files = [f for f in FILES if f.relative_to(PACKAGE).parts[0] in (where, f"{where}.py")]
    assert files
    for path in files:
        found = {part(n) for n in imports(path) if n.startswith("aarlab.")} - {where}
        assert found <= MAY_IMPORT[where], f"{path.relative_to(PACKAGE)} imports {found - MAY_IMPORT[where]}"


def test_the_lab_runs_without_language_models():
    """Only the fleet and the command line know of `llm`, inside functions, so that its extra can be left out."""
    for path in FILES:
        inside = path.relative_to(PACKAGE).as_posix()
        if not inside.startswith("llm/") and any(n.startswith("aarlab.llm") for n in imports(path)):
            assert inside.startswith(("fleet/", "cli.py")), inside
            top = {a.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import) for a in n.names}
            top |= {n.module for n in ast.parse(path.read_text()).body if isinstance(n, ast.ImportFrom) and n.module}
            assert not any(name.startswith("aarlab.llm") for name in top), inside


def test_no_modules_import_each_other_in_a_circle():
    """The module graph has an order."""
    names = {
        ".".join(("aarlab", *f.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__") for f in FILES
    }
    graph = {}
    for path in FILES:
        own = ".".join(("aarlab", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        graph[own] = {n for n in imports(path) if n in names and n != own and not own.startswith(f"{n}.")}
    graphlib.TopologicalSorter(graph).prepare()


def test_only_the_vault_opens_hidden_labels():
    """No other part of the service names the files that hold labels; packs are built and tried by problems and w2s."""
    for path in FILES:
        inside = path.relative_to(PACKAGE).as_posix()
        if ".labels.npz" in path.read_text() or '["labels"]' in path.read_text():
            assert inside.startswith(("vault/", "problems/", "w2s/")), inside
