"""Building a pack from the model: small ones here, end to end. Needs the [train] extra and the model's wheel."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aarlab.problems import base, build
from aarlab.problems.drafts import TEACHER, TEST, TRAIN, TeacherSpec
from aarlab.problems.measure import Truth
from aarlab.problems.sources import SOURCES, Sources
from aarlab.problems.w2s_math import builder

SMALL = {TEACHER: 60, TRAIN: 60, TEST: 40}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The math problem with tasks of a hundred items."""
    pytest.importorskip("torch")
    monkeypatch.setattr(builder, "PARTS", tuple(replace(p, items=SMALL) for p in builder.PARTS))
    monkeypatch.setattr(builder, "SPEC", replace(builder.SPEC, teacher=TeacherSpec("l14", 40, 0.2, count=24)))


def empty_cache(place: Path) -> Path:
    """A cache that holds the model's wheel and no features."""
    sources = Sources()
    sources.path("model")
    place.mkdir()
    wheel = SOURCES["model"].file
    (place / wheel).symlink_to(sources.cache / wheel)
    return place


@pytest.mark.train
@pytest.mark.usefixtures("small")
def test_two_builds_from_one_seed_agree(tmp_path: Path) -> None:
    """A build is repeatable: labels and texts equal, features and teachers within the stated tolerance."""
    for name in ("one", "two"):
        found = build.build("w2s-math", tmp_path / name, seed=5, cache=empty_cache(tmp_path / f"cache {name}"))
        assert [t.name for t in found.tasks] == [p.name for p in builder.PARTS]
        base.load("w2s-math", tmp_path / name)
    difference = build.compare(tmp_path / "one", tmp_path / "two")
    assert difference.within, str(difference)


@pytest.mark.train
@pytest.mark.usefixtures("small")
def test_a_fresh_build_has_new_items_and_no_seed(tmp_path: Path) -> None:
    """`fresh` keeps the shipped open task, draws the others from a seed that is in no file, and reports progress."""
    said: list[str] = []
    found = build.build("w2s-math", tmp_path, fresh=True, progress=lambda what, done, total: said.append(what))
    problem = base.load("w2s-math", tmp_path)
    assert set(problem.tasks) == {p.name for p in builder.PARTS} == {t.name for t in found.tasks}
    shipped = base.load("w2s-math")
    assert problem.path("open", "labels").read_bytes() == shipped.path("open", "labels").read_bytes()
    recipe = json.loads((tmp_path / "manifest.json").read_text("utf-8"))["recipe"]
    assert recipe["fresh"]
    assert recipe["generator_seed"] is None
    for task in ("feedback", *(t.name for t in problem.of_role("record"))):
        new, old = Truth.load(tmp_path, task), Truth.load(shipped.folder, task)
        assert new.inputs.texts is not None
        assert old.inputs.texts is not None
        assert len(set(new.inputs.texts) & set(old.inputs.texts)) < 0.05 * len(new.inputs.texts)
        assert np.isfinite(new.inputs.zero_shot).all()
        assert any(what.startswith(task) for what in said)
