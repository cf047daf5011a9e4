"""Rules of `aarlab published`: the study's own rows to three digits, both formats, one sentence for bad input."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from aarlab.cli import app
from aarlab.errors import InputError
from aarlab.published.measure import Table, measure
from aarlab.published.read import read
from aarlab.published.show import print_tables

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("AARLAB_PUBLISHED", ROOT.parent / "shared" / "published_results"))

ROWS = [  # domain, idea, PGR, standard error, runs
    ("chat", "vanilla_w2s", 0.204, 0.046, 5),
    ("chat", "train_only_on_confident_labels", 0.234, 0.054, 5),
    ("chat", "ue_zeroshot", 0.027, 0.023, 4),
    ("chat", "critic", -0.038, 0.043, 5),
    ("math", "vanilla_w2s", 0.338, 0.030, 5),
    ("math", "train_only_on_confident_labels", 0.296, 0.052, 5),
    ("math", "ue_zeroshot", 0.586, 0.025, 5),
    ("math", "critic", 0.260, 0.031, 5),
]

TRANSFER = {"vanilla_w2s": [0.62, 0.64, 0.66], "critic": [0.61, 0.65, 0.60]}


def content(**changes: Any) -> dict[str, Any]:
    """A small condensed file: floor 0.6, ceiling 0.8, two methods on seeds 1 to 3."""
    methods: dict[str, Any] = {
        "weak_artifacts": [{"seed": s, "weak_acc": a} for s, a in ((1, 0.59), (2, 0.60), (3, 0.61))],
        "train_ceiling": [{"seed": s, "strong_acc": a} for s, a in ((1, 0.80), (2, 0.79), (3, 0.81))],
    }
    for idea, accuracies in TRANSFER.items():
        methods[idea] = [{"seed": s, "transfer_acc": a, "pgr": (a - 0.6) / 0.2} for s, a in enumerate(accuracies, 1)]
    return {"test_items": 100, "methods": methods | changes}


def condensed(folder: Path, **changes: Any) -> Path:
    path = folder / "toy.json"
    path.write_text(json.dumps(content(**changes)))
    return path


def cache(folder: Path, settings: str = "_e5_lr0.0001_bs32_schlinear") -> Path:
    """The same results as the released cache folder has them."""
    for idea, runs in content()["methods"].items():
        place = folder / f"toy_{idea}" / f"Model{settings}"
        place.mkdir(parents=True, exist_ok=True)
        for run in runs:
            extra = {"dataset_name": "toy", "idea_name": idea, "soft_labels": [[0.5, 0.5]]}
            (place / f"seed_{run['seed']}.json").write_text(json.dumps(extra | run))
        (place / "eval.json").write_text('{"pgr_mean": 9}')
    return folder


def table(path: Path) -> Table:
    (domain,) = read(path)
    return measure(domain)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published files are not beside this checkout (AARLAB_PUBLISHED)")
@pytest.mark.parametrize(("domain", "idea", "pgr", "error", "runs"), ROWS)
def test_published_rows_are_reproduced(domain: str, idea: str, pgr: float, error: float, runs: int) -> None:
    """Every row of chat and math, mean and standard error to three digits, and the same from the published PGRs."""
    row = next(r for r in table(SHARED / f"{domain}.json").rows if r.idea == idea)
    assert (f"{row.pgr.mean:.3f}", f"{row.pgr.sem:.3f}", row.pgr.runs) == (f"{pgr:.3f}", f"{error:.3f}", runs)
    assert (f"{row.published.mean:.3f}", f"{row.published.sem:.3f}") == (f"{pgr:.3f}", f"{error:.3f}")
    assert not row.computed


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published files are not beside this checkout (AARLAB_PUBLISHED)")
def test_repeated_seeds_of_the_published_files_are_named() -> None:
    """Zero-shot elicitation on chat has four runs, all under seed 42: said, and not paired."""
    chat = table(SHARED / "chat.json")
    row = next(r for r in chat.rows if r.idea == "ue_zeroshot")
    assert row.lead is None
    assert any("42, 42, 42, 42" in note for note in chat.notes)


def test_both_formats_give_the_same_rows(tmp_path: Path) -> None:
    """Condensed file, cache folder and the folder around it: equal numbers."""
    a = table(condensed(tmp_path))
    b = table(cache(tmp_path / "up" / "cache_results"))
    c = table(tmp_path / "up")
    assert [r.pgr for r in a.rows] == [r.pgr for r in b.rows] == [r.pgr for r in c.rows]
    assert [r.idea for r in a.rows] == ["vanilla_w2s", "critic"]
    assert a.rows[0].pgr.mean == pytest.approx(0.2)
    assert a.rows[0].floor.mean == pytest.approx(0.6)
    assert b.domain == "toy"


def test_a_lead_is_paired_by_seed(tmp_path: Path) -> None:
    """PGR minus that of weak labels, seed by seed; a seed that only one has is left out and named."""
    runs = [{"seed": s, "transfer_acc": a} for s, a in ((1, 0.64), (2, 0.66), (9, 0.7))]
    found = table(condensed(tmp_path, critic=runs))
    row = found.rows[1]
    assert row.lead_seeds == (1, 2)
    assert row.lead is not None
    assert row.lead.mean == pytest.approx(0.1)
    assert row.lead.sem == pytest.approx(0, abs=1e-12)
    assert any("1, 2, 9" in note for note in found.notes)


def test_missing_fields_are_computed_and_marked(tmp_path: Path) -> None:
    """A missing PGR (or the text N/A) follows from accuracies; a missing accuracy from PGR and fixed ends."""
    runs = [{"seed": 1, "transfer_acc": 0.7, "pgr": "N/A"}, {"seed": 2, "transfer_acc": 0.7}]
    back = [
        {"seed": 1, "pgr": 0.5, "fixed_weak_baseline": 0.5, "fixed_strong_baseline": 0.9},
        {"seed": 2},
    ]
    found = table(condensed(tmp_path, critic=runs, vanilla_w2s=back))
    weak, critic = found.rows
    assert critic.computed == ("pgr",)
    assert critic.published.mean == pytest.approx(0.5)
    assert weak.computed == ("transfer_acc",)
    assert weak.accuracy.mean == pytest.approx(0.7)
    assert weak.pgr.sem is None
    assert any("seed 2 has neither" in note for note in found.notes)
    assert any("published with the floor 0.5000" in note for note in found.notes)


def test_floor_and_ceiling_may_come_from_the_methods_own_runs(tmp_path: Path) -> None:
    """Without weak artefacts and ceilings, the seeds' own weak_acc and strong_acc serve, and a note says so."""
    runs = [{"seed": s, "transfer_acc": 0.7, "weak_acc": 0.6, "strong_acc": 0.8} for s in (1, 2)]
    data = {"methods": {"vanilla_w2s": runs}}
    (tmp_path / "toy.json").write_text(json.dumps(data))
    found = table(tmp_path / "toy.json")
    assert found.rows[0].pgr.mean == pytest.approx(0.5)
    assert found.best is None
    assert sum("own seeds" in note for note in found.notes) == 2


