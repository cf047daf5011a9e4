"""What Prometheus reads: every number is the lab's own, and no name breaks the format."""

import shutil

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aarlab.dashboard import run
from aarlab.dashboard.labs import Labs
from aarlab.dashboard.metrics import CONDITIONS, CONTENT_TYPE, FAMILIES, metrics
from aarlab.fleet.lock import LabLock
from recorded_lab import make

ODD = 'a "b" \\ é'  # a folder's name may hold what the format escapes


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labs")
    make(folder / "lab", submissions=12, posts=10, phase="research", events=False)
    return folder


@pytest.fixture
def labs(root):
    found = Labs(root)
    yield found
    found.close()


def read(labs):
    """{(metric, labels): value}, as a Prometheus client reads it."""
    families = text_string_to_metric_families(metrics(labs).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def value(found, name, **labels):
    return found[name, frozenset({"lab": "lab", **labels}.items())]


def test_the_numbers_are_those_of_the_pages(labs):
    """Budgets, scores, costs and counts are the snapshot's."""
    lab = labs.get("lab").snapshot()
    found = read(labs)
    assert value(found, "aarlab_lab_up") == 1
    assert value(found, "aarlab_lab_state", state=lab.state) == 1
    assert value(found, "aarlab_lab_phase", phase="research") == 1
    assert value(found, "aarlab_lab_phase", phase="done") == 0
    assert value(found, "aarlab_answers_total") == lab.budget["answers"]["used"]
    assert value(found, "aarlab_released_bits_bound") == lab.budget["bits"]["limit"]
    assert value(found, "aarlab_research_seconds_total") == lab.research_seconds
    assert value(found, "aarlab_best_pgr") == lab.best.pgr.mean
    assert value(found, "aarlab_submissions", status="scored") == sum(
        s.status == "scored" for s in lab.submissions.values()
    )
    assert value(found, "aarlab_posts_total") == lab.posts
    assert value(found, "aarlab_ledger_lines_total") == lab.ledger["lines"]
    for name, cost in lab.costs["researchers"].items():
        dollars = [value(found, "aarlab_dollars_total", researcher=name, kind=k) for k in ("models", "computing")]
        assert sum(dollars) == pytest.approx(cost["dollars"])
    tokens = sum(v for (name, _), v in found.items() if name == "aarlab_tokens_total")
    assert tokens == lab.costs["tokens"] > 0


def test_researchers_are_counted_by_the_words_of_the_pages(labs):
    lab = labs.get("lab").snapshot()
    words = [run.condition(lab, r) for r in lab.people if r.role == "researcher"]
    assert set(words) <= set(CONDITIONS)
    found = read(labs)
    assert {w: value(found, "aarlab_researchers", condition=w) for w in CONDITIONS} == {
        w: words.count(w) for w in CONDITIONS
    }


def test_an_interval_is_shown_once_it_is_drawn(labs):
    lab = labs.get("lab")
    lab.snapshot()
    while lab.work():
        pass
    lab.look()
    found, best = read(labs), lab.snapshot().best
    assert value(found, "aarlab_best_pgr_low") == best.pgr.low < value(found, "aarlab_best_pgr")
    assert value(found, "aarlab_best_pgr_high") == best.pgr.high


def test_every_name_follows_the_conventions(labs):
    """Families begin with aarlab_, have a sentence of help, and only counters end in _total as they are written."""
    for family in text_string_to_metric_families(metrics(labs).decode()):
        assert family.name.removesuffix("_total") in FAMILIES
        assert family.documentation.endswith(".")
    assert CONTENT_TYPE.startswith("text/plain; version=")


def test_a_lab_nobody_looks_at_and_that_does_not_run_is_left_out(labs, root):
    """Scraping opens no old lab; one that runs is opened."""
    assert read(labs) == {}
    with LabLock(root / "lab"):
        assert value(read(labs), "aarlab_lab_up") == 1


def test_scraping_does_not_keep_a_lab_open(labs):
    labs.get("lab")
    asked = dict(labs._asked)
    metrics(labs)
    assert labs._asked == asked


def test_a_lab_that_cannot_be_read_is_down_and_hides_no_other(labs, root):
    """Of a lab without its database only `up` is said, 0; odd names are escaped."""
    broken = root / ODD
    broken.mkdir()
    shutil.copy(root / "lab" / "lab.toml", broken)
    try:
        labs.get("lab")
        with LabLock(broken):
            found = read(labs)
        assert found["aarlab_lab_up", frozenset({("lab", ODD)})] == 0
        assert value(found, "aarlab_lab_up") == 1
        assert sum(("lab", ODD) in labels for _, labels in found) == 1
    finally:
        shutil.rmtree(broken)
