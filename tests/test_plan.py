"""A run as data: the fleet, the folder, the lock, the clock."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from aarlab.errors import ConfigError, InputError, LabBusy, UnknownName
from aarlab.fleet import costs, plan, usage
from aarlab.fleet.lock import LabLock, holder
from aarlab.server.creation import check_folder
from aarlab.settings import Budget, Settings

NINE = SimpleNamespace(directions={f"d{i}": "" for i in range(9)})


def test_nine_researchers_get_the_nine_directions():
    """One direction each, and distinct names."""
    crew = plan.researchers(NINE, 9, undirected=False)
    assert sorted(r.direction for r in crew) == sorted(NINE.directions)
    assert len({r.name for r in crew}) == 9


def test_an_undirected_fleet_has_one_start():
    """No researcher has a direction."""
    assert {r.direction for r in plan.researchers(NINE, 5, undirected=True)} == {""}


@pytest.mark.parametrize("count", [0, -1, 65])
def test_a_fleet_of_no_size_is_refused(count):
    """The sentence names the number."""
    with pytest.raises(ConfigError, match=str(count)):
        plan.researchers(NINE, count, undirected=False)


def test_a_large_fleet_still_has_distinct_names():
    """Names repeat with a number."""
    assert len({r.name for r in plan.researchers(NINE, 64, False)}) == 64


def test_a_folder_with_something_in_it_is_not_overwritten(tmp_path):
    """The sentence names resume."""
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="resume"):
        check_folder(tmp_path)


def test_a_folder_without_lab_toml_is_no_lab(tmp_path):
    """The sentence names the folder."""
    with pytest.raises(UnknownName, match="no lab folder"):
        plan.find(tmp_path)


def test_a_lab_in_use_is_refused_and_its_holder_named(tmp_path):
    """A second supervisor gets the first one's process id; kill -9 frees the lab."""
    code = (
        "import sys, time; from pathlib import Path; from aarlab.fleet.lock import LabLock\n"
        "with LabLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        assert holder(tmp_path) == other.pid
        with pytest.raises(LabBusy, match=str(other.pid)), LabLock(tmp_path):
            pass
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        other.stdout.close()
    assert holder(tmp_path) is None
    with LabLock(tmp_path):
        assert holder(tmp_path) == os.getpid()


def test_usage_survives_a_restart_and_a_clock_set_back(tmp_path, monkeypatch):
    """Time is summed from the monotonic clock; the wall clock plays no part."""
    first = usage.UsageFile(tmp_path)
    time.sleep(0.05)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0.04 < first.tick(researching=True) < 5
    first.add("ada", 2.0, 3.0)
    first.save()
    again = usage.UsageFile(tmp_path)
    again.add("ada", 1.0, 1.0)
    assert again.usage.cpu == {"ada": 3.0}
    assert again.usage.research_seconds == first.usage.research_seconds
    assert json.loads((tmp_path / "usage.json").read_text())["wall"] == {"ada": 3.0}


def view(given=0, runs=None):
    """What costs need of the service's view of a run."""
    people = [{"name": n, "role": "researcher", "method_cpu_seconds": c} for n, c in (runs or {}).items()]
    return {"researchers": people, "budget": {"answers": {"given": given}}}


def test_costs_add_up():
    """A researcher pays for its own process and for its method runs; the fleet is the sum."""
    used = usage.Usage(cpu={"ada": 30.0, "bea": 6.0}, wall={"ada": 36.0, "bea": 36.0})
    total = costs.totals(Settings(), used, view(runs={"ada": 6.0, "lab": 8.0}))
    assert total["researchers"]["ada"]["cpu_seconds"] == 36.0
    assert total["cpu_seconds"] == 50.0
    assert total["dollars"] == pytest.approx(50 / 3600 * 0.04)
    assert total["researchers"]["ada"]["dollars_per_hour"] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("budget", "used", "seen", "word"),
    [
        (Budget(minutes=1), usage.Usage(research_seconds=61), view(), "minutes"),
        (Budget(answers=5), usage.Usage(), view(given=5), "answers"),
        (Budget(cpu_hours=0.01), usage.Usage(cpu={"ada": 40.0}), view(), "CPU-hours"),
        (Budget(dollars=0.0001), usage.Usage(cpu={"ada": 40.0}), view(), "spent"),
    ],
)
def test_each_budget_ends_the_research(budget, used, seen, word):
    """The reason names the budget; a moment before, nothing ends."""
    chosen = Settings(budget=budget)
    assert word in costs.spent(chosen, used, seen, costs.totals(chosen, used, seen))
    idle = usage.Usage()
    assert not costs.spent(chosen, idle, view(), costs.totals(chosen, idle, view()))


def test_answers_only_promised_do_not_end_the_research():
    """A reserved answer that is still being measured is waited for."""
    chosen = Settings(budget=Budget(answers=5))
    waiting = view(given=4)
    assert not costs.spent(chosen, usage.Usage(), waiting, costs.totals(chosen, usage.Usage(), waiting))