def test_a_configuration_without_its_own_floor_is_named(tmp_path: Path) -> None:
    """A method swept over other hyper-parameters borrows floor and ceiling, and both are named."""
    cache(tmp_path)
    other = tmp_path / "toy_critic" / "Model_e1_lr0.0001_bs32_schlinear"
    other.mkdir()
    (other / "seed_1.json").write_text(json.dumps({"transfer_acc": 0.7, "pgr": 0.5}))
    found = table(tmp_path)
    assert len(found.rows) == 3
    assert sum("from another configuration" in note for note in found.notes) == 2
    shown = CliRunner().invoke(app, ["published", str(tmp_path)])
    assert "(2) is toy_critic" not in shown.output
    assert "(2) is critic/Model_e" in shown.output


def test_numbers_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    """A PGR that does not follow from its accuracies, a floor unlike its seed's own, a seed that has none."""
    ends = {"fixed_weak_baseline": 0.6, "fixed_strong_baseline": 0.8}
    runs = [
        {"seed": 1, "transfer_acc": 0.7, "pgr": 0.9, "weak_acc": 0.59} | ends,
        {"seed": 2, "transfer_acc": 0.7, "pgr": 0.5, "weak_acc": 0.55} | ends,
        {"seed": 7, "transfer_acc": 0.7, "pgr": 0.5} | ends,
    ]
    notes = [n for n in table(condensed(tmp_path, critic=runs)).notes if n.startswith("critic training")]
    assert sum("PGR of seed 1 does not follow" in n for n in notes) == 1
    assert sum("floor that the runs of seed 2 state" in n for n in notes) == 1
    assert sum("no floor was measured with seed 7" in n for n in notes) == 1
    assert sum("no ceiling was measured with seed 7" in n for n in notes) == 1


def test_the_best_of_m_is_corrected(tmp_path: Path) -> None:
    """The intervals for all at once are wider; the best one shrinks towards the mean of all."""
    found = table(condensed(tmp_path))
    assert found.best is not None
    assert found.best.inflation > 0
    best = next(r for r in found.rows if r.idea == found.best.idea)
    assert found.best.shrunk <= best.pgr.mean
    for row in found.rows:
        assert row.together.low is not None
        assert row.pgr.low is not None
        assert row.together.low < row.pgr.low


def test_the_command_prints_a_table_and_json(tmp_path: Path) -> None:
    """`--json` gives what the table shows."""
    path = condensed(tmp_path)
    shown = CliRunner().invoke(app, ["published", str(path)])
    assert shown.exit_code == 0, shown.output
    assert "weak labels" in shown.output
    assert "0.200 ± 0.058" in shown.output
    found = json.loads(CliRunner().invoke(app, ["published", str(path), "--json"]).output)
    assert found[0]["rows"][0]["pgr"]["mean"] == pytest.approx(0.2)


def test_a_narrow_terminal_gets_whole_numbers(tmp_path: Path) -> None:
    """At 80 columns a domain is two tables, and nothing is cut short."""
    out = Console(width=80, file=io.StringIO())
    print_tables([table(condensed(tmp_path))], out)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("critic training ") == 2
    assert "0.200 ± 0.058" in text
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


BAD = {
    "cut off": (lambda f: (f / "a.json").write_text('{\n"methods": {\n"x": ['), "a.json, line 3: cut off"),
    "empty": (lambda f: None, "no results"),
    "a list": (lambda f: (f / "a.json").write_text("[]"), "an object is needed"),
    "one run": (lambda f: (f / "a.json").write_text('{"transfer_acc": 0.5}'), "no `methods`"),
    "not runs": (lambda f: condensed(f, critic=[1]), "methods.critic is no list of runs"),
    "no floor": (lambda f: condensed(f, weak_artifacts=[]), "no floor; runs of weak_artifacts with weak_acc"),
    "no ceiling": (lambda f: condensed(f, train_ceiling=[{"seed": 1}]), "no ceiling"),
    "no gap": (lambda f: condensed(f, train_ceiling=[{"seed": 1, "strong_acc": 0.5}]), "0.5000 is not above the floor"),
    "NaN": (lambda f: condensed(f, critic=[{"seed": 1, "transfer_acc": float("nan")}]), "transfer_acc is nan"),
    "percent": (lambda f: condensed(f, critic=[{"seed": 1, "transfer_acc": 62.0}]), "transfer_acc is 62.0"),
    "no methods": (lambda f: condensed(f, critic=[], vanilla_w2s=[]), "no methods"),
    "no numbers": (lambda f: condensed(f, critic=[{"seed": 1}], vanilla_w2s=[]), "no run has an accuracy"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence(tmp_path: Path, name: str) -> None:
    """Whatever is wrong is named, with file and place."""
    write, words = BAD[name]
    write(tmp_path)
    with pytest.raises(InputError) as refused:
        [measure(domain) for domain in read(tmp_path)]
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_such_path_is_refused(tmp_path: Path) -> None:
    """The sentence names the path."""
    with pytest.raises(InputError, match="nowhere"):
        read(tmp_path / "nowhere")
